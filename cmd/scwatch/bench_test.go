package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/scwatch/scwatch/internal/simulator"
)

// The daemon's resident memory after everything has been read, with scrapes of
// two forms going on: the peak and what it comes down to.
func BenchmarkResidentMemory(b *testing.B) {
	for _, functions := range []int{1_000, 10_000} {
		b.Run(fmt.Sprintf("functions=%d", functions), func(b *testing.B) {
			sim := simulator.New(simulator.LargeAccount(functions, functions/10, 3, time.Now()))
			url, end, err := sim.Listen("127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			defer end()
			program := filepath.Join(b.TempDir(), "scwatch")
			if out, err := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", program, ".").CombinedOutput(); err != nil {
				b.Fatalf("%v\n%s", err, out)
			}
			for b.Loop() {
				peak, settled := resident(b, program, url)
				b.ReportMetric(peak, "peak-MB")
				b.ReportMetric(settled, "settled-MB")
			}
		})
	}
}

func resident(b *testing.B, program, url string) (peak, settled float64) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	daemon := exec.Command(program, "serve", "--web.listen-address="+address, "--storage.path="+b.TempDir(), "--log.level=error")
	daemon.Stderr = os.Stderr
	daemon.Env = []string{
		"HOME=/nowhere", "SCW_API_URL=" + url, "SCW_ACCESS_KEY=" + simulator.DemoAccessKey, "SCW_SECRET_KEY=" + simulator.DemoSecretKey,
		"SCW_DEFAULT_PROJECT_ID=" + simulator.DemoHome, "SCWATCH_CONFIG={collect: {interval: 10s, slow_interval: 1h, rate_limit: 10000}}",
	}
	if err := daemon.Start(); err != nil {
		b.Fatal(err)
	}
	defer daemon.Wait()
	defer daemon.Process.Kill()
	slow := regexp.MustCompile(`(?m)^scwatch_poll_up\{.*\} 0$`)
	for end := time.Now().Add(5 * time.Minute); ; time.Sleep(time.Second) {
		if metrics := fetch(http.MethodGet, "http://"+address+"/metrics"); strings.Contains(metrics, "scwatch_poll_up") && !slow.MatchString(metrics) {
			break
		}
		if time.Now().After(end) {
			b.Fatal("not everything was read within five minutes")
		}
	}
	for range 35 { // three more polls, scraped as Prometheus does and as people do
		fetch(http.MethodGet, "http://"+address+"/metrics")
		req, _ := http.NewRequest(http.MethodGet, "http://"+address+"/metrics", nil)
		req.Header.Set("Accept-Encoding", "gzip")
		if resp, err := http.DefaultClient.Do(req); err == nil {
			resp.Body.Close()
		}
		time.Sleep(time.Second)
	}
	return memory(b, daemon.Process.Pid, "VmHWM"), memory(b, daemon.Process.Pid, "VmRSS")
}

// memory reads a line of /proc/PID/status, in MB.
func memory(b *testing.B, pid int, key string) float64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	m := regexp.MustCompile(key + `:\s+(\d+) kB`).FindSubmatch(status)
	kB, err := strconv.ParseFloat(string(m[1]), 64)
	if err != nil {
		b.Fatal(err)
	}
	return kB * 1024 / 1e6
}

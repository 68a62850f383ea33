package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
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

// The same metrics of 1,000 functions, by scwatch's own push and by Prometheus
// in agent mode that scrapes it, into a receiver each, every second: over a
// minute with an outage of 20 s in it, and a kill -9 of the sender in the middle
// of the outage. lost-s is how many of the seconds have no sample of a counter
// that rises every second.
func BenchmarkOutage(b *testing.B) {
	for _, sender := range []string{"scwatch", "agent"} {
		b.Run(sender, func(b *testing.B) {
			for b.Loop() {
				outage(b, sender)
			}
		})
	}
}

func outage(b *testing.B, sender string) {
	dir := b.TempDir()
	receiver := "http://" + startProgram(b, "prometheus", func(address string) []string {
		return []string{"--config.file=" + writeConfig(b, dir, "receiver.yml", ""), "--storage.tsdb.path=" + filepath.Join(dir, "tsdb"), "--web.listen-address=" + address, "--web.enable-remote-write-receiver"}
	}, nil, nil)
	target, _ := url.Parse(receiver)
	proxy := httputil.NewSingleHostReverseProxy(target)
	var down atomic.Bool
	var bytesSent atomic.Int64
	gateway := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if down.Load() {
			http.Error(w, "not now", http.StatusServiceUnavailable)
			return
		}
		bytesSent.Add(r.ContentLength)
		proxy.ServeHTTP(w, r)
	}))
	defer gateway.Close()
	sim := simulator.New(simulator.LargeAccount(1000, 100, 3, time.Now()))
	api, end, err := sim.Listen("127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer end()
	program := filepath.Join(b.TempDir(), "scwatch")
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	pushing := fmt.Sprintf("collect: {interval: 1s, slow_interval: 1h, rate_limit: 10000}\npush: {enabled: %v, interval: 1s, heartbeat: 2s, url: %q}", sender == "scwatch", gateway.URL+"/api/v1/write")
	env := []string{
		"HOME=/nowhere", "SCW_API_URL=" + api, "SCW_ACCESS_KEY=" + simulator.DemoAccessKey, "SCW_SECRET_KEY=" + simulator.DemoSecretKey,
		"SCW_DEFAULT_PROJECT_ID=" + simulator.DemoHome, "SCWATCH_CONFIG=" + pushing,
	}
	var killed *exec.Cmd
	daemon := func(address string) []string {
		return []string{"serve", "--web.listen-address=" + address, "--storage.path=" + filepath.Join(dir, "data"), "--log.level=error"}
	}
	metrics := startProgram(b, program, daemon, env, &killed)
	restart := func() { startProgram(b, program, daemon, env, &killed) }
	if sender == "agent" {
		file := writeConfig(b, dir, "agent.yml", fmt.Sprintf("global: {scrape_interval: 1s}\nscrape_configs: [{job_name: a, static_configs: [{targets: [%q]}], metric_relabel_configs: [{source_labels: [__name__], regex: '(scaleway|scwatch)_.*', action: keep}]}]\nremote_write: [{url: %q}]", metrics, gateway.URL+"/api/v1/write"))
		agent := func(address string) []string {
			return []string{"--enable-feature=agent", "--config.file=" + file, "--storage.agent.path=" + filepath.Join(dir, "agent"), "--web.listen-address=" + address}
		}
		startProgram(b, "prometheus", agent, nil, &killed)
		restart = func() { startProgram(b, "prometheus", agent, nil, &killed) }
	}
	time.Sleep(20 * time.Second) // everything is read and steady
	began, sentBefore := time.Now(), bytesSent.Load()
	time.Sleep(20 * time.Second)
	bytesPerSecond := float64(bytesSent.Load()-sentBefore) / 20
	down.Store(true)
	time.Sleep(10 * time.Second)
	peak, cpu := memory(b, killed.Process.Pid, "VmHWM"), cpuSeconds(b, killed.Process.Pid)
	killed.Process.Kill()
	killed.Wait()
	restart()
	time.Sleep(10 * time.Second)
	down.Store(false)
	time.Sleep(25 * time.Second)
	until := time.Now().Add(-5 * time.Second)
	seconds := int(until.Sub(began).Seconds())
	answer := fetch(http.MethodGet, receiver+"/api/v1/query?query="+url.QueryEscape(fmt.Sprintf(`sum(count_over_time(scwatch_api_requests_total{api="functions",code="200"}[%ds]))`, seconds))+fmt.Sprintf("&time=%d", until.Unix()))
	m := regexp.MustCompile(`"(\d+)"\]`).FindStringSubmatch(answer)
	if m == nil {
		b.Fatal(answer)
	}
	n, _ := strconv.Atoi(m[1])
	b.ReportMetric(float64(seconds-n), "lost-s")
	b.ReportMetric(float64(seconds), "of-s")
	b.ReportMetric(bytesPerSecond/1000, "kB/s")
	b.ReportMetric(peak, "peak-MB")
	b.ReportMetric(cpu, "cpu-s")
}

// How long it takes from a change to the page, everything as shipped and by
// default: twenty functions are made public, each at a moment of its own, and
// both ways are taken, pushed and scraped.
func BenchmarkDetection(b *testing.B) {
	for b.Loop() {
		byPush, byScrape := newPagers(b), newPagers(b)
		sim := simulator.New(simulator.DemoAccount(time.Now()))
		api, end, err := sim.Listen("127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		defer end()
		receiver, err := url.Parse("http://" + alertOn(b, "", byPush, asShipped))
		if err != nil {
			b.Fatal(err)
		}
		var exposed []string
		sim.Update(func(a *simulator.Account) {
			a.Storage = remoteWrite(receiver)
			for n := range 20 {
				f := *a.Lookup("shop", "refunds")
				f.ID, f.Name = fmt.Sprintf("eeeeeeee-0000-4000-8000-%012d", n), fmt.Sprintf("exposed-%d", n)
				f.Triggers = nil
				a.Create("shop", f)
				exposed = append(exposed, f.Name)
			}
		})
		metrics := startProgram(b, scwatchProgram(b), func(address string) []string {
			return []string{"serve", "--web.listen-address=" + address, "--storage.path=" + b.TempDir()}
		}, []string{
			"HOME=/nowhere", "SCW_API_URL=" + api, "SCW_ACCESS_KEY=" + simulator.DemoAccessKey, "SCW_SECRET_KEY=" + simulator.DemoSecretKey,
			"SCW_DEFAULT_ORGANIZATION_ID=" + simulator.DemoOrganization, "SCW_DEFAULT_PROJECT_ID=" + simulator.DemoHome,
			`SCWATCH_CONFIG={scaleway: {projects: ["*"]}, push: {enabled: true}}`,
		}, nil)
		alertOn(b, metrics, byScrape, asShipped)
		time.Sleep(3 * time.Minute) // the first rounds are over
		at := map[string]time.Time{}
		for _, function := range exposed {
			time.Sleep(rand.N(40 * time.Second))
			sim.Update(func(a *simulator.Account) { a.Lookup("shop", function).Privacy = "public" })
			at[function] = time.Now()
		}
		for way, came := range map[string]*pagers{"pushed": byPush, "scraped": byScrape} {
			var took []float64
			for _, function := range exposed {
				took = append(took, came.waitFor(b, "the page about "+function, pageAbout(function, "firing")).at.Sub(at[function]).Seconds())
			}
			slices.Sort(took)
			b.Logf("%s: %.0f", way, took)
			b.ReportMetric(took[len(took)/2], way+"-median-s")
			b.ReportMetric(took[len(took)-1], way+"-longest-s")
		}
	}
}

// What one evaluation of all rules over 1,000 functions costs Prometheus: every
// tenth is public, and every tenth refuses calls. With a second for each minute, so that
// the ranges up to two hours are full, and samples two of them apart, as pushed.
func BenchmarkRules(b *testing.B) {
	sim := simulator.New(simulator.LargeAccount(1000, 100, 3, time.Now()))
	api, end, err := sim.Listen("127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer end()
	metrics := startProgram(b, scwatchProgram(b), func(address string) []string {
		return []string{"serve", "--web.listen-address=" + address, "--storage.path=" + b.TempDir()}
	}, []string{
		"HOME=/nowhere", "SCW_API_URL=" + api, "SCW_ACCESS_KEY=" + simulator.DemoAccessKey, "SCW_SECRET_KEY=" + simulator.DemoSecretKey,
		"SCW_DEFAULT_PROJECT_ID=" + simulator.DemoHome, "SCWATCH_CONFIG={collect: {interval: 1m, slow_interval: 15m, rate_limit: 10000}}",
	}, nil)
	info := regexp.MustCompile(`(?m)^scaleway_function_info\{((?:project_id|region|namespace|function|function_id)="[^"]*",?)+`)
	began := time.Now()
	fleet := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, page, _ := strings.Cut(fetch(http.MethodGet, "http://"+metrics+"/metrics"), "\n")
		io.WriteString(w, page)
		for i, labels := range info.FindAllString(page, -1) {
			labels = strings.TrimSuffix(strings.TrimPrefix(labels, "scaleway_function_info{"), ",")
			refused := 0.0
			if i%10 == 0 {
				refused = time.Since(began).Seconds()
			}
			for _, code := range []string{"401", "403"} {
				fmt.Fprintf(w, "scaleway_function_rejected_calls_total{%s,code=%q,source=\"metrics\"} %.0f\n", labels, code, refused)
			}
		}
	}))
	defer fleet.Close()
	asPushed := hurried
	asPushed.scrape = "2s"
	prometheus := alertOn(b, strings.TrimPrefix(fleet.URL, "http://"), newPagers(b), asPushed)
	took := regexp.MustCompile(`(?m)^prometheus_rule_group_last_duration_seconds\{rule_group=".*;(\S+)"\} (\S+)$`)
	for b.Loop() {
		time.Sleep(130 * time.Second)
		all := map[string][]float64{}
		for range 20 {
			time.Sleep(5 * time.Second)
			for _, m := range took.FindAllStringSubmatch(fetch(http.MethodGet, "http://"+prometheus+"/metrics"), -1) {
				seconds, _ := strconv.ParseFloat(m[2], 64)
				all[m[1]] = append(all[m[1]], seconds*1000)
			}
		}
		var least, median float64
		for group, ms := range all {
			slices.Sort(ms)
			least, median = least+ms[0], median+ms[len(ms)/2]
			b.ReportMetric(ms[0], group+"-ms")
		}
		b.ReportMetric(least, "least-ms")
		b.ReportMetric(median, "median-ms")
	}
}

func writeConfig(b testing.TB, dir, name, text string) string {
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	return file
}

// startProgram starts a server on a free port and returns its address when it
// answers; running is the process, which ends with the test at the latest.
func startProgram(b testing.TB, program string, args func(address string) []string, env []string, running **exec.Cmd) string {
	b.Helper()
	return startReadyAt(b, "/-/ready", program, args, env, running)
}

// startReadyAt is the same for one that says elsewhere that it is ready.
func startReadyAt(b testing.TB, ready, program string, args func(address string) []string, env []string, running **exec.Cmd) string {
	b.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	cmd := exec.Command(program, args(address)...)
	cmd.Env = env
	log, err := os.Create(filepath.Join(b.TempDir(), "log"))
	if err != nil {
		b.Fatal(err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	if running != nil {
		*running = cmd
	}
	for end := time.Now().Add(60 * time.Second); !strings.HasPrefix(fetch(http.MethodGet, "http://"+address+ready), "200"); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			said, _ := os.ReadFile(log.Name())
			b.Fatalf("%s is not ready after a minute:\n%s", program, said)
		}
	}
	return address
}

// cpuSeconds is the time that a process has had so far.
func cpuSeconds(b *testing.B, pid int) float64 {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	user, _ := strconv.ParseFloat(fields[11], 64)
	system, _ := strconv.ParseFloat(fields[12], 64)
	return (user + system) / 100
}

// An audit from the first call to the last byte of the report, in a process of
// its own, over loopback and without a rate limit. The time is the simulated
// account's for the most part, which shares the cores: what scwatch itself takes
// is cpu-s.
func BenchmarkAudit(b *testing.B) {
	program := filepath.Join(b.TempDir(), "scwatch")
	if out, err := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", program, ".").CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	for _, functions := range []int{1_000, 10_000} {
		b.Run(fmt.Sprintf("functions=%d", functions), func(b *testing.B) {
			sim := simulator.New(simulator.LargeAccount(functions, functions/10, 3, time.Now()))
			url, end, err := sim.Listen("127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			defer end()
			for b.Loop() {
				audit := exec.Command(program, "audit", "--format=json", "--fail-on=never")
				audit.Env = []string{
					"HOME=/nowhere", "SCW_API_URL=" + url, "SCW_ACCESS_KEY=" + simulator.DemoAccessKey, "SCW_SECRET_KEY=" + simulator.DemoSecretKey,
					"SCW_DEFAULT_PROJECT_ID=" + simulator.DemoHome, "SCWATCH_CONFIG={collect: {concurrency: 16, rate_limit: 1000000}}",
				}
				audit.Stderr = os.Stderr
				if _, err := audit.Output(); err != nil {
					b.Fatal(err)
				}
				b.ReportMetric((audit.ProcessState.UserTime() + audit.ProcessState.SystemTime()).Seconds(), "cpu-s")
				b.ReportMetric(float64(audit.ProcessState.SysUsage().(*syscall.Rusage).Maxrss)*1024/1e6, "peak-MB")
			}
		})
	}
}

package main

import (
	"bytes"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/scwatch/scwatch/internal/simulator"
)

// A kill -9 at any moment loses nothing that was shown: what /metrics said of
// the past, the next process says as well, and the state file is never damaged.
func TestKilledInALoop(t *testing.T) {
	sim := simulator.New(simulator.DemoAccount(time.Now()))
	url, end, err := sim.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	dir := t.TempDir()
	program := scwatchProgram(t)
	changes := regexp.MustCompile(`(?m)^scaleway_function_privacy_changes_total\{.*function="checkout",.*to="public"\} (\d+)$`)
	shown := func(address string) int {
		if m := changes.FindStringSubmatch(fetch(http.MethodGet, "http://"+address+"/metrics")); m != nil {
			n, _ := strconv.Atoi(m[1])
			return n
		}
		return -1
	}
	const rounds = 12
	made, last := 0, 0
	for round := range rounds {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		address := listener.Addr().String()
		listener.Close()
		var log bytes.Buffer
		daemon := exec.Command(program, "serve", "--web.listen-address="+address, "--storage.path="+dir)
		daemon.Stderr = &log
		daemon.Env = []string{
			"HOME=" + dir, "SCW_API_URL=" + url, "SCW_ACCESS_KEY=" + simulator.DemoAccessKey, "SCW_SECRET_KEY=" + simulator.DemoSecretKey,
			"SCW_DEFAULT_ORGANIZATION_ID=" + simulator.DemoOrganization, `SCWATCH_CONFIG={scaleway: {projects: ["*"]}, collect: {interval: 1s}}`,
		}
		if err := daemon.Start(); err != nil {
			t.Fatal(err)
		}
		first := -1
		for end := time.Now().Add(30 * time.Second); first < 0 && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			first = shown(address)
		}
		if first < last || first > made {
			t.Errorf("round %d: %d changes after the restart; %d were shown before and %d made", round, first, last, made)
		}
		// The function is opened and closed while polls go by; the end comes
		// at any moment.
		for stop := time.Now().Add(rand.N(3 * time.Second)); time.Now().Before(stop); time.Sleep(rand.N(300 * time.Millisecond)) {
			sim.Update(func(a *simulator.Account) {
				f := a.Lookup("shop", "checkout")
				if f.Privacy == "private" {
					f.Privacy = "public"
					made++
				} else {
					f.Privacy = "private"
				}
			})
			last = max(last, shown(address))
		}
		daemon.Process.Kill()
		daemon.Wait()
		if bytes.Contains(log.Bytes(), []byte("set aside")) {
			t.Errorf("round %d: the state file was damaged:\n%s", round, &log)
		}
	}
	if last == 0 {
		t.Error("no change was ever shown, so that nothing could be lost")
	}
	t.Logf("%d of %d changes were seen by polls a second apart", last, made)
}

// scwatchProgram returns a path at which this test's own binary is scwatch.
func scwatchProgram(tb testing.TB) string {
	tb.Helper()
	self, err := os.Executable()
	if err != nil {
		tb.Fatal(err)
	}
	program := filepath.Join(tb.TempDir(), "scwatch")
	if err := os.Symlink(self, program); err != nil {
		tb.Fatal(err)
	}
	return program
}

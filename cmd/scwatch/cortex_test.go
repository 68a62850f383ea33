package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/scwatch/scwatch/internal/simulator"
)

// The way through a Cockpit whose ruler and Alertmanager are real: scwatch pushes
// into a Cortex, apply puts the rules and the routes there, and the page comes and
// goes with the exposure. No package has Cortex; its API is Mimir's.
func TestFromApplyToThePager(t *testing.T) {
	program, err := exec.LookPath("cortex")
	if err != nil {
		t.Skip("no cortex on PATH: build it with -tags slicelabels")
	}
	cortex := startCortex(t, program)
	p := newPatient(t)
	p.instead(cockpitBy(t, p, cortex))
	came := newSlack(t)
	p.write(t, "routes.yaml", slackRoutes(t, came.URL))
	if err := os.Mkdir(filepath.Join(p.dir, "templates"), 0o700); err != nil {
		t.Fatal(err)
	}
	p.write(t, "templates/scwatch.tmpl", shipped(t, "templates/scwatch.tmpl"))
	p.write(t, "scwatch.yaml", `
scaleway: {regions: [fr-par], projects: ["*"]}
collect: {interval: 5s, slow_interval: 30s}
push: {enabled: true}
rejected_calls: {source: "off"}
provision: {targets: [{dashboards: [], alertmanager: routes.yaml}]}
`)
	if out, code := p.run(t, "apply", "--auto-approve", "--config.file=scwatch.yaml"); code != 0 {
		t.Fatalf("apply: exit code %d\n%s", code, out)
	}
	if out, code := p.run(t, "plan", "--config.file=scwatch.yaml"); code != 0 {
		t.Errorf("the plan after it is not empty: exit code %d\n%s", code, out)
	}
	startProgram(t, scwatchProgram(t), func(address string) []string {
		return []string{"serve", "--config.file=" + filepath.Join(p.dir, "scwatch.yaml"), "--web.listen-address=" + address, "--storage.path=" + filepath.Join(p.dir, "data")}
	}, p.environment(), nil)
	came.waitFor(t, "the watchdog", `"#WATCHDOG"`)

	set := func(privacy string) {
		p.Update(func(a *simulator.Account) { a.Lookup("shop", "cart").Privacy = privacy })
	}
	set("public")
	came.waitFor(t, "the page about shop/cart", `"#PAGER".*"Anybody on the Internet can call the function cart\.`)
	if out, code := p.run(t, "doctor", "--config.file=scwatch.yaml"); !strings.Contains(out, "\nok           rules evaluated ") || !strings.Contains(out, "\nok           rules' series ") || !strings.Contains(out, "\nok           push ") {
		t.Errorf("doctor: exit code %d\n%s", code, out)
	}
	set("private")
	came.waitFor(t, "the end of the page", `"#PAGER".*"Resolved: Anybody on the Internet can call the function cart\.`)
	if pages := came.all(`"#PAGER"`); len(pages) != 2 {
		t.Errorf("the pager had %d messages, want the page and its end:\n%s", len(pages), strings.Join(pages, ""))
	}
	if out, code := p.run(t, "destroy", "--auto-approve", "--config.file=scwatch.yaml"); code != 0 {
		t.Errorf("destroy: exit code %d\n%s", code, out)
	}
}

// startCortex runs one of a single process, with short intervals, and returns its
// URL.
func startCortex(t *testing.T, program string) string {
	dir := t.TempDir()
	ports := make([]string, 2)
	for i := range ports {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		_, ports[i], _ = net.SplitHostPort(listener.Addr().String())
		listener.Close()
	}
	config := strings.NewReplacer("DIR", dir, "HTTP", ports[0], "GRPC", ports[1]).Replace(`
auth_enabled: false
server: {http_listen_port: HTTP, http_listen_address: 127.0.0.1, grpc_listen_address: 127.0.0.1, grpc_listen_port: GRPC}
distributor: {shard_by_all_labels: true, ring: {kvstore: {store: inmemory}, instance_addr: 127.0.0.1}}
ingester: {lifecycler: {address: 127.0.0.1, min_ready_duration: 0s, final_sleep: 0s, num_tokens: 512, ring: {kvstore: {store: inmemory}, replication_factor: 1}}}
blocks_storage: {tsdb: {dir: DIR/tsdb}, bucket_store: {sync_dir: DIR/sync}, backend: filesystem, filesystem: {dir: DIR/blocks}}
compactor: {data_dir: DIR/compactor, sharding_ring: {kvstore: {store: inmemory}}}
ruler: {enable_api: true, poll_interval: 5s, rule_path: DIR/rules, alertmanager_url: "http://127.0.0.1:HTTP/alertmanager"}
ruler_storage: {backend: filesystem, filesystem: {dir: DIR/ruler}}
alertmanager_storage: {backend: filesystem, filesystem: {dir: DIR/alertmanager}}
frontend_worker: {match_max_concurrent: true}
alertmanager: {external_url: "http://localhost/alertmanager", enable_api: true, poll_interval: 5s, data_dir: DIR/amdata}
limits: {ruler_max_rules_per_rule_group: 20, ruler_max_rule_groups_per_tenant: 70}
`)
	p := &patient{dir: dir}
	p.write(t, "cortex.yaml", config)
	var said bytes.Buffer
	cmd := exec.Command(program, "-config.file="+dir+"/cortex.yaml", "-target=all,alertmanager")
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	base := "http://127.0.0.1:" + ports[0]
	for end := time.Now().Add(time.Minute); !strings.HasPrefix(fetch(http.MethodGet, base+"/ready"), "200"); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(end) {
			cmd.Process.Kill()
			cmd.Wait()
			t.Fatalf("cortex is not ready after a minute:\n%s", &said)
		}
	}
	return base
}

// cockpitBy puts a Cortex behind the address of the home's data source and behind
// that of its alert manager.
func cockpitBy(t *testing.T, p *patient, cortex string) func(http.ResponseWriter, *http.Request) bool {
	to, err := url.Parse(cortex)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(to)
	own := regexp.MustCompile(`^/(data-sources/dddddddd-0000-4000-8000-000000000001|alert-managers/` + simulator.DemoHome + `/fr-par)/`)
	return func(w http.ResponseWriter, r *http.Request) bool {
		prefix := own.FindString(r.URL.Path)
		if prefix == "" {
			return false
		}
		for _, path := range []*string{&r.URL.Path, &r.URL.RawPath} {
			*path = strings.Replace("/"+strings.TrimPrefix(*path, prefix), "/prometheus/config/v1/rules", "/api/v1/rules", 1)
		}
		proxy.ServeHTTP(w, r)
		return true
	}
}

// slackRoutes are the shipped routes with receivers of Slack's kind: Cortex 1.21
// ends itself over any webhook_configs.
func slackRoutes(t *testing.T, hooks string) string {
	t.Helper()
	receiver := regexp.MustCompile(`webhook_configs:\n      - url: https://\w+\.example\.com/\$\{(\w+)_PATH\}\n(?:        send_resolved: false\n)?`)
	text := receiver.ReplaceAllString(shipped(t, "alertmanager.yaml"), fmt.Sprintf(`slack_configs:
      - {api_url: %q, channel: "#$1", send_resolved: true, title: '{{ template "scwatch.title" . }}', text: '{{ template "scwatch.text" . }}'}
`, hooks))
	if strings.Contains(text, "webhook_configs") {
		t.Fatalf("a receiver was not replaced:\n%s", text)
	}
	return strings.ReplaceAll(text, "group_interval: 5m", "group_interval: 10s") // the end of a page waits for it
}

// slack keeps what comes to its webhook.
type slack struct {
	*httptest.Server

	mu   sync.Mutex
	came []string
}

func newSlack(t *testing.T) *slack {
	s := &slack{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "ok") // anything else is sent again
		body, _ := io.ReadAll(r.Body)
		if !json.Valid(body) {
			t.Errorf("no JSON came: %s", body)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.came = append(s.came, string(body))
	}))
	t.Cleanup(s.Close)
	return s
}

// all are the messages that match a pattern.
func (s *slack) all(pattern string) (found []string) {
	wanted := regexp.MustCompile(pattern)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, message := range s.came {
		if wanted.MatchString(message) {
			found = append(found, message)
		}
	}
	return found
}

func (s *slack) waitFor(t *testing.T, what, pattern string) {
	t.Helper()
	for end := time.Now().Add(4 * time.Minute); len(s.all(pattern)) == 0; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s did not come; what came:\n%s", what, strings.Join(s.all(``), ""))
		}
	}
}

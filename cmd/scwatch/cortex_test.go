package main

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

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
	came := newPagers(t)
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
	came.waitFor(t, "the watchdog", saying(`"#WATCHDOG"`))

	set := func(privacy string) {
		p.Update(func(a *simulator.Account) { a.Lookup("shop", "cart").Privacy = privacy })
	}
	set("public")
	came.waitFor(t, "the page about shop/cart", saying(`"#PAGER".*"Anybody on the Internet can call the function cart\.`))
	if out, code := p.run(t, "doctor", "--config.file=scwatch.yaml"); !strings.Contains(out, "\nok           rules evaluated ") || !strings.Contains(out, "\nok           rules' series ") || !strings.Contains(out, "\nok           push ") {
		t.Errorf("doctor: exit code %d\n%s", code, out)
	}
	set("private")
	came.waitFor(t, "the end of the page", saying(`"#PAGER".*"Resolved: Anybody on the Internet can call the function cart\.`))
	if pages := came.all(saying(`"#PAGER"`)); len(pages) != 2 {
		t.Errorf("the pager had %d messages, want the page and its end: %+v", len(pages), pages)
	}
	if out, code := p.run(t, "destroy", "--auto-approve", "--config.file=scwatch.yaml"); code != 0 {
		t.Errorf("destroy: exit code %d\n%s", code, out)
	}
}

// saying matches messages by their text.
func saying(pattern string) func(notification) bool {
	wanted := regexp.MustCompile(pattern)
	return func(n notification) bool { return wanted.MatchString(n.text) }
}

// startCortex runs one of a single process, with short intervals, and returns its
// URL.
func startCortex(t *testing.T, program string) string {
	dir := t.TempDir()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, grpc, _ := net.SplitHostPort(listener.Addr().String())
	listener.Close()
	return "http://" + startReadyAt(t, "/ready", program, func(address string) []string {
		_, port, _ := net.SplitHostPort(address)
		config := strings.NewReplacer("DIR", dir, "HTTP", port, "GRPC", grpc).Replace(`
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
		return []string{"-config.file=" + writeConfig(t, dir, "cortex.yaml", config), "-target=all,alertmanager"}
	}, nil, nil)
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

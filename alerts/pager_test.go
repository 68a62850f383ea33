package alerts

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// The shipped rules in a real Prometheus and the shipped routes in a real
// Alertmanager, with seconds for minutes: every exposure is one page, whatever
// happens to the function's ID and to scwatch, until it is over.
func TestFromTheRulesToThePager(t *testing.T) {
	t.Parallel()
	scwatch := newExporter(t)
	receivers := newReceivers(t)
	dir := t.TempDir()

	minutes := regexp.MustCompile(`interval: [15]m\b`)
	for _, file := range ruleFiles(t, "*.yaml") {
		put(t, filepath.Join(dir, file), minutes.ReplaceAll(read(t, file), []byte("interval: 1s")))
	}
	waits := regexp.MustCompile(`(group_wait|group_interval): \d+[smh]`)
	hosts := regexp.MustCompile(`https://(\w+)\.example\.com`)
	routes := waits.ReplaceAll(read(t, "alertmanager.yaml"), []byte("$1: 1s"))
	put(t, filepath.Join(dir, "am", "alertmanager.yaml"), hosts.ReplaceAll(routes, []byte(receivers.URL+"/$1")))
	put(t, filepath.Join(dir, "am", "templates", "scwatch.tmpl"), read(t, "templates/scwatch.tmpl"))

	alertmanager := start(t, "prometheus-alertmanager", "prometheus-alertmanager", "--config.file="+filepath.Join(dir, "am", "alertmanager.yaml"),
		"--storage.path="+filepath.Join(dir, "am", "data"), "--cluster.listen-address=")
	put(t, filepath.Join(dir, "prometheus.yml"), fmt.Appendf(nil, `
global: {scrape_interval: 1s}
rule_files: [%q]
scrape_configs: [{job_name: scwatch, static_configs: [{targets: [%q]}]}]
alerting: {alertmanagers: [{static_configs: [{targets: [%q]}]}]}
`, filepath.Join(dir, "*.yaml"), strings.TrimPrefix(scwatch.URL, "http://"), alertmanager))
	start(t, "prometheus", "prometheus", "--config.file="+filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--rules.alert.resend-delay=1s")

	receivers.waitFor(t, "the watchdog", func(n notification) bool { return n.Receiver == "scwatch-watchdog" })

	page := func(function, status string) func(notification) bool {
		return func(n notification) bool {
			return n.Receiver == "scwatch-pager" && n.Status == status && n.GroupLabels["function"] == function
		}
	}
	scwatch.open("checkout", true)
	n := receivers.waitFor(t, "the page about checkout", page("checkout", "firing"))
	if len(n.Alerts) != 1 || n.Alerts[0].Annotations["summary"] != "Anybody on the Internet can call the function checkout." {
		t.Errorf("the page says %+v", n.Alerts)
	}
	scwatch.open("cart", true)
	n = receivers.waitFor(t, "a page of its own about cart", page("cart", "firing"))
	if len(n.Alerts) != 1 {
		t.Errorf("the second exposure comes together with others: %+v", n.Alerts)
	}

	before := len(receivers.all(page("checkout", "firing")))
	scwatch.recreate("checkout", "another-id")
	scwatch.silent(3 * time.Second)
	scwatch.restart(2 * time.Second)
	time.Sleep(4 * time.Second)
	for _, status := range []string{"firing", "resolved"} {
		if got := len(receivers.all(page("checkout", status))); (status == "firing" && got != before) || (status == "resolved" && got != 0) {
			t.Errorf("a new ID, a silence and a restart made %d pages that are %s", got, status)
		}
	}

	scwatch.open("checkout", false)
	receivers.waitFor(t, "the end of the page about checkout", page("checkout", "resolved"))
	if resolved := receivers.all(page("cart", "resolved")); len(resolved) > 0 {
		t.Errorf("the page about cart ended with that about checkout")
	}
}

// exporter shows two functions as scwatch does.
type exporter struct {
	*httptest.Server

	mu        sync.Mutex
	functions map[string]*exposure
	mode      string // "", silent, starting
}

type exposure struct {
	id    string
	since time.Time // zero: private
	ever  int
}

func newExporter(t *testing.T) *exporter {
	e := &exporter{functions: map[string]*exposure{"checkout": {id: "f-1"}, "cart": {id: "f-2"}}}
	e.Server = httptest.NewServer(e)
	t.Cleanup(e.Close)
	return e
}

func (e *exporter) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.mode == "silent" {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	up := 1
	if e.mode == "starting" {
		up = 0
	}
	fmt.Fprintf(w, "scwatch_poll_up{source=\"projects\"} %d\n", up)
	for _, source := range []string{"functions", "runtimes", "tokens"} {
		fmt.Fprintf(w, "scwatch_poll_up{project_id=\"p-1\",region=\"fr-par\",source=%q} %d\n", source, up)
	}
	if up == 0 {
		return
	}
	for name, f := range e.functions {
		labels := fmt.Sprintf(`project_id="p-1",region="fr-par",namespace="shop",function=%q,function_id=%q`, name, f.id)
		public := 0
		if !f.since.IsZero() {
			public = 1
			fmt.Fprintf(w, "scaleway_function_finding{%s,check=\"function_public\",severity=\"high\"} 1\n", labels)
			fmt.Fprintf(w, "scaleway_function_public_since_timestamp_seconds{%s} %d\n", labels, f.since.Unix())
		}
		fmt.Fprintf(w, "scaleway_function_info{%s,project=\"payments\",team=\"payments\"} 1\n", labels)
		fmt.Fprintf(w, "scaleway_function_privacy{%s,privacy=\"public\"} %d\n", labels, public)
		fmt.Fprintf(w, "scaleway_function_privacy{%s,privacy=\"private\"} %d\n", labels, 1-public)
		fmt.Fprintf(w, "scaleway_function_privacy_changes_total{%s,to=\"public\"} %d\n", labels, f.ever)
		fmt.Fprintf(w, "scaleway_function_created_timestamp_seconds{%s} 1.7e9\n", labels)
	}
}

func (e *exporter) change(f func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	f()
}

func (e *exporter) open(name string, public bool) {
	e.change(func() {
		f := e.functions[name]
		f.since = time.Time{}
		if public {
			f.since = time.Now()
			f.ever++
		}
	})
}

func (e *exporter) recreate(name, id string) { e.change(func() { e.functions[name].id = id }) }

func (e *exporter) silent(d time.Duration) {
	e.change(func() { e.mode = "silent" })
	time.Sleep(d)
}

func (e *exporter) restart(d time.Duration) {
	e.change(func() { e.mode = "starting" })
	time.Sleep(d)
	e.change(func() { e.mode = "" })
}

// notification is what Alertmanager posts to a webhook.
type notification struct {
	Receiver, Status string
	GroupLabels      map[string]string
	Alerts           []struct{ Labels, Annotations map[string]string }
}

type receivers struct {
	*httptest.Server

	mu   sync.Mutex
	came []notification
}

func newReceivers(t *testing.T) *receivers {
	r := &receivers{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		var n notification
		if err := json.NewDecoder(req.Body).Decode(&n); err != nil {
			t.Error(err)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.came = append(r.came, n)
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receivers) all(match func(notification) bool) (found []notification) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range r.came {
		if match(n) {
			found = append(found, n)
		}
	}
	return found
}

func (r *receivers) waitFor(t *testing.T, what string, match func(notification) bool) notification {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if found := r.all(match); len(found) > 0 {
			return found[0]
		}
	}
	t.Fatalf("%s did not come; what came: %+v", what, r.all(func(notification) bool { return true }))
	return notification{}
}

// start runs a server of a Debian package and returns its address.
func start(t *testing.T, pkg, program string, args ...string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	log := filepath.Join(t.TempDir(), "log")
	file, err := os.Create(log)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	server := exec.Command(program, append(args, "--web.listen-address="+address)...)
	server.Stdout, server.Stderr = file, file
	if err := server.Start(); errors.Is(err, exec.ErrNotFound) {
		t.Fatalf("%s is missing; it comes with Debian's package %s", program, pkg)
	} else if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		server.Process.Kill()
		server.Wait()
	})
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if response, err := http.Get("http://" + address + "/-/ready"); err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return address
			}
		}
	}
	said, _ := os.ReadFile(log)
	t.Fatalf("%s does not get ready:\n%s", program, said)
	return ""
}

func put(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

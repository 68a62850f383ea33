package main

import (
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/common/model"

	"github.com/scwatch/scwatch/alerts"
	"github.com/scwatch/scwatch/internal/simulator"
)

// The whole way as it is shipped, not a letter changed: the demo, which makes
// shop/checkout public after a minute, the rules in a real Prometheus, the
// routes in a real Alertmanager, and the page.
func TestFromTheDemoToThePager(t *testing.T) {
	t.Parallel()
	came := newPagers(t)
	var demo *exec.Cmd
	args := func(address string) []string {
		return []string{"demo", "--web.listen-address=" + address, "--log.level=error"}
	}
	started := time.Now()
	metrics := startProgram(t, scwatchProgram(t), args, []string{"HOME=" + t.TempDir(), "TMPDIR=" + t.TempDir()}, &demo)
	alertOn(t, metrics, came, asShipped)

	page := came.waitFor(t, "the page about checkout", pageAbout("checkout", "firing"))
	exposed := started.Add(time.Minute) // as the demo's scenario says
	// The demo polls every 10 s; Prometheus scrapes every 15 and evaluates every
	// minute; group_wait is 10 s. The rest is for a machine that runs all tests at once.
	budget := 10*time.Second + 15*time.Second + time.Minute + 10*time.Second + 30*time.Second
	if took := page.at.Sub(exposed); took > budget {
		t.Errorf("the page came %s after the exposure, the budget is %s", took, budget)
	}
	if len(page.Alerts) != 1 {
		t.Fatalf("the page has %d alerts, want the one about checkout: %+v", len(page.Alerts), page.Alerts)
	}
	for name, want := range map[string]string{
		"alertname": "ScalewayFunctionPublic", "severity": "critical", "check": "function_public", "team": "payments",
		"project": "payments", "project_id": "bbbbbbbb-0000-4000-8000-000000000002", "region": "fr-par", "namespace": "shop", "function": "checkout",
	} {
		if got := page.Alerts[0].Labels[name]; got != want {
			t.Errorf("the label %s is %q, want %q", name, got, want)
		}
	}
	if len(page.Alerts[0].Labels) != 9 {
		t.Errorf("the labels are %v: some make the alert another one after a restart or a new deployment", page.Alerts[0].Labels)
	}
	if len(page.GroupLabels) != 4 {
		t.Errorf("the page is grouped by %v, want project, region, namespace and function", page.GroupLabels)
	}
	for name, want := range map[string]string{
		"summary":       "Anybody on the Internet can call the function checkout.",
		"description":   "checkout in namespace shop (project payments, fr-par, team payments) is public since ",
		"runbook_url":   "https://github.com/scwatch/scwatch/blob/main/docs/runbooks/ScalewayFunctionPublic.md",
		"dashboard_url": "/d/scwatch-function?var-project=bbbbbbbb-0000-4000-8000-000000000002&var-region=fr-par&var-namespace=shop&var-function=checkout",
	} {
		if got := page.Alerts[0].Annotations[name]; !strings.HasPrefix(got, want) {
			t.Errorf("the %s is %q, want %q", name, got, want)
		}
	}
}

// The same with a second for each minute, and with an account that outlives
// scwatch: whatever happens to the API, to scwatch and to the function's ID,
// each exposure is one page, from its beginning to its end.
func TestEachExposureIsOnePage(t *testing.T) {
	t.Parallel()
	sim := simulator.New(simulator.DemoAccount(time.Now()))
	api, end, err := sim.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	came := newPagers(t)
	s := startService(t, api, "scaleway: {projects: ['*']}\ncollect: {interval: 1s, slow_interval: 15s, stale_after: 15s}\nexceptions_from_tags: true")
	alertOn(t, s.address, came, hurried)
	set := func(function, privacy string) {
		sim.Update(func(a *simulator.Account) { a.Lookup("shop", function).Privacy = privacy })
	}
	for _, source := range []string{"functions", "runtimes", "tokens"} {
		s.waitUntil(t, `(?m)^scwatch_poll_up\{.*region="fr-par",source="`+source+`"\} 1$`)
	}

	set("checkout", "public")
	came.waitFor(t, "the page about checkout", pageAbout("checkout", "firing"))
	set("cart", "public")
	if page := came.waitFor(t, "a page of its own about cart", pageAbout("cart", "firing")); len(page.Alerts) != 1 {
		t.Errorf("the second exposure comes together with others: %+v", page.Alerts)
	}

	sim.Update(func(a *simulator.Account) {
		f := a.Delete("shop", "checkout")
		f.ID = "eeeeeeee-0000-4000-8000-000000000009"
		a.Create("shop", f)
	})
	s.waitUntil(t, `scaleway_function_info\{.*function_id="eeeeeeee-0000-4000-8000-000000000009"`)

	answers := sim.Fault(simulator.Fault{Path: "/functions/", Kind: simulator.Unavailable})
	came.waitFor(t, "ScwatchPollFailing", named("ScwatchPollFailing"))
	s.waitWhile(t, `scaleway_function_info`) // the last good values are too old
	s.kill(t)
	came.waitFor(t, "ScwatchDown", named("ScwatchDown"))
	s.start(t)
	s.waitUntil(t, `(?m)^scwatch_poll_up\{.*source="functions"\} 0$`)
	answers()
	came.waitFor(t, "the end of ScwatchDown", func(n notification) bool { return named("ScwatchDown")(n) && n.Status == "resolved" })
	s.waitUntil(t, `(?m)^scwatch_poll_up\{.*source="functions"\} 1$`)
	// What the recovery ends or repeats by mistake comes within the next minutes.
	for range 3 {
		came.waitForAnother(t, "the watchdog", named("ScwatchWatchdog"))
	}
	for _, function := range []string{"checkout", "cart"} {
		for status, want := range map[string]int{"firing": 1, "resolved": 0} {
			if got := came.all(pageAbout(function, status)); len(got) != want {
				t.Errorf("%d pages say that %s is %s, want %d: %+v", len(got), function, status, want, got)
			}
		}
	}

	set("checkout", "private")
	came.waitFor(t, "the end of the page about checkout", pageAbout("checkout", "resolved"))
	if ended := came.all(pageAbout("cart", "resolved")); len(ended) > 0 {
		t.Error("the page about cart ended with that about checkout")
	}
}

// alertOn runs a Prometheus with the shipped rules, which scrapes metrics or, for
// "", is pushed to, and an Alertmanager with the shipped routes, whose receivers
// are came. It returns Prometheus's address.
func alertOn(t testing.TB, metrics string, came *pagers, pace pace) string {
	t.Helper()
	dir := t.TempDir()
	put := func(path, text string) {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{"posture", "rejected_calls", "lifecycle", "credentials", "scwatch", "dashboards"} {
		put("rules/"+file+".yaml", pace.text(shipped(t, file+".yaml")))
	}
	put("templates/scwatch.tmpl", shipped(t, "templates/scwatch.tmpl"))
	put("alertmanager.yaml", pace.text(exampleHost.ReplaceAllString(shipped(t, "alertmanager.yaml"), came.URL+"/$1")))
	alertmanager := startProgram(t, "prometheus-alertmanager", func(address string) []string {
		return []string{"--config.file=" + filepath.Join(dir, "alertmanager.yaml"), "--storage.path=" + filepath.Join(dir, "alertmanager"),
			"--cluster.listen-address=", "--web.listen-address=" + address, "--log.level=error"}
	}, nil, nil)
	targets := ""
	if metrics != "" {
		targets = strconv.Quote(metrics)
	}
	put("prometheus.yml", fmt.Sprintf(`
global: {scrape_interval: %s}
rule_files: [%q]
scrape_configs: [{job_name: scwatch, static_configs: [{targets: [%s]}]}]
alerting: {alertmanagers: [{static_configs: [{targets: [%q]}]}]}
`, pace.scrape, filepath.Join(dir, "rules", "*.yaml"), targets, alertmanager))
	return startProgram(t, "prometheus", func(address string) []string {
		return append([]string{"--config.file=" + filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path=" + filepath.Join(dir, "data"),
			"--web.listen-address=" + address, "--web.enable-remote-write-receiver", "--log.level=error"}, pace.prometheus...)
	}, nil, nil)
}

var exampleHost = regexp.MustCompile(`https://(\w+)\.example\.com`)

func shipped(t testing.TB, file string) string {
	t.Helper()
	text, err := fs.ReadFile(alerts.FS, file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// pace is how fast the rules, the routes and Prometheus go.
type pace struct {
	text       func(string) string
	scrape     string   // how often
	prometheus []string // further flags
}

var (
	asShipped = pace{text: func(text string) string { return text }, scrape: "15s"}

	// A second for each minute, in all that they measure time by.
	hurried = pace{
		text: func(text string) string {
			text = duration.ReplaceAllStringFunc(text, func(d string) string {
				long, err := model.ParseDuration(d)
				if err != nil {
					panic(err)
				}
				return (long / 60).String()
			})
			return inSeconds.ReplaceAllStringFunc(text, func(n string) string {
				seconds, err := strconv.Atoi(n)
				if err != nil {
					panic(err)
				}
				return strconv.Itoa(seconds / 60)
			})
		},
		scrape:     "1s",
		prometheus: []string{"--query.lookback-delta=5s", "--rules.alert.resend-delay=1s", "--rules.alert.for-grace-period=0s"},
	}
	duration  = regexp.MustCompile(`\b\d+[smhd]\b`)
	inSeconds = regexp.MustCompile(`\b(86400|3600|1500|900)\b`)
)

// service is a scwatch that can be killed and started again at its address.
type service struct {
	program, address, storage string
	env                       []string
	process                   *exec.Cmd
}

func startService(t *testing.T, api, config string) *service {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &service{
		program: scwatchProgram(t), address: listener.Addr().String(), storage: t.TempDir(),
		env: []string{
			"HOME=" + t.TempDir(), "SCW_API_URL=" + api, "SCW_ACCESS_KEY=" + simulator.DemoAccessKey, "SCW_SECRET_KEY=" + simulator.DemoSecretKey,
			"SCW_DEFAULT_ORGANIZATION_ID=" + simulator.DemoOrganization, "SCW_DEFAULT_PROJECT_ID=" + simulator.DemoHome, "SCWATCH_CONFIG=" + config,
		},
	}
	listener.Close()
	s.start(t)
	t.Cleanup(func() { s.kill(t) })
	return s
}

func (s *service) start(t *testing.T) {
	t.Helper()
	s.process = exec.Command(s.program, "serve", "--web.listen-address="+s.address, "--storage.path="+s.storage)
	s.process.Env = s.env
	if err := s.process.Start(); err != nil {
		t.Fatal(err)
	}
}

// kill is a kill -9.
func (s *service) kill(t *testing.T) {
	t.Helper()
	s.process.Process.Kill()
	s.process.Wait()
}

func (s *service) waitUntil(t *testing.T, pattern string) { t.Helper(); s.wait(t, pattern, true) }
func (s *service) waitWhile(t *testing.T, pattern string) { t.Helper(); s.wait(t, pattern, false) }

func (s *service) wait(t *testing.T, pattern string, want bool) {
	t.Helper()
	shown := regexp.MustCompile(pattern)
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if page := fetch(http.MethodGet, "http://"+s.address+"/metrics"); strings.HasPrefix(page, "200") && shown.MatchString(page) == want {
			return
		}
	}
	t.Fatalf("after a minute it is not %t that the metrics show %s", want, pattern)
}

// notification is what Alertmanager posts to a webhook.
type notification struct {
	Receiver, Status string
	GroupLabels      map[string]string
	Alerts           []struct{ Labels, Annotations map[string]string }

	at   time.Time
	text string // all of it
}

func pageAbout(function, status string) func(notification) bool {
	return func(n notification) bool {
		return n.Receiver == "scwatch-pager" && n.Status == status && n.GroupLabels["function"] == function
	}
}

func named(alert string) func(notification) bool {
	return func(n notification) bool { return n.GroupLabels["alertname"] == alert }
}

// pagers are the webhooks behind the receivers.
type pagers struct {
	*httptest.Server

	mu   sync.Mutex
	came []notification
}

func newPagers(t testing.TB) *pagers {
	p := &pagers{}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "ok") // a receiver of Slack's kind sends again after anything else
		body, _ := io.ReadAll(r.Body)
		n := notification{at: time.Now(), text: string(body)}
		if err := json.Unmarshal(body, &n); err != nil {
			t.Error(err)
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.came = append(p.came, n)
	}))
	t.Cleanup(p.Close)
	return p
}

func (p *pagers) all(match func(notification) bool) (found []notification) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, n := range p.came {
		if match(n) {
			found = append(found, n)
		}
	}
	return found
}

// waitFor returns the first notification that matches.
func (p *pagers) waitFor(t testing.TB, what string, match func(notification) bool) notification {
	t.Helper()
	return p.waitForNumber(t, 1, what, match)
}

// waitForAnother returns the next notification that matches.
func (p *pagers) waitForAnother(t testing.TB, what string, match func(notification) bool) notification {
	t.Helper()
	return p.waitForNumber(t, len(p.all(match))+1, what, match)
}

func (p *pagers) waitForNumber(t testing.TB, n int, what string, match func(notification) bool) notification {
	t.Helper()
	for end := time.Now().Add(4 * time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if found := p.all(match); len(found) >= n {
			return found[n-1]
		}
	}
	t.Fatalf("%s did not come; what came: %+v", what, p.all(func(notification) bool { return true }))
	return notification{}
}

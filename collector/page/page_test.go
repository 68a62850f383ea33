package page

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/scwatch/scwatch/collector"
	"github.com/scwatch/scwatch/collector/report"
)

var noon = time.Date(2026, 11, 2, 12, 0, 0, 0, time.UTC)

func check(id string) *collector.Check {
	for _, c := range collector.Checks {
		if c.ID == id {
			return c
		}
	}
	panic("no check " + id)
}

// functions are n public ones in three regions; the first has a lapsed and a
// running exception.
func functions(n int) []collector.Function {
	all := make([]collector.Function, n)
	for i := range all {
		all[i] = collector.Function{
			ProjectID: "11111111-0000-4000-8000-000000000001", Project: "platform", Region: []string{"fr-par", "nl-ams", "pl-waw"}[i%3],
			Namespace: fmt.Sprintf("shop-%d", i/10), Name: fmt.Sprintf("function-%d", i), Privacy: "public", HTTPOption: "enabled", Status: "ready", Runtime: "go126",
			Tags: []string{"team=web"}, Team: "web", Rejected: map[string]float64{"403": float64(i)},
			Findings: []collector.Finding{{Check: check("function_public"), What: "anybody can call it"}, {Check: check("function_http_allowed"), What: "plain HTTP is served"}},
		}
	}
	all[0].Excepted = []collector.Finding{{Check: check("function_sandbox_v1"), What: "its sandbox is v1", Exception: &collector.Exception{Owner: "web", Reason: "until the move", Expires: noon.AddDate(0, 0, 12)}}}
	all[0].Findings[0].Exception = &collector.Exception{Owner: "web", Reason: "was for a test", Expires: noon.AddDate(0, 0, -1)}
	return all
}

func snapshot(functions ...collector.Function) *collector.Snapshot {
	return &collector.Snapshot{At: noon, Functions: functions, Units: []collector.UnitStatus{
		{Unit: collector.Unit{ProjectID: "11111111-0000-4000-8000-000000000001", Region: "fr-par", Source: "functions"}, Up: true, Tried: true, LastSuccess: noon.Add(-40 * time.Second)},
	}}
}

func failing(s *collector.Snapshot, reason string) *collector.Snapshot {
	s.Units = append(s.Units, collector.UnitStatus{
		Unit: collector.Unit{ProjectID: "11111111-0000-4000-8000-000000000001", Region: "pl-waw", Source: "functions"}, Tried: true, FailedSince: noon.Add(-time.Hour),
		Error: &collector.APIError{Attempted: "list the namespaces", Status: 500, Reason: reason},
	})
	return s
}

// own are the daemon's metrics, with pushing and drift.
func own() *prometheus.Registry {
	reg := prometheus.NewRegistry()
	samples := prometheus.NewCounter(prometheus.CounterOpts{Name: "scwatch_push_samples_total", Help: "h"})
	forecast := prometheus.NewGauge(prometheus.GaugeOpts{Name: "scwatch_forecast_eur_per_month", Help: "h"})
	drift := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "scwatch_drift", Help: "h"}, []string{"kind"})
	reg.MustRegister(samples, forecast, drift)
	samples.Add(4711)
	forecast.Set(1.5)
	drift.WithLabelValues("dashboard").Set(2)
	return reg
}

func serve(s *collector.Snapshot, gatherer prometheus.Gatherer) http.Handler {
	return New(func() *collector.Snapshot { return s }, gatherer, func() time.Time { return noon })
}

func get(t testing.TB, s *collector.Snapshot, target string) string {
	t.Helper()
	w := httptest.NewRecorder()
	serve(s, own()).ServeHTTP(w, httptest.NewRequest("GET", target, nil))
	if w.Code != 200 {
		t.Fatalf("%s: %d %s", target, w.Code, w.Body)
	}
	return w.Body.String()
}

func TestPageSections(t *testing.T) {
	got := get(t, failing(snapshot(functions(3)...), "internal error"), "/")
	for name, want := range map[string]string{
		"sentence":         "3 functions, 3 public, 6 open findings, read 40 seconds ago.",
		"what is not seen": "could not be read: 1 of 2 units (functions pl-waw).",
		"finding":          "anybody can call it",
		"link":             `<a href="https://github.com/scwatch/scwatch/blob/main/docs/checks/function_public.md">`,
		"rejected calls":   `<td role="cell" data-name="Rejected calls">2</td>`,
		"unit":             "internal error",
		"never":            `<td role="cell" data-name="Last success">never</td>`,
		"push":             "4711",
		"forecast":         "1.50 €",
		"drift":            `<th role="rowheader" scope="row">dashboard</th><td role="cell">2</td>`,
		"exception":        "12 days left",
		"lapsed":           "lapsed: open again",
		"skip link":        `href="#main"`,
		"language":         `<html lang="en">`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%s: no %q", name, want)
		}
	}
	if strings.Index(got, "lapsed: open again") > strings.Index(got, "12 days left") {
		t.Error("what lapsed stands behind what has not")
	}
	if tables, captions := strings.Count(got, "<table"), strings.Count(got, "<caption"); tables != captions || tables != 6 {
		t.Errorf("%d tables, %d captions", tables, captions)
	}
	if strings.Contains(got, "<script") || strings.Contains(got, "ZgotmplZ") || strings.Contains(got, "<th>") {
		t.Error("a script, a value that the template refuses, or a th without scope")
	}
}

// Nothing read must not look like nothing wrong.
func TestPageBeforeTheFirstPoll(t *testing.T) {
	got := get(t, &collector.Snapshot{}, "/")
	if !strings.Contains(got, "Nothing has been read yet.") || strings.Contains(got, "0 open findings") || strings.Contains(got, "<p>None.</p>") {
		t.Error("an empty snapshot looks clean")
	}
	w := httptest.NewRecorder()
	serve(&collector.Snapshot{}, own()).ServeHTTP(w, httptest.NewRequest("GET", "/?format=json", nil))
	if w.Code != 503 {
		t.Errorf("an empty report is served with %d", w.Code)
	}
	untried := snapshot()
	untried.Units = append(untried.Units, collector.UnitStatus{Unit: collector.Unit{Source: "functions", Region: "nl-ams"}})
	if got := get(t, untried, "/"); !strings.Contains(got, "not read yet: 1 of 2 units.") || !strings.Contains(got, "None in what has been read.") {
		t.Error("a unit that was not read yet is not told")
	}
}

func TestPageFilters(t *testing.T) {
	s := snapshot(functions(30)...)
	for target, test := range map[string]struct{ there, absent string }{
		"/?region=nl-ams":               {">function-1<", ">function-2<"},
		"/?namespace=shop-2":            {">function-21<", ">function-1<"},
		"/?text=FUNCTION-17":            {">function-17<", ">function-1<"},
		"/?project=platform&text=TEAM=": {">function-29<", "lets through"},
		"/?project=elsewhere":           {"None that the form lets through.", ">function-1<"},
		"/?check=function_sandbox_v1":   {">function-0<", ">function-1<"},
		"/?functions=nonsense&units=-4": {">function-1<", "lets through"},
	} {
		if got := get(t, s, target); !strings.Contains(got, test.there) || strings.Contains(got, test.absent) {
			t.Errorf("%s: %q missing, or %q there", target, test.there, test.absent)
		}
	}
	got := get(t, s, "/?sort=rejected")
	got = got[strings.Index(got, `<h2 id="functions">`):]
	if strings.Index(got, ">function-29<") > strings.Index(got, ">function-28<") {
		t.Error("not sorted by rejected calls")
	}
}

func TestPagePages(t *testing.T) {
	s := snapshot(functions(250)...)
	got := get(t, s, "/?functions=2&region=")
	for _, want := range []string{"101 to 200 of 250", `href="?functions=1#functions"`, `href="?functions=3#functions"`, "1 to 100 of 500", `findings=2&amp;functions=2#findings`} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q", want)
		}
	}
	if got := get(t, s, "/?functions=99999999999999999999"); !strings.Contains(got, "of 250") {
		t.Error("a page beyond the last shows nothing")
	}
}

func TestPageHeaders(t *testing.T) {
	w := httptest.NewRecorder()
	serve(snapshot(), own()).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	for name, want := range map[string]string{
		"Content-Security-Policy": "default-src 'none'; style-src 'sha256-",
		"X-Content-Type-Options":  "nosniff",
		"Referrer-Policy":         "no-referrer",
		"Cache-Control":           "no-store",
		"Content-Type":            "text/html; charset=utf-8",
	} {
		if got := w.Header().Get(name); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %q", name, got)
		}
	}
	if !strings.Contains(w.Header().Get("Content-Security-Policy"), "frame-ancestors 'none'") {
		t.Error("the page can be framed")
	}
	w = httptest.NewRecorder()
	serve(snapshot(), own()).ServeHTTP(w, httptest.NewRequest("GET", "/?format=xml", nil))
	if w.Code != 400 {
		t.Errorf("format=xml: %d", w.Code)
	}
}

func TestPageJSONIsTheAudits(t *testing.T) {
	s := failing(snapshot(functions(3)...), "internal error")
	var want bytes.Buffer
	if err := report.New(s, report.Filter{}).WriteJSON(&want); err != nil {
		t.Fatal(err)
	}
	if got := get(t, s, "/?format=json"); got != want.String() {
		t.Error("the page's JSON is not the audit's")
	}
}

// hostile is what people can call things.
var hostile = []string{
	`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `'; alert(1); '`, "\u202egnp.exe", "line\nbreak\r\x00\x1b[31m",
	strings.Repeat("long", 2000), "a|b|c", `{{.Style}}`, `</style><b>`, "javascript:alert(1)", "\xff\xfe",
}

// hostileSnapshot has name in every field that others fill.
func hostileSnapshot(name string) *collector.Snapshot {
	f := functions(1)[0]
	for _, field := range []*string{&f.Project, &f.ProjectID, &f.Region, &f.Namespace, &f.NamespaceID, &f.Name, &f.ID, &f.Team, &f.Runtime, &f.Privacy, &f.HTTPOption, &f.Status, &f.Domain, &f.Sandbox} {
		*field = name
	}
	f.Tags = []string{name}
	for _, list := range [][]collector.Finding{f.Findings, f.Excepted} {
		for i := range list {
			list[i].What, list[i].Subjects = name, []string{name}
			if list[i].Exception != nil {
				list[i].Exception.Owner, list[i].Exception.Reason = name, name
			}
		}
	}
	s := snapshot(f)
	s.Units = append(s.Units, collector.UnitStatus{Unit: collector.Unit{ProjectID: name, Region: name, Source: name}, Tried: true, Error: errors.New(name)})
	return s
}

// values are those of the form's fields; nothing can end one but its quote.
var values = regexp.MustCompile(` value="[^"<>]*"`)

func TestPageHostileNames(t *testing.T) {
	for _, name := range hostile {
		got := get(t, hostileSnapshot(name), "/?namespace=&text="+url.QueryEscape(name))
		got = values.ReplaceAllString(got, "") // what the form sends is not shown, or is the reader's own
		for _, bad := range []string{"<script", "<img", "</style><b>", "\u202e", "\x00", "\x1b", "\r", `href="javascript:`, strings.Repeat("long", 501)} {
			if strings.Contains(got, bad) {
				t.Errorf("%.40q: the page has %.40q", name, bad)
			}
		}
		if !strings.Contains(got, "</html>") {
			t.Errorf("%.40q: the page ends early", name)
		}
	}
}

// chromium opens a target of handler in a real browser, and returns the document
// and what the browser logged.
func chromium(t *testing.T, handler http.Handler, target string, args ...string) (dom, log string) {
	t.Helper()
	program, err := exec.LookPath("chromium")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip("no chromium; .ci/packages installs it")
	}
	server := httptest.NewServer(handler)
	defer server.Close()
	var out, logged bytes.Buffer
	cmd := exec.CommandContext(t.Context(), program, append(append([]string{
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--enable-logging=stderr", "--user-data-dir=" + filepath.Join(t.TempDir(), "chromium"),
		"--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
	}, args...), "--dump-dom", server.URL+target)...)
	cmd.Stdout, cmd.Stderr = &out, &logged
	if err := cmd.Run(); err != nil {
		t.Fatalf("chromium: %v\n%s", err, logged.String())
	}
	return out.String(), logged.String()
}

// The policy forbids every request but those to the page itself, and Chromium
// writes on the console what a page tries against it: a quiet console shows that
// no other host is asked.
func TestPageInChromium(t *testing.T) {
	for _, width := range []string{"390", "820", "1440"} {
		dom, log := chromium(t, serve(hostileSnapshot(hostile[1]), own()), "/", "--window-size="+width+",1200")
		if strings.Contains(log, "CONSOLE") {
			t.Errorf("width %s: the console says:\n%s", width, log)
		}
		if !strings.Contains(dom, "</html>") || strings.Contains(dom, "<img") || strings.Contains(dom, "<script") {
			t.Errorf("width %s: a name became an element:\n%s", width, dom)
		}
	}
}

// Every rule of axe-core, in both schemes, at the width of a phone and of a desk.
// No Debian package has it: AXE_JS names its axe.min.js.
func TestPageIsAccessible(t *testing.T) {
	if os.Getenv("AXE_JS") == "" {
		t.Skip("AXE_JS does not name an axe.min.js")
	}
	axe, err := os.ReadFile(os.Getenv("AXE_JS"))
	if err != nil {
		t.Fatal(err)
	}
	const judge = `<script>axe.run().then(r => {
		document.body.textContent = "axe: " + r.passes.length + " passed; " + r.violations.map(v => v.id + " at " + v.nodes.map(n => n.target)).join("; ") + "."
	})</script>`
	judged := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		page := get(t, failing(snapshot(functions(120)...), "internal error"), r.URL.String()) // without the policy, which forbids scripts
		fmt.Fprint(w, strings.Replace(page, "</body>", "<script>"+string(axe)+"</script>"+judge+"</body>", 1))
	})
	for _, width := range []string{"390", "1440"} {
		for scheme, number := range map[string]string{"dark": "0", "light": "1"} {
			dom, _ := chromium(t, judged, "/", "--window-size="+width+",1200", "--virtual-time-budget=60000", "--blink-settings=preferredColorScheme="+number)
			if _, verdict, _ := strings.Cut(dom, "axe: "); !regexp.MustCompile(`^[1-9]\d passed; \.`).MatchString(verdict) {
				t.Errorf("%s, width %s: %.2000s", scheme, width, verdict)
			}
		}
	}
}

// A page of 10,000 functions with two findings each.
func BenchmarkPage(b *testing.B) {
	s := snapshot(functions(10_000)...)
	for name, target := range map[string]string{"first": "/", "last": "/?functions=100&findings=200", "filtered": "/?text=tion-99&sort=rejected"} {
		b.Run(name, func(b *testing.B) {
			handler := serve(s, own())
			b.ReportAllocs()
			for b.Loop() {
				handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", target, nil))
			}
		})
	}
}

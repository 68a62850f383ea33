package dashboards

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// Each panel's query runs against a Prometheus that scraped the demo, and
// returns the series and labels that the panel's options refer to. What the
// demo does not have, a function of the test's own has.
func TestQueriesReturnWhatPanelsReferTo(t *testing.T) {
	base := startPrometheus(t)
	eventually(t, func() error {
		for _, query := range []string{
			`min(scwatch_poll_up) == 1`, // the slow sources were read as well
			`scaleway_function_runtime_status`, `scaleway_function_tokens`,
			`count_over_time(up{job="own"}[1h]) > 3`,
			`rate(scwatch_api_requests_total{job="demo"}[10m]) > 0`,
			`function:scaleway_function_privacy_changes:increase10m`, `function:scaleway_function_rejected_calls:rate10m`,
		} {
			if len(ask(t, base, query, true)) == 0 {
				return fmt.Errorf("%s has no answer", query)
			}
		}
		return nil
	})
	functions := ask(t, base, `scaleway_function_info`, true)
	for file, m := range load(t) {
		t.Run(file, func(t *testing.T) {
			places := []map[string]string{nil} // what the variables are set to
			if file == "function.yaml" {
				places = nil
				for _, f := range functions {
					places = append(places, map[string]string{
						"project": f["project_id"], "region": f["region"], "namespace": f["namespace"], "function": f["function"], "function_id": f["function_id"],
					})
				}
			}
			for _, v := range m.Spec.Templating.List {
				checkVariable(t, base, v)
			}
			for _, a := range m.Spec.Annotations.List {
				if a.BuiltIn == 0 {
					checkLegend(t, a.Expr, a.TitleFormat+a.TextFormat, answers(t, base, a, places))
				}
			}
			for _, p := range m.all() {
				if p.Datasource.Type == "prometheus" {
					checkPanel(t, base, p, places)
				}
			}
		})
	}
}

// answers are the label sets of all series that a query returns, at each of
// the places.
func answers(t *testing.T, base string, q target, places []map[string]string) []map[string]string {
	t.Helper()
	var all []map[string]string
	for _, values := range places {
		all = append(all, ask(t, base, substitute(q.Expr, values), q.Instant)...)
	}
	if len(all) == 0 {
		t.Errorf("no series: %s", q.Expr)
	}
	checkSelectors(t, base, substitute(q.Expr, nil))
	return all
}

func checkPanel(t *testing.T, base string, p panel, places []map[string]string) {
	t.Helper()
	var shown []string           // the names that overrides and links go by
	fields := map[string]bool{}  // of a table, before it is transformed
	var frames []map[string]bool // the labels of each query
	for _, q := range p.Targets {
		series := answers(t, base, q, places)
		frame := map[string]bool{}
		for _, s := range series {
			for name := range s {
				frame[name], fields[name] = true, true
			}
			shown = append(shown, legend(q.LegendFormat, s))
		}
		frames = append(frames, frame)
		fields["Value"], fields["Value #"+q.RefID] = len(p.Targets) == 1, true
		checkLegend(t, q.Expr, q.LegendFormat, series)
	}
	fail := func(format string, args ...any) {
		t.Helper()
		t.Errorf("%q: "+format, append([]any{p.Title}, args...)...)
	}
	for _, tr := range p.Transformations {
		if name := tr.Options.ByField; name != "" {
			for i, frame := range frames {
				if !frame[name] {
					fail("query %s has no %s to join by", p.Targets[i].RefID, name)
				}
			}
		}
		if names := tr.Options.Include.Names; len(names) > 0 {
			shown = names
			for _, name := range names {
				if !fields[name] {
					fail("no query returns %s", name)
				}
			}
		}
		for name, other := range tr.Options.RenameByName {
			if i := slices.Index(shown, name); i < 0 {
				fail("there is no %s to be named %s", name, other)
			} else {
				shown = slices.Clone(shown)
				shown[i] = other
			}
		}
	}
	for _, o := range p.FieldConfig.Overrides {
		matches := func(name string) bool { return name == o.Matcher.Options }
		if o.Matcher.ID == "byRegexp" {
			matches = regexp.MustCompile(o.Matcher.Options).MatchString
		}
		if !slices.ContainsFunc(shown, matches) {
			fail("the override of %s matches none of %q", o.Matcher.Options, slices.Compact(slices.Sorted(slices.Values(shown))))
		}
	}
	for _, by := range p.Options.SortBy {
		if !slices.Contains(shown, by.DisplayName) {
			fail("there is no %s to sort by", by.DisplayName)
		}
	}
	for _, parts := range regexp.MustCompile(`__data\.fields\.(\w+)`).FindAllStringSubmatch(p.text, -1) {
		if !slices.Contains(shown, parts[1]) {
			fail("a link takes %s, which is not shown", parts[1])
		}
	}
}

var legendLabel = regexp.MustCompile(`\{\{(\w+)\}\}`)

func legend(format string, series map[string]string) string {
	return legendLabel.ReplaceAllStringFunc(format, func(label string) string { return series[strings.Trim(label, "{}")] })
}

// checkLegend reports labels that a name shows and a series lacks.
func checkLegend(t *testing.T, query, format string, all []map[string]string) {
	t.Helper()
	for _, parts := range legendLabel.FindAllStringSubmatch(format, -1) {
		for _, series := range all {
			if series[parts[1]] == "" {
				t.Errorf("%v has no %s: %s", series, parts[1], query)
				break
			}
		}
	}
}

// checkSelectors reports metrics and labels that do not exist: an operand that
// is always empty shows in no answer.
func checkSelectors(t *testing.T, base, query string) {
	t.Helper()
	expr, err := promQL.ParseExpr(query)
	if err != nil {
		t.Fatal(err)
	}
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		if s, ok := node.(*parser.VectorSelector); ok {
			for _, m := range s.LabelMatchers {
				exists := fmt.Sprintf(`last_over_time({__name__=%q, %s!=""}[1h])`, s.Name, m.Name)
				if m.Type == labels.MatchEqual && m.Value != anything {
					exists = fmt.Sprintf(`last_over_time({__name__=%q, %s=%q}[1h])`, s.Name, m.Name, m.Value)
				}
				if len(ask(t, base, exists, true)) == 0 {
					t.Errorf("there is no %s in: %s", exists, query)
				}
			}
		}
		return nil
	})
}

var labelValues = regexp.MustCompile(`^label_values\((.*), (\w+)\)$`)

// checkVariable reports a variable that would offer nothing.
func checkVariable(t *testing.T, base string, v variable) {
	t.Helper()
	if v.Type != "query" {
		return
	}
	query := v.Query.(map[string]any)["query"].(string)
	asks := strings.TrimSuffix(strings.TrimPrefix(query, "query_result("), ")")
	parts := labelValues.FindStringSubmatch(query)
	if parts != nil {
		asks = regexp.MustCompile(`=~?"\$`).ReplaceAllString(parts[1], `=~"$$`)
	}
	all := ask(t, base, substitute(asks, nil), true)
	if len(all) == 0 {
		t.Errorf("%s: no series: %s", v.Name, query)
		return
	}
	series := all[0]
	if parts != nil {
		if series[parts[2]] == "" {
			t.Errorf("%s: %v has no %s", v.Name, series, parts[2])
		}
		return
	}
	form := regexp.MustCompile(strings.TrimSuffix(strings.TrimPrefix(v.Regex, "/"), "/g"))
	var pairs []string
	for _, name := range slices.Sorted(maps.Keys(series)) {
		pairs = append(pairs, fmt.Sprintf("%s=%q", name, series[name]))
	}
	got := map[string]string{}
	for _, match := range form.FindAllStringSubmatch("{"+strings.Join(pairs, ", ")+"} 1 1700000000000", -1) {
		for i, name := range form.SubexpNames() {
			got[name] += match[i]
		}
	}
	if got["text"] != series["project"] || got["value"] != series["project_id"] {
		t.Errorf("%s: its regex takes %v of %v", v.Name, got, series)
	}
}

// startPrometheus runs Debian's prometheus, which scrapes the demo and a page of
// the test's own, and has two hours of its past.
func startPrometheus(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	program := filepath.Join(dir, "scwatch")
	run(t, "go", "build", "-ldflags=-X github.com/prometheus/common/version.Version=1.0.0", "-o", program, "../cmd/scwatch")
	demo := freeAddress(t)
	start(t, program, "demo", "--web.listen-address="+demo)

	now := time.Now()
	var scrapes atomic.Int64
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, exposition(ownSeries(now, time.Now(), scrapes.Add(1))))
	}))
	t.Cleanup(page.Close)
	var past bytes.Buffer
	for at := now.Add(-110 * time.Minute).Truncate(time.Minute); at.Before(now.Add(-time.Minute)); at = at.Add(time.Minute) {
		for _, s := range ownSeries(now, at, 0) {
			fmt.Fprintf(&past, "%s{%s} %v %d\n", s.name, strings.TrimPrefix(s.labels+`,instance="own",job="own"`, ","), s.value, at.Unix())
		}
	}
	past.WriteString("# EOF\n")
	write(t, filepath.Join(dir, "past"), past.String())
	run(t, "promtool", "tsdb", "create-blocks-from", "openmetrics", filepath.Join(dir, "past"), filepath.Join(dir, "data"))

	rules, err := os.ReadFile("../alerts/dashboards.yaml")
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "rules.yml"), strings.Replace(string(rules), "interval: 5m", "interval: 2s", 1))
	write(t, filepath.Join(dir, "prometheus.yml"), fmt.Sprintf(`
global: {scrape_interval: 2s, scrape_timeout: 2s} # a scrape that takes longer leaves no series
rule_files: [rules.yml]
scrape_configs:
  - {job_name: demo, static_configs: [{targets: [%q]}]}
  - {job_name: own, static_configs: [{targets: [%q], labels: {instance: own}}]}
`, demo, strings.TrimPrefix(page.URL, "http://")))
	return servePrometheus(t, dir)
}

// servePrometheus runs a prometheus with the configuration and the data that are
// in dir, and returns its URL.
func servePrometheus(t testing.TB, dir string) string {
	t.Helper()
	address := freeAddress(t)
	start(t, "prometheus", "--config.file="+filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+address, "--web.enable-remote-write-receiver")
	eventually(t, func() error {
		resp, err := http.Get("http://" + address + "/-/ready")
		if err != nil {
			return err
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("prometheus: %s", resp.Status)
		}
		return nil
	})
	return "http://" + address
}

type series struct {
	name, labels string
	value        float64
}

func exposition(all []series) string {
	var b strings.Builder
	for _, s := range all {
		fmt.Fprintf(&b, "%s{%s} %v\n", s.name, s.labels, s.value)
	}
	return b.String()
}

// ownSeries are a function with what the demo's have not: rejected calls, a
// probe, changes, Scaleway's own metrics; beside it one that was deleted, a push,
// and drift. n counts the scrapes; 0 is the past.
func ownSeries(now, at time.Time, n int64) []series {
	var all []series
	add := func(name, labels string, value float64) { all = append(all, series{name, labels, value}) }
	function := func(name string) string {
		return fmt.Sprintf(`project_id="own",region="fr-par",namespace="own",function=%q,function_id="id-%s"`, name, name)
	}
	const info = `,project="own project",runtime="go126",team="own"`
	if n == 0 {
		add("scaleway_function_info", function("deleted")+info, 1)
		add("scaleway_function_finding", function("changed")+`,check="function_http_allowed",severity="medium"`, 1)
	}
	of := function("changed")
	add("scaleway_function_info", of+info, 1)
	add("scaleway_function_created_timestamp_seconds", of, float64(now.Add(-time.Hour).Unix()))
	add("scaleway_function_updated_timestamp_seconds", of, float64(now.Add(-time.Minute).Unix()))
	secrets := 1.0
	if at.After(now.Add(-30 * time.Minute)) {
		secrets = 2
	}
	for _, scope := range []string{"function", "namespace"} {
		for _, count := range []string{"secrets", "environment_variables", "plaintext_secrets"} {
			add("scaleway_function_"+count, of+`,scope="`+scope+`"`, secrets)
		}
	}
	for _, to := range []string{"public", "private"} {
		add("scaleway_function_privacy_changes_total", of+`,to="`+to+`"`, float64(n))
	}
	add("scaleway_function_rejected_calls_total", of+`,code="403",source="metrics"`, float64(n))
	add("scaleway_function_rejected_calls_total", of+`,code="4xx",source="logs"`, float64(n))
	add("scaleway_function_probe_rejected", of, 1)
	add("scwatch_poll_up", `project_id="own",region="fr-par",source="functions"`, 1)
	for _, status := range []string{"ready", "error"} {
		add("serverless_function_status", `resource_id="id-changed",resource_name="changed",status="`+status+`"`, 1)
	}
	for _, name := range []string{"cpu_usage_ratio", "memory_usage_bytes", "memory_limit_bytes"} {
		add("serverless_function_"+name, `resource_id="id-changed",resource_name="changed"`, 1)
	}
	for _, code := range []string{"429", "500"} {
		add("scwatch_api_requests_total", `api="functions",code="`+code+`"`, float64(n))
	}
	add("scwatch_api_retries_total", `api="functions",reason="429"`, float64(n))
	add("scwatch_poll_skipped_total", `project_id="own",region="fr-par",source="tokens"`, float64(n))
	add("scwatch_rejected_calls_source", `project_id="own",region="fr-par",source="metrics"`, 1)
	add("scwatch_drift", `kind="dashboard"`, 1)
	add("scwatch_push_samples_total", "", float64(n))
	add("scwatch_push_failures_total", `reason="network"`, float64(n))
	add("scwatch_push_dropped_samples_total", `reason="full"`, float64(n))
	for _, name := range []string{
		"push_spool_bytes", "push_spool_oldest_timestamp_seconds", "push_last_success_timestamp_seconds",
		"forecast_eur_per_month", "push_budget_eur_per_month",
	} {
		add("scwatch_"+name, "", 1)
	}
	return all
}

// ask returns the labels of the series that a query returns: now, or within the
// last minutes.
func ask(t testing.TB, base, query string, instant bool) []map[string]string {
	t.Helper()
	form := url.Values{"query": {query}}
	path := "/api/v1/query"
	if !instant {
		path += "_range"
		now := time.Now()
		form["start"], form["end"], form["step"] = []string{fmt.Sprint(now.Add(-2 * time.Minute).Unix())}, []string{fmt.Sprint(now.Unix())}, []string{"10"}
	}
	resp, err := http.PostForm(base+path, form)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct {
		Error string
		Data  struct {
			Result []struct{ Metric map[string]string }
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %s (%v)", query, resp.Status, answer.Error, err)
	}
	var all []map[string]string
	for _, r := range answer.Data.Result {
		all = append(all, r.Metric)
	}
	return all
}

func eventually(t testing.TB, done func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if err = done(); err == nil {
			return
		}
	}
	t.Fatal(err)
}

func freeAddress(t testing.TB) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

func write(t testing.TB, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func run(t testing.TB, program string, args ...string) {
	t.Helper()
	if out, err := exec.Command(program, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", program, err, out)
	}
}

// start runs a program until the test ends.
func start(t testing.TB, program string, args ...string) {
	t.Helper()
	cmd := exec.Command(program, args...)
	var log bytes.Buffer
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatalf("%s (Debian's package prometheus has prometheus and promtool): %v", program, err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Logf("%s:\n%.3000s", program, &log)
		}
	})
}

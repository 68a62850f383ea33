package alerts

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"gopkg.in/yaml.v3"

	"github.com/scwatch/scwatch/internal/config"
)

const (
	runbooks = "../docs/runbooks"

	// What Cockpit's rulers take.
	maxRulesOfGroup     = 20
	maxAlertsOnScaleway = 10
)

type ruleFile struct {
	Groups []struct {
		Name     string
		Interval string
		Rules    []rule
	}
}

type rule struct {
	Record, Alert       string
	Expr                string
	For                 string
	Labels, Annotations map[string]string
}

type unitTests struct {
	RuleFiles []string `yaml:"rule_files"`
	Tests     []struct {
		AlertRuleTests []struct {
			EvalTime  string `yaml:"eval_time"`
			Alert     string `yaml:"alertname"`
			ExpAlerts []struct {
				Labels map[string]string `yaml:"exp_labels"`
			} `yaml:"exp_alerts"`
		} `yaml:"alert_rule_test"`
		ExprTests []struct {
			Expr string
			Exp  []struct{ Labels string } `yaml:"exp_samples"`
		} `yaml:"promql_expr_test"`
	}
}

type alertmanagerFile struct {
	Templates    []string
	Route        *route
	InhibitRules []yaml.Node `yaml:"inhibit_rules"`
	Receivers    []receiver
}

type receiver struct {
	Name string
	Rest map[string]yaml.Node `yaml:",inline"`
}

type route struct {
	Receiver string
	Matchers []string             `yaml:",omitempty"`
	GroupBy  []string             `yaml:"group_by,omitempty"`
	Routes   []*route             `yaml:",omitempty"`
	Rest     map[string]yaml.Node `yaml:",inline"`
}

var (
	promFiles = []string{"*.yaml", "scaleway/*.yaml"}
	allFiles  = append([]string{"logs/*.yaml"}, promFiles...)
)

func TestPromtoolTakesTheRules(t *testing.T) {
	run(t, "promtool", append([]string{"check", "rules"}, ruleFiles(t, promFiles...)...)...)
}

func TestRules(t *testing.T) {
	for _, file := range glob(t, "tests/*.yaml") {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			run(t, "promtool", "test", "rules", file)
		})
	}
}

// An alert that says too little at three in the morning does not get in.
func TestEveryAlertSaysEnough(t *testing.T) {
	groups := map[string]bool{}
	for _, file := range ruleFiles(t, allFiles...) {
		for _, g := range load[ruleFile](t, file).Groups {
			if groups[g.Name] {
				t.Errorf("%s: there are two groups %q; a ruler keeps one", file, g.Name)
			}
			groups[g.Name] = true
			if len(g.Rules) > maxRulesOfGroup {
				t.Errorf("%s: group %s has %d rules; a ruler takes %d", file, g.Name, len(g.Rules), maxRulesOfGroup)
			}
			for _, r := range g.Rules {
				for _, problem := range problems(r) {
					t.Errorf("%s: %s%s: %s", file, r.Alert, r.Record, problem)
				}
			}
		}
	}
}

var (
	recordName    = regexp.MustCompile(`^[a-z_]+:[a-z_]+:[a-z0-9_]+$`)
	ranges        = regexp.MustCompile(`\[(\d\w*)\]`)
	aboutFunction = regexp.MustCompile(`^ScalewayFunction|^ScwatchException`)
	dashboard     = regexp.MustCompile(`^/d/(scwatch-|scw-serverless-functions-)`)
)

func problems(r rule) (found []string) {
	for _, m := range ranges.FindAllStringSubmatch(r.Expr, -1) {
		if d, err := model.ParseDuration(m[1]); err != nil || time.Duration(d) < 10*time.Minute {
			found = append(found, fmt.Sprintf("its range %s is shorter than the 10 minutes that pushed samples need", m[0]))
		}
	}
	if r.Record != "" {
		if !recordName.MatchString(r.Record) {
			found = append(found, "its name is not level:metric:operations")
		}
		return found
	}
	if !slices.Contains([]string{"critical", "warning", "info", "none"}, r.Labels["severity"]) {
		found = append(found, fmt.Sprintf("it has the severity %q", r.Labels["severity"]))
	}
	for _, name := range []string{"summary", "description"} {
		text := strings.TrimSpace(r.Annotations[name])
		if strings.HasSuffix(text, "}}") {
			continue // it ends as the branches of a condition do
		}
		if !strings.HasSuffix(text, ".") {
			found = append(found, fmt.Sprintf("its %s is no sentence: %q", name, text))
		}
	}
	if aboutFunction.MatchString(r.Alert) {
		for _, label := range []string{"function", "namespace", "project", "region", "team"} {
			if !strings.Contains(r.Annotations["description"], "$labels."+label+" ") {
				found = append(found, "its description does not name the "+label)
			}
		}
		if !strings.Contains(r.Annotations["description"], "$value") {
			found = append(found, "its description does not tell the value")
		}
	}
	if want := config.DefaultRunbookBase + r.Alert + ".md"; r.Annotations["runbook_url"] != want {
		found = append(found, fmt.Sprintf("its runbook_url is %q, not %q", r.Annotations["runbook_url"], want))
	}
	if !dashboard.MatchString(r.Annotations["dashboard_url"]) {
		found = append(found, fmt.Sprintf("its dashboard_url is %q, no path of a dashboard", r.Annotations["dashboard_url"]))
	}
	return found
}

// What nothing asks for is paid for all the same.
func TestEveryRecordedSeriesIsUsed(t *testing.T) {
	all := rules(t, promFiles...)
	var shown []byte
	for _, file := range glob(t, "../dashboards/*.yaml") {
		dashboard, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		shown = append(shown, dashboard...)
	}
	for _, r := range all {
		if r.Record != "" && !bytes.Contains(shown, []byte(r.Record)) &&
			!slices.ContainsFunc(all, func(other rule) bool { return other.Record != r.Record && strings.Contains(other.Expr, r.Record) }) {
			t.Errorf("no rule and no dashboard uses %s", r.Record)
		}
	}
}

// docs/alerts.md says what must not be dropped before it is pushed.
func TestTheMetricsThatRulesReadAreDocumented(t *testing.T) {
	doc, err := os.ReadFile("../docs/alerts.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(doc), "## What the rules read")
	section, _, _ = strings.Cut(section, "\n## ")
	documented := regexp.MustCompile("`(\\w+_\\w+)`").FindAllStringSubmatch(section, -1)
	read := map[string]bool{}
	for _, r := range rules(t, "*.yaml") {
		for _, m := range metricName.FindAllStringSubmatch(r.Expr, -1) {
			read[m[1]] = true
		}
	}
	var names []string
	for _, m := range documented {
		names = append(names, m[1])
	}
	if want := slices.Sorted(maps.Keys(read)); !slices.Equal(names, want) {
		t.Errorf("docs/alerts.md names\n%s\nthe rules read\n%s", strings.Join(names, " "), strings.Join(want, " "))
	}
}

// metricName is a metric as scwatch exports it, no recorded one.
var metricName = regexp.MustCompile(`(?m)(?:^|[^:\w])((?:scaleway|scwatch)_\w+)(?:[^:\w]|$)`)

func TestScalewayTakesFewAlerts(t *testing.T) {
	n := 0
	for _, r := range rules(t, "scaleway/*.yaml") {
		if r.Alert != "" {
			n++
		}
	}
	if n > maxAlertsOnScaleway {
		t.Errorf("there are %d alerts on Scaleway's own data source, which takes %d", n, maxAlertsOnScaleway)
	}
}

func TestEveryAlertHasARunbookAndEveryRunbookAnAlert(t *testing.T) {
	want := map[string]bool{"README.md": true}
	index, err := os.ReadFile(filepath.Join(runbooks, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rules(t, allFiles...) {
		if r.Alert == "" {
			continue
		}
		want[r.Alert+".md"] = true
		if !bytes.Contains(index, []byte("("+r.Alert+".md)")) {
			t.Errorf("the index of the runbooks does not name %s", r.Alert)
		}
	}
	got := map[string]bool{}
	for _, file := range glob(t, filepath.Join(runbooks, "*.md")) {
		got[filepath.Base(file)] = true
	}
	for name := range want {
		if !got[name] {
			t.Errorf("%s is missing in %s", name, runbooks)
		}
	}
	for name := range got {
		if !want[name] {
			t.Errorf("%s belongs to no alert", filepath.Join(runbooks, name))
		}
	}
}

// alwaysFires is the one alert that is never expected to be silent.
const alwaysFires = "ScwatchWatchdog"

func TestEveryAlertHasUnitTests(t *testing.T) {
	fires, silent := map[string]bool{}, map[string]bool{}
	for _, file := range glob(t, "tests/*.yaml") {
		for _, test := range load[unitTests](t, file).Tests {
			for _, a := range test.AlertRuleTests {
				for _, exp := range a.ExpAlerts {
					fires[a.Alert+"/"+exp.Labels["severity"]] = true
				}
				if len(a.ExpAlerts) == 0 {
					silent[a.Alert] = true
				}
			}
			for _, e := range test.ExprTests {
				if alert := alertOf(e.Expr); len(e.Exp) == 0 {
					silent[alert] = true
				}
			}
		}
	}
	for _, r := range rules(t, promFiles...) {
		if r.Alert == "" {
			continue
		}
		if key := r.Alert + "/" + r.Labels["severity"]; !fires[key] {
			t.Errorf("no unit test expects %s to fire", key)
		}
		if !silent[r.Alert] && r.Alert != alwaysFires {
			t.Errorf("no unit test expects %s to be silent", r.Alert)
		}
	}
}

var alertname = regexp.MustCompile(`alertname="(\w+)"`)

func alertOf(expr string) string {
	if m := alertname.FindStringSubmatch(expr); m != nil {
		return m[1]
	}
	return ""
}

func TestAmtoolTakesTheRoutes(t *testing.T) {
	t.Run("as shipped", func(t *testing.T) { run(t, "amtool", "check-config", "alertmanager.yaml") })
	t.Run("expanded", func(t *testing.T) { run(t, "amtool", "check-config", expanded(t, read(t, "alertmanager.yaml"))) })
	for _, file := range glob(t, "examples/*.yaml") {
		t.Run(file, func(t *testing.T) {
			run(t, "amtool", "check-config", expanded(t, withExample(t, file)))
		})
	}
}

// Each alert goes where its severity belongs, with the labels that its unit
// tests expect.
func TestEveryAlertFindsItsReceiver(t *testing.T) {
	receivers := map[string]string{"critical": "scwatch-pager", "warning": "scwatch-channel", "info": "scwatch-channel", "none": "scwatch-watchdog"}
	config := expanded(t, read(t, "alertmanager.yaml"))
	for _, labels := range firing(t) {
		routesTo(t, config, receivers[labels["severity"]], labels)
	}

	teams := expanded(t, withExample(t, "examples/teams.yaml"))
	for _, labels := range firing(t) {
		want := receivers[labels["severity"]]
		if labels["team"] == "payments" {
			want = "scwatch-payments"
			if labels["severity"] == "critical" {
				want = "scwatch-payments-pager"
			}
		}
		routesTo(t, teams, want, labels)
	}
}

// A second exposure must not be a line in the first one's page.
func TestPagesAreGroupedByFunction(t *testing.T) {
	for _, r := range load[alertmanagerFile](t, "alertmanager.yaml").Route.Routes {
		if r.Receiver == "scwatch-pager" && slices.Contains(r.Matchers, `namespace!=""`) {
			if want := []string{"project_id", "region", "namespace", "function"}; !slices.Equal(r.GroupBy, want) {
				t.Errorf("pages about functions are grouped by %v, not by %v", r.GroupBy, want)
			}
			return
		}
	}
	t.Error("there is no route for pages about functions")
}

func TestTemplatesReadWellOnAPhone(t *testing.T) {
	const one = `{"status":"firing","alerts":[
		{"status":"firing","annotations":{"summary":"Anybody can call checkout.","description":"checkout is public since noon.","runbook_url":"https://example.com/a.md","dashboard_url":"/d/scwatch-function?var-function=checkout"}}]}`
	const linked = `{"status":"firing","alerts":[
		{"status":"firing","annotations":{"summary":"Anybody can call checkout.","description":"checkout is public since noon.","dashboard_url":"https://grafana.example.com/d/scwatch-function"}}]}`
	const mended = `{"status":"resolved","alerts":[{"status":"resolved","annotations":{"summary":"Anybody can call checkout."}}]}`
	var many []string
	for i := range 7 {
		many = append(many, fmt.Sprintf(`{"status":"firing","annotations":{"summary":"Alert %d.","description":"It is %d."}}`, i, i))
	}
	many = append(many, `{"status":"resolved","annotations":{"summary":"Alert 8."}}`)
	for _, test := range []struct{ name, data, want string }{
		{"one", one, "Anybody can call checkout.|Anybody can call checkout.\ncheckout is public since noon.\nWhat to do: https://example.com/a.md"},
		{"with the dashboard's whole address", linked, "Anybody can call checkout.|Anybody can call checkout.\ncheckout is public since noon.\nDashboard: https://grafana.example.com/d/scwatch-function"},
		{"mended", mended, "Resolved: Anybody can call checkout.|Resolved: Anybody can call checkout."},
		{"many", `{"status":"firing","alerts":[` + strings.Join(many, ",") + `]}`,
			"7 alerts: Alert 0.|Alert 0.\nIt is 0.\n\nAlert 1.\nIt is 1.\n\nAlert 2.\nIt is 2.\n\nAlert 3.\nIt is 3.\n\nAlert 4.\nIt is 4.\n\nand more: 7 in all\nResolved: Alert 8."},
	} {
		t.Run(test.name, func(t *testing.T) {
			data := write(t, "data.json", []byte(test.data))
			got := run(t, "amtool", "template", "render", "--template.glob=templates/*.tmpl", "--template.data="+data,
				`--template.text={{ template "scwatch.title" . }}|{{ template "scwatch.text" . }}`)
			if got = strings.TrimSpace(got); got != test.want {
				t.Errorf("got\n%s\nwant\n%s", got, test.want)
			}
		})
	}
}

// Without promtool or amtool a test that passes would say nothing.
func run(t *testing.T, program string, args ...string) string {
	t.Helper()
	out, err := exec.Command(program, args...).CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) {
		t.Fatalf("%s is missing; it comes with Debian's package %s", program,
			map[string]string{"promtool": "prometheus", "amtool": "prometheus-alertmanager"}[program])
	}
	if err != nil {
		t.Errorf("%s %s: %v\n%s", program, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func routesTo(t *testing.T, config, receiver string, labels map[string]string) {
	t.Helper()
	args := []string{"config", "routes", "test", "--config.file=" + config, "--verify.receivers=" + receiver}
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		args = append(args, name+"="+labels[name])
	}
	run(t, "amtool", args...)
}

// firing returns the labels of every alert that a unit test expects, and those
// that an alert on logs will have.
func firing(t *testing.T) []map[string]string {
	t.Helper()
	found := map[string]map[string]string{}
	for _, file := range glob(t, "tests/*.yaml") {
		for _, test := range load[unitTests](t, file).Tests {
			for _, a := range test.AlertRuleTests {
				for _, exp := range a.ExpAlerts {
					labels := maps.Clone(exp.Labels)
					labels["alertname"] = a.Alert
					found[fmt.Sprint(labels)] = labels
				}
			}
		}
	}
	for _, r := range rules(t, "logs/*.yaml") {
		found[r.Alert] = map[string]string{"alertname": r.Alert, "severity": r.Labels["severity"], "resource_id": "f-1", "resource_name": "shop-checkout", "region": "fr-par"}
	}
	return slices.Collect(maps.Values(found))
}

var placeholder = regexp.MustCompile(`\$\{(\w+)\}`)

// expanded writes config to a file as scwatch sends it: each ${NAME} replaced
// by what the environment has under that name.
func expanded(t *testing.T, config []byte) string {
	t.Helper()
	environment := map[string]string{
		"PAGER_PATH": "v1/hook?key=secret", "CHANNEL_PATH": "hooks/abc", "WATCHDOG_PATH": "0c0c0c0c",
		"PAGER_TOKEN": "token", "PAYMENTS_CHANNEL_PATH": "hooks/payments", "PAYMENTS_PAGER_PATH": "v1/payments",
		"SLACK_PATH": "T000/B000/XXX", "PAGERDUTY_ROUTING_KEY": "0123456789abcdef0123456789abcdef", "OPSGENIE_API_KEY": "key",
		"EMAIL_TO": "oncall@example.com", "EMAIL_FROM": "scwatch@example.com", "SMTP_USERNAME": "user", "SMTP_PASSWORD": "password",
	}
	out := placeholder.ReplaceAllFunc(withoutComments(config), func(match []byte) []byte {
		name := string(placeholder.FindSubmatch(match)[1])
		value, ok := environment[name]
		if !ok {
			t.Errorf("the placeholder ${%s} has no value in this test", name)
		}
		return []byte(value)
	})
	path := write(t, "alertmanager.yaml", out)
	for _, template := range glob(t, "templates/*.tmpl") {
		if err := os.MkdirAll(filepath.Join(filepath.Dir(path), "templates"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(filepath.Dir(path), template), read(t, template), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

var comment = regexp.MustCompile(`(?m)^\s*#.*$`)

func withoutComments(config []byte) []byte { return comment.ReplaceAll(config, nil) }

// withExample returns alertmanager.yaml with the receivers and routes of an
// example in it, as the example says.
func withExample(t *testing.T, file string) []byte {
	t.Helper()
	config := load[alertmanagerFile](t, "alertmanager.yaml")
	example := load[struct {
		Routes    []*route
		Receivers []receiver
	}](t, file)
	for _, r := range example.Receivers {
		config.Receivers = slices.DeleteFunc(config.Receivers, func(other receiver) bool { return other.Name == r.Name })
		config.Receivers = append(config.Receivers, r)
	}
	before := slices.IndexFunc(config.Route.Routes, func(r *route) bool {
		return slices.ContainsFunc(r.Matchers, func(m string) bool { return strings.HasPrefix(m, "severity") })
	})
	config.Route.Routes = slices.Insert(config.Route.Routes, before, example.Routes...)
	out, err := yaml.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func rules(t *testing.T, patterns ...string) (all []rule) {
	t.Helper()
	for _, file := range ruleFiles(t, patterns...) {
		for _, g := range load[ruleFile](t, file).Groups {
			all = append(all, g.Rules...)
		}
	}
	return all
}

func ruleFiles(t *testing.T, patterns ...string) (all []string) {
	t.Helper()
	for _, pattern := range patterns {
		all = append(all, glob(t, pattern)...)
	}
	return slices.DeleteFunc(all, func(file string) bool { return file == "alertmanager.yaml" })
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(pattern)
	if err != nil || len(found) == 0 {
		t.Fatalf("no file is called %s: %v", pattern, err)
	}
	return found
}

// load reads a file as the binary has it embedded, so that what is tested is
// what is shipped.
func load[T any](t *testing.T, file string) (v T) {
	t.Helper()
	decoder := yaml.NewDecoder(bytes.NewReader(read(t, file)))
	if err := decoder.Decode(&v); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return v
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	b, err := fs.ReadFile(FS, file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func write(t *testing.T, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// promtool does not know LogQL, so its line filters are tried on lines here.
func TestLogFilters(t *testing.T) {
	filter := regexp.MustCompile("\\|~ `([^`]+)`")
	lines := map[string]struct{ match, miss []string }{
		"ServerlessFunctionLogsSecret": {
			match: []string{
				`headers: {"X-Auth-Token": "0123456789abcdef0123456789abcdef0123"}`,
				"Authorization: Bearer 0123456789abcdef0123456789abcdef0123",
				"using key AKIA" + "IOSFODNN7EXAMPLE in eu-west-3",
				"-----BEGIN " + "RSA PRIVATE KEY-----",
				"connect postgres://shop:hunter2" + "@db.internal:5432/shop: refused",
				"token eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiJkZW1vIn0.c2lnbmF0dXJl",
			},
			miss: []string{
				"X-Auth-Token is missing",
				"Authorization: none",
				"GET https://db.internal:5432/shop 200",
				"-----BEGIN CERTIFICATE-----",
				"user a@b.example asked for https://www.example.com/",
			},
		},
		"ServerlessFunctionCrashing": {
			match: []string{
				"panic: runtime error: index out of range [3] with length 3",
				"Traceback (most recent call last):",
				"Uncaught TypeError: x is undefined",
				"container was OOMKilled: out of memory",
			},
			miss: []string{"do not panic: all is well", "recovered from an error", "error: connection refused"},
		},
	}
	for _, r := range rules(t, "logs/*.yaml") {
		m := filter.FindStringSubmatch(r.Expr)
		if m == nil {
			t.Fatalf("%s has no line filter", r.Alert)
		}
		pattern, err := regexp.Compile(m[1])
		if err != nil {
			t.Fatalf("%s: %v", r.Alert, err)
		}
		if len(lines[r.Alert].match) == 0 {
			t.Errorf("%s has no lines to be tried on", r.Alert)
		}
		for _, line := range lines[r.Alert].match {
			if !pattern.MatchString(line) {
				t.Errorf("%s does not see %q", r.Alert, line)
			}
		}
		for _, line := range lines[r.Alert].miss {
			if pattern.MatchString(line) {
				t.Errorf("%s takes offence at %q", r.Alert, line)
			}
		}
	}
}

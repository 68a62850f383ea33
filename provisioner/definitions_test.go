package provisioner

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/scwatch/scwatch/internal/config"
)

// written makes a folder with files, and the working directory of the test.
func written(t *testing.T, files map[string]string) {
	t.Helper()
	t.Chdir(t.TempDir())
	for name, text := range files {
		if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// environment has what the definitions of tests ask for.
func environment(name string) string {
	return map[string]string{"HOOK": "https://hooks.example.com/canary-secret"}[name]
}

var noBuiltin = Builtin{Dashboards: fstest.MapFS{}, Alerts: fstest.MapFS{}}

// load reads the definitions that the configuration in text names.
func load(t *testing.T, text string, allowEmpty bool) (*Definitions, error) {
	t.Helper()
	c, err := config.Parse("scwatch.yaml", "", []byte(text), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Resolve(config.Credentials{ProjectID: home}); err != nil {
		t.Fatal(err)
	}
	return Load(c, Options{
		Builtin: noBuiltin, Env: environment, AllowEmpty: allowEmpty,
		Metrics: []string{"scaleway_function_privacy", "scwatch_poll_up", "scwatch_poll_duration_seconds"},
	})
}

const home = "aaaaaaaa-0000-4000-8000-000000000001"

// alertText is an alert that nothing is wrong with.
const alertText = `
      - alert: Public
        expr: scaleway_function_privacy{privacy="public"} == 1
        for: 10m
        labels: {severity: critical}
        annotations: {summary: It is public., description: Everybody may call it., runbook_url: https://runbooks.example.com/Public}
`

const groupText = "groups:\n  - name: posture\n    rules:" + alertText

// change replaces once, and fails where there is nothing to replace.
func change(t *testing.T, text, old, new string) string {
	t.Helper()
	if !strings.Contains(text, old) {
		t.Fatalf("%q is not in the text", old)
	}
	return strings.Replace(text, old, new, 1)
}

const dashboardText = `apiVersion: dashboard.grafana.app/v1beta1
kind: Dashboard
metadata: {name: fleet}
spec:
  title: Fleet
  templating: {list: [{name: metrics, type: datasource, query: prometheus}]}
  panels:
    - id: 1
      title: Public
      datasource: {type: prometheus, uid: "${metrics}"}
      targets:
        - {refId: A, expr: "sum(scaleway_function_privacy{privacy=\"$privacy\"})"}
`

const routesText = `route:
  receiver: channel
  group_by: [alertname]
  routes:
    - {receiver: pager, matchers: [severity="critical"]}
receivers:
  - name: channel
    webhook_configs: [{url: "${HOOK}"}]
  - name: pager
    webhook_configs: [{url: "${HOOK}"}]
`

// Every mistake has its place and its words, and all are told at once.
func TestCheck(t *testing.T) {
	rules := func(old, new string) func(*testing.T) string {
		return func(t *testing.T) string { return change(t, groupText, old, new) }
	}
	board := func(old, new string) func(*testing.T) string {
		return func(t *testing.T) string { return change(t, dashboardText, old, new) }
	}
	routes := func(old, new string) func(*testing.T) string {
		return func(t *testing.T) string { return change(t, routesText, old, new) }
	}
	const ruleConfig = "provision: {targets: [{dashboards: [], rules: [{files: [rules.yaml]}]}]}"
	const logConfig = "provision: {targets: [{dashboards: [], rules: [{files: [rules.yaml], data_source: {type: logs, name: Scaleway Logs}}]}]}"
	const boardConfig = "provision: {targets: [{dashboards: [fleet.yaml], rules: []}]}"
	const routeConfig = "provision: {targets: [{dashboards: [], rules: [{files: [good.yaml]}], alertmanager: routes.yaml}]}"
	const severalConfig = "provision: {targets: [{dashboards: [], rules: [{files: [good.yaml, rules.yaml]}]}]}"
	const grafanaConfig = "provision: {targets: [{dashboards: [], rules: [{files: [rules.yaml]}], rules_target: grafana, grafana_url: https://grafana.example.com}]}"

	for name, test := range map[string]struct {
		config string
		text   func(*testing.T) string
		want   []string // each is part of one line; nil: nothing is wrong
	}{
		"rules":           {ruleConfig, rules("Public", "Public"), nil},
		"a histogram":     {ruleConfig, rules("scaleway_function_privacy{", "scwatch_poll_duration_seconds_count{"), nil},
		"dashboard":       {boardConfig, board("Fleet", "Fleet"), nil},
		"routes":          {routeConfig, routes("channel", "channel"), nil},
		"no file":         {ruleConfig, nil, []string{"provision.targets[0].rules[0].files: rules.yaml: there is no such file"}},
		"empty glob":      {strings.Replace(ruleConfig, "rules.yaml", "none/*.yaml", 1), nil, []string{"none/*.yaml matches no file", "--allow-empty"}},
		"bad PromQL":      {ruleConfig, rules("== 1", "=="), []string{`rules.yaml:5:15: `, "parse error"}},
		"unknown field":   {ruleConfig, rules("for:", "fore:"), []string{"rules.yaml:6:1: unknown field fore"}},
		"two at once":     {ruleConfig, func(t *testing.T) string { return change(t, change(t, groupText, "for:", "fore:"), "== 1", "==") }, []string{"unknown field fore", "parse error"}},
		"no YAML":         {ruleConfig, rules("groups:", "groups: ["), []string{"rules.yaml", "is not YAML"}},
		"two documents":   {ruleConfig, func(*testing.T) string { return groupText + "---\n" + groupText }, []string{"second YAML document"}},
		"no groups":       {ruleConfig, func(*testing.T) string { return "groups: []\n" }, []string{"rules.yaml:1:1: has no groups"}},
		"empty file":      {ruleConfig, func(*testing.T) string { return "" }, []string{"rules.yaml:1:1: is empty"}},
		"no rules":        {ruleConfig, func(*testing.T) string { return "groups: [{name: a, rules: []}]\n" }, []string{`group "a" has no rules`}},
		"slash":           {ruleConfig, rules("posture", "posture/a"), []string{`rules.yaml:2:11: group "posture/a"`, "misread"}},
		"dots":            {ruleConfig, rules("posture", "'..'"), []string{"misread"}},
		"21 rules":        {ruleConfig, func(*testing.T) string { return "groups:\n  - name: a\n    rules:" + strings.Repeat(alertText, 21) }, []string{"has 21 rules; Cockpit takes 20 a group"}},
		"70 groups":       {ruleConfig, func(*testing.T) string { return manyGroups(70) }, []string{"one too many: a data source keeps 69 groups up to date"}},
		"69 groups":       {ruleConfig, func(*testing.T) string { return manyGroups(69) }, nil},
		"11 alerts there": {strings.Replace(ruleConfig, "files: [rules.yaml]", "files: [rules.yaml], data_source: {name: Scaleway Metrics}", 1), func(*testing.T) string { return "groups:\n  - name: a\n    rules:" + strings.Repeat(alertText, 11) }, []string{"Scaleway Metrics takes 10 alerts"}},
		"no severity":     {ruleConfig, rules("{severity: critical}", "{}"), []string{`rules.yaml:4:9: alert "Public" has no label severity`}},
		"bad severity":    {ruleConfig, rules("critical", "urgent"), []string{`has the severity "urgent": expected one of critical, warning, info, none`}},
		"no runbook":      {ruleConfig, rules(", runbook_url: https://runbooks.example.com/Public", ""), []string{"has no annotation runbook_url"}},
		"no summary":      {ruleConfig, rules("summary: It is public., ", ""), []string{"has no annotation summary"}},
		"unknown metric":  {ruleConfig, rules("scaleway_function_privacy", "scaleway_function_privicy"), []string{`rules.yaml:5:15: nobody exports the metric "scaleway_function_privicy" (did you mean scaleway_function_privacy?)`}},
		"known metric":    {"provision: {known_metrics: ['my_*'], targets: [{dashboards: [], rules: [{files: [rules.yaml]}]}]}", rules("scaleway_function_privacy", "my_privacy"), nil},
		"group twice":     {severalConfig, rules("Public", "Public"), []string{`rules.yaml:2:5: group "posture" is in good.yaml:2 already`}},
		"a log query":     {logConfig, rules(`scaleway_function_privacy{privacy="public"} == 1`, `'{resource_type="serverless_function"} |= "denied"'`), []string{"a query for lines, not for a number"}},
		"a log count":     {logConfig, rules(`scaleway_function_privacy{privacy="public"} == 1`, `'sum(count_over_time({resource_type="serverless_function"} |= "denied" [5m])) > 0'`), nil},
		"held in logs":    {logConfig, rules(`for: 10m`, "keep_firing_for: 10m"), []string{"keep_firing_for does not survive"}},
		"interval":        {grafanaConfig, rules("rules:", "interval: 15s\n    rules:"), []string{"steps of 10s"}},
		"managed rules":   {strings.Replace(grafanaConfig, ", grafana_url: https://grafana.example.com", "", 1), rules("Public", "Public"), []string{"Cockpit never evaluates Grafana-managed rules"}},
		"managed there":   {strings.Replace(grafanaConfig, "grafana.example.com", "p.dashboard.cockpit.scaleway.com", 1), rules("Public", "Public"), []string{"is a Cockpit's Grafana"}},

		"no uid":          {boardConfig, board("{name: fleet}", "{}"), []string{"a dashboard needs a uid"}},
		"no title":        {boardConfig, board("title: Fleet", "description: x"), []string{"a dashboard needs a title"}},
		"the folder's":    {boardConfig, board("title: Fleet", "title: serverless Security"), []string{"is that of the folder scwatch: Grafana refuses that"}},
		"another kind":    {boardConfig, board("kind: Dashboard", "kind: Folder"), []string{"fleet.yaml:2:7: kind: expected Dashboard"}},
		"another version": {boardConfig, board("dashboard.grafana.app/v1beta1", "v1"), []string{"fleet.yaml:1:13: apiVersion"}},
		"bad query":       {boardConfig, board("sum(", "sum(("), []string{`fleet.yaml:12:28: panel "Public"`}},
		"unknown in it":   {boardConfig, board("scaleway_function_privacy", "none_such"), []string{`nobody exports the metric "none_such"`}},
		"a literal uid":   {boardConfig, board("${metrics}", "P1234"), []string{`data source "P1234": a uid is another one in each Grafana`}},
		"panel id twice":  {boardConfig, board("    - id: 1\n", "    - {id: 1, title: Other}\n    - id: 1\n"), []string{`panel "Public" has the id of another one, 1`}},

		"no receiver":      {routeConfig, routes("receiver: pager", "receiver: pagr"), []string{`routes.yaml:5:18: there is no receiver "pagr"`, `no route leads to the receiver "pager"`}},
		"unreachable":      {routeConfig, routes("{receiver: pager, matchers: [severity=\"critical\"]}", "{receiver: channel}\n    - {receiver: pager}"), []string{"no alert gets to this route", `no route leads to the receiver "pager"`}},
		"no variable":      {routeConfig, routes("${HOOK}", "${PAGER_URL}"), []string{"routes.yaml:8:29: the environment variable PAGER_URL is not set"}},
		"no group_by":      {routeConfig, routes("  group_by: [alertname]\n", ""), []string{"the first route has no group_by"}},
		"global":           {routeConfig, routes("route:", "global: {resolve_timeout: 1m}\nroute:"), []string{"global.resolve_timeout would change what others wrote"}},
		"bad matcher":      {routeConfig, routes(`severity="critical"`, `severity~critical`), []string{"routes.yaml"}},
		"no such template": {routeConfig, routes("route:", "templates: [none.tmpl]\nroute:"), []string{"routes.yaml:1:13: templates: none.tmpl matches no file"}},
	} {
		t.Run(name, func(t *testing.T) {
			files := map[string]string{"good.yaml": groupText}
			if test.text != nil {
				for _, file := range []string{"rules.yaml", "fleet.yaml", "routes.yaml"} {
					if strings.Contains(test.config, file) {
						files[file] = test.text(t)
					}
				}
			}
			written(t, files)
			_, err := load(t, test.config, false)
			if len(test.want) == 0 && err != nil {
				t.Fatalf("unexpected: %v", err)
			}
			for _, want := range test.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("error\n%v\nwant in it %q", err, want)
				}
			}
		})
	}
}

func manyGroups(n int) string {
	var b strings.Builder
	b.WriteString("groups:\n")
	for i := range n {
		b.WriteString("  - name: group-" + strings.Repeat("i", i+1) + "\n    rules:" + alertText)
	}
	return b.String()
}

// An empty glob is what --allow-empty is for.
func TestAllowEmpty(t *testing.T) {
	written(t, nil)
	if _, err := load(t, "provision: {targets: [{dashboards: ['none/*.yaml'], rules: []}]}", true); err != nil {
		t.Error(err)
	}
}

// The same place twice would have two definitions fight over it.
func TestSamePlaceTwice(t *testing.T) {
	written(t, nil)
	_, err := load(t, "provision: {targets: [{dashboards: [], rules: []}, {dashboards: [], rules: []}]}", false)
	if err == nil || !strings.Contains(err.Error(), "is the same place as provision.targets[0]") {
		t.Errorf("error %v", err)
	}
}

// The secrets of the environment are in no message.
func TestRoutesMessagesHoldNoSecret(t *testing.T) {
	written(t, map[string]string{"good.yaml": groupText, "routes.yaml": change(t, routesText, `url: "${HOOK}"`, `url: "${HOOK}", http_config: {proxy_url: "::${HOOK}"}`)})
	_, err := load(t, "provision: {targets: [{dashboards: [], rules: [{files: [good.yaml]}], alertmanager: routes.yaml}]}", false)
	if err == nil || strings.Contains(err.Error(), "canary-secret") {
		t.Errorf("error %v", err)
	}
}

// Links lead to the runbooks that the configuration names.
func TestRunbookBase(t *testing.T) {
	written(t, map[string]string{"rules.yaml": change(t, groupText, "https://runbooks.example.com/Public", config.DefaultRunbookBase+"Public.md")})
	d, err := load(t, "provision: {runbook_base: https://wiki.example.com/run, targets: [{dashboards: [], rules: [{files: [rules.yaml]}]}]}", false)
	if err != nil {
		t.Fatal(err)
	}
	if got := d.targets[0].rules[0].groups[0].Rules[0].Annotations["runbook_url"]; got != "https://wiki.example.com/run/Public.md" {
		t.Errorf("runbook_url %q", got)
	}
}

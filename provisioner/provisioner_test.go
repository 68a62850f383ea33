package provisioner

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/scwatch/scwatch/internal/simulator"
)

// The first plan has everything, in order; after it there is nothing to do, and
// what is ours goes again without a trace.
func TestApplyAndDestroy(t *testing.T) {
	w := newWorld(t)
	w.account(func(a *simulator.Account) { a.Projects[0].DataSources = a.Projects[0].DataSources[1:] })
	p := w.provisioner(everything)
	plan := w.plan(p, Selection{})
	want := `aaaaaaaa-0000-4000-8000-000000000001/fr-par
  + data source metrics/scwatch
  + alert manager fr-par
  ~ grafana data sources
      data_sources[2]: + "scwatch"
  + folder scwatch
  + dashboard fleet
  + rules scwatch/scwatch/posture
  + routes scwatch
  + contact oncall@example.com
note: the data source "scwatch" is new. A push token for it, whose secret is shown once: scw cockpit token create name=scwatch-push project-id=aaaaaaaa-0000-4000-8000-000000000001 region=fr-par token-scopes.0=write_only_metrics
7 to create, 1 to update, 0 to delete.
`
	if got := rendered(plan); got != want {
		t.Errorf("the plan is\n%swant\n%s", got, want)
	}
	if err := w.apply(p, plan).Err(); err != nil {
		t.Fatal(err)
	}
	w.settled(p)
	if err := w.apply(p, w.plan(p, Selection{Destroy: true})).Err(); err != nil {
		t.Fatal(err)
	}
	if left := w.plan(p, Selection{Destroy: true}); len(left.Actions) > 0 {
		t.Errorf("after destroy there is left:\n%s", rendered(left))
	}
	w.account(func(a *simulator.Account) {
		home := a.Projects[0]
		m := home.AlertManager("fr-par")
		if len(home.RuleGroups)+len(home.Grafana.Folders)+len(m.ContactPoints()) > 0 {
			t.Errorf("left: %v, %v, %v", home.RuleGroups, home.Grafana.Folders, m.ContactPoints())
		}
		if !m.Enabled || len(home.DataSources) != 3 {
			t.Errorf("the alert manager is enabled: %v; data sources: %v", m.Enabled, home.DataSources)
		}
	})
}

// The answers of Mimir, where Cortex was seen to answer otherwise, do as well.
func TestMimir(t *testing.T) {
	w := newWorld(t)
	w.account(func(a *simulator.Account) { a.MimirAnswers = true })
	p := w.applied(everything)
	if err := w.apply(p, w.plan(p, Selection{Destroy: true})).Err(); err != nil {
		t.Fatal(err)
	}
}

// foreign fills the home with what others have: a rule group in our namespace
// and one elsewhere, a dashboard in our folder, and a configuration of routes.
func (w *world) foreign() {
	w.account(func(a *simulator.Account) {
		home := &a.Projects[0]
		source := home.DataSources[0].ID
		home.RuleGroups = append(home.RuleGroups,
			simulator.RuleGroup{DataSourceID: source, Namespace: "scwatch", Name: "by hand", YAML: "name: by hand\nrules: [{alert: Mine, expr: up == 0}]\n"},
			simulator.RuleGroup{DataSourceID: source, Namespace: "team", Name: "posture", YAML: "name: posture\nrules: [{record: 'a:b', expr: up}]\n"})
		home.Grafana.Folders = append(home.Grafana.Folders, simulator.Folder{ID: 900, UID: "scwatch", Title: "Serverless security", Version: 1})
		home.Grafana.Dashboards = append(home.Grafana.Dashboards, simulator.Dashboard{ID: 901, UID: "theirs", Title: "Theirs", FolderUID: "scwatch", Version: 1, Model: map[string]any{"uid": "theirs", "title": "Theirs", "id": 901.0, "version": 1.0}})
		m := home.AlertManager("fr-par")
		m.Enabled, m.Config = true, &simulator.AlertmanagerConfig{Config: theirRoutes, Templates: map[string]string{"theirs.tmpl": `{{ define "theirs" }}x{{ end }}`}}
	})
}

const theirRoutes = `# by hand
global: {resolve_timeout: 7m, slack_api_url: "https://slack.example.com/their-canary"}
route:
  receiver: theirs
  group_by: [alertname]
  routes:
    - {receiver: theirs, matchers: ['team="a"'], continue: true}
receivers:
  - name: theirs
    slack_configs: [{channel: "#alerts"}]
inhibit_rules:
  - {source_matchers: ['severity="critical"'], target_matchers: ['severity="warning"'], equal: [alertname]}
templates: [theirs.tmpl]
`

// others is everything in the account that is not ours, as text.
func (w *world) others() string {
	var all []string
	w.account(func(a *simulator.Account) {
		for _, p := range a.Projects {
			for _, g := range p.RuleGroups {
				if !strings.Contains(g.YAML, markValue) {
					all = append(all, g.Namespace+g.Name+g.YAML)
				}
			}
			for _, d := range p.Grafana.Dashboards {
				if model, _ := json.Marshal(d.Model); !strings.Contains(string(model), markTag) {
					all = append(all, d.FolderUID+string(model))
				}
			}
			for _, region := range []string{"fr-par", "nl-ams", "pl-waw"} {
				if m := p.AlertManager(region); m.Config != nil {
					if theirs := theirPart(w.T, m.Config); theirs != "" {
						all = append(all, theirs)
					}
				}
			}
		}
	})
	slices.Sort(all)
	return strings.Join(all, "\n")
}

// theirPart is a configuration without what is ours.
func theirPart(t *testing.T, c *simulator.AlertmanagerConfig) string {
	t.Helper()
	var node yaml.Node
	if err := yaml.Unmarshal([]byte(c.Config), &node); err != nil {
		t.Fatal(err)
	}
	merged := mergedRoutes(node.Content[0], nil)
	if isEmptyRoutes(merged) {
		return ""
	}
	templates := map[string]string{}
	for name, text := range c.Templates {
		if !strings.HasPrefix(name, ownPrefix) {
			templates[name] = text
		}
	}
	return text(plain(merged)) + text(templates)
}

// What is not ours keeps its meaning in every field, through everything.
func TestOthersAreUntouched(t *testing.T) {
	w := newWorld(t)
	w.foreign()
	before := w.others()
	d := everything // but contacts, which Cockpit keeps among the others' receivers
	d.config = change(t, d.config, ", contacts: [oncall@example.com]", "")
	p := w.applied(d)
	if after := w.others(); after != before {
		t.Errorf("after apply the others' are\n%s\nwant\n%s", after, before)
	}
	w.account(func(a *simulator.Account) {
		config := a.Projects[0].AlertManager("fr-par").Config
		if !strings.Contains(config.Config, "canary-secret") || !strings.Contains(config.Config, "# by hand") {
			t.Errorf("the routes are\n%s", config.Config)
		}
	})
	plan := w.plan(p, Selection{Destroy: true})
	if notes := strings.Join(plan.Notes, "\n"); !strings.Contains(notes, `"Theirs" in it is not ours`) {
		t.Errorf("notes %q", notes)
	}
	if err := w.apply(p, plan).Err(); err != nil {
		t.Fatal(err)
	}
	if after := w.others(); after != before {
		t.Errorf("after destroy the others' are\n%s\nwant\n%s", after, before)
	}
	w.account(func(a *simulator.Account) {
		if got := len(a.Projects[0].Grafana.Folders); got != 1 {
			t.Errorf("%d folders, want the one that holds their dashboard", got)
		}
		if got := a.Projects[0].AlertManager("fr-par").Config; got == nil || strings.Contains(got.Config, ownPrefix) {
			t.Errorf("the routes are %v", got)
		}
	})
}

// What a person changed in ours is drift, field by field, and put right again.
func TestDrift(t *testing.T) {
	w := newWorld(t)
	p := w.applied(everything)
	w.account(func(a *simulator.Account) {
		home := &a.Projects[0]
		home.RuleGroups[0].YAML = strings.Replace(home.RuleGroups[0].YAML, "10m", "2h", 1)
		d := &home.Grafana.Dashboards[slices.IndexFunc(home.Grafana.Dashboards, func(d simulator.Dashboard) bool { return d.UID == "fleet" })]
		d.Model["description"], d.UpdatedBy, d.Version = "edited", "anna", d.Version+1
		m := home.AlertManager("fr-par")
		m.Config.Config = strings.Replace(m.Config.Config, "group_wait: 30s", "group_wait: 5m", 1)
	})
	plan := w.plan(p, Selection{})
	want := `aaaaaaaa-0000-4000-8000-000000000001/fr-par
  ~ dashboard fleet (last written by anna)
      model.description: - "edited"
  ~ rules scwatch/scwatch/posture
      rules[Public].for: "2h" -> "10m"
  ~ routes scwatch
      route.group_wait: "5m" -> "30s"
0 to create, 3 to update, 0 to delete.
`
	if got := rendered(plan); got != want {
		t.Errorf("the plan is\n%swant\n%s", got, want)
	}
	drift := plan.Drift()
	if drift[KindRules] != 1 || drift[KindDashboard] != 1 || drift[KindRoutes] != 1 || drift[KindFolder] != 0 {
		t.Errorf("drift %v", drift)
	}
	if err := w.apply(p, plan).Err(); err != nil {
		t.Fatal(err)
	}
	w.settled(p)
}

// What is spelled differently is the same: durations, defaults, the order of
// groups, comments, quotes.
func TestSpellingIsNoDrift(t *testing.T) {
	w := newWorld(t)
	d := everything
	d.files = map[string]string{
		"fleet.yaml": dashboardText, "routes.yaml": change(t, routesText, "  routes:", "  group_wait: 90s\n  repeat_interval: 24h\n  routes:"),
		"rules.yaml": "groups:\n  - name: b\n    interval: 60s\n    limit: 0\n    rules: # of b" + strings.ReplaceAll(alertText, "10m", "600s") + "  - name: a\n    rules:" + change(t, alertText, "for: 10m", "for: 0s"),
	}
	p := w.applied(d)
	w.account(func(a *simulator.Account) {
		m := a.Projects[0].AlertManager("fr-par")
		m.Config.Config = strings.NewReplacer("group_wait: 90s", "group_wait: 1m30s", "repeat_interval: 24h", "repeat_interval: 1d", `severity="critical"`, `severity = critical`).Replace(m.Config.Config)
		slices.Reverse(a.Projects[0].RuleGroups)
	})
	w.settled(p)
}

// A definition that is gone takes its object along; that of everything has to be
// meant.
func TestDeletions(t *testing.T) {
	w := newWorld(t)
	two := everything
	two.files = map[string]string{
		"fleet.yaml": dashboardText, "routes.yaml": routesText,
		"rules.yaml": groupText + "  - name: second\n    rules:" + alertText,
	}
	w.applied(two)
	p := w.provisioner(everything)
	plan := w.plan(p, Selection{})
	if got := rendered(plan); !strings.Contains(got, "- rules scwatch/scwatch/second\n0 to create, 0 to update, 1 to delete.") {
		t.Errorf("the plan is\n%s", got)
	}
	if err := w.apply(p, plan).Err(); err != nil {
		t.Fatal(err)
	}
	w.settled(p)

	nothing := definitions{config: "provision: {targets: [{dashboards: ['none/*.yaml'], rules: [{files: ['none/*.yaml']}]}]}"}
	p = w.provisioner(nothing)
	if _, err := p.Plan(t.Context(), Selection{}); err == nil || !strings.Contains(err.Error(), "--allow-empty") {
		t.Errorf("error %v", err)
	}
	if plan := w.plan(p, Selection{AllowEmpty: true}); plan.Count(Delete) != 2 {
		t.Errorf("the plan is\n%s", rendered(plan))
	}
}

// --only narrows to kinds and names.
func TestOnly(t *testing.T) {
	w := newWorld(t)
	p := w.provisioner(everything)
	for only, want := range map[string]int{"rules/posture": 1, "rules/scwatch/scwatch/posture": 1, "dashboard/*": 1, "dashboard/none": 0} {
		if got := len(w.plan(p, Selection{Only: []string{only}}).Actions); got != want {
			t.Errorf("--only=%s: %d actions, want %d", only, got, want)
		}
	}
	for _, only := range []string{"rules", "rule/x", "rules/"} {
		if _, err := p.Plan(t.Context(), Selection{Only: []string{only}}); err == nil || !strings.Contains(err.Error(), "expected KIND/NAME") {
			t.Errorf("--only=%s: error %v", only, err)
		}
	}
}

// A saved plan is the plan of the same world, and of no other.
func TestSavedPlan(t *testing.T) {
	w := newWorld(t)
	p := w.provisioner(everything)
	save := func(p *Plan) *Plan {
		data, err := p.Encode()
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "plan.json")
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		saved, err := ReadPlan(file)
		if err != nil {
			t.Fatal(err)
		}
		return saved
	}
	saved := save(w.plan(p, Selection{}))
	if moved := saved.Moved(w.plan(p, Selection{})); len(moved) > 0 {
		t.Errorf("moved: %q", moved)
	}
	other := everything
	other.files = map[string]string{"fleet.yaml": dashboardText, "routes.yaml": routesText, "rules.yaml": change(t, groupText, "10m", "11m")}
	if moved := saved.Moved(w.plan(w.provisioner(other), Selection{})); len(moved) != 2 {
		t.Errorf("a definition has changed: %q", moved)
	}
	p = w.applied(everything)
	w.account(func(a *simulator.Account) {
		a.Projects[0].RuleGroups[0].YAML = strings.Replace(a.Projects[0].RuleGroups[0].YAML, "10m", "2h", 1)
	})
	saved = save(w.plan(p, Selection{}))
	w.account(func(a *simulator.Account) {
		a.Projects[0].RuleGroups[0].YAML = strings.Replace(a.Projects[0].RuleGroups[0].YAML, "2h", "3h", 1)
	})
	if moved := saved.Moved(w.plan(p, Selection{})); len(moved) != 2 {
		t.Errorf("a live rule has changed: %q", moved)
	}
}

// No secret, ours or others', is in a plan, an error or a result.
func TestNothingSecretIsShown(t *testing.T) {
	w := newWorld(t)
	w.foreign()
	w.applied(everything)
	w.account(func(a *simulator.Account) {
		m := a.Projects[0].AlertManager("fr-par")
		m.Config.Config = strings.Replace(m.Config.Config, "canary-secret", "canary-other", 1)
	})
	p := w.provisioner(everything)
	plan := w.plan(p, Selection{})
	encoded, err := plan.Encode()
	if err != nil {
		t.Fatal(err)
	}
	shown := rendered(plan) + string(encoded) + strings.Join(plan.lines(), "\n") + fmt.Sprintf("%v %+v %#v", plan.Actions[0].Changes, plan.Actions[0].Changes, plan.Actions[0].Changes)
	if !strings.Contains(shown, "<secret> -> <secret>") {
		t.Errorf("the change of a secret is not shown:\n%s", shown)
	}
	if strings.Contains(shown, "canary") {
		t.Errorf("a secret is shown:\n%s", shown)
	}
}

// A value of the environment that is part of other texts, even of a single
// letter, makes no drift.
func TestShortSecrets(t *testing.T) {
	w := newWorld(t)
	d := everything
	d.files = map[string]string{
		"fleet.yaml": dashboardText, "rules.yaml": groupText,
		"routes.yaml": change(t, routesText, `{url: "${HOOK}"}`, `{url: "https://hooks.example.com/${SHORT}", max_alerts: 3}`) + "    slack_configs: [{api_url: \"${HOOK}\", channel: \"#${SHORT}-alerts\", title: here}]\n",
	}
	p := w.applied(d)
	w.account(func(a *simulator.Account) {
		m := a.Projects[0].AlertManager("fr-par")
		m.Config.Config = strings.Replace(m.Config.Config, "#e-alerts", "#other", 1)
	})
	if got := rendered(w.plan(p, Selection{})); !strings.Contains(got, "slack_configs[0].channel: <secret> -> <secret>") {
		t.Errorf("the plan is\n%s", got)
	}
}

// call is a request that is made to fail.
type call struct {
	transport http.RoundTripper
	mu        sync.Mutex
	countdown int
	lost      bool // it arrives, and its answer does not
	killed    bool // all that follow fail as well, as those of a process that ended do
	hit       bool
}

var errBroken = errors.New("connection reset by peer")

// RoundTrip fails one call for good: all its attempts.
func (c *call) RoundTrip(req *http.Request) (*http.Response, error) {
	if !c.fails(req.Method) {
		return c.transport.RoundTrip(req)
	}
	if c.lost {
		if resp, err := c.transport.RoundTrip(req); err == nil {
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
	}
	return nil, errBroken
}

func (c *call) fails(method string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.killed && c.hit {
		return true
	}
	if method == http.MethodGet {
		return false
	}
	if c.countdown--; c.countdown >= 0 || c.hit && c.countdown < -8 {
		return false
	}
	c.hit = true
	return true
}

// For random definitions and random live states: apply makes plan empty, others'
// objects are as they were, and a failure at any call that writes, followed by a
// second apply, ends in the same state.
func TestAnyFailureIsMendedByTheNextApply(t *testing.T) {
	for seed := range uint64(12) {
		for failing := range 9 {
			t.Run(fmt.Sprintf("%d/%d", seed, failing), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					chance := rand.New(rand.NewPCG(seed, 0))
					w := newWorld(t)
					if chance.IntN(3) > 0 {
						w.foreign()
					}
					before := w.others()
					w.applied(random(t, chance))
					if after := w.others(); after != before {
						t.Fatalf("the others' are\n%s\nwant\n%s", after, before)
					}
					desired := random(t, chance)
					breaker := &call{transport: w.transport, countdown: failing, lost: chance.IntN(2) == 0, killed: chance.IntN(2) == 0}
					w.transport = breaker
					p := w.provisioner(desired)
					plan := w.plan(p, Selection{AllowEmpty: true})
					result := w.apply(p, plan)
					w.transport = breaker.transport
					p = w.provisioner(desired)
					if left := w.plan(p, Selection{AllowEmpty: true}); (result.Err() == nil) != (len(left.Actions) == 0) && !breaker.lost && !breaker.killed {
						t.Errorf("the result says %v, and there is still to do:\n%s", result.Err(), rendered(left))
					}
					if err := w.apply(p, w.plan(p, Selection{AllowEmpty: true})).Err(); err != nil {
						t.Fatal(err)
					}
					if left := w.plan(p, Selection{AllowEmpty: true}); len(left.Actions) > 0 {
						t.Errorf("there is still to do:\n%s", rendered(left))
					}
					if after := w.others(); after != before {
						t.Errorf("the others' are\n%s\nwant\n%s", after, before)
					}
				})
			})
		}
	}
}

// random are some dashboards, groups and routes.
func random(t *testing.T, chance *rand.Rand) definitions {
	t.Helper()
	d := definitions{files: map[string]string{}}
	var boards []string
	for n := range 3 {
		if chance.IntN(2) == 0 {
			name := fmt.Sprintf("board-%d.yaml", n)
			text := strings.NewReplacer("{name: fleet}", fmt.Sprintf("{name: board-%d}", n), "title: Fleet", fmt.Sprintf("title: Fleet %d", n), "title: Public", fmt.Sprintf("title: Public %d", chance.IntN(2)))
			d.files[name] = text.Replace(dashboardText)
			boards = append(boards, name)
		}
	}
	rules := "groups:\n  - name: always\n    rules:" + alertText
	for n := range 4 {
		if chance.IntN(2) == 0 {
			rules += fmt.Sprintf("  - name: group-%d\n    interval: %dm\n    rules:%s", n, 1+chance.IntN(2), strings.Replace(alertText, "10m", fmt.Sprintf("%dm", 5+chance.IntN(2)), 1))
			rules += fmt.Sprintf("      - {record: 'a:b:%d', expr: scwatch_poll_up}\n", n)
		}
	}
	d.files["rules.yaml"] = rules
	d.files["routes.yaml"] = strings.Replace(routesText, "group_by: [alertname]", fmt.Sprintf("group_by: [alertname]\n  group_wait: %ds", 10+chance.IntN(2)), 1)
	d.config = fmt.Sprintf("provision: {targets: [{dashboards: [%s], rules: [{files: [rules.yaml]}], alertmanager: routes.yaml}]}", strings.Join(boards, ", "))
	return d
}

// 69 groups at 40 ms a call take under 2 s.
func TestManyGroupsAreWrittenInParallel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.transport = slow{w.transport, 40 * time.Millisecond}
		p := w.provisioner(definitions{
			config: "provision: {targets: [{dashboards: [], rules: [{files: [rules.yaml]}]}]}",
			files:  map[string]string{"rules.yaml": manyGroups(69)},
		})
		began := time.Now()
		if err := w.apply(p, w.plan(p, Selection{})).Err(); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("it took %s", took)
		}
	})
}

type slow struct {
	http.RoundTripper
	by time.Duration
}

func (s slow) RoundTrip(req *http.Request) (*http.Response, error) {
	time.Sleep(s.by)
	return s.RoundTripper.RoundTrip(req)
}

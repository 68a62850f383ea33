package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var checks = []string{"function_public", "function_plaintext_secret", "function_in_error"}

func none(string) string { return "" }

func environment(pairs map[string]string) Environment {
	return func(name string) string { return pairs[name] }
}

func mustParse(t *testing.T, name, dir, text string) *Config {
	t.Helper()
	c, err := Parse(name, dir, []byte(text), checks)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// golden compares got with a file, or writes the file with SCWATCH_UPDATE=1.
func golden(t *testing.T, file, got string) {
	t.Helper()
	if os.Getenv("SCWATCH_UPDATE") == "1" {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (-want +got; SCWATCH_UPDATE=1 rewrites it):\n%s", file, diff)
	}
}

func TestDefaults(t *testing.T) {
	want := &Config{
		Scaleway: Scaleway{Projects: []string{}, Regions: []string{}},
		Cockpit:  Cockpit{Region: "fr-par", DataSource: "scwatch"},
		Collect: Collect{
			Interval: time.Minute, SlowInterval: 15 * time.Minute, StaleAfter: 15 * time.Minute,
			Concurrency: 8, RateLimit: 50, TeamTag: "team",
		},
		RejectedCalls: RejectedCalls{Source: SourceAuto, Delay: 2 * time.Minute, TokenFiles: map[string]string{}},
		Exceptions:    []Exception{},
		Push: Push{
			Interval: time.Minute, Heartbeat: 2 * time.Minute, Drop: []string{}, ExternalLabels: map[string]string{},
			SpoolMaxBytes: 256 << 20, SpoolMaxAge: 50 * time.Minute,
			PriceEURPerMillion: 0.15, OverBudget: OverBudgetRefuse,
		},
		Provision: Provision{
			RunbookBase:  DefaultRunbookBase,
			KnownMetrics: []string{},
			Targets: []Target{{
				Folder:     Folder{UID: "scwatch", Title: "Serverless security"},
				Dashboards: []string{Builtin},
				Rules: []Rules{{
					Files:      []string{Builtin},
					DataSource: DataSource{Type: DataSourceMetrics, Name: "scwatch"},
					Namespace:  "scwatch",
				}},
				Contacts:    []string{},
				RulesTarget: RulesTargetCockpit,
			}},
		},
	}
	for name, text := range map[string]string{
		"empty":             "",
		"comments":          "# nothing\n",
		"null":              "---\n",
		"empty mapping":     "{}",
		"commented section": "collect:\n#  interval: 2m\n",
	} {
		t.Run(name, func(t *testing.T) {
			got := mustParse(t, "", "", text)
			if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Config{})); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// The example of the documentation spells every default out.
func TestExampleHoldsTheDefaults(t *testing.T) {
	const file = "testdata/example.yaml"
	got, err := Load(file, none, checks)
	if err != nil {
		t.Fatal(err)
	}
	exception := []Exception{{
		Checks: []string{"function_public"}, Function: "webhook-*", Namespace: "*", Project: "*",
		Owner: "payments", Reason: "Stripe webhooks",
		Expires: time.Date(2027, 3, 31, 0, 0, 0, 0, time.UTC), Line: 23,
	}}
	if diff := cmp.Diff(exception, got.Exceptions); diff != "" {
		t.Errorf("exceptions -want +got:\n%s", diff)
	}
	got.Exceptions = []Exception{}
	want := mustParse(t, file, "", "")
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Config{})); diff != "" {
		t.Errorf("-defaults +example:\n%s", diff)
	}
	for _, key := range schema(reflect.TypeFor[Config](), "") {
		if _, ok := got.document.positions[strings.ReplaceAll(key.path, "[]", "[0]")]; !ok {
			t.Errorf("%s is not in the example", key.path)
		}
	}
}

// Every fixture of a bad file holds its problems beside it.
func TestBadFiles(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal("no fixtures:", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			_, err = Parse(filepath.Base(file), "testdata", data, checks)
			if err == nil {
				t.Fatal("it was accepted")
			}
			golden(t, strings.TrimSuffix(file, ".yaml")+".err", err.Error()+"\n")
			if strings.Contains(err.Error(), "CANARY") {
				t.Error("a value that could be a secret was printed")
			}
		})
	}
}

func TestPathsStartAtTheFile(t *testing.T) {
	text := `
rejected_calls:
  token_files: {11111111-1111-1111-1111-AAAAAAAAAAAA/fr-par: tokens/a, 11111111-1111-1111-1111-aaaaaaaaaaaa/nl-ams: /run/b}
push: {token_file: ../push}
provision:
  targets:
    - alertmanager: routes.yaml
      dashboards: [builtin, "dashboards/*.yaml", /srv/one.yaml]
      rules: [{files: [builtin, rules.yaml]}]
`
	c := mustParse(t, "conf/scwatch.yaml", "conf", text)
	got := map[string]any{
		"token files":  c.RejectedCalls.TokenFiles,
		"token file":   c.Push.TokenFile,
		"alertmanager": c.Provision.Targets[0].Alertmanager,
		"dashboards":   c.Provision.Targets[0].Dashboards,
		"rules":        c.Provision.Targets[0].Rules[0].Files,
	}
	want := map[string]any{
		"token files": map[string]string{
			"11111111-1111-1111-1111-aaaaaaaaaaaa/fr-par": "conf/tokens/a",
			"11111111-1111-1111-1111-aaaaaaaaaaaa/nl-ams": "/run/b",
		},
		"token file":   "push",
		"alertmanager": "conf/routes.yaml",
		"dashboards":   []string{Builtin, "conf/dashboards/*.yaml", "/srv/one.yaml"},
		"rules":        []string{Builtin, "conf/rules.yaml"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestValues(t *testing.T) {
	c := mustParse(t, "", "", `
scaleway: {projects: [11111111-1111-1111-1111-AAAAAAAAAAAA], regions: [pl-waw]}
cockpit: {data_source: posture}
collect: {interval: 90s, slow_interval: 1h30m, stale_after: 1d}
rejected_calls: {delay: 0, metrics_query: "  sum by (code) (increase(x[$window]))  "}
push: {spool_max_bytes: 1GiB, monthly_budget_eur: 20, external_labels: {cluster: a}, drop: ["scwatch_*"]}
provision:
  targets:
    - rules:
        - {}
        - {files: [logs.yaml], data_source: {type: logs, name: Scaleway Logs}}
`)
	got := map[string]any{
		"id":       c.Scaleway.Projects[0],
		"interval": c.Collect.Interval, "slow": c.Collect.SlowInterval, "stale": c.Collect.StaleAfter,
		"delay": c.RejectedCalls.Delay, "query": c.RejectedCalls.MetricsQuery,
		"bytes": c.Push.SpoolMaxBytes, "budget": c.Push.MonthlyBudgetEUR, "labels": c.Push.ExternalLabels,
		"home's data source":  c.Provision.Targets[0].Rules[0].DataSource.Name,
		"another data source": c.Provision.Targets[0].Rules[1].DataSource.Name,
	}
	want := map[string]any{
		"id":       "11111111-1111-1111-1111-aaaaaaaaaaaa",
		"interval": 90 * time.Second, "slow": 90 * time.Minute, "stale": 24 * time.Hour,
		"delay": time.Duration(0), "query": "sum by (code) (increase(x[$window]))",
		"bytes": Bytes(1 << 30), "budget": 20.0, "labels": map[string]string{"cluster": "a"},
		"home's data source":  "posture",
		"another data source": "Scaleway Logs",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestBoundsAreAllowed(t *testing.T) {
	mustParse(t, "", "", `
collect: {interval: 1s, slow_interval: 1s, stale_after: 1s, concurrency: 1, rate_limit: 1}
rejected_calls: {delay: 1h}
push: {interval: 4m, heartbeat: 4m, spool_max_bytes: 1MiB, spool_max_age: 1d, price_eur_per_million: 0}
provision: {targets: [{folder: {uid: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa}}]}
`)
}

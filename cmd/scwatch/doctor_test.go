package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/xeipuuv/gojsonschema"

	"github.com/scwatch/scwatch/internal/simulator"
)

// denied has the account refuse what is at a path.
func denied(path string) func(*testing.T, *patient) {
	return func(_ *testing.T, p *patient) { p.Fault(simulator.Fault{Path: path, Kind: simulator.Denied}) }
}

func answered(path, body string) func(*testing.T, *patient) {
	return func(_ *testing.T, p *patient) {
		p.instead(func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasSuffix(r.URL.Path, path) {
				return false
			}
			io.WriteString(w, body)
			return true
		})
	}
}

const noResult = `{"status":"success","data":{"resultType":"vector","result":[]}}`

// Each hop that can break is named with what it means and how to mend it, what it
// hides is not called well, and nothing is written to find that out. What is
// broken and hidden is in testdata/doctor, by the name of the case.
func TestDoctorNamesWhatIsBroken(t *testing.T) {
	schema := doctorSchema(t)
	documents := []string{"nothing", "key-refused", "alert-manager-elsewhere", "cockpit-denied", "push-off"} // of every status
	for name, test := range map[string]struct {
		given func(*testing.T, *patient)
		code  int
		fresh bool // nothing was applied yet
	}{
		"nothing":    {},
		"not-set-up": {fresh: true, code: 1},

		"key-refused": {code: 3, given: func(_ *testing.T, p *patient) { p.env["SCW_SECRET_KEY"] = "00000000-0000-4000-8000-00000000dead" }},
		"key-ended": {code: 3, given: func(_ *testing.T, p *patient) {
			p.instead(func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.Contains(r.URL.Path, "/iam/v1alpha1/api-keys/") {
					return false
				}
				w.Header().Set("Content-Type", "application/json")
				io.WriteString(w, `{"access_key":"`+simulator.DemoAccessKey+`","expires_at":"2026-01-01T00:00:00Z"}`)
				return true
			})
		}},
		"key-not-readable": {code: 4, given: func(_ *testing.T, p *patient) {
			p.Update(func(a *simulator.Account) { a.Denied = []simulator.Denial{{Resource: "api_key"}} })
		}},
		"projects": {code: 1, given: func(t *testing.T, p *patient) {
			p.configure(t, "scaleway: {projects: ['*'], regions: [fr-par]}\npush: {enabled: true}")
			p.Update(func(a *simulator.Account) { a.Denied = []simulator.Denial{{Resource: "project"}} })
		}},
		"every-project": {given: func(t *testing.T, p *patient) {
			p.configure(t, "scaleway: {projects: ['*'], regions: [fr-par]}\npush: {enabled: true}")
		}},
		"namespaces": {code: 1, given: denied("/namespaces?")},
		"functions":  {code: 1, given: denied("/functions?")},
		"runtimes":   {code: 1, given: denied("/runtimes")},
		"tokens":     {code: 1, given: denied("/tokens?function_id=")},
		"triggers":   {code: 1, given: denied("/triggers")},
		"crons":      {code: 1, given: denied("/crons")},
		"domains":    {code: 1, given: denied("/domains")},
		"api-silent": {code: 4, given: func(_ *testing.T, p *patient) {
			p.Fault(simulator.Fault{Path: "/namespaces?", Kind: simulator.Unavailable})
		}},
		"cockpit-denied": {code: 4, given: func(_ *testing.T, p *patient) {
			p.Update(func(a *simulator.Account) { a.Denied = []simulator.Denial{{Resource: "cockpit"}} })
		}},
		"rejected-calls-nowhere": {code: 1, given: func(_ *testing.T, p *patient) {
			p.Update(func(a *simulator.Account) { a.Dashboards = nil })
			p.instead(func(w http.ResponseWriter, r *http.Request) bool {
				switch {
				case strings.HasSuffix(r.URL.Path, "/label/__name__/values"):
					io.WriteString(w, `{"status":"success","data":[]}`)
				case strings.Contains(r.URL.Path, "/loki/api/v1/"):
					io.WriteString(w, noResult)
				default:
					return false
				}
				return true
			})
		}},

		"push-off": {code: 0, given: func(t *testing.T, p *patient) { p.configure(t, "") }},
		"push-source-missing": {code: 1, given: func(t *testing.T, p *patient) {
			p.configure(t, "push: {enabled: true}\ncockpit: {data_source: other}")
		}},
		"push-into-scaleways": {code: 1, given: func(t *testing.T, p *patient) {
			p.configure(t, "push: {enabled: true}\ncockpit: {data_source: Scaleway Metrics}")
		}},
		"push-generic-host": {code: 1, given: func(t *testing.T, p *patient) {
			p.configure(t, "push: {enabled: true, url: '"+p.url+"/api/v1/push'}")
		}},
		"push-token-of-another-region": {code: 1, given: func(_ *testing.T, p *patient) {
			p.env["SCWATCH_PUSH_TOKEN"] = "canary-token"
			p.home(func(home *simulator.Project) {
				home.CockpitTokens = append(home.CockpitTokens, simulator.CockpitToken{ID: "t", Name: "push", Region: "nl-ams", SecretKey: "canary-token", Scopes: []string{"write_only_metrics"}})
			})
		}},
		"nothing-arrives": {code: 1, given: answered("/prometheus/api/v1/query", noResult)},
		"samples-old": {code: 1, given: func(_ *testing.T, p *patient) {
			p.instead(func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.HasSuffix(r.URL.Path, "/prometheus/api/v1/query") || !strings.Contains(r.FormValue("query"), "scwatch_push_samples_total)") {
					return false
				}
				fmt.Fprintf(w, `{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"%d"]}]}}`, time.Now().Add(-time.Hour).Unix())
				return true
			})
		}},

		"grafana-never-opened": {code: 1, given: func(_ *testing.T, p *patient) {
			p.home(func(home *simulator.Project) { home.Grafana.Provisioned = false })
		}},
		"grafana-out-of-step": {code: 1, given: func(_ *testing.T, p *patient) {
			p.home(func(home *simulator.Project) { home.Grafana.DataSources = home.Grafana.DataSources[:1] })
		}},
		"grafana-managed-rules": {code: 1, given: func(_ *testing.T, p *patient) {
			p.home(func(home *simulator.Project) {
				home.Grafana.AlertGroups = append(home.Grafana.AlertGroups, simulator.AlertGroup{FolderUID: "x", Title: "by hand", Rules: []map[string]any{{"uid": "u", "title": "Errors in checkout"}}})
			})
		}},

		"rules-changed": {code: 1, given: func(_ *testing.T, p *patient) {
			p.home(func(home *simulator.Project) {
				for i, g := range home.RuleGroups {
					home.RuleGroups[i].YAML = strings.Replace(g.YAML, "severity: critical", "severity: info", 1)
				}
			})
		}},
		"rules-not-loaded": {code: 1, given: answered("/prometheus/api/v1/rules", `{"status":"success","data":{"groups":[]}}`)},
		"a-rule-fails": {code: 1, given: func(_ *testing.T, p *patient) {
			p.instead(func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.HasSuffix(r.URL.Path, "/prometheus/api/v1/rules") {
					return false
				}
				recorded := httptest.NewRecorder()
				p.Server.ServeHTTP(recorded, r)
				io.WriteString(w, strings.Replace(recorded.Body.String(), `"lastError":""`, `"lastError":"found duplicate series"`, 1))
				return true
			})
		}},
		"series-missing": {code: 1, given: func(_ *testing.T, p *patient) {
			p.instead(func(w http.ResponseWriter, r *http.Request) bool {
				missing := strings.HasSuffix(r.URL.Path, "/prometheus/api/v1/query") && strings.Contains(r.FormValue("query"), "__name__")
				if missing {
					io.WriteString(w, noResult)
				}
				return missing
			})
		}},

		"alert-manager-off": {code: 1, given: func(_ *testing.T, p *patient) {
			p.home(func(home *simulator.Project) { home.AlertManager("fr-par").Enabled = false })
		}},
		"alert-manager-elsewhere": {code: 1, given: func(_ *testing.T, p *patient) {
			p.home(func(home *simulator.Project) {
				home.AlertManager("nl-ams").Enabled = true
				home.AlertManager("fr-par").Enabled = false
			})
		}},
		"routes-gone": {code: 1, given: func(_ *testing.T, p *patient) {
			p.home(func(home *simulator.Project) { home.AlertManager("fr-par").Config = nil })
		}},
		"routes-changed": {code: 1, given: func(_ *testing.T, p *patient) {
			p.home(func(home *simulator.Project) {
				c := home.AlertManager("fr-par").Config
				c.Config = strings.Replace(c.Config, "hooks.example.com", "elsewhere.example.com", 1)
			})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPatient(t)
			if !test.fresh {
				if out, code := p.run(t, "apply", "--auto-approve", "--config.file=scwatch.yaml"); code != 0 {
					t.Fatalf("apply: exit code %d\n%s", code, out)
				}
			}
			if test.given != nil {
				test.given(t, p)
			}
			p.asked()
			text, code := p.run(t, "doctor", "--config.file=scwatch.yaml")
			if code != test.code {
				t.Errorf("exit code %d, want %d", code, test.code)
			}
			compareText(t, name, text, code == 0)
			for _, r := range p.asked() {
				emptyPush := strings.HasPrefix(r, "POST ") && strings.HasSuffix(r, "/api/v1/push 1")
				if !strings.HasPrefix(r, "GET ") && !emptyPush || strings.Contains(r, "/api/org ") {
					t.Errorf("something is written or opened: %s", r)
				}
			}
			if !slices.Contains(documents, name) {
				return
			}
			document, code := p.run(t, "doctor", "--config.file=scwatch.yaml", "--format=json")
			if code != test.code {
				t.Errorf("exit code of the JSON %d, want %d", code, test.code)
			}
			if result, err := schema.Validate(gojsonschema.NewStringLoader(document)); err != nil {
				t.Errorf("%v: %s", err, document)
			} else if !result.Valid() {
				t.Errorf("the JSON is not what docs/doctor.schema.json says: %v", result.Errors())
			}
			compareGolden(t, name+".json", document)
		})
	}
}

// volatile is what is different each time.
var volatile = regexp.MustCompile(`http://127\.0\.0\.1:\d+|request ID [-0-9a-f]+|20\d\d-\d\d-\d\d|\b\d+ days|\bis \d+h\d+m\d+s old`)

// compareText compares what is not well, or all of it where everything is, with
// the golden text.
func compareText(t *testing.T, name, text string, well bool) {
	t.Helper()
	if !well {
		var unwell []string
		for line := range strings.Lines(text) {
			if !strings.HasPrefix(line, "ok ") && !strings.HasPrefix(line, "off ") {
				unwell = append(unwell, line)
			}
		}
		text = strings.Join(unwell, "")
	}
	compareGolden(t, name+".txt", text)
}

func compareGolden(t *testing.T, file, text string) {
	t.Helper()
	text = volatile.ReplaceAllStringFunc(text, func(found string) string {
		for prefix, placeholder := range map[string]string{"http": "http://API", "request": "request ID ID", "20": "DAY", "is": "is AGE old"} {
			if strings.HasPrefix(found, prefix) && !strings.HasSuffix(found, " days") {
				return placeholder
			}
		}
		return "N days"
	})
	golden := filepath.Join("testdata", "doctor", file)
	if os.Getenv("SCWATCH_UPDATE") != "" {
		if err := os.WriteFile(golden, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if text != string(want) {
		t.Errorf("doctor says\n%s\nwant %s\n%s", text, golden, want)
	}
}

func doctorSchema(t *testing.T) *gojsonschema.Schema {
	t.Helper()
	document, err := os.ReadFile("../../docs/doctor.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	schema, err := gojsonschema.NewSchema(gojsonschema.NewBytesLoader(document))
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// With the flag a sample is pushed and read back, Cockpit's own test alert goes
// out, and one of scwatch's is seen in the alert manager.
func TestDoctorSendsTestAlerts(t *testing.T) {
	for name, test := range map[string]struct {
		given func(*testing.T, *patient)
		code  int
	}{
		"test-alerts": {},
		"test-alerts-refused": {code: 1, given: func(t *testing.T, p *patient) {
			p.Fault(simulator.Fault{Path: "/trigger-test-alert", Kind: simulator.Denied})
			p.Fault(simulator.Fault{Path: "/alertmanager/api/v2/alerts", Method: "POST", Kind: simulator.Denied})
		}},
		"test-alert-not-seen": {code: 1, given: func(_ *testing.T, p *patient) {
			p.instead(func(w http.ResponseWriter, r *http.Request) bool {
				unseen := r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/alertmanager/api/v2/alerts")
				if unseen {
					io.WriteString(w, "[]")
				}
				return unseen
			})
		}},
		"nobody-is-told": {code: 1, given: func(t *testing.T, p *patient) {
			p.write(t, "scwatch.yaml", "scaleway: {regions: [fr-par]}\npush: {enabled: true}\n")
			p.home(func(home *simulator.Project) { home.AlertManager("fr-par").Config = nil })
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPatient(t)
			if out, code := p.run(t, "apply", "--auto-approve", "--config.file=scwatch.yaml"); code != 0 {
				t.Fatalf("apply: exit code %d\n%s", code, out)
			}
			if test.given != nil {
				test.given(t, p)
			}
			text, code := p.run(t, "doctor", "--config.file=scwatch.yaml", "--send-test-alert")
			if code != test.code {
				t.Errorf("exit code %d, want %d", code, test.code)
			}
			compareText(t, name, text, code == 0)
			if test.given == nil {
				p.home(func(home *simulator.Project) {
					if m := home.AlertManager("fr-par"); m.TestAlerts != 1 || len(m.Alerts) != 1 {
						t.Errorf("%d test alerts of Cockpit and %d of scwatch were sent", m.TestAlerts, len(m.Alerts))
					}
				})
			}
		})
	}
}

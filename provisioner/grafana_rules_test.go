package provisioner

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/scwatch/scwatch/internal/simulator"
)

// own is a Grafana of somebody's own, beside the simulated account.
func (w *world) own(version string) *simulator.GrafanaServer {
	g := simulator.NewGrafana("grafana-token")
	g.Update(func(s *simulator.Grafana) {
		s.Version = version
		s.DataSources = []simulator.GrafanaDataSource{{UID: "P1", Name: "scwatch", Type: "prometheus"}, {UID: "P2", Name: "Loki", Type: "loki"}}
	})
	account := w.transport
	w.transport = meddler{account, func(req *http.Request) *http.Response {
		if req.URL.Host != "grafana.example.com" {
			return nil
		}
		if req.Header.Get("X-Auth-Token") != "" {
			w.Error("the key of Scaleway went to another server")
		}
		if req.Body == nil {
			req.Body = http.NoBody
		}
		recorder := httptest.NewRecorder()
		g.ServeHTTP(recorder, req)
		return recorder.Result()
	}}
	return g
}

var managed = definitions{
	config: "provision: {targets: [{dashboards: [fleet.yaml], rules: [{files: [rules.yaml]}], rules_target: grafana, grafana_url: 'https://grafana.example.com'}]}",
	files: map[string]string{"fleet.yaml": dashboardText, "rules.yaml": strings.Replace(groupText, "It is public.", `"{{ $labels.function }} is public: {{ $value }}"`, 1) +
		strings.Replace(alertText, "critical", "warning", 1)},
}

// Grafana-managed rules mean what the rule files mean to Prometheus.
func TestManagedRules(t *testing.T) {
	for version, onError := range map[string]string{"9.4.7": "Error", "11.6.0": "KeepLast"} {
		t.Run(version, func(t *testing.T) {
			w := newWorld(t)
			g := w.own(version)
			p := w.provisioner(managed)
			if err := w.apply(p, w.plan(p, Selection{})).Err(); err != nil {
				t.Fatal(err)
			}
			w.settled(p)
			g.Update(func(s *simulator.Grafana) {
				if len(s.AlertGroups) != 1 || len(s.AlertGroups[0].Rules) != 2 {
					t.Fatalf("groups %+v", s.AlertGroups)
				}
				rule := s.AlertGroups[0].Rules[0]
				notes := rule["annotations"].(map[string]any)
				data := text(rule["data"])
				for what, ok := range map[string]bool{
					"no data is no alert":   rule["noDataState"] == "OK",
					"an error is kept":      rule["execErrState"] == onError,
					"for":                   rule["for"] == "10m0s" || rule["for"] == "10m",
					"every series fires":    strings.Contains(data, "is_number($A) || is_nan($A) || is_inf($A)"),
					"the expression":        strings.Contains(data, `scaleway_function_privacy{privacy=\"public\"} == 1`),
					"the data source":       strings.Contains(data, `"datasourceUid":"P1"`),
					"the mark":              notes["managed_by"] == "scwatch",
					"the value":             notes["summary"] == "{{ $labels.function }} is public: {{ $values.A.Value }}",
					"the title":             rule["title"] == "Public",
					"another one's":         s.AlertGroups[0].Rules[1]["title"] == "Public (warning)",
					"the folder's interval": s.AlertGroups[0].Interval == 60,
				} {
					if !ok {
						t.Errorf("%s: %s", what, text(rule))
					}
				}
			})
			// An edit in the page is drift; a second apply keeps the rules' uids.
			uid := ""
			g.Update(func(s *simulator.Grafana) {
				uid = s.AlertGroups[0].Rules[0]["uid"].(string)
				s.AlertGroups[0].Rules[0]["for"] = "2h"
			})
			plan := w.plan(p, Selection{})
			if got := rendered(plan); !strings.Contains(got, "rules[Public].for: \"2h\" -> \"10m0s\"") && !strings.Contains(got, "rules[Public].for: \"2h0m0s\" -> \"10m0s\"") {
				t.Errorf("the plan is\n%s", got)
			}
			if err := w.apply(p, plan).Err(); err != nil {
				t.Fatal(err)
			}
			g.Update(func(s *simulator.Grafana) {
				if got := s.AlertGroups[0].Rules[0]["uid"]; got != uid {
					t.Errorf("the rule's uid is %v, was %s", got, uid)
				}
			})
			if err := w.apply(p, w.plan(p, Selection{Destroy: true})).Err(); err != nil {
				t.Fatal(err)
			}
			g.Update(func(s *simulator.Grafana) {
				if len(s.AlertGroups)+len(s.Folders)+len(s.Dashboards) > 0 {
					t.Errorf("left: %+v", s)
				}
			})
		})
	}
}

// An older Grafana takes keep_firing_for and forgets it: that is found out.
func TestManagedRulesOfAnOlderGrafana(t *testing.T) {
	for version, kept := range map[string]bool{"9.4.7": false, "12.2.0": true} {
		w := newWorld(t)
		w.own(version)
		d := managed
		d.files = map[string]string{"fleet.yaml": dashboardText, "rules.yaml": change(t, groupText, "for: 10m", "for: 10m\n        keep_firing_for: 1h")}
		p := w.provisioner(d)
		err := w.apply(p, w.plan(p, Selection{})).Err()
		if kept && err != nil || !kept && (err == nil || !strings.Contains(err.Error(), "keeps something else in rules[Public].keep_firing_for")) {
			t.Errorf("%s: error %v", version, err)
		}
	}
}

// From Grafana 12 on recording rules are Grafana's as well.
func TestManagedRecordingRules(t *testing.T) {
	w := newWorld(t)
	g := w.own("12.2.0")
	d := managed
	d.files = map[string]string{"fleet.yaml": dashboardText, "rules.yaml": groupText + "      - {record: 'a:b', expr: scwatch_poll_up}\n"}
	p := w.applied(d)
	g.Update(func(s *simulator.Grafana) {
		record, _ := s.AlertGroups[0].Rules[1]["record"].(map[string]any)
		if record["metric"] != "a:b" || record["from"] != "A" {
			t.Errorf("the rule is %s", text(s.AlertGroups[0].Rules[1]))
		}
	})
	if err := w.apply(p, w.plan(p, Selection{Destroy: true})).Err(); err != nil {
		t.Fatal(err)
	}
}

// What cannot mean the same is refused.
func TestManagedRulesThatCannotBe(t *testing.T) {
	for name, test := range map[string]struct{ old, new, want string }{
		"a recording rule":      {"      - alert: Public\n", "      - {record: 'a:b', expr: scwatch_poll_up}\n      - alert: Public\n", `record "a:b": a Grafana 11.6.0 has no recording rules of its own`},
		"a query in a template": {"It is public.", `'{{ query "up" }}'`, "its annotation summary asks a query"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.own("11.6.0")
			d := managed
			d.files = map[string]string{"fleet.yaml": dashboardText, "rules.yaml": change(t, groupText, test.old, test.new)}
			_, err := w.provisioner(d).Plan(t.Context(), Selection{})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want in it %q", err, test.want)
			}
		})
	}
}

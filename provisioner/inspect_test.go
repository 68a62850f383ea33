package provisioner

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scwatch/scwatch/internal/config"
	"github.com/scwatch/scwatch/internal/simulator"
)

// answering is a storage whose last sample of scwatch is so old.
func answering(age time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"%d"]}]}}`, time.Now().Add(-age).Unix())
	})
}

// Each known trap is a hop that doctor names; where nothing is wrong all are ok.
func TestInspect(t *testing.T) {
	const region = "fr-par"
	for name, test := range map[string]struct {
		trap   func(*simulator.Account)
		home   func(*Home)
		hop    string // "" where all is well
		says   string
		mend   string
		behind string // a hop that is not reached
	}{
		"nothing": {},
		"with a test alert": {
			home: func(h *Home) { h.TestAlert = true },
		},
		"pushing is off": {
			home: func(h *Home) { h.Pushing = false },
			hop:  "push", says: "push.enabled is false", mend: "push.enabled: true", behind: "push token",
		},
		"pushing into Scaleway's own": {
			home: func(h *Home) { h.DataSource = "Scaleway Metrics" },
			hop:  hopSource, says: "answers 403 to every push", mend: "one of your own", behind: hopRulesStored,
		},
		"no data source": {
			home: func(h *Home) { h.DataSource = "other" },
			hop:  hopSource, says: `no data source of metrics called "other"`, mend: "scw cockpit data-source create", behind: "samples arrive",
		},
		"the generic host": {
			home: func(h *Home) { h.PushURL = "https://metrics.cockpit.fr-par.scw.cloud/api/v1/push" },
			hop:  "push", says: "the generic host, which answers 404", mend: "leave push.url empty",
		},
		"a data source of another project": {
			home: func(h *Home) {
				h.PushURL = "https://eeeeeeee-0000-4000-8000-000000000001.metrics.cockpit.nl-ams.scw.cloud/api/v1/push"
			},
			hop: "push", says: "of another project or region", mend: "cockpit.project and cockpit.region",
		},
		"a token of another region": {
			home: func(h *Home) { h.PushToken = config.NewSecret("canary-token") },
			hop:  "push token", says: "401: Unauthorized", mend: "a token is good for one project and region",
		},
		"old samples": {
			trap: func(a *simulator.Account) { a.Storage = answering(time.Hour) },
			hop:  "samples arrive", says: "the last sample is 1h0m0s old", mend: "scwatch_push_failures_total",
		},
		"Grafana-managed rules": {
			trap: func(a *simulator.Account) {
				a.Projects[0].Grafana.AlertGroups = []simulator.AlertGroup{{FolderUID: "f", Title: "g", Interval: 60, Rules: []map[string]any{{
					"uid": "u", "title": "Clicked together", "folderUID": "f", "ruleGroup": "g", "orgID": 1, "condition": "A", "data": []any{}, "for": "1m", "noDataState": "OK", "execErrState": "OK",
				}}}}
			},
			hop: "no Grafana-managed rules", says: `such as "Clicked together": Cockpit never evaluates them`, mend: "rule file",
		},
		"a Grafana that nobody opened": {
			trap: func(a *simulator.Account) { a.Projects[0].Grafana = simulator.Grafana{} },
			hop:  hopGrafana, says: "it was never opened", mend: "scwatch apply opens it", behind: "no Grafana-managed rules",
		},
		"a data source that Grafana lacks": {
			trap: func(a *simulator.Account) {
				g := &a.Projects[0].Grafana
				g.DataSources = slices.DeleteFunc(g.DataSources, func(d simulator.GrafanaDataSource) bool { return d.Name == "scwatch" })
			},
			hop: "Grafana's data sources", says: `does not know the data source "scwatch"`, mend: "scwatch apply",
		},
		"no rules": {
			trap: func(a *simulator.Account) { a.Projects[0].RuleGroups = nil },
			hop:  hopRulesStored, says: "no rule group of scwatch", mend: "scwatch apply", behind: "rules evaluated",
		},
		"an alert manager elsewhere": {
			trap: func(a *simulator.Account) {
				a.Projects[0].AlertManager(region).Enabled = false
				a.Projects[0].AlertManager("nl-ams").Enabled = true
			},
			hop: hopAlertManager, says: "enabled in nl-ams, which hears nothing of a data source in fr-par", mend: "scwatch apply", behind: "somebody to notify",
		},
		"nobody to notify": {
			trap: func(a *simulator.Account) { a.Projects[0].AlertManager(region).Config = nil },
			hop:  "somebody to notify", says: "no contact and no receiver", mend: "contacts",
		},
		"no rights": {
			trap: func(a *simulator.Account) { a.Denied = []simulator.Denial{{Resource: "cockpit"}} },
			hop:  hopCockpit, says: "403: insufficient permissions", mend: "ObservabilityFullAccess", behind: hopAlertManager,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.account(func(a *simulator.Account) { a.PollInterval, a.Storage = 0, answering(time.Minute) })
				p := w.applied(everything)
				if test.trap != nil {
					w.account(test.trap)
				}
				home := Home{Project: simulator.DemoHome, Region: region, DataSource: "scwatch", Pushing: true, Now: time.Now()}
				if test.home != nil {
					test.home(&home)
				}
				hops := &Hops{}
				p.Inspect(t.Context(), home, hops)
				found := false
				for _, hop := range hops.All {
					if strings.Contains(hop.Found+hop.Mend, "canary") {
						t.Errorf("a secret is shown: %+v", hop)
					}
					switch {
					case hop.Name == test.hop:
						found = true
						if hop.State != HopBroken || !strings.Contains(hop.Found, test.says) || !strings.Contains(hop.Mend, test.mend) {
							t.Errorf("the hop is %+v, want %q and to mend it %q", hop, test.says, test.mend)
						}
					case hop.Name == test.behind:
						if hop.State != HopNotReached {
							t.Errorf("the hop behind is %+v", hop)
						}
					case test.hop == "" && hop.State != HopOK:
						t.Errorf("the hop is %+v, want it to be ok", hop)
					}
				}
				if found != (test.hop != "") {
					t.Errorf("no hop %q in %+v", test.hop, hops.All)
				}
			})
		})
	}
}

// Without the flag nothing is written; with it both test alerts are.
func TestInspectWritesOnlyWhenAsked(t *testing.T) {
	w := newWorld(t)
	w.account(func(a *simulator.Account) { a.PollInterval, a.Storage = 0, answering(time.Minute) })
	p := w.applied(everything)
	for _, send := range []bool{false, true} {
		p.Inspect(t.Context(), Home{Project: simulator.DemoHome, Region: "fr-par", DataSource: "scwatch", Pushing: true, TestAlert: send, Now: time.Now()}, &Hops{})
		w.account(func(a *simulator.Account) {
			m := a.Projects[0].AlertManager("fr-par")
			if (m.TestAlerts == 1) != send || (len(m.Alerts) == 1) != send {
				t.Errorf("asked %v: %d test alerts of Cockpit, %d of ours", send, m.TestAlerts, len(m.Alerts))
			}
		})
	}
}

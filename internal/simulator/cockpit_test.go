package simulator

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	cockpit "github.com/scaleway/scaleway-sdk-go/api/cockpit/v1"
	"github.com/scaleway/scaleway-sdk-go/scw"
)

const (
	payments  = "bbbbbbbb-0000-4000-8000-000000000002"
	marketing = "cccccccc-0000-4000-8000-000000000003"
)

// The Cockpit API, as the SDK's own methods decode it.
func TestCockpitSDK(t *testing.T) {
	s := New(DemoAccount(time.Now()))
	c := client(t, s, DemoSecretKey)
	global, regional := cockpit.NewGlobalAPI(c), cockpit.NewRegionalAPI(c)

	grafana, err := global.GetGrafana(&cockpit.GlobalAPIGetGrafanaRequest{ProjectID: payments})
	if err != nil || grafana.GrafanaURL == "" {
		t.Fatalf("grafana %+v, error %v", grafana, err)
	}
	made, err := regional.CreateDataSource(&cockpit.RegionalAPICreateDataSourceRequest{Region: scw.RegionFrPar, ProjectID: payments, Name: "scwatch", Type: cockpit.DataSourceTypeMetrics})
	if err != nil || made.Origin != cockpit.DataSourceOriginCustom || made.URL == "" || made.SynchronizedWithGrafana {
		t.Fatalf("data source %+v, error %v", made, err)
	}
	if err := global.SyncGrafanaDataSources(&cockpit.GlobalAPISyncGrafanaDataSourcesRequest{ProjectID: payments}); err != nil {
		t.Fatal(err)
	}
	got, err := regional.GetDataSource(&cockpit.RegionalAPIGetDataSourceRequest{Region: scw.RegionFrPar, DataSourceID: made.ID})
	if err != nil || got.Name != "scwatch" || !got.SynchronizedWithGrafana {
		t.Errorf("data source %+v, error %v", got, err)
	}
	sources, err := regional.ListDataSources(&cockpit.RegionalAPIListDataSourcesRequest{
		Region: scw.RegionFrPar, ProjectID: payments, Origin: cockpit.DataSourceOriginCustom, Types: []cockpit.DataSourceType{cockpit.DataSourceTypeMetrics},
	})
	if err != nil || sources.TotalCount != 1 || sources.DataSources[0].ID != made.ID {
		t.Errorf("data sources %+v, error %v", sources, err)
	}
	if home, err := regional.ListDataSources(&cockpit.RegionalAPIListDataSourcesRequest{Region: scw.RegionFrPar, ProjectID: DemoHome}); err != nil || home.TotalCount != 3 {
		t.Errorf("the home's data sources %+v, error %v", home, err)
	}

	if all, err := regional.ListDataSources(&cockpit.RegionalAPIListDataSourcesRequest{Region: scw.RegionNlAms, ProjectID: payments}); err != nil || all.TotalCount != 0 {
		t.Errorf("another region's data sources %+v, error %v", all, err)
	}

	var missing *scw.ResourceNotFoundError
	points := &cockpit.RegionalAPIListContactPointsRequest{Region: scw.RegionFrPar, ProjectID: payments}
	if _, err := regional.ListContactPoints(points); !errors.As(err, &missing) {
		t.Errorf("contact points of no alert manager: %v", err)
	}
	manager, err := regional.GetAlertManager(&cockpit.RegionalAPIGetAlertManagerRequest{Region: scw.RegionFrPar, ProjectID: payments})
	if err != nil || manager.AlertManagerEnabled || manager.AlertManagerURL != nil {
		t.Errorf("alert manager %+v, error %v", manager, err)
	}
	manager, err = regional.EnableAlertManager(&cockpit.RegionalAPIEnableAlertManagerRequest{Region: scw.RegionFrPar, ProjectID: payments})
	if err != nil || !manager.AlertManagerEnabled || manager.AlertManagerURL == nil {
		t.Fatalf("alert manager %+v, error %v", manager, err)
	}
	resolved := true
	oncall := &cockpit.ContactPointEmail{To: "oncall@example.com"}
	point, err := regional.CreateContactPoint(&cockpit.RegionalAPICreateContactPointRequest{Region: scw.RegionFrPar, ProjectID: payments, Email: oncall, SendResolvedNotifications: &resolved})
	if err != nil || point.Email.To != oncall.To || !point.SendResolvedNotifications {
		t.Errorf("contact point %+v, error %v", point, err)
	}
	all, err := regional.ListContactPoints(points)
	if err != nil || all.TotalCount != 1 || all.ContactPoints[0].Email.To != oncall.To || all.HasAdditionalReceivers || all.HasAdditionalContactPoints {
		t.Errorf("contact points %+v, error %v", all, err)
	}
	resolved = false
	if point, err := regional.UpdateContactPoint(&cockpit.RegionalAPIUpdateContactPointRequest{Region: scw.RegionFrPar, ProjectID: payments, Email: oncall, SendResolvedNotifications: &resolved}); err != nil || point.SendResolvedNotifications {
		t.Errorf("contact point %+v, error %v", point, err)
	}
	if err := regional.DeleteContactPoint(&cockpit.RegionalAPIDeleteContactPointRequest{Region: scw.RegionFrPar, ProjectID: payments, Email: oncall}); err != nil {
		t.Error(err)
	}
	if all, err := regional.ListContactPoints(points); err != nil || all.TotalCount != 0 {
		t.Errorf("contact points %+v, error %v", all, err)
	}
	if err := regional.TriggerTestAlert(&cockpit.RegionalAPITriggerTestAlertRequest{Region: scw.RegionFrPar, ProjectID: payments}); err != nil {
		t.Error(err)
	}
	s.Update(func(a *Account) {
		if n := a.Project(payments).AlertManager("fr-par").TestAlerts; n != 1 {
			t.Errorf("%d test alerts", n)
		}
		if a.Project(DemoHome).AlertManager("fr-par").Enabled || a.Project(payments).AlertManager("nl-ams").Enabled {
			t.Error("another alert manager was enabled, too")
		}
		a.Project(payments).RuleGroups = []RuleGroup{{made.ID, "scwatch", "posture", "name: posture\nrules: [{alert: A, expr: up == 0, for: 5m, labels: {severity: critical}}, {record: 'a:b', expr: up}]\n"}}
	})
	alerts, err := regional.ListAlerts(&cockpit.RegionalAPIListAlertsRequest{Region: scw.RegionFrPar, ProjectID: payments})
	if err != nil || alerts.TotalCount != 1 || alerts.Alerts[0].Name != "A" || alerts.Alerts[0].Duration != "5m" || *alerts.Alerts[0].State != cockpit.AlertStateInactive {
		t.Errorf("alerts %+v, error %v", alerts, err)
	}
	count, err := regional.GetRulesCount(&cockpit.RegionalAPIGetRulesCountRequest{Region: scw.RegionFrPar, ProjectID: payments})
	if err != nil || count.CustomRulesCount != 2 || len(count.RulesCountByDatasource) != 3 {
		t.Errorf("rules count %+v, error %v", count, err)
	}
	token, err := regional.CreateToken(&cockpit.RegionalAPICreateTokenRequest{Region: scw.RegionFrPar, ProjectID: payments, Name: "push", TokenScopes: []cockpit.TokenScope{cockpit.TokenScopeWriteOnlyMetrics}})
	if err != nil || token.SecretKey == nil {
		t.Errorf("token %+v, error %v", token, err)
	}
	if tokens, err := regional.ListTokens(&cockpit.RegionalAPIListTokensRequest{Region: scw.RegionFrPar, ProjectID: payments}); err != nil || tokens.TotalCount != 1 || tokens.Tokens[0].SecretKey != nil {
		t.Errorf("tokens %+v, error %v", tokens, err)
	}
	if manager, err := regional.DisableAlertManager(&cockpit.RegionalAPIDisableAlertManagerRequest{Region: scw.RegionFrPar, ProjectID: payments}); err != nil || manager.AlertManagerEnabled {
		t.Errorf("alert manager %+v, error %v", manager, err)
	}
	if err := regional.DeleteDataSource(&cockpit.RegionalAPIDeleteDataSourceRequest{Region: scw.RegionFrPar, DataSourceID: made.ID}); err != nil {
		t.Error(err)
	}
	if _, err := regional.GetDataSource(&cockpit.RegionalAPIGetDataSourceRequest{Region: scw.RegionFrPar, DataSourceID: made.ID}); !errors.As(err, &missing) {
		t.Errorf("a data source that was deleted: %v", err)
	}
}

// What the API refuses, in its own words.
func TestCockpitRefusals(t *testing.T) {
	const regional = "/cockpit/v1/regions/fr-par/"
	home := `"project_id":"` + DemoHome + `"`
	for name, test := range map[string]struct {
		call   call
		status int
		text   string
	}{
		"an unknown project":           {call{method: "GET", path: regional + "data-sources?project_id=x"}, 403, `"resource":"cockpit"`},
		"an unknown one's Grafana":     {call{method: "GET", path: "/cockpit/v1/grafana?project_id=x"}, 403, "permissions_denied"},
		"an unknown region":            {call{method: "GET", path: "/cockpit/v1/regions/mars/data-sources?project_id=" + DemoHome}, 404, "not_found"},
		"an unknown path":              {call{method: "GET", path: regional + "nothing?project_id=" + DemoHome}, 404, "not_found"},
		"an unknown path, Grafana's":   {call{method: "GET", path: "/cockpit/v1/grafana/nothing?project_id=" + DemoHome}, 404, "not_found"},
		"an unknown data source":       {call{method: "GET", path: regional + "data-sources/x"}, 404, "data_source"},
		"one of another region":        {call{method: "GET", path: "/cockpit/v1/regions/nl-ams/data-sources/" + homeMetrics}, 404, "data_source"},
		"a data source like that":      {call{method: "PUT", path: regional + "data-sources/" + homeMetrics}, 404, "not_found"},
		"no JSON":                      {call{method: "POST", path: regional + "data-sources", body: "{"}, 400, "invalid_arguments"},
		"no JSON for Grafana":          {call{method: "POST", path: "/cockpit/v1/grafana/sync-data-sources", body: "{"}, 400, "invalid_arguments"},
		"a data source of no name":     {call{method: "POST", path: regional + "data-sources", body: "{" + home + `,"type":"metrics"}`}, 400, `"name"`},
		"a data source of no type":     {call{method: "POST", path: regional + "data-sources", body: "{" + home + `,"name":"a","type":"x"}`}, 400, `"type"`},
		"a token for nothing":          {call{method: "POST", path: regional + "tokens", body: "{" + home + `,"name":"a"}`}, 400, "token_scopes"},
		"a test with no alert manager": {call{method: "POST", path: regional + "alert-manager/trigger-test-alert", body: "{" + home + "}"}, 404, "alert_manager"},
		"a contact with none":          {call{method: "POST", path: regional + "alert-manager/contact-points", body: "{" + home + `,"email":{"to":"a@b.c"}}`}, 404, "alert_manager"},
		"another key":                  {call{method: "GET", path: regional + "data-sources?project_id=" + DemoHome, header: http.Header{"X-Auth-Token": {"x"}}}, 401, "denied_authentication"},
	} {
		t.Run(name, func(t *testing.T) {
			if status, text := test.call.text(New(DemoAccount(time.Now()))); status != test.status || !strings.Contains(text, test.text) {
				t.Errorf("%d %s, want %d with %s", status, text, test.status, test.text)
			}
		})
	}
}

// A contact point that is not there cannot be changed or deleted.
func TestContactPointsThatAreMissing(t *testing.T) {
	s := withAlertManager()
	for method, path := range map[string]string{"PATCH": "contact-points", "POST": "contact-points/delete"} {
		body := `{"project_id":"` + DemoHome + `","email":{"to":"a@example.com"}}`
		if status, text := (call{method: method, path: "/cockpit/v1/regions/fr-par/alert-manager/" + path, body: body}).text(s); status != 404 || !strings.Contains(text, "contact_point") {
			t.Errorf("%s: %d %s", method, status, text)
		}
	}
}

// A denial is of a project and a region, or of its writes alone.
func TestCockpitDenied(t *testing.T) {
	s := New(DemoAccount(time.Now()))
	s.Update(func(a *Account) {
		a.Denied = []Denial{
			{ProjectID: payments, Region: "fr-par", Resource: "cockpit"},
			{ProjectID: DemoHome, Resource: "cockpit", WritesOnly: true},
		}
	})
	const body = `,"name":"a","type":"metrics"}`
	for path, want := range map[string]int{
		"GET regions/fr-par/data-sources?project_id=" + payments: 403,
		"GET regions/nl-ams/data-sources?project_id=" + payments: 200,
		"GET grafana?project_id=" + payments:                     200,
		"GET regions/fr-par/data-sources?project_id=" + DemoHome: 200,
		"GET regions/fr-par/data-sources/" + homeMetrics:         200,
		"DELETE regions/fr-par/data-sources/" + homeMetrics:      403,
		"GET grafana?project_id=" + DemoHome:                     200,
		"POST regions/fr-par/data-sources":                       403,
		"POST grafana/sync-data-sources":                         403,
	} {
		method, path, _ := strings.Cut(path, " ")
		c := call{method: method, path: "/cockpit/v1/" + path}
		if method == "POST" {
			c.body = `{"project_id":"` + DemoHome + `"` + body
		}
		if status, text := c.text(s); status != want {
			t.Errorf("%s %s: %d %s, want %d", method, path, status, text, want)
		}
	}
}

// Calls are counted by what they are about, those that write on their own.
func TestCockpitRequests(t *testing.T) {
	s := withAlertManager()
	for path, want := range map[string]string{
		"GET /cockpit/v1/regions/fr-par/data-sources?project_id=" + DemoHome:              "data-sources",
		"POST /cockpit/v1/regions/fr-par/alert-manager/enable":                            "POST enable",
		"GET " + dataSourcesPath + homeMetrics + "/" + mimirRules + "/scwatch":            "rules",
		"DELETE " + dataSourcesPath + homeMetrics + "/" + mimirRules + "/scwatch/posture": "DELETE rules",
		"GET " + homeAlerts:                                     "alerts",
		"POST " + homeAlerts:                                    "POST alerts",
		"GET " + grafanaPath + DemoHome + "/api/search":         "search",
		"POST " + grafanaPath + DemoHome + "/api/dashboards/db": "POST dashboards",
		"PUT " + grafanaPath + DemoHome + "/api/v1/provisioning/folder/f/rule-groups/g": "PUT rule-groups",
		"GET " + grafanaPath + DemoHome + "/api/else":                                   "others",
	} {
		before := s.Requests()[want]
		method, path, _ := strings.Cut(path, " ")
		call{method: method, path: path}.do(s)
		if n := s.Requests()[want] - before; n != 1 {
			t.Errorf("%s %s is counted %d times as %s: %v", method, path, n, want, s.Requests())
		}
	}
}

// The faults, on everything that a Cockpit serves.
func TestCockpitFaults(t *testing.T) {
	for _, path := range []string{
		"/cockpit/v1/regions/fr-par/data-sources?project_id=" + DemoHome, grafanaPath + DemoHome + "/api/org",
		dataSourcesPath + homeMetrics + "/" + mimirRules, homeAlerts,
	} {
		for kind, want := range map[Kind]int{
			TooManyRequests: 429, ServerError: 500, Unavailable: 503, Denied: 403, NoJSON: 200, NoPage: 404, Redirected: 302,
			Hang: 0, Reset: 0, CutShort: 0, Slow: 200,
		} {
			synctest.Test(t, func(t *testing.T) {
				s := withAlertManager()
				s.Update(func(a *Account) {
					p := a.Project(DemoHome)
					p.RuleGroups = []RuleGroup{{homeMetrics, "ns", "g", mimirGroup}}
					p.AlertManager("fr-par").Config = &AlertmanagerConfig{Config: slackConfig}
				})
				transport, end := s.Pipe()
				defer end()
				transport.DisableKeepAlives = true // on one that is reused it asks again by itself
				s.Fault(Fault{Path: strings.SplitN(path, "?", 2)[0], Kind: kind, After: 1, Times: 1})
				get := func() (int, string) {
					ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
					defer cancel()
					req, _ := http.NewRequestWithContext(ctx, "GET", "http://api.example"+path, nil)
					req.Header.Set("X-Auth-Token", DemoSecretKey)
					resp, err := transport.RoundTrip(req)
					if err != nil {
						return 0, err.Error()
					}
					defer resp.Body.Close()
					body, err := io.ReadAll(resp.Body)
					if err != nil {
						return 0, err.Error()
					}
					return resp.StatusCode, string(body)
				}
				first, text := get()
				if status, got := get(); status != want {
					t.Errorf("%s, fault %d: %d %s, want %d", path, kind, status, got, want)
				}
				if status, got := get(); status != first || got != text {
					t.Errorf("%s, after fault %d: %d %s, want %d %s", path, kind, status, got, first, text)
				}
			})
		}
	}
}

// An answer that is lost is of a call that was done.
func TestLostAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, mimir, _ := rulers(t)
		transport, end := s.Pipe()
		defer end()
		s.Fault(Fault{Path: mimirRules, Method: "POST", Kind: CutShort})
		req, _ := http.NewRequestWithContext(t.Context(), "POST", "http://api.example"+dataSourcesPath+homeMetrics+"/"+mimirRules+"/ns", strings.NewReader(mimirGroup))
		req.Header.Set("X-Auth-Token", DemoSecretKey)
		if resp, err := transport.RoundTrip(req); err == nil {
			if _, err := io.ReadAll(resp.Body); err == nil {
				t.Error("the answer is whole")
			}
			resp.Body.Close()
		}
		if got := mimir.groups(); got != "ns/g" {
			t.Errorf("stored are %q", got)
		}
	})
}

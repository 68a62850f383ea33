package simulator

import (
	"errors"
	"testing"
	"time"

	cockpit "github.com/scaleway/scaleway-sdk-go/api/cockpit/v1"
	"github.com/scaleway/scaleway-sdk-go/scw"
)

const payments = "bbbbbbbb-0000-4000-8000-000000000002"

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

package simulator

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gopkg.in/yaml.v3"
)

const homeAlerts = alertManagersPath + DemoHome + "/fr-par/api/v1/alerts"

// withAlertManager is the demo with the home's alert manager enabled.
func withAlertManager() *Server {
	s := New(DemoAccount(time.Now()))
	s.Update(func(a *Account) { a.PollInterval, a.Project(DemoHome).AlertManager("fr-par").Enabled = 0, true })
	return s
}

// bodyOf is what a POST of a configuration sends.
func bodyOf(t *testing.T, config string, templates map[string]string) string {
	encoded, err := yaml.Marshal(AlertmanagerConfig{config, templates})
	if err != nil {
		t.Fatal(err)
	}
	return string(encoded)
}

const slackConfig = `route: {receiver: slack, routes: [{receiver: slack}]}
receivers: [{name: slack, slack_configs: [{api_url: https://hooks.example/secret}]}]
templates: [missing.tmpl]
`

// Contracts 12 to 15.
func TestAlertmanagerConfiguration(t *testing.T) {
	s := withAlertManager()
	want := func(method, body string, status int, text string) string {
		t.Helper()
		gotStatus, got := call{method: method, path: homeAlerts, body: body}.text(s)
		if gotStatus != status || !strings.Contains(got, text) || text == "" && got != "" {
			t.Errorf("%s: %d %q, want %d %q", method, gotStatus, got, status, text)
		}
		return got
	}
	want("GET", "", 404, "alertmanager storage object not found\n")
	want("DELETE", "", 200, "")
	want("POST", bodyOf(t, slackConfig, map[string]string{"a.tmpl": "{{ define \"a\" }}"}), 201, "")
	var stored AlertmanagerConfig
	if err := yaml.Unmarshal([]byte(want("GET", "", 200, "https://hooks.example/secret")), &stored); err != nil || stored.Config != slackConfig || stored.Templates["a.tmpl"] == "" {
		t.Errorf("stored %+v, error %v", stored, err)
	}
	for name, test := range map[string]struct{ body, want string }{
		"an object":              {"alertmanager_config: {route: {receiver: a}}", "error marshalling YAML Alertmanager config"},
		"nothing":                {"", "configuration provided is empty"},
		"no YAML":                {bodyOf(t, "{", nil), "error validating Alertmanager config"},
		"no route":               {bodyOf(t, "receivers: [{name: a}]", nil), "no routes provided"},
		"no receiver":            {bodyOf(t, "route: {}\nreceivers: [{name: a}]", nil), "must specify a default receiver"},
		"an unknown receiver":    {bodyOf(t, "route: {receiver: a, routes: [{receiver: b}]}\nreceivers: [{name: a}]", nil), `undefined receiver "b"`},
		"a receiver twice":       {bodyOf(t, "route: {receiver: a}\nreceivers: [{name: a}, {name: a}]", nil), "not unique"},
		"a file on the server":   {bodyOf(t, "route: {receiver: a}\nreceivers: [{name: a, slack_configs: [{api_url_file: /etc/passwd}]}]", nil), "api_url_file is not allowed"},
		"a global file setting":  {bodyOf(t, "global: {smtp_auth_password_file: /x}\nroute: {receiver: a}\nreceivers: [{name: a}]", nil), "smtp_auth_password_file is not allowed"},
		"a file of http options": {bodyOf(t, "route: {receiver: a}\nreceivers: [{name: a, webhook_configs: [{url: x, http_config: {authorization: {credentials_file: /x}}}]}]", nil), "credentials_file is not allowed"},
	} {
		t.Run(name, func(t *testing.T) { want("POST", test.body, 400, test.want) })
	}
	want("GET", "", 200, "https://hooks.example/secret")
	want("PUT", "", 405, "")
	want("DELETE", "", 200, "")
	want("GET", "", 404, "alertmanager storage object not found\n")
}

// An alert manager answers where it is enabled, and to whom it may.
func TestAlertmanagerIsThere(t *testing.T) {
	s := withAlertManager()
	s.Update(func(a *Account) {
		a.Project(DemoHome).CockpitTokens = []CockpitToken{
			{SecretKey: "routes", Region: "fr-par", Scopes: []string{"full_access_alert_manager"}},
			{SecretKey: "rules", Region: "fr-par", Scopes: []string{"full_access_metrics_rules"}},
		}
	})
	key := http.Header{"X-Auth-Token": {DemoSecretKey}}
	for name, test := range map[string]struct {
		path   string
		header http.Header
		status int
		text   string
	}{
		"a key":               {homeAlerts, key, 404, "alertmanager storage object not found\n"},
		"a token":             {homeAlerts, http.Header{"X-Token": {"routes"}}, 404, "alertmanager storage object not found\n"},
		"a token of rules'":   {homeAlerts, http.Header{"X-Token": {"rules"}}, 401, "no org id\n"},
		"nothing":             {homeAlerts, http.Header{}, 401, "no org id\n"},
		"another region":      {alertManagersPath + DemoHome + "/nl-ams/api/v1/alerts", key, 404, "404 page not found\n"},
		"another project":     {alertManagersPath + payments + "/fr-par/api/v1/alerts", key, 404, "404 page not found\n"},
		"a project that isnt": {alertManagersPath + "x/fr-par/api/v1/alerts", key, 404, "404 page not found\n"},
		"a region that isnt":  {alertManagersPath + DemoHome + "/mars/api/v1/alerts", key, 404, "404 page not found\n"},
		"another path":        {alertManagersPath + DemoHome + "/fr-par/api/v1/alert", key, 404, "404 page not found\n"},
		"no path":             {alertManagersPath + DemoHome + "/fr-par", key, 404, "404 page not found\n"},
	} {
		if status, text := (call{"GET", test.path, "", test.header}).text(s); status != test.status || text != test.text {
			t.Errorf("%s: %d %q, want %d %q", name, status, text, test.status, test.text)
		}
	}
	s.Update(func(a *Account) {
		a.Denied = []Denial{{ProjectID: DemoHome, Region: "fr-par", Resource: "cockpit", WritesOnly: true}}
		for _, m := range a.Project(DemoHome).AlertManagers {
			if m.Region == "mars" {
				t.Error("a call made an alert manager of a region that is none")
			}
		}
	})
	if status, text := (call{method: "POST", path: homeAlerts, body: bodyOf(t, slackConfig, nil)}).text(s); status != 403 || text != "Forbidden\n" {
		t.Errorf("a denied write: %d %q", status, text)
	}
}

// Contract 16: until it is configured and has looked, what is sent is lost.
func TestAlertmanagerV2(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := withAlertManager()
		s.Update(func(a *Account) { a.PollInterval = time.Minute })
		v2 := func(method, path, body string) (int, string) {
			return call{method: method, path: alertManagersPath + DemoHome + "/fr-par/alertmanager/api/v2/" + path, body: body}.text(s)
		}
		const alert = `[{"labels":{"alertname":"A"}}]`
		nothing := func(when string) {
			t.Helper()
			for _, path := range []string{"status", "alerts", "silences"} {
				if status, text := v2("GET", path, ""); status != 404 {
					t.Errorf("%s: GET %s: %d %s", when, path, status, text)
				}
			}
			if status, text := v2("POST", "alerts", alert); status != 404 {
				t.Errorf("%s: POST alerts: %d %s", when, status, text)
			}
		}
		nothing("without a configuration")
		call{method: "POST", path: homeAlerts, body: bodyOf(t, slackConfig, nil)}.do(s)
		nothing("before it looked")
		time.Sleep(time.Minute)
		if status, text := v2("GET", "status", ""); status != 200 || !strings.Contains(text, "versionInfo") || strings.Contains(text, "secret") {
			t.Errorf("status: %d %s", status, text)
		}
		if status, text := v2("GET", "alerts", ""); status != 200 || text != "[]" {
			t.Errorf("alerts that were lost: %d %s", status, text)
		}
		if status, text := v2("POST", "alerts", alert); status != 200 || text != "" {
			t.Errorf("an alert: %d %s", status, text)
		}
		if status, text := v2("GET", "alerts", ""); status != 200 || text != alert {
			t.Errorf("alerts: %d %s", status, text)
		}
		if status, text := v2("POST", "silences", `{"comment":"c"}`); status != 200 || !strings.Contains(text, "silenceID") {
			t.Errorf("a silence: %d %s", status, text)
		}
		if status, text := v2("GET", "silences", ""); status != 200 || !strings.Contains(text, `"comment":"c"`) {
			t.Errorf("silences: %d %s", status, text)
		}
		for _, path := range []string{"alerts", "silences"} {
			if status, text := v2("POST", path, "{"); status != 400 {
				t.Errorf("%s of no JSON: %d %s", path, status, text)
			}
		}
	})
}

// Contract 17: Cockpit's contact points are in the one document, and go with
// it; it touches nothing else there.
func TestContactPointsAreInTheConfiguration(t *testing.T) {
	s := withAlertManager()
	points := "/cockpit/v1/regions/fr-par/alert-manager/contact-points"
	add := func(to string) (int, string) {
		return call{method: "POST", path: points, body: `{"project_id":"` + DemoHome + `","email":{"to":"` + to + `"},"send_resolved_notifications":true}`}.text(s)
	}
	list := func() string {
		_, text := call{method: "GET", path: points + "?project_id=" + DemoHome}.text(s)
		return text
	}
	config := func() string {
		_, text := call{method: "GET", path: homeAlerts}.text(s)
		var stored AlertmanagerConfig
		if err := yaml.Unmarshal([]byte(text), &stored); err != nil {
			t.Fatal(err)
		}
		return stored.Config
	}
	if status, text := add("a@example.com"); status != 200 {
		t.Fatalf("%d %s", status, text)
	}
	if status, text := add("a@example.com"); status != 409 || !strings.Contains(text, "already_exists") {
		t.Errorf("the same again: %d %s", status, text)
	}
	if status, text := add("nobody"); status != 400 {
		t.Errorf("no address: %d %s", status, text)
	}
	own := config()
	if !strings.Contains(own, "a@example.com") || !strings.Contains(own, "smtp_auth_password") {
		t.Errorf("the configuration is %s", own)
	}
	merged := strings.Replace(own, "receivers:\n", "receivers:\n    - name: ours\n      webhook_configs: [{url: https://x.example}]\n", 1)
	if status, text := (call{method: "POST", path: homeAlerts, body: bodyOf(t, merged, nil)}).text(s); status != 201 {
		t.Fatalf("%d %s", status, text)
	}
	if got := list(); !strings.Contains(got, "a@example.com") || !strings.Contains(got, `"has_additional_receivers":true`) {
		t.Errorf("contact points %s", got)
	}
	add("b@example.com")
	if got := config(); !strings.Contains(got, "b@example.com") || !strings.Contains(got, "https://x.example") {
		t.Errorf("the configuration is %s", got)
	}
	call{method: "POST", path: homeAlerts, body: bodyOf(t, slackConfig, nil)}.do(s)
	if got := list(); strings.Contains(got, "example.com") {
		t.Errorf("contact points of a document that was replaced: %s", got)
	}
	if status, text := add("c@example.com"); status != 200 || !strings.Contains(config(), "hooks.example") {
		t.Errorf("%d %s, and the configuration is %s", status, text, config())
	}
}

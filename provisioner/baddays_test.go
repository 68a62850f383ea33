package provisioner

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/scwatch/scwatch/internal/simulator"
)

// meddler answers some calls itself.
type meddler struct {
	http.RoundTripper
	with func(*http.Request) *http.Response // nil: it leaves the call alone
}

func (m meddler) RoundTrip(req *http.Request) (*http.Response, error) {
	if resp := m.with(req); resp != nil {
		resp.Request = req
		return resp, nil
	}
	return m.RoundTripper.RoundTrip(req)
}

// answers makes calls of a method to paths with a part get this answer.
func answers(method, part string, status int, contentType, body string, header ...string) func(*http.Request) *http.Response {
	return func(req *http.Request) *http.Response {
		if req.Method != method || !strings.Contains(req.URL.Path, part) {
			return nil
		}
		resp := &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {contentType}, "X-Request-Id": {"request-7"}}, Body: io.NopCloser(bytes.NewReader([]byte(body)))}
		for i := 0; i < len(header); i += 2 {
			resp.Header.Set(header[i], header[i+1])
		}
		return resp
	}
}

const (
	rulerPart   = "/prometheus/config/v1/rules"
	managerPart = "/api/v1/alerts"
	loginPage   = "<!DOCTYPE html><html><form>Log in</form></html>"
)

// An answer that could mean a wrong address is never taken for "empty", and each
// refusal says what was attempted, why it failed and what to do.
func TestPlanRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		with func(*http.Request) *http.Response
		want []string
	}{
		"a ruler's 404 page":       {answers("GET", rulerPart, 404, "text/plain", "404 page not found\n"), []string{"list the rules of the data source \"scwatch\"", "404: 404 page not found", "check SCW_API_URL"}},
		"a ruler's HTML page":      {answers("GET", rulerPart, 200, "text/html", loginPage), []string{"the answer is a web page"}},
		"a page called YAML":       {answers("GET", rulerPart, 200, "application/yaml", loginPage), []string{"the answer is a web page"}},
		"a ruler's list":           {answers("GET", rulerPart, 200, "application/yaml", "[]\n"), []string{"the answer is no map of namespaces"}},
		"a ruler's nothing":        {answers("GET", rulerPart, 200, "application/yaml", ""), []string{"the answer is no map of namespaces"}},
		"a redirect":               {answers("GET", rulerPart, 302, "text/html", "", "Location", "https://login.example.com/?next=x"), []string{"a redirect to login.example.com, which is not followed"}},
		"a ruler's 401":            {answers("GET", rulerPart, 401, "text/plain", "no org id\n"), []string{"401: no org id (request ID request-7); check that the credentials exist"}},
		"a ruler's 403":            {answers("GET", rulerPart, 403, "text/plain", "forbidden\n"), []string{"403: forbidden", "ObservabilityFullAccess"}},
		"a ruler's 500":            {answers("GET", rulerPart, 500, "text/plain", "boom\n"), []string{"500: boom"}},
		"routes: a 404 page":       {answers("GET", managerPart, 404, "text/plain", "404 page not found\n"), []string{"read the routes of project", "404: 404 page not found", "check SCW_API_URL"}},
		"routes: no configuration": {answers("GET", managerPart, 200, "application/yaml", "a: b\n"), []string{"the answer is no Alertmanager configuration"}},
		"Cockpit: an empty object": {answers("GET", "/data-sources", 200, "application/json", "{}"), []string{`the answer has no "data_sources" and no count`}},
		"Cockpit: a page":          {answers("GET", "/data-sources", 200, "text/html", loginPage), []string{"list the data sources of project", "the answer is a web page"}},
		"Cockpit: 403":             {answers("GET", "/alert-manager", 403, "application/json", `{"message":"insufficient permissions","details":[{"action":"read","resource":"cockpit"}]}`), []string{"read the alert manager", "403: insufficient permissions, read cockpit (request ID request-7); give the key's application the permission set ObservabilityFullAccess"}},
		"Grafana: 401":             {answers("GET", "/api/org", 401, "application/json", `{"message":"Unauthorized"}`), []string{"open the Grafana", "401: Unauthorized (request ID request-7)"}},
		"Grafana: a page":          {answers("GET", "/api/search", 200, "text/html", loginPage), []string{"list the dashboards of the folder scwatch: 200: the answer is a web page"}},
		"Grafana: 403":             {answers("GET", "/api/folders", 403, "application/json", `{"accessErrorId":"ACE1","message":"You'll need additional permissions. Permissions needed: folders:read","title":"Access denied"}`), []string{"read the folder scwatch: 403: ", "folders:read"}},
		"Grafana: a wrong 404":     {answers("GET", "/api/folders", 404, "text/html", loginPage), []string{"read the folder scwatch: 404: Not Found", "check SCW_API_URL"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.applied(everything) // so that there is something that could look gone
				w.transport = meddler{w.transport, test.with}
				plan, err := w.provisioner(everything).Plan(t.Context(), Selection{})
				if err == nil {
					t.Fatalf("no error; the plan is\n%s", rendered(plan))
				}
				for _, want := range test.want {
					if !strings.Contains(err.Error(), want) {
						t.Errorf("error\n%v\nwant in it %q", err, want)
					}
				}
			})
		})
	}
}

// What apply meets is told, what does not depend on it is done, and the next
// apply goes on.
func TestApplyMeets(t *testing.T) {
	for name, test := range map[string]struct {
		with func(*http.Request) *http.Response
		want []string // in the error
		done int      // of 6
	}{
		"a ruler's 400":            {answers("POST", rulerPart, 400, "text/plain", "per-user rule groups limit (limit: 70 actual: 71) exceeded\n"), []string{"write the rule group scwatch/scwatch/posture: 400: per-user rule groups limit"}, 5},
		"a ruler's empty 400":      {answers("POST", rulerPart, 400, "text/plain", ""), []string{"write the rule group scwatch/scwatch/posture: 400: Bad Request"}, 5},
		"a 202 that stores less":   {answers("POST", rulerPart, 202, "application/json", `{"status":"success"}`), []string{"rules/scwatch/scwatch/posture: the server took it, and it is not there"}, 5},
		"429 for good":             {answers("POST", rulerPart, 429, "text/plain", "slow down\n", "Retry-After", "2"), []string{"429: slow down"}, 5},
		"no folder, no dashboards": {answers("POST", "/api/folders", 409, "application/json", `{"message":"a folder with the same name already exists"}`), []string{"create the folder scwatch: 409: a folder with the same name already exists", "dashboard/fleet: not attempted: it needs the folder, which failed"}, 4},
		"a title that was taken":   {answers("POST", "/api/dashboards/db", 412, "application/json", `{"message":"A dashboard with the same name in the folder already exists","status":"name-exists"}`), []string{"save the dashboard fleet: 412: ", "plan anew"}, 5},
		"another uid":              {answers("POST", "/api/dashboards/db", 200, "application/json", `{"id":1,"uid":"theirs","status":"success","version":2,"url":"/d/theirs","title":"Fleet"}`), []string{"Grafana saved it under another uid"}, 5},
		"no alert manager":         {answers("POST", "/alert-manager/enable", 403, "application/json", `{"message":"insufficient permissions"}`), []string{"enable the alert manager", "not attempted: it needs the alert manager, which failed"}, 3},
		"routes refused":           {answers("POST", managerPart, 400, "text/plain", "error validating: bad url https://hooks.example.com/canary-secret\n"), []string{"write the routes", "bad url <secret>"}, 5},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				good := w.transport
				w.transport = meddler{good, test.with}
				p := w.provisioner(everything)
				result := w.apply(p, w.plan(p, Selection{}))
				err := result.Err()
				if err == nil {
					t.Fatal("no error")
				}
				for _, want := range test.want {
					if !strings.Contains(err.Error(), want) {
						t.Errorf("error\n%v\nwant in it %q", err, want)
					}
				}
				if strings.Contains(err.Error(), "canary") {
					t.Errorf("a secret is in the error: %v", err)
				}
				if result.Done() != test.done {
					t.Errorf("%d done, want %d: %v", result.Done(), test.done, err)
				}
				w.transport = good
				p = w.provisioner(everything)
				if err := w.apply(p, w.plan(p, Selection{})).Err(); err != nil {
					t.Fatal(err)
				}
				w.settled(p)
			})
		})
	}
}

// A 429 and a broken answer pass where they are short.
func TestPassingTroubleIsSatOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		off := []func(){
			w.sim.Fault(simulator.Fault{Path: rulerPart, Kind: simulator.TooManyRequests, Times: 2, RetryAfter: "1"}),
			w.sim.Fault(simulator.Fault{Path: managerPart, Kind: simulator.Unavailable, Times: 2}),
		}
		w.applied(everything)
		for _, end := range off {
			end()
		}
	})
}

// Rulers that lose a rule and answer that all went well are found out.
func TestLostRule(t *testing.T) {
	w := newWorld(t)
	w.account(func(a *simulator.Account) { a.RulersLoseRules = true })
	d := everything
	d.files = map[string]string{"fleet.yaml": dashboardText, "routes.yaml": routesText, "rules.yaml": groupText + "      - {record: 'a:b', expr: scwatch_poll_up}\n"}
	p := w.provisioner(d)
	err := w.apply(p, w.plan(p, Selection{})).Err()
	if err == nil || !strings.Contains(err.Error(), "rules/scwatch/scwatch/posture: the server took it, and keeps something else in rules") {
		t.Errorf("error %v", err)
	}
}

// What is somebody else's is left alone, and named.
func TestConflicts(t *testing.T) {
	for name, test := range map[string]struct {
		live func(*simulator.Account)
		want string
	}{
		"a group of our name": {func(a *simulator.Account) {
			home := &a.Projects[0]
			home.RuleGroups = append(home.RuleGroups, simulator.RuleGroup{DataSourceID: home.DataSources[0].ID, Namespace: "scwatch", Name: "posture", YAML: "name: posture\nrules: [{alert: Mine, expr: up == 0}]\n"})
		}, "rules/scwatch/scwatch/posture is there and carries no mark of scwatch: it is left alone"},
		"a dashboard of our uid": {func(a *simulator.Account) {
			a.Projects[0].Grafana.Dashboards = append(a.Projects[0].Grafana.Dashboards, simulator.Dashboard{ID: 901, UID: "fleet", Title: "Theirs", Version: 1, Model: map[string]any{"uid": "fleet", "title": "Theirs"}})
		}, "dashboard/fleet is there and carries no mark of scwatch"},
		"a title in our folder": {func(a *simulator.Account) {
			g := &a.Projects[0].Grafana
			g.Folders = append(g.Folders, simulator.Folder{ID: 900, UID: "scwatch", Title: "Serverless security", Version: 1})
			g.Dashboards = append(g.Dashboards, simulator.Dashboard{ID: 901, UID: "theirs", Title: "fleet ", FolderUID: "scwatch", Version: 1, Model: map[string]any{"uid": "theirs", "title": "fleet "}})
		}, `the title "Fleet" of the dashboard fleet is taken in the folder scwatch by somebody else's, theirs`},
		"a data source twice": {func(a *simulator.Account) {
			home := &a.Projects[0]
			second := home.DataSources[0]
			second.ID = "dddddddd-0000-4000-8000-000000000099"
			home.DataSources = append(home.DataSources, second)
		}, "has 2 data sources of metrics called \"scwatch\" in fr-par: name one by its ID"},
		"too many groups with theirs": {func(a *simulator.Account) {
			home := &a.Projects[0]
			for n := range 69 {
				name := strings.Repeat("x", n+1)
				home.RuleGroups = append(home.RuleGroups, simulator.RuleGroup{DataSourceID: home.DataSources[0].ID, Namespace: "team", Name: name, YAML: "name: " + name + "\nrules: [{record: 'a:b', expr: up}]\n"})
			}
		}, `the data source "scwatch" would have 70 rule groups, 69 of them others'`},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.account(test.live)
			before := w.others()
			_, err := w.provisioner(everything).Plan(t.Context(), Selection{})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error\n%v\nwant in it %q", err, test.want)
			}
			if after := w.others(); after != before {
				t.Errorf("something was changed:\n%s", after)
			}
		})
	}
}

// Routes that somebody changes between plan and apply are not overwritten.
func TestRoutesThatMoved(t *testing.T) {
	w := newWorld(t)
	w.foreign()
	p := w.provisioner(everything)
	plan := w.plan(p, Selection{Only: []string{"routes/*"}})
	w.account(func(a *simulator.Account) {
		m := a.Projects[0].AlertManager("fr-par")
		m.Config.Config = strings.Replace(m.Config.Config, "#alerts", "#other", 1)
	})
	before := w.others()
	if err := w.apply(p, plan).Err(); err == nil || !strings.Contains(err.Error(), "somebody changed the configuration after it was planned; plan anew") {
		t.Errorf("error %v", err)
	}
	if after := w.others(); after != before {
		t.Error("the others' part was changed")
	}
}

// Two at once end in the state that both define.
func TestTwoAtOnce(t *testing.T) {
	w := newWorld(t)
	p := w.provisioner(everything)
	first, second := w.plan(p, Selection{}), w.plan(p, Selection{})
	done := make(chan *Result)
	go func() { done <- w.apply(p, first) }()
	w.apply(p, second) // either may lose a race, and says so
	<-done
	if err := w.apply(p, w.plan(p, Selection{})).Err(); err != nil {
		t.Fatal(err)
	}
	w.settled(p)
}

// Five projects in three regions have a Cockpit each, and each gets its own.
func TestManyTargets(t *testing.T) {
	w := newWorld(t)
	var targets []string
	w.account(func(a *simulator.Account) {
		for _, id := range []string{"11111111-0000-4000-8000-000000000011", "22222222-0000-4000-8000-000000000012"} {
			a.Projects = append(a.Projects, simulator.Project{ID: id, Name: id[:8]})
		}
		for n, p := range a.Projects {
			region := []string{"fr-par", "nl-ams", "pl-waw"}[n%3]
			targets = append(targets, "{project: "+p.ID+", region: "+region+", dashboards: [fleet.yaml], rules: [{files: [rules.yaml]}], alertmanager: routes.yaml}")
		}
	})
	d := everything
	d.config = "provision: {targets: [" + strings.Join(targets, ", ") + "]}"
	w.applied(d)
	w.account(func(a *simulator.Account) {
		for n, p := range a.Projects {
			region := []string{"fr-par", "nl-ams", "pl-waw"}[n%3]
			if len(p.RuleGroups) != 1 || !p.AlertManager(region).Enabled || p.AlertManager(region).Config == nil || len(p.Grafana.Dashboards) == 0 {
				t.Errorf("project %s has %d groups and %d dashboards", p.Name, len(p.RuleGroups), len(p.Grafana.Dashboards))
			}
		}
	})
}

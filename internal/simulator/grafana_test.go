package simulator

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// demoGrafana is the demo with the home's Grafana provisioned, and what calls
// it with JSON.
func demoGrafana(t *testing.T) (*Server, grafanaClient) {
	s := New(DemoAccount(time.Now()))
	c := grafanaClient{t, s, grafanaPath + DemoHome, http.Header{"X-Auth-Token": {DemoSecretKey}}}
	c.want("GET", "/api/org", nil, 200, "Main Org.")
	return s, c
}

type grafanaClient struct {
	t      *testing.T
	server http.Handler
	base   string
	header http.Header
}

func (c grafanaClient) call(method, path string, body any) (int, string) {
	encoded := []byte{}
	if body != nil {
		encoded, _ = json.Marshal(body)
	}
	return call{method, c.base + path, string(encoded), c.header.Clone()}.text(c.server)
}

// want checks the status, and that the answer has a text.
func (c grafanaClient) want(method, path string, body any, status int, text string) object {
	c.t.Helper()
	gotStatus, got := c.call(method, path, body)
	if gotStatus != status || !strings.Contains(got, text) {
		c.t.Errorf("%s %s: %d %s, want %d with %s", method, path, gotStatus, got, status, text)
	}
	var decoded object
	json.Unmarshal([]byte(got), &decoded) // a list: none
	return decoded
}

func (c grafanaClient) folder(uid, title string) {
	c.t.Helper()
	c.want("POST", "/api/folders", object{"uid": uid, "title": title}, 200, uid)
}

// save saves a dashboard and returns the answer.
func (c grafanaClient) save(uid, title, folder string, overwrite bool, status int, text string) object {
	c.t.Helper()
	return c.want("POST", "/api/dashboards/db", object{
		"dashboard": object{"uid": uid, "title": title, "tags": []string{"scwatch"}}, "folderUid": folder, "overwrite": overwrite,
	}, status, text)
}

// titles are the dashboards there are: folder/uid title.
func (c grafanaClient) dashboards() string {
	c.t.Helper()
	_, text := c.call("GET", "/api/search?type=dash-db", nil)
	var hits []struct{ UID, Title, FolderUID string }
	if err := json.Unmarshal([]byte(text), &hits); err != nil {
		c.t.Fatal(err)
	}
	var all []string
	for _, h := range hits {
		all = append(all, h.FolderUID+"/"+h.UID+" "+h.Title)
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// Each Cockpit has its own Grafana, IAM alone opens it, and the first access
// provisions it.
func TestGrafanaIsThere(t *testing.T) {
	s := New(DemoAccount(time.Now()))
	home := grafanaClient{t, s, grafanaPath + DemoHome, http.Header{"X-Auth-Token": {DemoSecretKey}}}
	other := home
	other.base = grafanaPath + marketing
	for _, path := range []string{"/api/health", "/api/folders", "/api/dashboards/uid/x"} {
		home.want("GET", path, nil, 404, "<html>")
	}
	home.want("GET", "/api/org", nil, 200, "Main Org.")
	home.want("GET", "/api/health", nil, 200, `"version":"12.`)
	home.want("GET", "/api/nothing", nil, 404, "Not found")
	other.want("GET", "/api/health", nil, 404, "<html>")
	other.want("GET", "/api/org", nil, 200, "Main Org.")
	home.folder("f", "F")
	other.want("GET", "/api/folders/f", nil, 404, "folder not found")

	unknown := home
	unknown.base = grafanaPath + "ffffffff-0000-4000-8000-000000000000"
	unknown.want("GET", "/api/org", nil, 404, "<html>")

	for name, header := range map[string]http.Header{
		"nothing":     {},
		"another key": {"X-Auth-Token": {"x"}},
		"a bearer":    {"Authorization": {"Bearer " + DemoSecretKey}},
		"a password":  {"Authorization": {"Basic YWRtaW46YWRtaW4="}},
		"a token":     {"X-Token": {DemoSecretKey}},
	} {
		refused := home
		refused.header = header
		if status, text := refused.call("GET", "/api/org", nil); status != 401 || text != `{"message":"Unauthorized"}` {
			t.Errorf("%s: %d %s", name, status, text)
		}
	}
}

// Contract 27.
func TestGrafanaDenied(t *testing.T) {
	s, home := demoGrafana(t)
	s.Update(func(a *Account) {
		a.Denied = []Denial{{ProjectID: DemoHome, Resource: "cockpit", WritesOnly: true}}
	})
	home.want("GET", "/api/folders", nil, 200, "[]")
	body := home.want("POST", "/api/folders", object{"title": "F"}, 403, "Permissions needed: ")
	if body["accessErrorId"] == nil || body["title"] != "Access denied" {
		t.Errorf("%v", body)
	}
	s.Update(func(a *Account) { a.Denied = nil })
	s.Fault(Fault{Path: "/grafana/", Kind: Denied})
	home.want("GET", "/api/folders", nil, 403, "accessErrorId")
}

// Contracts 21 and 22.
func TestGrafanaFolders(t *testing.T) {
	_, c := demoGrafana(t)
	c.folder("f", " Scwatch ")
	if f := c.want("GET", "/api/folders/f", nil, 200, `"title":"Scwatch"`); f["version"] != 1.0 || f["createdBy"] != "scwatch" {
		t.Errorf("folder %v", f)
	}
	c.want("POST", "/api/folders", object{"uid": "f", "title": "Other"}, 412, "version-mismatch")
	c.want("POST", "/api/folders", object{"uid": "g", "title": " sCWATCH"}, 409, "already exists")
	c.want("POST", "/api/folders", object{"uid": "g", "title": " "}, 400, "empty")
	c.want("POST", "/api/folders", object{"uid": "a/b", "title": "G"}, 400, "illegal")
	c.want("POST", "/api/folders", object{"uid": strings.Repeat("u", 41), "title": "G"}, 400, "too long")
	if made := c.want("POST", "/api/folders", object{"title": "G"}, 200, "made-"); made["uid"] == "" {
		t.Errorf("folder %v", made)
	}
	c.want("PUT", "/api/folders/f", object{"title": "New", "version": 7}, 412, "version-mismatch")
	c.want("PUT", "/api/folders/f", object{"title": "g", "version": 1}, 409, "already exists")
	c.want("PUT", "/api/folders/f", object{"title": "New", "version": 1}, 200, `"version":2`)
	c.want("PUT", "/api/folders/f", object{"title": "Newer", "overwrite": true}, 200, `"version":3`)
	c.save("d", "D", "f", false, 200, "success")
	c.save("e", "E", "", false, 200, "success")
	c.want("DELETE", "/api/folders/f", nil, 200, "deleted")
	if got := c.dashboards(); got != "/e E" {
		t.Errorf("left are %s", got)
	}
	c.want("DELETE", "/api/folders/f", nil, 404, "folder not found")
}

// Contracts 18 to 21.
func TestGrafanaSavesDashboards(t *testing.T) {
	for name, test := range map[string]struct {
		do   func(c grafanaClient)
		want string // the dashboards afterwards
	}{
		"a new one": {func(c grafanaClient) { c.save("new", "New", "f", false, 200, `"uid":"new"`) }, "f/a A, f/b B, f/new New"},
		"one without a uid": {func(c grafanaClient) {
			c.want("POST", "/api/dashboards/db", object{"dashboard": object{"title": "New"}, "folderUid": "f"}, 200, `"uid":"made-`)
		}, "f/a A, f/b B, f/made-4 New"},
		// 18
		"overwrite with a new uid and a title that exists": {func(c grafanaClient) { c.save("new", "A", "f", true, 200, `"uid":"a"`) }, "f/a A, f/b B"},
		"overwrite one with the title of another":          {func(c grafanaClient) { c.save("a", "B", "f", true, 200, `"uid":"b"`) }, "f/a A, f/b B"},
		"the title exists in another folder":               {func(c grafanaClient) { c.save("new", "A", "g", true, 200, `"uid":"new"`) }, "f/a A, f/b B, g/new A"},
		// 19
		"overwrite without a folder": {func(c grafanaClient) { c.save("a", "A", "", true, 200, "success") }, "/a A, f/b B"},
		// 21
		"the title exists":                    {func(c grafanaClient) { c.save("new", "A", "f", false, 412, "name-exists") }, "f/a A, f/b B"},
		"the title exists but for spaces":     {func(c grafanaClient) { c.save("new", " A ", "f", false, 412, "name-exists") }, "f/a A, f/b B"},
		"a stale version":                     {func(c grafanaClient) { c.save("a", "A", "f", false, 412, "version-mismatch") }, "f/a A, f/b B"},
		"the title of the folder":             {func(c grafanaClient) { c.save("new", "f title", "f", false, 400, "name-match") }, "f/a A, f/b B"},
		"no title":                            {func(c grafanaClient) { c.save("new", " ", "f", false, 400, "empty-name") }, "f/a A, f/b B"},
		"a uid that is none":                  {func(c grafanaClient) { c.save("new/one", "New", "f", false, 400, "illegal") }, "f/a A, f/b B"},
		"a uid that is too long":              {func(c grafanaClient) { c.save(strings.Repeat("u", 41), "New", "f", false, 400, "too long") }, "f/a A, f/b B"},
		"a folder that does not exist":        {func(c grafanaClient) { c.save("new", "New", "h", true, 400, "folder not found") }, "f/a A, f/b B"},
		"a numeric id that does not exist":    {func(c grafanaClient) { saveWithID(c, 99, "new", 404) }, "f/a A, f/b B"},
		"the numeric id of one":               {func(c grafanaClient) { saveWithID(c, 3, "", 200) }, "f/a A, f/b Changed"},
		"no JSON":                             {func(c grafanaClient) { c.want("POST", "/api/dashboards/db", "x", 400, "bad request data") }, "f/a A, f/b B"},
		"delete":                              {func(c grafanaClient) { c.want("DELETE", "/api/dashboards/uid/a", nil, 200, "Dashboard A deleted") }, "f/b B"},
		"delete one that is missing":          {func(c grafanaClient) { c.want("DELETE", "/api/dashboards/uid/x", nil, 404, "Dashboard not found") }, "f/a A, f/b B"},
		"the folder called general is no uid": {func(c grafanaClient) { c.save("a", "A", "general", true, 200, "success") }, "/a A, f/b B"},
	} {
		t.Run(name, func(t *testing.T) {
			s, c := demoGrafana(t)
			c.folder("f", "F title")
			c.save("a", "A", "f", false, 200, "success")
			c.save("b", "B", "f", false, 200, "success")
			s.Update(func(a *Account) {
				g := &a.Project(DemoHome).Grafana
				g.Folders = append(g.Folders, Folder{ID: 100, UID: "g", Title: "G"})
			})
			test.do(c)
			if got := c.dashboards(); got != test.want {
				t.Errorf("dashboards %s, want %s", got, test.want)
			}
		})
	}
}

func saveWithID(c grafanaClient, id int, uid string, status int) {
	c.want("POST", "/api/dashboards/db", object{"dashboard": object{"id": id, "uid": uid, "title": "Changed"}, "folderUid": "f", "overwrite": true}, status, "")
}

// Contract 20, and what a dashboard's meta tells.
func TestGrafanaVersions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := demoGrafana(t)
		s.Update(func(a *Account) { a.Keys = append(a.Keys, Key{SecretKey: "anna", Description: "anna@example.com"}) })
		anna := c
		anna.header = http.Header{"X-Auth-Token": {"anna"}}
		c.folder("f", "F")
		model := object{"uid": "d", "title": "D", "panels": []object{{"id": 1, "datasource": object{"uid": "${DS_X}"}}}, "__inputs": []object{{"name": "DS_X"}}}
		begin := time.Now()
		c.want("POST", "/api/dashboards/db", object{"dashboard": model, "folderUid": "f"}, 200, `"version":1`)
		time.Sleep(time.Hour)
		anna.want("POST", "/api/dashboards/db", object{"dashboard": model, "folderUid": "f", "overwrite": true}, 200, `"version":2`)
		var got struct {
			Dashboard struct {
				ID      int
				UID     string
				Version int
				Panels  []struct{ Datasource struct{ UID string } }
				Inputs  []object `json:"__inputs"`
			}
			Meta struct {
				CreatedBy, UpdatedBy, FolderUID, FolderTitle, URL string
				Created, Updated                                  time.Time
				Version                                           int
			}
		}
		_, text := c.call("GET", "/api/dashboards/uid/d", nil)
		if err := json.Unmarshal([]byte(text), &got); err != nil {
			t.Fatal(err)
		}
		m := got.Meta
		if m.CreatedBy != "scwatch" || m.UpdatedBy != "anna@example.com" || m.FolderUID != "f" || m.FolderTitle != "F" || m.URL != "/d/d/d" ||
			!m.Created.Equal(begin) || !m.Updated.Equal(begin.Add(time.Hour)) || m.Version != 2 {
			t.Errorf("meta %+v", m)
		}
		// 23: only an import substitutes inputs.
		if d := got.Dashboard; d.ID == 0 || d.UID != "d" || d.Version != 2 || d.Panels[0].Datasource.UID != "${DS_X}" || len(d.Inputs) != 1 {
			t.Errorf("dashboard %+v", d)
		}
	})
}

// Contract 24: a search takes no notice of folderUIDs; of all else it does.
func TestGrafanaSearch(t *testing.T) {
	_, c := demoGrafana(t)
	c.folder("f", "F")
	c.folder("g", "G")
	c.save("a", "Alpha", "f", false, 200, "success")
	c.want("POST", "/api/dashboards/db", object{"dashboard": object{"uid": "b", "title": "Beta"}, "folderUid": "g"}, 200, "success")
	for query, want := range map[string]string{
		"":                      "Alpha Beta F G",
		"?type=dash-db":         "Alpha Beta",
		"?type=dash-folder":     "F G",
		"?folderUIDs=f":         "Alpha Beta F G",
		"?tag=scwatch":          "Alpha",
		"?tag=scwatch&tag=more": "",
		"?query=BET":            "Beta",
		"?dashboardUIDs=b":      "Beta",
		"?limit=3":              "Alpha Beta F",
		"?limit=3&page=2":       "G",
		"?limit=3&page=3":       "",
	} {
		_, text := c.call("GET", "/api/search"+query, nil)
		var hits []struct{ Title string }
		if err := json.Unmarshal([]byte(text), &hits); err != nil {
			t.Fatal(err)
		}
		var titles []string
		for _, h := range hits {
			titles = append(titles, h.Title)
		}
		if got := strings.Join(titles, " "); got != want {
			t.Errorf("search%s: %s, want %s", query, got, want)
		}
	}
}

// A Grafana knows the data sources of its project that were there when it was
// provisioned or last synchronized.
func TestGrafanaDataSources(t *testing.T) {
	s, c := demoGrafana(t)
	list := func() string {
		_, text := c.call("GET", "/api/datasources", nil)
		var all []struct{ UID, Name, Type, URL string }
		if err := json.Unmarshal([]byte(text), &all); err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, d := range all {
			names = append(names, d.Name+" "+d.Type)
			c.want("GET", "/api/datasources/uid/"+d.UID, nil, 200, d.URL)
			if !strings.Contains(d.URL, "/data-sources/dddddddd-") && !strings.Contains(d.URL, "/data-sources/ffffffff-") {
				t.Errorf("%s is at %s", d.Name, d.URL)
			}
		}
		return strings.Join(names, ", ")
	}
	const first = "scwatch prometheus, Scaleway Metrics prometheus, Scaleway Logs loki"
	if got := list(); got != first {
		t.Errorf("data sources %s", got)
	}
	c.want("GET", "/api/datasources/name/Scaleway%20Logs", nil, 200, homeLogs)
	c.want("GET", "/api/datasources/uid/x", nil, 404, "Data source not found")
	s.Update(func(a *Account) {
		p := a.Project(DemoHome)
		p.DataSources = append(p.DataSources[:2], DataSource{"ffffffff-0000-4000-8000-000000000009", "scwatch", "nl-ams", "metrics", "custom"})
	})
	if got := list(); got != first {
		t.Errorf("before it was synchronized: %s", got)
	}
	call{method: "POST", path: "/cockpit/v1/grafana/sync-data-sources", body: `{"project_id":"` + DemoHome + `"}`}.do(s)
	if got := list(); got != "scwatch prometheus, Scaleway Metrics prometheus, scwatch - nl-ams prometheus" {
		t.Errorf("data sources %s", got)
	}
	c.want("POST", "/api/datasources/proxy/1/prometheus/config/v1/rules/ns", object{}, 403, "message") // 25
}

// Scaleway's own dashboards are read like any other, and not changed.
func TestGrafanaScalewayDashboards(t *testing.T) {
	const board = "scw-serverless-functions-overview"
	s := New(DemoAccount(time.Now()))
	c := grafanaClient{t, s, grafanaPath + payments, http.Header{"X-Auth-Token": {DemoSecretKey}}}
	c.want("GET", "/api/dashboards/uid/"+board, nil, 200, `"provisioned":true`)
	c.want("GET", "/api/search?tag=scaleway", nil, 200, board)
	c.want("DELETE", "/api/dashboards/uid/"+board, nil, 400, "provisioned")
	c.save(board, "Mine", "", true, 400, "provisioned")
	c.save("d", "D", "", false, 200, "success")
	s.Update(func(a *Account) {
		a.Dashboards = map[string]map[string]json.RawMessage{payments: {"scw-other": json.RawMessage(`{"title": "Other"}`)}}
	})
	if got := c.dashboards(); got != "/d D, /scw-other Other" {
		t.Errorf("dashboards %s", got)
	}
}

package simulator

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
)

// Grafana is what one Grafana has. Where it answers oddly, 9.4 was seen to.
type Grafana struct {
	// Cockpit says that it belongs to a project's Cockpit: its alert rules are
	// stored, and never evaluated.
	Cockpit     bool
	Provisioned bool // since the first GET /api/org; only a Cockpit's can be without
	Version     string
	Folders     []Folder
	Dashboards  []Dashboard
	DataSources []GrafanaDataSource // nil in a Cockpit's: those of its project, at the first call
	AlertGroups []AlertGroup

	made int64 // numeric IDs
}

// Folder is one of a Grafana's.
type Folder struct {
	ID                   int64
	UID, Title           string
	Version              int64
	Created, Updated     time.Time
	CreatedBy, UpdatedBy string
}

// Dashboard is one of a Grafana's.
type Dashboard struct {
	ID                   int64
	UID, Title           string
	FolderUID            string // empty: General
	Model                map[string]any
	Version              int64
	Created, Updated     time.Time
	CreatedBy, UpdatedBy string
	Scaleway             bool // one of Scaleway's own, which cannot be changed
}

// GrafanaDataSource is a data source as a Grafana knows it.
type GrafanaDataSource struct {
	UID, Name, Type, URL string
	CockpitID            string // of the Cockpit's data source; empty: none
}

// AlertGroup is a group of Grafana-managed rules, as the provisioning API
// spells them.
type AlertGroup struct {
	FolderUID, Title string
	Interval         int64 // seconds
	Rules            []map[string]any
}

// keepScaleway has Scaleway's own dashboards be these, by uid, and no others.
func (g *Grafana) keepScaleway(boards map[string]json.RawMessage, since time.Time) {
	g.Dashboards = slices.DeleteFunc(g.Dashboards, func(d Dashboard) bool { return d.Scaleway })
	for _, uid := range slices.Sorted(maps.Keys(boards)) {
		d := Dashboard{UID: uid, Version: 1, Created: since, Updated: since, CreatedBy: "Anonymous", UpdatedBy: "Anonymous", Scaleway: true}
		if err := json.Unmarshal(boards[uid], &d.Model); err != nil {
			panic(fmt.Sprintf("dashboard %s of the simulated account: %v", uid, err)) // the author's own
		}
		d.Title, _ = d.Model["title"].(string)
		d.ID = int64(-1 - len(g.Dashboards)) // none that is counted
		g.Dashboards = append(g.Dashboards, d)
	}
}

func (g *Grafana) newID() int64 {
	g.made++
	return g.made
}

// synchronized tells whether d is among the Grafana's data sources.
func (g *Grafana) synchronized(d DataSource) bool {
	return slices.ContainsFunc(g.DataSources, func(other GrafanaDataSource) bool { return other.CockpitID == d.ID })
}

// synchronize gives the project's Grafana the project's data sources.
func (p *Project) synchronize(base string) {
	g := &p.Grafana
	g.DataSources = slices.DeleteFunc(g.DataSources, func(known GrafanaDataSource) bool {
		return known.CockpitID != "" && p.dataSource(known.CockpitID) == nil
	})
	for _, d := range p.DataSources {
		if g.synchronized(d) {
			continue
		}
		known := GrafanaDataSource{
			UID:  fmt.Sprintf("P%X", sha256.Sum256([]byte(d.ID)))[:17],
			Name: d.Name, CockpitID: d.ID, URL: base + dataSourcesPath + d.ID,
			Type: map[string]string{"metrics": "prometheus", "logs": "loki", "traces": "tempo"}[d.Type],
		}
		if d.Type == "metrics" {
			known.URL += "/prometheus"
		}
		// No two have one name. How the real one tells them apart is not known.
		for _, suffix := range []string{"", " - " + d.Region, " - " + d.Region + " - " + d.ID} {
			if name := d.Name + suffix; !slices.ContainsFunc(g.DataSources, func(other GrafanaDataSource) bool { return other.Name == name }) {
				known.Name = name
				break
			}
		}
		g.DataSources = append(g.DataSources, known)
	}
}

// grafanaPath is where each project's simulated Grafana is reached; the real
// ones have hosts of their own.
const grafanaPath = "/grafana/"

// grafana answers for the Grafana of the project in the path.
func (s *Server) grafana(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler) // the client is gone
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count(r)
	id, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, grafanaPath), "/")
	project := s.account.Project(id)
	key, known := s.key(r.Header.Get("X-Auth-Token"))
	switch {
	case project == nil:
		grafanaPage(w)
	case !known: // no password, no bearer: IAM alone
		writeJSON(w, http.StatusUnauthorized, object{"message": "Unauthorized"})
	case s.denied(id, "", "cockpit", r.Method):
		writeJSON(w, http.StatusForbidden, accessDenied(r.Method))
	default:
		g := &project.Grafana
		g.Cockpit = true
		path := strings.TrimPrefix(r.URL.EscapedPath(), grafanaPath+id)
		if r.Method == http.MethodGet && path == "/api/org" {
			g.Provisioned = true
		}
		if !g.Provisioned {
			grafanaPage(w) // what the real one answers is not known
			return
		}
		if g.DataSources == nil {
			project.synchronize("http://" + r.Host)
		}
		g.keepScaleway(s.account.Dashboards[id], project.Created)
		g.serve(w, grafanaCall{r.Method, path, r.URL.Query(), r.Header, body, key.Description, time.Now()})
	}
}

// grafanaPage is what stands where there is no Grafana.
func grafanaPage(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(http.StatusNotFound)
	io.WriteString(w, "<html><body><h1>404 Not Found</h1></body></html>")
}

func accessDenied(method string) object {
	permission := "dashboards:read"
	if method != http.MethodGet {
		permission = "dashboards:write"
	}
	return object{
		"accessErrorId": "ACE0000000001", "title": "Access denied",
		"message": "You'll need additional permissions to perform this action. Permissions needed: " + permission,
	}
}

// GrafanaServer is a Grafana of one's own, below no path and with a token of
// its own. It is safe for concurrent use.
type GrafanaServer struct {
	token string
	mu    sync.Mutex
	state Grafana
}

// NewGrafana returns one that token, as a bearer, opens.
func NewGrafana(token string) *GrafanaServer {
	return &GrafanaServer{token: token, state: Grafana{Provisioned: true, Version: "9.4.7"}}
}

// Update changes what it has.
func (g *GrafanaServer) Update(change func(*Grafana)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	change(&g.state)
}

// ServeHTTP answers one call.
func (g *GrafanaServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler) // the client is gone
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if r.Header.Get("Authorization") != "Bearer "+g.token {
		writeJSON(w, http.StatusUnauthorized, object{"message": "Unauthorized"})
		return
	}
	g.state.serve(w, grafanaCall{r.Method, r.URL.EscapedPath(), r.URL.Query(), r.Header, body, "sa-scwatch", time.Now()})
}

// grafanaCall is one call to a Grafana.
type grafanaCall struct {
	method, path string
	query        url.Values
	header       http.Header
	body         []byte
	user         string
	now          time.Time
}

func (c grafanaCall) read(into any) *failure {
	if err := json.Unmarshal(c.body, into); err != nil {
		return message(http.StatusBadRequest, "bad request data")
	}
	return nil
}

func message(status int, text string) *failure { return &failure{status, object{"message": text}} }

func messageOf(status int, kind, text string) *failure {
	return &failure{status, object{"message": text, "status": kind}}
}

// answered is an answer with another status than 200.
type answered struct {
	status int
	body   any
}

func (g *Grafana) serve(w http.ResponseWriter, c grafanaCall) {
	body, failed := g.answer(c)
	switch sent, other := body.(answered); {
	case failed != nil:
		writeJSON(w, failed.status, failed.body)
	case other && sent.body == nil:
		w.WriteHeader(sent.status)
	case other:
		writeJSON(w, sent.status, sent.body)
	default:
		writeJSON(w, http.StatusOK, body)
	}
}

func (g *Grafana) answer(c grafanaCall) (any, *failure) {
	parts := strings.Split(strings.TrimPrefix(c.path, "/api/"), "/")
	for i, part := range parts {
		decoded, err := url.PathUnescape(part)
		if err != nil {
			return nil, message(http.StatusBadRequest, "bad request data")
		}
		parts[i] = decoded
	}
	name := func(i int) string {
		if i < len(parts) {
			return parts[i]
		}
		return ""
	}
	route := c.method + " "
	switch {
	case !strings.HasPrefix(c.path, "/api/"):
		return nil, message(http.StatusNotFound, "Not found")
	case name(0) == "v1" && name(1) == "provisioning":
		return g.provisioning(c, parts[2:])
	case len(parts) == 1:
		route += parts[0]
	case len(parts) == 2 && name(0) == "folders":
		route += "folders/*"
	case len(parts) == 3 && (name(0) == "dashboards" || name(0) == "datasources") && (name(1) == "uid" || name(1) == "name"):
		route += name(0) + "/" + name(1) + "/*"
	case name(0) == "datasources" && name(1) == "proxy" && c.method != http.MethodGet:
		return nil, message(http.StatusForbidden, "non allow-listed POSTs not allowed on proxied Prometheus datasource")
	default:
		route += strings.Join(parts, "/")
	}
	switch route {
	case "GET health":
		return object{"commit": "simulated", "database": "ok", "version": g.version()}, nil
	case "GET org":
		return object{"id": 1, "name": "Main Org.", "address": object{}}, nil
	case "GET folders":
		all := []object{}
		for _, f := range g.Folders {
			all = append(all, object{"id": f.ID, "uid": f.UID, "title": f.Title})
		}
		return all, nil
	case "POST folders":
		return g.createFolder(c)
	case "GET folders/*":
		return g.onFolder(name(1), func(f *Folder) (any, *failure) { return folderBody(f), nil })
	case "PUT folders/*":
		return g.onFolder(name(1), func(f *Folder) (any, *failure) { return g.changeFolder(c, f) })
	case "DELETE folders/*":
		return g.onFolder(name(1), func(f *Folder) (any, *failure) { return g.deleteFolder(c, *f) })
	case "POST dashboards/db":
		return g.saveDashboard(c)
	case "GET dashboards/uid/*":
		return g.onDashboard(name(2), func(d *Dashboard) (any, *failure) { return g.dashboardBody(d), nil })
	case "DELETE dashboards/uid/*":
		return g.onDashboard(name(2), g.deleteDashboard)
	case "GET search":
		return g.search(c.query)
	case "GET datasources":
		all := []object{}
		for i := range g.DataSources {
			all = append(all, g.dataSourceBody(i))
		}
		return all, nil
	case "GET datasources/uid/*", "GET datasources/name/*":
		for i, d := range g.DataSources {
			if name(1) == "uid" && d.UID == name(2) || name(1) == "name" && d.Name == name(2) {
				return g.dataSourceBody(i), nil
			}
		}
		return nil, message(http.StatusNotFound, "Data source not found")
	}
	return nil, message(http.StatusNotFound, "Not found")
}

func (g *Grafana) version() string {
	if g.Version == "" {
		return "12.2.0" // Cockpit's is newer than 9.4
	}
	return g.Version
}

func (g *Grafana) dataSourceBody(i int) object {
	d := g.DataSources[i]
	return object{
		"id": i + 1, "uid": d.UID, "orgId": 1, "name": d.Name, "type": d.Type, "typeName": d.Type, "access": "proxy", "url": d.URL,
		"user": "", "database": "", "basicAuth": false, "isDefault": i == 0, "jsonData": object{}, "readOnly": d.CockpitID != "",
	}
}

func (g *Grafana) folder(uid string) *Folder {
	for i := range g.Folders {
		if g.Folders[i].UID == uid {
			return &g.Folders[i]
		}
	}
	return nil
}

func (g *Grafana) onFolder(uid string, do func(*Folder) (any, *failure)) (any, *failure) {
	f := g.folder(uid)
	if f == nil {
		return nil, messageOf(http.StatusNotFound, "not-found", "folder not found")
	}
	return do(f)
}

func folderBody(f *Folder) object {
	return object{
		"id": f.ID, "uid": f.UID, "title": f.Title, "url": folderURL(f), "hasAcl": false, "canSave": true, "canEdit": true, "canAdmin": true,
		"canDelete": true, "createdBy": f.CreatedBy, "created": f.Created, "updatedBy": f.UpdatedBy, "updated": f.Updated, "version": f.Version,
	}
}

func folderURL(f *Folder) string { return "/dashboards/f/" + f.UID + "/" + slugOf(f.Title) }

// folderTitled returns the folder whose title is that one, whatever its case.
func (g *Grafana) folderTitled(title string) *Folder {
	for i := range g.Folders {
		if strings.EqualFold(strings.TrimSpace(g.Folders[i].Title), strings.TrimSpace(title)) {
			return &g.Folders[i]
		}
	}
	return nil
}

func (g *Grafana) createFolder(c grafanaCall) (any, *failure) {
	var wanted struct{ UID, Title string }
	if failed := c.read(&wanted); failed != nil {
		return nil, failed
	}
	wanted.Title = strings.TrimSpace(wanted.Title)
	if failed := checkUID(wanted.UID); failed != nil {
		return nil, failed
	}
	switch {
	case wanted.Title == "":
		return nil, message(http.StatusBadRequest, "folder title cannot be empty")
	case wanted.UID != "" && g.folder(wanted.UID) != nil:
		return nil, messageOf(http.StatusPreconditionFailed, "version-mismatch", "The folder has been changed by someone else")
	case g.folderTitled(wanted.Title) != nil:
		return nil, message(http.StatusConflict, "a folder or dashboard in the general folder with the same name already exists")
	}
	f := Folder{
		ID: g.newID(), UID: wanted.UID, Title: wanted.Title, Version: 1,
		Created: c.now, Updated: c.now, CreatedBy: c.user, UpdatedBy: c.user,
	}
	if f.UID == "" {
		f.UID = fmt.Sprintf("made-%d", f.ID)
	}
	g.Folders = append(g.Folders, f)
	return folderBody(&f), nil
}

func (g *Grafana) changeFolder(c grafanaCall, f *Folder) (any, *failure) {
	var wanted struct {
		Title     string
		Version   int64
		Overwrite bool
	}
	if failed := c.read(&wanted); failed != nil {
		return nil, failed
	}
	if !wanted.Overwrite && wanted.Version != f.Version {
		return nil, messageOf(http.StatusPreconditionFailed, "version-mismatch", "The folder has been changed by someone else")
	}
	if other := g.folderTitled(wanted.Title); other != nil && other.UID != f.UID {
		return nil, message(http.StatusConflict, "a folder or dashboard in the general folder with the same name already exists")
	}
	f.Title, f.Updated, f.UpdatedBy = strings.TrimSpace(wanted.Title), c.now, c.user
	f.Version++
	return folderBody(f), nil
}

// deleteFolder deletes what is in it, too.
func (g *Grafana) deleteFolder(c grafanaCall, f Folder) (any, *failure) {
	holdsRules := func(group AlertGroup) bool { return group.FolderUID == f.UID }
	if slices.ContainsFunc(g.AlertGroups, holdsRules) && c.query.Get("forceDeleteRules") != "true" {
		return nil, message(http.StatusBadRequest, "folder cannot be deleted: folder contains alert rules")
	}
	g.AlertGroups = slices.DeleteFunc(g.AlertGroups, holdsRules)
	g.Dashboards = slices.DeleteFunc(g.Dashboards, func(d Dashboard) bool { return d.FolderUID == f.UID })
	g.Folders = slices.DeleteFunc(g.Folders, func(other Folder) bool { return other.UID == f.UID })
	return object{"id": f.ID, "message": "Folder " + f.Title + " deleted", "title": f.Title}, nil
}

func (g *Grafana) dashboard(uid string) *Dashboard {
	for i := range g.Dashboards {
		if g.Dashboards[i].UID == uid {
			return &g.Dashboards[i]
		}
	}
	return nil
}

func (g *Grafana) onDashboard(uid string, do func(*Dashboard) (any, *failure)) (any, *failure) {
	d := g.dashboard(uid)
	if d == nil {
		return nil, message(http.StatusNotFound, "Dashboard not found")
	}
	return do(d)
}

func (g *Grafana) dashboardBody(d *Dashboard) object {
	model := maps.Clone(d.Model)
	model["id"], model["uid"], model["version"], model["title"] = d.ID, d.UID, d.Version, d.Title
	meta := object{
		"type": "db", "canSave": !d.Scaleway, "canEdit": !d.Scaleway, "canAdmin": !d.Scaleway, "canStar": true, "canDelete": !d.Scaleway,
		"slug": slugOf(d.Title), "url": dashboardURL(d), "expires": "0001-01-01T00:00:00Z", "created": d.Created, "updated": d.Updated,
		"createdBy": d.CreatedBy, "updatedBy": d.UpdatedBy, "version": d.Version, "hasAcl": false, "isFolder": false,
		"folderId": 0, "folderUid": "", "folderTitle": "General", "folderUrl": "", "provisioned": d.Scaleway, "provisionedExternalId": "",
	}
	if f := g.folder(d.FolderUID); f != nil {
		meta["folderId"], meta["folderUid"], meta["folderTitle"], meta["folderUrl"] = f.ID, f.UID, f.Title, folderURL(f)
	}
	return object{"meta": meta, "dashboard": model}
}

func dashboardURL(d *Dashboard) string { return "/d/" + d.UID + "/" + slugOf(d.Title) }

func slugOf(title string) string {
	return strings.Join(strings.FieldsFunc(strings.ToLower(title), func(c rune) bool { return !unicode.IsLetter(c) && !unicode.IsDigit(c) }), "-")
}

// deleteDashboard deletes none that is provisioned from files.
func (g *Grafana) deleteDashboard(d *Dashboard) (any, *failure) {
	if d.Scaleway {
		return nil, message(http.StatusBadRequest, "provisioned dashboard cannot be deleted")
	}
	gone := *d
	g.Dashboards = slices.DeleteFunc(g.Dashboards, func(other Dashboard) bool { return other.UID == gone.UID })
	return object{"id": gone.ID, "message": "Dashboard " + gone.Title + " deleted", "title": gone.Title}, nil
}

func checkUID(uid string) *failure {
	if len(uid) > 40 {
		return message(http.StatusBadRequest, "uid too long, max 40 characters")
	}
	if strings.ContainsFunc(uid, func(c rune) bool { return !isWord(c) && c != '-' || c == ':' }) {
		return message(http.StatusBadRequest, "uid contains illegal characters")
	}
	return nil
}

// saveDashboard makes a new version of a dashboard, or a new one: which one it
// is, is a matter of the uid first, and of the title then.
func (g *Grafana) saveDashboard(c grafanaCall) (any, *failure) {
	var wanted struct {
		Dashboard map[string]any
		FolderUID string
		Overwrite bool
	}
	if failed := c.read(&wanted); failed != nil {
		return nil, failed
	}
	model := wanted.Dashboard
	uid, _ := model["uid"].(string)
	title, _ := model["title"].(string)
	title = strings.TrimSpace(title)
	numeric, _ := model["id"].(float64)
	version, _ := model["version"].(float64)
	if title == "" {
		return nil, messageOf(http.StatusBadRequest, "empty-name", "Dashboard title cannot be empty")
	}
	if failed := checkUID(uid); failed != nil {
		return nil, failed
	}
	folder := g.folder(wanted.FolderUID)
	if wanted.FolderUID == "general" {
		wanted.FolderUID = ""
	}
	if wanted.FolderUID != "" && folder == nil {
		return nil, message(http.StatusBadRequest, "folder not found")
	}
	if folder != nil && strings.EqualFold(folder.Title, title) {
		return nil, messageOf(http.StatusBadRequest, "name-match", "Dashboard name cannot be the same as folder")
	}
	var existing *Dashboard
	if numeric != 0 {
		i := slices.IndexFunc(g.Dashboards, func(d Dashboard) bool { return d.ID == int64(numeric) })
		if i < 0 {
			return nil, messageOf(http.StatusNotFound, "not-found", "Dashboard not found")
		}
		existing = &g.Dashboards[i]
	}
	if uid != "" {
		if named := g.dashboard(uid); named != nil {
			existing = named
		}
	}
	if existing != nil && !wanted.Overwrite && existing.Version != int64(version) {
		return nil, messageOf(http.StatusPreconditionFailed, "version-mismatch", "The dashboard has been changed by someone else")
	}
	for i := range g.Dashboards {
		other := &g.Dashboards[i]
		if other.Title != title || other.FolderUID != wanted.FolderUID || existing != nil && other.ID == existing.ID {
			continue
		}
		if !wanted.Overwrite {
			return nil, messageOf(http.StatusPreconditionFailed, "name-exists", "A dashboard with the same name in the folder already exists")
		}
		existing = other // which is replaced, and keeps its uid
	}
	if existing != nil && existing.Scaleway {
		return nil, message(http.StatusBadRequest, "Cannot save provisioned dashboard")
	}
	if existing == nil {
		g.Dashboards = append(g.Dashboards, Dashboard{ID: g.newID(), UID: uid, Created: c.now, CreatedBy: c.user})
		existing = &g.Dashboards[len(g.Dashboards)-1]
		if uid == "" {
			existing.UID = fmt.Sprintf("made-%d", existing.ID)
		}
	}
	existing.Title, existing.FolderUID, existing.Model = title, wanted.FolderUID, model
	existing.Version++
	existing.Updated, existing.UpdatedBy = c.now, c.user
	return object{
		"id": existing.ID, "uid": existing.UID, "url": dashboardURL(existing), "slug": slugOf(title), "status": "success",
		"version": existing.Version, "folderUid": existing.FolderUID,
	}, nil
}

// search takes no notice of folderUIDs.
func (g *Grafana) search(query url.Values) (any, *failure) {
	all := []object{}
	matches := func(title string, tags []string) bool {
		for _, tag := range query["tag"] {
			if !slices.Contains(tags, tag) {
				return false
			}
		}
		return strings.Contains(strings.ToLower(title), strings.ToLower(query.Get("query")))
	}
	if kind := query.Get("type"); kind != "dash-db" {
		for i := range g.Folders {
			if f := &g.Folders[i]; matches(f.Title, nil) && !query.Has("dashboardUIDs") {
				all = append(all, object{
					"id": f.ID, "uid": f.UID, "title": f.Title, "type": "dash-folder", "url": folderURL(f), "uri": "db/" + slugOf(f.Title),
					"slug": "", "tags": []string{}, "isStarred": false, "sortMeta": 0,
				})
			}
		}
	}
	if kind := query.Get("type"); kind != "dash-folder" {
		for i := range g.Dashboards {
			d := &g.Dashboards[i]
			tags := []string{}
			list, _ := d.Model["tags"].([]any)
			for _, tag := range list {
				tags = append(tags, fmt.Sprint(tag))
			}
			if !matches(d.Title, tags) || query.Has("dashboardUIDs") && !slices.Contains(query["dashboardUIDs"], d.UID) {
				continue
			}
			hit := object{
				"id": d.ID, "uid": d.UID, "title": d.Title, "type": "dash-db", "url": dashboardURL(d), "uri": "db/" + slugOf(d.Title),
				"slug": "", "tags": tags, "isStarred": false, "sortMeta": 0,
			}
			if f := g.folder(d.FolderUID); f != nil {
				hit["folderId"], hit["folderUid"], hit["folderTitle"], hit["folderUrl"] = f.ID, f.UID, f.Title, folderURL(f)
			}
			all = append(all, hit)
		}
	}
	slices.SortStableFunc(all, func(a, b object) int { return strings.Compare(a["title"].(string), b["title"].(string)) })
	limit, page := 1000, 1
	if n, err := strconv.Atoi(query.Get("limit")); err == nil && n > 0 {
		limit = min(n, 5000)
	}
	if n, err := strconv.Atoi(query.Get("page")); err == nil && n > 0 {
		page = n
	}
	from := min((page-1)*limit, len(all))
	return all[from:min(from+limit, len(all))], nil
}

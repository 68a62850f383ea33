package simulator

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// DataSource is one of a project's Cockpit.
type DataSource struct {
	ID, Name, Region string
	Type             string // metrics, logs, traces
	Origin           string // custom, scaleway, external
}

// CockpitToken is a token of a project's Cockpit. Only its own data sources
// and alert manager take it.
type CockpitToken struct {
	ID, Name, Region, SecretKey string
	Scopes                      []string
}

// cockpit answers the Cockpit API.
func (s *Server) cockpit(req request) (any, *failure) {
	if req.path[0] == "grafana" {
		return s.cockpitGrafana(req)
	}
	if len(req.path) < 3 || req.path[0] != "regions" || !slices.Contains(regions, req.path[1]) {
		return nil, noRoute()
	}
	call, failed := readCockpitCall(req)
	if failed != nil {
		return nil, failed
	}
	call.region = req.path[1]
	if req.path[2] == "data-sources" && len(req.path) == 4 {
		return s.oneDataSource(req, call.region, req.path[3])
	}
	if s.denied(call.ProjectID, call.region, "cockpit", req.method) {
		return nil, denied("cockpit", req.method)
	}
	project := s.account.Project(call.ProjectID)
	if project == nil {
		return nil, denied("cockpit", req.method)
	}
	switch req.method + " " + strings.Join(req.path[2:], "/") {
	case "GET data-sources":
		return listDataSources(req, project, call.region)
	case "POST data-sources":
		return s.createDataSource(req, project, call)
	case "GET tokens":
		var all []object
		for _, t := range project.CockpitTokens {
			if t.Region == call.region {
				all = append(all, cockpitTokenBody(project, t, nil))
			}
		}
		return paged("tokens", all, req.query)
	case "POST tokens":
		return s.createToken(project, call)
	case "GET alert-manager":
		return alertManagerBody(req, project, call.region), nil
	case "POST alert-manager/enable":
		project.AlertManager(call.region).Enabled = true
		return alertManagerBody(req, project, call.region), nil
	case "POST alert-manager/disable":
		project.AlertManager(call.region).Enabled = false
		return alertManagerBody(req, project, call.region), nil
	case "GET alert-manager/contact-points":
		return listContactPoints(req, project, call.region)
	case "POST alert-manager/contact-points", "PATCH alert-manager/contact-points", "POST alert-manager/contact-points/delete":
		return changeContactPoints(req, project, call)
	case "POST alert-manager/trigger-test-alert":
		manager := project.AlertManager(call.region)
		if !manager.Enabled {
			return nil, alertManagerMissing(project)
		}
		manager.TestAlerts++
		return nil, nil
	case "GET alerts":
		return listAlerts(req, project, call.region)
	case "GET rules/count":
		return countRules(project, call.region), nil
	}
	return nil, noRoute()
}

// cockpitCall is what a call says: in its query, or in its body.
type cockpitCall struct {
	region        string
	ProjectID     string `json:"project_id"`
	Name          string
	Type          string
	RetentionDays int                  `json:"retention_days"`
	Scopes        []string             `json:"token_scopes"`
	Email         *struct{ To string } `json:"email"`
	SendResolved  *bool                `json:"send_resolved_notifications"`
}

func readCockpitCall(req request) (cockpitCall, *failure) {
	call := cockpitCall{ProjectID: req.query.Get("project_id")}
	if len(req.body) > 0 {
		if err := json.Unmarshal(req.body, &call); err != nil {
			return call, invalid("body", "unknown", err.Error())
		}
	}
	return call, nil
}

// cockpitGrafana answers grafana…, which has no region.
func (s *Server) cockpitGrafana(req request) (any, *failure) {
	call, failed := readCockpitCall(req)
	if failed != nil {
		return nil, failed
	}
	project := s.account.Project(call.ProjectID)
	if project == nil || s.denied(project.ID, "", "cockpit", req.method) {
		return nil, denied("cockpit", req.method)
	}
	switch req.method + " " + strings.Join(req.path, "/") {
	case "GET grafana":
		return object{"grafana_url": req.base + strings.TrimSuffix(grafanaPath, "/") + "/" + project.ID}, nil
	case "POST grafana/sync-data-sources":
		project.synchronize(req.base)
		return nil, nil
	}
	return nil, noRoute()
}

// dataSourcesPath is where the simulated data sources are reached; the real
// ones have hosts of their own.
const dataSourcesPath = "/data-sources/"

func listDataSources(req request, p *Project, region string) (any, *failure) {
	var found []object
	for _, d := range p.DataSources {
		origin, types := req.query.Get("origin"), req.query["types"]
		if d.Region == region && (origin == "" || origin == "unknown_origin" || origin == d.Origin) && (len(types) == 0 || slices.Contains(types, d.Type)) {
			found = append(found, dataSourceBody(req.base, p, d))
		}
	}
	return paged("data_sources", found, req.query)
}

func dataSourceBody(base string, p *Project, d DataSource) object {
	return object{
		"id": d.ID, "name": d.Name, "project_id": p.ID, "region": d.Region, "type": d.Type, "origin": d.Origin,
		"url": base + dataSourcesPath + d.ID, "created_at": timestamp(p.Created), "updated_at": timestamp(p.Created),
		"retention_days": 31, "synchronized_with_grafana": p.Grafana.synchronized(d), "current_month_usage": 0,
	}
}

func (s *Server) oneDataSource(req request, region, id string) (any, *failure) {
	p, d := s.account.dataSource(id)
	if d == nil || d.Region != region {
		return nil, &failure{http.StatusNotFound, object{
			"message": "resource is not found", "resource": "data_source", "resource_id": id, "type": "not_found",
		}}
	}
	if s.denied(p.ID, region, "cockpit", req.method) {
		return nil, denied("cockpit", req.method)
	}
	switch req.method {
	case http.MethodGet:
		return dataSourceBody(req.base, p, *d), nil
	case http.MethodDelete: // and all that is in it
		p.DataSources = slices.DeleteFunc(p.DataSources, func(other DataSource) bool { return other.ID == id })
		p.RuleGroups = slices.DeleteFunc(p.RuleGroups, func(g RuleGroup) bool { return g.DataSourceID == id })
		return nil, nil
	}
	return nil, noRoute()
}

// createDataSource makes one of the origin custom; Scaleway makes the others.
// That a name can be taken twice is not known to be refused, so it is not.
func (s *Server) createDataSource(req request, p *Project, call cockpitCall) (any, *failure) {
	if call.Name == "" {
		return nil, invalid("name", "required", "")
	}
	if !slices.Contains([]string{"metrics", "logs", "traces"}, call.Type) {
		return nil, invalid("type", "constraint", "must be one of metrics, logs, traces")
	}
	d := DataSource{ID: s.newID(), Name: call.Name, Region: call.region, Type: call.Type, Origin: "custom"}
	p.DataSources = append(p.DataSources, d)
	return dataSourceBody(req.base, p, d), nil
}

// newID is unlike any ID of the account's author. The lock is held.
func (s *Server) newID() string {
	s.created++
	return fmt.Sprintf("5c0c0000-0000-4000-8000-%012x", s.created)
}

func (s *Server) createToken(p *Project, call cockpitCall) (any, *failure) {
	if call.Name == "" || len(call.Scopes) == 0 {
		return nil, invalid("name", "required", "and token_scopes")
	}
	t := CockpitToken{ID: s.newID(), Name: call.Name, Region: call.region, Scopes: call.Scopes, SecretKey: "cockpit-" + s.newID()}
	p.CockpitTokens = append(p.CockpitTokens, t)
	return cockpitTokenBody(p, t, &t.SecretKey), nil // shown this once
}

func cockpitTokenBody(p *Project, t CockpitToken, secret *string) object {
	return object{
		"id": t.ID, "project_id": p.ID, "name": t.Name, "region": t.Region, "scopes": t.Scopes, "secret_key": secret,
		"created_at": timestamp(p.Created), "updated_at": timestamp(p.Created),
	}
}

func alertManagerBody(req request, p *Project, region string) object {
	manager := p.AlertManager(region)
	body := object{"alert_manager_url": nil, "alert_manager_enabled": manager.Enabled, "managed_alerts_enabled": false, "region": region}
	if manager.Enabled {
		body["alert_manager_url"] = req.base + alertManagersPath + p.ID + "/" + region
	}
	return body
}

func alertManagerMissing(p *Project) *failure {
	return &failure{http.StatusNotFound, object{
		"message": "resource is not found", "resource": "alert_manager", "resource_id": p.ID, "type": "not_found",
	}}
}

func listContactPoints(req request, p *Project, region string) (any, *failure) {
	manager := p.AlertManager(region)
	if !manager.Enabled {
		return nil, alertManagerMissing(p)
	}
	var all []object
	for _, c := range manager.ContactPoints() {
		all = append(all, contactPointBody(c, region))
	}
	body, failed := paged("contact_points", all, req.query)
	if failed == nil {
		receivers, others := manager.additional()
		body.(object)["has_additional_receivers"] = receivers
		body.(object)["has_additional_contact_points"] = others
	}
	return body, failed
}

func contactPointBody(c ContactPoint, region string) object {
	return object{"email": object{"to": c.Email}, "region": region, "send_resolved_notifications": c.SendResolved}
}

func changeContactPoints(req request, p *Project, call cockpitCall) (any, *failure) {
	manager := p.AlertManager(call.region)
	if !manager.Enabled {
		return nil, alertManagerMissing(p)
	}
	if call.Email == nil || !strings.Contains(call.Email.To, "@") {
		return nil, invalid("email.to", "constraint", "must be a valid e-mail address")
	}
	contact := ContactPoint{Email: call.Email.To, SendResolved: call.SendResolved != nil && *call.SendResolved}
	contacts := manager.ContactPoints()
	i := slices.IndexFunc(contacts, func(c ContactPoint) bool { return c.Email == contact.Email })
	missing := &failure{http.StatusNotFound, object{
		"message": "resource is not found", "resource": "contact_point", "resource_id": contact.Email, "type": "not_found",
	}}
	switch {
	case strings.HasSuffix(strings.Join(req.path, "/"), "/delete"):
		if i < 0 {
			return nil, missing
		}
		manager.setContactPoints(slices.Delete(contacts, i, i+1))
		return nil, nil
	case req.method == http.MethodPatch:
		if i < 0 {
			return nil, missing
		}
		contacts[i] = contact
		manager.setContactPoints(contacts)
	default:
		if i >= 0 {
			return nil, &failure{http.StatusConflict, object{
				"message": "resource already exists", "resource": "contact_point", "resource_id": contact.Email, "type": "already_exists",
			}}
		}
		manager.setContactPoints(append(contacts, contact))
	}
	return contactPointBody(contact, call.region), nil
}

// listAlerts is the alerts of all data sources, as Scaleway sees them.
func listAlerts(req request, p *Project, region string) (any, *failure) {
	var all []object
	for _, g := range p.RuleGroups {
		d := p.dataSource(g.DataSourceID)
		if d == nil || d.Region != region {
			continue
		}
		if wanted := req.query.Get("data_source_id"); wanted != "" && wanted != d.ID {
			continue
		}
		for _, rule := range g.parsed().Rules {
			if rule.Alert != "" {
				all = append(all, object{
					"region": region, "preconfigured": false, "name": rule.Alert, "rule": rule.Expr, "duration": rule.For.String(),
					"rule_status": "enabled", "state": "inactive", "annotations": variables(rule.Annotations), "preconfigured_data": nil, "data_source_id": d.ID,
				})
			}
		}
	}
	if state := req.query.Get("state"); state != "" && state != "inactive" {
		all = nil
	}
	if req.query.Get("is_preconfigured") == "true" {
		all = nil
	}
	return paged("alerts", all, url.Values{"page_size": {fmt.Sprint(maxPageSize)}}) // it takes no page
}

func countRules(p *Project, region string) object {
	counts, custom := []object{}, 0
	for _, d := range p.DataSources {
		if d.Region != region {
			continue
		}
		n := 0
		for _, g := range p.RuleGroups {
			if g.DataSourceID == d.ID {
				n += len(g.parsed().Rules)
			}
		}
		counts = append(counts, object{"data_source_id": d.ID, "data_source_name": d.Name, "rules_count": n})
		custom += n
	}
	return object{"rules_count_by_datasource": counts, "preconfigured_rules_count": 0, "custom_rules_count": custom}
}

// dataSource returns the data source with that ID and whose it is; nil where
// there is none.
func (a *Account) dataSource(id string) (*Project, *DataSource) {
	for p := range a.Projects {
		if d := a.Projects[p].dataSource(id); d != nil {
			return &a.Projects[p], d
		}
	}
	return nil, nil
}

func (p *Project) dataSource(id string) *DataSource {
	for d := range p.DataSources {
		if p.DataSources[d].ID == id {
			return &p.DataSources[d]
		}
	}
	return nil
}

// mayUse tells whether the credentials of a call to a project's Cockpit, other
// than its Grafana, are good: an API key's, or a token of that Cockpit and
// region with one of the scopes.
func (s *Server) mayUse(r *http.Request, p *Project, region string, scopes ...string) bool {
	if s.authenticated(r.Header.Get("X-Auth-Token")) {
		return true
	}
	secret := r.Header.Get("X-Token")
	if bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		secret = bearer
	}
	return slices.Contains(s.account.CockpitTokens, secret) || slices.ContainsFunc(p.CockpitTokens, func(t CockpitToken) bool {
		return t.SecretKey == secret && t.Region == region && slices.ContainsFunc(scopes, func(scope string) bool { return slices.Contains(t.Scopes, scope) })
	})
}

// dataSource answers for the data source in the path: its ruler itself, and
// all else by the account's storage.
func (s *Server) dataSource(w http.ResponseWriter, r *http.Request) {
	id, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, dataSourcesPath), "/")
	s.mu.Lock()
	project, source := s.account.dataSource(id)
	if source == nil {
		s.mu.Unlock()
		http.Error(w, "404 page not found", http.StatusNotFound)
		return
	}
	if isRuler(source, rest) {
		s.mu.Unlock()
		s.ruler(w, r, id)
		return
	}
	allowed := s.mayUse(r, project, source.Region, "write_only_"+source.Type, "read_only_"+source.Type)
	custom, storage := source.Origin == "custom", cmp.Or(s.account.Storages[id], s.account.Storage)
	if storage == nil && s.account.FixedAnswers && !custom {
		switch source.Type {
		case "metrics":
			storage = s.fixedMetrics(project.ID, source.Region)
		case "logs":
			storage = FixedLogs(func() []Line { return nil })
		}
	}
	s.mu.Unlock()
	switch {
	case !allowed:
		http.Error(w, "Unauthorized", http.StatusUnauthorized)
	case rest == "api/v1/push" && !custom:
		http.Error(w, "Forbidden", http.StatusForbidden)
	case storage == nil:
		http.Error(w, "no storage is simulated", http.StatusServiceUnavailable)
	default:
		r.URL.Path = "/" + rest
		storage.ServeHTTP(w, r)
	}
}

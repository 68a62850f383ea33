package simulator

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
)

// DataSource is one of a project's Cockpit.
type DataSource struct {
	ID, Name, Region string
	Type             string // metrics, logs, traces
	Origin           string // custom, scaleway, external
}

// dataSourcesPath is where the simulated data sources are reached; the real
// ones have hosts of their own.
const dataSourcesPath = "/data-sources/"

// cockpit answers regions/{region}/data-sources.
func (s *Server) cockpit(req request) (any, *failure) {
	if len(req.path) == 1 && req.path[0] == "grafana" {
		return s.grafanaAddress(req)
	}
	if len(req.path) != 3 || req.path[0] != "regions" || !slices.Contains(regions, req.path[1]) || req.path[2] != "data-sources" {
		return nil, &failure{http.StatusNotFound, object{"message": "resource is not found", "type": "not_found"}}
	}
	project := req.query.Get("project_id")
	if s.denied(project, req.path[1], "cockpit") {
		return nil, denied("cockpit")
	}
	var found []object
	for _, p := range s.account.Projects {
		for _, d := range p.DataSources {
			if p.ID == project && d.Region == req.path[1] {
				found = append(found, object{
					"id": d.ID, "name": d.Name, "project_id": p.ID, "region": d.Region, "type": d.Type, "origin": d.Origin,
					"url": req.base + dataSourcesPath + d.ID, "created_at": timestamp(p.Created), "updated_at": timestamp(p.Created),
					"retention_days": 31, "synchronized_with_grafana": true, "current_month_usage": 0,
				})
			}
		}
	}
	return paged("data_sources", found, req.query)
}

// dataSource passes a call on to the data source in its path, where the
// credentials may: a Cockpit token, or an API key.
func (s *Server) dataSource(w http.ResponseWriter, r *http.Request) {
	id, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, dataSourcesPath), "/")
	s.mu.Lock()
	var source *DataSource
	var projectID string
	for p := range s.account.Projects {
		for d := range s.account.Projects[p].DataSources {
			if s.account.Projects[p].DataSources[d].ID == id {
				source, projectID = &s.account.Projects[p].DataSources[d], s.account.Projects[p].ID
			}
		}
	}
	allowed := s.authenticated(r.Header.Get("X-Auth-Token")) || slices.Contains(s.account.CockpitTokens, r.Header.Get("X-Token"))
	storage := cmp.Or(s.account.Storages[id], s.account.Storage)
	fixed := s.account.FixedAnswers && source != nil && source.Origin == "scaleway"
	s.mu.Unlock()
	switch {
	case storage != nil || !fixed:
	case source.Type == "metrics":
		storage = s.fixedMetrics(projectID, source.Region)
	case source.Type == "logs":
		storage = FixedLogs(func() []Line { return nil })
	}
	switch {
	case source == nil:
		http.Error(w, "404 page not found", http.StatusNotFound)
	case !allowed:
		http.Error(w, "Unauthorized", http.StatusUnauthorized)
	case rest == "api/v1/push" && source.Origin != "custom":
		http.Error(w, "Forbidden", http.StatusForbidden)
	case storage == nil:
		http.Error(w, "no storage is simulated", http.StatusServiceUnavailable)
	default:
		r.URL.Path = "/" + rest
		storage.ServeHTTP(w, r)
	}
}

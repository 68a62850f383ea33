package simulator

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// regions are those of the functions API.
var regions = []string{"fr-par", "nl-ams", "pl-waw"}

// functions answers regions/{region}/{collection}[/{id}].
func (s *Server) functions(req request) (any, *failure) {
	if len(req.path) < 3 || len(req.path) > 4 || req.path[0] != "regions" || !slices.Contains(regions, req.path[1]) {
		return nil, &failure{http.StatusNotFound, object{"message": "resource is not found", "type": "not_found"}}
	}
	region, collection := req.path[1], req.path[2]
	read, ok := collections[collection]
	if !ok {
		return nil, &failure{http.StatusNotFound, object{"message": "resource is not found", "type": "not_found"}}
	}
	// Only what can be found is spelled out: an account of thousands is asked
	// about one function at a time.
	wanted := wanted{namespaceID: req.query.Get("namespace_id"), functionID: req.query.Get("function_id")}
	if collection == "functions" && len(req.path) == 4 {
		wanted.functionID = req.path[3]
	}
	var items []item
	for _, p := range s.account.Projects {
		for n := range p.Namespaces {
			if ns := &p.Namespaces[n]; ns.Region == region && (wanted.namespaceID == "" || wanted.namespaceID == ns.ID) {
				items = append(items, read.of(s.account, p.ID, ns, wanted)...)
			}
		}
	}
	if collection == "runtimes" {
		items = runtimes(s.account.Runtimes)
	}
	slices.SortStableFunc(items, func(a, b item) int { return a.created.Compare(b.created) })
	if len(req.path) == 4 {
		for _, i := range items {
			if i.body["id"] == req.path[3] {
				if s.denied(i.projectID, region, "function", req.method) {
					return nil, denied("function", req.method)
				}
				return i.body, nil
			}
		}
		return nil, notFound(read.name)
	}
	if s.account.HideListings && collection != "namespaces" {
		return nil, notFound("Namespace")
	}
	if failed := s.mayList(req, region, read); failed != nil {
		return nil, failed
	}
	var found []object
	for _, i := range items {
		if i.matches(req) {
			found = append(found, i.body)
		}
	}
	return paged(collection, found, req.query)
}

// mayList refuses a listing without the filter that is known to be needed, one
// of a project that the organization does not have, and what is denied.
func (s *Server) mayList(req request, region string, read collection) *failure {
	if len(read.needs) > 0 && !slices.ContainsFunc(read.needs, func(filter string) bool { return req.query.Get(filter) != "" }) {
		return invalid(read.needs[0], "required", "one of "+strings.Join(read.needs, ", "))
	}
	project := req.query.Get("project_id")
	if project != "" && !slices.ContainsFunc(s.account.Projects, func(p Project) bool { return p.ID == project }) {
		return denied("function", req.method)
	}
	for _, p := range s.account.Projects {
		for _, ns := range p.Namespaces {
			if ns.ID == req.query.Get("namespace_id") {
				project = p.ID
			}
			for _, f := range ns.Functions {
				if f.ID == req.query.Get("function_id") {
					project = p.ID
				}
			}
		}
	}
	if s.denied(project, region, "function", req.method) {
		return denied("function", req.method)
	}
	// A parent that is gone answers as it does when it is read itself.
	if id := req.query.Get("namespace_id"); id != "" && project == "" {
		return notFound("Namespace")
	}
	if id := req.query.Get("function_id"); id != "" && project == "" {
		return notFound("Function")
	}
	return nil
}

// wanted are the IDs that a call asks for; empty: all.
type wanted struct{ namespaceID, functionID string }

// item is an object of a collection with what it can be found by.
type item struct {
	body                               object
	projectID, namespaceID, functionID string
	created                            time.Time
}

func (i item) matches(req request) bool {
	for filter, value := range map[string]string{
		"project_id": i.projectID, "namespace_id": i.namespaceID, "function_id": i.functionID,
	} {
		if want := req.query.Get(filter); want != "" && want != value {
			return false
		}
	}
	name := req.query.Get("name")
	return name == "" || i.body["name"] == name
}

// collection is how the objects of one are read: the name that errors give
// them, the filters of which a listing needs one, and those of a namespace.
type collection struct {
	name  string
	needs []string
	of    func(a *Account, projectID string, ns *Namespace, w wanted) []item
}

var collections = map[string]collection{
	"namespaces": {"Namespace", nil, func(a *Account, project string, ns *Namespace, _ wanted) []item {
		return []item{{body: namespaceBody(a, project, ns), projectID: project, namespaceID: ns.ID, created: ns.Created}}
	}},
	"functions": {"Function", []string{"namespace_id"}, ofFunctions(func(ns *Namespace, f *Function) []object {
		return []object{functionBody(ns, f)}
	})},
	"tokens": {"Token", []string{"function_id", "namespace_id"}, func(_ *Account, project string, ns *Namespace, w wanted) []item {
		var items []item
		for _, t := range ns.Tokens {
			items = append(items, item{body: tokenBody(t, object{"namespace_id": ns.ID}), projectID: project, namespaceID: ns.ID})
		}
		for _, f := range ns.Functions {
			if w.functionID != "" && w.functionID != f.ID {
				continue
			}
			for _, t := range f.Tokens { // not found by the namespace: it is the function's
				items = append(items, item{body: tokenBody(t, object{"function_id": f.ID}), projectID: project, functionID: f.ID})
			}
		}
		return items
	}},
	"triggers": {"Trigger", []string{"function_id", "namespace_id", "project_id"}, ofFunctions(func(_ *Namespace, f *Function) []object {
		var bodies []object
		for _, t := range f.Triggers {
			bodies = append(bodies, object{
				"id": t.ID, "name": t.Name, "description": "", "function_id": f.ID, "input_type": t.InputType,
				"status": "ready", "error_message": nil,
			})
		}
		return bodies
	})},
	"crons": {"Cron", []string{"function_id"}, ofFunctions(func(_ *Namespace, f *Function) []object {
		var bodies []object
		for _, c := range f.Crons {
			bodies = append(bodies, object{
				"id": c.ID, "name": c.Name, "function_id": f.ID, "schedule": c.Schedule, "args": object{}, "status": "ready",
			})
		}
		return bodies
	})},
	"domains": {"Domain", []string{"function_id"}, ofFunctions(func(_ *Namespace, f *Function) []object {
		var bodies []object
		for _, d := range f.Domains {
			bodies = append(bodies, object{
				"id": d.ID, "hostname": d.Hostname, "function_id": f.ID, "url": "https://" + d.Hostname, "status": "ready", "error_message": nil,
			})
		}
		return bodies
	})},
	"runtimes": {"Runtime", nil, func(*Account, string, *Namespace, wanted) []item { return nil }},
}

// ofFunctions reads what hangs on each function.
func ofFunctions(bodies func(*Namespace, *Function) []object) func(*Account, string, *Namespace, wanted) []item {
	return func(_ *Account, project string, ns *Namespace, w wanted) []item {
		var items []item
		for n := range ns.Functions {
			f := &ns.Functions[n]
			if w.functionID != "" && w.functionID != f.ID {
				continue
			}
			for _, body := range bodies(ns, f) {
				items = append(items, item{body: body, projectID: project, namespaceID: ns.ID, functionID: f.ID, created: f.Created})
			}
		}
		return items
	}
}

func namespaceBody(a *Account, project string, ns *Namespace) object {
	return object{
		"id": ns.ID, "name": ns.Name, "description": "", "region": ns.Region, "status": ns.Status, "error_message": nil,
		"organization_id": a.OrganizationID, "project_id": project,
		"environment_variables": variables(ns.Variables), "secret_environment_variables": secrets(ns.Secrets),
		"registry_endpoint": "rg." + ns.Region + ".scw.cloud/funcscw" + ns.Name, "registry_namespace_id": ns.ID,
		"tags": tags(ns.Tags), "created_at": timestamp(ns.Created), "updated_at": timestamp(ns.Updated),
		"vpc_integration_activated": false,
	}
}

func functionBody(ns *Namespace, f *Function) object {
	body := object{
		"id": f.ID, "name": f.Name, "namespace_id": ns.ID, "description": "", "region": ns.Region,
		"status": f.Status, "error_message": nil, "build_message": nil, "runtime_message": "",
		"environment_variables": variables(f.Variables), "secret_environment_variables": secrets(f.Secrets),
		"min_scale": f.MinScale, "max_scale": f.MaxScale, "memory_limit": f.MemoryMB, "cpu_limit": f.MilliCPU,
		"timeout": fmt.Sprintf("%gs", f.Timeout.Seconds()), "handler": "handler.handle",
		"runtime": f.Runtime, "privacy": f.Privacy, "http_option": f.HTTPOption, "sandbox": f.Sandbox,
		"domain_name":        domainName(ns, f),
		"private_network_id": nil, "tags": tags(f.Tags),
		"created_at": timestamp(f.Created), "updated_at": timestamp(f.Updated), "ready_at": nil,
	}
	if f.ErrorMessage != "" {
		body["error_message"] = f.ErrorMessage
	}
	if f.PrivateNetworkID != "" {
		body["private_network_id"] = f.PrivateNetworkID
	}
	if f.Status == "ready" {
		body["ready_at"] = timestamp(f.Updated)
	}
	return body
}

// domainName is the host of a function's URL.
func domainName(ns *Namespace, f *Function) string {
	return fmt.Sprintf("%s-%s.functions.fnc.%s.scw.cloud", slug(ns), f.Name, ns.Region)
}

// slug is the first part of a namespace's host names.
func slug(ns *Namespace) string { return strings.ReplaceAll(ns.Name, "-", "") + ns.ID[:8] }

func tokenBody(t Token, owner object) object {
	body := object{"id": t.ID, "token": t.Value, "status": "ready", "description": t.Description, "expires_at": timestamp(t.Expires)}
	for key, value := range owner {
		body[key] = value
	}
	return body
}

func runtimes(all []Runtime) []item {
	var items []item
	for _, r := range all {
		items = append(items, item{body: object{
			"name": r.Name, "language": r.Language, "version": r.Version, "status": r.Status, "status_message": "",
			"default_handler": "handler.handle", "code_sample": "", "extension": "", "implementation": "", "logo_url": "",
		}})
	}
	return items
}

func variables(v map[string]string) map[string]string {
	if v == nil {
		return map[string]string{}
	}
	return v
}

func secrets(all []Secret) []object {
	bodies := []object{}
	for _, secret := range all {
		bodies = append(bodies, object{"key": secret.Key, "hashed_value": secret.Hash})
	}
	return bodies
}

func tags(all []string) []string {
	return append([]string{}, all...)
}

// Package simulator answers like the parts of Scaleway that scwatch talks to,
// errors and oddities included.
package simulator

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Server serves one account. It is safe for concurrent use.
type Server struct {
	// Latency is how long every answer takes; set before the first request.
	Latency time.Duration

	mu       sync.Mutex
	account  *Account
	faults   []*fault
	requests map[string]int
	called   map[string]int  // functions, by ID and by host
	open     map[string]bool // functions that let everybody in
	served   int
	created  int // data sources and tokens, for their IDs
	closing  chan struct{}
	rulers   map[string]polled // by data source
}

// New returns a server of account, which from then on is changed by Update.
func New(account *Account) *Server {
	return &Server{account: account, requests: map[string]int{}, called: map[string]int{}, open: map[string]bool{}, closing: make(chan struct{}), rulers: map[string]polled{}}
}

// Update changes the account.
func (s *Server) Update(change func(*Account)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s.account)
}

// Requests returns how many requests came in by the word of their path that
// says what they are about: "namespaces", "functions", …; those that write are
// counted with their method, "POST rules".
func (s *Server) Requests() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	counts := map[string]int{}
	for name, n := range s.requests {
		counts[name] = n
	}
	return counts
}

// count counts a call of Cockpit's, with the lock held.
func (s *Server) count(r *http.Request) {
	name := "others"
	for _, word := range strings.Split(r.URL.Path, "/") {
		switch word {
		case "data-sources", "sync-data-sources", "alert-manager", "contact-points", "trigger-test-alert", "tokens", "enable", "disable", "count",
			"folders", "dashboards", "search", "datasources", "org", "health", "rule-groups", "alert-rules", "rules", "alerts", "status", "silences":
			name = word
		}
	}
	if r.Method != http.MethodGet {
		name = r.Method + " " + name
	}
	s.requests[name]++
}

// failure is an error answer of the API's.
type failure struct {
	status int
	body   any
}

func notFound(what string) *failure {
	return &failure{http.StatusNotFound, map[string]string{"message": what + " was not found"}}
}

func denied(resource, method string) *failure {
	action := "read"
	if method != http.MethodGet {
		action = "write"
	}
	return &failure{http.StatusForbidden, object{
		"details": []object{{"action": action, "resource": resource}},
		"message": "insufficient permissions", "type": "permissions_denied",
	}}
}

func invalid(argument, reason, help string) *failure {
	return &failure{http.StatusBadRequest, object{
		"details": []object{{"argument_name": argument, "reason": reason, "help_message": help}},
		"message": "invalid argument(s)", "type": "invalid_arguments",
	}}
}

func noRoute() *failure {
	return &failure{http.StatusNotFound, object{"message": "resource is not found", "type": "not_found"}}
}

type object = map[string]any

// request is one call, as the products see it.
type request struct {
	method string
	base   string   // of the server's own URLs
	path   []string // below the product's version
	query  url.Values
	body   []byte
}

// ServeHTTP answers one call.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.served++
	id := s.served
	fault := s.faultFor(r)
	s.mu.Unlock()
	w.Header().Set("X-Request-Id", fmt.Sprintf("00000000-0000-4000-8000-%012x", id))
	if !s.wait(r, s.Latency) {
		return
	}
	if fault != nil && s.disrupt(w, r, fault) {
		return
	}
	if fault == nil && s.gateway(w, r) {
		return
	}
	product := s.api
	for path, at := range map[string]http.HandlerFunc{
		dataSourcesPath: s.dataSource, grafanaPath: s.grafana, alertManagersPath: s.alertManager,
	} {
		if strings.HasPrefix(r.URL.Path, path) {
			product = at
		}
	}
	if fault == nil {
		product(w, r)
		return
	}
	whole := &answer{header: w.Header(), status: http.StatusOK}
	product(whole, r)
	s.spoil(w, r, fault, whole.status, whole.body)
}

// answer is one that was not sent yet.
type answer struct {
	header http.Header
	status int
	body   []byte
}

func (a *answer) Header() http.Header { return a.header }

func (a *answer) WriteHeader(status int) { a.status = status }

func (a *answer) Write(b []byte) (int, error) {
	a.body = append(a.body, b...)
	return len(b), nil
}

// api answers the calls of Scaleway's own API.
func (s *Server) api(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler) // the client is gone
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	answered, failed := s.route(r, body)
	switch {
	case failed != nil:
		writeJSON(w, failed.status, failed.body)
	case answered == nil:
		w.WriteHeader(http.StatusNoContent)
	default:
		writeJSON(w, http.StatusOK, answered)
	}
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	encoded, err := json.Marshal(body)
	if err != nil {
		panic(err) // of our own types
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(encoded)
}

// wait returns false where the client left or the server closes meanwhile.
func (s *Server) wait(r *http.Request, d time.Duration) bool {
	if d == 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.Context().Done():
	case <-s.closing:
	}
	return false
}

func (s *Server) route(r *http.Request, body []byte) (any, *failure) {
	path := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	if len(path) < 3 || r.Method != http.MethodGet && path[0] != "cockpit" {
		return nil, noRoute()
	}
	if !s.authenticated(r.Header.Get("X-Auth-Token")) {
		return nil, &failure{http.StatusUnauthorized, object{
			"message": "authentication is denied", "method": "api_key", "reason": "not_found", "type": "denied_authentication",
		}}
	}
	req := request{method: r.Method, base: "http://" + r.Host, path: path[2:], query: r.URL.Query(), body: body}
	switch path[0] + "/" + path[1] {
	case "functions/v1beta1":
		if len(req.path) >= 3 {
			s.requests[req.path[2]]++
		}
		return s.functions(req)
	case "account/v3":
		s.requests[req.path[0]]++
		return s.projects(req)
	case "iam/v1alpha1":
		s.requests[req.path[0]]++
		return s.apiKeys(req)
	case "cockpit/v1":
		s.count(r)
		return s.cockpit(req)
	}
	return nil, noRoute()
}

func (s *Server) authenticated(secret string) bool {
	_, known := s.key(secret)
	return known
}

func (s *Server) key(secret string) (Key, bool) {
	for _, key := range s.account.Keys {
		if key.SecretKey == secret {
			return key, true
		}
	}
	return Key{}, false
}

func (s *Server) denied(projectID, region, resource, method string) bool {
	for _, d := range s.account.Denied {
		if (d.ProjectID == "" || d.ProjectID == projectID) && (d.Region == "" || d.Region == region) && (d.Resource == "" || d.Resource == resource) && (!d.WritesOnly || method != http.MethodGet) {
			return true
		}
	}
	return false
}

// The real API's page has 50 items unless asked, and at most 100 here: larger
// pages are not known to work.
const (
	defaultPageSize = 50
	maxPageSize     = 100
)

// paged returns the page of items that the query asks for.
func paged(key string, items []object, query url.Values) (any, *failure) {
	number, size := 1, defaultPageSize
	for name, value := range map[string]*int{"page": &number, "page_size": &size} {
		if text := query.Get(name); text != "" {
			n, err := strconv.Atoi(text)
			if err != nil || n < 1 {
				return nil, invalid(name, "constraint", "must be at least 1")
			}
			*value = n
		}
	}
	if size > maxPageSize {
		return nil, invalid("page_size", "constraint", "must be at most 100")
	}
	from := min((number-1)*size, len(items))
	to := min(from+size, len(items))
	return object{key: append([]object{}, items[from:to]...), "total_count": len(items)}, nil
}

func (s *Server) projects(req request) (any, *failure) {
	if s.denied("", "", "project", req.method) {
		return nil, denied("project", req.method)
	}
	var all []object
	for _, p := range s.account.Projects {
		all = append(all, object{
			"id": p.ID, "name": p.Name, "description": p.Description, "organization_id": s.account.OrganizationID,
			"created_at": timestamp(p.Created), "updated_at": timestamp(p.Created), "status": "ready", "qualification": nil,
		})
	}
	switch {
	case req.path[0] != "projects":
	case len(req.path) == 1:
		if req.query.Get("organization_id") != s.account.OrganizationID {
			return nil, denied("project", req.method)
		}
		return paged("projects", all, req.query)
	case len(req.path) == 2:
		for _, p := range all {
			if p["id"] == req.path[1] {
				return p, nil
			}
		}
		return nil, &failure{http.StatusNotFound, object{
			"message": "resource is not found", "resource": "project", "resource_id": req.path[1], "type": "not_found",
		}}
	}
	return nil, &failure{http.StatusNotFound, object{"message": "resource is not found", "type": "not_found"}}
}

func (s *Server) apiKeys(req request) (any, *failure) {
	if s.denied("", "", "api_key", req.method) {
		return nil, denied("api_key", req.method)
	}
	for _, key := range s.account.Keys {
		if len(req.path) == 2 && req.path[0] == "api-keys" && req.path[1] == key.AccessKey {
			return object{
				"access_key": key.AccessKey, "secret_key": nil, "description": key.Description,
				"created_at": nil, "updated_at": nil, "expires_at": timestamp(key.Expires),
				"default_project_id": "", "editable": true, "deletable": true, "managed": false, "creation_ip": "",
			}, nil
		}
	}
	return nil, &failure{http.StatusNotFound, object{"message": "resource is not found", "resource": "api_key", "type": "not_found"}}
}

// timestamp spells t as the API does; nil for none.
func timestamp(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC().Format("2006-01-02T15:04:05.999999Z")
}

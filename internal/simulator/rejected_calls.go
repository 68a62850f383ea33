package simulator

import (
	"encoding/json"
	"net/http"
	"slices"
)

// ScalewayFunctionsDashboard is the uid of Scaleway's own dashboard of
// functions.
const ScalewayFunctionsDashboard = "scw-serverless-functions-overview"

// FunctionsDashboard is a dashboard in the manner of Scaleway's own, whose
// status code panel asks expr and whose request panel asks rate.
func FunctionsDashboard(expr, unit, rate string) json.RawMessage {
	target := func(expr, legend string) []object {
		return []object{{"expr": expr, "legendFormat": legend, "refId": "A"}}
	}
	encoded, err := json.Marshal(object{
		"uid": ScalewayFunctionsDashboard, "title": "Serverless Functions Overview", "tags": []string{"scaleway", "serverless-functions"},
		"panels": []object{
			{"title": "Status", "type": "stat", "targets": target(`sum by (status) (serverless_function_status{resource_id=~"$resource_id"})`, "{{status}}")},
			{"title": "Traffic", "type": "row", "panels": []object{
				{"title": "Requests per second", "type": "timeseries", "fieldConfig": object{"defaults": object{"unit": "reqps"}}, "targets": target(rate, "{{resource_name}}")},
				{"title": "Responses status code", "type": "timeseries", "fieldConfig": object{"defaults": object{"unit": unit}}, "targets": target(expr, "{{code}}")},
			}},
		},
	})
	if err != nil {
		panic(err) // of our own types
	}
	return encoded
}

// gateway answers a call to a function's host, or to a domain of its own, as the
// platform's does: a private function without a good token is not started.
func (s *Server) gateway(w http.ResponseWriter, r *http.Request) bool {
	if r.URL.Path != "/" { // where no API answers
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.account.Projects {
		for n := range p.Namespaces {
			ns := &p.Namespaces[n]
			for f := range ns.Functions {
				fn := &ns.Functions[f]
				if domainName(ns, fn) == r.Host || slices.ContainsFunc(fn.Domains, func(d Domain) bool { return d.Hostname == r.Host }) {
					s.called[fn.ID]++
					s.called[r.Host]++
					answerCall(w, fn, s.open[fn.ID] || s.authenticated(r.Header.Get("X-Auth-Token")))
					return true
				}
			}
		}
	}
	return false
}

func answerCall(w http.ResponseWriter, f *Function, token bool) {
	switch {
	case f.Privacy == "private" && !token:
		http.Error(w, "Forbidden", http.StatusForbidden)
	case f.Status != "ready":
		http.Error(w, "the function is not ready", http.StatusServiceUnavailable)
	default:
		w.Write([]byte("hello\n"))
	}
}

// Open makes the gateway let everybody call a function, whatever its setting,
// and returns what ends that.
func (s *Server) Open(namespace, name string) (end func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := s.account.Lookup(namespace, name).ID
	s.open[id] = true
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.open, id)
	}
}

// Called returns how often a function was called, by its ID or by one of its
// hosts.
func (s *Server) Called(functionOrHost string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.called[functionOrHost]
}

package simulator

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// What follows answers the very questions that scwatch asks about rejected
// calls, and refuses all others: it is a fixture for the demo and for tests
// without an engine, and no evaluator of PromQL or LogQL.

// Burst is somebody who calls a function without a token.
type Burst struct {
	FunctionID string
	From, To   time.Time
	PerSecond  float64
}

// calls returns how many of them there were until at.
func (b Burst) calls(at time.Time) float64 {
	if at.After(b.To) {
		at = b.To
	}
	return max(0, at.Sub(b.From).Seconds()) * b.PerSecond
}

// Knock begins calls without a token at a function: so many a second, for d.
func (a *Account) Knock(namespace, name string, perSecond float64, now time.Time, d time.Duration) {
	a.Bursts = append(a.Bursts, Burst{a.Lookup(namespace, name).ID, now, now.Add(d), perSecond})
}

// demoMetric is a counter of calls by status, as Scaleway may have one.
const demoMetric = "serverless_function_http_requests_total"

// demoSpacing is how far apart its samples lie.
const demoSpacing = 5 * time.Second

var demoQuery = regexp.MustCompile(`^` + demoMetric + `(\{code=~"401\|403",resource_id!=""\})?\[(\d+)s\]$`)

// fixedMetrics answers for a project's Scaleway Metrics in a region.
func (s *Server) fixedMetrics(projectID, region string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query := r.URL.Query()
		switch asked := demoQuery.FindStringSubmatch(query.Get("query")); {
		case strings.HasSuffix(r.URL.Path, "/label/__name__/values"):
			success(w, []string{demoMetric, "serverless_function_status"})
		case strings.HasSuffix(r.URL.Path, "/series") && strings.Contains(query.Get("match[]"), demoMetric):
			var all []map[string]string
			for _, sample := range s.demoSeries(projectID, region) {
				all = append(all, sample.labels)
			}
			success(w, all)
		case strings.HasSuffix(r.URL.Path, "/query") && asked != nil:
			at, _ := strconv.ParseFloat(query.Get("time"), 64)
			seconds, _ := strconv.Atoi(asked[2])
			s.demoSamples(w, projectID, region, asked[1] != "", time.UnixMilli(int64(at*1000)), time.Duration(seconds)*time.Second)
		case !strings.Contains(r.URL.Path, "/api/v1/"):
			http.Error(w, "404 page not found", http.StatusNotFound)
		default:
			http.Error(w, `{"status":"error","errorType":"bad_data","error":"the simulator answers scwatch's own questions only"}`, http.StatusBadRequest)
		}
	})
}

type demoSeries struct {
	labels map[string]string
	value  func(time.Time) float64
}

// demoSeries are those of all functions: calls that are answered, and those
// that are refused.
func (s *Server) demoSeries(projectID, region string) (all []demoSeries) {
	s.mu.Lock()
	defer s.mu.Unlock()
	bursts := slices.Clone(s.account.Bursts)
	for _, p := range s.account.Projects {
		for n := range p.Namespaces {
			ns := &p.Namespaces[n]
			if p.ID != projectID || ns.Region != region {
				continue
			}
			for _, f := range ns.Functions {
				labels := map[string]string{
					"__name__": demoMetric, "resource_id": f.ID, "resource_name": slug(ns) + "-" + f.Name, "resource_type": "serverless_function", "region": region,
				}
				with := func(code string) map[string]string {
					own := maps.Clone(labels)
					own["code"] = code
					return own
				}
				all = append(all,
					demoSeries{with("200"), func(at time.Time) float64 { return float64(at.Unix() % 86400 / 10) }},
					demoSeries{with("403"), func(at time.Time) (calls float64) {
						for _, b := range bursts {
							if b.FunctionID == f.ID {
								calls += b.calls(at)
							}
						}
						return float64(int(calls))
					}})
			}
		}
	}
	return all
}

func (s *Server) demoSamples(w http.ResponseWriter, projectID, region string, refusedOnly bool, end time.Time, window time.Duration) {
	var results []object
	for _, series := range s.demoSeries(projectID, region) {
		if refusedOnly && series.labels["code"] != "403" {
			continue
		}
		var values [][2]any
		for at := end.Add(-window).Truncate(demoSpacing).Add(demoSpacing); !at.After(end); at = at.Add(demoSpacing) {
			values = append(values, [2]any{at.Unix(), fmt.Sprint(series.value(at))})
		}
		results = append(results, object{"metric": series.labels, "values": values})
	}
	success(w, object{"resultType": "matrix", "result": results})
}

// Line is one that the gateway logs about a call that it refuses.
type Line struct {
	FunctionID, Code string
	At               time.Time
}

// linesWindow is the range in a query that counts such lines by function and
// code.
var linesWindow = regexp.MustCompile(`^sum by \(resource_id, code\) \(count_over_time\(\{resource_type="serverless_function"\} .*\[(\d+)s\]\)\)$`)

// FixedLogs answers the built-in query of a Loki that holds lines.
func FixedLogs(lines func() []Line) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query := r.URL.Query()
		asked := linesWindow.FindStringSubmatch(query.Get("query"))
		if r.URL.Path != "/loki/api/v1/query" {
			http.Error(w, "404 page not found", http.StatusNotFound)
			return
		}
		if asked == nil {
			http.Error(w, "parse error at line 1, col 1: the simulator answers scwatch's own questions only", http.StatusBadRequest)
			return
		}
		seconds, _ := strconv.Atoi(asked[1])
		at, _ := strconv.ParseFloat(query.Get("time"), 64)
		end := time.UnixMilli(int64(at*1000 + 0.5))
		found := map[[2]string]int{}
		for _, line := range lines() {
			if line.At.After(end.Add(-time.Duration(seconds)*time.Second)) && !line.At.After(end) {
				found[[2]string{line.FunctionID, line.Code}]++
			}
		}
		results := []object{}
		for of, n := range found {
			results = append(results, object{"metric": object{"resource_id": of[0], "code": of[1]}, "value": [2]any{at, strconv.Itoa(n)}})
		}
		success(w, object{"resultType": "vector", "result": results})
	})
}

// success answers as both Prometheus and Loki do.
func success(w http.ResponseWriter, data any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(object{"status": "success", "data": data})
}

package collector

import (
	"cmp"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/scwatch/scwatch/internal/config"
	"github.com/scwatch/scwatch/internal/simulator"
)

// What panels may ask, and what of it counts rejected calls.
func TestPanels(t *testing.T) {
	const rate = `sum by (resource_name) (serverless_function_requests_per_second{resource_id=~"$resource_id"})`
	for name, test := range map[string]struct {
		expr, unit                string
		metric, label, shape, ask string
		scale                     float64
	}{
		"the rate of a counter": {
			expr:   `sum by (code) (rate(scw_function_calls_total{resource_id=~"$resource_id", region="${region}"}[$__rate_interval]))`,
			metric: "scw_function_calls_total", label: "code", shape: shapeCounter,
			ask: `scw_function_calls_total{code=~"401|403",resource_id!=""}[$window]`,
		},
		"a share that is worked out of a counter": {
			expr:   `100 * sum by (status_code) (increase(calls{resource_type="serverless_function", resource_id="$id"}[${__interval}])) / ignoring(status_code) group_left sum(increase(calls[5m]))`,
			unit:   "percent",
			metric: "calls", label: "status_code", shape: shapeCounter,
			ask: `calls{resource_id!="",resource_type="serverless_function",status_code=~"401|403"}[$window]`,
		},
		"calls a second": {
			expr:   `sum by (response_code) (serverless_function_responses_per_second{resource_name="[[function]]"})`,
			metric: "serverless_function_responses_per_second", label: "response_code", shape: shapeRate,
			ask: `serverless_function_responses_per_second{resource_id!="",response_code=~"401|403"}[$window]`,
		},
		"calls a second, by the unit": {
			expr: `avg by (code) (serverless_function_responses)`, unit: "reqps",
			metric: "serverless_function_responses", label: "code", shape: shapeRate,
			ask: `serverless_function_responses{code=~"401|403",resource_id!=""}[$window]`,
		},
		"a percentage": {
			expr: `avg by (code) (serverless_function_response_status_code_percentage{resource_id=~"$resource_id"})`, unit: "percent",
			metric: "serverless_function_response_status_code_percentage", label: "code", shape: shapePercentage, scale: 0.01,
			ask: `{__name__=~"serverless_function_response_status_code_percentage|serverless_function_requests_per_second",code=~"401|403|",resource_id!=""}[$window]`,
		},
		"a part of one": {
			expr: `avg by (code) (serverless_function_response_status)`, unit: "percentunit",
			metric: "serverless_function_response_status", label: "code", shape: shapePercentage, scale: 1,
			ask: `{__name__=~"serverless_function_response_status|serverless_function_requests_per_second",code=~"401|403|",resource_id!=""}[$window]`,
		},
		"a label that the legend names": {
			expr:   `rate(calls_total{resource_id="$id"}[5m])`,
			metric: "calls_total", label: "code", shape: shapeCounter,
			ask: `calls_total{code=~"401|403",resource_id!=""}[$window]`,
		},
		"a label that a matcher names": {
			expr:   `sum(rate(calls_total{status=~"4.."}[5m]))`,
			metric: "calls_total", label: "status", shape: shapeCounter,
			ask: `calls_total{resource_id!="",status=~"401|403"}[$window]`,
		},
		"not PromQL":       {expr: `SELECT * FROM calls`},
		"of unknown shape": {expr: `sum by (code) (some_gauge)`},
	} {
		t.Run(name, func(t *testing.T) {
			var board dashboard
			if err := json.Unmarshal(simulator.FunctionsDashboard(test.expr, test.unit, rate), &board); err != nil {
				t.Fatal(err)
			}
			found := slices.DeleteFunc(board.candidates(), func(c candidate) bool { return c.status.name == "serverless_function_status" })
			if test.metric == "" {
				if len(found) > 0 {
					t.Errorf("found %+v", found)
				}
				return
			}
			if len(found) == 0 {
				t.Fatal("nothing was found")
			}
			c := found[0]
			ask, codes := c.query(test.label, []string{"200", "403"})
			if c.status.name != test.metric || c.label != test.label || c.shape != test.shape || c.scale != test.scale || ask != test.ask || !slices.Equal(codes, exactCodes) {
				t.Errorf("found %+v, which asks\n%s\nwant\n%s", c, ask, test.ask)
			}
		})
	}
}

func TestStatusLabel(t *testing.T) {
	for name, test := range map[string]struct {
		series []map[string]string
		label  string
		values []string
		codes  []string
	}{
		"a code":                          {[]map[string]string{{"code": "200"}, {"code": "403"}, {"code": "200"}}, "code", []string{"200", "403"}, exactCodes},
		"a class":                         {[]map[string]string{{"class": "2XX"}, {"class": "4XX"}}, "class", []string{"2xx", "4xx"}, classCodes},
		"a status that is none of HTTP's": {[]map[string]string{{"status": "error"}, {"status": "ready"}}, "", nil, nil},
		"one of them beside the other":    {[]map[string]string{{"status": "ready", "status_code": "200"}}, "status_code", []string{"200"}, exactCodes},
		"nothing":                         {nil, "", nil, nil},
	} {
		label, values := statusLabel(test.series, "")
		if label != test.label || !slices.Equal(values, test.values) {
			t.Errorf("%s: %s %v", name, label, values)
		}
		if label != "" {
			if _, codes := (candidate{}).query(label, values); !slices.Equal(codes, test.codes) {
				t.Errorf("%s: codes %v", name, codes)
			}
		}
	}
}

// steady has one function's calls refused at one a second, with a sample each
// 15 s over the last half hour.
func steady(e *engine, metric, label, code string, value func(second int) float64, function string, end time.Time) {
	for at := end.Add(-30 * time.Minute); !at.After(end); at = at.Add(15 * time.Second) {
		labels := map[string]string{"__name__": metric}
		if function != "" {
			labels["resource_id"] = function
		}
		if label != "" {
			labels[label] = code
		}
		e.write([]written{{labels, at, value(int(at.Sub(end.Add(-30*time.Minute)) / time.Second))}})
	}
}

func counting(second int) float64 { return float64(second) }

func constant(value float64) func(int) float64 { return func(int) float64 { return value } }

// Each way of discovery, with a real engine behind it: what is used, and that
// it counts a call a second.
func TestDiscovery(t *testing.T) {
	const dashboardOf = `Scaleway's dashboard scw-serverless-functions-overview`
	for name, test := range map[string]struct {
		write     func(e *engine, function string, end time.Time)
		dashboard json.RawMessage
		uid       string // another than the expected one
		refuse    bool   // Grafana does
		code      string // empty: nothing is found
		foundBy   string
	}{
		"a dashboard names what no name would tell": {
			write: func(e *engine, f string, end time.Time) {
				steady(e, "scw_fnc_http", "http_status", "403", counting, f, end)
				steady(e, "serverless_function_status", "status", "ready", constant(1), f, end)
			},
			dashboard: simulator.FunctionsDashboard(`sum by (http_status) (rate(scw_fnc_http{resource_id="$id"}[5m]))`, "reqps", "x"),
			code:      "403", foundBy: dashboardOf,
		},
		"a dashboard of another uid": {
			write:     func(e *engine, f string, end time.Time) { steady(e, "scw_fnc_http", "code", "401", counting, f, end) },
			dashboard: simulator.FunctionsDashboard(`rate(scw_fnc_http[5m])`, "reqps", "x"), uid: "scw-functions",
			code: "401", foundBy: "Scaleway's dashboard",
		},
		"a dashboard of percentages": {
			write: func(e *engine, f string, end time.Time) {
				steady(e, "scw_fnc_share", "code", "403", constant(25), f, end)
				steady(e, "scw_fnc_share", "", "", constant(100), f, end) // of all together
				steady(e, "scw_fnc_requests_per_second", "", "", constant(4), f, end)
			},
			dashboard: simulator.FunctionsDashboard(`avg by (code) (scw_fnc_share)`, "percent", "sum(scw_fnc_requests_per_second)"),
			code:      "403", foundBy: dashboardOf,
		},
		"the names of series, where the dashboard knows nothing": {
			write: func(e *engine, f string, end time.Time) {
				steady(e, "serverless_function_status", "status", "ready", constant(1), f, end)
				steady(e, "serverless_function_responses_total", "code", "403", counting, f, end)
				steady(e, "serverless_function_responses_total", "code", "403", counting, "", end) // of all together
			},
			dashboard: simulator.FunctionsDashboard(`sum by (code) (gone_total)`, "", "x"),
			code:      "403", foundBy: "the names of its series",
		},
		"the names of series, where Grafana refuses": {
			write: func(e *engine, f string, end time.Time) {
				steady(e, "serverless_function_responses_per_second", "response_code", "403", constant(1), f, end)
			},
			refuse: true, code: "403", foundBy: "the names of its series",
		},
		"a class only": {
			write: func(e *engine, f string, end time.Time) {
				steady(e, "serverless_function_requests_total", "status", "4xx", counting, f, end)
				steady(e, "serverless_function_requests_total", "status", "2xx", counting, f, end)
			},
			code: "4xx", foundBy: "the names of its series",
		},
		"nothing but the status of functions": {
			write: func(e *engine, f string, end time.Time) {
				steady(e, "serverless_function_status", "status", "error", constant(1), f, end)
				steady(e, "serverless_function_requests_per_second", "", "", constant(4), f, end)
			},
		},
		"calls of nobody": {
			write: func(e *engine, _ string, end time.Time) {
				e.write([]written{{map[string]string{"__name__": "serverless_function_requests_total", "code": "403"}, end, 1}})
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := startEngine(t)
			s := newStand(t, func(a *simulator.Account) {
				a.Storages[scalewayMetricsID] = e.handler()
				if test.dashboard != nil {
					a.Dashboards[simulator.DemoHome] = map[string]json.RawMessage{cmp.Or(test.uid, simulator.ScalewayFunctionsDashboard): test.dashboard}
				}
			})
			if test.refuse {
				s.sim.Fault(simulator.Fault{Path: "/grafana/", Kind: simulator.Denied})
			}
			now := time.Now()
			test.write(e, s.functions[0].ID, now)
			begin := now.Add(-20 * time.Minute)
			var found *RejectedCalls
			for at := begin; at.Before(now.Add(time.Minute)); at = at.Add(time.Minute) {
				asked := s.requests.Load()
				var err error
				if found, err = s.at(at); err != nil {
					t.Fatal(err)
				}
				if n := s.requests.Load() - asked; n > callsAPoll {
					t.Errorf("%d calls in one poll", n)
				}
			}
			if test.code == "" {
				if found.Source != sourceOfNone || len(found.Counts) > 0 {
					t.Fatalf("found %+v", found)
				}
				return
			}
			if found.Source != sourceOfMetrics {
				t.Fatalf("the source is %q\n%s", found.Source, s.log)
			}
			m := s.poll.tally.Method
			if !strings.HasPrefix(m.FoundBy, test.foundBy) {
				t.Errorf("found by %q, want %q", m.FoundBy, test.foundBy)
			}
			counted := s.poll.tally.Counted.Sub(begin.Add(-2 * time.Minute)).Seconds()
			if got := found.Counts[s.functions[0].ID][test.code]; got < counted-150 || got > counted+15 {
				t.Errorf("counted %g in %g seconds with one a second\n%s", got, counted, m.Query)
			}
			for _, f := range s.functions[1:] {
				want := map[string]float64{"401": 0, "403": 0}
				if test.code == "4xx" {
					want = map[string]float64{"4xx": 0}
				}
				if got := found.Counts[f.ID]; len(got) != len(want) || got["403"] != 0 {
					t.Errorf("a function without such calls has %v", got)
				}
			}
			if n := strings.Count(s.log.String(), "the source of rejected calls"); n != 1 {
				t.Errorf("the source is told %d times", n)
			}
		})
	}
}

// What makes a place one without a source: nothing fails, and nothing is asked
// that need not be.
func TestNoSource(t *testing.T) {
	for name, test := range map[string]struct {
		account func(*simulator.Account)
		stand   func(*stand)
		calls   int64
	}{
		"no function":        {nil, func(s *stand) { s.functions = []Function{} }, 0},
		"no Cockpit":         {func(a *simulator.Account) { a.Projects[0].DataSources = nil }, nil, 1},
		"no data of its own": {func(a *simulator.Account) { a.Projects[0].DataSources = a.Projects[0].DataSources[:1] }, nil, 1},
		"no logs of its own": {func(a *simulator.Account) { a.Projects[0].DataSources = a.Projects[0].DataSources[:2] },
			func(s *stand) { s.config.Source = config.SourceLogs; s.start() }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStand(t, test.account)
			if test.stand != nil {
				test.stand(s)
			}
			found, err := s.at(time.Now())
			if err != nil || found.Source != sourceOfNone || len(found.Counts) > 0 {
				t.Errorf("found %+v, error %v", found, err)
			}
			if n := s.requests.Load(); n != test.calls {
				t.Errorf("%d calls, want %d", n, test.calls)
			}
		})
	}
}

// A source that is in use stays while it is silent, or while what might be
// better cannot be read; it ends with its data source, or with its functions.
func TestSourceStays(t *testing.T) {
	e := startEngine(t)
	empty := startEngine(t)
	s := newStand(t, func(a *simulator.Account) { a.Storages[scalewayMetricsID] = e.handler() })
	now := time.Now()
	steady(e, "serverless_function_requests_total", "code", "403", counting, s.functions[0].ID, now)
	poll := func(at time.Time) *RejectedCalls {
		t.Helper()
		found, err := s.at(at)
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	for at := now.Add(-20 * time.Minute); at.Before(now); at = at.Add(time.Minute) {
		poll(at)
	}
	before := poll(now).Counts[s.functions[0].ID]["403"]
	if before == 0 {
		t.Fatal("nothing is counted")
	}
	s.sim.Update(func(a *simulator.Account) { a.Storages[scalewayMetricsID] = empty.handler() })
	for minute := range 40 {
		found := poll(now.Add(time.Duration(minute) * time.Minute))
		if found.Source != sourceOfMetrics || found.Counts[s.functions[0].ID]["403"] < before {
			t.Fatalf("minute %d: %+v", minute, found)
		}
	}
	// A function that is deleted ends; one that appears begins at zero.
	gone := s.functions[0]
	s.functions = append(s.functions[1:], Function{ID: "new"})
	later := now.Add(41 * time.Minute)
	if found := poll(later); found.Counts[gone.ID] != nil || found.Counts["new"] == nil || found.Counts["new"]["403"] != 0 {
		t.Errorf("after a deletion and a creation: %v", found.Counts)
	}
	s.sim.Update(func(a *simulator.Account) { a.Projects[0].DataSources = a.Projects[0].DataSources[:1] })
	if found := poll(later.Add(2 * time.Minute)); found.Source != sourceOfNone || len(found.Counts) > 0 {
		t.Errorf("without its data source there still is %+v", found)
	}
	if n := strings.Count(s.log.String(), "the source of rejected calls"); n != 2 {
		t.Errorf("the source is told %d times\n%s", n, s.log)
	}
}

// What a data source may answer to a query, and what is said about it.
func TestBadAnswers(t *testing.T) {
	const query = `sum by (resource_id, code) (increase(calls[$window]))`
	vector := func(results string) string {
		return `{"status":"success","data":{"resultType":"vector","result":[` + results + `]}}`
	}
	for name, test := range map[string]struct {
		status int
		body   string
		logs   bool
		want   []string
	}{
		"no resource_id":      {200, vector(`{"metric":{"code":"403"},"value":[1,"1"]}`), false, []string{"without the label resource_id"}},
		"no code":             {200, vector(`{"metric":{"resource_id":"a"},"value":[1,"1"]}`), false, []string{"without the label code"}},
		"a code that is none": {200, vector(`{"metric":{"resource_id":"a","code":"forbidden"},"value":[1,"1"]}`), false, []string{`code="forbidden"`, "such as 403"}},
		"a matrix":            {200, `{"status":"success","data":{"resultType":"matrix","result":[]}}`, false, []string{"returns a matrix", "expected"}},
		"a scalar":            {200, `{"status":"success","data":{"resultType":"scalar","result":[1,"2"]}}`, false, []string{"not one of a data source"}},
		"NaN":                 {200, vector(`{"metric":{"resource_id":"a","code":"403"},"value":[1,"NaN"]}`), false, []string{"NaN"}},
		"infinite":            {200, vector(`{"metric":{"resource_id":"a","code":"403"},"value":[1,"+Inf"]}`), false, []string{"infinite"}},
		"negative":            {200, vector(`{"metric":{"resource_id":"a","code":"403"},"value":[1,"-1"]}`), false, []string{"negative value (-1)"}},
		"duplicates": {200, vector(`{"metric":{"resource_id":"a","code":"403"},"value":[1,"1"]},{"metric":{"resource_id":"a","code":"403","x":"y"},"value":[1,"1"]}`), false,
			[]string{"more than one series for resource_id a and code 403", "sum by (resource_id, code)"}},
		"an error of the engine":  {400, `{"status":"error","errorType":"bad_data","error":"unknown function \"incrase\""}`, false, []string{"400", `unknown function "incrase"`}},
		"an error of Loki":        {400, "parse error at line 1, col 15: syntax error: unexpected IDENTIFIER\n", true, []string{"400", "parse error at line 1, col 15: syntax error: unexpected IDENTIFIER"}},
		"a page":                  {200, `<html><body>Log in</body></html>`, false, []string{"not one of a data source"}},
		"a page that is an error": {502, `<html><body>Bad gateway</body></html>`, false, []string{"502: Bad Gateway"}},
		"refused":                 {403, "Forbidden", false, []string{"403", "ObservabilityReadOnly in this project", "read_only_metrics", "rejected_calls.token_files"}},
		"refused by the logs":     {401, "Unauthorized", true, []string{"401", "read_only_logs"}},
		"an error with success":   {200, `{"status":"error","error":"too many samples"}`, false, []string{"too many samples"}},
		"half a point":            {200, vector(`{"metric":{"resource_id":"a","code":"403"},"value":[1]}`), false, []string{"not one of a data source"}},
	} {
		t.Run(name, func(t *testing.T) {
			id := scalewayMetricsID
			if test.logs {
				id = scalewayLogsID
			}
			s := newStand(t, func(a *simulator.Account) {
				a.Storages[id] = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if test.status == 200 && strings.Contains(r.URL.Query().Get("query"), "calls[1200s]") { // the spacing is asked
						w.Write([]byte(`{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[1,"1"],[61,"1"]]}]}}`))
						return
					}
					w.WriteHeader(test.status)
					w.Write([]byte(test.body))
				})
			})
			if test.logs {
				s.config.Source, s.config.LogsQuery = config.SourceLogs, `sum by (resource_id, code) (count_over_time({a="b"}[$window]))`
			} else {
				s.config.MetricsQuery = query
			}
			s.start()
			var err error
			now := time.Now()
			for n := 0; n < 10 && err == nil; n++ {
				_, err = s.at(now.Add(time.Duration(n) * time.Minute))
			}
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not say %q", err, want)
				}
			}
			if strings.Contains(err.Error(), simulator.DemoSecretKey) {
				t.Error("the error holds the key")
			}
		})
	}
}

// While a discovery fails it fails at every poll, wherever it begins anew; and
// what it learned long ago is not held for true.
func TestDiscoveryThatFails(t *testing.T) {
	e := startEngine(t)
	down := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "not now", http.StatusTeapot) })
	s := newStand(t, func(a *simulator.Account) { a.Storages[scalewayMetricsID] = down })
	now := time.Now()
	steady(e, "serverless_function_requests_total", "code", "403", counting, s.functions[0].ID, now)
	at := now.Add(-50 * time.Minute)
	if _, err := s.at(at); err != nil {
		t.Fatal(err)
	}
	for minute := 1; minute < 40; minute++ {
		if _, err := s.at(at.Add(time.Duration(minute) * time.Minute)); err == nil || !strings.Contains(err.Error(), "418") {
			t.Fatalf("minute %d: error %v", minute, err)
		}
	}
	s.sim.Update(func(a *simulator.Account) { // another one in its place
		a.Storages["dddddddd-0000-4000-8000-00000000000f"] = e.handler()
		a.Projects[0].DataSources[1].ID = "dddddddd-0000-4000-8000-00000000000f"
	})
	var found *RejectedCalls
	for minute := 40; minute < 60; minute++ {
		found, _ = s.at(at.Add(time.Duration(minute) * time.Minute))
	}
	if found == nil || found.Source != sourceOfMetrics {
		t.Errorf("found %+v\n%s", found, s.log)
	}
	// A discovery that fails takes nothing from a source that works.
	off := s.sim.Fault(simulator.Fault{Path: "/cockpit/v1/", Kind: simulator.Denied})
	defer off()
	for minute := 60; minute < 90; minute++ {
		if found, err := s.at(at.Add(time.Duration(minute) * time.Minute)); err != nil || found.Source != sourceOfMetrics {
			t.Fatalf("minute %d: %+v, error %v", minute, found, err)
		}
	}
	if n := strings.Count(s.log.String(), "not all that may tell"); n != 1 {
		t.Errorf("the failure is told %d times", n)
	}
}

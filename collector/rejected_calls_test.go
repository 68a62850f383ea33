package collector

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scwatch/scwatch/internal/config"
	"github.com/scwatch/scwatch/internal/simulator"
)

// asDemo counts rejected calls as the demo does.
func asDemo(w *world) {
	w.settings.Interval, w.settings.SlowInterval = 10*time.Second, time.Minute
	w.rejected = config.RejectedCalls{Source: config.SourceAuto, Delay: 10 * time.Second}
}

const paymentsID = "bbbbbbbb-0000-4000-8000-000000000002"

// The demo's burst of refused calls, from the simulated Cockpit to the metric
// and on into a real Prometheus: the alert's expression is true while it lasts,
// for that function alone.
func TestDemoBurst(t *testing.T) {
	var scraped []written
	var begin time.Time
	synctest.Test(t, func(t *testing.T) {
		account := simulator.DemoAccount(time.Now())
		payments := account.Project(paymentsID) // has a Cockpit in one region
		payments.DataSources = slices.DeleteFunc(payments.DataSources, func(d simulator.DataSource) bool { return d.Region != "fr-par" })
		w := newWorld(t, account, asDemo)
		w.run()
		defer w.play()()
		begin = time.Now()
		for range 28 { // seven minutes
			metrics := w.after(15 * time.Second)
			families, err := w.exposition.Gather()
			if err != nil {
				t.Fatal(err)
			}
			for _, family := range families {
				if family.GetName() != "scaleway_function_rejected_calls_total" {
					continue
				}
				for _, m := range family.Metric {
					labels := map[string]string{"__name__": family.GetName()}
					for _, pair := range m.Label {
						labels[pair.GetName()] = pair.GetValue()
					}
					scraped = append(scraped, written{labels, time.Now(), m.Counter.GetValue()})
				}
			}
			if passed := time.Since(begin); passed > 45*time.Second && passed < 75*time.Second {
				w.expect(metrics,
					`scwatch_rejected_calls_source{project_id="`+paymentsID+`",region="fr-par",source="metrics"} 1`,
					`scwatch_rejected_calls_source{project_id="`+paymentsID+`",region="nl-ams",source="none"} 1`,
					`scwatch_rejected_calls_source{project_id="`+simulator.DemoHome+`",region="nl-ams",source="none"} 1`,
					`scwatch_poll_up{project_id="`+paymentsID+`",region="fr-par",source="rejected_calls"} 1`,
					`scwatch_poll_up{project_id="`+paymentsID+`",region="pl-waw",source="rejected_calls"} 1`,
					`scaleway_function_rejected_calls_total{function="refunds",code="403",source="metrics"} 0`,
					`scaleway_function_rejected_calls_total{function="refunds",code="401",source="metrics"} 0`,
					`scaleway_function_rejected_calls_total{function="cart",code="403",source="metrics"} 0`,
					`not scaleway_function_rejected_calls_total{function="export"}`,
					`scwatch_rejected_calls_uncounted_seconds_total{project_id="`+paymentsID+`",region="fr-par"} 0`)
			}
		}
		w.expect(w.after(0),
			`scaleway_function_rejected_calls_total{function="refunds",code="403",source="metrics"} 600`,
			`scaleway_function_rejected_calls_total{function="refunds",code="401",source="metrics"} 0`,
			`scaleway_function_rejected_calls_total{function="cart",code="403",source="metrics"} 0`)
		if n := strings.Count(w.log.String(), `msg="the source of rejected calls"`); n != 9 {
			t.Errorf("the sources of nine places are told %d times", n)
		}
	})
	e := startEngine(t)
	shift := time.Now().Add(-10 * time.Minute).Sub(begin)
	for i := range scraped {
		scraped[i].at = scraped[i].at.Add(shift)
	}
	e.write(scraped)
	// As the burst begins after a minute and a half, lasts two, and shows within one.
	const expression = `sum by (function) (increase(scaleway_function_rejected_calls_total{code=~"401|403"}[2m])) > 50`
	for _, test := range []struct {
		after time.Duration
		true  []string
	}{
		{80 * time.Second, nil},
		{3 * time.Minute, []string{"refunds"}},
		{4 * time.Minute, []string{"refunds"}},
		{7 * time.Minute, nil},
	} {
		got := e.ask(expression, begin.Add(shift).Add(test.after))
		if fmt.Sprint(got) != fmt.Sprint(test.true) {
			t.Errorf("after %s the alert is true for %v, want %v", test.after, got, test.true)
		}
	}
}

// ask returns the functions in the answer of an instant query.
func (e *engine) ask(query string, at time.Time) (functions []string) {
	e.t.Helper()
	resp, err := http.Get(e.base + "/api/v1/query?" + url.Values{"query": {query}, "time": {strconv.FormatInt(at.Unix(), 10)}}.Encode())
	if err != nil {
		e.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	var answer struct {
		Data struct {
			Result []struct{ Metric map[string]string }
		}
	}
	if err := json.Unmarshal(body, &answer); err != nil || resp.StatusCode != 200 {
		e.t.Fatalf("%s: %s", resp.Status, body)
	}
	for _, r := range answer.Data.Result {
		functions = append(functions, r.Metric["function"])
	}
	return functions
}

// An alert on the increase of the metric sees no more than twice of what there
// was, however long Cockpit was away: what was missed comes in steps. What is
// too old is lost, and counted.
func TestOutageIsNoSpike(t *testing.T) {
	for _, test := range []struct {
		away, lost time.Duration
	}{
		{50 * time.Minute, 0},
		{5 * time.Hour, 3 * time.Hour},
	} {
		inWorld(t, func(t *testing.T, w *world) {
			w.sim.Update(func(a *simulator.Account) { a.Knock("shop", "refunds", 2, time.Now(), 24*time.Hour) })
			w.run()
			w.after(20 * time.Minute)
			off := w.sim.Fault(simulator.Fault{Path: "/data-sources/", Kind: simulator.TooManyRequests, RetryAfter: "3600"})
			metrics := w.after(test.away)
			w.expect(metrics, `scwatch_poll_up{project_id="`+paymentsID+`",region="fr-par",source="rejected_calls"} 0`)
			off()
			before, _ := valueOf(w.after(time.Minute), `scaleway_function_rejected_calls_total{function="refunds",code="403"`)
			for minute := range 200 {
				after, there := valueOf(w.after(time.Minute), `scaleway_function_rejected_calls_total{function="refunds",code="403"`)
				if !there {
					t.Fatal("it is not there")
				}
				if gained := after - before; gained < 0 || gained > 2*2*60*2 {
					t.Fatalf("after %s away, minute %d: %g calls in a minute that has 120", test.away, minute, gained)
				}
				before = after
			}
			// 2 a second from the first window on, but for what was lost.
			truth := 2 * (test.away + 20*time.Minute + 202*time.Minute - test.lost).Seconds()
			if math.Abs(before-truth) > 2*60*8 {
				t.Errorf("after %s away: %g calls are counted, there were %g", test.away, before, truth)
			}
			lost, _ := valueOf(w.after(0), `scwatch_rejected_calls_uncounted_seconds_total{project_id="`+paymentsID+`",region="fr-par"`)
			if math.Abs(lost-test.lost.Seconds()) > 300 {
				t.Errorf("after %s away: %g seconds are lost, want %g", test.away, lost, test.lost.Seconds())
			}
		}, func(w *world) {
			w.rejected = config.RejectedCalls{Source: config.SourceAuto, Delay: 2 * time.Minute}
			w.settings.Projects = []string{paymentsID}
			w.settings.Regions = []string{"fr-par"}
		})
	}
}

// valueOf returns the value of the series that begins with name and has all the
// labels after it.
func valueOf(metrics, series string) (value float64, there bool) {
	name, labels, _ := strings.Cut(series, "{")
lines:
	for line := range strings.Lines(metrics) {
		if !strings.HasPrefix(line, name+"{") {
			continue
		}
		for label := range strings.SplitSeq(labels, ",") {
			if !strings.Contains(line, label) {
				continue lines
			}
		}
		value, err := strconv.ParseFloat(strings.TrimSpace(line[strings.LastIndex(line, " "):]), 64)
		return value, err == nil
	}
	return 0, false
}

// Switched off, there is neither a unit nor a metric of it.
func TestRejectedCallsOff(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.run()
		metrics := w.after(5 * time.Minute)
		for _, absent := range []string{"scwatch_rejected_calls_source{", "rejected_calls_total{", `source="rejected_calls"`, `source="probe"`} {
			if strings.Contains(metrics, absent) {
				t.Errorf("there is %s", absent)
			}
		}
	})
}

// A query of the user's own wins over what would be discovered, and is asked
// with the window in it.
func TestQueriesOfTheUsersOwn(t *testing.T) {
	e := startEngine(t)
	s := newStand(t, func(a *simulator.Account) { a.Storages[scalewayMetricsID] = e.handler() })
	now := time.Now()
	steady(e, "serverless_function_requests_total", "code", "403", counting, s.functions[0].ID, now)
	steady(e, "own_calls", "why", "token", counting, s.functions[1].ID, now)
	s.config.MetricsQuery = `label_replace(sum by (resource_id) (increase(own_calls{why="token"}[$window])), "code", "401", "", "")`
	s.start()
	var found *RejectedCalls
	for at := now.Add(-20 * time.Minute); at.Before(now); at = at.Add(time.Minute) {
		var err error
		if found, err = s.at(at); err != nil {
			t.Fatal(err)
		}
	}
	if got := found.Counts[s.functions[1].ID]["401"]; got < 900 || got > 1200 {
		t.Errorf("counted %g in some 1100 seconds with one a second", got)
	}
	if got := found.Counts[s.functions[0].ID]["403"]; got != 0 {
		t.Errorf("what would be discovered is counted as well: %g", got)
	}
	// The configuration is changed: what is in the state file is not used on.
	s.config.MetricsQuery = ""
	s.start()
	if _, err := s.at(now); err != nil || s.poll.tally.Method != nil && s.poll.tally.Method.Shape == shapeCount {
		t.Errorf("the query that is no longer configured is asked on (error %v)", err)
	}
}

// When the source changes, the count goes on where the other one ended: no call
// is counted by both, and none by neither.
func TestChangeOfSource(t *testing.T) {
	e := startEngine(t)
	store := newFixedLoki()
	s := newStand(t, func(a *simulator.Account) {
		a.Storages[scalewayMetricsID] = e.handler()
		a.Storages[scalewayLogsID] = store
	})
	function := s.functions[0].ID
	now := time.Now().Truncate(time.Minute)
	begin := now.Add(-30 * time.Minute)
	steady(e, "serverless_function_requests_total", "code", "403", counting, function, now)
	for at := begin; at.Before(now); at = at.Add(time.Second) {
		store.push([]logged{{simulator.Line{FunctionID: function, Code: "403", At: at}, "", true}})
	}
	s.start()
	sources := []string{config.SourceMetrics, config.SourceLogs, config.SourceMetrics, config.SourceAuto, config.SourceLogs}
	var first time.Time
	for minute := range 25 {
		if minute%5 == 0 {
			s.config.Source = sources[minute/5]
			s.start()
		}
		found, err := s.at(begin.Add(time.Duration(minute+3) * time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		if want := s.config.Source; want != config.SourceAuto && minute%5 > 2 && found.Source != want {
			t.Errorf("minute %d: the source is %s, want %s", minute, found.Source, want)
		}
		if first.IsZero() {
			first = s.poll.tally.Counted
		}
	}
	sum := 0.0
	for _, source := range []string{sourceOfMetrics, sourceOfLogs} {
		sum += s.poll.tally.Totals[source][function]["403"]
	}
	want := s.poll.tally.Counted.Sub(first).Seconds()
	if want < 1200 || math.Abs(sum-want) > 15*float64(len(sources)) {
		t.Errorf("all sources together counted %g, there were %g", sum, want)
	}
}

// A token of a project and region is sent in the place of the key, as it is in
// its file at the time; what it lacks is said.
func TestTokenFiles(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	write := func(token string) {
		if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var seen []http.Header
	s := newStand(t, func(a *simulator.Account) {
		a.CockpitTokens = []string{"token-1", "token-2"}
		a.Storages[scalewayLogsID] = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			seen = append(seen, r.Header)
			w.Write([]byte(`{"status":"success","data":{"resultType":"vector","result":[]}}`))
		})
	})
	s.config.Source = config.SourceLogs
	s.config.TokenFiles = map[string]string{simulator.DemoHome + "/fr-par": file}
	write("token-1")
	s.start()
	now := time.Now()
	poll := func(minute int) error {
		_, err := s.at(now.Add(time.Duration(minute) * time.Minute))
		return err
	}
	poll(0)
	for minute, test := range []struct{ token, want string }{
		{"token-1", ""},
		{"token-2", ""},
		{"token-3", "401: Unauthorized"},
		{"", "it is empty"},
	} {
		write(test.token)
		seen = nil
		err := poll(minute + 1)
		switch {
		case test.want == "" && (err != nil || len(seen) != 1 || seen[0].Get("X-Token") != test.token || seen[0].Get("X-Auth-Token") != ""):
			t.Errorf("%s: error %v, headers %v", test.token, err, seen)
		case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), file)):
			t.Errorf("%s: error %v, want one with %q and the file's name", test.token, err, test.want)
		case err != nil && test.token != "" && (strings.Contains(err.Error(), test.token) || !strings.Contains(err.Error(), "the scope read_only_logs")):
			t.Errorf("%s: error %v", test.token, err)
		}
	}
	os.Remove(file)
	if err := poll(6); err == nil || !strings.Contains(err.Error(), "no such file") || !strings.Contains(err.Error(), "rejected_calls.token_files") {
		t.Errorf("without the file: %v", err)
	}
}

// A series that was silent when counting began is not new when it comes back.
func TestSilentSeries(t *testing.T) {
	e := startEngine(t)
	s := newStand(t, func(a *simulator.Account) { a.Storages[scalewayMetricsID] = e.handler() })
	now := time.Now()
	calls := func(function string, at time.Time, value float64) {
		e.write([]written{{map[string]string{"__name__": "serverless_function_requests_total", "code": "403", "resource_id": function}, at, value}})
	}
	for minute := -50; minute < 0; minute++ {
		at := now.Add(time.Duration(minute) * time.Minute)
		if minute < -40 {
			calls(s.functions[0].ID, at, 5000)
		}
		if minute > -10 {
			calls(s.functions[0].ID, at, 5007)
			calls("deleted long ago", at, float64(minute+10))
		}
		calls(s.functions[1].ID, at, float64(minute+50))
	}
	var found *RejectedCalls
	for minute := -20; minute < 5; minute++ {
		var err error
		if found, err = s.at(now.Add(time.Duration(minute) * time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	if got := found.Counts[s.functions[0].ID]["403"]; got != 7 {
		t.Errorf("the series that came back brought %g, want 7", got)
	}
	if len(found.Counts) != len(s.functions) {
		t.Errorf("%d functions have counts, and %d there are", len(found.Counts), len(s.functions))
	}
}

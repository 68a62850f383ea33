package collector

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/scwatch/scwatch/internal/config"
	"github.com/scwatch/scwatch/internal/simulator"
)

// lokiVariable names a running Loki to test against, such as
// http://127.0.0.1:3100; its tests are skipped without.
const lokiVariable = "SCWATCH_TEST_LOKI"

// logStore is something that holds lines of logs.
type logStore interface {
	http.Handler
	push(all []logged)
}

// logged is a line, and whether the gateway wrote it.
type logged struct {
	simulator.Line
	text    string
	gateway bool
}

// fixedLoki is the simulator's.
type fixedLoki struct {
	http.Handler
	lines []simulator.Line
}

func newFixedLoki() *fixedLoki {
	l := &fixedLoki{}
	l.Handler = simulator.FixedLogs(func() []simulator.Line { return l.lines })
	return l
}

func (l *fixedLoki) push(all []logged) {
	for _, line := range all {
		if line.gateway {
			l.lines = append(l.lines, line.Line)
		}
	}
}

// realLoki has streams as Scaleway's: what a function prints has its instance
// and its stream in the structured metadata, what the gateway says has not.
type realLoki struct {
	http.Handler
	t    *testing.T
	base string
	test string // a label that keeps the tests' streams apart
}

func newRealLoki(t *testing.T) *realLoki {
	base := os.Getenv(lokiVariable)
	if base == "" {
		t.Skip(lokiVariable + " names no Loki")
	}
	target, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	return &realLoki{httputil.NewSingleHostReverseProxy(target), t, base, fmt.Sprint(rand.Uint64())}
}

func (l *realLoki) push(all []logged) {
	var streams []map[string]any
	for _, line := range all {
		metadata := map[string]string{}
		if !line.gateway {
			metadata = map[string]string{"resource_instance": "i-1", "stream": "stdout"}
		}
		streams = append(streams, map[string]any{
			"stream": map[string]string{"resource_type": "serverless_function", "resource_id": line.FunctionID, "region": "fr-par", "test": l.test},
			"values": [][]any{{fmt.Sprint(line.At.UnixNano()), line.text, metadata}},
		})
	}
	if len(streams) == 0 {
		return
	}
	body, _ := json.Marshal(map[string]any{"streams": streams})
	resp, err := http.Post(l.base+"/loki/api/v1/push", "application/json", bytes.NewReader(body))
	if err != nil {
		l.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		words, _ := io.ReadAll(resp.Body)
		l.t.Fatalf("loki refuses lines: %s: %s", resp.Status, words)
	}
}

// Hours of lines of which all are known, in the simulator and in a real Loki,
// with restarts, kills, late lines and outages: each is counted once.
func TestRejectedCallsInLogs(t *testing.T) {
	t.Run("simulator", func(t *testing.T) { testLogs(t, newFixedLoki(), 5) })
	t.Run("loki", func(t *testing.T) { testLogs(t, newRealLoki(t), 3) })
}

func testLogs(t *testing.T, store logStore, hours int) {
	var down atomic.Bool
	s := newStand(t, func(a *simulator.Account) {
		a.Storages[scalewayMetricsID] = http.HandlerFunc(noSeries)
		a.Storages[scalewayLogsID] = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if down.Load() {
				http.Error(w, "not now", http.StatusTeapot)
				return
			}
			store.ServeHTTP(w, r)
		})
	})
	for i := range s.functions { // a Loki that has run before has others' lines
		s.functions[i].ID = fmt.Sprintf("%08x-0000-4000-8000-%012x", rand.Uint32(), i)
	}
	random := rand.New(rand.NewPCG(8, 8))
	begin := time.Now().Add(-time.Duration(hours)*time.Hour - 10*time.Minute).Truncate(time.Second)
	want := counts{}
	var first time.Time
	var pending, all []logged // lines that have not arrived, and the gateway's that have
	minutes := hours * 60
	for minute := 0; minute < minutes+60; minute++ {
		now := begin.Add(time.Duration(minute) * time.Minute)
		for _, f := range s.functions {
			for n := random.IntN(8); n > 0 && minute < minutes; n-- {
				at := now.Add(-time.Duration(random.Int64N(int64(time.Minute))))
				code := []string{"401", "403"}[random.IntN(2)]
				pending = append(pending,
					logged{simulator.Line{FunctionID: f.ID, Code: code, At: at}, fmt.Sprintf(`"GET / HTTP/1.1" %s Forbidden: no valid token`, code), true},
					// A function's own lines, and lines of calls that were not refused, are none.
					logged{simulator.Line{FunctionID: f.ID, Code: code, At: at.Add(time.Microsecond)}, "upstream answered 403 Forbidden, token expired", false},
					logged{simulator.Line{FunctionID: f.ID, Code: code, At: at.Add(2 * time.Microsecond)}, `"GET /token HTTP/1.1" 200 OK`, true})
				if store, simulated := store.(*fixedLoki); simulated {
					_, pending = store, pending[:len(pending)-1] // it judges no text
				}
			}
		}
		late := time.Duration(random.Int64N(int64(100 * time.Second))) // less than the delay
		var arrived, rest []logged
		for _, line := range pending {
			if line.At.After(now.Add(-late)) {
				rest = append(rest, line)
			} else {
				arrived = append(arrived, line)
			}
		}
		store.push(arrived)
		pending = rest
		for _, line := range arrived {
			if line.gateway && strings.Contains(line.text, line.Code) {
				all = append(all, line)
			}
		}
		switch {
		case minute == 60:
			down.Store(true)
		case minute == 85:
			down.Store(false)
		case minute%50 == 27:
			s.start()
		case minute%50 == 41:
			s.kill()
		}
		found, err := s.at(now)
		if (err != nil) != down.Load() {
			t.Fatalf("minute %d: %v", minute, err)
		}
		if err != nil {
			continue
		}
		if first.IsZero() && !s.poll.tally.Counted.IsZero() {
			first = s.poll.tally.Counted
		}
		want = counts{}
		for _, line := range all {
			if !first.IsZero() && line.At.After(first) { // what came before is not counted
				want.add(line.FunctionID, line.Code, 1)
			}
		}
		for _, f := range s.functions {
			for _, code := range exactCodes {
				if got := found.Counts[f.ID][code]; got > want[f.ID][code] {
					t.Fatalf("minute %d: %s %s is ahead of the truth: %g of %g", minute, f.Name, code, got, want[f.ID][code])
				}
			}
		}
	}
	if first.IsZero() {
		t.Fatalf("logs are not used:\n%s", s.log)
	}
	for _, f := range s.functions {
		for _, code := range exactCodes {
			got := s.poll.tally.whole()[f.ID][code]
			t.Logf("%s %s: %g of %g", f.Name, code, got, want[f.ID][code])
			if got != want[f.ID][code] {
				t.Errorf("%s %s: counted %g, there were %g", f.Name, code, got, want[f.ID][code])
			}
		}
	}
}

// noSeries is a Scaleway Metrics that knows nothing of functions.
func noSeries(w http.ResponseWriter, _ *http.Request) {
	w.Write([]byte(`{"status":"success","data":[]}`))
}

// Logs are taken only where the gateway is seen to write its lines, unless they
// are asked for.
func TestLogsNeedALine(t *testing.T) {
	for _, test := range []struct {
		source string
		line   bool
		want   string
	}{
		{config.SourceAuto, false, sourceOfNone},
		{config.SourceAuto, true, sourceOfLogs},
		{config.SourceLogs, false, sourceOfLogs},
		{config.SourceMetrics, true, sourceOfNone},
	} {
		store := newFixedLoki()
		s := newStand(t, func(a *simulator.Account) {
			a.Storages[scalewayMetricsID] = http.HandlerFunc(noSeries)
			a.Storages[scalewayLogsID] = store
		})
		s.config.Source = test.source
		s.start()
		now := time.Now()
		if test.line {
			store.push([]logged{{simulator.Line{FunctionID: s.functions[0].ID, Code: "403", At: now.Add(-3 * time.Hour)}, "", true}})
		}
		var found *RejectedCalls
		for minute := range 5 {
			var err error
			if found, err = s.at(now.Add(time.Duration(minute) * time.Minute)); err != nil {
				t.Fatal(err)
			}
		}
		if found.Source != test.want {
			t.Errorf("%s with a line %v: %s", test.source, test.line, found.Source)
		}
	}
}

// What a real Loki says of a query that it refuses is what the user reads.
func TestLokisOwnWords(t *testing.T) {
	loki := newRealLoki(t)
	server := httptest.NewServer(loki)
	defer server.Close()
	s := newStand(t, func(a *simulator.Account) { a.Storages[scalewayLogsID] = loki })
	s.config.Source, s.config.LogsQuery = config.SourceLogs, `sum by (resource_id, code) (count_over_time({resource_type="x" [$window]))`
	s.start()
	s.at(time.Now())
	if _, err := s.at(time.Now().Add(time.Minute)); err == nil || !strings.Contains(err.Error(), "400: parse error at line") {
		t.Errorf("error %v", err)
	}
}

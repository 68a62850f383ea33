package collector

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klauspost/compress/snappy"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/scaleway/scaleway-sdk-go/scw"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/scwatch/scwatch/internal/config"
	"github.com/scwatch/scwatch/internal/httpclient"
	"github.com/scwatch/scwatch/internal/prometheustest"
	"github.com/scwatch/scwatch/internal/simulator"
)

// engine is Debian's prometheus, which holds what a test writes into it.
type engine struct {
	t    testing.TB
	base string
}

func startEngine(t testing.TB) *engine { return &engine{t, prometheustest.Start(t)} }

// write adds samples to series, the labels of which are name, value, …
func (e *engine) write(all []written) {
	e.t.Helper()
	if len(all) == 0 {
		return
	}
	field := func(b []byte, n protowire.Number, text string) []byte {
		return protowire.AppendString(protowire.AppendTag(b, n, protowire.BytesType), text)
	}
	var request []byte
	for _, w := range all {
		var series []byte
		var names []string
		for name := range w.labels {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			series = protowire.AppendTag(series, 1, protowire.BytesType)
			series = protowire.AppendBytes(series, field(field(nil, 1, name), 2, w.labels[name]))
		}
		value := protowire.AppendTag(nil, 1, protowire.Fixed64Type)
		value = binary.LittleEndian.AppendUint64(value, math.Float64bits(w.value))
		value = protowire.AppendVarint(protowire.AppendTag(value, 2, protowire.VarintType), uint64(w.at.UnixMilli()))
		series = protowire.AppendBytes(protowire.AppendTag(series, 2, protowire.BytesType), value)
		request = protowire.AppendBytes(protowire.AppendTag(request, 1, protowire.BytesType), series)
	}
	req, _ := http.NewRequest(http.MethodPost, e.base+"/api/v1/write", bytes.NewReader(snappy.Encode(nil, request)))
	req.Header.Set("Content-Encoding", "snappy")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		e.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		body, _ := io.ReadAll(resp.Body)
		e.t.Fatalf("prometheus refuses samples: %s: %s", resp.Status, body)
	}
}

type written struct {
	labels map[string]string
	at     time.Time
	value  float64
}

// handler is the engine as a Cockpit data source has it, below /prometheus.
func (e *engine) handler() http.Handler {
	target, _ := url.Parse(e.base)
	return http.StripPrefix("/prometheus", httputil.NewSingleHostReverseProxy(target))
}

// stand is one project's Cockpit with the poll of its rejected calls.
type stand struct {
	t       testing.TB
	sim     *simulator.Server
	base    string
	metrics *httpclient.Metrics
	log     *lockedBuffer
	dir     string // of the state file
	config  config.RejectedCalls
	again   time.Duration

	functions []Function
	requests  atomic.Int64 // to data sources and Grafana

	fleet *Fleet
	state *State
	poll  *rejectedPlace
}

// Data sources of the demo account's home in fr-par.
const (
	scalewayMetricsID = "dddddddd-0000-4000-8000-000000000002"
	scalewayLogsID    = "dddddddd-0000-4000-8000-000000000003"
)

func newStand(t testing.TB, change func(*simulator.Account)) *stand {
	account := simulator.DemoAccount(time.Now())
	account.Storages = map[string]http.Handler{scalewayLogsID: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Write([]byte(`{"status":"success","data":{"resultType":"vector","result":[]}}`))
	})}
	account.Dashboards = map[string]map[string]json.RawMessage{}
	if change != nil {
		change(account)
	}
	s := &stand{
		t: t, sim: simulator.New(account), log: &lockedBuffer{}, dir: t.TempDir(), again: 15 * time.Minute,
		metrics: httpclient.NewMetrics(prometheus.NewRegistry()),
		config:  config.RejectedCalls{Source: config.SourceAuto, Delay: 2 * time.Minute},
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.requests.Add(1)
		s.sim.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	s.base = server.URL
	for _, f := range account.Projects[0].Namespaces[0].Functions {
		s.functions = append(s.functions, Function{ProjectID: simulator.DemoHome, Region: "fr-par", ID: f.ID, Name: f.Name})
	}
	s.start()
	t.Cleanup(func() { s.state.Close() })
	return s
}

// start is a process that begins, with what the one before left on the disk.
func (s *stand) start() {
	s.t.Helper()
	if s.state != nil {
		s.state.Close()
	}
	var err error
	if s.state, _, err = OpenState(s.dir, time.Now()); err != nil {
		s.t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(s.log, nil))
	if s.fleet, err = NewFleet(s.state, log); err != nil {
		s.t.Fatal(err)
	}
	client := httpclient.New(httpclient.Options{
		Base: http.DefaultTransport.(*http.Transport).Clone(), Gate: httpclient.NewGate(8, 0), Metrics: s.metrics,
		API: func(*http.Request) string { return "test" },
	})
	scwClient, err := scw.NewClient(scw.WithAPIURL(s.base), scw.WithAuth(simulator.DemoAccessKey, simulator.DemoSecretKey), scw.WithHTTPClient(client))
	if err != nil {
		s.t.Fatal(err)
	}
	poller := NewPoller(Settings{Interval: time.Minute, SlowInterval: s.again}, NewAPI(scwClient), s.fleet, NewPollMetrics(prometheus.NewRegistry()), log)
	poller.CountRejectedCalls(NewCockpit(client, "test", config.NewSecret(simulator.DemoSecretKey), s.config.TokenFiles), s.config)
	s.poll = poller.rejected.at(Unit{simulator.DemoHome, "fr-par", sourceRejected})
}

// kill is a process that ends at once: the next one starts from a copy of the
// file as it is now.
func (s *stand) kill() {
	s.t.Helper()
	data, err := os.ReadFile(filepath.Join(s.dir, stateFile))
	if err != nil {
		s.t.Fatal(err)
	}
	s.dir = s.t.TempDir()
	if err := os.WriteFile(filepath.Join(s.dir, stateFile), data, 0o600); err != nil {
		s.t.Fatal(err)
	}
	s.start()
}

// at polls at a time.
func (s *stand) at(now time.Time) (*RejectedCalls, error) {
	items, err := s.poll.poll(s.t.Context(), s.functions, now)
	return items.Rejected, err
}

// traffic is what callers really do, second by second, and how it is measured.
type traffic struct {
	shape   string
	spacing time.Duration
	begin   time.Time
	hours   int

	random    *rand.Rand
	functions []Function
	refused   map[string]map[string][]float64 // calls up to a second, by function and code
	good      map[string][]float64
}

func newTraffic(shape string, spacing time.Duration, begin time.Time, hours int, functions []Function) *traffic {
	tr := &traffic{
		shape: shape, spacing: spacing, begin: begin, hours: hours, functions: functions,
		random:  rand.New(rand.NewPCG(1, uint64(spacing))),
		refused: map[string]map[string][]float64{}, good: map[string][]float64{},
	}
	seconds := hours*3600 + 1
	for n, f := range functions {
		sum := func(mean func(second int) float64) []float64 {
			all, total := make([]float64, seconds), 0.0
			for i := range all {
				if mean := mean(i); tr.random.Float64() < mean-math.Floor(mean) {
					total += math.Floor(mean) + 1
				} else {
					total += math.Floor(mean)
				}
				all[i] = total
			}
			return all
		}
		tr.good[f.ID] = sum(func(int) float64 { return 3 + float64(n) })
		tr.refused[f.ID] = map[string][]float64{
			"403": sum(func(i int) float64 { // steady knocking, and a burst now and then
				if i/600%7 == n {
					return 5
				}
				return 0.3 * float64(n+1)
			}),
			"401": sum(func(i int) float64 { return 0.1 * math.Max(0, math.Sin(float64(i)/900)) }),
		}
	}
	return tr
}

// true returns how many calls were refused from one time to another.
func (tr *traffic) truth(function, code string, from, to time.Time) float64 {
	at := func(t time.Time) float64 {
		all := tr.refused[function][code]
		return all[max(0, min(len(all)-1, int(t.Sub(tr.begin)/time.Second)))]
	}
	return at(to) - at(from)
}

// sample is what is measured at one time: cumulative calls for a counter, which
// begins again at zero now and then, what there was since the last sample for
// the others.
func (tr *traffic) sample(at time.Time) (all []written) {
	second := int(at.Sub(tr.begin) / time.Second)
	since := max(0, second-int(tr.spacing/time.Second))
	for n, f := range tr.functions {
		resource := map[string]string{"resource_id": f.ID, "resource_name": f.Name, "region": "fr-par"}
		add := func(metric, code, instance string, value float64) {
			w := written{labels: map[string]string{"__name__": metric}, at: at, value: value}
			for name, v := range resource {
				w.labels[name] = v
			}
			if code != "" {
				w.labels["code"] = code
			}
			if instance != "" {
				w.labels["resource_instance"] = instance
			}
			all = append(all, w)
		}
		codes := map[string][]float64{"200": tr.good[f.ID], "401": tr.refused[f.ID]["401"], "403": tr.refused[f.ID]["403"]}
		total := 0.0
		for _, calls := range codes {
			total += calls[second] - calls[since]
		}
		for code, calls := range codes {
			increase := calls[second] - calls[since]
			switch tr.shape {
			case shapeCounter:
				// What measures starts anew at times of its own, each time behind a
				// sample; some functions are measured instance by instance.
				life := 2400 + 900*n
				lives := max(0, second-1) / life
				born := lives * life
				instance := ""
				if n%2 == 1 {
					instance = fmt.Sprintf("i-%d", lives)
				}
				add("serverless_function_http_requests_total", code, instance, calls[second]-calls[born])
			case shapeRate:
				add("serverless_function_requests_per_second", code, "", increase/tr.spacing.Seconds())
			case shapePercentage:
				if total > 0 {
					add("serverless_function_response_status_code_percentage", code, "", 100*increase/total)
				}
			}
		}
		if tr.shape == shapePercentage {
			add("serverless_function_requests_per_second", "", "", total/tr.spacing.Seconds())
		}
		add("serverless_function_memory_usage_bytes", "", "", 1e8)
	}
	return append(all, written{labels: map[string]string{"__name__": "serverless_function_status", "status": "ready", "resource_id": tr.functions[0].ID}, at: at, value: 1})
}

// Hours of traffic of which all is known, in the three shapes and at three
// spacings, with samples that come late, gaps, counters that begin again,
// outages of Cockpit, restarts and kills.
func TestRejectedCallsInPrometheus(t *testing.T) {
	for _, shape := range []string{shapeCounter, shapeRate, shapePercentage} {
		for _, spacing := range []time.Duration{15 * time.Second, time.Minute, 5 * time.Minute} {
			t.Run(fmt.Sprintf("%s/%s", shape, spacing), func(t *testing.T) {
				t.Parallel()
				testRejectedCalls(t, shape, spacing)
			})
		}
	}
}

func testRejectedCalls(t *testing.T, shape string, spacing time.Duration) {
	const hours = 5
	e := startEngine(t)
	var down atomic.Bool
	proxy := e.handler()
	s := newStand(t, func(a *simulator.Account) {
		a.Storages[scalewayMetricsID] = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if down.Load() {
				http.Error(w, "not now", http.StatusTeapot) // which is not asked again
				return
			}
			proxy.ServeHTTP(w, r)
		})
	})
	begin := time.Now().Add(-(hours + 1) * time.Hour).Truncate(time.Minute)
	tr := newTraffic(shape, spacing, begin, hours, s.functions)
	end := begin.Add(hours * time.Hour)

	var first time.Time // from when on it is counted
	var last *RejectedCalls
	arrived := begin
	for now := begin.Add(20 * time.Minute); ; now = now.Add(time.Minute) {
		minute := int(now.Sub(begin) / time.Minute)
		// Samples come half a minute late, and for a while three minutes.
		late := 30 * time.Second
		if minute > 100 && minute < 112 { // with a restart in it
			late = 3 * time.Minute
		}
		for ; !arrived.After(now.Add(-late)) && !arrived.After(end); arrived = arrived.Add(spacing) {
			if n := int(arrived.Sub(begin) / spacing); n%37 == 34 && shape == shapeCounter {
				continue // it was not measured
			}
			e.write(tr.sample(arrived))
		}
		switch {
		case minute == 120: // Cockpit is away for 40 minutes
			down.Store(true)
		case minute == 160:
			down.Store(false)
		case minute%50 == 7:
			s.start()
		case minute%50 == 31:
			s.kill()
		}
		asked := s.requests.Load()
		found, err := s.at(now)
		if n := s.requests.Load() - asked; n > callsAPoll {
			t.Fatalf("minute %d: %d calls in one poll", minute, n)
		}
		if (err != nil) != down.Load() {
			if down.Load() && found != nil {
				goto next // nothing was due
			}
			t.Fatalf("minute %d: error %v, down %v", minute, err, down.Load())
		}
		if found == nil {
			goto next
		}
		if found.Source == sourceOfMetrics && first.IsZero() && !s.poll.tally.Counted.IsZero() {
			first = s.poll.tally.Counted.Add(-spacing) // its first sample lies up to that far back
		}
		for _, f := range s.functions {
			for _, code := range exactCodes {
				got := found.Counts[f.ID][code]
				before := 0.0
				if last != nil {
					before = last.Counts[f.ID][code]
				}
				if got < before {
					t.Fatalf("minute %d: %s %s went down from %g to %g", minute, f.Name, code, before, got)
				}
				if ahead := got - tr.truth(f.ID, code, first, now); ahead > tr.truth(f.ID, code, now.Add(-2*spacing), now)+1 {
					t.Fatalf("minute %d: %s %s is ahead of the truth by %g", minute, f.Name, code, ahead)
				}
			}
		}
		last = found
	next:
		// Until all that happened is counted.
		if s.poll.tally.Counted.After(end.Add(spacing)) {
			break
		}
		if now.After(end.Add(4 * time.Hour)) {
			t.Fatalf("still counted up to %s only, of %s", s.poll.tally.Counted, end)
		}
	}
	if first.IsZero() || last == nil {
		t.Fatalf("nothing was counted:\n%s", s.log)
	}
	for _, f := range s.functions {
		for _, code := range exactCodes {
			got, want := last.Counts[f.ID][code], tr.truth(f.ID, code, first, end)
			tolerance := 0.05 * want
			if shape == shapeCounter {
				tolerance = oneSample(tr, f.ID, code)
			}
			t.Logf("%s %s: %g of %g", f.Name, code, got, want)
			if math.Abs(got-want) > tolerance+1 {
				t.Errorf("%s %s: counted %g, there were %g", f.Name, code, got, want)
			}
		}
	}
}

// oneSample is the largest increase from one sample to the next.
func oneSample(tr *traffic, function, code string) (most float64) {
	for at := tr.begin; at.Before(tr.begin.Add(time.Duration(tr.hours) * time.Hour)); at = at.Add(tr.spacing) {
		most = max(most, tr.truth(function, code, at, at.Add(tr.spacing)))
	}
	return most
}

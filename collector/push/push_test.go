package push

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/proto"
)

func contextOf(t *testing.T) (context.Context, context.CancelFunc) {
	t.Helper()
	return context.WithCancel(context.Background())
}

// waits tells whether anything waits for the receiver.
func (p *Pusher) waits() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.spool.oldest() != nil
}

func counterValue(t *testing.T, c prometheus.Metric) float64 {
	t.Helper()
	var m dto.Metric
	if err := c.Write(&m); err != nil {
		t.Fatal(err)
	}
	return m.GetCounter().GetValue() + m.GetGauge().GetValue()
}

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func TestSelection(t *testing.T) {
	family := func(name string, kind dto.MetricType, labels ...string) *dto.MetricFamily {
		m := &dto.Metric{Gauge: &dto.Gauge{Value: proto.Float64(1)}, Counter: &dto.Counter{Value: proto.Float64(2)}}
		for i := 0; i < len(labels); i += 2 {
			m.Label = append(m.Label, &dto.LabelPair{Name: &labels[i], Value: &labels[i+1]})
		}
		return &dto.MetricFamily{Name: &name, Type: &kind, Metric: []*dto.Metric{m}}
	}
	samples := Selection{Drop: []string{"scwatch_api_*"}, External: map[string]string{"team": "ops", "cluster": "a"}}.samples([]*dto.MetricFamily{
		family("scaleway_function_info", dto.MetricType_GAUGE, "team", "web", "region", "fr-par"),
		family("scwatch_push_samples_total", dto.MetricType_COUNTER),
		family("scwatch_poll_duration_seconds", dto.MetricType_HISTOGRAM),
		family("scwatch_api_requests_total", dto.MetricType_COUNTER),
		family("go_goroutines", dto.MetricType_GAUGE),
	})
	if len(samples) != 2 || samples[1].Value != 2 {
		t.Fatalf("%d samples %v, want two", len(samples), samples)
	}
	want := string(appendLabels(nil, []label{{"__name__", "scaleway_function_info"}, {"cluster", "a"}, {"region", "fr-par"}, {"team", "web"}}))
	if samples[0].Series != want {
		t.Errorf("series %q, want %q: sorted, and the series' own team", samples[0].Series, want)
	}
}

func TestRequestsReadBack(t *testing.T) {
	var samples []Sample
	for n := range 200 {
		series := appendLabels(nil, []label{{"__name__", "m"}, {"n", strings.Repeat("x", n)}})
		samples = append(samples, Sample{string(series), []float64{0, 1.5, math.Inf(1), staleMarker}[n%4]})
	}
	got, at, err := parseRequest(appendRequest(nil, samples, noon))
	if err != nil || !at.Equal(noon) || len(got) != len(samples) {
		t.Fatalf("%d samples at %s, error %v", len(got), at, err)
	}
	for i := range samples {
		if got[i].Series != samples[i].Series || math.Float64bits(got[i].Value) != math.Float64bits(samples[i].Value) {
			t.Errorf("sample %d is %v, want %v", i, got[i], samples[i])
		}
	}
}

func FuzzParseRequest(f *testing.F) {
	f.Add(appendRequest(nil, []Sample{{string(appendLabels(nil, []label{{"__name__", "m"}})), 1}}, noon))
	f.Fuzz(func(t *testing.T, data []byte) {
		samples, at, err := parseRequest(data)
		if err == nil && len(samples) > 0 {
			if _, _, err := parseRequest(appendRequest(nil, samples, at)); err != nil {
				t.Errorf("what was read cannot be written: %v", err)
			}
		}
	})
}

// Whatever changes, at every tick the receiver holds what there is, no sample
// of it older than the heartbeat; and of what does not change little is sent.
func TestDelta(t *testing.T) {
	for _, heartbeat := range []time.Duration{time.Minute, 2 * time.Minute, 4 * time.Minute, 210 * time.Second} {
		d := newDelta(time.Minute, heartbeat)
		current, held := map[string]float64{}, map[string]sent{}
		for n := range 300 {
			at := noon.Add(time.Duration(n) * time.Minute)
			for _, series := range strings.Split("abcdefghijklmnop", "") {
				switch rand.N(12) {
				case 0:
					delete(current, series)
				case 1:
					current[series] = float64(rand.N(3))
				}
			}
			var all []Sample
			for series, value := range current {
				all = append(all, Sample{series, value})
			}
			out := d.next(all, at)
			if n%17 == 3 { // the batch is lost
				d.lost(out, at)
				continue
			}
			for _, s := range out {
				if isStale(s.Value) {
					delete(held, s.Series)
				} else {
					held[s.Series] = sent{value: s.Value, at: at}
				}
			}
			if len(held) != len(current) {
				t.Fatalf("heartbeat %s, tick %d: the receiver holds %d series of %d", heartbeat, n, len(held), len(current))
			}
			for series, value := range current {
				if h := held[series]; h.value != value || at.Add(time.Minute).Sub(h.at) > heartbeat+time.Minute {
					t.Fatalf("heartbeat %s, tick %d: %s is %v of %s, want %v", heartbeat, n, series, h.value, at.Sub(h.at), value)
				}
			}
		}
	}
}

// An hour of a fleet that does not change: the share of a plain push at every
// interval, and evenly spread.
func TestUnchangedFleetIsCheap(t *testing.T) {
	for heartbeat, atMost := range map[time.Duration]float64{time.Minute: 1, 2 * time.Minute: 0.55, 4 * time.Minute: 0.28} {
		d := newDelta(time.Minute, heartbeat)
		var all []Sample
		for n := range 10_000 {
			all = append(all, Sample{Series: strings.Repeat("x", n%7) + string(rune('a'+n%26)) + time.Duration(n).String()})
		}
		d.next(all, noon)
		sum, most := 0, 0
		for n := 1; n <= 60; n++ {
			out := len(d.next(all, noon.Add(time.Duration(n)*time.Minute)))
			sum += out
			most = max(most, out)
		}
		if share := float64(sum) / 600_000; share > atMost {
			t.Errorf("heartbeat %s: %.0f%% of a plain push, want at most %.0f%%", heartbeat, 100*share, 100*atMost)
		}
		if limit := 10_000*int(time.Minute)/int(heartbeat)*11/10 + 1; most > limit {
			t.Errorf("heartbeat %s: %d samples at one tick, want about %d at each", heartbeat, most, limit)
		}
	}
}

func TestSpool(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "push")
	series := string(appendLabels(nil, []label{{"__name__", "m"}}))
	s, _, err := openSpool(dir)
	if err != nil {
		t.Fatal(err)
	}
	for n := range 5 {
		if err := s.add([]Sample{{series, float64(n)}}, noon.Add(time.Duration(n)*time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	s.done(s.oldest())
	// A crash leaves a file half written, a disk damages another.
	os.WriteFile(filepath.Join(dir, "1.waiting.tmp"), []byte("half"), 0o600)
	damaged := s.path(s.batches[2])
	data, _ := os.ReadFile(damaged)
	data[len(data)-1] ^= 1
	os.WriteFile(damaged, data, 0o600)

	s, n, err := openSpool(dir)
	if err != nil || n != 1 || len(s.batches) != 4 {
		t.Fatalf("%d batches, %d damaged, error %v; want 4 and 1", len(s.batches), n, err)
	}
	if b := s.oldest(); !b.at.Equal(noon.Add(time.Minute)) {
		t.Errorf("the oldest that waits is of %s", b.at)
	}
	samples, err := s.read(s.batches[3])
	if err != nil || len(samples) != 1 || samples[0].Value != 4 {
		t.Errorf("the last batch is %v, error %v", samples, err)
	}
	entries, _ := filepath.Glob(filepath.Join(dir, "*"))
	slices.Sort(entries)
	if len(entries) != 5 || !strings.HasSuffix(entries[2], ".waiting.damaged") {
		t.Errorf("the folder holds %v", entries)
	}
	// Where the disk takes nothing, memory does.
	os.RemoveAll(dir)
	os.WriteFile(dir, nil, 0o600)
	if err := s.add([]Sample{{series, 9}}, noon.Add(time.Hour)); err == nil {
		t.Error("a folder that is gone takes a batch")
	}
	if samples, err := s.read(s.batches[4]); err != nil || samples[0].Value != 9 {
		t.Errorf("the batch in memory is %v, error %v", samples, err)
	}
}

// What the receiver refuses is isolated within 64 requests, and everything else
// arrives.
func TestSplit(t *testing.T) {
	for name, test := range map[string]struct {
		samples, bad int
		dropped      int
	}{
		"one bad of one": {1, 1, 1}, "one bad of a thousand": {1000, 1, 1}, "two bad of a thousand": {1000, 2, 2}, "all bad": {1000, 1000, 1000}, "none": {1000, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var samples []Sample
				for n := range test.samples {
					value := 0.0
					if n < test.bad {
						value = 1
					}
					samples = append(samples, Sample{time.Duration(n).String(), value})
				}
				rand.Shuffle(len(samples), func(i, j int) { samples[i], samples[j] = samples[j], samples[i] })
				taken, requests := map[string]bool{}, 0
				s := &sender{failed: func(*refusal) {}, write: func(_ context.Context, batch []Sample, _ time.Time) error {
					requests++
					if requests%5 == 0 {
						return &refusal{status: 503}
					}
					for _, s := range batch {
						if s.Value == 1 {
							return &refusal{status: 400, words: "no"}
						}
					}
					for _, s := range batch {
						taken[s.Series] = true
					}
					return nil
				}}
				o, err := s.deliver(t.Context(), samples, noon)
				if err != nil || o.accepted != len(taken) || o.dropped[droppedInvalid] != test.dropped || len(taken) != test.samples-test.dropped {
					t.Errorf("%d taken, dropped %v, error %v", len(taken), o.dropped, err)
				}
				if final := requests - requests/5; final > maxSplit {
					t.Errorf("%d requests, want at most %d", final, maxSplit)
				}
			})
		})
	}
}

// Which answers are worth another try, and how soon.
func TestPersistence(t *testing.T) {
	for name, test := range map[string]struct {
		answer   refusal
		times    int
		dropped  string
		atLeast  time.Duration
		atMost   time.Duration
		requests int
	}{
		"429 with Retry-After": {refusal{status: 429, retryAfter: 9 * time.Second}, 2, "", 18 * time.Second, 18 * time.Second, 3},
		"503":                  {refusal{status: 503}, 4, "", 4 * time.Second, 20 * time.Second, 5},
		"network":              {refusal{}, 1, "", time.Second, 5 * time.Second, 2},
		"401":                  {refusal{status: 401}, 1, droppedRefused, 0, 0, 1},
		"403":                  {refusal{status: 403}, 1, droppedRefused, 0, 0, 1},
		"404":                  {refusal{status: 404}, 1, droppedRefused, 0, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				requests := 0
				s := &sender{failed: func(*refusal) {}, write: func(context.Context, []Sample, time.Time) error {
					requests++
					if requests <= test.times {
						r := test.answer
						return &r
					}
					return nil
				}}
				began := time.Now()
				o, err := s.deliver(t.Context(), []Sample{{"a", 1}, {"b", 2}}, noon)
				took := time.Since(began)
				if err != nil || requests != test.requests || took < test.atLeast || took > test.atMost {
					t.Errorf("%d requests in %s, error %v", requests, took, err)
				}
				if test.dropped != "" && (o.dropped[test.dropped] != 2 || len(o.lost) != 2) || test.dropped == "" && o.accepted != 2 {
					t.Errorf("outcome %+v", o)
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		s := &sender{failed: func(*refusal) {}, write: func(context.Context, []Sample, time.Time) error { return &refusal{} }}
		if _, err := s.deliver(ctx, []Sample{{"a", 1}}, noon); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
	})
}

// The caps of the spool: what is dropped is counted, and goes out again as far
// as it still holds.
func TestCaps(t *testing.T) {
	w := &world{values: map[string]float64{"a": 1, "b": 2}}
	metrics := NewMetrics(prometheus.NewRegistry())
	p, err := New(Options{
		Receiver: Receiver{PushURL: "http://127.0.0.1:1/api/v1/push"}, Transport: &http.Transport{}, Agent: "test",
		Interval: time.Minute, Heartbeat: 4 * time.Minute, MaxBytes: 1 << 20, MaxAge: 10 * time.Minute, Gather: w.families,
	}, metrics, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for n := range 30 {
		p.batch(noon.Add(time.Duration(n) * time.Minute))
	}
	if _, oldest := p.spool.waiting(); noon.Add(29*time.Minute).Sub(oldest) > 10*time.Minute {
		t.Errorf("the oldest batch is of %s", oldest)
	}
	if counterValue(t, metrics.dropped.WithLabelValues(droppedOld)) == 0 {
		t.Error("nothing was counted as too old")
	}
	p.options.MaxBytes = 1
	p.batch(noon.Add(30 * time.Minute))
	if size, _ := p.spool.waiting(); size != 0 || counterValue(t, metrics.dropped.WithLabelValues(droppedFull)) == 0 {
		t.Errorf("%d bytes wait beyond the cap", size)
	}
	p.options.MaxBytes = 1 << 20
	p.batch(noon.Add(31 * time.Minute))
	if b := p.spool.oldest(); b == nil || b.samples != 2 {
		t.Errorf("after everything was dropped the next batch is %+v, want both samples", b)
	}
}

func TestTooManyExternalLabels(t *testing.T) {
	external := map[string]string{}
	for n := range MaxExternal + 1 {
		external[string(rune('a'+n))] = "x"
	}
	_, err := New(Options{Selection: Selection{External: external}}, NewMetrics(prometheus.NewRegistry()), slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "push.external_labels: 18 labels; Cockpit takes 30 for a series, which leaves 17") {
		t.Errorf("error %v", err)
	}
}

func TestForecast(t *testing.T) {
	f := forecast{interval: time.Minute, heartbeat: 2 * time.Minute}
	if _, ok := f.perMonth(); ok {
		t.Error("a forecast from nothing")
	}
	f.count(1000, 1000, noon)
	if got, _ := f.perMonth(); got != 500*43200 {
		t.Errorf("%v a month at the start, want half of the series at each of 43,200 ticks", got)
	}
	for n := 1; n <= 120; n++ {
		f.count(600, 1000, noon.Add(time.Duration(n)*time.Minute))
	}
	if got, _ := f.perMonth(); got != 600*43200 {
		t.Errorf("%v a month, want what was sent", got)
	}
}

func TestBudget(t *testing.T) {
	for name, test := range map[string]struct {
		budget float64
		refuse bool
		want   bool
	}{"no budget": {0, true, false}, "enough": {1, true, false}, "too little": {0.001, true, true}, "too little, and a warning": {0.001, false, false}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &world{values: map[string]float64{"a": 1, "b": 2}}
				metrics := NewMetrics(prometheus.NewRegistry())
				p, err := New(Options{
					Receiver: Receiver{PushURL: "http://127.0.0.1:1/"}, Transport: &http.Transport{}, Interval: time.Minute, Heartbeat: time.Minute,
					MaxBytes: 1, MaxAge: time.Hour, Price: 0.15, Budget: test.budget, Refuse: test.refuse, Gather: w.families, Settled: func() bool { return true },
				}, metrics, slog.New(slog.DiscardHandler))
				if err != nil {
					t.Fatal(err)
				}
				if err := p.begin(t.Context()); (err != nil) != test.want {
					t.Errorf("error %v", err)
				}
				if test.budget > 0 && counterValue(t, metrics.budget.WithLabelValues()) != test.budget {
					t.Error("the budget is not shown")
				}
			})
		})
	}
}

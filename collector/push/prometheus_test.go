package push

import (
	"bytes"
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
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/proto"

	"github.com/scwatch/scwatch/internal/prometheustest"
)

// world is what /metrics would show as time goes by.
type world struct {
	values map[string]float64 // by the series' one label
}

func (w *world) families() ([]*dto.MetricFamily, error) {
	gauge := &dto.MetricFamily{Name: proto.String("scaleway_test"), Type: dto.MetricType_GAUGE.Enum()}
	for name, value := range w.values {
		gauge.Metric = append(gauge.Metric, &dto.Metric{
			Label: []*dto.LabelPair{{Name: proto.String("name"), Value: proto.String(name)}},
			Gauge: &dto.Gauge{Value: proto.Float64(value)},
		})
	}
	return []*dto.MetricFamily{gauge, {
		Name: proto.String("go_goroutines"), Type: dto.MetricType_GAUGE.Enum(), Metric: []*dto.Metric{{Gauge: &dto.Gauge{Value: proto.Float64(1)}}},
	}}, nil
}

// step changes the world as fleets change: most of it stays.
func (w *world) step(n int) {
	w.values["always"] = float64(n)
	w.values["never"] = 7
	w.values["special"] = []float64{math.Inf(1), math.NaN(), math.Inf(-1), 0}[n/5%4]
	for i := range 30 {
		name := fmt.Sprint("series ", i)
		switch _, there := w.values[name]; {
		case !there && rand.N(4) == 0:
			w.values[name] = rand.Float64()
		case there && rand.N(20) == 0:
			delete(w.values, name)
		case there && rand.N(6) == 0:
			w.values[name] = float64(rand.N(3))
		}
	}
}

func (w *world) copy() map[string]float64 {
	all := map[string]float64{}
	for name, value := range w.values {
		all[name] = value
	}
	return all
}

type result struct {
	Metric map[string]string
	Value  [2]any
	Values [][2]any
}

func queryPrometheus(t testing.TB, base, path string, parameters url.Values) []result {
	t.Helper()
	resp, err := http.Get(base + path + "?" + parameters.Encode())
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var answer struct{ Data struct{ Result []result } }
	if err := json.Unmarshal(body, &answer); err != nil || resp.StatusCode != 200 {
		t.Fatalf("%s: %s", resp.Status, body)
	}
	return answer.Data.Result
}

// Two hours of ticks a minute apart, into a real Prometheus, over outages of up
// to 45 of those minutes, kills and receivers of every mood: at every tick an
// instant query gives what there was then, and a range query has no gap.
func TestPrometheusShowsWhatThereWas(t *testing.T) {
	for _, heartbeat := range []time.Duration{time.Minute, 2 * time.Minute, 4 * time.Minute} {
		t.Run(heartbeat.String(), func(t *testing.T) {
			t.Parallel()
			base := prometheustest.Start(t)
			target, _ := url.Parse(base)
			proxy := httputil.NewSingleHostReverseProxy(target)
			var mood, refused atomic.Int64 // how many requests go wrong, each in another way
			var down atomic.Bool
			receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch n := mood.Load(); {
				case down.Load():
					refused.Add(1)
					http.Error(w, "not now", http.StatusServiceUnavailable)
					return
				case n <= 0:
				case n%5 == 4: // it answers slowly
					mood.Add(-1)
					time.Sleep(200 * time.Millisecond)
				case n%4 == 0:
					mood.Add(-1)
					w.Header().Set("Retry-After", "1")
					http.Error(w, "slow down", http.StatusTooManyRequests)
					return
				case n%4 == 1:
					mood.Add(-1)
					http.Error(w, "not now", http.StatusServiceUnavailable)
					return
				case n%4 == 2: // it takes the samples, and the connection breaks
					mood.Add(-1)
					proxy.ServeHTTP(httptest.NewRecorder(), r)
					panic(http.ErrAbortHandler)
				default:
					mood.Add(-1)
					panic(http.ErrAbortHandler)
				}
				proxy.ServeHTTP(w, r)
			}))
			defer receiver.Close()
			dir := t.TempDir()
			w := &world{values: map[string]float64{}}
			metrics := NewMetrics(prometheus.NewRegistry())
			start := func() (*Pusher, func()) {
				p, err := New(Options{
					Receiver: Receiver{PushURL: receiver.URL + "/api/v1/write"}, Transport: &http.Transport{}, Agent: "test",
					Interval: time.Minute, Heartbeat: heartbeat, Dir: dir, MaxBytes: 1 << 30, MaxAge: 3 * time.Hour, Gather: w.families,
				}, metrics, slog.New(slog.DiscardHandler))
				if err != nil {
					t.Fatal(err)
				}
				ctx, kill := contextOf(t)
				done := make(chan struct{})
				go func() {
					defer close(done)
					p.deliver(ctx)
				}()
				return p, func() {
					kill()
					<-done
				}
			}
			begin := time.Now().Add(-125 * time.Minute).Truncate(time.Second)
			expected := map[time.Time]map[string]float64{}
			p, kill := start()
			const ticks = 121
			for n := range ticks {
				at := begin.Add(time.Duration(n) * time.Minute)
				w.step(n)
				expected[at] = w.copy()
				p.batch(at)
				switch n {
				case 10, 95:
					mood.Store(5)
				case 30, 110: // an outage begins, and is noticed
					down.Store(true)
					for before := refused.Load(); refused.Load() == before; time.Sleep(time.Millisecond) {
					}
				case 75, 111:
					down.Store(false)
				case 12, 13, 50, 80, 97: // killed with batches under way, in an outage, and at rest
					kill()
					p, kill = start()
				}
			}
			for end := time.Now().Add(60 * time.Second); p.waits(); time.Sleep(10 * time.Millisecond) {
				if time.Now().After(end) {
					t.Fatal("not everything was delivered within a minute")
				}
			}
			kill()
			for at, want := range expected {
				got := map[string]float64{}
				for _, r := range queryPrometheus(t, base, "/api/v1/query", url.Values{"query": {`{__name__=~".+"}`}, "time": {fmt.Sprint(at.Unix())}}) {
					if r.Metric["__name__"] != "scaleway_test" {
						t.Errorf("%s was pushed", r.Metric["__name__"])
					}
					got[r.Metric["name"]], _ = strconv.ParseFloat(r.Value[1].(string), 64)
				}
				for name, value := range want {
					if other, ok := got[name]; !ok || !same(other, value) {
						t.Errorf("at %s %q is %v (there: %v), want %v", at.Sub(begin), name, other, ok, value)
					}
				}
				for name := range got {
					if _, ok := want[name]; !ok {
						t.Errorf("at %s there still is %q", at.Sub(begin), name)
					}
				}
			}
			steps := queryPrometheus(t, base, "/api/v1/query_range", url.Values{
				"query": {`scaleway_test{name="never"}`}, "step": {"15"},
				"start": {fmt.Sprint(begin.Unix())}, "end": {fmt.Sprint(begin.Add((ticks - 1) * time.Minute).Unix())},
			})
			if len(steps) != 1 || len(steps[0].Values) != (ticks-1)*4+1 {
				t.Errorf("a range query over a series that never changes has gaps: %d of %d steps", len(steps[0].Values), (ticks-1)*4+1)
			}
		})
	}
}

// A series that the receiver refuses takes no other with it.
func TestPrometheusRefusesOneSeries(t *testing.T) {
	base := prometheustest.Start(t)
	w := &world{values: map[string]float64{"good": 1, "better": 2, "best": 3, "fine": 4, "well": 5}}
	metrics := NewMetrics(prometheus.NewRegistry())
	var log bytes.Buffer
	p, err := New(Options{
		Receiver: Receiver{PushURL: base + "/api/v1/write", QueryURL: base + "/api/v1/query"}, Transport: &http.Transport{}, Agent: "test",
		Interval: time.Minute, Heartbeat: time.Minute, MaxBytes: 1 << 30, MaxAge: time.Hour, Gather: w.families,
	}, metrics, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, kill := contextOf(t)
	defer kill()
	go p.deliver(ctx)
	delivered := func() {
		for end := time.Now().Add(30 * time.Second); p.waits() && time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		}
	}
	at := time.Now().Add(-10 * time.Minute).Truncate(time.Second)
	p.batch(at)
	delivered()
	// Somebody else writes a later sample of one of them.
	other, err := newClient(&Receiver{PushURL: base + "/api/v1/write"}, &http.Transport{}, "other")
	if err != nil {
		t.Fatal(err)
	}
	families, _ := w.families()
	for _, s := range (Selection{}).samples(families) {
		if bytes.Contains([]byte(s.Series), []byte("better")) {
			if err := other.write(ctx, []Sample{s}, at.Add(5*time.Minute)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name := range w.values {
		w.values[name] += 10
	}
	p.batch(at.Add(time.Minute))
	delivered()
	got := map[string]string{}
	for _, r := range queryPrometheus(t, base, "/api/v1/query", url.Values{"query": {"scaleway_test"}, "time": {fmt.Sprint(at.Add(time.Minute).Unix())}}) {
		got[r.Metric["name"]] = r.Value[1].(string)
	}
	for name, value := range w.values {
		want := fmt.Sprint(value)
		if name == "better" {
			want = "2"
		}
		if got[name] != want {
			t.Errorf("%s is %s, want %s", name, got[name], want)
		}
	}
	if n := counterValue(t, metrics.dropped.WithLabelValues(droppedInvalid)); n != 1 {
		t.Errorf("%v samples were dropped as invalid, want 1", n)
	}
	if !bytes.Contains(log.Bytes(), []byte("another sender pushes the same series")) {
		t.Errorf("the log does not name the other sender:\n%s", &log)
	}
	if value, found, err := p.client.query(ctx, `timestamp(scaleway_test{name="good"} offset 9m)`); err != nil || !found || value < float64(at.Unix()) {
		t.Errorf("read back %v (found %v), error %v", value, found, err)
	}
}

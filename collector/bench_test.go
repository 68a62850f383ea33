package collector

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/scaleway/scaleway-sdk-go/scw"

	"github.com/scwatch/scwatch/internal/httpclient"
	"github.com/scwatch/scwatch/internal/simulator"
)

// manyFunctions returns n functions that each have a sample of every metric.
func manyFunctions(n int) []Function {
	crons := 1
	functions := make([]Function, n)
	for i := range functions {
		functions[i] = Function{
			ProjectID: "6b3d3786-c7bd-47c8-b0e4-daabfa8f4e2e", Project: "payments", Region: []string{"fr-par", "nl-ams", "pl-waw"}[i%3],
			NamespaceID: fmt.Sprintf("efe72a18-22cb-47eb-87a2-%012x", i/10), Namespace: fmt.Sprintf("namespace-%d", i/10),
			ID: fmt.Sprintf("b8707337-0911-4249-9ca8-%012x", i), Name: fmt.Sprintf("function-%d", i), Team: "web",
			Runtime: "go126", Sandbox: sandboxV1, Privacy: privacyPublic, HTTPOption: httpEnabled, Status: statusError,
			Domain:   fmt.Sprintf("namespace%d-function-%d.functions.fnc.fr-par.scw.cloud", i/10, i),
			MaxScale: 20, MemoryBytes: 256e6, CPUCores: 0.14, Timeout: 5 * time.Minute, Created: noon, Updated: noon.Add(time.Duration(i) * time.Second),
			Variables: map[string]Variables{
				scopeFunction:  {Count: 12, Secrets: 3, Suspect: []PlaintextVar{{"DB_PASSWORD", "value behind a secret's name"}}},
				scopeNamespace: {Count: 4, Secrets: 1},
			},
			RuntimeStatus: runtimeDeprecated, Crons: &crons, Domains: []string{"a.example.com"}, Triggers: map[string]int{"scw_sqs": 1},
			Tokens:      map[string][]Token{scopeFunction: {{ID: fmt.Sprintf("c8707337-0911-4249-9ca8-%012x", i), Expires: noon.Add(time.Hour)}}},
			PublicSince: noon.Add(-time.Duration(i) * time.Minute), ErrorSince: noon, OldestSecretSet: noon, PrivacyChanges: map[string]uint64{privacyPublic: uint64(i)},
		}
	}
	return functions
}

// constCollector serves the same series the way most exporters do: it makes
// them anew at each scrape.
type constCollector struct {
	snapshot *Snapshot
	descs    []*prometheus.Desc
}

func newConstCollector(s *Snapshot) *constCollector {
	c := &constCollector{snapshot: s}
	for _, m := range Metrics {
		c.descs = append(c.descs, prometheus.NewDesc(m.Name, m.Help, m.Labels, nil))
	}
	return c
}

func (c *constCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		ch <- d
	}
}

func (c *constCollector) Collect(ch chan<- prometheus.Metric) {
	for i, m := range Metrics {
		kind := prometheus.GaugeValue
		if m.Type == counter {
			kind = prometheus.CounterValue
		}
		if m.snapshot != nil {
			m.snapshot(c.snapshot, func(value float64, labels ...string) {
				ch <- prometheus.MustNewConstMetric(c.descs[i], kind, value, labels...)
			})
			continue
		}
		for n := range c.snapshot.Functions {
			f := &c.snapshot.Functions[n]
			m.function(f, func(value float64, labels ...string) {
				ch <- prometheus.MustNewConstMetric(c.descs[i], kind, value,
					append([]string{f.ProjectID, f.Region, f.Namespace, f.Name, f.ID}, labels...)...)
			})
		}
	}
}

// discard is a ResponseWriter that counts.
type discard struct {
	header http.Header
	n      int64
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) WriteHeader(int)             {}
func (d *discard) Write(p []byte) (int, error) { d.n += int64(len(p)); return len(p), nil }

func BenchmarkScrape(b *testing.B) {
	for _, n := range []int{1_000, 10_000} {
		s := snapshotOf(manyFunctions(n))
		prepared, _ := newTestExposition(b)
		prepared.Publish(s)
		registry := prometheus.NewRegistry()
		registry.MustRegister(newConstCollector(s))
		for _, handler := range []struct {
			name string
			http.Handler
		}{
			{"scwatch", prepared},
			{"const", promhttp.HandlerFor(registry, promhttp.HandlerOpts{})},
		} {
			for _, encoding := range []string{"identity", "gzip"} {
				b.Run(fmt.Sprintf("functions=%d/%s/%s", n, encoding, handler.name), func(b *testing.B) {
					req := httptest.NewRequest("GET", "/metrics", nil)
					req.Header.Set("Accept-Encoding", encoding)
					handler.ServeHTTP(&discard{header: http.Header{}}, req) // the form is in use
					b.ReportAllocs()
					var w *discard
					for b.Loop() {
						w = &discard{header: http.Header{}}
						handler.ServeHTTP(w, req)
					}
					b.ReportMetric(float64(w.n), "answer-B/op")
				})
			}
		}
	}
}

// What a publication costs while text, plain and compressed, is in use.
func BenchmarkPublish(b *testing.B) {
	for _, n := range []int{1_000, 10_000} {
		b.Run(fmt.Sprintf("functions=%d", n), func(b *testing.B) {
			s := snapshotOf(manyFunctions(n))
			e := NewExposition(prometheus.NewRegistry(), slog.New(slog.DiscardHandler))
			scrape(b, e, "", "gzip")
			b.ReportAllocs()
			for b.Loop() {
				e.Publish(s)
				scrape(b, e, "", "gzip")
			}
		})
	}
}

// A fast poll of 1,000 functions in 100 namespaces and three regions, at 40 ms
// a call and 8 calls at once. x-ideal is the time over that of calls which
// never wait for each other: calls × 40 ms / 8.
func BenchmarkFastPoll(b *testing.B) {
	const latency, concurrency = 40 * time.Millisecond, 8
	sim := simulator.New(simulator.LargeAccount(1000, 100, 3, time.Now()))
	sim.Latency = latency
	transport, end := sim.Pipe()
	defer end()
	client, err := scw.NewClient(
		scw.WithAPIURL("http://api.example"), scw.WithAuth(simulator.DemoAccessKey, simulator.DemoSecretKey),
		scw.WithHTTPClient(httpclient.New(httpclient.Options{
			Base: transport, Gate: httpclient.NewGate(concurrency, 0),
			Metrics: httpclient.NewMetrics(prometheus.NewRegistry(), "functions"),
			API:     func(*http.Request) string { return "functions" },
		})))
	if err != nil {
		b.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	fleet, err := NewFleet(NewState(), log)
	if err != nil {
		b.Fatal(err)
	}
	poller := NewPoller(Settings{Concurrency: concurrency}, NewAPI(client), fleet, NewPollMetrics(prometheus.NewRegistry()), log)
	var found, polls int
	for b.Loop() {
		var mu sync.Mutex
		var wg sync.WaitGroup
		for _, region := range FunctionRegions() {
			wg.Go(func() {
				functions, err := poller.readFunctions(b.Context(), Unit{simulator.DemoHome, region, sourceFunctions})
				if err != nil {
					b.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				found += len(functions)
			})
		}
		wg.Wait()
		polls++
	}
	if found != 1000*polls {
		b.Errorf("%d functions in %d polls", found, polls)
	}
	requests := sim.Requests()
	calls := float64(requests["namespaces"]+requests["functions"]) / float64(polls)
	ideal := calls * latency.Seconds() / concurrency
	b.ReportMetric(calls, "calls/op")
	b.ReportMetric(b.Elapsed().Seconds()/float64(polls)/ideal, "x-ideal")
}

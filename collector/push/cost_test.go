package push

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/scaleway/scaleway-sdk-go/scw"

	"github.com/scwatch/scwatch/collector"
	"github.com/scwatch/scwatch/internal/httpclient"
	"github.com/scwatch/scwatch/internal/simulator"
)

// What a month costs, from forty minutes of a fleet that is polled and does not
// change: the figures of docs/cost.md, by go test -v. The bounds are those that
// the page promises.
func TestMonthlyCost(t *testing.T) {
	for functions, euros := range map[int]map[time.Duration]float64{
		10:   {time.Minute: 2.60, 2 * time.Minute: 1.40, 4 * time.Minute: 0.75},
		100:  {time.Minute: 20, 2 * time.Minute: 10.10, 4 * time.Minute: 5.20},
		1000: {time.Minute: 192, 2 * time.Minute: 96.50, 4 * time.Minute: 49},
	} {
		t.Run(fmt.Sprint(functions), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				deltas := map[time.Duration]*delta{}
				for heartbeat := range euros {
					deltas[heartbeat] = newDelta(time.Minute, heartbeat)
				}
				gather, end := polled(t, functions)
				defer end()
				time.Sleep(5 * time.Minute)
				sent := map[time.Duration]int{}
				series := 0
				const settling, measured = 8, 40 // ticks
				for tick := range settling + measured {
					time.Sleep(time.Minute)
					families, err := gather()
					if err != nil {
						t.Fatal(err)
					}
					all := Selection{}.samples(families)
					series = len(all)
					for heartbeat, d := range deltas {
						if n := len(d.next(all, time.Now())); tick >= settling {
							sent[heartbeat] += n
						}
					}
				}
				for _, heartbeat := range []time.Duration{time.Minute, 2 * time.Minute, 4 * time.Minute} {
					perMonth := float64(sent[heartbeat]) / measured * 43_200
					cost := perMonth / 1e6 * 0.15
					t.Logf("%d functions, %d series, heartbeat %s: %.2f million samples, %.2f euros a month", functions, series, heartbeat, perMonth/1e6, cost)
					if cost > euros[heartbeat] {
						t.Errorf("heartbeat %s: %.2f euros a month, want at most %.2f", heartbeat, cost, euros[heartbeat])
					}
				}
			})
		})
	}
}

// polled runs a collector on a simulated account of so many functions.
func polled(t *testing.T, functions int) (gather func() ([]*dto.MetricFamily, error), end func()) {
	t.Helper()
	sim := simulator.New(simulator.LargeAccount(functions, max(1, functions/10), 3, time.Now()))
	transport, closeSim := sim.Pipe()
	registry := prometheus.NewRegistry()
	NewMetrics(registry)
	client, err := scw.NewClient(scw.WithAPIURL("http://api.example"), scw.WithAuth(simulator.DemoAccessKey, simulator.DemoSecretKey),
		scw.WithHTTPClient(httpclient.New(httpclient.Options{
			Base: transport, Gate: httpclient.NewGate(8, 50),
			Metrics: httpclient.NewMetrics(registry, "functions", "account", "iam", "cockpit"),
			API:     func(*http.Request) string { return "functions" },
		})))
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	fleet, err := collector.NewFleet(collector.NewState(), log)
	if err != nil {
		t.Fatal(err)
	}
	fleet.Judge(collector.Rules{StaleAfter: 15 * time.Minute})
	exposition := collector.NewExposition(registry, log)
	poller := collector.NewPoller(collector.Settings{
		Projects: []string{simulator.DemoHome}, Regions: collector.FunctionRegions(), AccessKey: simulator.DemoAccessKey,
		Interval: time.Minute, SlowInterval: 15 * time.Minute, Concurrency: 8, TeamTag: "team",
	}, collector.NewAPI(client), fleet, collector.NewPollMetrics(registry), log)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		poller.Run(ctx, exposition.Publish)
	}()
	return exposition.Gather, func() {
		cancel()
		<-done
		closeSim()
	}
}

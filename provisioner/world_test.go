package provisioner

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/scwatch/scwatch/internal/config"
	"github.com/scwatch/scwatch/internal/httpclient"
	"github.com/scwatch/scwatch/internal/simulator"
)

// world is a simulated account and what provisions it.
type world struct {
	*testing.T
	sim       *simulator.Server
	transport http.RoundTripper
}

func newWorld(t *testing.T) *world {
	t.Helper()
	sim := simulator.New(simulator.DemoAccount(time.Now()))
	transport, end := sim.Pipe()
	t.Cleanup(end)
	return &world{t, sim, transport}
}

// api is where the simulator is reached; its answers name no other host.
const api = "http://api.example.com"

// definitions are files and the configuration that names them.
type definitions struct {
	config string
	files  map[string]string
}

// everything is one of each kind.
var everything = definitions{
	config: "provision: {targets: [{dashboards: [fleet.yaml], rules: [{files: [rules.yaml]}], alertmanager: routes.yaml, contacts: [oncall@example.com]}]}",
	files:  map[string]string{"fleet.yaml": dashboardText, "rules.yaml": groupText, "routes.yaml": routesText},
}

func (w *world) provisioner(d definitions) *Provisioner {
	w.Helper()
	written(w.T, d.files)
	defs, err := load(w.T, d.config, true)
	if err != nil {
		w.Fatal(err)
	}
	return New(defs, Access{
		Client: httpclient.New(httpclient.Options{
			Base: w.transport, Gate: httpclient.NewGate(8, 0), Metrics: httpclient.NewMetrics(prometheus.NewRegistry()),
			API: func(*http.Request) string { return "provision" },
		}),
		APIURL: api, SecretKey: config.NewSecret(simulator.DemoSecretKey), GrafanaToken: config.NewSecret("grafana-token"),
	})
}

func (w *world) plan(p *Provisioner, s Selection) *Plan {
	w.Helper()
	plan, err := p.Plan(w.Context(), s)
	if err != nil {
		w.Fatal(err)
	}
	return plan
}

func rendered(p *Plan) string {
	var b strings.Builder
	p.Render(&b, false)
	return b.String()
}

func (w *world) apply(p *Provisioner, plan *Plan) *Result {
	w.Helper()
	return p.Apply(context.WithoutCancel(w.Context()), plan, func(Outcome) {})
}

// applied plans and applies, and wants nothing to be left.
func (w *world) applied(d definitions) *Provisioner {
	w.Helper()
	p := w.provisioner(d)
	plan := w.plan(p, Selection{})
	if err := w.apply(p, plan).Err(); err != nil {
		w.Fatalf("apply: %v", err)
	}
	w.settled(p)
	return p
}

// settled wants a plan with nothing in it.
func (w *world) settled(p *Provisioner) {
	w.Helper()
	if again := w.plan(p, Selection{}); len(again.Actions) > 0 {
		w.Fatalf("after apply there is still to do:\n%s", rendered(again))
	}
}

func (w *world) account(change func(*simulator.Account)) { w.sim.Update(change) }

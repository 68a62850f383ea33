package main

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/scwatch/scwatch/internal/clock"
	"github.com/scwatch/scwatch/internal/config"
	"github.com/scwatch/scwatch/provisioner"
)

// newDrift registers the number of objects that differ. It has no samples until
// a comparison has succeeded.
func newDrift(reg prometheus.Registerer) *prometheus.GaugeVec {
	drift := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "scwatch_drift",
		Help: "Provisioned objects that differ from their definition, by kind, at the last comparison that worked (provision.watch).",
	}, []string{"kind"})
	reg.MustRegister(drift)
	return drift
}

// checkDefinitions finds what is wrong with the definitions that the daemon is to
// compare.
func checkDefinitions(c *config.Config, env config.Environment) error {
	if !c.Provision.Watch {
		return nil
	}
	_, err := loadDefinitions(c, true, env)
	return errors.Join(c.RequireTargets(), err)
}

// compareTimeout bounds one comparison.
const compareTimeout = 5 * time.Minute

// compare plans at the slow interval until ctx ends, and shows how much differs.
// It never writes. A comparison that fails leaves the last figures: what could
// not be read has not come right.
func (w *watch) compare(ctx context.Context, c *config.Config, credentials config.Credentials) {
	for {
		drift, err := w.drifted(ctx, c, credentials)
		if err != nil && ctx.Err() == nil {
			w.log.Error("what is provisioned cannot be compared with its definitions", "err", err, "retry_in", c.Collect.SlowInterval)
		}
		for kind, differing := range drift {
			w.drift.WithLabelValues(string(kind)).Set(float64(differing))
		}
		if clock.Sleep(ctx, c.Collect.SlowInterval) != nil {
			return
		}
	}
}

func (w *watch) drifted(ctx context.Context, c *config.Config, credentials config.Credentials) (map[provisioner.Kind]int, error) {
	ctx, cancel := context.WithTimeout(ctx, compareTimeout)
	defer cancel()
	walker, err := newProvisioner(c, credentials, true, w.env, w.requests)
	if err != nil {
		return nil, err
	}
	plan, err := walker.Plan(ctx, provisioner.Selection{AllowEmpty: true})
	if err != nil {
		return nil, err
	}
	return plan.Drift(), nil
}

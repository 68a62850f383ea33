package page

import (
	"fmt"
	"time"

	dto "github.com/prometheus/client_model/go"
)

// pushed are the metrics of pushing that are shown, and how.
var pushed = []struct {
	metric, name string
	show         func(value float64, now time.Time) string
}{
	{"scwatch_push_last_success_timestamp_seconds", "last batch taken by the receiver", since},
	{"scwatch_push_verified_timestamp_seconds", "last sample read back", since},
	{"scwatch_push_samples_total", "samples sent", whole},
	{"scwatch_push_dropped_samples_total", "samples that will never arrive", whole},
	{"scwatch_push_failures_total", "failures", whole},
	{"scwatch_push_spool_bytes", "waiting in the spool", func(v float64, _ time.Time) string { return fmt.Sprintf("%.0f bytes", v) }},
	{"scwatch_push_spool_oldest_timestamp_seconds", "oldest batch that waits", since},
	{"scwatch_forecast_samples_per_month", "forecast of 30 days", func(v float64, _ time.Time) string { return fmt.Sprintf("%.0f samples", v) }},
	{"scwatch_forecast_eur_per_month", "what they will cost", euros},
	{"scwatch_push_budget_eur_per_month", "what they may cost", euros},
}

// push is what is known of pushing; nil where none was ever configured.
func push(own []*dto.MetricFamily, now time.Time) []fact {
	found := map[string]*dto.MetricFamily{}
	for _, family := range own {
		found[family.GetName()] = family
	}
	if found["scwatch_push_samples_total"] == nil {
		return nil
	}
	var facts []fact
	for _, p := range pushed {
		family := found[p.metric]
		if family == nil || len(family.Metric) == 0 {
			if p.metric == pushed[0].metric {
				facts = append(facts, fact{p.name, "never"})
			}
			continue
		}
		sum := 0.0
		for _, m := range family.Metric {
			sum += m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
		facts = append(facts, fact{p.name, p.show(sum, now)})
	}
	return facts
}

// drift is how many objects differ, by kind; nil where nobody knows.
func drift(own []*dto.MetricFamily) []fact {
	var facts []fact
	for _, family := range own {
		if family.GetName() != "scwatch_drift" {
			continue
		}
		for _, m := range family.Metric {
			facts = append(facts, fact{m.Label[0].GetValue(), whole(m.GetGauge().GetValue(), time.Time{})})
		}
	}
	return facts
}

func whole(v float64, _ time.Time) string { return fmt.Sprintf("%.0f", v) }

func euros(v float64, _ time.Time) string { return fmt.Sprintf("%.2f €", v) }

func since(v float64, now time.Time) string { return ago(time.Unix(int64(v), 0), now) }

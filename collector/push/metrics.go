package push

import "github.com/prometheus/client_golang/prometheus"

// Metrics are the pusher's own metrics; they outlive a reload.
type Metrics struct {
	samples  prometheus.Counter
	dropped  *prometheus.CounterVec
	failures *prometheus.CounterVec

	spoolBytes  prometheus.Gauge
	spoolOldest *prometheus.GaugeVec // without labels: absent until there is something to say
	lastSuccess *prometheus.GaugeVec
	verified    *prometheus.GaugeVec
	perMonth    *prometheus.GaugeVec
	euros       *prometheus.GaugeVec
	budget      *prometheus.GaugeVec
}

// NewMetrics registers them with reg.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	optional := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, nil)
	}
	m := &Metrics{
		samples:     prometheus.NewCounter(prometheus.CounterOpts{Name: "scwatch_push_samples_total", Help: "Samples that the receiver took."}),
		dropped:     prometheus.NewCounterVec(prometheus.CounterOpts{Name: "scwatch_push_dropped_samples_total", Help: "Samples that will never arrive, by reason."}, []string{"reason"}),
		failures:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "scwatch_push_failures_total", Help: "Requests to the receiver that failed, and batches that the spool's disk did not take, by reason."}, []string{"reason"}),
		spoolBytes:  prometheus.NewGauge(prometheus.GaugeOpts{Name: "scwatch_push_spool_bytes", Help: "Size of the batches that wait for the receiver."}),
		spoolOldest: optional("scwatch_push_spool_oldest_timestamp_seconds", "Since when the oldest batch waits. Absent while none does."),
		lastSuccess: optional("scwatch_push_last_success_timestamp_seconds", "When the receiver last took a batch."),
		verified:    optional("scwatch_push_verified_timestamp_seconds", "When a sample of scwatch's own was last read back from the receiver."),
		perMonth:    optional("scwatch_forecast_samples_per_month", "Samples that 30 days of pushing will send, judged by what is sent."),
		euros:       optional("scwatch_forecast_eur_per_month", "What they will cost, at push.price_eur_per_million."),
		budget:      optional("scwatch_push_budget_eur_per_month", "What they may cost: push.monthly_budget_eur. Absent without a limit."),
	}
	reg.MustRegister(m.samples, m.dropped, m.failures, m.spoolBytes, m.spoolOldest, m.lastSuccess, m.verified, m.perMonth, m.euros, m.budget)
	for _, reason := range dropReasons {
		m.dropped.WithLabelValues(reason)
	}
	for _, reason := range failReasons {
		m.failures.WithLabelValues(reason)
	}
	return m
}

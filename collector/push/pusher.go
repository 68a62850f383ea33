package push

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/scwatch/scwatch/internal/clock"
)

// Options are what is pushed, how often and where to.
type Options struct {
	Receiver  Receiver
	Transport http.RoundTripper
	Agent     string // the user agent

	Selection
	Interval    time.Duration
	Heartbeat   time.Duration
	Dir         string // of the spool; empty: in memory
	MaxBytes    int64  // of what waits
	MaxAge      time.Duration
	Price       float64 // euros for a million samples
	Budget      float64 // euros a month that the forecast may reach; 0: any
	Refuse      bool    // to begin over the budget
	Gather      func() ([]*dto.MetricFamily, error)
	Settled     func() bool // everything has been read once, so that what is absent is gone
	FirstWithin time.Duration
}

// flushTimeout bounds the delivery of what waits when the daemon ends.
const flushTimeout = 5 * time.Second

// Pusher pushes until it is told to end.
type Pusher struct {
	options Options
	client  *client
	metrics *Metrics
	log     *slog.Logger

	mu       sync.Mutex // guards the rest
	delta    *delta
	spool    *spool
	forecast forecast
	inMemory bool   // the disk does not take batches
	said     string // the last failure that was logged

	added chan struct{} // a batch waits
}

// New returns a Pusher, with what a former process left in the spool.
func New(o Options, metrics *Metrics, log *slog.Logger) (*Pusher, error) {
	if n := len(o.External); n > MaxExternal {
		return nil, fmt.Errorf("push.external_labels: %d labels; Cockpit takes %d for a series, which leaves %d", n, MaxLabels, MaxExternal)
	}
	client, err := newClient(&o.Receiver, o.Transport, o.Agent)
	if err != nil {
		return nil, err
	}
	spool, damaged, err := openSpool(o.Dir)
	if err != nil {
		return nil, err
	}
	p := &Pusher{
		options: o, client: client, metrics: metrics, log: log,
		delta: newDelta(o.Interval, o.Heartbeat), spool: spool, forecast: forecast{interval: o.Interval, heartbeat: o.Heartbeat},
		added: make(chan struct{}, 1),
	}
	metrics.budget.Reset()
	if o.Budget > 0 {
		metrics.budget.WithLabelValues().Set(o.Budget)
	}
	if damaged > 0 {
		log.Error("batches of the spool are damaged and were set aside", "batches", damaged, "folder", o.Dir)
	}
	for _, b := range spool.batches {
		samples, err := spool.read(b)
		if err != nil {
			return nil, fmt.Errorf("read the spool: %w", err)
		}
		p.delta.replay(samples, b.at)
	}
	p.report()
	return p, nil
}

// Run pushes until ctx ends; then it makes a last batch and delivers what
// waits, for a bounded time. Its error says that it does not even begin: what
// there is to push would cost more than the budget.
func (p *Pusher) Run(ctx context.Context) error {
	if err := p.begin(ctx); err != nil {
		return err
	}
	deliverCtx, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var delivering sync.WaitGroup
	delivering.Go(func() { p.deliver(deliverCtx) })
	delivering.Go(func() { p.verify(deliverCtx) })
	p.tick(ctx)
	p.flush()
	stop()
	delivering.Wait()
	return nil
}

// begin waits until everything has been read, for no longer than FirstWithin:
// what is absent before was not looked for, and would be taken for gone. Then
// it says what pushing will cost.
func (p *Pusher) begin(ctx context.Context) error {
	began := time.Now()
	for !p.options.Settled() && time.Since(began) < p.options.FirstWithin {
		if clock.Sleep(ctx, time.Second) != nil {
			return nil
		}
	}
	families, err := p.options.Gather()
	if err != nil {
		return nil // said at the first tick
	}
	first := forecast{interval: p.options.Interval, heartbeat: p.options.Heartbeat}
	samples := p.options.samples(families)
	first.count(0, len(samples), time.Now())
	perMonth, _ := first.perMonth()
	euros := perMonth / 1e6 * p.options.Price
	attrs := []any{"series", len(samples), "samples_per_month", int64(perMonth), "eur_per_month", fmt.Sprintf("%.2f", euros)}
	if p.options.Budget > 0 && euros > p.options.Budget {
		if p.options.Refuse {
			return fmt.Errorf("push.monthly_budget_eur: pushing %d series would cost about %.2f euros a month, and %.2f are allowed; raise the budget or push.heartbeat, leave metrics out with push.drop, or set push.over_budget: warn",
				len(samples), euros, p.options.Budget)
		}
		p.log.Warn("pushing will cost more than the budget", append(attrs, "budget_eur", p.options.Budget)...)
		return nil
	}
	p.log.Info("pushing begins", attrs...)
	return nil
}

// tick makes a batch at every interval, and a last one at the end.
func (p *Pusher) tick(ctx context.Context) {
	for at := time.Now(); clock.Sleep(ctx, time.Until(at)) == nil; at = at.Add(p.options.Interval) {
		if time.Since(at) > p.options.Interval {
			at = time.Now() // the machine was suspended
		}
		p.batch(at)
	}
	p.batch(time.Now())
}

// batch puts what goes out at a tick into the spool.
func (p *Pusher) batch(at time.Time) {
	families, err := p.options.Gather()
	if err != nil {
		p.log.Error("gather the metrics to push", "err", err)
		return
	}
	at = at.Truncate(time.Millisecond)
	all := p.options.samples(families)
	p.mu.Lock()
	defer p.mu.Unlock()
	samples := p.delta.next(all, at)
	p.forecast.count(len(samples), len(all), at)
	if len(samples) > 0 {
		p.keep(samples, at)
	}
	p.prune(at)
	p.report()
	select {
	case p.added <- struct{}{}:
	default:
	}
}

func (p *Pusher) keep(samples []Sample, at time.Time) {
	err := p.spool.add(samples, at)
	if err != nil {
		p.metrics.failures.WithLabelValues(failedSpool).Inc()
	}
	if failed := err != nil; failed != p.inMemory {
		p.inMemory = failed
		if failed {
			p.log.Error("the spool's folder takes no batch; batches are kept in memory, and a restart would lose them", "err", err)
		} else {
			p.log.Info("the spool's folder takes batches again")
		}
	}
}

// prune drops what waits for too long or is too much, oldest first, and forgets
// delivered batches that say nothing any more of what the receiver holds.
func (p *Pusher) prune(now time.Time) {
	for {
		size, oldest := p.spool.waiting()
		switch {
		case oldest.IsZero():
		case now.Sub(oldest) > p.options.MaxAge:
			p.lose(p.spool.oldest(), droppedOld)
			continue
		case size > p.options.MaxBytes:
			p.lose(p.spool.oldest(), droppedFull)
			continue
		}
		break
	}
	for _, b := range append([]*batch(nil), p.spool.batches...) {
		if b.sent && now.Sub(b.at) > p.options.Heartbeat+p.options.Interval {
			p.spool.remove(b)
		}
	}
}

// lose drops a batch that waits; what was in it goes out again at the next
// tick, as far as it still holds.
func (p *Pusher) lose(b *batch, reason string) {
	samples, err := p.spool.read(b)
	if err == nil {
		p.delta.lost(samples, b.at)
	}
	p.metrics.dropped.WithLabelValues(reason).Add(float64(b.samples))
	p.spool.remove(b)
}

// deliver sends what waits, oldest first.
func (p *Pusher) deliver(ctx context.Context) {
	s := &sender{write: p.client.write, failed: p.failed}
	for {
		p.mu.Lock()
		b := p.spool.oldest()
		var samples []Sample
		var err error
		if b != nil {
			if samples, err = p.spool.read(b); err != nil {
				p.log.Error("a batch of the spool cannot be read and is set aside", "err", err)
				p.metrics.dropped.WithLabelValues(droppedDamaged).Add(float64(b.samples))
				p.spool.setAside(b)
			}
		}
		p.mu.Unlock()
		switch {
		case b == nil:
			select {
			case <-p.added:
				continue
			case <-ctx.Done():
				return
			}
		case err != nil:
			continue
		}
		o, err := s.deliver(ctx, samples, b.at)
		if err != nil {
			return // what was not delivered waits in the spool
		}
		p.delivered(b, o)
	}
}

func (p *Pusher) delivered(b *batch, o outcome) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.metrics.samples.Add(float64(o.accepted))
	for reason, n := range o.dropped {
		p.metrics.dropped.WithLabelValues(reason).Add(float64(n))
	}
	p.delta.lost(o.lost, b.at)
	if len(o.lost) > 0 {
		p.spool.remove(b) // it says what the receiver does not hold
	} else {
		p.spool.done(b)
	}
	if o.accepted > 0 {
		p.metrics.lastSuccess.WithLabelValues().SetToCurrentTime()
		if p.said != "" && len(o.dropped) == 0 {
			p.said = ""
			p.log.Info("the receiver takes what is pushed again")
		}
	}
	p.report()
}

// failed counts a failure, and says it where it is another than the one before.
func (p *Pusher) failed(r *refusal) {
	p.metrics.failures.WithLabelValues(failReason(r)).Inc()
	p.mu.Lock()
	defer p.mu.Unlock()
	kind := fmt.Sprint(r.status, soundsLikeAnotherSender(r))
	if kind == p.said {
		return
	}
	p.said = kind
	attrs := []any{"err", r.Error(), "url", p.options.Receiver.PushURL}
	if what := advice(r, p.options.Receiver.Home); what != "" {
		attrs = append(attrs, "likely", what)
	}
	p.log.Error("the receiver does not take what is pushed", attrs...)
}

// report shows the spool and the forecast. It is called with the lock held.
func (p *Pusher) report() {
	size, oldest := p.spool.waiting()
	p.metrics.spoolBytes.Set(float64(size))
	p.metrics.spoolOldest.Reset()
	if !oldest.IsZero() {
		p.metrics.spoolOldest.WithLabelValues().Set(float64(oldest.UnixMilli()) / 1000)
	}
	if perMonth, ok := p.forecast.perMonth(); ok {
		p.metrics.perMonth.WithLabelValues().Set(perMonth)
		p.metrics.euros.WithLabelValues().Set(perMonth / 1e6 * p.options.Price)
	}
}

// flush waits until nothing waits any more.
func (p *Pusher) flush() {
	for end := time.Now().Add(flushTimeout); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		p.mu.Lock()
		empty := p.spool.oldest() == nil
		p.mu.Unlock()
		if empty {
			return
		}
	}
	p.log.Warn("not everything was delivered before the end; the rest waits in the spool")
}

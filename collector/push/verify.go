package push

import (
	"context"
	"errors"
	"time"

	"github.com/scwatch/scwatch/internal/clock"
)

// verifyInterval is how often a sample of our own is read back.
const verifyInterval = time.Hour

// verify reads back when our own counter was last written, once a batch was
// taken and then every hour.
func (p *Pusher) verify(ctx context.Context) {
	if p.options.Receiver.QueryURL == "" {
		return
	}
	said := ""
	began := time.Now()
	for {
		wait := p.options.Interval
		if p.acceptedAny() {
			at, found, err := p.client.query(ctx, "timestamp(scwatch_push_samples_total)")
			switch {
			case ctx.Err() != nil:
				return
			case err != nil:
				if err.Error() != said {
					said = err.Error()
					p.log.Warn("what was pushed cannot be read back, so that nothing proves its arrival", "err", err)
				}
				var r *refusal
				if errors.As(err, &r) && !r.retryable() {
					wait = verifyInterval // the credentials may not read
				}
			case found && at < float64(began.Unix()):
				// A former process wrote it; ours is under way.
			case found:
				said = ""
				p.metrics.verified.WithLabelValues().Set(at)
				wait = verifyInterval
			}
		}
		if clock.Sleep(ctx, wait) != nil {
			return
		}
	}
}

func (p *Pusher) acceptedAny() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, b := range p.spool.batches {
		if b.sent {
			return true
		}
	}
	return false
}

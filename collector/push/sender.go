package push

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"github.com/scwatch/scwatch/internal/clock"
)

const (
	minBackoff = time.Second
	maxBackoff = 5 * time.Second

	// maxSplit bounds the requests that a batch with bad series costs.
	maxSplit = 64
)

// The values of the label "reason" of dropped samples.
const (
	droppedInvalid = "invalid"  // the receiver refuses the series itself, by 400
	droppedRefused = "refused"  // by another 4xx: credentials, address, data source
	droppedOld     = "too_old"  // longer in the spool than spool_max_age
	droppedFull    = "too_many" // the spool had reached spool_max_bytes
	droppedDamaged = "damaged"  // the batch could not be read back
)

var dropReasons = []string{droppedInvalid, droppedRefused, droppedOld, droppedFull, droppedDamaged}

// The values of the label "reason" of failed requests.
const (
	failedNetwork = "network"
	failedServer  = "server_error"
	failedLimited = "rate_limited"
	failedInvalid = "invalid"
	failedRefused = "refused"
	failedSpool   = "spool" // not a request: the disk did not take a batch, which is in memory only
)

var failReasons = []string{failedNetwork, failedServer, failedLimited, failedInvalid, failedRefused, failedSpool}

func failReason(r *refusal) string {
	switch {
	case r.status == 0:
		return failedNetwork
	case r.status == http.StatusTooManyRequests:
		return failedLimited
	case r.status >= 500:
		return failedServer
	case r.status == http.StatusBadRequest:
		return failedInvalid
	}
	return failedRefused
}

// outcome is what became of a batch.
type outcome struct {
	accepted int
	dropped  map[string]int // samples by reason
	lost     []Sample       // those of them that are worth another try at a later tick
}

func (o *outcome) drop(reason string, samples []Sample) {
	if o.dropped == nil {
		o.dropped = map[string]int{}
	}
	o.dropped[reason] += len(samples)
	if reason != droppedInvalid {
		o.lost = append(o.lost, samples...)
	}
}

// sender delivers one batch after the other.
type sender struct {
	write  func(context.Context, []Sample, time.Time) error
	failed func(*refusal) // is told of every failure
}

// deliver sends samples until the receiver took them or said that it never
// will. Its only error is that of ctx.
func (s *sender) deliver(ctx context.Context, samples []Sample, at time.Time) (o outcome, err error) {
	requests := 0
	err = s.send(ctx, samples, at, &o, &requests)
	return o, err
}

// send halves what is answered with 400 until the bad series are alone: a 400
// does not say which they are, nor what was stored of the others, and a series
// that is sent twice with the same value is taken twice.
func (s *sender) send(ctx context.Context, samples []Sample, at time.Time, o *outcome, requests *int) error {
	if *requests >= maxSplit {
		o.drop(droppedInvalid, samples)
		return nil
	}
	r, err := s.persist(ctx, samples, at, requests)
	switch {
	case err != nil:
		return err
	case r == nil:
		o.accepted += len(samples)
	case r.status != http.StatusBadRequest:
		o.drop(droppedRefused, samples)
	case len(samples) == 1:
		o.drop(droppedInvalid, samples)
	default:
		half := len(samples) / 2
		if err := s.send(ctx, samples[:half], at, o, requests); err != nil {
			return err
		}
		return s.send(ctx, samples[half:], at, o, requests)
	}
	return nil
}

// persist sends a request again and again while that may help, and returns the
// receiver's final word: nil where it took it.
func (s *sender) persist(ctx context.Context, samples []Sample, at time.Time, requests *int) (*refusal, error) {
	for backoff := minBackoff; ; backoff = min(maxBackoff, 2*backoff) {
		err := s.write(ctx, samples, at)
		if err == nil {
			*requests++
			return nil, nil
		}
		var r *refusal
		if !errors.As(err, &r) {
			return nil, err
		}
		s.failed(r)
		if !r.retryable() {
			*requests++
			return r, nil
		}
		wait := max(r.retryAfter, minBackoff+rand.N(1+backoff-minBackoff))
		if err := clock.Sleep(ctx, wait); err != nil {
			return nil, err
		}
	}
}

// soundsLikeAnotherSender tells whether a receiver's words say that somebody
// else sends the same series.
func soundsLikeAnotherSender(r *refusal) bool {
	words := strings.ToLower(r.words)
	return r.status == http.StatusBadRequest &&
		(strings.Contains(words, "out of order") || strings.Contains(words, "out-of-order") || strings.Contains(words, "duplicate sample"))
}

// advice says which of the known mistakes a refusal is likely to be.
func advice(r *refusal, home bool) string {
	switch {
	case soundsLikeAnotherSender(r):
		return "another sender pushes the same series: a second scwatch, or a rollout in which two run; run one at a time"
	case !home:
		return ""
	case r.status == http.StatusUnauthorized:
		return "the token is not one of this Cockpit: it must belong to the project and the region of the data source, and be sent as it was shown at its creation"
	case r.status == http.StatusForbidden:
		return "either the data source is one of Scaleway's own, which take nothing (cockpit.data_source must name one of origin custom), or the token lacks the scope write_only_metrics; for an IAM key the permission set ObservabilityFullAccess"
	case r.status == http.StatusNotFound:
		return "the address is not that of a data source: the generic host without the data source's ID answers 404"
	}
	return ""
}

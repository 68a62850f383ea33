package httpclient

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"github.com/scwatch/scwatch/internal/clock"
)

// A call takes at most about callBudget, retries and their waits included; the
// time at the gate comes on top, because a long queue is no fault of the
// server's. An attempt takes at most attemptTimeout.
const (
	callBudget     = 30 * time.Second
	attemptTimeout = 10 * time.Second
	firstBackoff   = 500 * time.Millisecond
	maxBackoff     = 5 * time.Second
	maxAttempts    = 4
)

// The values of the label "reason".
const (
	reasonRateLimited = "rate_limited" // 429
	reasonServer      = "server_error" // 500, 502, 503, 504
	reasonTimeout     = "timeout"      // no complete answer within attemptTimeout
	reasonNetwork     = "network"      // a connection that failed or broke, a body cut short
)

var retryReasons = []string{reasonRateLimited, reasonServer, reasonTimeout, reasonNetwork}

type repeatableKey struct{}

// Repeatable marks the requests of ctx as those that write and leave the same
// behind when they are sent twice.
func Repeatable(ctx context.Context) context.Context {
	return context.WithValue(ctx, repeatableKey{}, true)
}

// retry sends a request that only reads, or is repeatable, again after a 429, a
// 5xx or a broken connection. Where the server says when to come back (Retry-After) it is
// obeyed; where that lies beyond the call's budget the answer is final.
func (o Options) retry(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		ctx, ex := exchangeOf(req.Context())
		for attempt := 1; ; attempt++ {
			again := req.Clone(ctx)
			if req.GetBody != nil {
				body, err := req.GetBody()
				if err != nil {
					return nil, fmt.Errorf("read the request's body: %w", err)
				}
				again.Body = body
			}
			resp, err := next.RoundTrip(again)
			reason := retryReason(req, resp, err)
			if reason == "" {
				return resp, err
			}
			wait := backoff(attempt)
			if resp != nil {
				if after, ok := retryAfter(resp, time.Now()); ok {
					wait = after
				}
			}
			if attempt == maxAttempts || ex.spent+wait >= callBudget {
				if err != nil {
					err = fmt.Errorf("%w (attempt %d)", err, attempt)
				}
				return resp, err
			}
			ex.spent += wait
			if err := clock.Sleep(ctx, wait); err != nil {
				return nil, err
			}
			o.Metrics.retries.WithLabelValues(o.API(req), reason).Inc()
		}
	})
}

// retryReason returns why the outcome of an attempt is worth another one; empty
// where it is not.
func retryReason(req *http.Request, resp *http.Response, err error) string {
	if req.Method != http.MethodGet && req.Method != http.MethodHead && req.Context().Value(repeatableKey{}) == nil {
		return ""
	}
	if err != nil {
		switch {
		case req.Context().Err() != nil:
			return "" // the caller's own end
		case errors.Is(err, errAttemptTimeout):
			return reasonTimeout
		}
		return reasonNetwork
	}
	switch resp.StatusCode {
	case http.StatusTooManyRequests:
		return reasonRateLimited
	case http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return reasonServer
	}
	return ""
}

// backoff doubles from firstBackoff to maxBackoff; half of it is chance, so
// that units which failed together do not come back together.
func backoff(attempt int) time.Duration {
	d := min(maxBackoff, firstBackoff<<(attempt-1))
	return d/2 + rand.N(d/2)
}

// retryAfter reads the header in both of its forms, seconds and a date.
func retryAfter(resp *http.Response, now time.Time) (time.Duration, bool) {
	value := resp.Header.Get("Retry-After")
	if seconds, err := strconv.Atoi(value); err == nil && seconds >= 0 {
		return time.Duration(seconds) * time.Second, true
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(0, at.Sub(now)), true
	}
	return 0, false
}

// Package httpclient is the way out to every server that scwatch calls: it
// bounds, buffers, retries and counts requests, so that the clients built on
// it need not know of any of this.
package httpclient

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// maxBody bounds an answer's size. A page of 100 functions with 100 variables
// of 1,000 characters each stays below it.
const maxBody = 64 << 20

// Metrics counts requests by API and status, and retries by reason.
type Metrics struct {
	requests *prometheus.CounterVec
	retries  *prometheus.CounterVec
}

// NewMetrics registers the counters with reg, at zero for every one of apis.
func NewMetrics(reg prometheus.Registerer, apis ...string) *Metrics {
	m := &Metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "scwatch_api_requests_total",
			Help: "Requests sent, each attempt counted, by API and HTTP status code (error: no answer).",
		}, []string{"api", "code"}),
		retries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "scwatch_api_retries_total",
			Help: "Requests that were sent again, by API and reason.",
		}, []string{"api", "reason"}),
	}
	reg.MustRegister(m.requests, m.retries)
	for _, api := range apis {
		m.requests.WithLabelValues(api, "200")
		m.requests.WithLabelValues(api, noAnswer)
		for _, reason := range retryReasons {
			m.retries.WithLabelValues(api, reason)
		}
	}
	return m
}

const noAnswer = "error"

// Options are the parts of a client. All fields are required.
type Options struct {
	Base    http.RoundTripper // see NewTransport
	Gate    *Gate
	Metrics *Metrics
	API     func(*http.Request) string // the label "api" of a request
}

// New returns a client that follows no redirect: a redirect to another host
// would take the X-Auth-Token header along.
func New(o Options) *http.Client {
	var rt http.RoundTripper = buffer(o.Base)
	rt = o.count(rt)
	rt = o.Gate.Transport(rt)
	rt = o.retry(rt)
	return &http.Client{
		Transport: rt,
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		},
	}
}

// NewTransport returns a transport of our own: http.DefaultTransport is shared
// with every library in the process, and some of them change it.
func NewTransport() *http.Transport {
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		ForceAttemptHTTP2:   true,
		MaxIdleConns:        100,
		MaxIdleConnsPerHost: 32,
		IdleConnTimeout:     90 * time.Second,
		TLSHandshakeTimeout: 10 * time.Second,
	}
}

// buffer reads each body to its end within RoundTrip, so that a body cut short
// is an error that can be retried, like a connection that broke earlier, and
// bounds the whole attempt by attemptTimeout.
func buffer(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		ctx, cancel := context.WithTimeoutCause(req.Context(), attemptTimeout, errAttemptTimeout)
		defer cancel()
		resp, err := next.RoundTrip(req.WithContext(ctx))
		if err != nil {
			return nil, cmp.Or(timeoutCause(req, ctx), err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
		if err != nil {
			return nil, cmp.Or(timeoutCause(req, ctx), fmt.Errorf("read the answer's body: %w", err))
		}
		if len(body) > maxBody {
			return nil, fmt.Errorf("read the answer's body: more than %d bytes", maxBody)
		}
		resp.Body = io.NopCloser(bytes.NewReader(body))
		resp.ContentLength = int64(len(body))
		return resp, nil
	})
}

var errAttemptTimeout = fmt.Errorf("no complete answer within %s", attemptTimeout)

// timeoutCause returns errAttemptTimeout where the attempt's own bound ended
// it, and nil where the caller's context did or neither.
func timeoutCause(req *http.Request, attempt context.Context) error {
	if req.Context().Err() == nil && attempt.Err() != nil {
		return context.Cause(attempt)
	}
	return nil
}

func (o Options) count(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		_, ex := exchangeOf(req.Context())
		started := time.Now()
		resp, err := next.RoundTrip(req)
		ex.Attempts++
		ex.spent += time.Since(started)
		code := noAnswer
		ex.Status, ex.RequestID = 0, ""
		if err == nil {
			code = strconv.Itoa(resp.StatusCode)
			ex.Status, ex.RequestID = resp.StatusCode, resp.Header.Get("X-Request-Id")
		}
		o.Metrics.requests.WithLabelValues(o.API(req), code).Inc()
		return resp, err
	})
}

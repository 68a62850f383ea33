package httpclient

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// answer is what the stand-in server does with one attempt.
type answer func(*http.Request) (*http.Response, error)

func status(code int, header ...string) answer {
	return func(req *http.Request) (*http.Response, error) {
		io.Copy(io.Discard, req.Body)
		h := http.Header{"X-Request-Id": {"request-1"}}
		for i := 0; i < len(header); i += 2 {
			h.Set(header[i], header[i+1])
		}
		return &http.Response{StatusCode: code, Header: h, Body: io.NopCloser(strings.NewReader("body"))}, nil
	}
}

func broken(*http.Request) (*http.Response, error) {
	return nil, &net.OpError{Op: "read", Err: errors.New("connection reset by peer")}
}

func cutShort(*http.Request) (*http.Response, error) {
	body := io.MultiReader(strings.NewReader("bo"), iotestErrReader{io.ErrUnexpectedEOF})
	return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(body)}, nil
}

// echo takes a request with its whole body only.
func echo(req *http.Request) (*http.Response, error) {
	if body, _ := io.ReadAll(req.Body); string(body) != "group" {
		return status(400)(req)
	}
	return status(200)(req)
}

func hang(req *http.Request) (*http.Response, error) {
	<-req.Context().Done()
	return nil, req.Context().Err()
}

type iotestErrReader struct{ err error }

func (r iotestErrReader) Read([]byte) (int, error) { return 0, r.err }

func TestRetry(t *testing.T) {
	httpDate := func(in time.Duration) string { return time.Now().Add(in).UTC().Format(http.TimeFormat) }
	for name, test := range map[string]struct {
		method   string
		again    bool            // the request is repeatable
		answers  func() []answer // the last one is repeated
		status   int             // 0: an error is wanted
		attempts int
		atLeast  time.Duration
		atMost   time.Duration
		retries  map[string]float64
	}{
		"a good answer is taken": {
			answers: func() []answer { return []answer{status(200)} }, status: 200, attempts: 1,
		},
		"a 500 passes": {
			answers: func() []answer { return []answer{status(500), status(200)} }, status: 200, attempts: 2,
			atLeast: firstBackoff / 2, atMost: firstBackoff, retries: map[string]float64{reasonServer: 1},
		},
		"a 503 stays": {
			answers: func() []answer { return []answer{status(503)} }, status: 503, attempts: maxAttempts,
			atLeast: time.Second, atMost: 5 * time.Second, retries: map[string]float64{reasonServer: 3},
		},
		"429 with Retry-After in seconds": {
			answers: func() []answer { return []answer{status(429, "Retry-After", "7"), status(200)} }, status: 200, attempts: 2,
			atLeast: 7 * time.Second, atMost: 7 * time.Second, retries: map[string]float64{reasonRateLimited: 1},
		},
		"429 with Retry-After as a date": {
			answers: func() []answer { return []answer{status(429, "Retry-After", httpDate(9*time.Second)), status(200)} }, status: 200, attempts: 2,
			atLeast: 8 * time.Second, atMost: 9 * time.Second, retries: map[string]float64{reasonRateLimited: 1},
		},
		"429 with Retry-After beyond the budget is final": {
			answers: func() []answer { return []answer{status(429, "Retry-After", "120"), status(200)} }, status: 429, attempts: 1,
		},
		"429 without Retry-After backs off": {
			answers: func() []answer { return []answer{status(429), status(200)} }, status: 200, attempts: 2,
			atLeast: firstBackoff / 2, atMost: firstBackoff, retries: map[string]float64{reasonRateLimited: 1},
		},
		"a broken connection": {
			answers: func() []answer { return []answer{broken, status(200)} }, status: 200, attempts: 2,
			atMost: firstBackoff, retries: map[string]float64{reasonNetwork: 1},
		},
		"a body cut short": {
			answers: func() []answer { return []answer{cutShort, status(200)} }, status: 200, attempts: 2,
			atMost: firstBackoff, retries: map[string]float64{reasonNetwork: 1},
		},
		"a hang is bounded": {
			answers: func() []answer { return []answer{hang} }, attempts: 3,
			atLeast: 20 * time.Second, atMost: callBudget + attemptTimeout, retries: map[string]float64{reasonTimeout: 2},
		},
		"a 404 is final": {
			answers: func() []answer { return []answer{status(404)} }, status: 404, attempts: 1,
		},
		"a POST is sent once": {
			method: http.MethodPost, answers: func() []answer { return []answer{status(500)} }, status: 500, attempts: 1,
		},
		"a repeatable POST is sent again, body and all": {
			method: http.MethodPost, again: true, answers: func() []answer { return []answer{status(503), echo} }, status: 200, attempts: 2,
			atLeast: firstBackoff / 2, atMost: firstBackoff, retries: map[string]float64{reasonServer: 1},
		},
		"a redirect is not followed": {
			answers: func() []answer { return []answer{status(302, "Location", "http://elsewhere.example/")} }, status: 302, attempts: 1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				answers := test.answers()
				metrics := NewMetrics(prometheus.NewRegistry(), "functions")
				client := New(Options{
					Base: roundTripper(func(req *http.Request) (*http.Response, error) {
						next := answers[0]
						if len(answers) > 1 {
							answers = answers[1:]
						}
						return next(req)
					}),
					Gate:    NewGate(1, 0),
					Metrics: metrics,
					API:     func(*http.Request) string { return "functions" },
				})
				var ex Exchange
				method := test.method
				if method == "" {
					method = http.MethodGet
				}
				ctx := Record(t.Context(), &ex)
				if test.again {
					ctx = Repeatable(ctx)
				}
				req, _ := http.NewRequestWithContext(ctx, method, "http://api.example/functions", strings.NewReader("group"))
				began := time.Now()
				resp, err := client.Do(req)
				took := time.Since(began)
				switch {
				case test.status == 0 && err == nil:
					t.Errorf("status %d, want an error", resp.StatusCode)
				case test.status != 0 && (err != nil || resp.StatusCode != test.status):
					t.Errorf("response %v, error %v, want status %d", resp, err, test.status)
				}
				if ex.Attempts != test.attempts || ex.Status != test.status {
					t.Errorf("recorded %d attempts and status %d, want %d and %d", ex.Attempts, ex.Status, test.attempts, test.status)
				}
				if test.status != 0 && ex.RequestID != "request-1" {
					t.Errorf("recorded request ID %q", ex.RequestID)
				}
				if took < test.atLeast || took > test.atMost {
					t.Errorf("took %s, want %s to %s", took, test.atLeast, test.atMost)
				}
				for _, reason := range retryReasons {
					got := testutil.ToFloat64(metrics.retries.WithLabelValues("functions", reason))
					if got != test.retries[reason] {
						t.Errorf("%v retries for %s, want %v", got, reason, test.retries[reason])
					}
				}
			})
		})
	}
}

func TestCallersEndIsNotRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := New(Options{
			Base:    roundTripper(hang),
			Gate:    NewGate(1, 0),
			Metrics: NewMetrics(prometheus.NewRegistry(), "functions"),
			API:     func(*http.Request) string { return "functions" },
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://api.example/", nil)
		began := time.Now()
		_, err := client.Do(req)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("error %v after %s, want the caller's deadline after 1s", err, time.Since(began))
		}
	})
}

func TestBodyIsBounded(t *testing.T) {
	rt := buffer(roundTripper(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, Body: io.NopCloser(io.LimitReader(zeros{}, maxBody+1))}, nil
	}))
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://api.example/", nil)
	if _, err := rt.RoundTrip(req); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("error %v, want one about the size", err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

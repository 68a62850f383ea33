package push

import (
	"context"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/scwatch/scwatch/internal/clock"
	"github.com/scwatch/scwatch/internal/config"
)

// Which credentials go where; the API key to Scaleway alone.
func TestAuthorize(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	key := config.NewSecret("api-key")
	for name, test := range map[string]struct {
		receiver Receiver
		header   string
		want     string
	}{
		"the API key, at home":               {Receiver{Home: true, APIKey: key}, "X-Auth-Token", "api-key"},
		"a token, at home":                   {Receiver{Home: true, APIKey: key, Token: config.NewSecret("token")}, "X-Token", "token"},
		"a token's file, at home":            {Receiver{Home: true, APIKey: key, TokenFile: file}, "X-Token", "first"},
		"no API key elsewhere":               {Receiver{APIKey: key}, "", ""},
		"a bearer token elsewhere":           {Receiver{APIKey: key, Token: config.NewSecret("token")}, "Authorization", "Bearer token"},
		"a user and password":                {Receiver{APIKey: key, Token: config.NewSecret("user:pass")}, "Authorization", "Basic dXNlcjpwYXNz"},
		"a bearer token's file":              {Receiver{APIKey: key, TokenFile: file}, "Authorization", "Bearer first"},
		"the file comes before the variable": {Receiver{TokenFile: file, Token: config.NewSecret("token")}, "Authorization", "Bearer first"},
	} {
		t.Run(name, func(t *testing.T) {
			write("first\n")
			req, _ := http.NewRequest(http.MethodPost, "http://x/", nil)
			if err := test.receiver.authorize(req); err != nil {
				t.Fatal(err)
			}
			for _, header := range []string{"X-Auth-Token", "X-Token", "Authorization"} {
				want := ""
				if header == test.header {
					want = test.want
				}
				if got := req.Header.Get(header); got != want {
					t.Errorf("%s is %q, want %q", header, got, want)
				}
			}
			if test.receiver.TokenFile == "" {
				return
			}
			write("second")
			if err := test.receiver.authorize(req); err != nil || !strings.Contains(req.Header.Get(test.header), "second") {
				t.Errorf("after the file changed: %q, error %v", req.Header.Get(test.header), err)
			}
			write(" \n")
			if err := test.receiver.authorize(req); err == nil || err.Error() != "push.token_file is empty" {
				t.Errorf("an empty file: error %v", err)
			}
		})
	}
}

func TestAdvice(t *testing.T) {
	for name, test := range map[string]struct {
		refusal refusal
		home    bool
		want    string
	}{
		"401":           {refusal{status: 401}, true, "must belong to the project and the region"},
		"403":           {refusal{status: 403}, true, "one of Scaleway's own"},
		"404":           {refusal{status: 404}, true, "the generic host without the data source's ID"},
		"503":           {refusal{status: 503}, true, ""},
		"403 elsewhere": {refusal{status: 403}, false, ""},
		"out of order":  {refusal{status: 400, words: "out of order sample"}, false, "another sender"},
		"duplicate":     {refusal{status: 400, words: "err-mimir-sample-duplicate-timestamp: duplicate sample for timestamp"}, true, "another sender"},
		"another 400":   {refusal{status: 400, words: "label name too long"}, true, ""},
	} {
		if got := advice(&test.refusal, test.home); (got == "") != (test.want == "") || !strings.Contains(got, test.want) {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

// The pusher's own life: a tick at every interval, however long the receiver
// takes; at the end a last batch, what waits is delivered, and no series is
// said to have ended.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var ticks []time.Time
		var order []time.Time
		stale := 0
		transport := roundTripper(func(req *http.Request) (*http.Response, error) {
			body := make([]byte, req.ContentLength)
			for n := 0; n < len(body); {
				m, err := req.Body.Read(body[n:])
				n += m
				if err != nil && n < len(body) {
					return nil, err
				}
			}
			request, err := s2.Decode(nil, body)
			if err != nil {
				t.Error(err)
			}
			samples, at, err := parseRequest(request)
			if err != nil {
				t.Error(err)
			}
			if err := clock.Sleep(req.Context(), 25*time.Second); err != nil { // just within the bound of a request
				return nil, err
			}
			mu.Lock()
			defer mu.Unlock()
			order = append(order, at)
			for _, s := range samples {
				if isStale(s.Value) {
					stale++
				}
			}
			return &http.Response{StatusCode: 204, Body: http.NoBody, Header: http.Header{}}, nil
		})
		w := &world{values: map[string]float64{"a": 1, "b": 2}}
		var settled atomic.Bool
		p, err := New(Options{
			Receiver: Receiver{PushURL: "http://receiver.example/api/v1/push"}, Transport: transport, Agent: "test",
			Interval: time.Minute, Heartbeat: time.Minute, MaxBytes: 1 << 20, MaxAge: time.Hour,
			Gather: func() ([]*dto.MetricFamily, error) {
				mu.Lock()
				defer mu.Unlock()
				ticks = append(ticks, time.Now())
				return w.families()
			},
			Settled: settled.Load, FirstWithin: time.Minute,
		}, NewMetrics(prometheus.NewRegistry()), slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		began := time.Now()
		go func() {
			defer close(ended)
			if err := p.Run(ctx); err != nil {
				t.Error(err)
			}
		}()
		time.Sleep(20 * time.Second)
		settled.Store(true)
		time.Sleep(10 * time.Minute)
		mu.Lock()
		ticks = ticks[1:] // the first look is the forecast's
		if len(ticks) < 9 || ticks[0].Sub(began) > 21*time.Second {
			t.Errorf("%d batches, the first after %s; a slow receiver must not hold up the ticks", len(ticks), ticks[0].Sub(began))
		}
		for i := 1; i < len(ticks); i++ {
			if d := ticks[i].Sub(ticks[i-1]); d != time.Minute {
				t.Errorf("ticks %s apart", d)
			}
		}
		mu.Unlock()
		stop := time.Now()
		cancel()
		<-ended
		if took := time.Since(stop); took > flushTimeout+time.Second {
			t.Errorf("the end took %s", took)
		}
		if _, oldest := p.spool.waiting(); oldest.IsZero() {
			t.Error("what was not delivered does not wait")
		}
		for i := 1; i < len(order); i++ {
			if !order[i].After(order[i-1]) {
				t.Errorf("a batch of %s was sent after one of %s", order[i], order[i-1])
			}
		}
		if stale > 0 || len(order) == 0 {
			t.Errorf("%d series were said to have ended, in %d batches", stale, len(order))
		}
	})
}

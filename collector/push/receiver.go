package push

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/exp/api/remote"

	"github.com/scwatch/scwatch/internal/config"
)

// Receiver is where samples go.
type Receiver struct {
	PushURL  string
	QueryURL string // of the instant query API; empty: nothing can be read back
	Home     bool   // it is a data source of Cockpit

	TokenFile string        // read again when it changes; comes first
	Token     config.Secret // a Cockpit token, or "user:password" or a bearer token elsewhere
	APIKey    config.Secret // sent to Cockpit alone, where there is no token
}

// answerLimit bounds what is read of an answer.
const answerLimit = 64 << 10

// sendTimeout bounds one request.
const sendTimeout = 30 * time.Second

// refusal is an answer that is no success.
type refusal struct {
	status     int // 0: none came
	words      string
	retryAfter time.Duration
}

func (r *refusal) Error() string {
	if r.status == 0 {
		return r.words
	}
	return fmt.Sprintf("%d: %s", r.status, r.words)
}

// retryable tells whether the same request may work later.
func (r *refusal) retryable() bool {
	return r.status == 0 || r.status == http.StatusTooManyRequests || r.status >= 500
}

// attempt is one write. What came back is noted on the way, because the
// library's errors hold it as text only; and a failure ends the attempt,
// because the library's own retries know nothing of order and spool.
type attempt struct {
	answer refusal
	end    context.CancelFunc
}

type attemptKey struct{}

func (a *attempt) note(resp *http.Response, err error) {
	if err != nil {
		a.answer.words = err.Error()
		a.end()
		return
	}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, answerLimit))
	resp.Body.Close()
	resp.Body = io.NopCloser(bytes.NewReader(body))
	a.answer.status = resp.StatusCode
	a.answer.words = cmp.Or(strings.TrimSpace(string(body)), http.StatusText(resp.StatusCode))
	value := resp.Header.Get("Retry-After")
	if seconds, err := strconv.Atoi(value); err == nil {
		a.answer.retryAfter = time.Duration(seconds) * time.Second
	} else if date, err := http.ParseTime(value); err == nil {
		a.answer.retryAfter = max(0, time.Until(date))
	}
	if resp.StatusCode/100 != 2 {
		a.end()
	}
}

// authorize sets the credentials on a request. The API key never goes anywhere
// but to Scaleway.
func (r *Receiver) authorize(req *http.Request) error {
	token := r.Token.Reveal()
	if r.TokenFile != "" {
		data, err := os.ReadFile(r.TokenFile)
		if err != nil {
			return fmt.Errorf("read push.token_file: %w", errors.Unwrap(err))
		}
		if token = strings.TrimSpace(string(data)); token == "" {
			return errors.New("push.token_file is empty")
		}
	}
	switch user, _, isPair := strings.Cut(token, ":"); {
	case token == "" && r.Home:
		req.Header.Set("X-Auth-Token", r.APIKey.Reveal())
	case token == "":
	case r.Home:
		req.Header.Set("X-Token", token)
	case isPair && user != "":
		req.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(token)))
	default:
		req.Header.Set("Authorization", "Bearer "+token)
	}
	return nil
}

// client speaks remote write to a Receiver.
type client struct {
	receiver *Receiver
	http     *http.Client
	api      *remote.API
}

func newClient(r *Receiver, transport http.RoundTripper, agent string) (*client, error) {
	c := &client{receiver: r}
	c.http = &http.Client{
		Timeout: sendTimeout,
		Transport: roundTripper(func(req *http.Request) (*http.Response, error) {
			req = req.Clone(req.Context())
			req.Header.Set("User-Agent", agent)
			if err := r.authorize(req); err != nil {
				return nil, err
			}
			resp, err := transport.RoundTrip(req)
			if a, ok := req.Context().Value(attemptKey{}).(*attempt); ok {
				a.note(resp, err)
			}
			return resp, err
		}),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	target, err := url.Parse(r.PushURL)
	if err != nil {
		return nil, err
	}
	at := target.Path
	target.Path = "/"
	c.api, err = remote.NewAPI(target.String(), remote.WithAPIHTTPClient(c.http), remote.WithAPIPath(path.Clean(at)))
	return c, err
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// encoded is a request that is encoded already, in the form that the library
// asks of a message.
type encoded []byte

// Size returns the length of the encoding.
func (e encoded) Size() int { return len(e) }

// MarshalToSizedBuffer copies the encoding.
func (e encoded) MarshalToSizedBuffer(b []byte) (int, error) { return copy(b, e), nil }

// write sends samples once. Its error is a *refusal, or that of ctx.
func (c *client) write(ctx context.Context, samples []Sample, at time.Time) error {
	attemptCtx, end := context.WithCancel(ctx)
	defer end()
	a := &attempt{end: end}
	_, err := c.api.Write(context.WithValue(attemptCtx, attemptKey{}, a), remote.WriteV1MessageType, encoded(appendRequest(nil, samples, at)))
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err == nil:
		return nil
	}
	a.answer.words = cmp.Or(a.answer.words, err.Error())
	return &a.answer
}

// query asks for the value of an instant query with one result.
func (c *client) query(ctx context.Context, promql string) (value float64, found bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.receiver.QueryURL+"?query="+url.QueryEscape(promql), nil)
	if err != nil {
		return 0, false, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, false, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, answerLimit))
	if err != nil {
		return 0, false, err
	}
	if resp.StatusCode != http.StatusOK {
		return 0, false, &refusal{status: resp.StatusCode, words: http.StatusText(resp.StatusCode)}
	}
	var answer struct {
		Data struct {
			Result []struct {
				Value [2]any `json:"value"`
			} `json:"result"`
		} `json:"data"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return 0, false, fmt.Errorf("the answer is not one of a query API: %w", err)
	}
	for _, result := range answer.Data.Result {
		text, _ := result.Value[1].(string)
		v, err := strconv.ParseFloat(text, 64)
		if err == nil && (!found || v > value) {
			value, found = v, true
		}
	}
	return value, found, nil
}

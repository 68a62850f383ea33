package provisioner

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/scwatch/scwatch/internal/httpclient"
)

// server is a server that is called, with what it takes to be let in.
type server struct {
	client *http.Client
	base   string // without a slash at the end
	header http.Header
	wants  string // the permission sets, for whoever is refused
	check  string // what to check where the answer is of somebody else
}

// answer is what a server said.
type answer struct {
	status int
	html   bool
	body   []byte
}

// call sends a request. An answer that is no 2xx is an *httpclient.Error, and
// comes along for those who want to tell one 404 from another.
func (s server) call(ctx context.Context, attempted, method, path, contentType string, body []byte) (answer, error) {
	var ex httpclient.Exchange
	req, err := http.NewRequestWithContext(httpclient.Record(ctx, &ex), method, s.base+path, bytes.NewReader(body))
	if err != nil {
		return answer{}, fmt.Errorf("%s: %w", attempted, err)
	}
	for name, values := range s.header {
		req.Header[name] = values
	}
	if body != nil {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := s.client.Do(req)
	if ctx.Err() != nil {
		return answer{}, fmt.Errorf("%s: %w", attempted, ctx.Err())
	}
	failed := &httpclient.Error{Attempted: attempted, Status: ex.Status, RequestID: ex.RequestID}
	if err != nil {
		var transport *url.Error
		if errors.As(err, &transport) {
			err = transport.Err // the address is in it, and can be long
		}
		failed.Reason, failed.Advice = "no answer: "+err.Error(), "check the network and "+s.check
		return answer{}, failed
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return answer{}, fmt.Errorf("%s: %w", attempted, err)
	}
	a := answer{status: resp.StatusCode, body: data}
	a.html = strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") || bytes.HasPrefix(bytes.ToLower(bytes.TrimSpace(data)), []byte("<!doctype html"))
	if resp.StatusCode/100 == 2 && !a.html {
		return a, nil
	}
	s.explain(failed, a, resp.Header.Get("Location"))
	return a, failed
}

// explain puts an answer that is no success into words.
func (s server) explain(failed *httpclient.Error, a answer, location string) {
	failed.Status = a.status
	switch {
	case a.status/100 == 2:
		failed.Reason, failed.Advice = "the answer is a web page", "check "+s.check
		return
	case a.status/100 == 3:
		failed.Reason, failed.Advice = "a redirect to "+cmp.Or(hostOf(location), "nowhere")+", which is not followed: it would take the credentials along", "check "+s.check
		return
	}
	failed.Reason = cmp.Or(words(a), http.StatusText(a.status))
	switch a.status {
	case http.StatusUnauthorized:
		failed.Advice = "check that the credentials exist, are complete and have not expired"
	case http.StatusForbidden:
		failed.Advice = "give the key's application " + s.wants + " (a change takes a while to spread)"
	case http.StatusNotFound:
		if isWrongAddress(a) {
			failed.Advice = "check " + s.check
		}
	}
}

// isWrongAddress tells a 404 of a server that does not know the path from one
// that knows no such object.
func isWrongAddress(a answer) bool {
	return a.html || strings.TrimSpace(string(a.body)) == "404 page not found" || len(bytes.TrimSpace(a.body)) == 0
}

// words is what the body of an error says.
func words(a answer) string {
	if a.html {
		return ""
	}
	var object struct {
		Message string `json:"message"`
		Error   string `json:"error"`
		Details []struct{ Action, Resource string }
	}
	if json.Unmarshal(a.body, &object) == nil && object.Message+object.Error != "" {
		said := cmp.Or(object.Message, object.Error)
		for _, d := range object.Details {
			said += ", " + d.Action + " " + d.Resource
		}
		return said
	}
	line, _, _ := strings.Cut(strings.TrimSpace(string(a.body)), "\n")
	return line[:min(len(line), 300)]
}

func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Host
}

// getJSON reads JSON into out. A body that is none, or has another shape, is an
// error: it is never taken for an empty list.
func (s server) getJSON(ctx context.Context, attempted, path string, out any) (answer, error) {
	a, err := s.call(ctx, attempted, http.MethodGet, path, "", nil)
	if err != nil {
		return a, err
	}
	if err := json.Unmarshal(a.body, out); err != nil {
		return a, &httpclient.Error{Attempted: attempted, Status: a.status, Reason: "the answer is not what this call gives", Advice: "check " + s.check}
	}
	return a, nil
}

func (s server) postJSON(ctx context.Context, attempted, path string, in any) (answer, error) {
	body, err := json.Marshal(in)
	if err != nil {
		return answer{}, fmt.Errorf("%s: %w", attempted, err)
	}
	return s.call(ctx, attempted, http.MethodPost, path, "application/json", body)
}

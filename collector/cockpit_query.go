package collector

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
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/scwatch/scwatch/internal/config"
	"github.com/scwatch/scwatch/internal/httpclient"
)

// Cockpit asks the data sources and the Grafana of projects.
type Cockpit struct {
	client     *http.Client
	agent      string
	key        config.Secret     // goes in X-Auth-Token to the addresses that the API gives
	tokenFiles map[string]string // of Cockpit tokens, by "<project ID>/<region>"
}

// NewCockpit returns a Cockpit that asks with the IAM key, or with the token of
// a project and region where there is a file with one.
func NewCockpit(client *http.Client, agent string, key config.Secret, tokenFiles map[string]string) *Cockpit {
	return &Cockpit{client, agent, key, tokenFiles}
}

// question is one call to a data source or a Grafana.
type question struct {
	unit      Unit
	attempted string // completes "could not …"
	address   string
	query     url.Values
	scope     string // of a Cockpit token that may ask it; empty: only the key may
}

// ask returns the body of a good answer. Its error is an *APIError.
func (c *Cockpit) ask(ctx context.Context, q question) ([]byte, error) {
	fail := func(e *APIError) ([]byte, error) {
		e.Attempted = q.attempted
		return nil, e
	}
	var ex httpclient.Exchange
	req, err := http.NewRequestWithContext(httpclient.Record(ctx, &ex), http.MethodGet, q.address+"?"+q.query.Encode(), nil)
	if err != nil {
		return fail(&APIError{Reason: "the address that the Cockpit API gives is no URL", Advice: "check SCW_API_URL"})
	}
	req.Header.Set("User-Agent", c.agent)
	file := c.tokenFiles[q.unit.ProjectID+"/"+q.unit.Region]
	if q.scope != "" && file != "" {
		token, err := os.ReadFile(file)
		if err == nil && len(bytes.TrimSpace(token)) == 0 {
			err = errors.New("it is empty")
		}
		if err != nil {
			return fail(&APIError{Reason: fmt.Sprintf("the token file %s cannot be read: %v", file, err), Advice: "check rejected_calls.token_files"})
		}
		req.Header.Set("X-Token", string(bytes.TrimSpace(token)))
	} else {
		file = ""
		req.Header.Set("X-Auth-Token", c.key.Reveal())
	}
	resp, err := c.client.Do(req)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		var transport *url.Error
		if errors.As(err, &transport) {
			err = transport.Err // without the address, which is long
		}
		return fail(&APIError{Reason: "no answer: " + err.Error(), Advice: "check the network"})
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return fail(&APIError{Reason: "the answer broke off: " + err.Error()})
	}
	if resp.StatusCode == http.StatusOK {
		return body, nil
	}
	return fail(&APIError{
		Status: resp.StatusCode, RequestID: ex.RequestID,
		Reason: cmp.Or(errorText(body), http.StatusText(resp.StatusCode)), Advice: q.advice(resp.StatusCode, file),
	})
}

// advice is how to mend a refusal.
func (q question) advice(status int, tokenFile string) string {
	switch {
	case status != http.StatusUnauthorized && status != http.StatusForbidden:
		return ""
	case tokenFile != "":
		return fmt.Sprintf("give the token in %s the scope %s; it must be one of this project and region", tokenFile, q.scope)
	}
	advice := fmt.Sprintf("give the key's application the permission set %s (a change takes a while to spread)", readers["cockpit"])
	if q.scope != "" {
		advice += fmt.Sprintf(", or name a Cockpit token with the scope %s in rejected_calls.token_files", q.scope)
	}
	return advice
}

// maxWords bounds what of an error answer is passed on.
const maxWords = 300

// errorText is what an error answer says: the error of Prometheus's API, the
// message of Grafana's, the text of Loki's. A page of HTML says nothing.
func errorText(body []byte) string {
	var answer struct{ Error, Message string }
	text := strings.Join(strings.Fields(string(body)), " ")
	if json.Unmarshal(body, &answer) == nil {
		text = cmp.Or(answer.Error, answer.Message)
	} else if strings.HasPrefix(text, "<") {
		return ""
	}
	if len(text) > maxWords {
		text = strings.ToValidUTF8(text[:maxWords], "") + "…"
	}
	return text
}

// Scopes of Cockpit tokens.
const (
	scopeReadMetrics = "read_only_metrics"
	scopeReadLogs    = "read_only_logs"
)

// promAPI and lokiAPI are where data sources answer, below their address.
const (
	promAPI = "/prometheus/api/v1/"
	lokiAPI = "/loki/api/v1/"
)

// dataQuestion is a question to the data source that m counts from, or would.
func dataQuestion(unit Unit, source, address, api, what string, query url.Values) question {
	q := question{unit: unit, query: query, attempted: fmt.Sprintf("%s in the Scaleway Metrics of project %s in %s", what, unit.ProjectID, unit.Region)}
	q.address, q.scope = strings.TrimSuffix(address, "/")+promAPI+api, scopeReadMetrics
	if source == sourceOfLogs {
		q.address, q.scope = strings.TrimSuffix(address, "/")+lokiAPI+api, scopeReadLogs
		q.attempted = strings.Replace(q.attempted, "Scaleway Metrics", "Scaleway Logs", 1)
	}
	return q
}

// notOfData is the reason of an answer that no data source gives.
const notOfData = "the answer is not one of a data source"

// data asks a data source and reads what its answer holds into out.
func (c *Cockpit) data(ctx context.Context, q question, out any) error {
	body, err := c.ask(ctx, q)
	if err != nil {
		return err
	}
	var answer struct {
		Status string
		Error  string
		Data   json.RawMessage
	}
	switch err := json.Unmarshal(body, &answer); {
	case err != nil || answer.Status == "":
		return &APIError{Attempted: q.attempted, Status: http.StatusOK, Reason: notOfData}
	case answer.Status != "success":
		return &APIError{Attempted: q.attempted, Status: http.StatusOK, Reason: cmp.Or(answer.Error, answer.Status)}
	case json.Unmarshal(answer.Data, out) != nil:
		return &APIError{Attempted: q.attempted, Status: http.StatusOK, Reason: notOfData}
	}
	return nil
}

// vectorOrMatrix is the data of an instant query.
type vectorOrMatrix struct {
	ResultType string
	Result     []struct {
		Metric map[string]string
		Value  *jsonPoint
		Values []jsonPoint
	}
}

// jsonPoint is [seconds, "value"].
type jsonPoint struct{ point }

func (p *jsonPoint) UnmarshalJSON(data []byte) error {
	var pair []json.RawMessage
	var text string
	var at float64
	if err := json.Unmarshal(data, &pair); err != nil {
		return err
	}
	if len(pair) != 2 {
		return errors.New("a point has not two parts")
	}
	if err := errors.Join(json.Unmarshal(pair[0], &at), json.Unmarshal(pair[1], &text)); err != nil {
		return err
	}
	value, err := strconv.ParseFloat(text, 64)
	p.at, p.value = int64(at*1000+0.5), value
	return err
}

// query asks an instant query at a time. wanted is "vector" or "matrix".
func (c *Cockpit) query(ctx context.Context, unit Unit, source, address, text, wanted string, at time.Time) ([]series, error) {
	q := dataQuestion(unit, source, address, "query", "query rejected calls", url.Values{
		"query": {text}, "time": {strconv.FormatFloat(float64(at.UnixMilli())/1000, 'f', 3, 64)},
	})
	var data vectorOrMatrix
	if err := c.data(ctx, q, &data); err != nil {
		return nil, err
	}
	if data.ResultType != wanted {
		return nil, &APIError{Attempted: q.attempted, Status: http.StatusOK, Reason: fmt.Sprintf("the query returns a %s, where a %s is expected", data.ResultType, wanted),
			Advice: "make it an instant query by resource_id and code"}
	}
	var all []series
	for _, r := range data.Result {
		s := series{labels: r.Metric}
		if r.Value != nil {
			s.points = []point{r.Value.point}
		}
		for _, p := range r.Values {
			s.points = append(s.points, p.point)
		}
		byTime(s.points)
		all = append(all, s)
	}
	return all, nil
}

package collector

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	function "github.com/scaleway/scaleway-sdk-go/api/function/v1beta1"
	"github.com/scaleway/scaleway-sdk-go/scw"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/scwatch/scwatch/internal/httpclient"
)

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// scripted is an API that answers as answer says.
func scripted(t testing.TB, answer func(*http.Request) (status int, contentType, body string)) *API {
	t.Helper()
	client, err := scw.NewClient(
		scw.WithAPIURL("http://api.example"),
		scw.WithAuth("SCWXXXXXXXXXXXXXXXXX", "6b3d3786-c7bd-47c8-b0e4-daabfa8f4e2e"),
		scw.WithHTTPClient(httpclient.New(httpclient.Options{
			Base: roundTripper(func(req *http.Request) (*http.Response, error) {
				status, contentType, body := answer(req)
				return &http.Response{
					StatusCode: status, Status: fmt.Sprintf("%d %s", status, http.StatusText(status)),
					Header: http.Header{"Content-Type": {contentType}, "X-Request-Id": {"request-1"}},
					Body:   io.NopCloser(strings.NewReader(body)),
				}, nil
			}),
			Gate:    httpclient.NewGate(8, 0),
			Metrics: httpclient.NewMetrics(prometheus.NewRegistry(), "functions"),
			API:     func(*http.Request) string { return "functions" },
		})),
	)
	if err != nil {
		t.Fatal(err)
	}
	return NewAPI(client)
}

const jsonType = "application/json"

// What is not a listing never passes for an empty one, and each refusal says
// why without a word of the body.
func TestListingShapes(t *testing.T) {
	const secret = "hunter2-canary"
	for name, test := range map[string]struct {
		status      int
		contentType string
		body        string
		want        string // error; empty: none
	}{
		"empty":                 {200, jsonType, `{"namespaces":[],"total_count":0}`, ""},
		"null for empty":        {200, jsonType, `{"namespaces":null,"total_count":0}`, ""},
		"one":                   {200, jsonType, `{"namespaces":[{"id":"1","name":"a"}],"total_count":1}`, ""},
		"further keys":          {200, jsonType, `{"namespaces":[{"id":"1","name":"a","new":{}}],"total_count":1,"next":"x"}`, ""},
		"no body":               {200, jsonType, ``, `list the namespaces of project p in fr-par: 200: the answer has an unexpected shape: there is nothing in it; check SCW_API_URL`},
		"no content":            {204, jsonType, ``, `there is nothing in it`},
		"another object":        {200, jsonType, `{"message":"hello"}`, `the answer has an unexpected shape: "namespaces" is missing`},
		"without the total":     {200, jsonType, `{"namespaces":[]}`, `the answer has an unexpected shape: "total_count" is missing`},
		"total of another type": {200, jsonType, `{"namespaces":[],"total_count":"` + secret + `"}`, `the answer has an unexpected shape`},
		"null total":            {200, jsonType, `{"namespaces":[],"total_count":null}`, `"total_count" is no count`},
		"negative total":        {200, jsonType, `{"namespaces":[],"total_count":-1}`, `"total_count" is no count`},
		"a list":                {200, jsonType, `[]`, `the answer has an unexpected shape: its top level is of another type`},
		"null":                  {200, jsonType, `null`, `there is nothing in it`},
		"a null item":           {200, jsonType, `{"namespaces":[null],"total_count":1}`, `an item of "namespaces" is null`},
		"an item without ID":    {200, jsonType, `{"namespaces":[{"name":"a"}],"total_count":1}`, `an item of "namespaces" has no identity`},
		"an item without name":  {200, jsonType, `{"namespaces":[{"id":"1"}],"total_count":1}`, `an item of "namespaces" has no identity`},
		"a field of another type": {200, jsonType, `{"namespaces":[{"id":"1","name":"a","environment_variables":{"A":["` + secret + `"]}}],"total_count":1}`,
			`the answer has an unexpected shape: environment_variables is of another type`},
		"cut JSON":        {200, jsonType, `{"namespaces":[{"id":"` + secret, `the answer is not valid JSON`},
		"an HTML page":    {200, "text/html", `<html>` + secret, `the answer is not valid JSON`},
		"an HTML 404":     {404, "text/html", `404 page not found`, `404: the answer is not one of the Scaleway API (request ID request-1); check SCW_API_URL`},
		"a redirect":      {302, "text/html", ``, `302: the answer is not one of the Scaleway API`},
		"unauthorized":    {401, jsonType, `{"message":"authentication is denied","method":"api_key","reason":"not_found","type":"denied_authentication"}`, `check that the API key exists, is complete and has not expired`},
		"denied":          {403, jsonType, `{"details":[{"action":"read","resource":"function"}],"message":"insufficient permissions","type":"permissions_denied"}`, `list the namespaces of project p in fr-par: 403: permissions denied: read function (request ID request-1); give the key's application the permission set FunctionsReadOnly in this project (a change takes a while to spread)`},
		"denied, bare":    {403, jsonType, `{"message":"no","type":"permissions_denied"}`, `403: permissions denied (`},
		"fewer than told": {200, jsonType, `{"namespaces":[{"id":"1","name":"a"}],"total_count":2}`, `the listing changed while it was read, 4 times in a row`},
		"more than told":  {200, jsonType, `{"namespaces":[{"id":"1","name":"a"},{"id":"2","name":"b"}],"total_count":1}`, `the listing changed while it was read`},
		"twice the same":  {200, jsonType, `{"namespaces":[{"id":"1","name":"a"},{"id":"1","name":"a"}],"total_count":2}`, `the listing changed while it was read`},
	} {
		t.Run(name, func(t *testing.T) {
			api := scripted(t, func(req *http.Request) (int, string, string) {
				if name == "fewer than told" && req.URL.Query().Get("page") != "1" {
					return 200, jsonType, `{"namespaces":[],"total_count":2}`
				}
				return test.status, test.contentType, test.body
			})
			namespaces, err := api.namespaces(t.Context(), "p", "fr-par")
			switch {
			case test.want == "" && err != nil:
				t.Errorf("error %v", err)
			case test.want != "" && err == nil:
				t.Errorf("took it for %d namespaces, want an error with %q", len(namespaces), test.want)
			case test.want != "" && !strings.Contains(err.Error(), test.want):
				t.Errorf("error\n%v\nwant one with\n%s", err, test.want)
			case test.want != "" && strings.Contains(err.Error(), secret):
				t.Errorf("the error repeats the body: %v", err)
			}
		})
	}
}

// Items that come and go between two pages make the listing begin again, and
// none is missed.
func TestListingThatChanges(t *testing.T) {
	item := func(n int) string { return fmt.Sprintf(`{"id":"%d","name":"n%d"}`, n, n) }
	body := func(total, from, to int) string {
		var items []string
		for n := from; n < to; n++ {
			items = append(items, item(n))
		}
		return fmt.Sprintf(`{"namespaces":[%s],"total_count":%d}`, strings.Join(items, ","), total)
	}
	calls := 0
	api := scripted(t, func(req *http.Request) (int, string, string) {
		calls++
		switch {
		case calls == 1:
			return 200, jsonType, body(150, 0, 100)
		case calls == 2: // number 0 was deleted: 100 moved to the first page
			return 200, jsonType, body(149, 101, 150)
		case req.URL.Query().Get("page") == "1":
			return 200, jsonType, body(149, 1, 101)
		default:
			return 200, jsonType, body(149, 101, 150)
		}
	})
	namespaces, err := api.namespaces(t.Context(), "p", "fr-par")
	if err != nil || len(namespaces) != 149 || calls != 4 {
		t.Errorf("%d namespaces in %d calls, error %v; want 149 in 4", len(namespaces), calls, err)
	}
}

func TestMissingNeedsTheAPIsWord(t *testing.T) {
	gateway := &APIError{Status: 404, Reason: notOfAPI}
	api := &APIError{Status: 404, Reason: "Namespace was not found"}
	if missing(gateway) || !missing(api) || missing(errors.New("x")) || missing(nil) {
		t.Error("only the API's own 404 says that something is gone")
	}
}

func TestFunctionRegions(t *testing.T) {
	if got := strings.Join(FunctionRegions(), " "); got != "fr-par nl-ams pl-waw" {
		t.Errorf("regions %q", got)
	}
}

// Whatever the API answers, reading it ends in functions or in an error that
// repeats nothing of it.
func FuzzFunctionListing(f *testing.F) {
	f.Add(`{"functions":[{"id":"1","name":"a","privacy":"public","timeout":"300s","secret_environment_variables":[{"key":"A","hashed_value":"canary-1234"}],"environment_variables":{"B":"canary-1234"}}],"total_count":1}`)
	f.Add(`{"functions":[{"id":"1","name":"a","secret_environment_variables":[null],"created_at":"2026-07-03T15:02:02.663406634Z"}],"total_count":1}`)
	f.Add(`{"functions":[{"id":"1","name":"a","memory_limit":"canary-1234"}],"total_count":1}`)
	f.Add(`[`)
	f.Fuzz(func(t *testing.T, body string) {
		api := scripted(t, func(*http.Request) (int, string, string) { return 200, jsonType, body })
		functions, err := api.functions(t.Context(), "fr-par", "ns")
		if err != nil && strings.Contains(err.Error(), "canary-1234") {
			t.Errorf("the error repeats the body: %v", err)
		}
		r := reader{teamTag: "team", fingerprint: NewState().Fingerprint}
		for _, fn := range functions {
			posture := r.function(Unit{}, fn, function.Namespace{}, Variables{})
			if text := fmt.Sprintf("%+v", posture.Variables); strings.Contains(text, "canary-1234") && !strings.Contains(body, `canary-1234"`+":") {
				t.Errorf("the posture repeats a value: %s", text)
			}
		}
	})
}

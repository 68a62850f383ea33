package collector

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	account "github.com/scaleway/scaleway-sdk-go/api/account/v3"
	function "github.com/scaleway/scaleway-sdk-go/api/function/v1beta1"
	iam "github.com/scaleway/scaleway-sdk-go/api/iam/v1alpha1"
	"github.com/scaleway/scaleway-sdk-go/scw"

	"github.com/scwatch/scwatch/internal/httpclient"
)

// pageSize is the largest that is known to work on every listing.
const pageSize = 100

// API reads what is polled. It goes through the SDK's client and types, but not
// through its listing methods: those take an answer without the list for an
// empty list, panic on a null item, and take the number of pages from the
// first page.
type API struct {
	client *scw.Client
}

// NewAPI returns an API on client.
func NewAPI(client *scw.Client) *API { return &API{client: client} }

// FunctionRegions returns every region that Serverless Functions are in.
func FunctionRegions() []string {
	var regions []string
	for _, region := range (&function.API{}).Regions() {
		regions = append(regions, region.String())
	}
	return regions
}

// APIError is a call to the Scaleway API that failed.
type APIError = httpclient.Error

// Refused tells whether err says that the key may not do this.
func Refused(err error) bool {
	var e *APIError
	return errors.As(err, &e) && (e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden)
}

// missing tells whether err says that the thing asked for does not exist. A
// gateway's 404 for a wrong address has no JSON body and does not count.
func missing(err error) bool {
	var e *APIError
	return errors.As(err, &e) && e.Status == http.StatusNotFound && e.Reason != notOfAPI
}

// get reads path into out; attempted completes "could not …" in the error.
func (a *API) get(ctx context.Context, attempted, path string, query url.Values, out any) error {
	var ex httpclient.Exchange
	request := &scw.ScalewayRequest{Method: http.MethodGet, Path: path, Query: query}
	err := a.client.Do(request, out, scw.WithContext(httpclient.Record(ctx, &ex)))
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		e := &APIError{Attempted: attempted, Status: ex.Status, RequestID: ex.RequestID}
		e.Reason, e.Advice = explain(err, ex.Status)
		if ex.Status == http.StatusForbidden {
			product, _, _ := strings.Cut(path[1:], "/")
			e.Advice = fmt.Sprintf("give the key's application the permission set %s (a change takes a while to spread)", readers[product])
		}
		return e
	}
	return nil
}

// readers are the permission sets that may read a product.
var readers = map[string]string{
	"functions": "FunctionsReadOnly in this project",
	"account":   "ProjectReadOnly in the organization",
	"iam":       "IAMReadOnly in the organization",
	"cockpit":   "ObservabilityReadOnly in this project",
}

// notOfAPI is the reason of an error answer that no Scaleway API gives.
const notOfAPI = "the answer is not one of the Scaleway API"

// explain puts an error of the SDK into words. The text of a decoding error is
// not passed on: it can hold a piece of the body, and so of a variable.
func explain(err error, status int) (reason, advice string) {
	var (
		response     *scw.ResponseError
		denied       *scw.PermissionsDeniedError
		syntax       *json.SyntaxError
		wrongType    *json.UnmarshalTypeError
		wrongShape   *shapeError
		beyondStatus = status < 200 || status > 299
	)
	switch {
	case status == 0:
		var transport *url.Error
		if errors.As(err, &transport) {
			err = transport.Err
		}
		return "no answer: " + err.Error(), "check the network and SCW_API_URL"
	case errors.As(err, &denied):
		var details []string
		for _, d := range denied.Details {
			details = append(details, d.Action+" "+d.Resource)
		}
		reason = strings.TrimSuffix("permissions denied: "+strings.Join(details, ", "), ": ")
	case errors.As(err, &response):
		reason = cmp.Or(response.Message, http.StatusText(status))
		if !json.Valid(response.RawBody) {
			reason = notOfAPI
		}
	case errors.As(err, &wrongShape):
		return unexpectedShape + wrongShape.Error(), "check SCW_API_URL"
	case errors.As(err, &wrongType):
		return unexpectedShape + cmp.Or(wrongType.Field, "its top level") + " is of another type", "check SCW_API_URL"
	case errors.As(err, &syntax), !beyondStatus:
		return "the answer is not valid JSON", "check SCW_API_URL"
	default:
		reason = strings.TrimPrefix(err.Error(), "scaleway-sdk-go: ")
	}
	switch {
	case status == http.StatusUnauthorized:
		advice = "check that the API key exists, is complete and has not expired"
	case status == http.StatusTooManyRequests:
		advice = "lower collect.rate_limit or raise collect.interval"
	case reason == notOfAPI:
		advice = "check SCW_API_URL"
	}
	return reason, advice
}

type shapeError struct{ what string }

func (e *shapeError) Error() string { return e.what }

// page is one page of a listing. It insists on what makes a listing one: an
// answer without the list or the total is not an empty list.
type page[T any] struct {
	key   string
	read  bool // an answer without a body, or null, is never decoded at all
	items []T
	total int
}

func (p *page[T]) UnmarshalJSON(data []byte) error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil {
		return err
	}
	var items []*T
	var total *int
	for _, field := range []struct {
		key  string
		into any
	}{{p.key, &items}, {"total_count", &total}} {
		raw, ok := fields[field.key]
		if !ok {
			return &shapeError{fmt.Sprintf("%q is missing", field.key)}
		}
		if err := json.Unmarshal(raw, field.into); err != nil {
			return err
		}
	}
	if total == nil || *total < 0 {
		return &shapeError{`"total_count" is no count`}
	}
	p.read, p.total = true, *total
	for _, item := range items {
		if item == nil {
			return &shapeError{fmt.Sprintf("an item of %q is null", p.key)}
		}
		p.items = append(p.items, *item)
	}
	return nil
}

// misshapen is the error of an answer with success that is not what was asked
// for.
func misshapen(attempted, what string) error {
	return &APIError{Attempted: attempted, Status: http.StatusOK, Reason: unexpectedShape + what, Advice: "check SCW_API_URL"}
}

const unexpectedShape = "the answer has an unexpected shape: "

// maxListings bounds how often a listing that changes under the reader is
// begun again.
const maxListings = 4

// list reads all pages of a listing. Items that come or go between two pages
// shift the others, so that one can be missed or come twice: a listing counts
// only when its pages agree on the total and hold that many different items.
func list[T any](ctx context.Context, a *API, attempted, path, key string, query url.Values, id func(T) string) ([]T, error) {
	for range maxListings {
		items, whole, err := listOnce(ctx, a, attempted, path, key, query, id)
		if err != nil || whole {
			return items, err
		}
	}
	return nil, &APIError{Attempted: attempted, Status: http.StatusOK,
		Reason: fmt.Sprintf("the listing changed while it was read, %d times in a row", maxListings)}
}

func listOnce[T any](ctx context.Context, a *API, attempted, path, key string, query url.Values, id func(T) string) (items []T, whole bool, err error) {
	query.Set("page_size", strconv.Itoa(pageSize))
	seen := map[string]bool{}
	total := -1
	for number := 1; ; number++ {
		query.Set("page", strconv.Itoa(number))
		p := page[T]{key: key}
		if err := a.get(ctx, attempted, path, query, &p); err != nil {
			return nil, false, err
		}
		if !p.read {
			return nil, false, misshapen(attempted, "there is nothing in it")
		}
		for _, item := range p.items {
			if id(item) == "" {
				return nil, false, misshapen(attempted, fmt.Sprintf("an item of %q has no identity", key))
			}
			seen[id(item)] = true
		}
		items = append(items, p.items...)
		if total >= 0 && p.total != total {
			return nil, false, nil
		}
		total = p.total
		if len(items) >= total || len(p.items) == 0 {
			return items, len(items) == total && len(seen) == total, nil
		}
	}
}

func functionsPath(region, collection string) string {
	return "/functions/v1beta1/regions/" + region + "/" + collection
}

// named returns the ID of what must have a name as well, and nothing where it
// has none.
func named(id, name string) string {
	if name == "" {
		return ""
	}
	return id
}

// oldestFirst puts what is created during a listing at its end.
func oldestFirst(key, value string) url.Values {
	return url.Values{key: {value}, "order_by": {"created_at_asc"}}
}

func (a *API) namespaces(ctx context.Context, project, region string) ([]function.Namespace, error) {
	return list(ctx, a, fmt.Sprintf("list the namespaces of project %s in %s", project, region),
		functionsPath(region, "namespaces"), "namespaces", oldestFirst("project_id", project),
		func(n function.Namespace) string { return named(n.ID, n.Name) })
}

func (a *API) functions(ctx context.Context, region, namespaceID string) ([]function.Function, error) {
	return list(ctx, a, fmt.Sprintf("list the functions of namespace %s in %s", namespaceID, region),
		functionsPath(region, "functions"), "functions", oldestFirst("namespace_id", namespaceID),
		func(f function.Function) string { return named(f.ID, f.Name) })
}

func (a *API) runtimes(ctx context.Context, region string) ([]function.Runtime, error) {
	return list(ctx, a, "list the runtimes in "+region,
		functionsPath(region, "runtimes"), "runtimes", url.Values{},
		func(r function.Runtime) string { return r.Name })
}

// tokens lists those of a function or a namespace: owner is the parameter that
// says which, "function_id" or "namespace_id".
func (a *API) tokens(ctx context.Context, region, owner, id string) ([]function.Token, error) {
	return list(ctx, a, fmt.Sprintf("list the tokens of %s %s in %s", strings.TrimSuffix(owner, "_id"), id, region),
		functionsPath(region, "tokens"), "tokens", oldestFirst(owner, id),
		func(t function.Token) string { return t.ID })
}

func (a *API) triggers(ctx context.Context, project, region string) ([]function.Trigger, error) {
	return list(ctx, a, fmt.Sprintf("list the triggers of project %s in %s", project, region),
		functionsPath(region, "triggers"), "triggers", oldestFirst("project_id", project),
		func(t function.Trigger) string { return t.ID })
}

func (a *API) crons(ctx context.Context, region, functionID string) ([]function.Cron, error) {
	return list(ctx, a, fmt.Sprintf("list the crons of function %s in %s", functionID, region),
		functionsPath(region, "crons"), "crons", oldestFirst("function_id", functionID),
		func(c function.Cron) string { return c.ID })
}

func (a *API) domains(ctx context.Context, region, functionID string) ([]function.Domain, error) {
	return list(ctx, a, fmt.Sprintf("list the domains of function %s in %s", functionID, region),
		functionsPath(region, "domains"), "domains", oldestFirst("function_id", functionID),
		func(d function.Domain) string { return d.ID })
}

func (a *API) projects(ctx context.Context, organization string) ([]account.Project, error) {
	return list(ctx, a, "list the projects of organization "+organization,
		"/account/v3/projects", "projects", oldestFirst("organization_id", organization),
		func(p account.Project) string { return p.ID })
}

func (a *API) project(ctx context.Context, id string) (p account.Project, err error) {
	attempted := "read project " + id
	err = a.get(ctx, attempted, "/account/v3/projects/"+id, nil, &p)
	if err == nil && p.ID != id {
		err = misshapen(attempted, "it is not that project")
	}
	return p, err
}

func (a *API) apiKey(ctx context.Context, accessKey string) (k iam.APIKey, err error) {
	const attempted = "read the API key's own entry"
	err = a.get(ctx, attempted, "/iam/v1alpha1/api-keys/"+accessKey, nil, &k)
	if err == nil && k.AccessKey != accessKey {
		err = misshapen(attempted, "it is not that key")
	}
	return k, err
}

// exists tells whether the function or namespace at path still is there.
func (a *API) exists(ctx context.Context, region, collection, id string) (bool, error) {
	var object struct {
		ID string `json:"id"`
	}
	err := a.get(ctx, fmt.Sprintf("read %s %s in %s", strings.TrimSuffix(collection, "s"), id, region),
		functionsPath(region, collection)+"/"+id, nil, &object)
	if missing(err) {
		return false, nil
	}
	return true, err
}

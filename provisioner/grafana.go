package provisioner

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	httptransport "github.com/go-openapi/runtime/client"
	"github.com/go-openapi/strfmt"
	goapi "github.com/grafana/grafana-openapi-client-go/client"
	"github.com/grafana/grafana-openapi-client-go/client/dashboards"
	"github.com/grafana/grafana-openapi-client-go/client/datasources"
	"github.com/grafana/grafana-openapi-client-go/client/folders"
	"github.com/grafana/grafana-openapi-client-go/client/health"
	"github.com/grafana/grafana-openapi-client-go/client/org"
	"github.com/grafana/grafana-openapi-client-go/client/search"
	"github.com/grafana/grafana-openapi-client-go/models"
	cockpit "github.com/scaleway/scaleway-sdk-go/api/cockpit/v1"

	"github.com/scwatch/scwatch/internal/httpclient"
)

// grafana is the Grafana of a target: a Cockpit's, or one of somebody's own.
type grafana struct {
	api     *goapi.GrafanaHTTPAPI
	address string
	place   *place // nil: it is no Cockpit's
	sources []liveSource
}

// newGrafana returns a client for the Grafana that s reaches. The library's own
// constructor would change http.DefaultTransport, and ignore our client's.
func newGrafana(s server, p *place) (*grafana, error) {
	u, err := url.Parse(s.base)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("the address of the Grafana, %q, is no URL", s.base)
	}
	client := *s.client
	client.Transport = explained{s, s.client.Transport}
	transport := httptransport.NewWithClient(u.Host, u.Path+"/api", []string{u.Scheme}, &client)
	return &grafana{api: goapi.New(transport, &goapi.TransportConfig{}, strfmt.Default), address: s.base, place: p}, nil
}

// explained makes errors of answers while their words are still there: the
// library keeps neither those of a status that it does not expect, nor any
// request ID.
type explained struct {
	server server
	next   http.RoundTripper
}

func (e explained) RoundTrip(req *http.Request) (*http.Response, error) {
	var ex httpclient.Exchange
	req = req.Clone(httpclient.Record(req.Context(), &ex))
	for name, values := range e.server.header {
		req.Header[name] = values
	}
	resp, err := e.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil {
		return nil, err
	}
	a := answer{status: resp.StatusCode, body: data, html: strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html")}
	if resp.StatusCode/100 == 2 && !a.html {
		resp.Body = io.NopCloser(bytes.NewReader(data))
		return resp, nil
	}
	failed := &httpclient.Error{Status: ex.Status, RequestID: ex.RequestID}
	e.server.explain(failed, a, resp.Header.Get("Location"))
	return nil, &grafanaError{failed, a}
}

// grafanaError is a failed call with the answer, for those who want to tell one
// 404 from another.
type grafanaError struct {
	failed *httpclient.Error
	answer answer
}

func (e *grafanaError) Error() string { return e.failed.Error() }
func (e *grafanaError) Unwrap() error { return e.failed }

// attempt says what was attempted in an error of the library.
func attempt(attempted string, err error) error {
	if err == nil {
		return nil
	}
	var said *grafanaError
	if errors.As(err, &said) {
		named := *said.failed
		named.Attempted = attempted
		return &grafanaError{&named, said.answer}
	}
	var transport *url.Error
	if errors.As(err, &transport) {
		err = transport.Err
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%s: %w", attempted, err)
	}
	return &httpclient.Error{Attempted: attempted, Reason: "no answer: " + err.Error(), Advice: "check the network and the Grafana's address"}
}

// missing tells whether err says that an object is not there. A 404 of a server
// that does not know the path is no such word.
func missing(err error) bool {
	var said *grafanaError
	return errors.As(err, &said) && said.answer.status == http.StatusNotFound && !isWrongAddress(said.answer)
}

// provision makes the first request to a Cockpit's Grafana, which is what makes
// it exist.
func (g *grafana) provision(ctx context.Context) error {
	_, err := g.api.Org.GetCurrentOrgWithParams(org.NewGetCurrentOrgParamsWithContext(ctx))
	return attempt("open the Grafana "+g.address, err)
}

func (g *grafana) version(ctx context.Context) (string, error) {
	resp, err := g.api.Health.GetHealthWithParams(health.NewGetHealthParamsWithContext(ctx))
	if err != nil {
		return "", attempt("ask the Grafana "+g.address+" for its version", err)
	}
	return resp.Payload.Version, nil
}

// readSources reads the data sources. Those of a Cockpit are known by their
// address, because Grafana has no two of one name, and else by their name.
func (g *grafana) readSources(ctx context.Context) error {
	resp, err := g.api.Datasources.GetDataSourcesWithParams(datasources.NewGetDataSourcesParamsWithContext(ctx))
	if err != nil {
		return attempt("list the data sources of the Grafana "+g.address, err)
	}
	g.sources = nil
	for _, s := range resp.Payload {
		source := liveSource{uid: s.UID, name: s.Name, kind: s.Type, origin: "custom"}
		if g.place != nil {
			at := slices.IndexFunc(g.place.sources, func(d cockpit.DataSource) bool { return d.URL == s.URL || strings.HasPrefix(s.URL, d.URL+"/") })
			if at < 0 {
				at = slices.IndexFunc(g.place.sources, func(d cockpit.DataSource) bool { return d.Name == s.Name })
			}
			source.origin = ""
			if at >= 0 {
				source.name, source.origin = g.place.sources[at].Name, string(g.place.sources[at].Origin)
			}
		}
		g.sources = append(g.sources, source)
	}
	return nil
}

// synchronised are the Cockpit's data sources of the rules, as its Grafana
// should have them.
type synchronised struct {
	*grafana
	names []string // of the data sources
}

const synchronisedName = "data sources"

func (s *synchronised) object(names []string) object {
	slices.Sort(names)
	return object{name: synchronisedName, tree: map[string]any{"data_sources": list(names)}, owned: true}
}

func (s *synchronised) list(ctx context.Context) ([]object, error) {
	if err := s.readSources(ctx); err != nil {
		return nil, err
	}
	var there []string
	for _, name := range s.names {
		if slices.ContainsFunc(s.sources, func(l liveSource) bool { return l.name == name }) {
			there = append(there, name)
		}
	}
	return []object{s.object(there)}, nil
}

func (s *synchronised) put(ctx context.Context, _ object, _ *object) error {
	_, err := s.place.api.postJSON(ctx, "synchronise the data sources of project "+s.place.project+" with its Grafana",
		"/cockpit/v1/grafana/sync-data-sources?"+s.place.query(), map[string]any{"project_id": s.place.project})
	if err != nil {
		return err
	}
	return s.readSources(ctx)
}

func (*synchronised) remove(context.Context, object) error {
	panic("Grafana's data sources are never removed") // they are never in a plan
}

// hits are the dashboards of a folder. Grafana 9 ignores the folder that it is
// asked for.
func (g *grafana) hits(ctx context.Context, folder string) ([]*models.Hit, error) {
	const limit = 1000
	var all []*models.Hit
	for page := int64(1); ; page++ {
		kind, size := "dash-db", int64(limit)
		resp, err := g.api.Search.Search(search.NewSearchParamsWithContext(ctx).WithType(&kind).WithFolderUIDs([]string{folder}).WithLimit(&size).WithPage(&page))
		if err != nil {
			return nil, attempt("list the dashboards of the folder "+folder, err)
		}
		for _, hit := range resp.Payload {
			if hit.FolderUID == folder {
				all = append(all, hit)
			}
		}
		if len(resp.Payload) < limit {
			return all, nil
		}
	}
}

// folder is the folder of a target's dashboards.
type folder struct {
	*grafana
	uid, title string
	needed     bool
}

func (f *folder) desired() []object {
	if !f.needed {
		return nil
	}
	return []object{{name: f.uid, tree: map[string]any{"title": f.title}}}
}

func (f *folder) list(ctx context.Context) ([]object, error) {
	resp, err := f.api.Folders.GetFolderByUIDWithParams(folders.NewGetFolderByUIDParamsWithContext(ctx).WithFolderUID(f.uid))
	if err != nil {
		if err = attempt("read the folder "+f.uid, err); missing(err) {
			return nil, nil
		}
		return nil, err
	}
	return []object{{name: f.uid, tree: map[string]any{"title": resp.Payload.Title}, owned: true, by: editor(resp.Payload.UpdatedBy), state: resp.Payload.Version}}, nil
}

func (f *folder) put(ctx context.Context, _ object, live *object) error {
	if live == nil {
		_, err := f.api.Folders.CreateFolderWithParams(folders.NewCreateFolderParamsWithContext(ctx).WithBody(&models.CreateFolderCommand{UID: f.uid, Title: f.title}))
		return attempt("create the folder "+f.uid, err)
	}
	_, err := f.api.Folders.UpdateFolderWithParams(folders.NewUpdateFolderParamsWithContext(ctx).WithFolderUID(f.uid).
		WithBody(&models.UpdateFolderCommand{Title: f.title, Version: live.state.(int64)}))
	return attempt("rename the folder "+f.uid, err)
}

// remove deletes the folder where nothing is in it any more: Grafana deletes
// what is in a folder along with it.
func (f *folder) remove(ctx context.Context, _ object) error {
	left, err := f.hits(ctx, f.uid)
	if err != nil {
		return err
	}
	if len(left) > 0 {
		return fmt.Errorf("delete the folder %s: there are dashboards in it that are not ours: %s", f.uid, left[0].Title)
	}
	refuse := false // to delete rules along with it
	_, err = f.api.Folders.DeleteFolder(folders.NewDeleteFolderParamsWithContext(ctx).WithFolderUID(f.uid).WithForceDeleteRules(&refuse))
	if err = attempt("delete the folder "+f.uid, err); missing(err) {
		return nil
	}
	return err
}

// boards are the dashboards in the folder of a target.
type boards struct {
	*grafana
	folder     string
	dashboards []dashboard
}

// desired are the dashboards as this Grafana gets them.
func (b *boards) desired() ([]object, error) {
	var all []object
	var errs []error
	for _, d := range b.dashboards {
		tree, err := d.resolved(b.sources)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		all = append(all, object{name: d.uid, tree: map[string]any{"folder": b.folder, "model": tree}, state: tree})
	}
	return all, errors.Join(errs...)
}

func (b *boards) list(ctx context.Context) ([]object, error) {
	hits, err := b.hits(ctx, b.folder)
	if err != nil {
		return nil, err
	}
	var uids []string
	for _, d := range b.dashboards {
		uids = append(uids, d.uid)
	}
	var errs []error
	for _, hit := range hits {
		ours := slices.Contains(hit.Tags, markTag)
		if ours && !slices.Contains(uids, hit.UID) {
			uids = append(uids, hit.UID)
		}
		for _, d := range b.dashboards {
			if hit.UID != d.uid && strings.EqualFold(strings.TrimSpace(hit.Title), d.title) && !ours {
				errs = append(errs, fmt.Errorf("the title %q of the dashboard %s is taken in the folder %s by somebody else's, %s: rename one of the two", d.title, d.uid, b.folder, hit.UID))
			}
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return parallel(ctx, uids, b.read)
}

// read is the dashboard with a uid, wherever it is; nothing where it is not.
func (b *boards) read(ctx context.Context, uid string) ([]object, error) {
	resp, err := b.api.Dashboards.GetDashboardByUIDWithParams(dashboards.NewGetDashboardByUIDParamsWithContext(ctx).WithUID(uid))
	if err != nil {
		if err = attempt("read the dashboard "+uid, err); missing(err) {
			return nil, nil
		}
		return nil, err
	}
	model, err := treeOf(resp.Payload.Dashboard)
	if err != nil || model == nil || resp.Payload.Meta == nil {
		return nil, fmt.Errorf("read the dashboard %s: the answer has no model", uid)
	}
	tree := dashboardTree(model)
	return []object{{
		name: uid, tree: map[string]any{"folder": resp.Payload.Meta.FolderUID, "model": tree},
		owned: isMarkedDashboard(tree), by: editor(resp.Payload.Meta.UpdatedBy), state: resp.Payload.Meta.Version,
	}}, nil
}

// editor is who wrote something last, where that says something.
func editor(name string) string {
	if name == "Anonymous" {
		return ""
	}
	return name
}

// put saves a dashboard. It never asks to overwrite: Grafana would replace
// another dashboard of the same title.
func (b *boards) put(ctx context.Context, desired object, live *object) error {
	model := dashboardTree(desired.state.(map[string]any))
	if live != nil {
		model["version"] = live.state
	}
	attempted := "save the dashboard " + desired.name
	resp, err := b.api.Dashboards.PostDashboardWithParams(dashboards.NewPostDashboardParamsWithContext(ctx).WithBody(&models.SaveDashboardCommand{
		Dashboard: model, FolderUID: b.folder, Message: "scwatch apply",
	}))
	if err != nil {
		err = attempt(attempted, err)
		var said *grafanaError
		if errors.As(err, &said) && said.answer.status == http.StatusPreconditionFailed {
			said.failed.Advice = "somebody saved it, or another one of that title, after it was planned: plan anew"
		}
		return err
	}
	if uid := resp.Payload.UID; uid == nil || *uid != desired.name {
		return fmt.Errorf("%s: Grafana saved it under another uid: look for a dashboard of the same title", attempted)
	}
	return nil
}

func (b *boards) remove(ctx context.Context, live object) error {
	_, err := b.api.Dashboards.DeleteDashboardByUIDWithParams(dashboards.NewDeleteDashboardByUIDParamsWithContext(ctx).WithUID(live.name))
	if err = attempt("delete the dashboard "+live.name, err); missing(err) {
		return nil
	}
	return err
}

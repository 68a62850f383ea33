package collector

import (
	"context"
	"fmt"
	"net/url"

	cockpit "github.com/scaleway/scaleway-sdk-go/api/cockpit/v1"
)

func (a *API) dataSources(ctx context.Context, project, region string) ([]cockpit.DataSource, error) {
	return list(ctx, a, fmt.Sprintf("list the data sources of project %s in %s", project, region),
		"/cockpit/v1/regions/"+region+"/data-sources", "data_sources", oldestFirst("project_id", project),
		func(d cockpit.DataSource) string { return d.ID })
}

// Mistaken is an error that only another configuration mends.
type Mistaken struct{ what string }

func (e *Mistaken) Error() string { return e.what }

// PushAddress returns the address of the custom metrics data source that is
// called name, or has it as its ID, in the Cockpit of project in region. The
// error is a *Mistaken where there is no such data source, or none to push to.
func (a *API) PushAddress(ctx context.Context, project, region, name string) (string, error) {
	all, err := a.dataSources(ctx, project, region)
	if err != nil {
		return "", err
	}
	mistaken := func(format string, args ...any) error {
		return &Mistaken{fmt.Sprintf("cockpit.data_source: "+format, args...)}
	}
	var found []cockpit.DataSource
	for _, d := range all {
		if d.ID == name || d.Name == name && d.Type == cockpit.DataSourceTypeMetrics {
			found = append(found, d)
		}
	}
	remedy := fmt.Sprintf("scw cockpit data-source create name=scwatch type=metrics project-id=%s region=%s", project, region)
	switch {
	case len(found) == 0:
		return "", mistaken("project %s has no metrics data source called %q in %s; make one: %s", project, name, region, remedy)
	case len(found) > 1:
		return "", mistaken("project %s has %d metrics data sources called %q in %s; name one by its ID, such as %s", project, len(found), name, region, found[0].ID)
	case found[0].Type != cockpit.DataSourceTypeMetrics:
		return "", mistaken("%q holds %s, not metrics; make one that does: %s", name, found[0].Type, remedy)
	case found[0].Origin != cockpit.DataSourceOriginCustom:
		return "", mistaken("%q is one of Scaleway's own (origin %s), which take no data; make one of your own: %s", name, found[0].Origin, remedy)
	}
	address, err := url.Parse(found[0].URL)
	if err != nil || address.Host == "" {
		return "", mistaken("the address of %q that the Cockpit API gives is no URL", name)
	}
	return found[0].URL, nil
}

// grafanaURL returns the address of a project's Grafana; "" where the project
// has no Cockpit.
func (a *API) grafanaURL(ctx context.Context, project string) (string, error) {
	attempted := "read the Grafana of project " + project
	var g cockpit.Grafana
	err := a.get(ctx, attempted, "/cockpit/v1/grafana", url.Values{"project_id": {project}}, &g)
	if missing(err) {
		return "", nil
	}
	if err == nil && g.GrafanaURL == "" {
		err = misshapen(attempted, `"grafana_url" is missing`)
	}
	return g.GrafanaURL, err
}

package provisioner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	cockpit "github.com/scaleway/scaleway-sdk-go/api/cockpit/v1"

	"github.com/scwatch/scwatch/internal/config"
	"github.com/scwatch/scwatch/internal/httpclient"
)

// cockpitHost is what the address of every Cockpit's Grafana ends with.
const cockpitHost = ".dashboard.cockpit.scaleway.com"

func isCockpitGrafana(address string) bool {
	u, err := url.Parse(address)
	return err == nil && (strings.HasSuffix(u.Hostname(), cockpitHost) || strings.Contains(u.Hostname(), ".dashboard.obs."))
}

// place is a project's Cockpit in a region, as far as it is known: what is made
// on the way is filled in.
type place struct {
	api             server
	project, region string

	sources         []cockpit.DataSource
	alertManagerURL string // "" while it is not enabled
	grafanaURL      string
}

func (p *place) path(rest string) string { return "/cockpit/v1/regions/" + p.region + rest }

func (p *place) query() string { return "project_id=" + url.QueryEscape(p.project) }

// pageSize is the largest that is known to work.
const pageSize = 100

// pages reads a listing to its end. It insists on what makes an answer a
// listing.
func pages[T any](ctx context.Context, p *place, attempted, path, key string) ([]T, error) {
	var all []T
	for page := 1; ; page++ {
		var fields map[string]json.RawMessage
		a, err := p.api.getJSON(ctx, attempted, fmt.Sprintf("%s?%s&page=%d&page_size=%d", path, p.query(), page, pageSize), &fields)
		if err != nil {
			return nil, err
		}
		var items []T
		var total *int
		if json.Unmarshal(fields[key], &items) != nil || json.Unmarshal(fields["total_count"], &total) != nil || total == nil {
			return nil, &httpclient.Error{Attempted: attempted, Status: a.status, Reason: fmt.Sprintf("the answer has no %q and no count", key), Advice: "check " + p.api.check}
		}
		all = append(all, items...)
		if len(items) == 0 || len(all) >= *total {
			return all, nil
		}
	}
}

func (p *place) readSources(ctx context.Context) error {
	all, err := pages[cockpit.DataSource](ctx, p, fmt.Sprintf("list the data sources of project %s in %s", p.project, p.region), p.path("/data-sources"), "data_sources")
	if err == nil {
		p.sources = all
	}
	return err
}

func (p *place) readAlertManager(ctx context.Context) error {
	var manager cockpit.AlertManager
	_, err := p.api.getJSON(ctx, fmt.Sprintf("read the alert manager of project %s in %s", p.project, p.region), p.path("/alert-manager?"+p.query()), &manager)
	if err != nil {
		return err
	}
	p.alertManagerURL = ""
	if manager.AlertManagerEnabled {
		if manager.AlertManagerURL == nil || *manager.AlertManagerURL == "" {
			return fmt.Errorf("read the alert manager of project %s in %s: it is enabled and has no address", p.project, p.region)
		}
		p.alertManagerURL = strings.TrimSuffix(*manager.AlertManagerURL, "/")
	}
	return nil
}

func (p *place) readGrafana(ctx context.Context) error {
	var grafana cockpit.Grafana
	attempted := fmt.Sprintf("ask for the Grafana of project %s", p.project)
	if _, err := p.api.getJSON(ctx, attempted, "/cockpit/v1/grafana?"+p.query(), &grafana); err != nil {
		return err
	}
	if grafana.GrafanaURL == "" {
		return fmt.Errorf("%s: the answer has no address", attempted)
	}
	p.grafanaURL = strings.TrimSuffix(grafana.GrafanaURL, "/")
	return nil
}

// source is the data source that a configuration names, by name or ID. An
// absent one is nil: it can be made.
func (p *place) source(d config.DataSource) (*cockpit.DataSource, error) {
	var found []*cockpit.DataSource
	for i := range p.sources {
		s := &p.sources[i]
		if s.ID == d.Name || s.Name == d.Name && string(s.Type) == d.Type {
			found = append(found, s)
		}
	}
	switch {
	case len(found) == 0:
		return nil, nil
	case len(found) > 1:
		return nil, fmt.Errorf("project %s has %d data sources of %s called %q in %s: name one by its ID, such as %s", p.project, len(found), d.Type, d.Name, p.region, found[0].ID)
	case string(found[0].Type) != d.Type:
		return nil, fmt.Errorf("the data source %q of project %s in %s holds %s, not %s", d.Name, p.project, p.region, found[0].Type, d.Type)
	}
	return found[0], nil
}

// dataSources makes the custom data sources that are missing. None is ever
// deleted: its data would go with it.
type dataSources struct{ *place }

// wanted are the data sources that a target's rules are for.
func (d *dataSources) wanted(t target) ([]object, error) {
	var all []object
	var errs []error
	for _, set := range t.rules {
		name := set.dataSource.Type + "/" + set.dataSource.Name
		if slices.ContainsFunc(all, func(o object) bool { return o.name == name }) {
			continue
		}
		found, err := d.source(set.dataSource)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if found == nil && (strings.HasPrefix(set.dataSource.Name, "Scaleway ") || isID(set.dataSource.Name)) {
			errs = append(errs, fmt.Errorf("project %s has no data source of %s called %q in %s, and it is none that can be made", d.project, set.dataSource.Type, set.dataSource.Name, d.region))
			continue
		}
		all = append(all, object{name: name, tree: map[string]any{"type": set.dataSource.Type, "name": set.dataSource.Name}, state: set.dataSource})
	}
	return all, errors.Join(errs...)
}

func isID(s string) bool { return len(s) == 36 && strings.Count(s, "-") == 4 }

// live are those of the wanted ones that are there.
func (d *dataSources) live(wanted []object) []object {
	var all []object
	for _, w := range wanted {
		if found, err := d.source(w.state.(config.DataSource)); err == nil && found != nil {
			all = append(all, object{name: w.name, tree: w.tree, owned: true})
		}
	}
	return all
}

func (d *dataSources) list(ctx context.Context) ([]object, error) {
	if err := d.readSources(ctx); err != nil {
		return nil, err
	}
	var all []object
	for _, s := range d.sources {
		for _, name := range []string{s.Name, s.ID} { // a configuration may use either
			all = append(all, object{name: string(s.Type) + "/" + name, tree: map[string]any{"type": string(s.Type), "name": name}})
		}
	}
	return all, nil
}

func (d *dataSources) put(ctx context.Context, desired object, _ *object) error {
	source := desired.state.(config.DataSource)
	_, err := d.api.postJSON(ctx, fmt.Sprintf("create the data source %q of project %s in %s", source.Name, d.project, d.region), d.path("/data-sources"),
		map[string]any{"project_id": d.project, "name": source.Name, "type": source.Type})
	if err != nil {
		return err
	}
	return d.readSources(ctx)
}

func (*dataSources) remove(context.Context, object) error {
	panic("a data source is never deleted") // none is ever in a plan
}

// alertManager enables the alert manager of a region. It is never disabled.
type alertManager struct{ *place }

func (m *alertManager) desired() object {
	return object{name: m.region, tree: map[string]any{"enabled": true}}
}

func (m *alertManager) list(ctx context.Context) ([]object, error) {
	if err := m.readAlertManager(ctx); err != nil || m.alertManagerURL == "" {
		return nil, err
	}
	live := m.desired()
	live.owned = true
	return []object{live}, nil
}

func (m *alertManager) put(ctx context.Context, _ object, _ *object) error {
	_, err := m.api.postJSON(ctx, fmt.Sprintf("enable the alert manager of project %s in %s", m.project, m.region), m.path("/alert-manager/enable"), map[string]any{"project_id": m.project})
	if err != nil {
		return err
	}
	return m.readAlertManager(ctx)
}

func (*alertManager) remove(context.Context, object) error {
	panic("an alert manager is never disabled") // it is never in a plan
}

// contacts are the e-mail addresses in the Cockpit API. They carry no mark:
// those that the configuration names are ours, no other is touched.
type contacts struct {
	*place
	addresses []string
	destroy   bool
}

func (c *contacts) desired() []object {
	if c.destroy {
		return nil
	}
	var all []object
	for _, address := range c.addresses {
		all = append(all, object{name: address, tree: map[string]any{"email": address}})
	}
	return all
}

func (c *contacts) list(ctx context.Context) ([]object, error) {
	if c.alertManagerURL == "" {
		return nil, nil // an alert manager that is not enabled has none
	}
	points, err := pages[cockpit.ContactPoint](ctx, c.place, fmt.Sprintf("list the contacts of project %s in %s", c.project, c.region), c.path("/alert-manager/contact-points"), "contact_points")
	if err != nil {
		return nil, err
	}
	var all []object
	for _, point := range points {
		if point.Email != nil {
			all = append(all, object{
				name: point.Email.To, tree: map[string]any{"email": point.Email.To},
				owned: slices.ContainsFunc(c.addresses, func(a string) bool { return strings.EqualFold(a, point.Email.To) }),
			})
		}
	}
	return all, nil
}

func (c *contacts) put(ctx context.Context, desired object, _ *object) error {
	_, err := c.api.postJSON(ctx, fmt.Sprintf("create the contact %s of project %s in %s", desired.name, c.project, c.region), c.path("/alert-manager/contact-points"),
		map[string]any{"project_id": c.project, "email": map[string]any{"to": desired.name}, "send_resolved_notifications": true})
	return err
}

func (c *contacts) remove(ctx context.Context, live object) error {
	_, err := c.api.postJSON(ctx, fmt.Sprintf("delete the contact %s of project %s in %s", live.name, c.project, c.region), c.path("/alert-manager/contact-points/delete"),
		map[string]any{"project_id": c.project, "email": map[string]any{"to": live.name}})
	return err
}

package provisioner

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/scwatch/scwatch/internal/diagnosis"
)

// grafana opens the Cockpit's Grafana as a reader does: not by the one call that
// would make it exist. It returns nil where that fails.
func (d *doctor) grafana(ctx context.Context) *grafana {
	hop := d.hop(hopGrafana, "open the Grafana of project %s", d.at.project)
	const means = "dashboards are not seen and not provisioned"
	if err := d.at.readGrafana(ctx); err != nil {
		d.add(hop.Failed(err, false, means))
		return nil
	}
	g, err := newGrafana(d.provisioner.scaleway(d.at.grafanaURL), d.at)
	if err == nil {
		err = g.readSources(ctx)
	}
	var said *grafanaError
	switch {
	case errors.As(err, &said) && said.answer.status == http.StatusNotFound && isWrongAddress(said.answer):
		d.add(hop.Broke("404, a page of none", "this Grafana is not provisioned yet: the first request to its /api/org does that, and nobody has made one", `run "scwatch apply", or open `+d.at.grafanaURL+" once while logged in"))
		return nil
	case err != nil:
		d.add(hop.Failed(err, false, means))
		return nil
	}
	d.add(hop.Ok("it answers"))
	return g
}

// sync tells whether the Grafana knows the Cockpit's data sources.
func (d *doctor) sync(g *grafana, sourcesErr error) {
	hop := d.hop(hopSync, "compare the data sources of %s with those in its Grafana", d.where())
	switch {
	case g == nil:
		d.add(hop.HiddenBy(hopGrafana))
		return
	case sourcesErr != nil:
		d.add(hop.Failed(sourcesErr, false, "what the Grafana should have is not known"))
		return
	}
	var missing []string
	for _, s := range d.at.sources {
		if !slices.ContainsFunc(g.sources, func(l liveSource) bool { return l.name == s.Name }) {
			missing = append(missing, s.Name)
		}
	}
	if len(missing) > 0 {
		d.add(hop.Broke("missing in Grafana: "+strings.Join(missing, ", "), "panels on them stay empty", `run "scwatch apply", or scw cockpit grafana sync-data-sources project-id=`+d.at.project))
		return
	}
	d.add(hop.Ok("all %d are in it", len(d.at.sources)))
}

// managed looks for rules that the Grafana keeps and Cockpit never evaluates.
func (d *doctor) managed(ctx context.Context, g *grafana) {
	hop := d.hop(hopManaged, "look for Grafana-managed rules in the Grafana of project %s", d.at.project)
	if g == nil {
		d.add(hop.HiddenBy(hopGrafana))
		return
	}
	var rules []struct{ Title string }
	s := d.provisioner.scaleway(d.at.grafanaURL)
	if _, err := s.getJSON(ctx, hop.Tried, "/api/v1/provisioning/alert-rules", &rules); err != nil {
		d.add(hop.Failed(err, false, "whether there are any is not known; Cockpit would never evaluate them"))
		return
	}
	if len(rules) == 0 {
		d.add(hop.Ok("none, as it should be"))
		return
	}
	var titles []string
	for _, r := range rules {
		titles = append(titles, fmt.Sprintf("%q", r.Title))
	}
	slices.Sort(titles)
	d.add(hop.Broke(fmt.Sprintf("%d: %s", len(titles), some(titles)), "Cockpit never evaluates Grafana-managed rules: these alerts never come",
		`write them as a Prometheus rule file, name it in provision.targets[].rules[].files, run "scwatch apply", and delete them in Grafana`))
}

// diagnoseOwnGrafana walks a Grafana of somebody's own, which evaluates its
// rules and notifies by its own policies.
func (p *Provisioner) diagnoseOwnGrafana(ctx context.Context, t target) []diagnosis.Hop {
	hop := func(name, tried string) diagnosis.Hop {
		return diagnosis.Hop{Name: name, Tried: tried + " " + t.GrafanaURL}
	}
	open, stored := hop(hopGrafana, "open the Grafana"), hop(hopStored, "read the rules of the Grafana")
	g, err := newGrafana(p.ownGrafana(t.GrafanaURL), nil)
	if err == nil {
		err = g.readSources(ctx)
	}
	if err != nil {
		return []diagnosis.Hop{open.Failed(err, true, "nothing can be provisioned there"), stored.HiddenBy(hopGrafana)}
	}
	version, err := g.version(ctx)
	if err != nil {
		return []diagnosis.Hop{open.Failed(err, false, "its version is not known"), stored.HiddenBy(hopGrafana)}
	}
	managed := &managedRules{grafana: g, folder: t.Folder.UID}
	desired, err := managed.desired(t, version)
	if err != nil {
		return []diagnosis.Hop{open.Ok("it answers, version %s", version), stored.Broke(err.Error(), "the rules cannot be evaluated there", "give this Grafana the data source")}
	}
	live, err := managed.list(ctx)
	if err != nil {
		return []diagnosis.Hop{open.Ok("it answers, version %s", version), stored.Failed(err, false, "whether there are rules is not known")}
	}
	var missing []string
	for _, want := range desired {
		if !slices.ContainsFunc(live, func(l object) bool { return l.name == want.name }) {
			missing = append(missing, want.name)
		}
	}
	if len(missing) > 0 {
		stored = stored.Broke("missing: "+some(missing), "what is not stored fires never", `run "scwatch apply"`)
	} else {
		stored = stored.Ok("all %d groups are there; who is told is a matter of this Grafana's notification policies", len(desired))
	}
	return []diagnosis.Hop{open.Ok("it answers, version %s", version), stored}
}

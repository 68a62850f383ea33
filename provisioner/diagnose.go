package provisioner

import (
	"context"
	"fmt"
	"strings"

	"github.com/scwatch/scwatch/internal/config"
	"github.com/scwatch/scwatch/internal/diagnosis"
)

// Hops are the names of those that a Provisioner walks, in their order.
var Hops = []string{hopGrafana, hopSync, hopManaged, hopDataSource, hopStored, hopLoaded, hopSeries, hopAlertManager, hopRoutes, hopContacts, hopCockpitTest, hopOwnTest}

const (
	hopGrafana      = "grafana"
	hopSync         = "grafana data sources"
	hopManaged      = "grafana-managed rules"
	hopDataSource   = "rules' data source"
	hopStored       = "rules stored"
	hopLoaded       = "rules evaluated"
	hopSeries       = "rules' series"
	hopAlertManager = "alert manager"
	hopRoutes       = "routes"
	hopContacts     = "contacts"
	hopCockpitTest  = "test alert of Cockpit"
	hopOwnTest      = "test alert of scwatch"
)

// Diagnose walks from each target's Grafana to its contacts, and tells how each
// hop fares. It writes nothing, but for the test alerts where they are wanted.
func (p *Provisioner) Diagnose(ctx context.Context, testAlerts bool) []diagnosis.Hop {
	var all []diagnosis.Hop
	for _, t := range p.defs.targets {
		if t.RulesTarget == config.RulesTargetGrafana {
			all = append(all, p.diagnoseOwnGrafana(ctx, t)...)
			continue
		}
		d := &doctor{
			provisioner: p, target: t, testAlerts: testAlerts,
			at: &place{api: p.scaleway(p.access.APIURL), project: t.Project, region: t.Region},
		}
		d.walk(ctx)
		all = append(all, d.hops...)
	}
	return all
}

// doctor walks one target.
type doctor struct {
	provisioner *Provisioner
	target      target
	at          *place
	testAlerts  bool
	hops        []diagnosis.Hop
}

func (d *doctor) hop(name, tried string, args ...any) diagnosis.Hop {
	return diagnosis.Hop{Name: name, Project: d.at.project, Region: d.at.region, Tried: fmt.Sprintf(tried, args...)}
}

func (d *doctor) add(h diagnosis.Hop) bool {
	d.hops = append(d.hops, h)
	return h.Status == diagnosis.OK
}

func (d *doctor) where() string { return fmt.Sprintf("project %s in %s", d.at.project, d.at.region) }

func (d *doctor) walk(ctx context.Context) {
	sourcesErr := d.at.readSources(ctx) // before the Grafana's, which go by them
	grafana := d.grafana(ctx)
	d.sync(grafana, sourcesErr)
	d.managed(ctx, grafana)
	d.rules(ctx, sourcesErr)
	enabled := d.add(d.alertManager(ctx))
	d.notification(ctx, enabled)
}

// some are the first of many.
func some(all []string) string {
	const shown = 5
	if len(all) > shown {
		return fmt.Sprintf("%s and %d more", strings.Join(all[:shown], ", "), len(all)-shown)
	}
	return strings.Join(all, ", ")
}

package provisioner

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/scwatch/scwatch/internal/config"
	"github.com/scwatch/scwatch/internal/diagnosis"
	"github.com/scwatch/scwatch/internal/httpclient"
)

// rules walks the rulers of the target's data sources.
func (d *doctor) rules(ctx context.Context, sourcesErr error) {
	if len(d.target.rules) == 0 {
		for _, name := range []string{hopDataSource, hopStored, hopLoaded, hopSeries} {
			d.add(d.hop(name, "rules of %s", d.where()).NotWanted("the configuration has none for this target"))
		}
		return
	}
	var sources []config.DataSource
	for _, set := range d.target.rules {
		if !slices.Contains(sources, set.dataSource) {
			sources = append(sources, set.dataSource)
		}
	}
	for _, source := range sources {
		d.ruler(ctx, source, sourcesErr)
	}
}

func (d *doctor) ruler(ctx context.Context, source config.DataSource, sourcesErr error) {
	hide := func(behind string, names ...string) {
		for _, name := range names {
			d.add(d.hop(name, "the data source %q of %s", source.Name, d.where()).HiddenBy(behind))
		}
	}
	hop := d.hop(hopDataSource, "look for the data source %q of %s", source.Name, d.where())
	if sourcesErr != nil {
		d.add(hop.Failed(sourcesErr, false, "where the rules belong is not known"))
		hide(hopDataSource, hopStored, hopLoaded, hopSeries)
		return
	}
	live, err := d.at.source(source)
	switch {
	case err != nil:
		d.add(hop.Broke(err.Error(), "where the rules belong is not known", "correct provision.targets[].rules[].data_source"))
	case live == nil:
		d.add(hop.Broke("there is none", "there is nothing that could evaluate the rules", fmt.Sprintf(`run "scwatch apply", or scw cockpit data-source create name=%s type=%s project-id=%s region=%s`, source.Name, source.Type, d.at.project, d.at.region)))
	default:
		d.add(hop.Ok("there, %s, origin %s", live.ID, live.Origin))
	}
	if live == nil {
		hide(hopDataSource, hopStored, hopLoaded, hopSeries)
		return
	}
	if !d.add(d.stored(ctx, source)) {
		hide(hopStored, hopLoaded)
	} else {
		d.add(d.loaded(ctx, source))
	}
	d.add(d.series(ctx, source))
}

func (d *doctor) sets(source config.DataSource) (sets []ruleSet, namespaces []string) {
	for _, set := range d.target.rules {
		if set.dataSource == source {
			sets, namespaces = append(sets, set), append(namespaces, set.namespace)
		}
	}
	return sets, namespaces
}

// stored compares the ruler's groups with the definitions.
func (d *doctor) stored(ctx context.Context, source config.DataSource) diagnosis.Hop {
	hop := d.hop(hopStored, "read the rules of the data source %q of %s", source.Name, d.where())
	_, namespaces := d.sets(source)
	ruler := &rules{place: d.at, connect: d.provisioner.scaleway, dataSource: source, namespaces: namespaces}
	grafana := strings.TrimSuffix(cmp.Or(d.target.GrafanaURL, d.at.grafanaURL), "/")
	desired, err := ruler.desired(d.target, grafana)
	if err != nil {
		return hop.Failed(err, false, "the definitions cannot be written")
	}
	live, err := ruler.list(ctx)
	if err != nil {
		return hop.Failed(err, false, "whether there are rules at all is not known")
	}
	var missing, different []string
	for _, want := range desired {
		at := slices.IndexFunc(live, func(l object) bool { return l.name == want.name })
		switch {
		case at < 0:
			missing = append(missing, want.name)
		case len(changes("", live[at].tree, want.tree)) > 0:
			different = append(different, want.name)
		}
	}
	const apply = `"scwatch plan" shows the difference, "scwatch apply" mends it`
	switch {
	case len(missing) > 0:
		return hop.Broke(fmt.Sprintf("%d of %d groups are missing: %s", len(missing), len(desired), some(missing)), "what is not stored fires never", apply)
	case len(different) > 0 && grafana != "": // its address is in every alert
		return hop.Broke("other than defined: "+some(different), "they fire by other words than those in the files", apply)
	}
	return hop.Ok("groups: %d, all there", len(desired))
}

// loaded asks the ruler how its rules fare.
func (d *doctor) loaded(ctx context.Context, source config.DataSource) diagnosis.Hop {
	hop := d.hop(hopLoaded, "ask how the rules of the data source %q of %s fare", source.Name, d.where())
	ruler, _, _ := (&rules{place: d.at, connect: d.provisioner.scaleway, dataSource: source}).server()
	var answer struct {
		Data struct {
			Groups []struct {
				Name, File string
				Rules      []struct{ Name, Health, LastError string }
			}
		}
	}
	if _, err := ruler.getJSON(ctx, hop.Tried, "/prometheus/api/v1/rules", &answer); err != nil {
		return hop.Failed(err, false, "whether they are evaluated is not known")
	}
	sets, _ := d.sets(source)
	count := 0
	var unloaded, failing []string
	for _, set := range sets {
		for _, g := range set.groups {
			found := false
			for _, live := range answer.Data.Groups {
				if live.Name != g.Name || live.File != set.namespace {
					continue
				}
				found = true
				for _, r := range live.Rules {
					count++
					if r.Health == "err" || r.LastError != "" {
						failing = append(failing, fmt.Sprintf("%s: %.200s", r.Name, r.LastError))
					}
				}
			}
			if !found {
				unloaded = append(unloaded, set.namespace+"/"+g.Name)
			}
		}
	}
	switch {
	case len(failing) > 0:
		return hop.Broke(fmt.Sprintf("%d of %d fail: %s", len(failing), count, some(failing)), "a rule that cannot be evaluated never fires", `correct its expression and run "scwatch apply"`)
	case len(unloaded) > 0:
		return hop.Broke("stored and not loaded: "+some(unloaded), "the ruler does not evaluate them, or not yet: it looks for new ones about once a minute", "ask again in two minutes; if they still are not there, ask Scaleway's support")
	}
	return hop.Ok("rules: %d, no error", count)
}

// series asks whether what the rules look at exists. A metric of what is not
// the case has no series; none at all of any is a source that gets nothing.
func (d *doctor) series(ctx context.Context, source config.DataSource) diagnosis.Hop {
	hop := d.hop(hopSeries, "look for the series that the rules need in the data source %q of %s", source.Name, d.where())
	if source.Type != config.DataSourceMetrics {
		return hop.NotWanted("these rules are on lines of logs")
	}
	sets, _ := d.sets(source)
	var names, recorded []string
	for _, set := range sets {
		for _, g := range set.groups {
			for _, r := range g.Rules {
				if r.Record != "" {
					recorded = append(recorded, r.Record)
				}
				if expr, err := promQL.ParseExpr(r.Expr); err == nil { // it was loaded by it
					names = append(names, selected(expr)...)
				}
			}
		}
	}
	slices.Sort(names)
	names = slices.DeleteFunc(slices.Compact(names), func(n string) bool { return slices.Contains(recorded, n) })
	ruler, _, _ := (&rules{place: d.at, connect: d.provisioner.scaleway, dataSource: source}).server()
	var answer struct {
		Data *struct {
			Result []struct{ Metric map[string]string }
		}
	}
	query := fmt.Sprintf(`group by (__name__) ({__name__=~%q})`, strings.Join(names, "|"))
	_, err := ruler.getJSON(ctx, hop.Tried, "/prometheus/api/v1/query?query="+url.QueryEscape(query), &answer)
	if err == nil && answer.Data == nil {
		err = &httpclient.Error{Attempted: hop.Tried, Reason: "the answer is not one of a query API"}
	}
	if err != nil {
		return hop.Failed(err, false, "whether the rules have anything to look at is not known")
	}
	var absent []string
	for _, name := range names {
		if !slices.ContainsFunc(answer.Data.Result, func(r struct{ Metric map[string]string }) bool { return r.Metric["__name__"] == name }) {
			absent = append(absent, name)
		}
	}
	switch {
	case len(absent) == len(names):
		return hop.Broke(fmt.Sprintf("metrics: %d, none has a series", len(names)), "nothing arrives in this data source: rules on it are silent whatever happens",
			`for scwatch's own metrics: push.enabled: true and a running "scwatch serve"; Cockpit scrapes nothing. A rule on Scaleway's metrics belongs into "Scaleway Metrics"`)
	case len(absent) > 0:
		return hop.Ok("metrics: %d of %d have series; none now of %s, which is well while nothing is in that state", len(names)-len(absent), len(names), some(absent))
	}
	return hop.Ok("metrics: %d, all have series", len(names))
}

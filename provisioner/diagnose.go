package provisioner

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/rulefmt"
	"gopkg.in/yaml.v3"

	"github.com/scwatch/scwatch/internal/clock"
	"github.com/scwatch/scwatch/internal/config"
	"github.com/scwatch/scwatch/internal/diagnosis"
	"github.com/scwatch/scwatch/internal/httpclient"
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
	grafana := d.grafana(ctx)
	sourcesErr := d.at.readSources(ctx)
	d.sync(ctx, grafana, sourcesErr)
	d.managed(ctx, grafana)
	d.rules(ctx, sourcesErr)
	enabled := d.add(d.alertManager(ctx))
	d.notification(ctx, enabled)
}

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
func (d *doctor) sync(ctx context.Context, g *grafana, sourcesErr error) {
	hop := d.hop(hopSync, "compare the data sources of %s with those in its Grafana", d.where())
	switch {
	case g == nil:
		d.add(hop.HiddenBy(hopGrafana))
		return
	case sourcesErr != nil:
		d.add(hop.Failed(sourcesErr, false, "what the Grafana should have is not known"))
		return
	}
	if err := g.readSources(ctx); err != nil { // now that the Cockpit's are known
		d.add(hop.Failed(err, false, "which data sources the Grafana has is not known"))
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

// some are the first of many.
func some(all []string) string {
	const shown = 5
	if len(all) > shown {
		return fmt.Sprintf("%s and %d more", strings.Join(all[:shown], ", "), len(all)-shown)
	}
	return strings.Join(all, ", ")
}

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

// alertManager looks for it where the data source is, and elsewhere where it is
// not.
func (d *doctor) alertManager(ctx context.Context) diagnosis.Hop {
	hop := d.hop(hopAlertManager, "look whether the alert manager of %s is enabled", d.where())
	if err := d.at.readAlertManager(ctx); err != nil {
		return hop.Failed(err, false, "whether anything notifies is not known")
	}
	if d.at.alertManagerURL != "" {
		return hop.Ok("it is")
	}
	mend := fmt.Sprintf(`run "scwatch apply", or scw cockpit alert-manager enable project-id=%s region=%s`, d.at.project, d.at.region)
	for _, region := range config.Regions() {
		other := &place{api: d.at.api, project: d.at.project, region: region}
		if region == d.at.region || other.readAlertManager(ctx) != nil || other.alertManagerURL == "" {
			continue
		}
		return hop.Broke("it is not, but the one in "+region+" is", "an alert manager hears the data sources of its own region alone: alerts of "+d.at.region+" reach nobody", mend)
	}
	return hop.Broke("it is not", "rules fire and nobody is told", mend)
}

// notification walks the rest of the way, which an alert manager that is not
// there hides.
func (d *doctor) notification(ctx context.Context, enabled bool) {
	hide := func(behind string, names ...string) {
		for _, name := range names {
			hop := d.hop(name, "the alert manager of %s", d.where())
			if !d.testAlerts && (name == hopCockpitTest || name == hopOwnTest) {
				d.add(hop.NotWanted("--send-test-alert is not given"))
			} else {
				d.add(hop.HiddenBy(behind))
			}
		}
	}
	if !enabled {
		hide(hopAlertManager, hopRoutes, hopContacts, hopCockpitTest, hopOwnTest)
		return
	}
	router := &routing{place: d.at, connect: d.provisioner.scaleway}
	document, err := router.read(ctx)
	routes := d.routes(router, document, err)
	d.add(routes)
	contacts := d.hop(hopContacts, "look for somebody who is told by the alert manager of %s", d.where())
	if routes.Status == diagnosis.Unseen {
		d.add(contacts.HiddenBy(hopRoutes))
	} else {
		d.add(d.contacts(ctx, contacts, document))
	}
	if !d.testAlerts {
		hide("", hopCockpitTest, hopOwnTest)
		return
	}
	d.add(d.cockpitTest(ctx))
	d.add(d.ownTest(ctx))
}

func (d *doctor) routes(router *routing, document document, err error) diagnosis.Hop {
	hop := d.hop(hopRoutes, "read the routes of %s", d.where())
	if err != nil {
		return hop.Failed(err, false, "whom alerts go to is not known")
	}
	if d.target.routes == nil {
		if document.top == nil {
			return hop.NotWanted("provision.targets[].alertmanager is empty and there are none: only contacts are told")
		}
		return hop.Ok("somebody's own; provision.targets[].alertmanager is empty, they are left alone")
	}
	const apply = `"scwatch plan" shows the difference, "scwatch apply" mends it`
	if document.top == nil {
		return hop.Broke("there is no configuration", "alerts arrive and go nowhere", apply)
	}
	live := ownPart(document.top, document.templates).tree()
	if len(live) == 0 {
		return hop.Broke("none of scwatch's among them", "alerts go wherever others' routes lead", apply)
	}
	differing := changes("", positioned(live, document.top), router.desired(d.target.routes).tree)
	if len(differing) == 0 {
		return hop.Ok("scwatch's are there, before others'")
	}
	var paths []string
	for _, c := range differing {
		paths = append(paths, c.Path) // no values: they can be secret
	}
	return hop.Broke("other than defined: "+some(paths), "alerts may go elsewhere than the file says", apply)
}

// contacts counts who is told: Cockpit's e-mail contacts, and receivers with
// anything to send by.
func (d *doctor) contacts(ctx context.Context, hop diagnosis.Hop, document document) diagnosis.Hop {
	live, err := (&contacts{place: d.at, addresses: d.target.Contacts}).list(ctx)
	if err != nil {
		return hop.Failed(err, false, "whether anybody is told is not known")
	}
	receivers := 0
	var all []*yaml.Node
	if document.top != nil { // nil where there is no configuration
		all = elements(value(document.top, "receivers"))
	}
	for _, r := range all {
		if value(r, "name").Kind != 0 && len(r.Content) > 2 {
			receivers++
		}
	}
	missing := 0
	for _, address := range d.target.Contacts {
		if !slices.ContainsFunc(live, func(l object) bool { return strings.EqualFold(l.name, address) }) {
			missing++
		}
	}
	switch {
	case missing > 0:
		return hop.Broke(fmt.Sprintf("%d of %d configured contacts are not there", missing, len(d.target.Contacts)), "they are not told", `run "scwatch apply"`)
	case len(live) == 0 && receivers == 0:
		return hop.Broke("no contact, and no receiver that sends anything", "alerts fire and nobody hears them",
			fmt.Sprintf(`put an address into provision.targets[].contacts, or an Alertmanager configuration into alertmanager, and run "scwatch apply"; or scw cockpit alert-manager contact-points create email.to=… project-id=%s region=%s`, d.at.project, d.at.region))
	}
	return hop.Ok("e-mail contacts: %d, receivers: %d", len(live), receivers)
}

// cockpitTest has Cockpit send its own test alert.
func (d *doctor) cockpitTest(ctx context.Context) diagnosis.Hop {
	hop := d.hop(hopCockpitTest, "have Cockpit send its test alert to the contacts of %s", d.where())
	if _, err := d.at.api.postJSON(ctx, hop.Tried, d.at.path("/alert-manager/trigger-test-alert"), map[string]any{"project_id": d.at.project}); err != nil {
		return hop.Failed(err, true, "Cockpit sends no test alert")
	}
	return hop.Ok("taken: look for it where the contacts read")
}

// The time that an alert manager gets to show an alert that it took.
const (
	showTries = 5
	showPause = time.Second
)

// ownTest sends an alert of a rule's name, so that it takes that rule's way, and
// looks for it there.
func (d *doctor) ownTest(ctx context.Context) diagnosis.Hop {
	hop := d.hop(hopOwnTest, "send a test alert to the alert manager of %s", d.where())
	rule, ok := d.tested()
	if !ok {
		return hop.NotWanted("this target has no alerts whose way could be tested")
	}
	now := time.Now().UTC()
	labels := map[string]string{"alertname": rule.Alert, "scwatch_test": now.Format(time.RFC3339Nano)}
	for name, v := range rule.Labels {
		if !strings.Contains(v, "{{") { // not what only a series could fill in
			labels[name] = v
		}
	}
	alert := map[string]any{
		"labels": labels, "startsAt": now, "endsAt": now.Add(5 * time.Minute),
		"annotations": map[string]string{"summary": "A test by scwatch doctor: nothing has happened.", "description": "It goes the way of the alert " + rule.Alert + " and ends by itself in five minutes."},
	}
	manager := d.provisioner.scaleway(d.at.alertManagerURL)
	if _, err := manager.postJSON(ctx, hop.Tried, "/alertmanager/api/v2/alerts", []any{alert}); err != nil {
		hop = hop.Failed(err, true, "the alert manager takes no alerts")
		if strings.Contains(hop.Found, "not configured") {
			hop.Means, hop.Mend = "an alert manager without a configuration takes no alerts: those sent are lost", `give it routes or contacts ("scwatch apply"), and wait two minutes`
		}
		return hop
	}
	for range showTries {
		a, err := manager.call(ctx, "read the alerts of "+d.where(), http.MethodGet, "/alertmanager/api/v2/alerts", "", nil)
		if err != nil {
			return hop.Failed(err, false, "it was taken; whether it is there is not known")
		}
		var alerts []struct{ Labels map[string]string }
		if json.Unmarshal(a.body, &alerts) != nil {
			return hop.Failed(errors.New("the answer is no list of alerts"), false, "it was taken; whether it is there is not known")
		}
		for _, seen := range alerts {
			if seen.Labels["scwatch_test"] == labels["scwatch_test"] {
				return hop.Ok("%s was taken and is seen there: look for it where the pager rings", rule.Alert)
			}
		}
		if clock.Sleep(ctx, showPause) != nil {
			break
		}
	}
	return hop.Broke("taken, and not seen there", "the alert manager loses alerts", "ask Scaleway's support")
}

// tested is the alert whose way is tested: one that wakes somebody, if there is
// one.
func (d *doctor) tested() (alert rulefmt.Rule, ok bool) {
	for _, set := range d.target.rules {
		for _, g := range set.groups {
			for _, r := range g.Rules {
				switch {
				case r.Alert == "":
				case r.Labels["severity"] == "critical":
					return r, true
				case !ok:
					alert, ok = r, true
				}
			}
		}
	}
	return alert, ok
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

// Package provisioner puts dashboards, rules, routes and contacts where Cockpit
// evaluates them, and touches nothing that is not its own.
//
// Definitions are loaded and checked offline ([Load]). A [Provisioner] reads
// what is there, compares both in one normal form, and makes a [Plan] of the
// difference, which is printed, saved or applied. Applying reads back what it
// wrote and compares again.
package provisioner

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"

	"github.com/scwatch/scwatch/internal/config"
)

// Access is how servers are reached. All fields but GrafanaToken are required.
type Access struct {
	Client       *http.Client // follows no redirect
	APIURL       string
	SecretKey    config.Secret
	GrafanaToken config.Secret // for a Grafana of one's own
}

// Provisioner plans and applies definitions.
type Provisioner struct {
	access Access
	defs   *Definitions
}

// New returns a Provisioner of definitions.
func New(defs *Definitions, access Access) *Provisioner { return &Provisioner{access, defs} }

// The permission sets, for whoever is refused.
const wantsCockpit = "the permission set ObservabilityFullAccess in this project, or ObservabilityReadOnly to plan only"

func (p *Provisioner) scaleway(base string) server {
	return server{
		client: p.access.Client, base: strings.TrimSuffix(base, "/"), header: http.Header{"X-Auth-Token": {p.access.SecretKey.Reveal()}},
		wants: wantsCockpit, check: "SCW_API_URL and that this is a Cockpit: " + base,
	}
}

func (p *Provisioner) ownGrafana(base string) server {
	header := http.Header{}
	if token := p.access.GrafanaToken.Reveal(); token != "" {
		header.Set("Authorization", "Bearer "+token)
	}
	return server{
		client: p.access.Client, base: strings.TrimSuffix(base, "/"), header: header,
		wants: "the role Editor, and Admin for rules", check: "grafana_url: " + base,
	}
}

// Selection narrows a plan.
type Selection struct {
	Only       []string // KIND/NAME, each of which can be a pattern; empty: everything
	Destroy    bool     // what is ours goes, and nothing is written
	AllowEmpty bool     // all dashboards, or all rules, of a target may go
}

// Plan reads what is there and tells what would make it what the definitions
// say. Its error says everything that stands in the way.
func (p *Provisioner) Plan(ctx context.Context, s Selection) (*Plan, error) {
	plan := &Plan{Version: planVersion, Destroy: s.Destroy, Only: s.Only}
	type result struct {
		actions []Action
		notes   []string
	}
	results, err := parallel(ctx, p.defs.targets, func(ctx context.Context, t target) ([]result, error) {
		actions, notes, err := p.planTarget(ctx, t, s)
		return []result{{actions, notes}}, err
	})
	if err != nil {
		return nil, err
	}
	for _, r := range results {
		plan.Actions = append(plan.Actions, r.actions...)
		plan.Notes = append(plan.Notes, r.notes...)
	}
	if err := plan.narrow(); err != nil {
		return nil, err
	}
	plan.order()
	return plan, nil
}

// narrow leaves what Only names.
func (p *Plan) narrow() error {
	if len(p.Only) == 0 {
		return nil
	}
	for _, pattern := range p.Only {
		kind, name, ok := strings.Cut(pattern, "/")
		if !ok || name == "" || !slices.Contains(Kinds(), Kind(kind)) {
			var kinds []string
			for _, k := range Kinds() {
				kinds = append(kinds, string(k))
			}
			return fmt.Errorf("--only=%s: expected KIND/NAME, with one of %s", pattern, strings.Join(kinds, ", "))
		}
	}
	p.Actions = slices.DeleteFunc(p.Actions, func(a Action) bool {
		return !slices.ContainsFunc(p.Only, func(pattern string) bool {
			kind, name, _ := strings.Cut(pattern, "/")
			if Kind(kind) != a.Kind {
				return false
			}
			// The last part of a rule group's name, behind data source and
			// namespace, is enough.
			matched, _ := path.Match(name, a.Name)
			last, _ := path.Match(name, path.Base(a.Name))
			return matched || last
		})
	})
	return nil
}

// order puts actions in the order in which they are done.
func (p *Plan) order() {
	rank := func(a Action) int {
		if a.Op == Delete {
			return len(Kinds()) + slices.Index(deletionOrder, a.Kind)
		}
		return slices.Index(Kinds(), a.Kind)
	}
	slices.SortStableFunc(p.Actions, func(a, b Action) int { return cmp.Compare(rank(a), rank(b)) })
}

// planTarget compares one target, kind by kind.
func (p *Provisioner) planTarget(ctx context.Context, t target, s Selection) ([]Action, []string, error) {
	name := t.Project + "/" + t.Region
	if t.RulesTarget == config.RulesTargetGrafana {
		name = t.GrafanaURL
	}
	w := &walk{name: name, selection: s}
	if t.RulesTarget == config.RulesTargetGrafana {
		p.walkOwnGrafana(ctx, w, t)
	} else {
		p.walkCockpit(ctx, w, t)
	}
	if err := errors.Join(w.errs...); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", name, err)
	}
	return w.actions, w.notes, nil
}

// walk gathers what a target needs.
type walk struct {
	name      string
	selection Selection
	actions   []Action
	notes     []string
	errs      []error
}

func (w *walk) fail(err error) bool {
	if err != nil {
		w.errs = append(w.errs, err)
	}
	return err != nil
}

// kind compares the objects of one kind. It tells whether they could be read.
func (w *walk) kind(ctx context.Context, kind Kind, s store, desired []object) bool {
	live, err := s.list(ctx)
	if w.fail(err) {
		return false
	}
	w.compare(kind, s, desired, live)
	return true
}

func (w *walk) compare(kind Kind, s store, desired, live []object) {
	if w.selection.Destroy {
		desired = nil
	}
	actions, errs := compare(w.name, kind, s, desired, live)
	w.actions, w.errs = append(w.actions, actions...), append(w.errs, errs...)
}

// guardEmpty refuses the deletion of everything of a kind that nobody asked for.
func (w *walk) guardEmpty(kind Kind, desired int) {
	if desired > 0 || w.selection.Destroy || w.selection.AllowEmpty {
		return
	}
	for _, a := range w.actions {
		if a.Kind == kind && a.Op == Delete {
			w.errs = append(w.errs, fmt.Errorf("no %s are defined, and all that are there would be deleted: --allow-empty says that this is meant", strings.TrimSuffix(string(kind), "s")+"s"))
			return
		}
	}
}

// walkCockpit compares a project's Cockpit. What is missing on the way is a
// part of the plan, and what depends on it is planned as if it were there.
func (p *Provisioner) walkCockpit(ctx context.Context, w *walk, t target) {
	at := &place{api: p.scaleway(p.access.APIURL), project: t.Project, region: t.Region}
	if w.fail(at.readSources(ctx)) {
		return
	}
	sources := &dataSources{at}
	wanted, err := sources.wanted(t)
	w.fail(err)
	if !w.selection.Destroy {
		w.compare(KindDataSource, sources, wanted, sources.live(wanted))
	}
	for _, a := range w.actions {
		source := a.desired.state.(config.DataSource)
		if source.Type == config.DataSourceMetrics {
			w.notes = append(w.notes, fmt.Sprintf("the data source %q is new. A push token for it, whose secret is shown once: scw cockpit token create name=scwatch-push project-id=%s region=%s token-scopes.0=write_only_metrics", source.Name, t.Project, t.Region))
		}
	}
	if w.selection.Destroy {
		w.fail(at.readAlertManager(ctx))
	} else if t.needsAlertManager() {
		manager := &alertManager{at}
		w.kind(ctx, KindAlertManager, manager, []object{manager.desired()})
	}
	grafana := p.walkDashboards(ctx, w, t, at)
	p.walkRules(ctx, w, t, at, grafana)
	if t.routes != nil {
		routing := &routing{place: at, connect: p.scaleway}
		w.kind(ctx, KindRoutes, routing, []object{routing.desired(t.routes)})
	}
	if len(t.Contacts) > 0 {
		contacts := &contacts{at, t.Contacts, w.selection.Destroy}
		w.kind(ctx, KindContact, contacts, contacts.desired())
	}
}

// needsAlertManager tells whether a target has something to notify of.
func (t target) needsAlertManager() bool {
	return t.routes != nil || len(t.Contacts) > 0 || len(t.alerts()) > 0
}

// walkDashboards compares the folder and the dashboards, and returns the
// address of their Grafana.
func (p *Provisioner) walkDashboards(ctx context.Context, w *walk, t target, at *place) (address string) {
	var g *grafana
	var err error
	if t.GrafanaURL != "" {
		g, err = newGrafana(p.ownGrafana(t.GrafanaURL), nil)
	} else {
		if w.fail(at.readGrafana(ctx)) {
			return ""
		}
		g, err = newGrafana(p.scaleway(at.grafanaURL), at)
	}
	if w.fail(err) || w.fail(g.provision(ctx)) {
		return ""
	}
	p.compareDashboards(ctx, w, t, g)
	return g.address
}

func (p *Provisioner) compareDashboards(ctx context.Context, w *walk, t target, g *grafana) {
	if g.place == nil || w.selection.Destroy {
		if w.fail(g.readSources(ctx)) {
			return
		}
	} else {
		var names []string
		for _, s := range g.place.sources {
			names = append(names, s.Name)
		}
		for _, set := range t.rules { // those about to be made as well
			if !isID(set.dataSource.Name) {
				names = append(names, set.dataSource.Name)
			}
		}
		slices.Sort(names)
		names = slices.Compact(names)
		sync := &synchronised{g, names}
		if !w.kind(ctx, KindGrafana, sync, []object{sync.object(slices.Clone(names))}) {
			return
		}
	}
	needed := len(t.dashboards) > 0 || t.RulesTarget == config.RulesTargetGrafana && len(t.rules) > 0
	folder := &folder{g, t.Folder.UID, t.Folder.Title, needed}
	liveFolder, err := folder.list(ctx)
	if w.fail(err) {
		return
	}
	boards := &boards{g, t.Folder.UID, t.dashboards}
	var desired []object
	if !w.selection.Destroy {
		if desired, err = boards.desired(); w.fail(err) {
			return
		}
	}
	live, err := boards.list(ctx)
	if w.fail(err) {
		return
	}
	w.compare(KindDashboard, boards, desired, live)
	w.guardEmpty(KindDashboard, len(desired))
	p.compareFolder(ctx, w, folder, liveFolder)
}

// compareFolder deletes the folder only where nobody else's dashboard is in it.
func (p *Provisioner) compareFolder(ctx context.Context, w *walk, f *folder, live []object) {
	if len(live) > 0 && (w.selection.Destroy || !f.needed) {
		hits, err := f.hits(ctx, f.uid)
		if w.fail(err) {
			return
		}
		for _, hit := range hits {
			if !slices.Contains(hit.Tags, markTag) {
				w.notes = append(w.notes, fmt.Sprintf("the folder %s stays: %q in it is not ours", f.uid, hit.Title))
				return
			}
		}
		if !w.selection.Destroy {
			return // an empty folder does no harm, and somebody may have made it
		}
	}
	w.compare(KindFolder, f, f.desired(), live)
}

// walkOwnGrafana compares a Grafana of somebody's own, which evaluates its rules
// itself.
func (p *Provisioner) walkOwnGrafana(ctx context.Context, w *walk, t target) {
	g, err := newGrafana(p.ownGrafana(t.GrafanaURL), nil)
	if w.fail(err) || w.fail(g.provision(ctx)) {
		return
	}
	p.compareDashboards(ctx, w, t, g)
	version, err := g.version(ctx)
	if w.fail(err) {
		return
	}
	managed := &managedRules{grafana: g, folder: t.Folder.UID}
	desired, err := managed.desired(t, version)
	if !w.fail(err) && w.kind(ctx, KindRules, managed, desired) && len(t.rules) > 0 {
		w.guardEmpty(KindRules, len(desired))
	}
}

// walkRules compares the groups in the rulers of a target's data sources, and
// counts what others have there.
func (p *Provisioner) walkRules(ctx context.Context, w *walk, t target, at *place, grafana string) {
	var sources []config.DataSource
	namespaces := make(map[config.DataSource][]string)
	for _, set := range t.rules {
		if !slices.Contains(sources, set.dataSource) {
			sources = append(sources, set.dataSource)
		}
		namespaces[set.dataSource] = append(namespaces[set.dataSource], set.namespace)
	}
	desiredGroups, groups := 0, 0
	for _, source := range sources {
		ruler := &rules{place: at, connect: p.scaleway, dataSource: source, namespaces: namespaces[source]}
		desired, err := ruler.desired(t, grafana)
		if w.fail(err) || !w.kind(ctx, KindRules, ruler, desired) {
			continue
		}
		desiredGroups += len(desired)
		groups += ruler.foreign + len(desired)
		p.checkLimits(w, ruler, desired)
	}
	if groups >= maxGroups && !w.selection.Destroy && len(sources) > 1 {
		w.fail(fmt.Errorf("project %s would have %d rule groups in %s; Cockpit keeps %d up to date, others' included", t.Project, groups, t.Region, maxGroups-1))
	}
	if len(t.rules) > 0 {
		w.guardEmpty(KindRules, desiredGroups)
	}
}

// checkLimits counts others' groups and alerts along with ours.
func (p *Provisioner) checkLimits(w *walk, r *rules, desired []object) {
	if w.selection.Destroy {
		return
	}
	if groups := r.foreign + len(desired); groups >= maxGroups {
		w.fail(fmt.Errorf("the data source %q would have %d rule groups, %d of them others'; Cockpit keeps %d up to date", r.dataSource.Name, groups, r.foreign, maxGroups-1))
	}
	source, err := r.place.source(r.dataSource)
	if err != nil || source == nil || source.Origin != "scaleway" || r.dataSource.Type != config.DataSourceMetrics {
		return
	}
	ours := 0
	for _, o := range desired {
		items, _ := o.tree["rules"].([]any)
		ours += len(names(items, "alert"))
	}
	if total := r.foreignAlerts + ours; total > maxScalewayAlerts {
		w.fail(fmt.Errorf("%q would have %d alerts, %d of them others'; Cockpit takes %d there", r.dataSource.Name, total, r.foreignAlerts, maxScalewayAlerts))
	}
}

package collector

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/scwatch/scwatch/internal/diagnosis"
)

// The hops that a poller makes.
const (
	hopCredentials = "credentials"
	hopProjects    = "projects"
	hopNamespaces  = "namespaces"
	hopFunctions   = "functions"
	hopCockpit     = "cockpit"
)

// place is a project in a region.
type place struct{ project, region string }

// Diagnose asks everything once that a poll asks, of one function where a poll
// asks it of each, and tells how each hop fares. refused says that the API does
// not take the key, so that nothing else can be asked.
func (p *Poller) Diagnose(ctx context.Context) (hops []diagnosis.Hop, refused bool) {
	ofPlaces := slices.Concat([]string{hopNamespaces, hopFunctions}, slowSources, []string{hopCockpit, sourceRejected})
	credentials := p.diagnoseKey(ctx, time.Now())
	hops = append(hops, credentials)
	if credentials.Status == diagnosis.Broken {
		return append(hops, diagnosis.Hidden(hopCredentials, append([]string{hopProjects}, ofPlaces...)...)...), true
	}
	projects, hop := p.diagnoseProjects(ctx)
	hops = append(hops, hop)
	if hop.Status != diagnosis.OK && len(projects) == 0 {
		return append(hops, diagnosis.Hidden(hopProjects, ofPlaces...)...), false
	}
	var places []place
	for _, project := range projects {
		for _, region := range p.settings.Regions {
			places = append(places, place{project, region})
		}
	}
	if len(places) == 0 {
		return hops, false // an organization without projects
	}
	found := make([][]diagnosis.Hop, len(places))
	indices := make([]int, len(places))
	for i := range indices {
		indices[i] = i
	}
	_ = fanOut(ctx, p, 0, indices, func(ctx context.Context, i int) error {
		found[i] = p.diagnosePlace(ctx, places[i])
		return nil // one broken place hides no other
	})
	return append(hops, byHop(found)...), false
}

// byHop puts the same hops of all places together, and makes one of those that
// are ok: what is to be read is what is not.
func byHop(places [][]diagnosis.Hop) []diagnosis.Hop {
	var all []diagnosis.Hop
	for n := range places[0] {
		var fine []diagnosis.Hop
		var rest []diagnosis.Hop
		for _, hops := range places {
			if n >= len(hops) {
				continue // it was interrupted
			}
			if hops[n].Status == diagnosis.OK {
				fine = append(fine, hops[n])
			} else {
				rest = append(rest, hops[n])
			}
		}
		if len(fine) == 1 {
			all = append(all, fine...)
		} else if len(fine) > 1 {
			one := diagnosis.Hop{Name: fine[0].Name, Tried: fmt.Sprintf("%s, in %d places", generally[fine[0].Name], len(fine))}
			var words []string
			for _, h := range fine {
				words = append(words, h.Found)
			}
			all = append(all, one.Ok("%s", summed(words)))
		}
		all = append(all, rest...)
	}
	return all
}

// generally is what was tried, without the place.
var generally = map[string]string{
	hopNamespaces: "list the namespaces", hopFunctions: "list the functions", "runtimes": "list the runtimes", "tokens": "list the tokens",
	"triggers": "list the triggers", "crons": "list the crons", "domains": "list the domains", hopCockpit: "list the data sources", sourceRejected: "look for what counts rejected calls",
}

// summed counts equal words: "metrics (3), logs".
func summed(words []string) string {
	counts := map[string]int{}
	var order []string
	for _, w := range words {
		if counts[w]++; counts[w] == 1 {
			order = append(order, w)
		}
	}
	for i, w := range order {
		if counts[w] > 1 {
			order[i] = fmt.Sprintf("%s (%d times)", w, counts[w])
		}
	}
	return strings.Join(order, "; ")
}

func (p *Poller) diagnoseKey(ctx context.Context, now time.Time) diagnosis.Hop {
	hop := diagnosis.Hop{Name: hopCredentials, Tried: "read the API key's own entry"}
	key, err := p.api.apiKey(ctx, p.settings.AccessKey)
	switch status := statusOf(err); {
	case status == http.StatusUnauthorized:
		hop = hop.Failed(err, true, "the API takes this key for nothing: scwatch sees nothing at all")
		hop.Mend = "make a new API key (scw iam api-key create application-id=…), and set SCW_ACCESS_KEY and SCW_SECRET_KEY: the two must be of one key"
		return hop
	case Refused(err), missing(err):
		hop = hop.Failed(err, false, "the key is taken; when it ends cannot be told, and no alert comes before it does")
		hop.Mend = "give the key's application the permission set IAMReadOnly in the organization"
		return hop
	case err != nil: // a wrong address included, which says nothing of the key
		return hop.Failed(err, false, "whether the key is taken is not known")
	}
	end := timeOf(key.ExpiresAt)
	switch {
	case end.IsZero():
		return hop.Ok("the key is taken and has no end")
	case !end.After(now):
		return hop.Broke("the key ended "+end.UTC().Format(time.DateOnly), "the API refuses it, now or any moment", "make a new API key and set it")
	}
	return hop.Ok("the key is taken; it ends %s, in %d days", end.UTC().Format(time.DateOnly), int(end.Sub(now).Hours()/24))
}

func (p *Poller) diagnoseProjects(ctx context.Context) ([]string, diagnosis.Hop) {
	hop := diagnosis.Hop{Name: hopProjects, Tried: "list the watched projects"}
	regions := strings.Join(p.settings.Regions, ", ")
	if len(p.settings.Projects) == 0 {
		all, err := p.api.projects(ctx, p.settings.Organization)
		if err != nil {
			return nil, hop.Failed(err, true, "which projects there are is not known: none is watched")
		}
		var ids []string
		for _, project := range all {
			ids = append(ids, project.ID)
		}
		slices.Sort(ids)
		return ids, hop.Ok("%d projects of the organization; regions %s", len(ids), regions)
	}
	unnamed := 0
	for _, id := range p.settings.Projects {
		switch _, err := p.api.project(ctx, id); {
		case Refused(err):
			unnamed++ // its name is not needed
		case err != nil:
			return p.settings.Projects, hop.Failed(err, true, "a project that scwatch is to watch cannot be found")
		}
	}
	hop = hop.Ok("%d configured; regions %s", len(p.settings.Projects), regions)
	if unnamed > 0 {
		hop.Found += fmt.Sprintf("; the names of %d may not be read (ProjectReadOnly in the organization), which only costs their names", unnamed)
	}
	return p.settings.Projects, hop
}

// diagnosePlace walks the hops of one place, always as many.
func (p *Poller) diagnosePlace(ctx context.Context, at place) []diagnosis.Hop {
	hop := func(name string) diagnosis.Hop {
		return diagnosis.Hop{Name: name, Project: at.project, Region: at.region, Tried: fmt.Sprintf("%s of project %s in %s", generally[name], at.project, at.region)}
	}
	unit := Unit{at.project, at.region, sourceFunctions}
	var hops []diagnosis.Hop
	add := func(h diagnosis.Hop) { hops = append(hops, h) }

	_, err := p.api.namespaces(ctx, at.project, at.region)
	if err != nil {
		add(hop(hopNamespaces).Failed(err, true, "no function there is watched"))
	} else {
		add(hop(hopNamespaces).Ok("answered"))
	}
	var functions []Function
	if err != nil {
		add(hop(hopFunctions).HiddenBy(hopNamespaces))
	} else if functions, err = p.readFunctions(ctx, unit); err != nil {
		add(hop(hopFunctions).Failed(err, true, "no function there is watched"))
	} else {
		add(hop(hopFunctions).Ok("answered"))
	}
	one := functions[:min(len(functions), 1)]
	for _, source := range slowSources {
		if err != nil {
			add(hop(source).HiddenBy(hopFunctions))
			continue
		}
		if _, failed := p.readSlow(ctx, Unit{at.project, at.region, source}, one, 0); failed != nil {
			add(hop(source).Failed(failed, true, "what scwatch says about the "+source+" there is missing or old"))
		} else {
			add(hop(source).Ok("answered"))
		}
	}
	_, sourcesErr := p.api.dataSources(ctx, at.project, at.region)
	switch {
	case missing(sourcesErr):
		add(hop(hopCockpit).Ok("this project has no Cockpit"))
	case sourcesErr != nil:
		add(hop(hopCockpit).Failed(sourcesErr, true, "what Scaleway measures there cannot be found"))
	default:
		add(hop(hopCockpit).Ok("answered"))
	}
	add(p.diagnoseRejected(ctx, hop(sourceRejected), at, functions, err, sourcesErr))
	return hops
}

// diagnoseRejected looks for what counts rejected calls, to an end.
func (p *Poller) diagnoseRejected(ctx context.Context, hop diagnosis.Hop, at place, functions []Function, functionsErr, sourcesErr error) diagnosis.Hop {
	const unseen = "rejected calls are not counted there: no alert on them can fire"
	switch {
	case p.rejected == nil:
		return hop.NotWanted("rejected_calls.source is off")
	case functionsErr != nil:
		return hop.HiddenBy(hopFunctions)
	case len(functions) == 0:
		return hop.Ok("no functions there, nothing to count")
	case sourcesErr != nil && !missing(sourcesErr):
		return hop.HiddenBy(hopCockpit)
	}
	d := discovery{
		cockpit: p.rejected.cockpit, api: p.api, config: p.rejected.config.RejectedCalls, unit: Unit{at.project, at.region, sourceRejected},
		// That the Grafana is open is taken for granted: to ask would open it.
		calls: &calls{left: 100, answers: map[string]any{"open": []byte(nil)}}, now: time.Now(),
	}
	m, err := d.method(ctx)
	switch {
	case err != nil:
		return hop.Failed(err, true, unseen)
	case m == nil && d.metrics == "" && d.logs == "":
		return hop.Broke("the Cockpit there has neither Scaleway Metrics nor Scaleway Logs", unseen, "open the Cockpit of the project in the console and look whether it is on in this region")
	case m == nil:
		return hop.Broke("no series and no lines about refused calls", unseen, "name a query in rejected_calls.metrics_query or logs_query; see docs/rejected-calls.md")
	}
	return hop.Ok("%s, found by %s", m.Source, m.FoundBy)
}

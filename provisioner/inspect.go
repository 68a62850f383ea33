package provisioner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/grafana/grafana-openapi-client-go/client/provisioning"
	cockpit "github.com/scaleway/scaleway-sdk-go/api/cockpit/v1"

	"github.com/scwatch/scwatch/internal/config"
	"github.com/scwatch/scwatch/internal/httpclient"
)

// HopState is how a hop fares.
type HopState string

// The states. A hop behind a broken one is not reached, never ok.
const (
	HopOK         HopState = "ok"
	HopBroken     HopState = "broken"
	HopNotReached HopState = "not_reached"
)

// Hop is one step of the way from the functions to the pager.
type Hop struct {
	Name  string   `json:"name"`
	State HopState `json:"state"`
	Found string   `json:"found"`          // what was tried, and what came back
	Mend  string   `json:"mend,omitempty"` // of a broken one: what to do
}

// Hops are walked in order.
type Hops struct {
	All   []Hop
	state map[string]HopState
}

// Walk tries a hop, unless one that it needs is not ok. try returns what was
// found, and with an error how to mend it; the error's own advice does where
// there is nothing better.
func (h *Hops) Walk(name string, needs []string, try func() (found, mend string, err error)) {
	hop := Hop{Name: name, State: HopOK}
	for _, need := range needs {
		if h.state[need] != HopOK {
			hop.State, hop.Found = HopNotReached, "behind: "+need
			break
		}
	}
	if hop.State == HopOK {
		var err error
		if hop.Found, hop.Mend, err = try(); err != nil {
			hop.State, hop.Found = HopBroken, err.Error()
			var failed *httpclient.Error
			if errors.As(err, &failed) && hop.Mend == "" {
				named := *failed
				hop.Mend, named.Advice = failed.Advice, ""
				hop.Found = named.Error()
			}
		} else {
			hop.Mend = ""
		}
	}
	if h.state == nil {
		h.state = make(map[string]HopState)
	}
	h.state[name] = hop.State
	h.All = append(h.All, hop)
}

// Home is what the way through the home's Cockpit is walked with.
type Home struct {
	Project, Region, DataSource string

	PushURL   string        // of push.url; empty: the data source
	PushToken config.Secret // empty: the API key
	Pushing   bool
	TestAlert bool // send one; without it nothing is written
	Now       time.Time
}

// The names of the hops that others need.
const (
	hopCockpit      = "home's Cockpit"
	hopSource       = "home's data source"
	hopGrafana      = "Grafana"
	hopRulesStored  = "rules stored"
	hopAlertManager = "alert manager"
)

// Inspect walks the way from the home's data source to whoever is notified.
func (p *Provisioner) Inspect(ctx context.Context, home Home, hops *Hops) {
	at := &place{api: p.scaleway(p.access.APIURL), project: home.Project, region: home.Region}
	hops.Walk(hopCockpit, nil, func() (string, string, error) {
		err := at.readSources(ctx)
		return fmt.Sprintf("project %s has %d data sources in %s", home.Project, len(at.sources), home.Region), "", err
	})
	hops.Walk(hopSource, []string{hopCockpit}, func() (string, string, error) { return p.inspectSource(at, home) })
	hops.Walk("push", []string{hopSource}, func() (string, string, error) { return inspectPush(at, home) })
	hops.Walk("push token", []string{hopSource, "push"}, func() (string, string, error) { return p.inspectToken(ctx, at, home) })
	hops.Walk("samples arrive", []string{hopSource}, func() (string, string, error) { return p.inspectSamples(ctx, at, home) })
	p.inspectGrafana(ctx, at, hops)
	p.inspectRules(ctx, at, home, hops)
	p.inspectNotifications(ctx, at, home, hops)
}

// custom is the home's data source, once hopSource is ok.
func (p *place) custom(name string) *cockpit.DataSource {
	found, err := p.source(config.DataSource{Type: config.DataSourceMetrics, Name: name})
	if err != nil {
		return nil
	}
	return found
}

func (p *Provisioner) inspectSource(at *place, home Home) (found, mend string, err error) {
	source, err := at.source(config.DataSource{Type: config.DataSourceMetrics, Name: home.DataSource})
	create := fmt.Sprintf("scwatch apply makes it; or: scw cockpit data-source create name=scwatch type=metrics project-id=%s region=%s", home.Project, home.Region)
	switch {
	case err != nil:
		return "", "name it by its ID in cockpit.data_source", err
	case source == nil:
		return "", create, fmt.Errorf("there is no data source of metrics called %q", home.DataSource)
	case source.Origin != cockpit.DataSourceOriginCustom:
		return "", "let cockpit.data_source be one of your own: " + create, fmt.Errorf("%q is one of Scaleway's own (origin %s): it answers 403 to every push", home.DataSource, source.Origin)
	}
	return fmt.Sprintf("%q is a custom data source of metrics", home.DataSource), "", nil
}

// inspectPush judges where the configuration pushes to, without a call.
func inspectPush(at *place, home Home) (found, mend string, err error) {
	if !home.Pushing {
		return "", "set push.enabled: true; Cockpit does not scrape, a /metrics page alone shows nothing there", errors.New("nothing is pushed: push.enabled is false")
	}
	if home.PushURL == "" {
		return "to the home's data source", "", nil
	}
	u, err := url.Parse(home.PushURL)
	if err != nil {
		return "", "mend push.url", err
	}
	_, isCockpit := strings.CutSuffix(u.Hostname(), ".scw.cloud")
	known := slices.ContainsFunc(at.sources, func(d cockpit.DataSource) bool { return strings.HasPrefix(home.PushURL, d.URL+"/") })
	scaleway := slices.ContainsFunc(at.sources, func(d cockpit.DataSource) bool {
		return d.Origin != cockpit.DataSourceOriginCustom && strings.HasPrefix(home.PushURL, d.URL+"/")
	})
	switch {
	case scaleway:
		return "", "leave push.url empty", fmt.Errorf("push.url is a data source of Scaleway's own: it answers 403 to every push")
	case known:
		return "push.url is a data source of the home", "", nil
	case isCockpit && strings.HasPrefix(u.Hostname(), "metrics.cockpit."):
		return "", "leave push.url empty: the address of the data source comes from the API", errors.New("push.url is the generic host, which answers 404: it lacks the data source's ID")
	case isCockpit && strings.Contains(u.Hostname(), ".metrics.cockpit."):
		return "", "leave push.url empty, or let cockpit.project and cockpit.region be those of that data source", errors.New("push.url is a data source of another project or region: the rules of the home never see what arrives there")
	}
	return "to " + u.Host + ", which is no Cockpit", "", nil
}

// instant asks a data source for one value; false: it has none.
func (p *Provisioner) instant(ctx context.Context, s server, attempted, query string) (float64, bool, error) {
	var body struct {
		Data struct {
			Result []struct {
				Value [2]any `json:"value"`
			} `json:"result"`
		} `json:"data"`
	}
	if _, err := s.getJSON(ctx, attempted, "/prometheus/api/v1/query?query="+url.QueryEscape(query), &body); err != nil {
		return 0, false, err
	}
	if len(body.Data.Result) == 0 {
		return 0, false, nil
	}
	spelled, _ := body.Data.Result[0].Value[1].(string)
	value, err := strconv.ParseFloat(spelled, 64)
	return value, err == nil, err
}

func (p *Provisioner) inspectToken(ctx context.Context, at *place, home Home) (found, mend string, err error) {
	if home.PushToken.Reveal() == "" {
		return "the API key is used, which needs ObservabilityFullAccess", "", nil
	}
	s := p.scaleway(at.custom(home.DataSource).URL)
	s.header = http.Header{"X-Token": {home.PushToken.Reveal()}}
	_, _, err = p.instant(ctx, s, "read the data source with the push token", "vector(1)")
	mend = fmt.Sprintf("a token is good for one project and region; make one here: scw cockpit token create name=scwatch project-id=%s region=%s token-scopes.0=write_only_metrics token-scopes.1=read_only_metrics", home.Project, home.Region)
	return "the data source takes the token", mend, err
}

// staleSamples is how old the last sample may be: the longest heartbeat and a
// few intervals.
const staleSamples = 10 * time.Minute

func (p *Provisioner) inspectSamples(ctx context.Context, at *place, home Home) (found, mend string, err error) {
	look := "look at scwatch_push_failures_total and the log of the daemon; without push.enabled nothing is sent"
	last, there, err := p.instant(ctx, p.scaleway(at.custom(home.DataSource).URL), "ask the data source for scwatch's last sample", "max(max_over_time(timestamp(scwatch_build_info)[1d:1m]))")
	switch {
	case err != nil:
		return "", "", err
	case !there:
		return "", look, errors.New("no sample of scwatch arrived within a day")
	}
	age := home.Now.Sub(time.Unix(int64(last), 0)).Round(time.Second)
	if age > staleSamples {
		return "", look, fmt.Errorf("the last sample is %s old", age)
	}
	return "the last sample is recent", "", nil
}

func (p *Provisioner) inspectGrafana(ctx context.Context, at *place, hops *Hops) {
	var g *grafana
	hops.Walk(hopGrafana, []string{hopCockpit}, func() (string, string, error) {
		if err := at.readGrafana(ctx); err != nil {
			return "", "", err
		}
		var err error
		if g, err = newGrafana(p.scaleway(at.grafanaURL), at); err != nil {
			return "", "", err
		}
		// What opens a Cockpit's Grafana would hide that nobody has.
		err = g.readSources(ctx)
		var said *grafanaError
		if errors.As(err, &said) && said.answer.status == http.StatusNotFound {
			return "", "scwatch apply opens it, as does anybody in a browser", errors.New("it was never opened, and does not exist before that")
		}
		return "it answers, and takes the key", "", err
	})
	hops.Walk("Grafana's data sources", []string{hopGrafana}, func() (string, string, error) {
		for _, s := range at.sources {
			if !slices.ContainsFunc(g.sources, func(l liveSource) bool { return l.name == s.Name }) {
				return "", "scwatch apply synchronises them", fmt.Errorf("the Grafana does not know the data source %q", s.Name)
			}
		}
		return "in step with Cockpit's", "", nil
	})
	hops.Walk("no Grafana-managed rules", []string{hopGrafana}, func() (string, string, error) {
		resp, err := g.api.Provisioning.GetAlertRulesWithParams(provisioning.NewGetAlertRulesParamsWithContext(ctx))
		if err != nil {
			return "", "", attempt("list the rules of the Grafana", err)
		}
		if len(resp.Payload) > 0 {
			return "", "move them into a rule file, which scwatch apply puts into the data source", fmt.Errorf("%d Grafana-managed rules are there, such as %q: Cockpit never evaluates them", len(resp.Payload), *resp.Payload[0].Title)
		}
		return "there are none", "", nil
	})
}

func (p *Provisioner) inspectRules(ctx context.Context, at *place, home Home, hops *Hops) {
	source := config.DataSource{Type: config.DataSourceMetrics, Name: home.DataSource}
	var owned []string
	hops.Walk(hopRulesStored, []string{hopSource}, func() (string, string, error) {
		var namespaces []string
		for _, t := range p.defs.targets {
			for _, set := range t.rules {
				namespaces = append(namespaces, set.namespace)
			}
		}
		live, err := (&rules{place: at, connect: p.scaleway, dataSource: source, namespaces: namespaces}).list(ctx)
		if err != nil {
			return "", "", err
		}
		for _, o := range live {
			if o.owned {
				owned = append(owned, o.state.([2]string)[1])
			}
		}
		if len(owned) == 0 {
			return "", "scwatch apply", errors.New("no rule group of scwatch is stored in the data source")
		}
		return fmt.Sprintf("%d groups", len(owned)), "", nil
	})
	hops.Walk("rules evaluated", []string{hopRulesStored}, func() (string, string, error) {
		var body struct {
			Data struct {
				Groups []struct {
					Name  string
					Rules []struct{ Name, Health, LastError string }
				}
			}
		}
		if _, err := p.scaleway(at.custom(home.DataSource).URL).getJSON(ctx, "read the state of the rules", "/prometheus/api/v1/rules", &body); err != nil {
			return "", "", err
		}
		loaded := make(map[string]bool)
		for _, g := range body.Data.Groups {
			loaded[g.Name] = true
			for _, r := range g.Rules {
				if r.Health == "err" {
					return "", "mend the rule, and scwatch apply", fmt.Errorf("the rule %s of group %s fails: %s", r.Name, g.Name, r.LastError)
				}
			}
		}
		for _, name := range owned {
			if !loaded[name] {
				return "", "the ruler looks every minute: ask again in two", fmt.Errorf("the group %s is stored and not loaded", name)
			}
		}
		return "all groups are loaded, none fails", "", nil
	})
}

func (p *Provisioner) inspectNotifications(ctx context.Context, at *place, home Home, hops *Hops) {
	hops.Walk(hopAlertManager, []string{hopCockpit}, func() (string, string, error) {
		if err := at.readAlertManager(ctx); err != nil {
			return "", "", err
		}
		if at.alertManagerURL != "" {
			return "enabled in " + home.Region, "", nil
		}
		for _, region := range config.Regions() {
			other := &place{api: at.api, project: at.project, region: region}
			if region != home.Region && other.readAlertManager(ctx) == nil && other.alertManagerURL != "" {
				return "", "scwatch apply enables that of " + home.Region, fmt.Errorf("it is enabled in %s, which hears nothing of a data source in %s", region, home.Region)
			}
		}
		return "", "scwatch apply enables it", fmt.Errorf("it is not enabled in %s: rules fire and nobody hears it", home.Region)
	})
	hops.Walk("somebody to notify", []string{hopAlertManager}, func() (string, string, error) {
		people, err := (&contacts{place: at}).list(ctx)
		if err != nil {
			return "", "", err
		}
		d, err := (&routing{place: at, connect: p.scaleway}).read(ctx)
		if err != nil {
			return "", "", err
		}
		receivers := 0
		if d.top != nil {
			for _, receiver := range elements(value(d.top, "receivers")) {
				if len(receiver.Content) > 2 { // more than its name
					receivers++
				}
			}
		}
		if len(people)+receivers == 0 {
			return "", "name e-mail addresses in contacts, or a configuration of routes in alertmanager of a target; then scwatch apply", errors.New("there is no contact and no receiver: rules fire and nobody hears it")
		}
		return fmt.Sprintf("contacts: %d, receivers: %d", len(people), receivers), "", nil
	})
	if home.TestAlert {
		hops.Walk("test alert", []string{hopAlertManager, "somebody to notify"}, func() (string, string, error) { return p.sendTest(ctx, at, home) })
	}
}

// sendTest sends Cockpit's own test alert, and one of ours that is looked for
// again. Ours ends by itself.
func (p *Provisioner) sendTest(ctx context.Context, at *place, home Home) (found, mend string, err error) {
	if _, err := at.api.postJSON(ctx, "send Cockpit's test alert", at.path("/alert-manager/trigger-test-alert"), map[string]any{"project_id": at.project}); err != nil {
		return "", "", err
	}
	const name = "ScwatchTestAlert"
	manager := p.scaleway(at.alertManagerURL)
	alert := []map[string]any{{
		"labels":      map[string]string{"alertname": name, "severity": "info"},
		"annotations": map[string]string{"summary": "A test by scwatch doctor: nothing is wrong."},
		"startsAt":    home.Now.UTC().Format(time.RFC3339), "endsAt": home.Now.Add(5 * time.Minute).UTC().Format(time.RFC3339),
	}}
	if _, err := manager.postJSON(ctx, "send a test alert of scwatch's", "/alertmanager/api/v2/alerts", alert); err != nil {
		return "", "", err
	}
	var seen []struct{ Labels map[string]string }
	if _, err := manager.getJSON(ctx, "look for the test alert", "/alertmanager/api/v2/alerts", &seen); err != nil {
		return "", "", err
	}
	for _, a := range seen {
		if a.Labels["alertname"] == name {
			return "Cockpit's own was sent to the contacts; " + name + " was taken and is seen there: whoever is on call should have both", "", nil
		}
	}
	return "", "ask again in a minute: a new alert manager takes that long", fmt.Errorf("%s was taken, and is not there", name)
}

// InspectRejectedCalls tells whether a project's own Cockpit can be asked for
// rejected calls.
func (p *Provisioner) InspectRejectedCalls(ctx context.Context, project, region string) (found string, err error) {
	at := &place{api: p.scaleway(p.access.APIURL), project: project, region: region}
	if err := at.readSources(ctx); err != nil {
		return "", err
	}
	for _, s := range at.sources {
		if s.Origin != cockpit.DataSourceOriginScaleway || s.Type != cockpit.DataSourceTypeMetrics {
			continue
		}
		var names struct{ Data json.RawMessage }
		_, err := p.scaleway(s.URL).getJSON(ctx, fmt.Sprintf("ask %q of project %s in %s for its series", s.Name, project, region), "/prometheus/api/v1/label/__name__/values", &names)
		return fmt.Sprintf("%q answers", s.Name), err
	}
	return "no Scaleway Metrics there: none are counted", nil
}

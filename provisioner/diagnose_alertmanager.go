package provisioner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/rulefmt"
	"gopkg.in/yaml.v3"

	"github.com/scwatch/scwatch/internal/clock"
	"github.com/scwatch/scwatch/internal/config"
	"github.com/scwatch/scwatch/internal/diagnosis"
)

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

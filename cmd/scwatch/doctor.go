package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/scwatch/scwatch/collector"
	"github.com/scwatch/scwatch/collector/push"
	"github.com/scwatch/scwatch/internal/config"
	"github.com/scwatch/scwatch/internal/diagnosis"
	"github.com/scwatch/scwatch/internal/httpclient"
	"github.com/scwatch/scwatch/provisioner"
)

// doctorOptions are doctor's own flags.
type doctorOptions struct {
	format     string
	testAlerts bool
}

func doctorFlags(c *kingpin.CmdClause, o *options) {
	c.Flag("format", "How to write what was found: text, a line a hop, or json.").Default("text").EnumVar(&o.doctor.format, "text", "json")
	c.Flag("send-test-alert", "Send two test alerts, Cockpit's own and one of scwatch's, and push a sample. Without it nothing is written anywhere.").BoolVar(&o.doctor.testAlerts)
}

// The hop of the push's data source; the rest of the push's are push.Hops.
const hopPushSource = "push's data source"

// doctor walks the way from the key to the pager and says which hop is broken.
func doctor(ctx context.Context, o options, p process) error {
	settings, credentials, err := config.Read(o.configFile, p.env, collector.CheckIDs())
	if err == nil {
		err = settings.RequireTargets()
	}
	if err != nil {
		return &exitError{exitUsage, err}
	}
	log := o.logger(p)
	if credentials.Warning != "" {
		log.Warn(credentials.Warning)
	}
	walker, err := newProvisioner(settings, credentials, true, p.env, httpclient.NewMetrics(prometheus.NewRegistry()))
	if err != nil {
		return err
	}
	fleet, err := collector.NewFleet(collector.NewState(), log)
	if err != nil {
		return err
	}
	w := newWatch(p.env, o, fleet, nil, prometheus.NewRegistry(), log)
	gate := httpclient.NewGate(settings.Collect.Concurrency, float64(settings.Collect.RateLimit))
	api, err := w.api(credentials, gate)
	if err != nil {
		return &exitError{exitUsage, err}
	}
	poller := w.poller(settings, credentials, api)
	w.countRejectedCalls(poller, settings, credentials, gate)

	line := newProgress(p.stderr)
	line.show("asking the Scaleway API")
	watched, refused := poller.Diagnose(ctx)
	var pushed, provisioned []diagnosis.Hop
	if refused {
		pushed, provisioned = diagnosis.Hidden("credentials", append([]string{hopPushSource}, push.Hops...)...), diagnosis.Hidden("credentials", provisioner.Hops...)
	} else {
		line.show("asking the push's receiver")
		pushed = w.diagnosePush(ctx, settings, credentials, api, o.doctor.testAlerts)
		line.show("asking the Cockpit")
		provisioned = walker.Diagnose(ctx, o.doctor.testAlerts)
	}
	line.end()
	if ctx.Err() != nil {
		return errors.New("interrupted before everything was asked: there is no report")
	}
	report := diagnosis.New(append(append(watched, pushed...), provisioned...))
	if o.doctor.format == "json" {
		err = report.WriteJSON(p.stdout)
	} else {
		err = report.WriteText(p.stdout)
	}
	switch {
	case err != nil:
		return fmt.Errorf("write the report: %w", err)
	case refused:
		return &exitError{code: exitRefused}
	case report.Has(diagnosis.Unseen):
		return &exitError{code: exitPartly}
	case !report.OK:
		return &exitError{code: exitFailed}
	}
	return nil
}

// diagnosePush walks from the push's data source to a sample in it.
func (w *watch) diagnosePush(ctx context.Context, c *config.Config, credentials config.Credentials, api *collector.API, mayWrite bool) []diagnosis.Hop {
	source := diagnosis.Hop{Name: hopPushSource, Tried: "find where to push to"}
	rest := func(change func(diagnosis.Hop) diagnosis.Hop) (hops []diagnosis.Hop) {
		for _, name := range push.Hops {
			hops = append(hops, change(diagnosis.Hop{Name: name, Tried: "push"}))
		}
		return hops
	}
	if !c.Push.Enabled {
		off := func(h diagnosis.Hop) diagnosis.Hop {
			return h.NotWanted("push.enabled is false: Cockpit scrapes nothing, so that nothing of scwatch's arrives there unless somebody else sends it")
		}
		return append([]diagnosis.Hop{off(source)}, rest(off)...)
	}
	if c.Push.URL == "" {
		source.Tried = fmt.Sprintf("look for the data source %q of project %s in %s", c.Cockpit.DataSource, c.Cockpit.Project, c.Cockpit.Region)
		source.Project, source.Region = c.Cockpit.Project, c.Cockpit.Region
	}
	behind := func(h diagnosis.Hop) diagnosis.Hop { return h.HiddenBy(hopPushSource) }
	receiver, err := w.receiver(ctx, c, credentials, api)
	var unread *collector.APIError
	switch {
	case errors.As(err, &unread):
		return append([]diagnosis.Hop{source.Failed(err, true, "where to push to is not known: nothing is pushed")}, rest(behind)...)
	case err != nil:
		found, mend, _ := strings.Cut(err.Error(), "; ")
		return append([]diagnosis.Hop{source.Broke(found, "nothing is pushed", mend)}, rest(behind)...)
	case receiver.Home:
		source = source.Ok("a custom data source of metrics")
	default:
		source = source.Ok("push.url names one")
	}
	return append([]diagnosis.Hop{source}, push.Diagnose(ctx, receiver, httpclient.NewTransport(), "scwatch/"+releaseVersion(), mayWrite)...)
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/scwatch/scwatch/collector"
	"github.com/scwatch/scwatch/internal/config"
	"github.com/scwatch/scwatch/internal/httpclient"
	"github.com/scwatch/scwatch/provisioner"
)

// doctorOptions are the flags of doctor.
type doctorOptions struct {
	format    string
	testAlert bool
}

func doctorFlags(c *kingpin.CmdClause, o *options) {
	c.Flag("format", "Form of what is found: text or json.").Default("text").EnumVar(&o.doctor.format, "text", "json")
	c.Flag("send-test-alert", "Send a test alert of Cockpit's own and one of scwatch's. Without it nothing is written.").BoolVar(&o.doctor.testAlert)
}

const (
	hopCredentials = "credentials"
	hopProjects    = "projects and regions"
)

// doctor walks the way from the key to the pager and says which hop is broken.
func doctor(ctx context.Context, o options, p process) error {
	settings, credentials, err := config.Read(o.configFile, p.env, collector.CheckIDs())
	if err == nil {
		err = settings.RequireTargets()
	}
	if err != nil {
		return &exitError{exitUsage, err}
	}
	walker, err := newProvisioner(settings, credentials, true, p.env, httpclient.NewMetrics(prometheus.NewRegistry()))
	if err != nil {
		return err
	}
	token, err := pushToken(settings, p.env)
	if err != nil {
		return &exitError{exitUsage, err}
	}
	hops := &provisioner.Hops{}
	refused, err := examine(ctx, o, p, settings, credentials, hops)
	if err != nil {
		return err
	}
	if !refused {
		inspectProjects(ctx, walker, settings, hops)
		walker.Inspect(ctx, provisioner.Home{
			Project: settings.Cockpit.Project, Region: settings.Cockpit.Region, DataSource: settings.Cockpit.DataSource,
			PushURL: settings.Push.URL, PushToken: token, Pushing: settings.Push.Enabled, TestAlert: o.doctor.testAlert, Now: time.Now(),
		}, hops)
	} else {
		hops.Walk("Cockpit, rules and notifications", []string{hopCredentials}, nil)
	}
	if err := writeHops(o.doctor.format, p, hops.All); err != nil {
		return err
	}
	broken := 0
	for _, hop := range hops.All {
		if hop.State == provisioner.HopBroken {
			broken++
		}
	}
	switch {
	case refused:
		return &exitError{code: exitRefused}
	case broken > 0:
		return &exitError{code: exitFailed}
	}
	return nil
}

// pushToken is the Cockpit token for pushing; empty where the key is used.
func pushToken(c *config.Config, env config.Environment) (config.Secret, error) {
	if c.Push.TokenFile == "" {
		return config.NewSecret(env("SCWATCH_PUSH_TOKEN")), nil
	}
	data, err := os.ReadFile(c.Push.TokenFile)
	if err != nil {
		return config.Secret{}, fmt.Errorf("push.token_file: it cannot be read: %w", errors.Unwrap(err))
	}
	return config.NewSecret(strings.TrimSpace(string(data))), nil
}

// examine walks the part of the way that the daemon's polls go.
func examine(ctx context.Context, o options, p process, c *config.Config, credentials config.Credentials, hops *provisioner.Hops) (refused bool, err error) {
	log := o.logger(process{stderr: io.Discard})
	fleet, err := collector.NewFleet(collector.NewState(), log)
	if err != nil {
		return false, err
	}
	w := newWatch(p.env, o, fleet, nil, prometheus.NewRegistry(), log)
	api, err := w.api(credentials, httpclient.NewGate(c.Collect.Concurrency, float64(c.Collect.RateLimit)))
	if err != nil {
		return false, &exitError{exitUsage, err}
	}
	poller := w.poller(c, credentials, api)
	preflightErr := preflight(ctx, poller)
	if preflightErr == nil {
		if err := poller.Once(ctx, allProjects, func(int, int) {}); err != nil {
			return false, err
		}
	}
	snapshot := fleet.Snapshot(time.Now())
	hops.Walk(hopCredentials, nil, func() (string, string, error) {
		if preflightErr != nil {
			return "", "", preflightErr
		}
		for _, end := range snapshot.Credentials {
			if left := time.Until(end); left < 7*24*time.Hour {
				return "", "make a new key and replace this one", fmt.Errorf("the key ends on %s", end.UTC().Format(time.DateOnly))
			}
			return "the API takes the key, until " + end.UTC().Format(time.DateOnly), "", nil
		}
		return "the API takes the key; when it ends is not told", "", nil
	})
	for _, source := range []struct{ hop, name string }{
		{hopProjects, "projects"}, {"functions", "functions"}, {"runtimes", "runtimes"}, {"tokens", "tokens"},
		{"triggers", "triggers"}, {"crons", "crons"}, {"domains", "domains"},
	} {
		hops.Walk(source.hop, []string{hopCredentials}, func() (string, string, error) { return examineUnits(snapshot, source.name) })
	}
	return preflightErr != nil, nil
}

// examineUnits tells how the units of one source fared.
func examineUnits(s *collector.Snapshot, source string) (found, mend string, err error) {
	units := 0
	for _, u := range s.Units {
		if u.Source != source {
			continue
		}
		if u.Error != nil {
			return "", "", u.Error
		}
		units++
	}
	if source == "functions" {
		return fmt.Sprintf("%d functions, in %d regions of projects", len(s.Functions), units), "", nil
	}
	return "read", "", nil
}

func allProjects(names map[string]string) ([]string, error) {
	var ids []string
	for id := range names {
		ids = append(ids, id)
	}
	return ids, nil
}

// inspectProjects asks each watched project's own Cockpit.
func inspectProjects(ctx context.Context, walker *provisioner.Provisioner, c *config.Config, hops *provisioner.Hops) {
	if c.RejectedCalls.Source == "off" {
		return
	}
	for _, project := range c.Scaleway.Projects {
		if project == "*" {
			continue // each project's units of the daemon tell
		}
		for _, region := range c.Scaleway.Regions {
			hops.Walk("rejected calls of "+project+" in "+region, []string{hopCredentials}, func() (string, string, error) {
				found, err := walker.InspectRejectedCalls(ctx, project, region)
				var failed *httpclient.Error
				if errors.As(err, &failed) && failed.Status == http.StatusForbidden {
					return "", "give the key's application ObservabilityReadOnly in this project, name a Cockpit token in rejected_calls.token_files, or set rejected_calls.source: off", err
				}
				return found, "", err
			})
		}
	}
}

// writeHops prints one line a hop, and below a broken one how to mend it.
func writeHops(format string, p process, hops []provisioner.Hop) error {
	if format == "json" {
		encoder := json.NewEncoder(p.stdout)
		encoder.SetEscapeHTML(false)
		encoder.SetIndent("", "  ")
		return encoder.Encode(map[string]any{"version": 1, "hops": hops})
	}
	marks := map[provisioner.HopState]string{provisioner.HopOK: "ok", provisioner.HopBroken: "BROKEN", provisioner.HopNotReached: "-"}
	broken := 0
	for _, hop := range hops {
		fmt.Fprintf(p.stdout, "%-7s %s: %s\n", marks[hop.State], hop.Name, hop.Found)
		if hop.Mend != "" {
			fmt.Fprintf(p.stdout, "        mend: %s\n", hop.Mend)
		}
		if hop.State == provisioner.HopBroken {
			broken++
		}
	}
	if broken == 0 {
		_, err := fmt.Fprintln(p.stdout, "\nThe whole way is open.")
		return err
	}
	_, err := fmt.Fprintf(p.stdout, "\n%d of %d hops are broken; begin with the first.\n", broken, len(hops))
	return err
}

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/scwatch/scwatch/alerts"
	"github.com/scwatch/scwatch/collector"
	"github.com/scwatch/scwatch/collector/push"
	"github.com/scwatch/scwatch/dashboards"
	"github.com/scwatch/scwatch/internal/config"
	"github.com/scwatch/scwatch/internal/httpclient"
	"github.com/scwatch/scwatch/provisioner"
)

// grafanaToken holds the token of a Grafana of one's own.
const grafanaToken = "SCWATCH_GRAFANA_TOKEN"

// provisionOptions are the flags of the commands that provision.
type provisionOptions struct {
	output      string
	out         string
	only        []string
	autoApprove bool
	allowEmpty  bool
	planFile    string
	ejectDir    string
}

func builtin() provisioner.Builtin {
	return provisioner.Builtin{Dashboards: dashboards.FS, Alerts: alerts.FS}
}

// check reads configuration and definitions, and asks nobody.
func check(_ context.Context, o options, p process) error {
	c, err := config.Load(o.configFile, p.env, collector.CheckIDs())
	var problems config.Problems
	errors.As(err, &problems)
	if err == nil {
		credentials, _ := config.LoadCredentials(p.env) // used as far as they go
		_ = c.Resolve(credentials)
	}
	defs, err := provisioner.Load(c, provisioner.Options{
		Builtin: builtin(), Env: p.env, Metrics: metricNames(), AllowEmpty: o.provision.allowEmpty, Offline: true,
	})
	var more config.Problems
	errors.As(err, &more)
	if problems = append(problems, more...); len(problems) > 0 {
		return &exitError{exitUsage, problems}
	}
	for _, warning := range defs.Warnings(c.Push) {
		fmt.Fprintf(p.stderr, "warning: %s\n", warning)
	}
	_, err = fmt.Fprintf(p.stdout, "%s\n", defs.Summary())
	return err
}

// prepare reads the configuration and the definitions and returns what walks
// them.
func prepare(o options, p process) (*provisioner.Provisioner, error) {
	c, credentials, err := config.Read(o.configFile, p.env, collector.CheckIDs())
	if err == nil {
		err = c.RequireTargets()
	}
	if err != nil {
		return nil, &exitError{exitUsage, err}
	}
	if credentials.Warning != "" {
		fmt.Fprintf(p.stderr, "warning: %s\n", credentials.Warning)
	}
	return newProvisioner(c, credentials, o.provision.allowEmpty, p.env, httpclient.NewMetrics(prometheus.NewRegistry()))
}

func newProvisioner(c *config.Config, credentials config.Credentials, allowEmpty bool, env config.Environment, requests *httpclient.Metrics) (*provisioner.Provisioner, error) {
	defs, err := loadDefinitions(c, allowEmpty, env)
	if err != nil {
		return nil, &exitError{exitUsage, err}
	}
	return provisioner.New(defs, provisioner.Access{
		Client: httpclient.New(httpclient.Options{
			Base:    httpclient.NewTransport(),
			Gate:    httpclient.NewGate(c.Collect.Concurrency, float64(c.Collect.RateLimit)),
			Metrics: requests,
			API:     func(*http.Request) string { return "provision" },
		}),
		APIURL: credentials.APIURL, SecretKey: credentials.SecretKey, GrafanaToken: config.NewSecret(env(grafanaToken)),
	}), nil
}

func loadDefinitions(c *config.Config, allowEmpty bool, env config.Environment) (*provisioner.Definitions, error) {
	return provisioner.Load(c, provisioner.Options{Builtin: builtin(), Env: env, Metrics: metricNames(), AllowEmpty: allowEmpty})
}

// makePlan is plan's, apply's and destroy's way to one.
func makePlan(ctx context.Context, walker *provisioner.Provisioner, s provisioner.Selection) (*provisioner.Plan, error) {
	plan, err := walker.Plan(ctx, s)
	var failed *httpclient.Error
	if errors.As(err, &failed) && (failed.Status == http.StatusUnauthorized || failed.Status == http.StatusForbidden) {
		return nil, &exitError{exitRefused, err}
	}
	return plan, err
}

// plan prints what apply would do.
func plan(ctx context.Context, o options, p process) error {
	walker, err := prepare(o, p)
	if err != nil {
		return err
	}
	plan, err := makePlan(ctx, walker, provisioner.Selection{Only: o.provision.only, AllowEmpty: o.provision.allowEmpty})
	if err != nil {
		return err
	}
	encoded, err := plan.Encode()
	if err != nil {
		return err
	}
	if o.provision.out != "" {
		if err := os.WriteFile(o.provision.out, encoded, 0o600); err != nil {
			return fmt.Errorf("--out: %w", err)
		}
	}
	if o.provision.output == "json" {
		if _, err := p.stdout.Write(encoded); err != nil {
			return err
		}
	} else {
		plan.Render(p.stdout, isTerminal(p.stdout))
	}
	if len(plan.Actions) > 0 {
		return &exitError{code: exitFound}
	}
	return nil
}

// apply makes what is there what the definitions say.
func apply(ctx context.Context, o options, p process) error {
	walker, err := prepare(o, p)
	if err != nil {
		return err
	}
	selection := provisioner.Selection{Only: o.provision.only, AllowEmpty: o.provision.allowEmpty}
	var saved *provisioner.Plan
	if o.provision.planFile != "" {
		if saved, err = provisioner.ReadPlan(o.provision.planFile); err != nil {
			return &exitError{exitUsage, err}
		}
		if len(o.provision.only) > 0 {
			return &exitError{exitUsage, errors.New("--only: a saved plan says itself what it is of")}
		}
		selection.Only, selection.Destroy = saved.Only, saved.Destroy
	}
	plan, err := makePlan(ctx, walker, selection)
	if err != nil {
		return err
	}
	if saved != nil {
		if moved := saved.Moved(plan); len(moved) > 0 {
			return fmt.Errorf("the world has moved since %s was made; nothing is changed, plan anew:\n  %s", o.provision.planFile, strings.Join(moved, "\n  "))
		}
	}
	return carryOut(ctx, o, p, walker, plan, "apply")
}

// destroy takes away what is ours.
func destroy(ctx context.Context, o options, p process) error {
	walker, err := prepare(o, p)
	if err != nil {
		return err
	}
	plan, err := makePlan(ctx, walker, provisioner.Selection{Only: o.provision.only, Destroy: true})
	if err != nil {
		return err
	}
	return carryOut(ctx, o, p, walker, plan, "destroy")
}

// carryOut shows a plan, asks, applies it and tells what became of it.
func carryOut(ctx context.Context, o options, p process, walker *provisioner.Provisioner, plan *provisioner.Plan, verb string) error {
	plan.Render(p.stdout, isTerminal(p.stdout))
	if len(plan.Actions) == 0 {
		return nil
	}
	if !o.provision.autoApprove {
		if p.stdin == nil || !isTerminal(p.stdin) {
			return &exitError{exitUsage, fmt.Errorf("%s: there is no terminal to ask on: --auto-approve consents to what is above", verb)}
		}
		fmt.Fprintf(p.stdout, "\nDo this? Only \"yes\" is taken for one: ")
		answer, _ := bufio.NewReader(p.stdin).ReadString('\n')
		if strings.TrimSpace(answer) != "yes" {
			return errors.New("nothing is changed")
		}
	}
	line, done := newProgress(p.stderr), 0
	result := walker.Apply(ctx, plan, func(provisioner.Outcome) {
		done++
		line.show(fmt.Sprintf("%d of %d", done, len(plan.Actions)))
	})
	line.end()
	fmt.Fprintf(p.stdout, "%d of %d done.\n", result.Done(), len(plan.Actions))
	err := result.Err()
	if err == nil {
		return nil
	}
	for _, outcome := range result.Outcomes {
		if !outcome.Done {
			fmt.Fprintf(p.stdout, "not done: %s %s/%s\n", outcome.Action.Op, outcome.Action.Target, outcome.Action.Key())
		}
	}
	return &exitError{exitPartly, fmt.Errorf("%w\nrun it again: it goes on where this ended", err)}
}

// metricNames are the names of all metrics that the daemon exports.
func metricNames() []string {
	names := &described{}
	collector.NewPollMetrics(names)
	httpclient.NewMetrics(names)
	push.NewMetrics(names)
	registerOwn(names)
	newDrift(names)
	for _, m := range collector.Metrics {
		names.all = append(names.all, m.Name)
	}
	slices.Sort(names.all)
	return slices.Compact(names.all)
}

// described is a registerer that takes down the names of what it is given.
type described struct {
	prometheus.Registerer
	all []string
}

var fullName = regexp.MustCompile(`fqName: "(.*?)"`)

// MustRegister notes what the collectors describe, values or not.
func (d *described) MustRegister(collectors ...prometheus.Collector) {
	for _, c := range collectors {
		descs := make(chan *prometheus.Desc)
		go func() {
			defer close(descs)
			c.Describe(descs)
		}()
		for desc := range descs {
			d.all = append(d.all, fullName.FindStringSubmatch(desc.String())[1])
		}
	}
}

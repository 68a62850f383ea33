package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/term"

	"github.com/scwatch/scwatch/collector"
	"github.com/scwatch/scwatch/collector/report"
	"github.com/scwatch/scwatch/internal/config"
	"github.com/scwatch/scwatch/internal/httpclient"
)

// auditOptions are audit's own flags.
type auditOptions struct {
	format   string
	failOn   string
	baseline string
	filter   report.Filter
	owner    string
	expires  string
}

const neverFail = "never"

// The formats of a report.
const (
	formatTable      = "table"
	formatJSON       = "json"
	formatSARIF      = "sarif"
	formatMarkdown   = "markdown"
	formatJUnit      = "junit"
	formatExceptions = "exceptions"
)

func auditFlags(c *kingpin.CmdClause, o *options) {
	a := &o.audit
	c.Flag("format", "How to write the report: table, json, sarif, markdown, junit, or exceptions: what is open, as an exceptions: block to take over.").
		Default(formatTable).EnumVar(&a.format, formatTable, formatJSON, formatSARIF, formatMarkdown, formatJUnit, formatExceptions)
	thresholds := []string{}
	for _, severity := range collector.Severities {
		thresholds = append(thresholds, string(severity))
	}
	c.Flag("fail-on", "Exit with 2 if there is an open finding of this severity or a worse one: critical, high, medium, low, info, never.").
		Default(string(collector.High)).EnumVar(&a.failOn, append(thresholds, neverFail)...)
	c.Flag("baseline", "Report only what is new since this earlier report of --format=json.").
		PlaceHolder("FILE").StringVar(&a.baseline)
	c.Flag("check", "Report on this check only. Repeatable, as the other filters.").
		PlaceHolder("ID").StringsVar(&a.filter.Checks)
	c.Flag("project", "Read this project only, of those that are watched.").
		PlaceHolder("NAME|ID").StringsVar(&a.filter.Projects)
	c.Flag("region", "Read this region only, of those that are watched.").
		PlaceHolder("REGION").StringsVar(&a.filter.Regions)
	c.Flag("namespace", "Report on functions in this namespace only.").
		PlaceHolder("NAME").StringsVar(&a.filter.Namespaces)
	c.Flag("tag", "Report on functions with this tag only.").
		PlaceHolder("TAG").StringsVar(&a.filter.Tags)
	c.Flag("owner", "With --format=exceptions: who answers for what is open.").
		PlaceHolder("NAME").StringVar(&a.owner)
	c.Flag("expires", "With --format=exceptions: the day, in UTC, from whose start on it is open again.").
		PlaceHolder("YYYY-MM-DD").StringVar(&a.expires)
}

// audit reads everything once and writes a report. It opens no state, so that it
// runs beside a daemon, and on a machine that has none.
func audit(ctx context.Context, o options, p process) error {
	settings, credentials, err := config.Read(o.configFile, p.env, collector.CheckIDs())
	earlier, baselineErr := readBaseline(o.audit.baseline)
	if err := errors.Join(err, o.audit.check(settings, time.Now()), baselineErr); err != nil {
		return &exitError{exitUsage, err}
	}
	line := newProgress(p.stderr)
	defer line.end()
	p.stderr = line
	log := o.logger(p)
	if credentials.Warning != "" {
		log.Warn(credentials.Warning)
	}
	fleet, err := collector.NewFleet(collector.NewState(), log)
	if err != nil {
		return err
	}
	fleet.Judge(collector.Rules{StaleAfter: settings.Collect.StaleAfter, Exceptions: settings.Exceptions, ExceptionsFromTags: settings.ExceptionsFromTags})
	registry := prometheus.NewRegistry() // nobody scrapes an audit
	w := newWatch(p.env, o, fleet, nil, registry, log)
	api, err := w.api(credentials, httpclient.NewGate(settings.Collect.Concurrency, float64(settings.Collect.RateLimit)))
	if err != nil {
		return &exitError{exitUsage, err}
	}
	poller := w.poller(settings, credentials, api)
	if err := preflight(ctx, poller); err != nil {
		return &exitError{exitRefused, err}
	}
	err = poller.Once(ctx, o.audit.choose, func(done, of int) {
		line.show(fmt.Sprintf("reading: %d of %d units", done, of))
	})
	if err != nil {
		return err
	}
	snapshot := fleet.Snapshot(time.Now())
	line.end()
	r := report.New(snapshot, o.audit.filter)
	if earlier != nil {
		r.Since(earlier)
	}
	if err := o.audit.write(p.stdout, r, p.env); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return o.audit.verdict(snapshot, r)
}

// verdict is the exit code of what was found, with its reason.
func (a auditOptions) verdict(s *collector.Snapshot, r *report.Report) error {
	if err := s.Unseen(); err != nil {
		code := exitFailed
		if collector.Refused(err) {
			code = exitRefused
		}
		return &exitError{code, fmt.Errorf("nothing could be read: %w", err)}
	}
	if !r.Complete {
		return &exitError{exitPartly, errors.New("the report is incomplete: not everything could be read")}
	}
	if n := r.AtOrAbove(collector.Severity(a.failOn)); n > 0 {
		return &exitError{exitFound, fmt.Errorf("open findings at or above --fail-on=%s: %d", a.failOn, n)}
	}
	return nil
}

// check finds what is wrong with the flags, and narrows the configuration to the
// regions asked for: what is not asked for cannot make a report incomplete.
func (a auditOptions) check(c *config.Config, now time.Time) error {
	var errs []error
	reject := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	for _, id := range a.filter.Checks {
		if ids := collector.CheckIDs(); !slices.Contains(ids, id) {
			reject("--check: unknown check %.60q%s", id, config.Suggestion(id, ids))
		}
	}
	for _, region := range a.filter.Regions {
		if !slices.Contains(c.Scaleway.Regions, region) {
			reject("--region: %.40q is not watched; watched: %s", region, strings.Join(c.Scaleway.Regions, ", "))
		}
	}
	if len(a.filter.Regions) > 0 {
		c.Scaleway.Regions = slices.DeleteFunc(slices.Clone(c.Scaleway.Regions), func(region string) bool {
			return !slices.Contains(a.filter.Regions, region)
		})
	}
	if a.format == formatExceptions {
		if strings.TrimSpace(a.owner) == "" {
			reject("--owner: is required with --format=exceptions: who answers for what is open")
		}
		switch day, err := time.Parse(time.DateOnly, a.expires); {
		case a.expires == "":
			reject("--expires: is required with --format=exceptions: until when, such as 2027-03-31")
		case err != nil:
			reject("--expires: expected a day such as 2027-03-31, found %.40q", a.expires)
		case !day.After(now):
			reject("--expires: %s is past: the exceptions would have lapsed already", a.expires)
		}
	} else if a.owner != "" || a.expires != "" {
		reject("--owner and --expires: only for --format=exceptions")
	}
	return errors.Join(errs...)
}

// choose returns the watched projects that are asked for.
func (a auditOptions) choose(names map[string]string) ([]string, error) {
	var chosen []string
	matched := map[string]bool{}
	for id, name := range names {
		for _, wanted := range a.filter.Projects {
			if wanted == id || wanted == name {
				matched[wanted] = true
			}
		}
		if len(a.filter.Projects) == 0 || slices.Contains(a.filter.Projects, id) || slices.Contains(a.filter.Projects, name) {
			chosen = append(chosen, id)
		}
	}
	for _, wanted := range a.filter.Projects {
		if !matched[wanted] {
			return nil, &exitError{exitUsage, fmt.Errorf("--project: no watched project has the name or ID %.60q; where names cannot be read, give the ID", wanted)}
		}
	}
	slices.Sort(chosen)
	return chosen, nil
}

func readBaseline(file string) (*report.Earlier, error) {
	if file == "" {
		return nil, nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("--baseline: %w", err)
	}
	earlier, err := report.ReadEarlier(data)
	if err != nil {
		return nil, fmt.Errorf("--baseline %s: %w", file, err)
	}
	return earlier, nil
}

func (a auditOptions) write(w io.Writer, r *report.Report, env config.Environment) error {
	switch a.format {
	case formatJSON:
		return r.WriteJSON(w)
	case formatSARIF:
		return r.WriteSARIF(w, releaseVersion())
	case formatMarkdown:
		return r.WriteMarkdown(w)
	case formatJUnit:
		return r.WriteJUnit(w, collector.Severity(a.failOn))
	case formatExceptions:
		return r.WriteExceptions(w, a.owner, a.expires)
	default:
		return r.WriteTable(w, terminalOf(w, env))
	}
}

// terminalOf tells what a table is written for: colours only for a terminal,
// and not where NO_COLOR asks for none.
func terminalOf(w io.Writer, env config.Environment) report.Terminal {
	if !isTerminal(w) {
		return report.Terminal{}
	}
	width, _, err := term.GetSize(int(w.(*os.File).Fd()))
	if err != nil || width <= 0 {
		width = 80
	}
	return report.Terminal{Width: width, Color: env("NO_COLOR") == ""}
}

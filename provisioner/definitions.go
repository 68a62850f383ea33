package provisioner

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/scwatch/scwatch/internal/config"
)

// Builtin is the content that is embedded in the binary.
type Builtin struct {
	Dashboards fs.FS // *.yaml
	Alerts     fs.FS // *.yaml: rule files, and alertmanager.yaml
}

// builtinRoutes is no rule file, though it lies among them.
const builtinRoutes = "alertmanager.yaml"

// Options are what definitions are read with. All fields are required.
type Options struct {
	Builtin    Builtin
	Env        config.Environment
	Metrics    []string // the names of all metrics that scwatch exports
	AllowEmpty bool     // a list of files may come out empty
	Offline    bool     // variables of routes that are not set do not matter
}

// Definitions are what the files of a configuration say, checked.
type Definitions struct {
	targets  []target
	outdated []string // about files that were ejected from an older version
}

// target is one place with what is to be in it.
type target struct {
	config.Target
	dashboards []dashboard
	rules      []ruleSet
	routes     *routes // nil: they are left alone
}

// ruleSet are the groups that one data source evaluates in one namespace.
type ruleSet struct {
	dataSource config.DataSource
	namespace  string
	groups     []group
}

// alerts are the names of all alerts of a target, sorted.
func (t target) alerts() []string {
	var all []string
	for _, set := range t.rules {
		for _, g := range set.groups {
			for _, r := range g.Rules {
				if r.Alert != "" {
					all = append(all, r.Alert)
				}
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// source is a file of definitions.
type source struct {
	name string // as messages show it
	dir  string // "" for embedded ones
	data []byte
}

// reader gathers what is wrong with all files, so that it can be told at once.
type reader struct {
	Options
	config   *config.Config
	problems config.Problems
	outdated []string
}

func (r *reader) report(file string, line, column int, format string, args ...any) {
	p := config.Problem{File: file, Line: line, Column: column, Message: fmt.Sprintf(format, args...)}
	if !slices.Contains(r.problems, p) { // a file can stand in several targets
		r.problems = append(r.problems, p)
	}
}

// Load reads and checks everything that the configuration names, without
// asking any server. The error is a [config.Problems] with all that is wrong.
func Load(c *config.Config, o Options) (*Definitions, error) {
	r := &reader{Options: o, config: c}
	d := &Definitions{}
	for i, t := range c.Provision.Targets {
		at := fmt.Sprintf("provision.targets[%d]", i)
		r.place(at, t, c.Provision.Targets[:i])
		defined := target{Target: t}
		for _, file := range r.files(at+".dashboards", t.Dashboards, o.Builtin.Dashboards, "") {
			if dashboard, ok := r.dashboard(file); ok {
				defined.dashboards = append(defined.dashboards, dashboard)
			}
		}
		r.uniqueDashboards(t.Folder, defined.dashboards)
		for j, rules := range t.Rules {
			set := ruleSet{dataSource: rules.DataSource, namespace: rules.Namespace}
			for _, file := range r.files(fmt.Sprintf("%s.rules[%d].files", at, j), rules.Files, o.Builtin.Alerts, builtinRoutes) {
				set.groups = append(set.groups, r.rules(file, rules.DataSource.Type, t.RulesTarget)...)
			}
			defined.rules = append(defined.rules, set)
		}
		r.limits(defined)
		if t.Alertmanager != "" {
			defined.routes = r.routes(t.Alertmanager, defined.alerts())
		}
		d.targets = append(d.targets, defined)
	}
	r.metrics(d, c.Provision.KnownMetrics)
	d.outdated = r.outdated
	if len(r.problems) == 0 {
		return d, nil
	}
	slices.SortStableFunc(r.problems, func(a, b config.Problem) int {
		return cmp.Or(strings.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return d, r.problems
}

// place finds what makes no sense in a target as a whole.
func (r *reader) place(at string, t config.Target, before []config.Target) {
	mistake := func(key, format string, args ...any) {
		r.problems = append(r.problems, r.config.Problem(at+key, format, args...))
	}
	for i, other := range before {
		if other.Project == t.Project && other.Region == t.Region && other.GrafanaURL == t.GrafanaURL && other.Folder.UID == t.Folder.UID {
			mistake("", "is the same place as provision.targets[%d] (project %s, region %s): make one target of the two, or give it a folder.uid of its own", i, t.Project, t.Region)
		}
	}
	if t.RulesTarget != config.RulesTargetGrafana {
		return
	}
	switch {
	case t.GrafanaURL == "":
		mistake(".rules_target", "Cockpit never evaluates Grafana-managed rules: leave it at %q, or name a Grafana of your own in grafana_url", config.RulesTargetCockpit)
	case isCockpitGrafana(t.GrafanaURL):
		mistake(".rules_target", "%s is a Cockpit's Grafana, which never evaluates Grafana-managed rules: leave it at %q", t.GrafanaURL, config.RulesTargetCockpit)
	}
	if t.Alertmanager != "" {
		mistake(".alertmanager", "routes go to a Cockpit's alert manager; a Grafana of your own notifies by its own policies: leave it empty where rules_target is %q", config.RulesTargetGrafana)
	}
	if len(t.Contacts) > 0 {
		mistake(".contacts", "contacts go to a Cockpit's alert manager; leave them out where rules_target is %q", config.RulesTargetGrafana)
	}
}

// files reads what a list of files, globs and "builtin" names.
func (r *reader) files(at string, patterns []string, builtin fs.FS, except string) []source {
	var all []source
	for _, pattern := range patterns {
		var found []source
		if pattern == config.Builtin {
			found = embedded(builtin, except)
		} else {
			found = r.matching(at, pattern)
			for _, file := range found {
				if words := outdated(file, embedded(builtin, "")); words != "" && !slices.Contains(r.outdated, words) {
					r.outdated = append(r.outdated, words)
				}
			}
		}
		for _, file := range found {
			if !slices.ContainsFunc(all, func(s source) bool { return s.name == file.name }) {
				all = append(all, file)
			}
		}
	}
	return all
}

func embedded(in fs.FS, except string) []source {
	files, err := fs.Glob(in, "*.yaml")
	if err != nil {
		panic(err) // the pattern is ours
	}
	var all []source
	for _, file := range files {
		if file == except {
			continue
		}
		data, err := fs.ReadFile(in, file)
		if err != nil {
			panic(err) // it is in the binary
		}
		all = append(all, source{name: config.Builtin + ":" + file, data: data})
	}
	return all
}

func (r *reader) matching(at, pattern string) []source {
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		if !strings.ContainsAny(pattern, "*?[") {
			r.problems = append(r.problems, r.config.Problem(at, "%s: there is no such file", pattern))
		} else if !r.AllowEmpty {
			r.problems = append(r.problems, r.config.Problem(at, "%s matches no file: what was provisioned from there would be deleted; --allow-empty says that this is meant", pattern))
		}
		return nil
	}
	var all []source
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			r.problems = append(r.problems, r.config.Problem(at, "%s cannot be read: %v", file, errors.Unwrap(err)))
			continue
		}
		all = append(all, source{name: file, dir: filepath.Dir(file), data: data})
	}
	return all
}

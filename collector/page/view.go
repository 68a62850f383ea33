package page

import (
	"cmp"
	"fmt"
	"html/template"
	"math"
	"slices"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/scwatch/scwatch/collector"
)

// view is what the template shows.
type view struct {
	Style template.CSS
	Read  bool // something was
	At    time.Time

	Summary string
	Unread  string // what the summary does not know of; empty: nothing
	Filter  filter
	Orders  any
	Options options

	FindingsCut   slice
	Findings      []finding
	FunctionsCut  slice
	Functions     []function
	UnitsCut      slice
	Units         []unit
	ExceptionsCut slice
	Exceptions    []finding
	Push          []fact // nil: nothing is pushed
	Drift         []fact // nil: not known
}

// options are what the form offers.
type options struct {
	Projects, Regions []string
	Checks            []*collector.Check
}

type finding struct {
	collector.Finding
	Function *collector.Function
	Days     string // left of its exception
}

type function struct {
	*collector.Function
	Rejected string
	Worst    collector.Severity // of its open findings; empty: none
}

type unit struct {
	collector.UnitStatus
	Project     string
	State       string
	Success     string
	Explanation string // the error
}

type fact struct{ Name, Value string }

// ranks are the places of the checks, worst first.
var ranks = func() map[*collector.Check]int {
	ranks := map[*collector.Check]int{}
	for i, check := range collector.Checks {
		ranks[check] = i
	}
	return ranks
}()

func newView(s *collector.Snapshot, f filter, own []*dto.MetricFamily, now time.Time) *view {
	v := &view{
		Style: template.CSS(style), Read: !s.At.IsZero(), At: s.At, Filter: f, Orders: orders,
		Push: push(own, now), Drift: drift(own),
	}
	v.summarize(s, now)
	v.offer(s)

	var findings, exceptions []finding
	var functions []*collector.Function
	for i := range s.Functions {
		fn := &s.Functions[i]
		if !f.function(fn) {
			continue
		}
		found := f.Check == ""
		for _, open := range fn.Findings {
			if f.Check == "" || open.Check.ID == f.Check {
				found = true
				findings = append(findings, finding{Finding: open, Function: fn})
				if open.Exception != nil {
					exceptions = append(exceptions, finding{open, fn, "lapsed: open again"})
				}
			}
		}
		for _, excepted := range fn.Excepted {
			if f.Check == "" || excepted.Check.ID == f.Check {
				found = true
				exceptions = append(exceptions, finding{excepted, fn, daysLeft(excepted.Exception.Expires, now)})
			}
		}
		if found {
			functions = append(functions, fn)
		}
	}
	slices.SortStableFunc(findings, func(a, b finding) int { return cmp.Compare(ranks[a.Check], ranks[b.Check]) })
	slices.SortStableFunc(exceptions, func(a, b finding) int {
		return cmp.Compare(end(a.Exception.Expires), end(b.Exception.Expires))
	})
	for _, order := range orders {
		if order.Name == f.Sort && order.Name != "" {
			slices.SortStableFunc(functions, order.compare)
		}
	}
	v.FindingsCut, v.Findings = cut(f, findingsTable, "findings", findings)
	v.ExceptionsCut, v.Exceptions = cut(f, exceptionsTable, "exceptions", exceptions)
	v.FunctionsCut, functions = cut(f, functionsTable, "functions", functions)
	for _, fn := range functions {
		shown := function{Function: fn, Rejected: "not counted"}
		if len(fn.Findings) > 0 {
			shown.Worst = fn.Findings[0].Check.Severity
		}
		if fn.Rejected != nil {
			shown.Rejected = fmt.Sprintf("%.0f", rejected(fn))
		}
		v.Functions = append(v.Functions, shown)
	}
	v.tellUnits(s, f, now)
	return v
}

// summarize makes the sentence at the top. What could not be read is told apart:
// it must not look clean.
func (v *view) summarize(s *collector.Snapshot, now time.Time) {
	public, open := 0, 0
	for i := range s.Functions {
		if s.Functions[i].Public() {
			public++
		}
		open += len(s.Functions[i].Findings)
	}
	var oldest time.Time
	var down []string
	waiting := 0
	for _, u := range s.Units {
		if u.ReadsFunctions() && !u.LastSuccess.IsZero() && (oldest.IsZero() || u.LastSuccess.Before(oldest)) {
			oldest = u.LastSuccess
		}
		switch {
		case u.Tried && !u.Up:
			down = append(down, strings.TrimSpace(text(u.Source+" "+u.Region)))
		case !u.Tried:
			waiting++
		}
	}
	age := "no function has been read yet"
	if !oldest.IsZero() {
		age = "read " + ago(oldest, now)
	}
	v.Summary = fmt.Sprintf("%s, %d public, %s, %s", count(len(s.Functions), "function"), public, count(open, "open finding"), age)
	var parts []string
	if len(down) > 0 {
		slices.Sort(down)
		named := slices.Compact(slices.Clone(down))
		if len(named) > 5 {
			named = append(named[:5], "and others")
		}
		parts = append(parts, fmt.Sprintf("could not be read: %d of %s (%s)", len(down), count(len(s.Units), "unit"), strings.Join(named, ", ")))
	}
	if waiting > 0 {
		parts = append(parts, fmt.Sprintf("not read yet: %d of %s", waiting, count(len(s.Units), "unit")))
	}
	v.Unread = strings.Join(parts, "; ")
}

// offer gathers what the form can choose from.
func (v *view) offer(s *collector.Snapshot) {
	projects, regions := map[string]bool{}, map[string]bool{}
	for i := range s.Functions {
		projects[s.Functions[i].Project], regions[s.Functions[i].Region] = true, true
	}
	for name := range projects {
		v.Options.Projects = append(v.Options.Projects, name)
	}
	for name := range regions {
		v.Options.Regions = append(v.Options.Regions, name)
	}
	slices.Sort(v.Options.Projects)
	slices.Sort(v.Options.Regions)
	v.Options.Checks = collector.Checks
}

// tellUnits shows the failing ones first.
func (v *view) tellUnits(s *collector.Snapshot, f filter, now time.Time) {
	names := map[string]string{}
	for i := range s.Functions {
		names[s.Functions[i].ProjectID] = s.Functions[i].Project
	}
	units := slices.Clone(s.Units)
	slices.SortStableFunc(units, func(a, b collector.UnitStatus) int { return cmp.Compare(urgency(a), urgency(b)) })
	cutting, units := cut(f, unitsTable, "units", units)
	v.UnitsCut = cutting
	for _, u := range units {
		shown := unit{UnitStatus: u, Project: cmp.Or(names[u.ProjectID], u.ProjectID, "the account"), State: "up", Success: "never"}
		switch {
		case !u.Tried:
			shown.State = "not read yet"
		case !u.Up:
			shown.State = "failing"
			if !u.FailedSince.IsZero() {
				shown.State = "failing since " + ago(u.FailedSince, now)
			}
		}
		if !u.LastSuccess.IsZero() {
			shown.Success = ago(u.LastSuccess, now)
		}
		if u.Error != nil {
			shown.Explanation = u.Error.Error()
		}
		v.Units = append(v.Units, shown)
	}
}

func urgency(u collector.UnitStatus) int {
	switch {
	case u.Tried && !u.Up:
		return 0
	case !u.Tried:
		return 1
	}
	return 2
}

func end(t time.Time) int64 {
	if t.IsZero() {
		return math.MaxInt64
	}
	return t.Unix()
}

func daysLeft(expires, now time.Time) string {
	if expires.IsZero() {
		return "no end"
	}
	switch days := int(expires.Sub(now).Hours() / 24); {
	case !now.Before(expires):
		return "lapsed"
	case days == 0:
		return "less than a day left"
	default:
		return count(days, "day") + " left"
	}
}

func ago(t, now time.Time) string {
	switch d := now.Sub(t); {
	case d < 0:
		return "just now"
	case d < 2*time.Minute:
		return count(int(d.Seconds()), "second") + " ago"
	case d < 2*time.Hour:
		return count(int(d.Minutes()), "minute") + " ago"
	case d < 48*time.Hour:
		return count(int(d.Hours()), "hour") + " ago"
	default:
		return count(int(d.Hours()/24), "day") + " ago"
	}
}

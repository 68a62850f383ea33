package report

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/scwatch/scwatch/collector"
)

// summary is the totals as a sentence without an end.
func (r *Report) summary() string {
	var parts []string
	for _, severity := range collector.Severities {
		if n := r.Totals.Findings[severity]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, severity))
		}
	}
	kind := "open"
	if r.Baseline != nil {
		kind = "new"
	}
	s := fmt.Sprintf("%s, %d public; %s", count(r.Totals.Functions, "function"), r.Totals.Public, count(r.Totals.Open, kind+" finding"))
	if len(parts) > 0 {
		s += ": " + strings.Join(parts, ", ")
	}
	if r.Totals.Excepted > 0 {
		s += fmt.Sprintf("; %d excepted", r.Totals.Excepted)
	}
	if r.Baseline != nil {
		s += fmt.Sprintf("; %d known from the baseline", r.Baseline.Known)
	}
	return s
}

// warnings say what the report could not see, the worst first: they stand at the
// top of every format.
func (r *Report) warnings() []string {
	var all []string
	if !r.Complete {
		all = append(all, fmt.Sprintf("INCOMPLETE: only %d of %s could be read; what is wrong elsewhere is not in this report", r.Totals.Read, count(r.Totals.Units, "unit")))
	}
	if r.Baseline != nil && !r.Baseline.Complete {
		all = append(all, "The baseline is incomplete: what it could not see is told here as new")
	}
	if r.Totals.Functions == 0 && r.Complete {
		all = append(all, "No function was seen: check the projects, the regions and the filters")
	}
	return all
}

// place is where u is, for people.
func (u Unit) place() string {
	if u.ProjectID == "" {
		return u.Source + " of the account"
	}
	return fmt.Sprintf("%s of project %s in %s", u.Source, u.Project, u.Region)
}

// answered is who answers for a finding, until when.
func (e *Exception) answered() string {
	until := "without an end"
	if e.Expires != nil {
		until = "until " + string(*e.Expires)
	}
	return fmt.Sprintf("%s: %s, %s", e.Owner, e.Reason, until)
}

// told is what was found and, where an exception for it has lapsed, that.
func (f Finding) told() string {
	if f.Exception != nil && f.Exception.Lapsed {
		return fmt.Sprintf("%s (excepted by %s, lapsed on %s)", f.What, f.Exception.Owner, *f.Exception.Expires)
	}
	return f.What
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}

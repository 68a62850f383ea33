// Package report tells what a snapshot means for people and pipelines: a model
// that is built once, and one file a format.
package report

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/scwatch/scwatch/collector"
)

// Version is that of the JSON format: it rises with every change that a reader
// of the version before could stumble over.
const Version = 1

const checkPages = "https://github.com/scwatch/scwatch/blob/main/docs/checks/"

// Report is what is wrong, and how much of the account was seen. It is the same
// for the same snapshot: it holds no time but those that the API tells, and
// nothing of when it was made.
type Report struct {
	Version  int       `json:"version"`
	Complete bool      `json:"complete"` // everything that was asked for was read
	Unread   []Unit    `json:"unread"`   // what was not
	Filter   Filter    `json:"filters"`
	Baseline *Baseline `json:"baseline"` // nil: everything that is open is told
	Totals   Totals    `json:"totals"`
	Checks   []Check   `json:"checks"`   // those that found something, worst first
	Findings []Finding `json:"findings"` // open ones, worst first
	Excepted []Finding `json:"excepted"` // those that somebody answers for, likewise
}

// Unit is what could not be read.
type Unit struct {
	Source    string `json:"source"`
	ProjectID string `json:"project_id"` // empty for the account's own, as is Region
	Project   string `json:"project"`
	Region    string `json:"region"`
	Error     string `json:"error"` // what was tried, why it failed, what to do
	RequestID string `json:"request_id"`
}

// Filter narrows a report. An empty list leaves all through.
type Filter struct {
	Checks     []string `json:"checks"`
	Projects   []string `json:"projects"` // names or IDs
	Regions    []string `json:"regions"`
	Namespaces []string `json:"namespaces"`
	Tags       []string `json:"tags"` // a function needs one of them
}

// Totals counts what the filter lets through.
type Totals struct {
	Units     int                        `json:"units"` // that were to be read
	Read      int                        `json:"read"`  // those that were
	Functions int                        `json:"functions"`
	Public    int                        `json:"public"`
	Findings  map[collector.Severity]int `json:"findings"` // open, every severity
	Open      int                        `json:"open"`
	Excepted  int                        `json:"excepted"`
}

// Check says what a finding of it means.
type Check struct {
	ID       string             `json:"id"`
	Severity collector.Severity `json:"severity"`
	Title    string             `json:"title"`
	Why      string             `json:"why"`
	Remedy   Remedy             `json:"remedy"`
	Page     string             `json:"page"`
}

// Remedy is how to mend it.
type Remedy struct {
	Console   string `json:"console"`
	CLI       string `json:"cli"`
	Terraform string `json:"terraform"`
}

// Finding is one check at one function.
type Finding struct {
	Fingerprint string             `json:"fingerprint"` // of the check and the function's names
	Check       string             `json:"check"`
	Severity    collector.Severity `json:"severity"`
	What        string             `json:"what"`
	Subjects    []string           `json:"subjects"` // what was found, where that can be several things
	Function    Function           `json:"function"`
	Command     string             `json:"command"`   // the remedy with the CLI, for this function
	Exception   *Exception         `json:"exception"` // nil: nobody answers for it
}

// Function says which one.
type Function struct {
	ID          string     `json:"id"`
	Name        string     `json:"name"`
	NamespaceID string     `json:"namespace_id"`
	Namespace   string     `json:"namespace"`
	ProjectID   string     `json:"project_id"`
	Project     string     `json:"project"` // its ID where the name could not be read
	Region      string     `json:"region"`
	Team        string     `json:"team"`
	Created     *time.Time `json:"created_at"` // nil: not told, as with Updated
	Updated     *time.Time `json:"updated_at"`
}

// Exception is who answers for a finding, until when.
type Exception struct {
	Owner   string `json:"owner"`
	Reason  string `json:"reason"`
	Expires *Day   `json:"expires"` // nil: never
	Lapsed  bool   `json:"lapsed"`  // so that the finding is open again
}

// Day is written as 2027-03-31.
type Day string

// New is the report on what s knows and filter lets through.
func New(s *collector.Snapshot, filter Filter) *Report {
	r := &Report{Version: Version, Complete: true, Unread: []Unit{}, Filter: filter.listed(), Findings: []Finding{}, Excepted: []Finding{}}
	r.tellUnits(s)
	for i := range s.Functions {
		f := &s.Functions[i]
		if !filter.function(f) {
			continue
		}
		r.Totals.Functions++
		if f.Public() {
			r.Totals.Public++
		}
		for _, found := range f.Findings {
			if filter.check(found.Check.ID) {
				r.Findings = append(r.Findings, newFinding(s, f, found))
			}
		}
		for _, found := range f.Excepted {
			if filter.check(found.Check.ID) {
				r.Excepted = append(r.Excepted, newFinding(s, f, found))
			}
		}
	}
	for _, list := range [][]Finding{r.Findings, r.Excepted} {
		// The functions are in order already.
		slices.SortStableFunc(list, func(a, b Finding) int { return cmp.Compare(order[a.Check], order[b.Check]) })
		identify(list)
	}
	r.count()
	return r
}

// order is the place of each check in the table, worst first.
var order = func() map[string]int {
	places := map[string]int{}
	for i, check := range collector.Checks {
		places[check.ID] = i
	}
	return places
}()

// tellUnits takes down what could not be read. What was never asked, because
// what it is about could not be read, goes without saying.
func (r *Report) tellUnits(s *collector.Snapshot) {
	names := map[string]string{}
	for _, f := range s.Functions {
		names[f.ProjectID] = f.Project
	}
	r.Totals.Units = len(s.Units)
	for _, u := range s.Units {
		if u.Up {
			r.Totals.Read++
			continue
		}
		r.Complete = false
		if u.Error == nil {
			continue
		}
		unit := Unit{
			Source: u.Source, ProjectID: u.ProjectID, Region: u.Region, Error: u.Error.Error(),
			Project: cmp.Or(names[u.ProjectID], u.ProjectID),
		}
		var failed *collector.APIError
		if errors.As(u.Error, &failed) {
			unit.RequestID = failed.RequestID
		}
		r.Unread = append(r.Unread, unit)
	}
}

// count brings the totals and the checks in line with the findings.
func (r *Report) count() {
	r.Totals.Findings = map[collector.Severity]int{}
	for _, severity := range collector.Severities {
		r.Totals.Findings[severity] = 0
	}
	found := map[string]bool{}
	for _, f := range r.Findings {
		r.Totals.Findings[f.Severity]++
		found[f.Check] = true
	}
	for _, f := range r.Excepted {
		found[f.Check] = true
	}
	r.Totals.Open, r.Totals.Excepted = len(r.Findings), len(r.Excepted)
	r.Checks = []Check{}
	for _, check := range collector.Checks {
		if found[check.ID] {
			r.Checks = append(r.Checks, newCheck(check))
		}
	}
}

// AtOrAbove counts the open findings that are as severe as threshold or more.
func (r *Report) AtOrAbove(threshold collector.Severity) int {
	n := 0
	for _, f := range r.Findings {
		if reaches(f.Severity, threshold) {
			n++
		}
	}
	return n
}

// reaches tells whether s is as severe as threshold; nothing reaches one that is
// none of the severities.
func reaches(s, threshold collector.Severity) bool {
	return slices.Index(collector.Severities, s) <= slices.Index(collector.Severities, threshold)
}

func newCheck(c *collector.Check) Check {
	return Check{ID: c.ID, Severity: c.Severity, Title: c.Title, Why: c.Why, Remedy: Remedy(c.Remedy), Page: CheckPage(c)}
}

// CheckPage is the address of the page on c.
func CheckPage(c *collector.Check) string { return checkPages + c.ID + ".md" }

func newFinding(s *collector.Snapshot, f *collector.Function, found collector.Finding) Finding {
	out := Finding{
		Check: found.Check.ID, Severity: found.Check.Severity, What: found.What, Subjects: append([]string{}, found.Subjects...),
		Function: Function{
			ID: f.ID, Name: f.Name, NamespaceID: f.NamespaceID, Namespace: f.Namespace,
			ProjectID: f.ProjectID, Project: f.Project, Region: f.Region, Team: f.Team,
			Created: told(f.Created), Updated: told(f.Updated),
		},
		Command: command(found.Check.Remedy.CLI, f),
	}
	if e := found.Exception; e != nil {
		out.Exception = &Exception{Owner: e.Owner, Reason: e.Reason, Lapsed: e.Lapsed(s.At)}
		if !e.Expires.IsZero() {
			day := Day(e.Expires.Format(time.DateOnly))
			out.Exception.Expires = &day
		}
	}
	return out
}

func told(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// plain is what can stand in a command line without a meaning of its own.
var plain = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z-]*$`)

// command fills in what is known of f. An ID that a shell could take for
// anything else is left out.
func command(template string, f *collector.Function) string {
	var known []string
	for _, place := range [][2]string{{"FUNCTION_ID", f.ID}, {"NAMESPACE_ID", f.NamespaceID}, {"REGION", f.Region}} {
		if plain.MatchString(place[1]) {
			known = append(known, place[:]...)
		}
	}
	return strings.NewReplacer(known...).Replace(template)
}

// identify gives each finding its fingerprint: that of the check and of the
// function's names, so that a function which is deleted and created again keeps
// it. Should two share all of that, the second is told apart by its number.
func identify(list []Finding) {
	taken := map[string]int{}
	for i := range list {
		f := &list[i]
		key := strings.Join([]string{f.Check, f.Function.ProjectID, f.Function.Region, f.Function.Namespace, f.Function.Name}, "\x00")
		taken[key]++
		if n := taken[key]; n > 1 {
			key += "\x00" + strconv.Itoa(n)
		}
		sum := sha256.Sum256([]byte(key))
		f.Fingerprint = hex.EncodeToString(sum[:16])
	}
}

func (f Filter) check(id string) bool { return lets(f.Checks, id) }

func (f Filter) function(fn *collector.Function) bool {
	return (lets(f.Projects, fn.ProjectID) || lets(f.Projects, fn.Project)) && lets(f.Regions, fn.Region) && lets(f.Namespaces, fn.Namespace) &&
		(len(f.Tags) == 0 || slices.ContainsFunc(fn.Tags, func(tag string) bool { return slices.Contains(f.Tags, tag) }))
}

func lets(list []string, value string) bool { return len(list) == 0 || slices.Contains(list, value) }

// listed is f with lists that JSON writes as such.
func (f Filter) listed() Filter {
	for _, list := range []*[]string{&f.Checks, &f.Projects, &f.Regions, &f.Namespaces, &f.Tags} {
		*list = append([]string{}, *list...)
	}
	return f
}

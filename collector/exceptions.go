package collector

import (
	"log/slog"
	"math"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/scwatch/scwatch/internal/config"
)

// exceptTag is the function tag that excepts a check where
// exceptions_from_tags is on.
const exceptTag = "scwatch-allow"

// Finding is a check that found something at a function.
type Finding struct {
	Check *Check
	What  string // was found, as a sentence without an end

	// Subjects names what was found where it can be several things: variables,
	// token IDs. The finding of a day may have more of them than the day before.
	Subjects []string

	// Exception is who answers for it; nil: nobody. A finding whose exception
	// has lapsed is open and keeps it.
	Exception *Exception
}

// Exception is the part of an exception that a finding shows.
type Exception struct {
	Owner, Reason string
	Expires       time.Time // zero: never, for one from a tag

	line int // in the configuration; 0 for one from a tag
}

// Lapsed tells whether e has ended, so that its findings are open again.
func (e *Exception) Lapsed(now time.Time) bool {
	return !e.Expires.IsZero() && !now.Before(e.Expires)
}

// expiry is the end in Unix seconds; +Inf for one that has none.
func (e *Exception) expiry() float64 {
	if e.Expires.IsZero() {
		return math.Inf(1)
	}
	return float64(e.Expires.Unix())
}

// except returns who answers for check at f: of several the one that answers
// longest, so that adding an exception never reopens a finding.
func (r Rules) except(f *Function, check *Check) *Exception {
	var found *Exception
	for i := range r.Exceptions {
		e := &r.Exceptions[i]
		if !slices.Contains(e.Checks, check.ID) || !excepts(e, f) {
			continue
		}
		if found == nil || e.Expires.After(found.Expires) {
			found = &Exception{Owner: e.Owner, Reason: e.Reason, Expires: e.Expires, line: e.Line}
		}
	}
	// A tag without a team is no exception: nobody answers for it.
	if r.ExceptionsFromTags && f.Team != "" && slices.Contains(f.Tags, exceptTag+"="+check.ID) {
		found = &Exception{Owner: f.Team, Reason: "tag " + exceptTag + "=" + check.ID}
	}
	return found
}

func excepts(e *config.Exception, f *Function) bool {
	return matches(e.Function, f.Name) && matches(e.Namespace, f.Namespace) &&
		(matches(e.Project, f.Project) || matches(e.Project, f.ProjectID)) &&
		(e.Tag == "" || slices.Contains(f.Tags, e.Tag))
}

// matches tells whether name matches the glob. The configuration has checked
// the pattern.
func matches(pattern, name string) bool {
	ok, _ := path.Match(pattern, name)
	return ok
}

// judge fills in the findings of f, worst first.
func (r Rules) judge(f *Function, now time.Time) {
	for _, check := range Checks {
		what, found := check.detect(f, now)
		if !found {
			continue
		}
		finding := Finding{Check: check, What: what, Exception: r.except(f, check)}
		if check.subjects != nil {
			finding.Subjects = check.subjects(f, now)
		}
		if finding.Exception != nil && !finding.Exception.Lapsed(now) {
			f.Excepted = append(f.Excepted, finding)
		} else {
			f.Findings = append(f.Findings, finding)
		}
	}
}

// exceptionLog says each thing about the exceptions once.
type exceptionLog struct {
	lapsed      map[int]bool // by line
	saidUnused  bool
	saidNoOwner bool
}

// review says which exceptions have lapsed and, once everything has been read
// (complete), which ones match nothing.
func (l *exceptionLog) review(log *slog.Logger, rules Rules, functions []Function, complete bool, now time.Time) {
	used := map[int]bool{}
	var unowned []string
	for i := range functions {
		f := &functions[i]
		for _, finding := range slices.Concat(f.Findings, f.Excepted) {
			e := finding.Exception
			if e == nil {
				continue
			}
			used[e.line] = true
			if e.line != 0 && e.Lapsed(now) && !l.lapsed[e.line] {
				if l.lapsed == nil {
					l.lapsed = map[int]bool{}
				}
				l.lapsed[e.line] = true
				log.Warn("an exception has lapsed; its findings are open again", append(f.attrs(),
					"check", finding.Check.ID, "owner", e.Owner, "expires", e.Expires.Format(time.DateOnly), "line", e.line)...)
			}
		}
		if rules.ExceptionsFromTags && f.Team == "" && slices.ContainsFunc(f.Tags, func(tag string) bool { return strings.HasPrefix(tag, exceptTag+"=") }) {
			unowned = append(unowned, f.Name)
		}
	}
	if !complete {
		return
	}
	if !l.saidUnused {
		l.saidUnused = true
		for _, e := range rules.Exceptions {
			if !used[e.Line] {
				log.Warn("an exception matches nothing", "line", e.Line, "checks", strings.Join(e.Checks, ","), "function", e.Function, "namespace", e.Namespace, "owner", e.Owner)
			}
		}
	}
	if len(unowned) > 0 && !l.saidNoOwner {
		l.saidNoOwner = true
		log.Warn("functions have the tag "+exceptTag+" and no team; nobody answers for their findings, so they stay open", "functions", strings.Join(unowned, ","))
	}
}

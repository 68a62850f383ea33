package collector

import (
	"bytes"
	"log/slog"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/scwatch/scwatch/internal/config"
)

func exception(line int, change func(*config.Exception)) config.Exception {
	e := config.Exception{
		Checks: []string{"function_public"}, Function: "*", Namespace: "*", Project: "*",
		Owner: "payments", Reason: "Stripe webhooks", Expires: noon.AddDate(0, 1, 0), Line: line,
	}
	change(&e)
	return e
}

func TestExceptions(t *testing.T) {
	public := Function{Project: "payments", ProjectID: "6b3d", Namespace: "shop", Name: "webhook-stripe", Team: "web",
		Tags: []string{"team=web", "open", "scwatch-allow=function_public"}, Privacy: privacyPublic, PrivateNetwork: true}
	for name, test := range map[string]struct {
		exceptions []config.Exception
		fromTags   bool
		change     func(*Function)
		owner      string // empty: the finding is open and nobody answers for it
		expires    time.Time
		open       bool
	}{
		"none":                   {open: true},
		"by everything":          {exceptions: []config.Exception{exception(1, func(*config.Exception) {})}, owner: "payments", expires: noon.AddDate(0, 1, 0)},
		"by the function's glob": {exceptions: []config.Exception{exception(1, func(e *config.Exception) { e.Function = "webhook-*" })}, owner: "payments", expires: noon.AddDate(0, 1, 0)},
		"another function":       {exceptions: []config.Exception{exception(1, func(e *config.Exception) { e.Function = "cart*" })}, open: true},
		"another namespace":      {exceptions: []config.Exception{exception(1, func(e *config.Exception) { e.Namespace = "x" })}, open: true},
		"by the project's name":  {exceptions: []config.Exception{exception(1, func(e *config.Exception) { e.Project = "pay*" })}, owner: "payments", expires: noon.AddDate(0, 1, 0)},
		"by the project's ID":    {exceptions: []config.Exception{exception(1, func(e *config.Exception) { e.Project = "6b3d" })}, owner: "payments", expires: noon.AddDate(0, 1, 0)},
		"by tag":                 {exceptions: []config.Exception{exception(1, func(e *config.Exception) { e.Tag = "open" })}, owner: "payments", expires: noon.AddDate(0, 1, 0)},
		"by a tag it has not":    {exceptions: []config.Exception{exception(1, func(e *config.Exception) { e.Tag = "ope" })}, open: true},
		"for another check":      {exceptions: []config.Exception{exception(1, func(e *config.Exception) { e.Checks = []string{"function_in_error"} })}, open: true},
		"at its end":             {exceptions: []config.Exception{exception(1, func(e *config.Exception) { e.Expires = noon })}, open: true, owner: "payments", expires: noon},
		"just before its end":    {exceptions: []config.Exception{exception(1, func(e *config.Exception) { e.Expires = noon.Add(time.Second) })}, owner: "payments", expires: noon.Add(time.Second)},
		"the longest of several": {exceptions: []config.Exception{
			exception(1, func(e *config.Exception) { e.Expires = noon.Add(-time.Hour) }),
			exception(2, func(e *config.Exception) { e.Owner, e.Function, e.Expires = "web", "webhook-*", noon.Add(time.Hour) }),
		}, owner: "web", expires: noon.Add(time.Hour)},
		"from a tag":                    {fromTags: true, owner: "web"},
		"from a tag, without a team":    {fromTags: true, change: func(f *Function) { f.Team = "" }, open: true},
		"from a tag for another":        {fromTags: true, change: func(f *Function) { f.Tags = []string{"scwatch-allow=function_in_error"} }, open: true},
		"a tag, where that is off":      {open: true},
		"a tag counts more than a file": {fromTags: true, exceptions: []config.Exception{exception(1, func(*config.Exception) {})}, owner: "web"},
	} {
		t.Run(name, func(t *testing.T) {
			f := public
			if test.change != nil {
				test.change(&f)
			}
			Rules{Exceptions: test.exceptions, ExceptionsFromTags: test.fromTags}.judge(&f, noon)
			found := f.Excepted
			if test.open {
				found = f.Findings
			}
			if len(f.Findings)+len(f.Excepted) != 1 || len(found) != 1 {
				t.Fatalf("open %v, excepted %v; want one, open: %v", f.Findings, f.Excepted, test.open)
			}
			e := found[0].Exception
			if test.owner == "" {
				if e != nil {
					t.Errorf("%s answers for it, want nobody", e.Owner)
				}
				return
			}
			if e == nil || e.Owner != test.owner || !e.Expires.Equal(test.expires) {
				t.Fatalf("exception %+v, want %s until %s", e, test.owner, test.expires)
			}
			if want := float64(test.expires.Unix()); test.expires.IsZero() {
				if !math.IsInf(e.expiry(), 1) {
					t.Errorf("expiry %v, want +Inf", e.expiry())
				}
			} else if e.expiry() != want {
				t.Errorf("expiry %v, want %v", e.expiry(), want)
			}
		})
	}
}

// Each thing is said once, and what matches nothing only when all was read.
func TestExceptionLog(t *testing.T) {
	rules := Rules{ExceptionsFromTags: true, Exceptions: []config.Exception{
		exception(4, func(e *config.Exception) { e.Function, e.Expires = "open", noon.Add(time.Hour) }),
		exception(5, func(e *config.Exception) { e.Function = "nobody" }),
	}}
	functions := func(now time.Time) []Function {
		open := Function{Name: "open", Privacy: privacyPublic, PrivateNetwork: true, Tags: []string{"scwatch-allow=function_public"}}
		rules.judge(&open, now)
		return []Function{open}
	}
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, nil))
	var l exceptionLog
	said := func(complete bool, now time.Time) string {
		out.Reset()
		l.review(log, rules, functions(now), complete, now)
		return out.String()
	}
	if got := said(false, noon); got != "" {
		t.Errorf("before all was read: %s", got)
	}
	got := said(true, noon)
	if !strings.Contains(got, `"an exception matches nothing" line=5`) || strings.Contains(got, "line=4") || !strings.Contains(got, "no team") {
		t.Errorf("when all was read: %s", got)
	}
	if got := said(true, noon); got != "" {
		t.Errorf("again: %s", got)
	}
	if got := said(true, noon.Add(time.Hour)); strings.Count(got, "an exception has lapsed") != 1 || !strings.Contains(got, "line=4") {
		t.Errorf("at its end: %s", got)
	}
	if got := said(true, noon.Add(2*time.Hour)); got != "" {
		t.Errorf("after its end: %s", got)
	}
}

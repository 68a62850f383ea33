// Package page shows a snapshot to people, as one page of HTML without a script
// and without anything from elsewhere.
package page

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/scwatch/scwatch/collector"
	"github.com/scwatch/scwatch/collector/report"
)

// checkPages is where each check has its page.
const checkPages = "https://github.com/scwatch/scwatch/blob/main/docs/checks/"

// rows is how many functions, or findings, one page lists.
const rows = 100

// Options are what the page is made of. All fields are required.
type Options struct {
	Version  string
	Gatherer prometheus.Gatherer // what the daemon says of itself
	Guarded  bool                // whoever gets here has been authenticated
	Now      func() time.Time
}

// Page serves the last snapshot that was published to it.
type Page struct {
	Options
	last atomic.Pointer[published]
}

// published is a snapshot with its report, which is made when it is asked for.
type published struct {
	*collector.Snapshot
	json func() ([]byte, error)
}

// New returns a page that shows no function yet.
func New(o Options) *Page {
	p := &Page{Options: o}
	p.Publish(&collector.Snapshot{})
	return p
}

// Publish makes s what is shown.
func (p *Page) Publish(s *collector.Snapshot) {
	p.last.Store(&published{s, sync.OnceValues(func() ([]byte, error) {
		var b bytes.Buffer
		err := report.New(s.Posture(), report.Filter{}).WriteJSON(&b)
		return b.Bytes(), err
	})})
}

//go:embed page.html
var source string

//go:embed page.css
var style string

var (
	layout    = template.Must(template.New("page").Parse(source))
	styleHash = func() string {
		sum := sha256.Sum256([]byte(style))
		return base64.StdEncoding.EncodeToString(sum[:])
	}()
)

// Before shows the page to those who may see what is weak, and landing to all
// others.
func (p *Page) Before(landing http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p.Guarded || isLocal(r) {
			p.serve(w, r)
			return
		}
		landing.ServeHTTP(w, r)
	})
}

// serve answers GET /, and GET /?format=json with the audit's report.
func (p *Page) serve(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Content-Security-Policy", "default-src 'none'; style-src 'sha256-"+styleHash+"'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Cache-Control", "no-store")
	last := p.last.Load()
	if r.URL.Query().Get("format") == "json" {
		body, err := last.json()
		if err != nil {
			http.Error(w, "the report cannot be made: "+err.Error(), http.StatusInternalServerError)
			return
		}
		header.Set("Content-Type", "application/json")
		w.Write(body)
		return
	}
	var b bytes.Buffer
	if err := layout.Execute(&b, p.view(last.Snapshot, r.URL.Query())); err != nil {
		http.Error(w, "the page cannot be made: "+err.Error(), http.StatusInternalServerError)
		return
	}
	header.Set("Content-Type", "text/html; charset=utf-8")
	w.Write(b.Bytes())
}

// isLocal tells whether the client is on this machine. Behind a proxy on this
// machine it is not.
func isLocal(r *http.Request) bool {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	ip := net.ParseIP(host)
	return err == nil && ip != nil && ip.IsLoopback() && r.Header.Get("X-Forwarded-For") == "" && r.Header.Get("Forwarded") == ""
}

// view is what the template shows.
type view struct {
	Style     template.CSS
	Version   string
	Sentence  string
	Unread    []unit
	Filter    filter
	Narrowed  bool
	Findings  []finding
	MoreFound int // findings that are not listed
	Functions []function
	Found     int // functions that the filter lets through
	Previous  string
	Next      string
	Units     []unit
	Own       []fact
	Excepted  []finding
}

// filter is what the form narrows to. An empty field lets all through.
type filter struct {
	Project, Region, Namespace, Check, Text string
	Page                                    int
}

type finding struct {
	Severity, Check, Link, What                string
	Function, Namespace, Project, Region, Team string
	Owner, Reason, Left                        string // of an exception
}

type function struct {
	Worst                                  string
	Name, Namespace, Project, Region, Team string
	Privacy, Since, Status, Runtime        string
	Open, Excepted                         int
	Secrets, ClearText                     int
	Rejected                               string
}

type unit struct{ Source, Project, Region, State, Last, Error string }

type fact struct{ Name, Value string }

func (p *Page) view(s *collector.Snapshot, query url.Values) view {
	now := p.Now()
	f := filter{Project: query.Get("project"), Region: query.Get("region"), Namespace: query.Get("namespace"), Check: query.Get("check"), Text: query.Get("text"), Page: 1}
	if n, err := strconv.Atoi(query.Get("page")); err == nil && n > 1 {
		f.Page = n
	}
	v := view{Style: template.CSS(style), Version: p.Version, Filter: f, Narrowed: f != filter{Page: f.Page}, Own: p.own(now)}
	names := map[string]string{}
	var through []*collector.Function
	public, open := 0, 0
	for i := range s.Functions {
		fn := &s.Functions[i]
		names[fn.ProjectID] = fn.Project
		if fn.Public() {
			public++
		}
		open += len(fn.Findings)
		if f.lets(fn) {
			through = append(through, fn)
		}
	}
	slices.SortStableFunc(through, func(a, b *collector.Function) int { return cmp.Compare(worst(a), worst(b)) })
	v.list(through, now)
	for _, u := range s.Units {
		shown := unit{Source: u.Source, Project: cmp.Or(names[u.ProjectID], u.ProjectID), Region: u.Region, State: "read", Last: ago(now, u.LastSuccess)}
		if !u.Up {
			shown.State = "not read"
			if u.Error != nil {
				shown.Error = u.Error.Error()
			}
			v.Unread = append(v.Unread, shown)
		}
		v.Units = append(v.Units, shown)
	}
	v.Sentence = fmt.Sprintf("%s, %d of them public, with %s, as of %s.", counted(len(s.Functions), "function"), public, counted(open, "open finding"), ago(now, s.At))
	if s.At.IsZero() {
		v.Sentence = "Nothing has been read yet."
	}
	v.paginate(query)
	return v
}

// list fills in findings and functions, of the filter's page.
func (v *view) list(through []*collector.Function, now time.Time) {
	v.Found = len(through)
	last := max(1, (len(through)+rows-1)/rows)
	v.Filter.Page = min(v.Filter.Page, last)
	from := (v.Filter.Page - 1) * rows
	for _, fn := range through[from:min(from+rows, len(through))] {
		v.Functions = append(v.Functions, shownFunction(fn, now))
	}
	var open []openFinding
	for _, fn := range through {
		for _, found := range fn.Findings {
			if v.Filter.Check == "" || v.Filter.Check == found.Check.ID {
				open = append(open, openFinding{fn, found})
			}
		}
		for _, found := range fn.Excepted {
			if len(v.Excepted) < rows {
				v.Excepted = append(v.Excepted, shownFinding(fn, found, now))
			}
		}
	}
	slices.SortStableFunc(open, func(a, b openFinding) int { return cmp.Compare(rank(a.found.Check), rank(b.found.Check)) })
	for _, o := range open[:min(rows, len(open))] {
		v.Findings = append(v.Findings, shownFinding(o.of, o.found, now))
	}
	v.MoreFound = len(open) - len(v.Findings)
}

type openFinding struct {
	of    *collector.Function
	found collector.Finding
}

// rank is the place of a check's severity, worst first.
func rank(c *collector.Check) int { return slices.Index(collector.Severities, c.Severity) }

func (v *view) paginate(query url.Values) {
	to := func(page int) string {
		q := url.Values{}
		for key := range query {
			q.Set(key, query.Get(key))
		}
		q.Set("page", strconv.Itoa(page))
		return "?" + q.Encode() + "#functions"
	}
	if v.Filter.Page > 1 {
		v.Previous = to(v.Filter.Page - 1)
	}
	if v.Filter.Page*rows < v.Found {
		v.Next = to(v.Filter.Page + 1)
	}
}

// lets tells whether a function is shown.
func (f filter) lets(fn *collector.Function) bool {
	return (f.Project == "" || f.Project == fn.ProjectID || strings.EqualFold(f.Project, fn.Project)) &&
		(f.Region == "" || f.Region == fn.Region) &&
		(f.Namespace == "" || f.Namespace == fn.Namespace) &&
		(f.Text == "" || strings.Contains(strings.ToLower(fn.Name+" "+fn.Namespace+" "+fn.Team), strings.ToLower(f.Text))) &&
		(f.Check == "" || slices.ContainsFunc(fn.Findings, func(found collector.Finding) bool { return found.Check.ID == f.Check }))
}

// worst is the place of a function's worst finding among the severities; those
// without one come last.
func worst(fn *collector.Function) int {
	if len(fn.Findings) == 0 {
		return len(collector.Severities)
	}
	return rank(fn.Findings[0].Check)
}

func shownFunction(fn *collector.Function, now time.Time) function {
	shown := function{
		Name: fn.Name, Namespace: fn.Namespace, Project: fn.Project, Region: fn.Region, Team: fn.Team,
		Privacy: fn.Privacy, Status: fn.Status, Runtime: fn.Runtime, Open: len(fn.Findings), Excepted: len(fn.Excepted), Worst: "none",
	}
	if len(fn.Findings) > 0 {
		shown.Worst = string(fn.Findings[0].Check.Severity)
	}
	if !fn.PublicSince.IsZero() {
		shown.Since = ago(now, fn.PublicSince)
	}
	for _, variables := range fn.Variables {
		shown.Secrets += variables.Secrets
		shown.ClearText += variables.Count
	}
	if fn.Rejected != nil {
		calls := 0.0
		for _, n := range fn.Rejected {
			calls += n
		}
		shown.Rejected = strconv.FormatFloat(calls, 'f', 0, 64)
	}
	return shown
}

func shownFinding(fn *collector.Function, found collector.Finding, now time.Time) finding {
	shown := finding{
		Severity: string(found.Check.Severity), Check: found.Check.ID, Link: checkPages + found.Check.ID + ".md", What: found.What,
		Function: fn.Name, Namespace: fn.Namespace, Project: fn.Project, Region: fn.Region, Team: fn.Team,
	}
	if e := found.Exception; e != nil {
		shown.Owner, shown.Reason, shown.Left = e.Owner, e.Reason, "no end"
		if e.Lapsed(now) {
			shown.Left = "has ended"
		} else if !e.Expires.IsZero() {
			shown.Left = counted(int(e.Expires.Sub(now).Hours()/24), "day")
		}
	}
	return shown
}

// facts are what the daemon says of itself, with how a value is read.
var facts = []struct {
	metric, name string
	read         func(value float64, now time.Time) string
}{
	{"scwatch_push_last_success_timestamp_seconds", "last push", since},
	{"scwatch_push_verified_timestamp_seconds", "last push read back", since},
	{"scwatch_push_spool_bytes", "bytes that wait to be pushed", number},
	{"scwatch_forecast_samples_per_month", "samples a month", number},
	{"scwatch_forecast_eur_per_month", "euros a month for them", func(v float64, _ time.Time) string { return strconv.FormatFloat(v, 'f', 2, 64) }},
	{"scwatch_drift", "provisioned objects that differ", number},
}

func since(v float64, now time.Time) string {
	if v == 0 {
		return "never"
	}
	return ago(now, time.Unix(int64(v), 0))
}

func number(v float64, _ time.Time) string { return strconv.FormatFloat(v, 'f', 0, 64) }

// own gathers the facts. What is not exported is not known, and not shown.
func (p *Page) own(now time.Time) []fact {
	families, _ := p.Gatherer.Gather() // what could be gathered
	var all []fact
	for _, f := range facts {
		for _, family := range families {
			if family.GetName() != f.metric || len(family.Metric) == 0 {
				continue
			}
			sum := 0.0
			for _, m := range family.Metric {
				sum += m.GetGauge().GetValue()
			}
			all = append(all, fact{f.name, f.read(sum, now)})
		}
	}
	return all
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}

// ago is a time as people say it.
func ago(now, at time.Time) string {
	if at.IsZero() {
		return "never"
	}
	switch passed := now.Sub(at); {
	case passed < time.Minute:
		return counted(max(0, int(passed.Seconds())), "second") + " ago"
	case passed < time.Hour:
		return counted(int(passed.Minutes()), "minute") + " ago"
	case passed < 48*time.Hour:
		return counted(int(passed.Hours()), "hour") + " ago"
	default:
		return counted(int(passed.Hours()/24), "day") + " ago"
	}
}

// Package page is the daemon's status page: a snapshot as HTML for people.
package page

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/scwatch/scwatch/collector"
	"github.com/scwatch/scwatch/collector/report"
	"github.com/scwatch/scwatch/internal/printable"
)

//go:embed page.css
var style string

//go:embed page.html
var markup string

var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"text": text, "explain": explain, "link": report.CheckPage, "count": count, "stamp": stamp,
}).Parse(markup))

// policy lets the page's own style through and nothing else.
var policy = func() string {
	sum := sha256.Sum256([]byte(style))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
}()

// perPage is how many rows of a table a page has.
const perPage = 100

// How much of a text is shown, in characters. An error ends with what to do.
const (
	longest      = 200
	longestError = 2000
)

// New returns the page on what snapshot returns. own has the metrics of pushing
// and of drift.
func New(snapshot func() *collector.Snapshot, own prometheus.Gatherer, now func() time.Time) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Content-Security-Policy", policy)
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("X-Frame-Options", "DENY")
		header.Set("Referrer-Policy", "no-referrer")
		header.Set("Cache-Control", "no-store")
		s := snapshot()
		switch format := r.URL.Query().Get("format"); format {
		case "":
			writeHTML(w, r.URL.Query(), s, own, now())
		case "json":
			writeJSON(w, s)
		default:
			http.Error(w, "The page has no such format; there is json.", http.StatusBadRequest)
		}
	})
}

func writeHTML(w http.ResponseWriter, query url.Values, s *collector.Snapshot, own prometheus.Gatherer, now time.Time) {
	families, err := own.Gather()
	if err != nil {
		http.Error(w, "gather the daemon's own metrics: "+err.Error(), http.StatusInternalServerError)
		return
	}
	var b bytes.Buffer
	if err := page.Execute(&b, newView(s, newFilter(query), families, now)); err != nil {
		http.Error(w, "render the page: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Write(b.Bytes()) // a reader who left needs nothing
}

// writeJSON answers what scwatch audit --format=json writes. Before anything was
// read there is no report: an empty one would look clean.
func writeJSON(w http.ResponseWriter, s *collector.Snapshot) {
	if s.At.IsZero() {
		http.Error(w, "nothing has been read yet", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	report.New(s.Posture(), report.Filter{}).WriteJSON(w)
}

// filter is what the form asks for.
type filter struct {
	Project, Region, Namespace, Check, Text, Sort string
	pages                                         map[string]int
}

// The tables that have pages of their own, as the query names them.
const (
	findingsTable   = "findings"
	functionsTable  = "functions"
	exceptionsTable = "exceptions"
	unitsTable      = "units"
)

func newFilter(query url.Values) filter {
	f := filter{
		Project: query.Get("project"), Region: query.Get("region"), Namespace: query.Get("namespace"),
		Check: query.Get("check"), Text: query.Get("text"), Sort: query.Get("sort"), pages: map[string]int{},
	}
	for _, table := range []string{findingsTable, functionsTable, exceptionsTable, unitsTable} {
		f.pages[table], _ = strconv.Atoi(query.Get(table)) // what is no number is the first
	}
	return f
}

// Narrows tells whether f leaves anything out.
func (f filter) Narrows() bool {
	return f.Project+f.Region+f.Namespace+f.Check+f.Text != ""
}

func (f filter) query() url.Values {
	query := url.Values{}
	for name, value := range map[string]string{"project": f.Project, "region": f.Region, "namespace": f.Namespace, "check": f.Check, "text": f.Text, "sort": f.Sort} {
		if value != "" {
			query.Set(name, value)
		}
	}
	for table, n := range f.pages {
		if n > 1 {
			query.Set(table, strconv.Itoa(n))
		}
	}
	return query
}

func (f filter) function(fn *collector.Function) bool {
	return (f.Project == "" || f.Project == fn.Project || f.Project == fn.ProjectID) &&
		(f.Region == "" || f.Region == fn.Region) &&
		(f.Namespace == "" || f.Namespace == fn.Namespace) &&
		(f.Text == "" || f.mentions(fn))
}

func (f filter) mentions(fn *collector.Function) bool {
	wanted := strings.ToLower(f.Text)
	holds := func(s string) bool { return strings.Contains(strings.ToLower(s), wanted) }
	return holds(fn.Name) || holds(fn.Namespace) || holds(fn.Project) || holds(fn.Team) || holds(fn.Runtime) ||
		holds(fn.ID) || holds(fn.Domain) || slices.ContainsFunc(fn.Tags, holds)
}

// orders are the ways to sort the functions; the first is that of the snapshot.
var orders = []struct {
	Name, Title string
	compare     func(a, b *collector.Function) int
}{
	{"", "project, region, namespace, name", func(a, b *collector.Function) int { return 0 }},
	{"name", "name", func(a, b *collector.Function) int { return cmp.Compare(a.Name, b.Name) }},
	{"findings", "most findings", func(a, b *collector.Function) int { return cmp.Compare(len(b.Findings), len(a.Findings)) }},
	{"rejected", "most rejected calls", func(a, b *collector.Function) int { return cmp.Compare(rejected(b), rejected(a)) }},
	{"updated", "changed last", func(a, b *collector.Function) int { return b.Updated.Compare(a.Updated) }},
}

// rejected is how many calls were; -1 where they are not counted.
func rejected(fn *collector.Function) float64 {
	if fn.Rejected == nil {
		return -1
	}
	sum := 0.0
	for _, n := range fn.Rejected {
		sum += n
	}
	return sum
}

// slice is what a page of a table shows.
type slice struct {
	ID, Title       string
	From, To, Of    int
	Previous, Next  string // addresses; empty: there is none
	Number, Numbers int
}

// cut returns the rows of the page of table that f asks for.
func cut[T any](f filter, table, title string, rows []T) (slice, []T) {
	pages := max(1, (len(rows)+perPage-1)/perPage)
	n := min(max(1, f.pages[table]), pages)
	from, to := (n-1)*perPage, min(n*perPage, len(rows))
	s := slice{ID: table, Title: title, From: from + 1, To: to, Of: len(rows), Number: n, Numbers: pages}
	address := func(n int) string {
		query := f.query()
		query.Set(table, strconv.Itoa(n))
		return "?" + query.Encode() + "#" + table
	}
	if n > 1 {
		s.Previous = address(n - 1)
	}
	if n < pages {
		s.Next = address(n + 1)
	}
	return s, rows[from:to]
}

// text is other people's text as it can be shown: printable, and not endless.
func text(s string) string { return shorten(s, longest) }

// explain is the same for an error.
func explain(s string) string { return shorten(s, longestError) }

func shorten(s string, most int) string {
	if len(s) > most {
		if runes := []rune(s); len(runes) > most {
			s = string(runes[:most]) + "…"
		}
	}
	return printable.Line(s)
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

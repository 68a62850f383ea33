package report

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"io"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/owenrumney/go-sarif/v3/pkg/report/v210/sarif"
	"github.com/xeipuuv/gojsonschema"

	"github.com/scwatch/scwatch/collector"
	"github.com/scwatch/scwatch/internal/config"
	"github.com/scwatch/scwatch/internal/printable"
)

var noon = time.Date(2026, 11, 2, 12, 0, 0, 0, time.UTC)

// check is a row of the table of checks.
func check(id string) *collector.Check {
	for _, c := range collector.Checks {
		if c.ID == id {
			return c
		}
	}
	panic("no check " + id)
}

// function is a public one with that name.
func function(name string) collector.Function {
	return collector.Function{
		ProjectID: "11111111-0000-4000-8000-000000000001", Project: "platform", Region: "fr-par",
		NamespaceID: "22222222-0000-4000-8000-000000000001", Namespace: "shop", ID: "33333333-0000-4000-8000-000000000001",
		Name: name, Privacy: "public", Tags: []string{"team=web"}, Team: "web", Created: noon.Add(-time.Hour),
		Findings: []collector.Finding{{Check: check("function_public"), What: "anybody can call it"}},
	}
}

// leaking is function with variables that look like secrets.
func leaking(name string, variables ...string) collector.Function {
	f := function(name)
	f.Findings = append([]collector.Finding{{Check: check("function_plaintext_secret"), What: "looks like a secret: " + strings.Join(variables, ", "), Subjects: variables}}, f.Findings...)
	return f
}

func excepted(f collector.Function, e collector.Exception) collector.Function {
	for _, finding := range f.Findings {
		finding.Exception = &e
		f.Excepted = append(f.Excepted, finding)
	}
	f.Findings = nil
	return f
}

func snapshot(functions ...collector.Function) *collector.Snapshot {
	return &collector.Snapshot{At: noon, Functions: functions, Units: []collector.UnitStatus{
		{Unit: collector.Unit{ProjectID: "11111111-0000-4000-8000-000000000001", Region: "fr-par", Source: "functions"}, Up: true, Tried: true, LastSuccess: noon},
	}}
}

// failing is s with a region that is down.
func failing(s *collector.Snapshot, reason string) *collector.Snapshot {
	s.Units = append(s.Units,
		collector.UnitStatus{Unit: collector.Unit{ProjectID: "11111111-0000-4000-8000-000000000001", Region: "pl-waw", Source: "functions"}, Tried: true,
			Error: &collector.APIError{Attempted: "list the namespaces", Status: 500, Reason: reason, RequestID: "abc"}},
		collector.UnitStatus{Unit: collector.Unit{ProjectID: "11111111-0000-4000-8000-000000000001", Region: "pl-waw", Source: "tokens"}})
	return s
}

// nasty is what a name must not be able to do, in any format.
const nasty = "x\x1b[31m\x1b]0;owned\x07\r\n<script>alert(1)</script>|`*_[a](https://evil.example) @team #1 ]]>&\"'\\ : {0} # \u202egpj \u0085\u2028../.. *?[z"

func nastyReport() *Report {
	f := leaking(nasty, nasty)
	f.Namespace, f.Project, f.Team, f.Tags, f.Region = nasty, nasty, nasty, []string{nasty}, nasty
	f.ProjectID, f.ID, f.NamespaceID = "1 # "+nasty, "$(id)", "-rf"
	f.Findings[0].Exception = &collector.Exception{Owner: nasty, Reason: nasty, Expires: noon.Add(-time.Hour)}
	other := excepted(f, collector.Exception{Owner: nasty, Reason: nasty})
	return New(failing(snapshot(f, other), nasty), Filter{Tags: []string{nasty}})
}

func oneOfEach() map[string]*Report {
	earlier := New(snapshot(leaking("a", "DB_PASSWORD")), Filter{})
	since := New(snapshot(leaking("a", "DB_PASSWORD", "API_KEY"), function("b")), Filter{})
	since.Since(read(earlier))
	return map[string]*Report{
		"empty":    New(snapshot(), Filter{}),
		"findings": New(snapshot(leaking("a", "DB_PASSWORD"), excepted(function("b"), collector.Exception{Owner: "web", Reason: "a shop window", Expires: noon.AddDate(1, 0, 0)})), Filter{}),
		"partly":   New(failing(snapshot(function("a")), "internal error"), Filter{Regions: []string{"fr-par", "pl-waw"}}),
		"since":    since,
		"nasty":    nastyReport(),
	}
}

// read is what a later run reads of r.
func read(r *Report) *Earlier {
	e, err := ReadEarlier([]byte(text(r.WriteJSON)))
	if err != nil {
		panic(err)
	}
	return e
}

func text(write func(io.Writer) error) string {
	var b bytes.Buffer
	if err := write(&b); err != nil {
		panic(err)
	}
	return b.String()
}

// names are all ways to write a report.
var names = []string{"table", "narrow", "json", "sarif", "markdown", "junit", "exceptions"}

func write(r *Report, format string, w io.Writer) error {
	switch format {
	case "table":
		return r.WriteTable(w, Terminal{})
	case "narrow":
		return r.WriteTable(w, Terminal{Width: 80})
	case "json":
		return r.WriteJSON(w)
	case "sarif":
		return r.WriteSARIF(w, "1.2.3")
	case "markdown":
		return r.WriteMarkdown(w)
	case "junit":
		return r.WriteJUnit(w, collector.High)
	default:
		return r.WriteExceptions(w, "web", "2999-01-31")
	}
}

// formats is r in all of them.
func formats(r *Report) map[string]string {
	all := map[string]string{}
	for _, name := range names {
		all[name] = text(func(w io.Writer) error { return write(r, name, w) })
	}
	return all
}

// What is written as JSON is what its schema says, and has nothing that the
// schema does not know.
func TestJSONIsAsItsSchemaSays(t *testing.T) {
	data, err := os.ReadFile("../../docs/audit.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var document any
	if err := json.Unmarshal(data, &document); err != nil {
		t.Fatal(err)
	}
	closeObjects(document)
	schema, err := gojsonschema.NewSchema(gojsonschema.NewGoLoader(document))
	if err != nil {
		t.Fatal(err)
	}
	for name, r := range oneOfEach() {
		result, err := schema.Validate(gojsonschema.NewStringLoader(formats(r)["json"]))
		if err != nil {
			t.Fatal(err)
		}
		for _, problem := range result.Errors() {
			t.Errorf("%s: %s", name, problem)
		}
	}
}

// closeObjects makes every object of a schema one without further keys, which readers
// are to bear and the test is not.
func closeObjects(schema any) {
	switch node := schema.(type) {
	case map[string]any:
		if _, ok := node["properties"]; ok && node["type"] == "object" {
			node["additionalProperties"] = false
		}
		for _, child := range node {
			closeObjects(child)
		}
	case []any:
		for _, child := range node {
			closeObjects(child)
		}
	}
}

// SARIF goes by the standard's own schema.
func TestSARIFIsValid(t *testing.T) {
	schema, err := gojsonschema.NewSchema(gojsonschema.NewStringLoader(sarifSchema(t)))
	if err != nil {
		t.Fatal(err)
	}
	for name, r := range oneOfEach() {
		written := formats(r)["sarif"]
		result, err := schema.Validate(gojsonschema.NewStringLoader(written))
		if err != nil {
			t.Fatal(err)
		}
		for _, problem := range result.Errors() {
			t.Errorf("%s: %s", name, problem)
		}
		var log sarifLog
		if err := json.Unmarshal([]byte(written), &log); err != nil {
			t.Fatal(err)
		}
		run := log.Runs[0]
		if len(run.Tool.Driver.Rules) != len(collector.Checks) {
			t.Errorf("%s: %d rules, want those of all %d checks", name, len(run.Tool.Driver.Rules), len(collector.Checks))
		}
		if run.Invocations[0].ExecutionSuccessful != r.Complete || r.Complete != (len(r.Unread) == 0) {
			t.Errorf("%s: executionSuccessful is %v", name, run.Invocations[0].ExecutionSuccessful)
		}
		if got, want := len(run.Results), len(r.Findings)+len(r.Excepted); got != want {
			t.Errorf("%s: %d results, want %d", name, got, want)
		}
		for i, result := range run.Results {
			if rule := run.Tool.Driver.Rules[result.RuleIndex]; rule.ID != result.RuleID {
				t.Errorf("%s: the rule at %d is %s, not %s", name, result.RuleIndex, rule.ID, result.RuleID)
			}
			if suppressed := i >= len(r.Findings); suppressed != (len(result.Suppressions) > 0) {
				t.Errorf("%s: result %d has the suppressions %v", name, i, result.Suppressions)
			}
			uri := result.Locations[0].Physical.Artifact.URI
			if parsed, err := url.Parse(uri); err != nil || parsed.IsAbs() || path.Clean(uri) != uri || !strings.HasPrefix(uri, "scaleway/") {
				t.Errorf("%s: the location %q", name, uri)
			}
		}
	}
}

// sarifSchema is the standard's schema as a SARIF library carries it in a
// constant of its own, for the text may not be handed on with this project.
func sarifSchema(t *testing.T) string {
	source, err := build.Import(reflect.TypeFor[sarif.Report]().PkgPath(), ".", build.FindOnly)
	if err != nil {
		t.Fatal(err)
	}
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(source.Dir, "schema.go"), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	text, err := strconv.Unquote(file.Scope.Lookup("schema").Decl.(*ast.ValueSpec).Values[0].(*ast.BasicLit).Value)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// What could not be read is the first thing that every format says, and a report
// without it says nothing of the kind.
func TestPartialFailureStandsAtTheTop(t *testing.T) {
	reports := oneOfEach()
	for format, written := range formats(reports["partly"]) {
		written = strings.Join(strings.Fields(written), " ") // a terminal breaks lines
		failure, finding := strings.Index(written, "internal error"), strings.Index(written, "function_public")
		if format == "sarif" {
			finding = strings.Index(written, `"results"`)
		}
		if failure < 0 || finding < failure {
			t.Errorf("%s: the failure stands at %d, the first finding at %d:\n%s", format, failure, finding, written)
		}
	}
	for format, written := range formats(reports["findings"]) {
		if strings.Contains(written, "INCOMPLETE") || format == "json" && !strings.Contains(written, `"complete": true`) {
			t.Errorf("%s is complete and says otherwise:\n%s", format, written)
		}
	}
	for format, written := range formats(New(failing(snapshot(), "internal error"), Filter{})) {
		if written = strings.Join(strings.Fields(written), " "); !strings.Contains(written, "internal error") {
			t.Errorf("%s without a finding looks clean:\n%s", format, written)
		}
	}
}

// Names and tags are other people's text: no format lets them do anything.
func TestHostileNamesAreHarmless(t *testing.T) {
	for format, written := range formats(nastyReport()) {
		for _, r := range written {
			if r != '\n' && !strconv.IsPrint(r) {
				t.Errorf("%s holds the character %U", format, r)
			}
		}
		var parsed any
		switch format {
		case "json", "sarif":
			if err := json.Unmarshal([]byte(written), &parsed); err != nil {
				t.Errorf("%s: %v", format, err)
			}
			if strings.Contains(written, "<script>") {
				t.Errorf("%s holds a tag", format)
			}
			if format == "sarif" { // whose texts are shown as they are
				eachText(parsed, func(text string) {
					if text != printable.Line(text) && !strings.Contains(text, "\n\nConsole: ") && !strings.Contains(text, "**In the console:**") {
						t.Errorf("%s has the text %q", format, text)
					}
					if strings.Contains(text, "[a](") && strings.HasPrefix(text, "Function ") {
						t.Errorf("%s has the link %q", format, text)
					}
				})
			}
		case "junit":
			if err := xml.Unmarshal([]byte(written), &junitSuites{}); err != nil {
				t.Errorf("%s: %v", format, err)
			}
		case "markdown":
			for _, active := range []string{"<script", "](https://evil", "evil.example", "@team", " #1 "} {
				if strings.Contains(written, active) {
					t.Errorf("%s holds %q", format, active)
				}
			}
			for line := range strings.Lines(written) {
				if n := strings.Count(line, "|"); strings.HasPrefix(line, "|") && n != 7 && n != 9 {
					t.Errorf("a row has %d bars: %s", n, line)
				}
			}
		case "exceptions":
			if _, err := config.Parse("", "", []byte(written), collector.CheckIDs()); err != nil {
				t.Errorf("%s: %v\n%s", format, err, written)
			}
		}
		// An ID that a shell could take for more is not put into a command.
		if format == "json" && strings.Contains(written, "update $(id)") || strings.Contains(written, "update -rf") {
			t.Errorf("%s has a command that does more than it says", format)
		}
	}
}

func eachText(value any, visit func(string)) {
	switch v := value.(type) {
	case map[string]any:
		for _, child := range v {
			eachText(child, visit)
		}
	case []any:
		for _, child := range v {
			eachText(child, visit)
		}
	case string:
		visit(v)
	}
}

// The address that a code-scanning page is given stays below its root.
func TestSARIFPath(t *testing.T) {
	for want, parts := range map[string][]string{
		"scaleway/id/fr-par/shop/cart":             {"scaleway", "id", "fr-par", "shop", "cart"},
		"scaleway/%2E%2E/%2E":                      {"scaleway", "..", "."},
		"scaleway/a%2Fb/%3Fc%23":                   {"scaleway", "a/b", "?c#"},
		"scaleway/gr%C3%B6%C3%9Fe/..%2F../%25%0A.": {"scaleway", "größe", "../..", "%\n."},
	} {
		if got := sarifPath(parts...); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// What --format=exceptions writes, the configuration reads, and it excepts what
// was open and nothing else.
func TestExceptionsAreReadBack(t *testing.T) {
	inParis, inWarsaw := function("a"), leaking("a", "DB_PASSWORD")
	inWarsaw.Region = "pl-waw"
	odd := function(`what*[0-9]?\`)
	turned := function("z\u202ez")
	r := New(snapshot(inParis, inWarsaw, odd, turned, excepted(function("b"), collector.Exception{Owner: "x", Reason: "y"})), Filter{})
	written := text(func(w io.Writer) error { return r.WriteExceptions(w, "team: web #1", "2999-01-31") })
	c, err := config.Parse("", "", []byte(written), collector.CheckIDs())
	if err != nil {
		t.Fatalf("%v\n%s", err, written)
	}
	if len(c.Exceptions) != 3 {
		t.Fatalf("%d exceptions, want one for each of three names:\n%s", len(c.Exceptions), written)
	}
	for i, want := range []config.Exception{
		{Checks: []string{"function_plaintext_secret", "function_public"}, Function: "a"},
		{Checks: []string{"function_public"}, Function: `what\*\[0-9]\?\\`},
		{Checks: []string{"function_public"}, Function: turned.Name},
	} {
		got := c.Exceptions[i]
		if got.Function != want.Function || !slices.Equal(got.Checks, want.Checks) || got.Owner != "team: web #1" ||
			got.Project != inParis.ProjectID || got.Namespace != "shop" || got.Expires.Format(time.DateOnly) != "2999-01-31" {
			t.Errorf("exception %d is %+v", i, got)
		}
	}
	if ok, err := path.Match(c.Exceptions[1].Function, odd.Name); !ok || err != nil {
		t.Errorf("%q does not match %q", c.Exceptions[1].Function, odd.Name)
	}
}

// Against an earlier report only what is new is told.
func TestSince(t *testing.T) {
	earlier := New(snapshot(leaking("a", "DB_PASSWORD"), excepted(function("b"), collector.Exception{Owner: "web", Reason: "y"})), Filter{})
	known := func(functions ...collector.Function) *Report {
		r := New(snapshot(functions...), Filter{})
		r.Since(read(earlier))
		return r
	}
	again := leaking("a", "DB_PASSWORD")
	again.ID = "44444444-0000-4000-8000-000000000001" // deleted, and created again
	elsewhere := leaking("a", "DB_PASSWORD")
	elsewhere.Region = "nl-ams"
	for name, test := range map[string]struct {
		now                   collector.Function
		open, excepted, known int
	}{
		"the same":                {leaking("a", "DB_PASSWORD"), 0, 0, 2},
		"created again":           {again, 0, 0, 2},
		"another region":          {elsewhere, 2, 0, 0},
		"one more variable":       {leaking("a", "API_KEY", "DB_PASSWORD"), 1, 0, 1},
		"another variable":        {leaking("a", "API_KEY"), 1, 0, 1},
		"another function":        {function("c"), 1, 0, 0},
		"an exception lapsed":     {function("b"), 1, 0, 0},
		"excepted since":          {excepted(leaking("a", "DB_PASSWORD"), collector.Exception{Owner: "x", Reason: "y"}), 0, 0, 2},
		"still excepted":          {excepted(function("b"), collector.Exception{Owner: "x", Reason: "y"}), 0, 0, 1},
		"excepted from its start": {excepted(function("d"), collector.Exception{Owner: "x", Reason: "y"}), 0, 1, 0},
	} {
		r := known(test.now)
		if len(r.Findings) != test.open || len(r.Excepted) != test.excepted || r.Baseline.Known != test.known || r.Totals.Open != test.open {
			t.Errorf("%s: %d open, %d excepted, %d known, want %d, %d, %d", name, len(r.Findings), len(r.Excepted), r.Baseline.Known, test.open, test.excepted, test.known)
		}
	}
	fewer := New(snapshot(leaking("a", "DB_PASSWORD", "API_KEY")), Filter{})
	r := New(snapshot(leaking("a", "API_KEY")), Filter{})
	r.Since(read(fewer))
	if len(r.Findings) != 0 {
		t.Errorf("one variable less than before is new: %v", r.Findings)
	}
}

func TestBadBaselines(t *testing.T) {
	since := oneOfEach()["since"]
	for want, data := range map[string]string{
		"it is not a report of scwatch audit --format=json":  "[]",
		"it is not a report of version 1 of the JSON format": `{"version": 2}`,
		"it was itself made with a baseline":                 text(since.WriteJSON),
	} {
		if _, err := ReadEarlier([]byte(data)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40s: %v, want %q", data, err, want)
		}
	}
}

// An incomplete baseline is said to be one, since all that it did not see is new.
func TestIncompleteBaselineIsSaid(t *testing.T) {
	r := New(snapshot(function("a")), Filter{})
	r.Since(read(New(failing(snapshot(), "internal error"), Filter{})))
	for format, written := range formats(r) {
		if !strings.Contains(written, "The baseline is incomplete") && !(format == "json" && strings.Contains(written, `"complete": false`)) {
			t.Errorf("%s does not say so:\n%s", format, written)
		}
	}
}

// Two functions that share all names are two findings.
func TestNamesakes(t *testing.T) {
	r := New(snapshot(function("a"), function("a")), Filter{})
	if r.Findings[0].Fingerprint == r.Findings[1].Fingerprint {
		t.Error("they share a fingerprint")
	}
}

// A finding's fingerprint is part of the format: were it to change, every result
// on a code-scanning page would be closed and opened anew.
func TestFingerprintStays(t *testing.T) {
	if got, want := New(snapshot(function("a")), Filter{}).Findings[0].Fingerprint, "1399742db549afa54676cb1e83873e8a"; got != want {
		t.Errorf("it is %s, and was %s", got, want)
	}
}

func TestThresholds(t *testing.T) {
	r := New(snapshot(leaking("a", "DB_PASSWORD"), function("b")), Filter{})
	for threshold, want := range map[collector.Severity]int{"critical": 1, "high": 3, "medium": 3, "info": 3, "never": 0} {
		if got := r.AtOrAbove(threshold); got != want {
			t.Errorf("%s: %d findings, want %d", threshold, got, want)
		}
	}
}

// On a terminal no line is longer than it is wide, but for one with a word that
// is, and colour changes nothing but the colour.
func TestTableFitsTheTerminal(t *testing.T) {
	f := leaking(strings.Repeat("long-name-", 8), "DB_PASSWORD", "API_KEY", "SIGNING_KEY")
	f.Namespace = strings.Repeat("namespace-", 5)
	r := New(failing(snapshot(f, function("größe")), "internal error"), Filter{})
	sgr := regexp.MustCompile("\x1b\\[[0-9;]*m")
	for _, width := range []int{50, 80, 132} {
		written := text(func(w io.Writer) error { return r.WriteTable(w, Terminal{Width: width}) })
		for line := range strings.Lines(written) {
			line = strings.TrimSuffix(line, "\n")
			if utf8.RuneCountInString(line) > width && len(strings.Fields(line)) > 2 {
				t.Errorf("wider than %d: %q", width, line)
			}
		}
		colored := text(func(w io.Writer) error { return r.WriteTable(w, Terminal{Width: width, Color: true}) })
		if colored == written || sgr.ReplaceAllString(colored, "") != written {
			t.Errorf("colour changes more than the colour:\n%s", colored)
		}
	}
}

// The same snapshot is the same bytes, whatever the order of a map.
func TestSameInputSameBytes(t *testing.T) {
	first := formats(nastyReport())
	for range 20 {
		for format, written := range formats(nastyReport()) {
			if written != first[format] {
				t.Fatalf("%s differs from one time to the next", format)
			}
		}
	}
}

func TestTimesOfTheAPIOnly(t *testing.T) {
	f := function("a")
	f.PublicSince, f.ErrorSince, f.OldestSecretSet = noon, noon, noon
	written := text(New(snapshot(f), Filter{}).WriteJSON)
	if strings.Contains(written, "2026-11-02T12") {
		t.Errorf("it holds when something was first seen:\n%s", written)
	}
	if !strings.Contains(written, `"created_at": "2026-11-02T11:00:00Z"`) || !strings.Contains(written, `"updated_at": null`) {
		t.Errorf("it lacks what the API tells:\n%s", written)
	}
}

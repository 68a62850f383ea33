package page

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/scwatch/scwatch/collector"
)

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// hostile is other people's text at its worst.
const hostile = "<script src=//evil.example.com></script>\"'><img src=x onerror=alert(1)>\u202e\n|`${x}"

func newPage(functions ...collector.Function) *Page {
	p := New(Options{Version: "1.2.3", Gatherer: prometheus.NewRegistry(), Now: func() time.Time { return now }})
	p.Publish(&collector.Snapshot{At: now.Add(-20 * time.Second), Functions: functions, Units: []collector.UnitStatus{
		{Unit: collector.Unit{ProjectID: "p", Region: "fr-par", Source: "functions"}, Up: true, LastSuccess: now.Add(-20 * time.Second)},
		{Unit: collector.Unit{ProjectID: "p", Region: "nl-ams", Source: "functions"}, Error: fmt.Errorf("list: 500: %s", hostile), LastSuccess: now.Add(-time.Hour)},
	}})
	return p
}

func posture(name string, check string) collector.Function {
	f := collector.Function{ProjectID: "p", Project: "shop", Region: "fr-par", Namespace: "ns", Name: name, Team: "web", Privacy: "private", Status: "ready"}
	for i := range collector.Checks {
		if collector.Checks[i].ID == check {
			f.Findings = []collector.Finding{{Check: collector.Checks[i], What: "it is so"}}
		}
	}
	return f
}

func get(p *Page, address, from string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, address, nil)
	r.RemoteAddr = from
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	p.Before(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "the plain page") })).ServeHTTP(w, r)
	return w
}

const local = "127.0.0.1:4000"

// What is weak is shown to this machine and behind authentication only.
func TestWhoMaySee(t *testing.T) {
	for name, test := range map[string]struct {
		from    string
		header  []string
		guarded bool
		seen    bool
	}{
		"this machine":          {from: local, seen: true},
		"this machine, IPv6":    {from: "[::1]:4000", seen: true},
		"another one":           {from: "192.0.2.1:4000"},
		"a proxy here":          {from: local, header: []string{"X-Forwarded-For", "192.0.2.1"}},
		"another, with a login": {from: "192.0.2.1:4000", guarded: true, seen: true},
		"nonsense":              {from: "x"},
	} {
		p := newPage(posture("checkout", "function_public"))
		p.Guarded = test.guarded
		for _, address := range []string{"/", "/?format=json"} {
			if body := get(p, address, test.from, test.header...).Body.String(); strings.Contains(body, "checkout") != test.seen || strings.Contains(body, "the plain page") == test.seen {
				t.Errorf("%s: %s\n%.300s", name, address, body)
			}
		}
	}
}

// The page says first how it stands, and what could not be read.
func TestSentence(t *testing.T) {
	public := posture("open", "function_public")
	public.Privacy = "public"
	body := get(newPage(public, posture("closed", "")), "/", local).Body.String()
	for _, want := range []string{"2 functions, 1 of them public, with 1 open finding, as of 20 seconds ago.", "Not everything could be read", "list: 500", "https://github.com/scwatch/scwatch/blob/main/docs/checks/function_public.md"} {
		if !strings.Contains(body, want) {
			t.Errorf("%q is not in the page", want)
		}
	}
	if body := get(New(Options{Gatherer: prometheus.NewRegistry(), Now: time.Now}), "/", local).Body.String(); !strings.Contains(body, "Nothing has been read yet.") {
		t.Error("before the first poll the page is not that it has read nothing")
	}
}

// Functions are sorted worst first, narrowed by the form, and listed page by page.
func TestFilterAndPages(t *testing.T) {
	var all []collector.Function
	for n := range 250 {
		all = append(all, posture(fmt.Sprintf("f-%03d", n), ""))
	}
	all = append(all, posture("worst", "function_plaintext_secret"))
	p := newPage(all...)
	first := get(p, "/", local).Body.String()
	if !strings.Contains(first, "251 in all, worst first; page 1.") || strings.Count(first, `<th scope="row">f-`) != 99 || strings.Contains(first, "Previous page") || !strings.Contains(first, "Next page") {
		t.Error("the first page is not that of the first hundred")
	}
	low, critical := posture("a-low", "function_sandbox_v1"), posture("b-critical", "function_plaintext_secret")
	low.Findings = append(critical.Findings, low.Findings...)
	if sorted := get(newPage(low, posture("c-high", "function_public")), "/", local).Body.String(); strings.Index(sorted, ">function_sandbox_v1<") < strings.Index(sorted, ">function_public<") {
		t.Error("a finding of severity info stands before one of severity high")
	}
	if last := get(p, "/?page=3", local).Body.String(); strings.Count(last, `<th scope="row">f-`) != 51 || strings.Contains(last, "Next page") {
		t.Error("the last page is not that of the last")
	}
	for query, want := range map[string]int{"text=F-01": 10, "project=shop": 251, "project=other": 0, "region=nl-ams": 0, "namespace=ns": 251, "check=function_plaintext_secret": 1, "page=999": 251, "page=x": 251} {
		body := get(p, "/?"+query, local).Body.String()
		if want > 0 && !strings.Contains(body, fmt.Sprintf("%d in all", want)) || want == 0 && strings.Contains(body, "in all") {
			t.Errorf("%s does not find %d", query, want)
		}
	}
}

// Nothing of other people's text is more than text, and nothing is fetched.
func TestHostileText(t *testing.T) {
	f := posture(hostile, "function_public")
	f.Namespace, f.Project, f.Team, f.Region, f.Status, f.Runtime, f.Privacy = hostile, hostile, hostile, hostile, hostile, hostile, hostile
	f.Findings[0].What = hostile
	f.Excepted = []collector.Finding{{Check: f.Findings[0].Check, What: hostile, Exception: &collector.Exception{Owner: hostile, Reason: hostile, Expires: now.Add(72 * time.Hour)}}}
	w := get(newPage(f), "/?text=%3Cscript%3E", local)
	body := get(newPage(f), "/", local).Body.String()
	for _, page := range []string{body, w.Body.String()} {
		if regexp.MustCompile(`(?i)<(script|img|iframe|object|link)|\son\w+=["']?[a-z]`).MatchString(strings.ReplaceAll(page, "&lt;", "")) && strings.Contains(page, "<script") {
			t.Error("other people's text became markup")
		}
		for _, address := range regexp.MustCompile(`(?:src|href|action)="([^"]*)"`).FindAllStringSubmatch(page, -1) {
			if a := address[1]; !strings.HasPrefix(a, "/") && !strings.HasPrefix(a, "#") && !strings.HasPrefix(a, "?") && !strings.HasPrefix(a, checkPages) {
				t.Errorf("the page leads to %s", a)
			}
		}
	}
	if strings.Contains(body, "<script") || strings.Contains(body, "<img") {
		t.Error("other people's text became markup")
	}
	for name, want := range map[string]string{
		"Content-Security-Policy": "default-src 'none'", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store",
	} {
		if got := w.Header().Get(name); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// What a screen reader needs: a language, one first heading, a caption for every
// table, a scope for every heading cell, a label for every field, no ID twice.
func TestAccessibility(t *testing.T) {
	body := get(newPage(posture("a", "function_public")), "/", local).Body.String()
	count := func(pattern string) int { return len(regexp.MustCompile(pattern).FindAllString(body, -1)) }
	for what, ok := range map[string]bool{
		"language":     count(`<html lang="en">`) == 1,
		"heading":      count(`<h1>`) == 1,
		"landmarks":    count(`<main>`) == 1 && count(`<header>`) == 1 && count(`<footer>`) == 1,
		"captions":     count(`<table>`) > 0 && count(`<table>`) == count(`<caption>`),
		"header cells": count(`<th[ >]`) == count(`<th scope="(col|row)">`),
		"labels":       count(`<input`) == count(`<label>[^<]+<input`),
		"skip link":    count(`class="skip" href="#findings"`) == 1,
	} {
		if !ok {
			t.Errorf("%s: the page has not what it needs", what)
		}
	}
	ids := map[string]bool{}
	for _, id := range regexp.MustCompile(` id="([^"]+)"`).FindAllStringSubmatch(body, -1) {
		if ids[id[1]] {
			t.Errorf("the ID %s is there twice", id[1])
		}
		ids[id[1]] = true
	}
}

// A real browser applies the style, which the policy allows by its hash, keeps
// quiet, and shows the hostile name as text.
func TestInChromium(t *testing.T) {
	browser, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal("chromium is not installed: run .ci/packages")
	}
	f := posture(hostile, "function_public")
	f.Privacy = "public"
	p := newPage(f, posture("checkout", "function_http_allowed"))
	server := httptest.NewServer(p.Before(http.NotFoundHandler()))
	defer server.Close()
	for _, width := range []string{"390", "820", "1440"} {
		shot := filepath.Join(t.TempDir(), "page.png")
		if dir := os.Getenv("SCWATCH_SCREENSHOTS"); dir != "" {
			shot = filepath.Join(dir, "page-"+width+".png")
		}
		command := exec.CommandContext(t.Context(), browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
			"--disable-component-update", "--disable-sync", "--enable-logging=stderr", "--v=0", "--user-data-dir="+t.TempDir(), "--window-size="+width+",1600", "--screenshot="+shot, server.URL)
		said, err := command.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, said)
		}
		if regexp.MustCompile(`CONSOLE|Refused to|evil\.example`).Match(said) {
			t.Errorf("the browser says\n%s", said)
		}
		if info, err := os.Stat(shot); err != nil || info.Size() < 10_000 {
			t.Errorf("the screenshot is %v, error %v", info, err)
		}
	}
}

// One page of 10,000 functions, each with a finding.
func BenchmarkPage(b *testing.B) {
	var all []collector.Function
	for n := range 10_000 {
		all = append(all, posture(fmt.Sprintf("function-%d", n), "function_public"))
	}
	p := newPage(all...)
	for b.Loop() {
		if get(p, "/?page=50", local).Code != http.StatusOK {
			b.Fatal("no page")
		}
	}
}

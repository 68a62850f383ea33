package collector

import (
	"bytes"
	"compress/gzip"
	"io"
	"log/slog"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"google.golang.org/protobuf/proto"

	"github.com/scwatch/scwatch/collector/push"
)

// golden compares got with testdata/name, and writes it there where
// SCWATCH_UPDATE is set.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if os.Getenv("SCWATCH_UPDATE") != "" {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got); SCWATCH_UPDATE=1 writes it anew:\n%s", path, diff)
	}
}

// postures are functions that between them have every posture.
func postures() []Function {
	three := 3
	base := Function{
		ProjectID: "6b3d3786-c7bd-47c8-b0e4-daabfa8f4e2e", Project: "payments", Region: "fr-par",
		NamespaceID: "efe72a18-22cb-47eb-87a2-6fcfbcd372d0", Namespace: "shop",
		Runtime: "go126", Sandbox: "v2", Privacy: privacyPrivate, HTTPOption: httpRedirected, Status: "ready",
		PrivateNetwork: true, MaxScale: 20, MemoryBytes: 256e6, CPUCores: 0.14, Timeout: 5 * time.Minute,
		Created: noon.Add(-48 * time.Hour), Updated: noon.Add(-24 * time.Hour), RuntimeStatus: "available",
		PrivacyChanges: map[string]uint64{}, Domains: []string{}, Crons: new(int),
		Tokens: map[string][]Token{},
	}
	with := func(name string, change func(*Function)) Function {
		f := base
		f.Name, f.ID, f.Domain = name, "00000000-0000-4000-8000-"+(name + "0000000000000")[:12], "shop-"+name+".functions.fnc.fr-par.scw.cloud"
		change(&f)
		return f
	}
	return []Function{
		with("sound", func(*Function) {}),
		with("public", func(f *Function) {
			f.Privacy, f.PublicSince = privacyPublic, noon.Add(-time.Hour)
			f.PrivacyChanges = map[string]uint64{privacyPublic: 2, privacyPrivate: 1}
			f.HTTPOption, f.PrivateNetwork, f.Sandbox, f.Team = httpEnabled, false, sandboxV1, "web"
		}),
		with("unknown", func(f *Function) {
			f.Privacy, f.HTTPOption, f.Status, f.RuntimeStatus = unknown, unknown, unknown, unknown
			f.Timeout, f.Created, f.Updated = 0, time.Time{}, time.Time{}
		}),
		with("just-found", func(f *Function) { // no slow source has answered
			f.RuntimeStatus, f.Tokens, f.Crons, f.Domains, f.PrivacyChanges = "", nil, nil, nil, nil
		}),
		with("failed", func(f *Function) {
			f.Status, f.ErrorSince, f.RuntimeStatus = statusError, noon.Add(-3*time.Hour), runtimeEndOfLife
		}),
		with("leaky", func(f *Function) {
			f.Variables = map[string]Variables{
				scopeFunction:  {Count: 3, Secrets: 2, Suspect: []PlaintextVar{{"DB_PASSWORD", "value behind a secret's name"}}},
				scopeNamespace: {Count: 1, Secrets: 1, Suspect: []PlaintextVar{{"API_URL", "password in a URL"}}},
			}
			f.OldestSecretSet = noon.Add(-200 * 24 * time.Hour)
		}),
		with("busy", func(f *Function) {
			f.Tokens = map[string][]Token{
				scopeFunction:  {{ID: "t1", Expires: noon.Add(5 * 24 * time.Hour)}, {ID: "t2"}},
				scopeNamespace: {{ID: "t3", Expires: noon.Add(-time.Hour)}},
			}
			f.Triggers, f.Crons, f.Domains = map[string]int{"scw_sqs": 2, "scw_nats": 1}, &three, []string{"pay.example.com"}
			f.MinScale = 1
		}),
		with("hostile", func(f *Function) {
			f.Name, f.Team = "a\"b\\c\nd{e=\"f\"} # é", "<script>"
		}),
	}
}

func snapshotOf(functions []Function) *Snapshot {
	rules := Rules{}
	s := &Snapshot{At: noon, Credentials: map[string]time.Time{credentialAPIKey: noon.Add(24 * time.Hour)}}
	for _, f := range functions {
		rules.judge(&f, noon)
		s.Functions = append(s.Functions, f)
	}
	s.Units = []UnitStatus{
		{Unit: Unit{Source: sourceProjects}, Up: true, Tried: true, LastSuccess: noon},
		{Unit: Unit{"6b3d3786-c7bd-47c8-b0e4-daabfa8f4e2e", "fr-par", sourceFunctions}, Up: true, Tried: true, LastSuccess: noon, Skipped: 2},
		{Unit: Unit{"6b3d3786-c7bd-47c8-b0e4-daabfa8f4e2e", "nl-ams", sourceFunctions}, Tried: true},
	}
	return s
}

func newTestExposition(t testing.TB) (*Exposition, *prometheus.Registry) {
	t.Helper()
	own := prometheus.NewRegistry()
	hits := prometheus.NewGauge(prometheus.GaugeOpts{Name: "scwatch_test", Help: "Of the daemon's own."})
	own.MustRegister(hits)
	return NewExposition(own, slog.New(slog.DiscardHandler)), own
}

// scrape asks for the metrics with an Accept and an Accept-Encoding header.
func scrape(t testing.TB, e *Exposition, accept, encoding string) *httptest.ResponseRecorder {
	t.Helper()
	req := httptest.NewRequest("GET", "/metrics", nil)
	req.Header.Set("Accept", accept)
	req.Header.Set("Accept-Encoding", encoding)
	w := httptest.NewRecorder()
	e.ServeHTTP(w, req)
	if w.Code != 200 {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	return w
}

func TestPosturesAsText(t *testing.T) {
	e, _ := newTestExposition(t)
	e.Publish(snapshotOf(postures()))
	golden(t, "postures.prom", scrape(t, e, "text/plain", "").Body.Bytes())
}

// promtool finds nothing to say about names, types and help texts.
func TestPromtoolAccepts(t *testing.T) {
	e, _ := newTestExposition(t)
	e.Publish(snapshotOf(postures()))
	check := exec.Command("promtool", "check", "metrics")
	check.Stdin = scrape(t, e, "text/plain", "").Body
	if out, err := check.CombinedOutput(); err != nil || len(bytes.TrimSpace(out)) > 0 {
		t.Errorf("promtool (Debian's package prometheus): %v\n%s", err, out)
	}
}

// Every form says the same, whole.
func TestFormsAgree(t *testing.T) {
	e, _ := newTestExposition(t)
	e.Publish(snapshotOf(postures()))
	want := parseText(t, scrape(t, e, "", "").Body)
	for _, accept := range []string{
		"text/plain;version=0.0.4",
		"application/openmetrics-text;version=1.0.0",
		"application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited",
	} {
		for _, encoding := range []string{"", "gzip", "gzip;q=0", "br, gzip;q=0.5"} {
			for range 2 { // at the first time and from what is kept
				w := scrape(t, e, accept, encoding)
				var body io.Reader = w.Body
				compressed := w.Header().Get("Content-Encoding") == "gzip"
				if wantCompressed := strings.Contains(encoding, "gzip") && !strings.HasSuffix(encoding, "q=0"); compressed != wantCompressed {
					t.Errorf("Accept-Encoding %q is answered with %q", encoding, w.Header().Get("Content-Encoding"))
				}
				if compressed {
					unzip, err := gzip.NewReader(w.Body)
					if err != nil {
						t.Fatal(err)
					}
					unzip.Multistream(false) // for clients that read no second stream
					body = unzip
				}
				plain, err := io.ReadAll(body)
				if err != nil {
					t.Fatalf("%s, %q: %v", accept, encoding, err)
				}
				if w.Body.Len() != 0 {
					t.Errorf("%s, %q: %d bytes behind the end", accept, encoding, w.Body.Len())
				}
				var got map[string]*dto.MetricFamily
				switch format := w.Header().Get("Content-Type"); {
				case strings.HasPrefix(format, "application/vnd.google.protobuf"):
					got = parseProtobuf(t, plain, expfmt.Format(format))
				case strings.HasPrefix(format, "application/openmetrics-text"):
					if strings.Count(string(plain), "# EOF\n") != 1 || !strings.HasSuffix(string(plain), "# EOF\n") {
						t.Errorf("OpenMetrics does not end with its one # EOF:\n%.300s", plain)
					}
					got = parseText(t, strings.NewReader(openMetricsAsText(string(plain))))
				default:
					got = parseText(t, bytes.NewReader(plain))
				}
				if diff := cmp.Diff(want, got, cmp.Comparer(proto.Equal)); diff != "" {
					t.Errorf("%s, %q (-text +it):\n%s", accept, encoding, diff)
				}
			}
		}
	}
}

func parseText(t testing.TB, r io.Reader) map[string]*dto.MetricFamily {
	t.Helper()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(r)
	if err != nil {
		t.Fatal(err)
	}
	return families
}

func parseProtobuf(t testing.TB, data []byte, format expfmt.Format) map[string]*dto.MetricFamily {
	t.Helper()
	decoder := expfmt.NewDecoder(bytes.NewReader(data), format)
	families := map[string]*dto.MetricFamily{}
	for {
		var family dto.MetricFamily
		if err := decoder.Decode(&family); err == io.EOF {
			return families
		} else if err != nil {
			t.Fatal(err)
		}
		families[family.GetName()] = &family
	}
}

// openMetricsAsText takes away the two differences that matter here: the
// families of counters are named without _total, and there is an end.
func openMetricsAsText(s string) string {
	var out strings.Builder
	for line := range strings.Lines(s) {
		fields := strings.Fields(line)
		if len(fields) > 2 && fields[0] == "#" {
			for _, m := range Metrics {
				if name, ok := strings.CutSuffix(m.Name, "_total"); ok && fields[2] == name {
					line = strings.Replace(line, name, m.Name, 1)
				}
			}
		}
		if line != "# EOF\n" {
			out.WriteString(line)
		}
	}
	return out.String()
}

// What is gathered for a push is what a scrape shows.
func TestGatherIsWhatAScrapeShows(t *testing.T) {
	e, _ := newTestExposition(t)
	e.Publish(snapshotOf(postures()))
	want := parseText(t, scrape(t, e, "", "").Body)
	families, err := e.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]*dto.MetricFamily{}
	for _, family := range families {
		if len(family.Metric) > 0 {
			got[family.GetName()] = family
		}
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(proto.Equal)); diff != "" {
		t.Errorf("(-scraped +gathered):\n%s", diff)
	}
}

// A form is encoded at each publication while somebody asks for it, and no
// longer for ever after.
func TestFormsInUseAreEncodedAhead(t *testing.T) {
	e, _ := newTestExposition(t)
	scrape(t, e, "", "gzip")
	s := snapshotOf(postures())
	e.Publish(s)
	if n := len(e.current.Load().encodings); n != 1 {
		t.Errorf("%d forms are encoded ahead, want the one in use", n)
	}
	for range keepIdle + 1 {
		e.Publish(s)
	}
	if n := len(e.current.Load().encodings); n != 0 {
		t.Errorf("%d forms are encoded that nobody asks for", n)
	}
}

// A fleet larger than a block comes out whole.
func TestManyBlocks(t *testing.T) {
	e, _ := newTestExposition(t)
	functions := manyFunctions(300)
	e.Publish(snapshotOf(functions))
	w := scrape(t, e, "", "")
	if w.Body.Len() < 3*blockSize {
		t.Fatalf("%d bytes are not several blocks", w.Body.Len())
	}
	if got := len(parseText(t, w.Body)["scaleway_function_info"].Metric); got != len(functions) {
		t.Errorf("%d functions, want %d", got, len(functions))
	}
}

// The table is what dashboards and rules are written against.
func TestMetricTable(t *testing.T) {
	seen := map[string]bool{}
	for _, m := range Metrics {
		if seen[m.Name] {
			t.Errorf("%s stands twice", m.Name)
		}
		seen[m.Name] = true
		if isCounter := strings.HasSuffix(m.Name, "_total"); isCounter != (m.Type == counter) {
			t.Errorf("%s is a %s", m.Name, m.Type)
		}
		if n := 1 + len(m.Labels) + push.MaxExternal; n > push.MaxLabels {
			t.Errorf("%s has %d labels with all external ones that are allowed, more than %d", m.Name, n, push.MaxLabels)
		}
		if (m.function == nil) == (m.snapshot == nil) {
			t.Errorf("%s needs one way to its samples", m.Name)
		}
	}
}

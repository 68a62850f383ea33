package dashboards

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"
	"google.golang.org/protobuf/encoding/protowire"
)

const (
	functions  = 1000
	week       = 7 * 24 * time.Hour
	heartbeat  = 2 * time.Minute // of the push: how far samples lie apart
	evaluation = 5 * time.Minute // of the recording rules that the dashboard reads
)

// What all queries of the fleet's dashboard together take Prometheus, shown for
// a week: every tenth function is public, and every tenth refuses calls. They
// are asked one after the other.
func BenchmarkFleetOfAWeek(b *testing.B) {
	dir := b.TempDir()
	write(b, filepath.Join(dir, "prometheus.yml"), "")
	base := servePrometheus(b, dir)
	end := time.Now().Truncate(time.Minute)
	fill(b, base, end)
	m := load(b)["fleet.yaml"]
	type request struct {
		title, path string
		form        url.Values
	}
	var requests []request
	add := func(title string, q target, points int) {
		step := week / time.Duration(points)
		query := strings.NewReplacer("$__rate_interval", (step + 15*time.Second).String(), "$__range", week.String()).Replace(q.Expr)
		query = substitute(query, nil)
		r := request{title, "/api/v1/query", url.Values{"query": {query}, "time": {fmt.Sprint(end.Unix())}}}
		if !q.Instant {
			r.path = "/api/v1/query_range"
			r.form = url.Values{"query": {query}, "start": {fmt.Sprint(end.Add(-week).Unix())}, "end": {fmt.Sprint(end.Unix())}, "step": {fmt.Sprint(step.Seconds())}}
		}
		requests = append(requests, r)
	}
	for _, p := range m.all() {
		for _, q := range p.Targets {
			add(p.Title, q, cmp.Or(p.MaxDataPoints, 700)) // the pixels of half a screen
		}
	}
	for _, a := range m.Spec.Annotations.List {
		if a.BuiltIn == 0 {
			add("annotations", a, 100) // as many as Grafana asks for
		}
	}
	for _, v := range m.Spec.Templating.List {
		if v.Type != "query" {
			continue
		}
		query := v.Query.(map[string]any)["query"].(string)
		if parts := labelValues.FindStringSubmatch(query); parts != nil {
			match := substitute(parts[1], nil)
			requests = append(requests, request{"variables", "/api/v1/series", url.Values{"match[]": {match}, "start": {fmt.Sprint(end.Add(-week).Unix())}, "end": {fmt.Sprint(end.Unix())}}})
			continue
		}
		add("variables", target{Expr: strings.TrimSuffix(strings.TrimPrefix(query, "query_result("), ")"), Instant: true}, 1)
	}
	for b.Loop() {
		took := map[string]time.Duration{}
		var all time.Duration
		for _, r := range requests {
			began := time.Now()
			resp, err := http.PostForm(base+r.path, r.form)
			if err != nil {
				b.Fatal(err)
			}
			_, err = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			if err != nil || resp.StatusCode != http.StatusOK {
				b.Fatalf("%s: %s, error %v", r.form, resp.Status, err)
			}
			took[r.title] += time.Since(began)
			all += time.Since(began)
		}
		for title, each := range took {
			b.ReportMetric(float64(each.Milliseconds()), strings.ReplaceAll(title, " ", "-")+"-ms")
		}
		b.ReportMetric(float64(all.Milliseconds()), "all-ms")
	}
}

// fill writes a week of the series that the dashboard reads over that time, and
// a day of the others.
func fill(b *testing.B, base string, end time.Time) {
	type written struct {
		series
		grows bool
		every time.Duration
		long  bool
	}
	var all []written
	const project = "aaaaaaaa-0000-4000-8000-000000000001"
	regions := []string{"fr-par", "nl-ams", "pl-waw"}
	for i := range functions {
		place := fmt.Sprintf("project_id=%q,region=%q,namespace=%q", project, regions[i%100%3], fmt.Sprint("namespace-", i%100))
		named := place + fmt.Sprintf(",function=%q", fmt.Sprint("function-", i))
		identity := named + fmt.Sprintf(",function_id=%q", fmt.Sprintf("b8707337-0911-4249-9ca8-%012x", i))
		day := func(name, more string, value float64) {
			all = append(all, written{series: series{"scaleway_function_" + name, identity + more, value}, every: heartbeat})
		}
		record := func(name, labels string, value float64) {
			all = append(all, written{series: series{name, labels, value}, every: evaluation, long: true})
		}
		public := i%10 == 0
		for _, privacy := range []string{"public", "private", "unknown"} {
			value := 0.0
			if privacy != "unknown" && (privacy == "public") == public {
				value = 1
			}
			day("privacy", `,privacy="`+privacy+`"`, value)
			if i < 100 { // one function of each namespace
				record("namespace:scaleway_function_privacy:sum", place+`,privacy="`+privacy+`"`, value)
			}
		}
		refuses := i%10 == 1
		all = append(all, written{series{"scaleway_function_rejected_calls_total", identity + `,code="403",source="metrics"`, 0}, refuses, heartbeat, true})
		if refuses {
			record("function:scaleway_function_rejected_calls:rate10m", named, 1)
		}
		if i%100 == 0 { // always, as if it changed every few minutes
			record("function:scaleway_function_privacy_changes:increase10m", named+`,to="public"`, 1)
			record("function:scaleway_function_privacy_changes:increase10m", named+`,to="private"`, 1)
		}
		day("info", `,project="large",team="web",runtime="go126",sandbox="v2",http_option="enabled",namespace_id="n",domain="d"`, 1)
		day("finding", `,check="function_no_private_network",severity="info"`, 1)
		if public {
			day("finding", `,check="function_public",severity="high"`, 1)
			day("finding", `,check="function_http_allowed",severity="medium"`, 1)
			day("token_expiry_timestamp_seconds", `,token_id="t",scope="function"`, float64(end.Add(week).Unix()))
		}
		for _, scope := range []string{"function", "namespace"} {
			day("secrets", `,scope="`+scope+`"`, 1)
			day("plaintext_secrets", `,scope="`+scope+`"`, 0)
		}
		day("runtime_status", `,status="available"`, 1)
		day("status", `,status="ready"`, 1)
		day("created_timestamp_seconds", "", float64(end.Add(-week).Unix()))
		day("updated_timestamp_seconds", "", float64(end.Add(-week).Unix()))
	}
	for _, region := range regions {
		labels := fmt.Sprintf("project_id=%q,source=%q,region=%q", project, "functions", region)
		all = append(all, written{series: series{"scwatch_poll_up", labels, 1}, every: heartbeat})
	}
	const stretch = 30 * time.Minute // Prometheus takes what is less than an hour older than its newest sample
	for from := end.Add(-week); from.Before(end); from = from.Add(stretch) {
		var request []byte
		for _, s := range all {
			if !s.long && from.Before(end.Add(-26*time.Hour)) {
				continue
			}
			one := label(nil, "__name__", s.name)
			for pair := range strings.SplitSeq(s.labels, ",") {
				name, value, _ := strings.Cut(pair, "=")
				one = label(one, name, strings.Trim(value, `"`))
			}
			for at := from.Add(s.every); !at.After(from.Add(stretch)); at = at.Add(s.every) {
				value := s.value
				if s.grows {
					value = at.Sub(end.Add(-week)).Seconds()
				}
				sample := protowire.AppendFixed64(protowire.AppendTag(nil, 1, protowire.Fixed64Type), math.Float64bits(value))
				sample = protowire.AppendVarint(protowire.AppendTag(sample, 2, protowire.VarintType), uint64(at.UnixMilli()))
				one = protowire.AppendBytes(protowire.AppendTag(one, 2, protowire.BytesType), sample)
			}
			request = protowire.AppendBytes(protowire.AppendTag(request, 1, protowire.BytesType), one)
		}
		resp, err := http.Post(base+"/api/v1/write", "application/x-protobuf", bytes.NewReader(s2.EncodeSnappy(nil, request)))
		if err != nil {
			b.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusNoContent {
			b.Fatal(resp.Status)
		}
	}
}

// label appends a label of a series in remote write's form.
func label(to []byte, name, value string) []byte {
	one := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), name)
	one = protowire.AppendString(protowire.AppendTag(one, 2, protowire.BytesType), value)
	return protowire.AppendBytes(protowire.AppendTag(to, 1, protowire.BytesType), one)
}

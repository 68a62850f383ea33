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
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"
	"google.golang.org/protobuf/encoding/protowire"
)

const (
	functions = 1000
	week      = 7 * 24 * time.Hour
	heartbeat = 2 * time.Minute // of the push: how far samples lie apart
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
	}
	var days, weeks []written
	for i := range functions {
		identity := fmt.Sprintf("project_id=%q,region=%q,namespace=%q,function=%q,function_id=%q", "aaaaaaaa-0000-4000-8000-000000000001",
			[]string{"fr-par", "nl-ams", "pl-waw"}[i%3], fmt.Sprint("namespace-", i%100), fmt.Sprint("function-", i), fmt.Sprintf("b8707337-0911-4249-9ca8-%012x", i))
		add := func(list *[]written, name, more string, value float64, grows bool) {
			*list = append(*list, written{series{"scaleway_function_" + name, identity + more, value}, grows})
		}
		public := i%10 == 0
		for _, privacy := range []string{"public", "private", "unknown"} {
			value := 0.0
			if privacy != "unknown" && (privacy == "public") == public {
				value = 1
			}
			add(&weeks, "privacy", `,privacy="`+privacy+`"`, value, false)
		}
		add(&weeks, "rejected_calls_total", `,code="403",source="metrics"`, 0, i%10 == 1)
		for _, to := range []string{"public", "private"} {
			add(&weeks, "privacy_changes_total", `,to="`+to+`"`, 0, false)
		}
		add(&days, "info", `,project="large",team="web",runtime="go126",sandbox="v2",http_option="enabled",namespace_id="n",domain="d"`, 1, false)
		add(&days, "finding", `,check="function_no_private_network",severity="info"`, 1, false)
		if public {
			add(&days, "finding", `,check="function_public",severity="high"`, 1, false)
			add(&days, "finding", `,check="function_http_allowed",severity="medium"`, 1, false)
			add(&days, "token_expiry_timestamp_seconds", `,token_id="t",scope="function"`, float64(end.Add(week).Unix()), false)
		}
		for _, scope := range []string{"function", "namespace"} {
			add(&days, "secrets", `,scope="`+scope+`"`, 1, false)
			add(&days, "plaintext_secrets", `,scope="`+scope+`"`, 0, false)
		}
		add(&days, "runtime_status", `,status="available"`, 1, false)
		add(&days, "status", `,status="ready"`, 1, false)
		add(&days, "created_timestamp_seconds", "", float64(end.Add(-week).Unix()), false)
		add(&days, "updated_timestamp_seconds", "", float64(end.Add(-week).Unix()), false)
	}
	for _, region := range []string{"fr-par", "nl-ams", "pl-waw"} {
		days = append(days, written{series{"scwatch_poll_up", `project_id="aaaaaaaa-0000-4000-8000-000000000001",source="functions",region="` + region + `"`, 1}, false})
	}
	const stretch = 15 * heartbeat // Prometheus takes what is less than an hour older than its newest sample
	for from := end.Add(-week); from.Before(end); from = from.Add(stretch) {
		list := weeks
		if from.After(end.Add(-26 * time.Hour)) {
			list = append(slices.Clone(weeks), days...)
		}
		var request []byte
		for _, s := range list {
			one := label(nil, "__name__", s.name)
			for pair := range strings.SplitSeq(s.labels, ",") {
				name, value, _ := strings.Cut(pair, "=")
				one = label(one, name, strings.Trim(value, `"`))
			}
			for at := from; at.Before(from.Add(stretch)); at = at.Add(heartbeat) {
				value := s.value
				if s.grows {
					value = at.Sub(end.Add(-week)).Seconds()
				}
				sample := protowire.AppendFixed64(protowire.AppendTag(nil, 1, protowire.Fixed64Type), math.Float64bits(value))
				sample = protowire.AppendVarint(protowire.AppendTag(sample, 2, protowire.VarintType), uint64(at.Add(heartbeat).UnixMilli()))
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

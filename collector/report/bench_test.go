package report

import (
	"fmt"
	"testing"

	"github.com/scwatch/scwatch/collector"
)

// A report on 10,000 functions with three findings each, of which one is
// excepted: from the snapshot to the bytes of each format.
func BenchmarkReport(b *testing.B) {
	functions := make([]collector.Function, 10_000)
	for i := range functions {
		f := leaking(fmt.Sprintf("function-%d", i), "DB_PASSWORD")
		f.ID = fmt.Sprintf("33333333-0000-4000-8000-%012d", i)
		f.Excepted = []collector.Finding{{Check: check("function_http_allowed"), What: "plain HTTP is served", Exception: &collector.Exception{Owner: "web", Reason: "a redirect of its own"}}}
		functions[i] = f
	}
	s := snapshot(functions...)
	for _, format := range names {
		b.Run(format, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				w := &counter{}
				r := New(s, Filter{})
				if err := write(r, format, w); err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(w.n)/1e6, "MB")
			}
		})
	}
}

type counter struct{ n int }

func (c *counter) Write(p []byte) (int, error) { c.n += len(p); return len(p), nil }

package config

import (
	"strings"
	"time"

	"github.com/prometheus/prometheus/promql/parser"
)

// Values of RejectedCalls.Source.
const (
	SourceAuto    = "auto"
	SourceMetrics = "metrics"
	SourceLogs    = "logs"
	SourceOff     = "off"
)

// WindowVariable stands for the window asked in a query.
const WindowVariable = "$window"

// RejectedCalls says where the number of refused calls comes from.
type RejectedCalls struct {
	Source       string            `yaml:"source" default:"auto" enum:"auto|metrics|logs|off" doc:"\"auto\" takes what each project's Cockpit has: metrics before logs."`
	MetricsQuery string            `yaml:"metrics_query" default:"" format:"query" doc:"PromQL, an instant query by \"resource_id\" and \"code\"; \"$window\" stands for the window asked. Empty: discovered."`
	LogsQuery    string            `yaml:"logs_query" default:"" format:"query" doc:"LogQL, likewise."`
	Delay        time.Duration     `yaml:"delay" default:"2m" min:"0s" max:"1h" doc:"How long late samples are waited for."`
	TokenFiles   map[string]string `yaml:"token_files" default:"{}" keys:"place" format:"path" doc:"Files with the Cockpit tokens that may query a project's data in a region. Where there is none: the IAM key."`
	Probe        bool              `yaml:"probe" default:"false" doc:"Call private functions without a token and expect a refusal. This runs a function that is open after all."`
}

// validate parses the queries, as far as there is a parser: LogQL is left to
// Loki.
func (r RejectedCalls) validate(d *document) {
	for _, query := range []struct{ path, text string }{
		{"rejected_calls.metrics_query", r.MetricsQuery},
		{"rejected_calls.logs_query", r.LogsQuery},
	} {
		if query.text != "" && !strings.Contains(query.text, WindowVariable) {
			d.reject(query.path, "has no %s in it: it must count the calls in the window asked, as in increase(metric[%[1]s])", WindowVariable)
		}
	}
	if r.MetricsQuery == "" || !strings.Contains(r.MetricsQuery, WindowVariable) {
		return
	}
	// A duration as long as the variable, so that positions stay right.
	expr, err := parser.NewParser(parser.Options{}).ParseExpr(strings.ReplaceAll(r.MetricsQuery, WindowVariable, "000005m"))
	switch {
	case err != nil:
		d.reject("rejected_calls.metrics_query", "is not PromQL: %s", err)
	case expr.Type() != parser.ValueTypeVector:
		d.reject("rejected_calls.metrics_query", "is a %s: expected an instant vector, by resource_id and code", expr.Type())
	}
}

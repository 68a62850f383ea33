package provisioner

import (
	"path"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/scwatch/scwatch/internal/config"
)

// scalewayMetricNames are what Scaleway is known to measure of functions, and
// others is what every ruler and Prometheus makes.
var (
	scalewayMetricNames = []string{
		"serverless_function_status", "serverless_function_cpu_usage_ratio",
		"serverless_function_memory_usage_bytes", "serverless_function_memory_limit_bytes",
	}
	metricsOfPrometheus = []string{"ALERTS", "ALERTS_FOR_STATE", "up"}
)

// histogramSuffixes are what a histogram's series end with.
var histogramSuffixes = []string{"_bucket", "_sum", "_count"}

// metrics checks over all files that what they ask for exists: a rule on a
// metric that nobody exports never fires, and nobody notices.
func (r *reader) metrics(d *Definitions, known []string) {
	names := slices.Concat(r.Metrics, scalewayMetricNames, metricsOfPrometheus)
	var queries []query
	for _, t := range d.targets {
		for _, dashboard := range t.dashboards {
			queries = append(queries, dashboard.queries...)
		}
		for _, set := range t.rules {
			for _, g := range set.groups {
				nodes := elements(value(g.node, "rules"))
				for i, rule := range g.Rules {
					if rule.Record != "" {
						names = append(names, rule.Record)
					}
					if set.dataSource.Type != config.DataSourceMetrics {
						continue
					}
					if expr, err := promQL.ParseExpr(rule.Expr); err == nil { // else it is reported
						queries = append(queries, query{g.file, value(nodes[i], "expr"), expr})
					}
				}
			}
		}
	}
	exists := func(name string) bool {
		for _, suffix := range histogramSuffixes {
			if base, ok := strings.CutSuffix(name, suffix); ok && slices.Contains(names, base) {
				return true
			}
		}
		return slices.Contains(names, name) || slices.ContainsFunc(known, func(pattern string) bool {
			matched, _ := path.Match(pattern, name) // the configuration has checked it
			return matched
		})
	}
	for _, q := range queries {
		for _, name := range selected(q.expr) {
			if !exists(name) {
				r.report(q.file, q.node.Line, q.node.Column, "nobody exports the metric %q%s; where somebody does, list it in provision.known_metrics", name, config.Suggestion(name, names))
			}
		}
	}
}

// selected are the names of the metrics that an expression asks for.
func selected(expr parser.Expr) []string {
	var names []string
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		selector, ok := node.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		for _, m := range selector.LabelMatchers {
			if m.Name == model.MetricNameLabel && m.Type == labels.MatchEqual {
				names = append(names, m.Value)
			}
		}
		return nil
	})
	slices.Sort(names)
	return slices.Compact(names)
}

package collector

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/scwatch/scwatch/internal/config"
)

// The sources of rejected calls.
const (
	sourceOfMetrics = "metrics"
	sourceOfLogs    = "logs"
	sourceOfNone    = "none"
)

// The shapes in which rejected calls are told.
const (
	shapeCounter    = "counter"    // calls since some time, by status
	shapeRate       = "rate"       // calls a second, by status
	shapePercentage = "percentage" // of the calls, by status, beside their rate
	shapeCount      = "count"      // the query counts by itself
)

// method is how the rejected calls of a project and region are counted.
type method struct {
	Source    string   `json:"source"`   // sourceOfMetrics, sourceOfLogs
	FoundBy   string   `json:"found_by"` // for people
	Address   string   `json:"address"`  // of the data source
	Query     string   `json:"query"`    // config.WindowVariable stands for the window
	Shape     string   `json:"shape"`
	Metric    string   `json:"metric,omitempty"` // the one by status
	CodeLabel string   `json:"code_label,omitempty"`
	Scale     float64  `json:"scale,omitempty"` // of a percentage: to a part of one
	Codes     []string `json:"codes"`           // that are shown from 0 on
}

// same tells whether what was counted by m goes on with other.
func (m *method) same(other *method) bool {
	if m == nil || other == nil {
		return m == other
	}
	return m.Source == other.Source && m.Address == other.Address && m.Query == other.Query && m.Shape == other.Shape &&
		m.Metric == other.Metric && m.CodeLabel == other.CodeLabel && m.Scale == other.Scale && slices.Equal(m.Codes, other.Codes)
}

// over returns the query for a window of that length.
func (m *method) over(window time.Duration) string {
	return strings.ReplaceAll(m.Query, config.WindowVariable, fmt.Sprintf("%ds", int64(window.Seconds())))
}

// configured is a query of the user's own, which counts by itself.
func configured(source, address, query string) *method {
	return &method{
		Source: source, FoundBy: "the configuration", Address: address, Query: query,
		Shape: shapeCount, CodeLabel: labelCode, Codes: exactCodes,
	}
}

var (
	exactCodes = []string{"401", "403"}
	classCodes = []string{"4xx"}
)

// candidate is a metric that may tell rejected calls, as it was found.
type candidate struct {
	status  selector
	rate    selector // of a percentage: the requests a second beside it
	label   string   // that holds the status; "" where the series must tell
	shape   string
	scale   float64
	foundBy string
}

// selector is a metric with the matchers that select its series.
type selector struct {
	name     string
	matchers []*labels.Matcher
}

// with returns the text of the selector with further matchers.
func (s selector) with(further ...*labels.Matcher) string {
	return (&parser.VectorSelector{Name: s.name, LabelMatchers: append(slices.Clone(s.matchers), further...)}).String()
}

// query returns what is asked for a candidate whose label has these values.
func (c candidate) query(label string, values []string) (query string, codes []string) {
	alternatives, codes := `401|403`, exactCodes
	if !slices.ContainsFunc(values, isExact) {
		alternatives, codes = `4xx|4XX`, classCodes
	}
	ofFunctions := labels.MustNewMatcher(labels.MatchNotEqual, labelResource, "") // sums beside them are of nobody
	if c.shape == shapePercentage {
		// Both metrics in one query: the rate has no status, which the last,
		// empty alternative matches.
		both := selector{matchers: []*labels.Matcher{
			labels.MustNewMatcher(labels.MatchRegexp, model.MetricNameLabel, regexp.QuoteMeta(c.status.name)+"|"+regexp.QuoteMeta(c.rate.name)),
		}}
		return both.with(labels.MustNewMatcher(labels.MatchRegexp, label, alternatives+"|"), ofFunctions) + "[" + config.WindowVariable + "]", codes
	}
	return c.status.with(labels.MustNewMatcher(labels.MatchRegexp, label, alternatives), ofFunctions) + "[" + config.WindowVariable + "]", codes
}

// statusLabels are names of labels that hold a status, the likeliest first.
var statusLabels = []string{
	"code", "status_code", "response_code", "http_code", "http_status_code", "response_status_code", "http_response_status_code",
	"http_status", "response_status", "status", "code_class", "status_class", "response_code_class", "class",
}

func isExact(value string) bool {
	return validCode.MatchString(value) && !strings.HasSuffix(value, "xx")
}

// statusLabel returns the label of series that holds a status, by its name and
// its values: serverless_function_status has a label "status" that does not.
func statusLabel(all []map[string]string, preferred string) (label string, values []string) {
	names := statusLabels
	if preferred != "" {
		names = []string{preferred}
	}
	for _, name := range names {
		values = nil
		for _, s := range all {
			if value, ok := s[name]; ok {
				values = append(values, strings.ToLower(value))
			}
		}
		if len(values) > 0 && !slices.ContainsFunc(values, func(v string) bool { return !validCode.MatchString(v) }) {
			slices.Sort(values)
			return name, slices.Compact(values)
		}
	}
	return "", nil
}

// A template variable of Grafana's, and one that stands for a duration.
var (
	templateDuration = regexp.MustCompile(`\$\{?__(?:rate_interval|interval|range)(?:_m?s)?(?::[a-z]+)?\}?`)
	templateWindow   = regexp.MustCompile(`\[\s*(?:\$\{?\w+(?::\w+)?\}?|\[\[\w+\]\])\s*([\]:])`)
	templateVariable = regexp.MustCompile(`\$\{\w+(?::\w+)?\}|\$\w+|\[\[\w+\]\]`)
)

// panelQuery is what a panel asks: selectors, with what is done to them.
type panelQuery struct {
	selectors []panelSelector
	grouping  []string // labels that are kept
}

type panelSelector struct {
	selector
	counter bool // a rate or an increase is taken of it
	labels  []string
}

// parsePanel reads a query with Grafana's variables in it.
func parsePanel(expr string) (panelQuery, error) {
	expr = templateDuration.ReplaceAllString(expr, "5m")
	expr = templateWindow.ReplaceAllString(expr, "[5m$1")
	expr = templateVariable.ReplaceAllString(expr, templateMark)
	parsed, err := parser.NewParser(parser.Options{}).ParseExpr(expr)
	if err != nil {
		return panelQuery{}, err
	}
	var q panelQuery
	parser.Inspect(parsed, func(node parser.Node, path []parser.Node) error {
		switch n := node.(type) {
		case *parser.AggregateExpr:
			if !n.Without {
				q.grouping = append(q.grouping, n.Grouping...)
			}
		case *parser.VectorSelector:
			q.selectors = append(q.selectors, panelSelectorOf(n, path))
		}
		return nil
	})
	return q, nil
}

// templateMark stands for a variable of Grafana's, where its value is not known.
const templateMark = "scwatch_template_variable"

// panelSelectorOf keeps the matchers that say what kind of series is meant and
// leaves out those of a choice on the dashboard, and of one function.
func panelSelectorOf(n *parser.VectorSelector, path []parser.Node) panelSelector {
	s := panelSelector{selector: selector{name: n.Name}, counter: strings.HasSuffix(n.Name, "_total")}
	for _, m := range n.LabelMatchers {
		if m.Name == model.MetricNameLabel {
			if m.Type == labels.MatchEqual {
				s.name = m.Value
			}
			continue
		}
		s.labels = append(s.labels, m.Name)
		if strings.Contains(m.Value, templateMark) || slices.Contains(statusLabels, m.Name) || strings.HasPrefix(m.Name, "resource_") && m.Name != "resource_type" {
			continue
		}
		s.matchers = append(s.matchers, labels.MustNewMatcher(m.Type, m.Name, m.Value))
	}
	for _, above := range path {
		if call, ok := above.(*parser.Call); ok && slices.Contains([]string{"rate", "irate", "increase", "resets"}, call.Func.Name) {
			s.counter = true
		}
	}
	return s
}

// The words in the names of metrics that say what they are.
var (
	requestWords    = regexp.MustCompile(`request|response|call|invocation|http`)
	percentageWords = regexp.MustCompile(`percent|ratio|share`)
	rateWords       = regexp.MustCompile(`per_second|rate|rps|persecond`)
	otherWords      = regexp.MustCompile(`duration|latency|time|bytes|size|queue|concurren|bucket|_sum$`)
)

// shapeOf returns the shape of a metric by status, by its name and by what is
// known of it.
func shapeOf(name string, counter bool, unit string) (shape string, scale float64) {
	lower := strings.ToLower(name)
	switch {
	case counter || strings.HasSuffix(lower, "_total"):
		return shapeCounter, 0
	case unit == "percentunit" || unit == "" && strings.Contains(lower, "ratio"):
		return shapePercentage, 1
	case unit == "percent" || percentageWords.MatchString(lower):
		return shapePercentage, 0.01
	case rateWords.MatchString(lower) || strings.HasPrefix(unit, "req") || strings.HasPrefix(unit, "cps") || unit == "ops":
		return shapeRate, 0
	}
	return "", 0
}

// isRequestRate tells whether a metric is one of requests a second.
func isRequestRate(name string) bool {
	lower := strings.ToLower(name)
	return requestWords.MatchString(lower) && rateWords.MatchString(lower) && !percentageWords.MatchString(lower) && !otherWords.MatchString(lower)
}

// measured returns a selector of the metric by status with all of its statuses;
// "" where the query has none. A query of the user's own is measured by its
// first metric.
func measured(m *method) string {
	if m.Shape != shapeCount {
		return selector{name: m.Metric}.with()
	}
	q, err := parsePanel(m.over(time.Minute))
	if err != nil || len(q.selectors) == 0 {
		return ""
	}
	return q.selectors[0].with()
}

package provisioner

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"gopkg.in/yaml.v3"

	"github.com/scwatch/scwatch/internal/config"
)

// The limits of Cockpit's rulers. An update is refused at the limit of groups
// already: one must stay free.
const (
	maxRules          = 20 // in a group
	maxGroups         = 70 // of a data source, and of a project
	maxScalewayAlerts = 10 // on Scaleway's own data source of metrics
)

// scalewayMetrics is Scaleway's own data source of metrics, in every Cockpit.
const scalewayMetrics = "Scaleway Metrics"

// markAnnotation is in every alert of ours, with markValue.
const (
	markAnnotation = "managed_by"
	markValue      = "scwatch"
)

// markComment ends the expression of every recording rule of ours: those have
// no annotations, a label would change the series, and an expression is the
// one text that rulers keep as it is.
const markComment = "\n# managed by scwatch"

// group is a rule group of ours.
type group struct {
	rulefmt.RuleGroup
	file string
	node *yaml.Node
}

// severities are the values of the label "severity".
var severities = []string{"critical", "warning", "info", "none"}

// annotations are what every alert has.
var annotations = []string{"summary", "description", "runbook_url"}

var promQL = parser.NewParser(parser.Options{})

// logQL stands in for a parser of LogQL, which Loki's ruler has: it refuses the
// one expression that Loki takes and can never evaluate.
type logQL struct{ parser.Parser }

func (logQL) ParseExpr(input string) (parser.Expr, error) {
	if strings.HasPrefix(strings.TrimLeft(input, " \t\n("), "{") {
		return nil, errors.New("a query for lines, not for a number: Loki takes it and never evaluates it; count them, as in sum(count_over_time(… [5m])) > 0")
	}
	return &parser.NumberLiteral{}, nil
}

// wrongShape begins an error that lists what does not fit, a line each.
const wrongShape = "yaml: unmarshal errors:"

var located = regexp.MustCompile(`^(?:([0-9]+):([0-9]+): )*`)

// rules reads a rule file.
func (r *reader) rules(file source, dataSource, rulesTarget string) []group {
	var p parser.Parser = promQL
	if dataSource == config.DataSourceLogs {
		p = logQL{promQL}
	}
	root, ok := r.document(file)
	if !ok {
		return nil
	}
	discard := slog.New(slog.DiscardHandler)
	parsed, errs := rulefmt.Parse(file.data, false, model.UTF8Validation, p, discard)
	if len(errs) > 0 && strings.HasPrefix(errs[0].Error(), wrongShape) {
		// An unknown field hides what is wrong with the expressions.
		var more []error
		parsed, more = rulefmt.Parse(file.data, true, model.UTF8Validation, p, discard)
		errs = append(errs, more...)
	}
	for _, err := range errs {
		r.ruleError(file.name, err)
	}
	if parsed == nil {
		return nil
	}
	var groups []group
	nodes := elements(value(root, "groups"))
	if len(parsed.Groups) == 0 {
		r.report(file.name, root.Line, root.Column, "has no groups")
	}
	for i, g := range parsed.Groups {
		defined := group{RuleGroup: g, file: file.name, node: nodes[i]}
		r.group(defined, dataSource, rulesTarget)
		r.links(defined)
		groups = append(groups, defined)
	}
	return groups
}

// ruleError reports an error of rulefmt, whose places stand in its text.
func (r *reader) ruleError(file string, err error) {
	if listed, ok := strings.CutPrefix(err.Error(), wrongShape); ok {
		for line := range strings.SplitSeq(strings.TrimSpace(listed), "\n") {
			number, message, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "line "), ": ")
			n, _ := strconv.Atoi(number)
			r.report(file, n, 1, "%s", unknownField.ReplaceAllString(message, "unknown field $1"))
		}
		return
	}
	place := located.FindStringSubmatch(err.Error())
	line, _ := strconv.Atoi(place[1])
	column, _ := strconv.Atoi(place[2])
	r.report(file, line, column, "%s", strings.TrimPrefix(err.Error(), place[0]))
}

var unknownField = regexp.MustCompile(`^field (\S+) not found in type \S+$`)

// group checks what Cockpit and whoever is woken want of a group beyond what
// Prometheus wants.
func (r *reader) group(g group, dataSource, rulesTarget string) {
	at := func(node *yaml.Node, format string, args ...any) {
		r.report(g.file, node.Line, node.Column, format, args...)
	}
	if g.Name == "" {
		return // rulefmt has said so
	}
	if misread(g.Name) {
		at(value(g.node, "name"), "group %q: a name with /, %% or control characters, or . or .. alone, is misread by rulers: they would change another group", g.Name)
	}
	if len(g.Rules) == 0 {
		at(g.node, "group %q has no rules", g.Name)
	}
	if len(g.Rules) > maxRules {
		at(g.node, "group %q has %d rules; Cockpit takes %d a group: split it", g.Name, len(g.Rules), maxRules)
	}
	if rulesTarget == config.RulesTargetGrafana && time.Duration(g.Interval)%(10*time.Second) != 0 {
		at(value(g.node, "interval"), "group %q: Grafana wants an interval in steps of 10s", g.Name)
	}
	nodes := elements(value(g.node, "rules"))
	for i, rule := range g.Rules {
		node := nodes[i]
		if dataSource == config.DataSourceLogs && rule.KeepFiringFor != 0 {
			at(node, "%s: keep_firing_for does not survive Loki's ruler: leave it out", ruleName(rule))
		}
		if rule.Alert == "" {
			continue
		}
		labels := merged(g.Labels, rule.Labels)
		if severity, has := labels["severity"]; !has {
			at(node, "alert %q has no label severity: one of %s", rule.Alert, strings.Join(severities, ", "))
		} else if !slices.Contains(severities, severity) {
			at(node, "alert %q has the severity %q: expected one of %s", rule.Alert, severity, strings.Join(severities, ", "))
		}
		for _, name := range annotations {
			if strings.TrimSpace(rule.Annotations[name]) == "" {
				at(node, "alert %q has no annotation %s", rule.Alert, name)
			}
		}
	}
}

// links makes the built-in runbooks those of provision.runbook_base.
func (r *reader) links(g group) {
	base := strings.TrimSuffix(r.config.Provision.RunbookBase, "/") + "/"
	for _, rule := range g.Rules {
		if link, ok := strings.CutPrefix(rule.Annotations["runbook_url"], config.DefaultRunbookBase); ok {
			rule.Annotations["runbook_url"] = base + link
		}
	}
}

// limits checks what holds over several files.
func (r *reader) limits(t target) {
	type place struct{ dataSource, namespace, group string }
	seen := make(map[place]string)
	count := make(map[string]int)
	alerts := make(map[string]int)
	for _, set := range t.rules {
		name := set.dataSource.Type + "/" + set.dataSource.Name
		for _, g := range set.groups {
			at := place{name, set.namespace, g.Name}
			if first, taken := seen[at]; taken {
				r.report(g.file, g.node.Line, g.node.Column, "group %q is in %s already: one of the two would replace the other", g.Name, first)
			}
			seen[at] = fmt.Sprintf("%s:%d", g.file, g.node.Line)
			if count[name]++; count[name] == maxGroups {
				r.report(g.file, g.node.Line, g.node.Column, "group %q is one too many: a data source keeps %d groups up to date", g.Name, maxGroups-1)
			}
			for _, rule := range g.Rules {
				if rule.Alert == "" || set.dataSource.Name != scalewayMetrics {
					continue
				}
				if alerts[name]++; alerts[name] == maxScalewayAlerts+1 {
					r.report(g.file, g.node.Line, g.node.Column, "alert %q is one too many: %s takes %d alerts", rule.Alert, scalewayMetrics, maxScalewayAlerts)
				}
			}
		}
	}
}

func ruleName(r rulefmt.Rule) string {
	if r.Alert != "" {
		return fmt.Sprintf("alert %q", r.Alert)
	}
	return fmt.Sprintf("record %q", r.Record)
}

// misread tells whether a ruler would take a name for another one.
func misread(name string) bool {
	return name == "." || name == ".." || strings.ContainsAny(name, "/%") || strings.ContainsFunc(name, func(c rune) bool { return c < ' ' || c == 0x7f })
}

func merged(under, over map[string]string) map[string]string {
	all := make(map[string]string, len(under)+len(over))
	for name, value := range under {
		all[name] = value
	}
	for name, value := range over {
		all[name] = value
	}
	return all
}

// marked is a group as it is written: with our mark in every rule, and absolute
// links to dashboards.
func (g group) marked(grafana string) rulefmt.RuleGroup {
	marked := g.RuleGroup
	marked.Rules, marked.Labels = slices.Clone(g.Rules), nil
	for i, rule := range marked.Rules {
		if len(g.Labels) > 0 { // rulers know no labels of a group
			marked.Rules[i].Labels = merged(g.Labels, rule.Labels)
		}
		if rule.Record != "" {
			marked.Rules[i].Expr = strings.TrimRight(rule.Expr, "\n") + markComment
			continue
		}
		marked.Rules[i].Annotations = merged(rule.Annotations, map[string]string{markAnnotation: markValue})
		if link := rule.Annotations["dashboard_url"]; grafana != "" && strings.HasPrefix(link, "/") {
			marked.Rules[i].Annotations["dashboard_url"] = grafana + link
		}
	}
	return marked
}

// ruleTree is the normal form of a group that a ruler gave or is given. Fields
// that scwatch does not know stay in it.
func ruleTree(data []byte) (map[string]any, error) {
	var raw map[string]any
	if err := yaml.Unmarshal(data, &raw); err != nil {
		return nil, fmt.Errorf("it is no rule group: %w", err)
	}
	tree, err := treeOf(raw)
	if err != nil {
		return nil, err
	}
	for _, field := range []string{"interval", "query_offset", "evaluation_delay"} {
		normaliseDuration(tree, field)
	}
	rules, _ := tree["rules"].([]any)
	for _, rule := range rules {
		rule, ok := rule.(map[string]any)
		if !ok {
			return nil, errors.New("it is no rule group: a rule is no mapping")
		}
		for _, field := range []string{"for", "keep_firing_for"} {
			normaliseDuration(rule, field)
		}
		if expr, ok := rule["expr"].(string); ok {
			rule["expr"] = strings.TrimSpace(expr)
		}
		for _, field := range []string{"labels", "annotations"} {
			if values, ok := rule[field].(map[string]any); ok {
				dropZero(stringify(values))
			}
		}
		dropZero(rule)
	}
	return dropZero(tree), nil
}

// stringify spells values as rulers do, who know only strings.
func stringify(values map[string]any) map[string]any {
	for name, value := range values {
		if _, ok := value.(string); !ok && value != nil {
			values[name] = strings.Trim(text(value), `"`)
		}
	}
	return values
}

// normaliseDuration spells a duration in one way; 0 is none.
func normaliseDuration(tree map[string]any, field string) {
	spelled, ok := tree[field].(string)
	if !ok {
		return
	}
	d, err := model.ParseDuration(spelled)
	switch {
	case err != nil: // compared as it is
	case d == 0:
		delete(tree, field)
	default:
		tree[field] = d.String()
	}
}

// isMarked tells whether any rule of a group carries our mark. One that a
// person added to a group of ours has none: it is drift, not theirs.
func isMarked(tree map[string]any) bool {
	rules, _ := tree["rules"].([]any)
	for _, rule := range rules {
		rule, _ := rule.(map[string]any)
		notes, _ := rule["annotations"].(map[string]any)
		expr, _ := rule["expr"].(string)
		if notes[markAnnotation] == markValue || strings.HasSuffix(expr, strings.TrimSpace(markComment)) {
			return true
		}
	}
	return false
}

// document is the top of the only YAML document of a file.
func (r *reader) document(file source) (*yaml.Node, bool) {
	decoder := yaml.NewDecoder(strings.NewReader(string(file.data)))
	var first, second yaml.Node
	err := decoder.Decode(&first)
	if errors.Is(err, io.EOF) || err == nil && first.Kind == 0 {
		r.report(file.name, 1, 1, "is empty")
		return nil, false
	}
	if err != nil {
		line, message := 0, strings.TrimPrefix(err.Error(), "yaml: ")
		if rest, ok := strings.CutPrefix(message, "line "); ok {
			number, words, _ := strings.Cut(rest, ": ")
			line, _ = strconv.Atoi(number)
			message = words
		}
		r.report(file.name, line, 1, "is not YAML: %s", message)
		return nil, false
	}
	if err := decoder.Decode(&second); !errors.Is(err, io.EOF) {
		at := 0
		if err == nil {
			at = second.Content[0].Line
		}
		r.report(file.name, at, 1, "has a second YAML document: rulers and Grafana read the first only")
		return nil, false
	}
	if top := first.Content[0]; top.Kind == yaml.MappingNode {
		return top, true
	}
	r.report(file.name, first.Content[0].Line, first.Content[0].Column, "is no mapping")
	return nil, false
}

// value is what a mapping has under a key; an empty node at the mapping's place
// where it has none.
func value(mapping *yaml.Node, key string) *yaml.Node {
	if mapping.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(mapping.Content); i += 2 {
			if mapping.Content[i].Value == key {
				return mapping.Content[i+1]
			}
		}
	}
	return &yaml.Node{Line: mapping.Line, Column: mapping.Column}
}

// elements are those of a list.
func elements(list *yaml.Node) []*yaml.Node {
	if list.Kind == yaml.SequenceNode {
		return list.Content
	}
	return nil
}

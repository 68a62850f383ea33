package provisioner

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/promql/parser"
	"gopkg.in/yaml.v3"

	"github.com/scwatch/scwatch/internal/config"
)

// markTag is on every dashboard of ours.
const markTag = "managed-by-scwatch"

// dashboard is a dashboard of ours.
type dashboard struct {
	uid, title string
	model      map[string]any
	file       string
	queries    []query
}

// query is a PromQL expression with its place.
type query struct {
	file string
	node *yaml.Node
	expr parser.Expr
}

var dashboardUID = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,40}$`)

// dashboard reads a manifest of Grafana's, or plain JSON as Grafana exports it.
func (r *reader) dashboard(file source) (dashboard, bool) {
	before := len(r.problems)
	top, ok := r.document(file)
	if !ok {
		return dashboard{}, false
	}
	at := func(node *yaml.Node, format string, args ...any) {
		r.report(file.name, node.Line, node.Column, format, args...)
	}
	spec, uid := top, value(top, "uid")
	if kind := value(top, "kind"); kind.Value != "" {
		version := value(top, "apiVersion")
		if kind.Value != "Dashboard" {
			at(kind, "kind: expected Dashboard, found %q", kind.Value)
		}
		if !strings.HasPrefix(version.Value, "dashboard.grafana.app/") {
			at(version, "apiVersion: expected dashboard.grafana.app/…, found %q", version.Value)
		}
		spec, uid = value(top, "spec"), value(value(top, "metadata"), "name")
		if spec.Kind != yaml.MappingNode {
			at(spec, "spec: expected the dashboard's model")
			return dashboard{}, false
		}
	}
	if !dashboardUID.MatchString(uid.Value) {
		at(uid, "a dashboard needs a uid (metadata.name of a manifest): at most 40 letters, digits, - and _")
	}
	d := dashboard{uid: uid.Value, title: strings.TrimSpace(value(spec, "title").Value), file: file.name}
	if d.title == "" {
		at(value(spec, "title"), "a dashboard needs a title")
	}
	if value(spec, "layout").Kind != 0 || value(spec, "elements").Kind != 0 {
		at(spec, "this is the model of dashboard.grafana.app/v2, which Cockpit's Grafana does not read: export the classic model")
	}
	var raw map[string]any
	err := spec.Decode(&raw)
	if err == nil {
		d.model, err = treeOf(raw)
	}
	if err != nil {
		at(spec, "%v", err)
		return dashboard{}, false
	}
	variables := dataSourceVariables(spec)
	ids := make(map[string]bool)
	for _, panel := range panels(spec) {
		id := value(panel, "id")
		if id.Value != "" && ids[id.Value] {
			at(id, "panel %q has the id of another one, %s", value(panel, "title").Value, id.Value)
		}
		ids[id.Value] = true
		for _, target := range elements(value(panel, "targets")) {
			d.queries = append(d.queries, r.target(file.name, target, panel, variables)...)
		}
	}
	for _, node := range references(spec) {
		if uid := value(node, "uid"); uid.Value != "" && !knownReference(uid.Value, variables) {
			at(uid, "data source %q: a uid is another one in each Grafana; name it by type and name, by type and origin, or leave it to a variable", uid.Value)
		}
	}
	return d, len(r.problems) == before
}

// uniqueDashboards checks what holds over several files.
func (r *reader) uniqueDashboards(in config.Folder, all []dashboard) {
	uids, titles := make(map[string]string), make(map[string]string)
	for _, d := range all {
		if strings.EqualFold(d.title, strings.TrimSpace(in.Title)) {
			r.report(d.file, 1, 1, "the title %q is that of the folder %s: Grafana refuses that", d.title, in.UID)
		}
		if first, taken := uids[d.uid]; taken {
			r.report(d.file, 1, 1, "the uid %q is that of %s", d.uid, first)
		} else if first, taken := titles[strings.ToLower(d.title)]; taken {
			r.report(d.file, 1, 1, "the title %q is that of %s: Grafana would replace one by the other", d.title, first)
		}
		uids[d.uid], titles[strings.ToLower(d.title)] = d.file, d.file
	}
}

// panels are all panels, those of rows included.
func panels(spec *yaml.Node) []*yaml.Node {
	var all []*yaml.Node
	for _, panel := range elements(value(spec, "panels")) {
		all = append(all, panel)
		all = append(all, elements(value(panel, "panels"))...)
	}
	return all
}

// dataSourceVariables are what stands for a data source: variables of the type
// datasource, and the inputs of an export, with the type of plugin.
func dataSourceVariables(spec *yaml.Node) map[string]string {
	all := make(map[string]string)
	for _, v := range elements(value(value(spec, "templating"), "list")) {
		if value(v, "type").Value == "datasource" {
			all[value(v, "name").Value] = value(v, "query").Value
		}
	}
	for _, input := range elements(value(spec, "__inputs")) {
		if value(input, "type").Value == "datasource" {
			all[value(input, "name").Value] = value(input, "pluginId").Value
		}
	}
	return all
}

// references are all values of the key "datasource" that are mappings.
func references(node *yaml.Node) []*yaml.Node {
	var all []*yaml.Node
	if node.Kind == yaml.MappingNode {
		if source := value(node, "datasource"); source.Kind == yaml.MappingNode {
			all = append(all, source)
		}
	}
	for _, child := range node.Content {
		all = append(all, references(child)...)
	}
	return all
}

// ofGrafana are the data sources that every Grafana has.
var ofGrafana = []string{"-- Grafana --", "-- Mixed --", "-- Dashboard --", "grafana", "__expr__"}

var variable = regexp.MustCompile(`^(?:\$(\w+)|\$\{(\w+)(?::\w+)?\}|\[\[(\w+)\]\])$`)

func knownReference(uid string, variables map[string]string) bool {
	if slices.Contains(ofGrafana, uid) {
		return true
	}
	_, known := variables[variableName(uid)]
	return known
}

// variableName is the variable that a text consists of; "" where it is none.
func variableName(reference string) string {
	if parts := variable.FindStringSubmatch(reference); parts != nil {
		return strings.Join(parts[1:], "")
	}
	return ""
}

// target parses the expression of a panel's query to a Prometheus.
func (r *reader) target(file string, target, panel *yaml.Node, variables map[string]string) []query {
	expr := value(target, "expr")
	if expr.Value == "" || !asksPrometheus(value(target, "datasource"), value(panel, "datasource"), variables) {
		return nil
	}
	parsed, err := promQL.ParseExpr(withoutVariables(expr.Value))
	if err != nil {
		r.report(file, expr.Line, expr.Column, "panel %q: %s", value(panel, "title").Value, strings.TrimSpace(err.Error()))
		return nil
	}
	return []query{{file, expr, parsed}}
}

func asksPrometheus(own, panels *yaml.Node, variables map[string]string) bool {
	source := own
	if source.Kind == 0 {
		source = panels
	}
	if kind := value(source, "type").Value; kind != "" && kind != "datasource" {
		return kind == "prometheus"
	}
	kind, known := variables[variableName(value(source, "uid").Value)]
	return !known || kind == "prometheus"
}

var (
	durationVariable = regexp.MustCompile(`\$__(rate_interval|interval|range)(_s|_ms)?|\$\{__(rate_interval|interval|range)(_s|_ms)?\}`)
	rangeVariable    = regexp.MustCompile(`\[(\$\w+|\$\{\w+\})`)
	quotedText       = regexp.MustCompile(`"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'`)
	otherVariable    = regexp.MustCompile(`\$\w+|\$\{[^}]*\}|\[\[\w+\]\]`)
)

// withoutVariables puts something in the place of Grafana's variables, so that
// the expression can be parsed. Those in quotes are text.
func withoutVariables(expr string) string {
	var b strings.Builder
	at := 0
	replace := func(s string) string {
		s = durationVariable.ReplaceAllStringFunc(s, func(name string) string {
			if strings.Contains(name, "_s") || strings.Contains(name, "_ms") {
				return "300"
			}
			return "5m"
		})
		s = rangeVariable.ReplaceAllString(s, "[5m")
		return otherVariable.ReplaceAllString(s, "1")
	}
	for _, quoted := range quotedText.FindAllStringIndex(expr, -1) {
		b.WriteString(replace(expr[at:quoted[0]]))
		b.WriteString(expr[quoted[0]:quoted[1]])
		at = quoted[1]
	}
	b.WriteString(replace(expr[at:]))
	return b.String()
}

// liveSource is a data source as a Grafana has it.
type liveSource struct{ uid, name, kind, origin string }

// resolved is the model for one Grafana: with its data sources, without what an
// export carries along, and with our mark.
func (d dashboard) resolved(sources []liveSource) (map[string]any, error) {
	inputs, err := resolveInputs(d.model, sources)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.file, err)
	}
	model, err := resolveReferences(d.model, sources, inputs)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.file, err)
	}
	tree := dashboardTree(model.(map[string]any))
	for _, key := range []string{"__inputs", "__requires", "__elements"} {
		delete(tree, key)
	}
	tree["uid"], tree["title"] = d.uid, d.title
	tags, _ := tree["tags"].([]any)
	if !slices.Contains(tags, any(markTag)) {
		tags = append(slices.Clone(tags), markTag)
	}
	tree["tags"] = tags
	return tree, nil
}

// dashboardTree is the normal form of a model that Grafana gave or is given:
// without what counts its versions.
func dashboardTree(model map[string]any) map[string]any {
	tree := maps.Clone(model)
	for _, key := range []string{"id", "version", "iteration"} {
		delete(tree, key)
	}
	return tree
}

func isMarkedDashboard(tree map[string]any) bool {
	tags, _ := tree["tags"].([]any)
	return slices.Contains(tags, any(markTag))
}

// resolveInputs gives each input of an export a value: the only data source of
// its type, one of scwatch's before Scaleway's, or the constant that it has.
func resolveInputs(model map[string]any, sources []liveSource) (map[string]string, error) {
	inputs := make(map[string]string)
	all, _ := model["__inputs"].([]any)
	for _, input := range all {
		input, _ := input.(map[string]any)
		name, _ := input["name"].(string)
		if input["type"] == "constant" {
			inputs[name], _ = input["value"].(string)
			continue
		}
		kind, _ := input["pluginId"].(string)
		uid, err := find(sources, kind, "", "")
		if err != nil {
			return nil, fmt.Errorf("__inputs: %s: %w", name, err)
		}
		inputs[name] = uid
	}
	return inputs, nil
}

// resolveReferences copies a model with each data source by its uid.
func resolveReferences(v any, sources []liveSource, inputs map[string]string) (any, error) {
	switch v := v.(type) {
	case string:
		return otherVariable.ReplaceAllStringFunc(v, func(reference string) string {
			if value, ok := inputs[variableName(reference)]; ok {
				return value
			}
			return reference
		}), nil
	case []any:
		copied := make([]any, len(v))
		for i := range v {
			var err error
			if copied[i], err = resolveReferences(v[i], sources, inputs); err != nil {
				return nil, err
			}
		}
		return copied, nil
	case map[string]any:
		copied := make(map[string]any, len(v))
		for key, item := range v {
			var err error
			if source, ok := item.(map[string]any); ok && key == "datasource" && source["uid"] == nil && (source["name"] != nil || source["origin"] != nil) {
				kind, _ := source["type"].(string)
				name, _ := source["name"].(string)
				origin, _ := source["origin"].(string)
				uid, err := find(sources, kind, name, origin)
				if err != nil {
					return nil, err
				}
				copied[key] = map[string]any{"type": kind, "uid": uid}
				continue
			}
			if copied[key], err = resolveReferences(item, sources, inputs); err != nil {
				return nil, err
			}
		}
		return copied, nil
	}
	return v, nil
}

// find is the uid of the data source of a type, and of a name or origin where
// one is given.
func find(sources []liveSource, kind, name, origin string) (string, error) {
	var found []liveSource
	for _, s := range sources {
		if s.kind == kind && (name == "" || s.name == name) && (origin == "" || s.origin == origin) {
			found = append(found, s)
		}
	}
	if name == "" && origin == "" && len(found) > 1 {
		found = slices.DeleteFunc(found, func(s liveSource) bool { return s.origin != "custom" })
	}
	what := strings.Join(slices.DeleteFunc([]string{kind, name, origin}, func(s string) bool { return s == "" }), ", ")
	switch len(found) {
	case 1:
		return found[0].uid, nil
	case 0:
		return "", fmt.Errorf("this Grafana has no data source (%s)", what)
	}
	return "", fmt.Errorf("this Grafana has %d data sources (%s): name one", len(found), what)
}

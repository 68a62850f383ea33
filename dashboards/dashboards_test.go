package dashboards

import (
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql/parser"
	"gopkg.in/yaml.v3"
)

// manifest is what the tests read of a file.
type manifest struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string
	Metadata   struct{ Name string }
	Spec       struct {
		Title         string
		Tags          []string
		SchemaVersion int  `yaml:"schemaVersion"`
		Editable      bool `yaml:"editable"`
		Panels        []panel
		Annotations   struct{ List []target }
		Templating    struct{ List []variable }
	}
}

type variable struct {
	Name, Label, Description, Type, Regex string
	Query                                 any
	Refresh                               int
	Datasource                            source
}

type source struct{ Type, UID string }

type target struct {
	RefID        string `yaml:"refId"`
	Datasource   source
	Expr         string
	Instant      bool
	LegendFormat string `yaml:"legendFormat"`
	TitleFormat  string `yaml:"titleFormat"`
	TextFormat   string `yaml:"textFormat"`
	BuiltIn      int    `yaml:"builtIn"`
}

type panel struct {
	ID                       int
	Type, Title, Description string
	GridPos                  struct{ X, Y, W, H int } `yaml:"gridPos"`
	Datasource               source
	MaxDataPoints            int `yaml:"maxDataPoints"`
	Interval                 string
	Targets                  []target
	Panels                   []panel
	FieldConfig              struct {
		Defaults struct {
			Unit    string
			NoValue string `yaml:"noValue"`
			Color   struct{ Mode string }

			Thresholds struct{ Steps []struct{ Color string } }
		}
		Overrides []struct {
			Matcher struct{ ID, Options string }
		}
	} `yaml:"fieldConfig"`
	Transformations []struct {
		ID      string
		Options struct {
			ByField      string `yaml:"byField"`
			Include      struct{ Names []string }
			RenameByName map[string]string `yaml:"renameByName"`
		}
	}
	Options struct {
		SortBy []struct {
			DisplayName string `yaml:"displayName"`
		} `yaml:"sortBy"`
	}
	text string // the whole panel, for what it refers to
}

// all are the panels, those of collapsed rows included.
func (m *manifest) all() []panel {
	var all []panel
	for _, p := range m.Spec.Panels {
		all = append(append(all, p), p.Panels...)
	}
	return all
}

func (p *panel) UnmarshalYAML(node *yaml.Node) error {
	type plain panel
	if err := node.Decode((*plain)(p)); err != nil {
		return err
	}
	text, err := yaml.Marshal(node)
	p.text = string(text)
	return err
}

func load(t testing.TB) map[string]*manifest {
	t.Helper()
	files, err := fs.Glob(FS, "*.yaml")
	if err != nil || len(files) != 3 {
		t.Fatalf("%v, error %v: want three dashboards", files, err)
	}
	all := map[string]*manifest{}
	for _, file := range files {
		data, err := fs.ReadFile(FS, file)
		if err != nil {
			t.Fatal(err)
		}
		all[file] = &manifest{}
		if err := yaml.Unmarshal(data, all[file]); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
	}
	return all
}

var (
	uids = map[string]string{"fleet.yaml": "scwatch-fleet", "function.yaml": "scwatch-function", "scwatch.yaml": "scwatch-self"}
	// What Grafana 10 has of what is of use here.
	panelTypes = []string{"stat", "table", "timeseries", "bargauge", "state-timeline", "row", "text", "logs"}
	units      = []string{"short", "s", "bytes", "percent", "percentunit", "cpm", "locale", "currencyEUR", "dtdurations", "dateTimeFromNow"}
	// Purple, and what Grafana draws its own annotations in, say nothing.
	colours = []string{"red", "orange", "yellow", "blue", "green", "#808080", "purple", "rgba(0, 211, 255, 1)"}
	meaning = map[string]string{
		"critical": "red", "high": "orange", "medium": "yellow", "low": "blue", "info": "#808080", "none": "green",
		"public": "orange", "private": "green", "unknown": "#808080",
	}
	reference = regexp.MustCompile(`\$(?:\{(\w+)(?:\.[^}]*)?(?::\w+)?\}|(\w+))`)
)

// What Grafana's own linter asks, and what is a rule here. Unlike there, ranges
// are fixed, unless a panel's points lie far apart: samples that are pushed may
// lie four minutes apart, while the least $__rate_interval of a data source is a
// minute. Annotations have both, because Grafana asks for a hundred points of
// them, however long the time.
func TestLint(t *testing.T) {
	for file, m := range load(t) {
		fail := func(format string, args ...any) { t.Helper(); t.Errorf(file+": "+format, args...) }
		if m.APIVersion != "dashboard.grafana.app/v1beta1" || m.Kind != "Dashboard" || m.Metadata.Name != uids[file] {
			fail("%s %s %s", m.APIVersion, m.Kind, m.Metadata.Name)
		}
		if m.Spec.Title == "" || !slices.Contains(m.Spec.Tags, "scwatch") || m.Spec.Editable || m.Spec.SchemaVersion < 36 || m.Spec.SchemaVersion > 38 {
			fail("title %q, tags %v, editable %v, schemaVersion %d", m.Spec.Title, m.Spec.Tags, m.Spec.Editable, m.Spec.SchemaVersion)
		}
		names := []string{"__range", "__rate_interval", "__url_time_range", "__data", "__value"}
		sources := map[string]string{} // type by the reference to it
		for _, v := range m.Spec.Templating.List {
			names = append(names, v.Name)
			if v.Label == "" || v.Description == "" {
				fail("the variable %s needs a label and a description", v.Name)
			}
			switch {
			case v.Type == "datasource":
				sources["${"+v.Name+"}"] = v.Query.(string)
			case v.Refresh != 2 || sources[v.Datasource.UID] != v.Datasource.Type:
				fail("the variable %s is not asked of a data source's variable whenever the time changes", v.Name)
			}
		}
		for _, a := range m.Spec.Annotations.List {
			if a.BuiltIn == 0 && sources[a.Datasource.UID] != "prometheus" {
				fail("an annotation asks %v", a.Datasource)
			}
		}
		ids := map[int]string{}
		taken := map[[2]int]string{}
		for _, p := range m.all() {
			fail := func(format string, args ...any) { t.Helper(); fail("%q: "+format, append([]any{p.Title}, args...)...) }
			if other, ok := ids[p.ID]; ok || p.ID == 0 {
				fail("its id is that of %q", other)
			}
			ids[p.ID] = p.Title
			if g := p.GridPos; g.W < 1 || g.H < 1 || g.X < 0 || g.X+g.W > 24 {
				fail("it is out of the grid: %v", g)
			}
			for x := range p.GridPos.W {
				for y := range p.GridPos.H {
					at := [2]int{p.GridPos.X + x, p.GridPos.Y + y}
					if other, ok := taken[at]; ok {
						fail("it lies over %q", other)
					}
					taken[at] = p.Title
				}
			}
			if !slices.Contains(panelTypes, p.Type) {
				fail("type %s", p.Type)
			}
			if p.Title == "" || p.Description == "" && p.Type != "row" {
				fail("it needs a title and a description")
			}
			for _, parts := range reference.FindAllStringSubmatch(p.text, -1) {
				if name := parts[1] + parts[2]; !slices.Contains(names, name) && !regexp.MustCompile(`^\d$`).MatchString(name) {
					fail("there is no variable %s", name)
				}
			}
			if p.Type == "row" || p.Type == "text" {
				continue
			}
			// A stat without data has the colour of the first step.
			if steps := p.FieldConfig.Defaults.Thresholds.Steps; p.Type == "stat" && (len(steps) == 0 || steps[0].Color != "#808080" && steps[0].Color != "purple") {
				fail("without data it has the colour of a severity: %v", steps)
			}
			// Grafana writes noValue in the place of a tick that has more decimals.
			if p.Type == "timeseries" && strings.Contains(p.text, "decimals:") {
				fail("its decimals put the text for no data on the axis")
			}
			// With a colour by thresholds, older timelines ignore the mappings.
			if p.Type == "state-timeline" && p.FieldConfig.Defaults.Color.Mode != "fixed" {
				fail("its colours are by %s, not by what its values mean", p.FieldConfig.Defaults.Color.Mode)
			}
			if len(p.Targets) == 0 || !slices.Contains(units, p.FieldConfig.Defaults.Unit) || len(p.FieldConfig.Defaults.NoValue) < 8 {
				fail("targets %d, unit %q, noValue %q", len(p.Targets), p.FieldConfig.Defaults.Unit, p.FieldConfig.Defaults.NoValue)
			}
			refs := map[string]bool{}
			for _, q := range p.Targets {
				if refs[q.RefID] || q.RefID == "" {
					fail("refId %q", q.RefID)
				}
				refs[q.RefID] = true
				if kind := sources[q.Datasource.UID]; kind == "" || kind != q.Datasource.Type || q.Datasource != p.Datasource {
					fail("it asks %v and %v, which are no variables of their type", p.Datasource, q.Datasource)
				}
				if step, _ := time.ParseDuration(p.Interval); strings.Contains(q.Expr, "$__rate_interval") && step < 10*time.Minute {
					fail("its points may lie %s apart, within which there may be no two samples", step)
				}
				if q.Datasource.Type == "prometheus" {
					lintQuery(q.Expr, fail)
				}
			}
		}
		data, _ := fs.ReadFile(FS, file)
		var root yaml.Node
		if err := yaml.Unmarshal(data, &root); err != nil {
			t.Fatal(err)
		}
		lintColours(&root, fail)
	}
}

// lintQuery reports ranges that may hold no two samples, and counters that are
// taken as they are.
func lintQuery(query string, fail func(string, ...any)) {
	expr, err := promQL.ParseExpr(substitute(query, nil))
	if err != nil {
		fail("%v", err)
		return
	}
	parser.Inspect(expr, func(node parser.Node, path []parser.Node) error {
		switch n := node.(type) {
		case *parser.MatrixSelector:
			if n.Range < 10*time.Minute {
				fail("the range %s may hold no two samples", n.Range)
			}
		case *parser.VectorSelector:
			_, ranged := path[len(path)-1].(*parser.MatrixSelector)
			if strings.HasSuffix(n.Name, "_total") && !ranged {
				fail("%s is a counter: take its rate or increase", n.Name)
			}
		}
		return nil
	})
}

// lintColours reports colours that mean nothing, and words in the colour of
// another severity.
func lintColours(node *yaml.Node, fail func(string, ...any)) {
	if node.Kind == yaml.MappingNode {
		values := map[string]string{}
		for i := 0; i < len(node.Content); i += 2 {
			values[node.Content[i].Value] = node.Content[i+1].Value
		}
		for _, key := range []string{"color", "fixedColor", "iconColor"} {
			if c := values[key]; c != "" && !slices.Contains(colours, c) {
				fail("line %d: the colour %s has no meaning", node.Line, c)
			}
		}
		if want := meaning[values["text"]]; want != "" && values["color"] != "" && values["color"] != want {
			fail("line %d: %s is %s, want %s", node.Line, values["text"], values["color"], want)
		}
		mode := values["mode"]
		if strings.HasPrefix(mode, "palette") || strings.HasPrefix(mode, "continuous") {
			fail("line %d: the colours of %s mean nothing", node.Line, mode)
		}
		if _, options := values["cellOptions"]; options || values["id"] == "custom.cellOptions" || mode == "shades" {
			fail("line %d: a Grafana before 9.5 does not know it, and shows the panel empty or without colours", node.Line)
		}
	}
	for _, child := range node.Content {
		lintColours(child, fail)
	}
}

var promQL = parser.NewParser(parser.Options{})

// substitute puts values in the place of the variables, as Grafana does.
func substitute(text string, values map[string]string) string {
	return reference.ReplaceAllStringFunc(text, func(found string) string {
		parts := reference.FindStringSubmatch(found)
		name := parts[1] + parts[2]
		switch value, ok := values[name]; {
		case ok:
			return value
		case name == "__range" || name == "__rate_interval":
			return "1h"
		case regexp.MustCompile(`^\d$`).MatchString(name): // of label_replace
			return found
		}
		return anything
	})
}

// anything stands for a variable that has no value.
const anything = ".*"

package collector

import (
	"bytes"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/scwatch/scwatch/collector/push"
	"github.com/scwatch/scwatch/internal/httpclient"
)

// The reference pages are generated from the tables of this package; what
// differs from them is an error, and written anew where SCWATCH_UPDATE is set.

func TestGeneratedMetricsPage(t *testing.T) {
	var page bytes.Buffer
	fmt.Fprint(&page, `# Metrics

Generated from the code; `+"`make generate`"+` writes it anew.

Series about a function carry its identity: `+"`"+strings.Join(identity, "`, `")+"`"+`. Everything else that is known of it stands once, on `+"`scaleway_function_info`"+`; join it with `+"`* on(function_id) group_left(project, team) scaleway_function_info`"+`. A label without a value is absent.

## Functions

`)
	header := "| metric | type | further labels | meaning |\n| --- | --- | --- | --- |\n"
	page.WriteString(header)
	for _, m := range Metrics {
		if m.function != nil {
			writeMetric(&page, m.Name, m.Type, m.Labels[len(identity):], m.Help)
		}
	}
	page.WriteString("\n## scwatch itself\n\n" + strings.Replace(header, "further labels", "labels", 1))
	for _, m := range Metrics {
		if m.snapshot != nil {
			writeMetric(&page, m.Name, m.Type, m.Labels, m.Help)
		}
	}
	own := &described{}
	NewPollMetrics(own)
	httpclient.NewMetrics(own)
	push.NewMetrics(own)
	for _, m := range own.metrics {
		writeMetric(&page, m.Name, m.Type, m.Labels, m.Help)
	}
	page.WriteString("\nThe daemon's build, the last reload of its configuration, its process and its Go runtime are there as well: `scwatch_build_info`, `scwatch_config_last_reload_successful`, `scwatch_config_last_reload_success_timestamp_seconds`, `process_*`, `go_*`.\n")
	golden(t, "../../docs/metrics.md", page.Bytes())
}

// described is a registerer that takes down what it is given, values or not.
type described struct {
	prometheus.Registerer
	metrics []Metric
}

var description = regexp.MustCompile(`fqName: "(.*?)", help: "(.*?)", .*variableLabels: \{(.*?)\}`)

func (d *described) MustRegister(collectors ...prometheus.Collector) {
	for _, c := range collectors {
		descs := make(chan *prometheus.Desc, 1)
		c.Describe(descs)
		parts := description.FindStringSubmatch((<-descs).String())
		m := Metric{Name: parts[1], Help: parts[2], Type: counter}
		if parts[3] != "" {
			m.Labels = strings.Split(parts[3], ",")
		}
		switch c.(type) {
		case *prometheus.GaugeVec, prometheus.Gauge:
			m.Type = gauge
		case *prometheus.HistogramVec:
			m.Type = "histogram"
		}
		d.metrics = append(d.metrics, m)
	}
}

func writeMetric(page *bytes.Buffer, name, kind string, labels []string, help string) {
	cell := ""
	if len(labels) > 0 {
		cell = "`" + strings.Join(labels, "`, `") + "`"
	}
	fmt.Fprintf(page, "| `%s` | %s | %s | %s |\n", name, kind, cell, strings.ReplaceAll(help, "|", `\|`))
}

func TestGeneratedCheckPages(t *testing.T) {
	index := bytes.NewBufferString("# Checks\n\nGenerated from the code; `make generate` writes it anew.\n\n| check | severity | finds |\n| --- | --- | --- |\n")
	pages := []string{"README.md"}
	for _, check := range Checks {
		fmt.Fprintf(index, "| [%s](%s.md) | %s | %s |\n", check.ID, check.ID, check.Severity, check.Title)
		page := fmt.Sprintf("# %s\n\n**%s.** Severity: %s.\n\n%s\n\n## Mend it\n\nIn the console: %s\n\nWith the CLI:\n\n```sh\n%s\n```\n\nWith Terraform: %s\n\n## Except it\n\n```yaml\nexceptions:\n  - {checks: [%s], function: NAME, namespace: NAME, owner: TEAM, reason: WHY, expires: 2027-03-31}\n```\n",
			check.ID, check.Title, check.Severity, check.Why, check.Remedy.Console, check.Remedy.CLI, check.Remedy.Terraform, check.ID)
		golden(t, "../../docs/checks/"+check.ID+".md", []byte(page))
		pages = append(pages, check.ID+".md")
	}
	golden(t, "../../docs/checks/README.md", index.Bytes())

	found, err := filepath.Glob("../docs/checks/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range found {
		if !slices.Contains(pages, filepath.Base(path)) {
			t.Errorf("%s is the page of no check", path)
		}
	}
}

func TestCheckTable(t *testing.T) {
	seen := map[string]bool{}
	rank := func(s Severity) int { return slices.Index(Severities, s) }
	for i, check := range Checks {
		if seen[check.ID] {
			t.Errorf("%s stands twice", check.ID)
		}
		seen[check.ID] = true
		if rank(check.Severity) < 0 {
			t.Errorf("%s has the severity %q", check.ID, check.Severity)
		}
		if i > 0 && rank(check.Severity) < rank(Checks[i-1].Severity) {
			t.Errorf("%s stands behind less severe ones", check.ID)
		}
		for what, text := range map[string]string{"title": check.Title, "reason": check.Why, "console": check.Remedy.Console, "CLI": check.Remedy.CLI, "Terraform": check.Remedy.Terraform} {
			if text == "" {
				t.Errorf("%s has no %s", check.ID, what)
			}
		}
	}
}

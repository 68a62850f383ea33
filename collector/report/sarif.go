package report

import (
	"fmt"
	"io"
	"net/url"
	"strings"

	"github.com/scwatch/scwatch/collector"
	"github.com/scwatch/scwatch/internal/printable"
)

// SARIF 2.1.0, the part of it that is written.
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Invocations []sarifInvocation `json:"invocations"`
		Tool        sarifTool         `json:"tool"`
		Results     []sarifResult     `json:"results"`
	}
	sarifInvocation struct {
		ExecutionSuccessful bool                `json:"executionSuccessful"`
		Notifications       []sarifNotification `json:"toolExecutionNotifications"`
	}
	sarifNotification struct {
		Level   string       `json:"level"`
		Message sarifMessage `json:"message"`
	}
	sarifMessage struct {
		Text     string `json:"text"`
		Markdown string `json:"markdown,omitempty"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name           string      `json:"name"`
		Version        string      `json:"version"`
		InformationURI string      `json:"informationUri"`
		Rules          []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID            string             `json:"id"`
		Name          string             `json:"name"`
		Short         sarifMessage       `json:"shortDescription"`
		Full          sarifMessage       `json:"fullDescription"`
		Help          sarifMessage       `json:"help"`
		HelpURI       string             `json:"helpUri"`
		Configuration sarifConfiguration `json:"defaultConfiguration"`
		Properties    sarifProperties    `json:"properties"`
	}
	sarifConfiguration struct {
		Level string `json:"level"`
	}
	sarifProperties struct {
		Tags             []string `json:"tags"`
		SecuritySeverity string   `json:"security-severity,omitempty"`
	}
	sarifResult struct {
		RuleID        string             `json:"ruleId"`
		RuleIndex     int                `json:"ruleIndex"`
		Level         string             `json:"level"`
		Message       sarifMessage       `json:"message"`
		Locations     []sarifLocation    `json:"locations"`
		Fingerprints  map[string]string  `json:"partialFingerprints"`
		BaselineState string             `json:"baselineState,omitempty"`
		Suppressions  []sarifSuppression `json:"suppressions,omitempty"`
	}
	sarifLocation struct {
		Physical sarifPhysical  `json:"physicalLocation"`
		Logical  []sarifLogical `json:"logicalLocations"`
	}
	sarifPhysical struct {
		Artifact sarifArtifact `json:"artifactLocation"`
	}
	sarifArtifact struct {
		URI string `json:"uri"`
	}
	sarifLogical struct {
		Name               string `json:"name"`
		FullyQualifiedName string `json:"fullyQualifiedName"`
		Kind               string `json:"kind"`
	}
	sarifSuppression struct {
		Kind          string `json:"kind"`
		Status        string `json:"status"`
		Justification string `json:"justification"`
	}
)

// sarifLevels and sarifScores are what code-scanning pages sort by: the scores
// are in their ranges for critical, high, medium and low. A page shows what has
// no score as a remark.
var (
	sarifLevels = map[collector.Severity]string{
		collector.Critical: "error", collector.High: "error", collector.Medium: "warning", collector.Low: "note", collector.Info: "note",
	}
	sarifScores = map[collector.Severity]string{
		collector.Critical: "9.5", collector.High: "8.0", collector.Medium: "5.5", collector.Low: "3.0",
	}
)

// WriteSARIF writes r for code-scanning pages; version is scwatch's own. The
// rules are all there are, so that a page can tell what was mended from what is
// no longer checked. What is excepted is there as suppressed.
func (r *Report) WriteSARIF(w io.Writer, version string) error {
	run := sarifRun{
		Invocations: []sarifInvocation{{ExecutionSuccessful: r.Complete, Notifications: r.notifications()}},
		Tool:        sarifTool{sarifDriver{Name: "scwatch", Version: version, InformationURI: "https://github.com/scwatch/scwatch", Rules: []sarifRule{}}},
		Results:     []sarifResult{},
	}
	for _, check := range collector.Checks {
		run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, newRule(newCheck(check)))
	}
	for _, f := range r.Findings {
		run.Results = append(run.Results, r.newResult(f))
	}
	for _, f := range r.Excepted {
		result := r.newResult(f)
		result.Suppressions = []sarifSuppression{{Kind: "external", Status: "accepted", Justification: printable.Line(f.Exception.answered())}}
		run.Results = append(run.Results, result)
	}
	return writeJSON(w, sarifLog{
		Schema:  "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
		Version: "2.1.0", Runs: []sarifRun{run},
	})
}

func (r *Report) notifications() []sarifNotification {
	all := []sarifNotification{}
	for _, warning := range r.warnings() {
		all = append(all, sarifNotification{"warning", sarifMessage{Text: warning}})
	}
	for _, u := range r.Unread {
		all = append(all, sarifNotification{"error", sarifMessage{Text: sarifText(u.place() + ": " + u.Error)}})
	}
	return all
}

func newRule(c Check) sarifRule {
	rule := sarifRule{
		ID: c.ID, Name: c.ID, HelpURI: c.Page,
		Short: sarifMessage{Text: c.Title + "."}, Full: sarifMessage{Text: c.Why},
		Help: sarifMessage{
			Text:     fmt.Sprintf("%s\n\nConsole: %s\n\nCLI: %s\n\nTerraform: %s", c.Why, c.Remedy.Console, c.Remedy.CLI, c.Remedy.Terraform),
			Markdown: fmt.Sprintf("%s\n\n**In the console:** %s\n\n**With the CLI:**\n\n```sh\n%s\n```\n\n**With Terraform:** %s\n\n[More about this check](%s)", c.Why, c.Remedy.Console, c.Remedy.CLI, c.Remedy.Terraform, c.Page),
		},
		Configuration: sarifConfiguration{sarifLevels[c.Severity]},
		Properties:    sarifProperties{Tags: []string{"security", "serverless"}, SecuritySeverity: sarifScores[c.Severity]},
	}
	return rule
}

func (r *Report) newResult(f Finding) sarifResult {
	fn := f.Function
	result := sarifResult{
		RuleID: f.Check, RuleIndex: order[f.Check], Level: sarifLevels[f.Severity],
		Message: sarifMessage{Text: sarifText(fmt.Sprintf("Function %s of namespace %s (project %s, %s): %s. To mend it: %s", fn.Name, fn.Namespace, fn.Project, fn.Region, f.told(), f.Command))},
		Locations: []sarifLocation{{
			Physical: sarifPhysical{sarifArtifact{sarifPath("scaleway", fn.ProjectID, fn.Region, fn.Namespace, fn.Name)}},
			Logical: []sarifLogical{{
				Name: printable.Line(fn.Name), Kind: "function",
				FullyQualifiedName: printable.Line(strings.Join([]string{fn.ProjectID, fn.Region, fn.Namespace, fn.Name}, "/")),
			}},
		}},
		// The first is the one that GitHub goes by, whatever its name says.
		Fingerprints: map[string]string{"primaryLocationLineHash": f.Fingerprint, "scwatch/v1": f.Fingerprint},
	}
	if r.Baseline != nil {
		result.BaselineState = "new"
	}
	return result
}

// sarifPath is the address of a function as that of a file: pages list results
// by file, and refuse those without one.
func sarifPath(parts ...string) string {
	for i, part := range parts {
		part = url.PathEscape(part)
		if strings.Trim(part, ".") == "" {
			part = strings.ReplaceAll(part, ".", "%2E") // no way out of the tree
		}
		parts[i] = part
	}
	return strings.Join(parts, "/")
}

// sarifText is s without the marks of a link, which a page would make one of.
func sarifText(s string) string {
	return strings.NewReplacer(`\`, `\\`, "[", `\[`, "]", `\]`).Replace(printable.Line(s))
}

package main

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/scwatch/scwatch/collector"
	"github.com/scwatch/scwatch/internal/config"
	"github.com/scwatch/scwatch/internal/simulator"
)

// script is what an example gives a shell, line by line or in one piece.
type script []string

func (s *script) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		*s = script{n.Value}
		return nil
	}
	return n.Decode((*[]string)(s))
}

// The pipelines of docs/examples are YAML of the shape that the two services
// take, and their scripts are shell.
func TestPipelineExamples(t *testing.T) {
	var gitlab struct {
		Stages  []string `yaml:"stages"`
		Posture struct {
			Stage     string `yaml:"stage"`
			Image     string `yaml:"image"`
			Script    script `yaml:"script"`
			Artifacts struct {
				When    string            `yaml:"when"`
				Reports map[string]string `yaml:"reports"`
				Expire  string            `yaml:"expire_in"`
			} `yaml:"artifacts"`
		} `yaml:"posture"`
	}
	decodeExample(t, "gitlab-ci.yml", &gitlab)
	job := gitlab.Posture
	if !slices.Contains(gitlab.Stages, job.Stage) || job.Image == "" || job.Artifacts.When != "always" {
		t.Errorf("the GitLab job is %+v", job)
	}
	checkShell(t, strings.Join(job.Script, "\n"), job.Artifacts.Reports["junit"])

	var github struct {
		Name        string            `yaml:"name"`
		On          map[string]any    `yaml:"on"`
		Permissions map[string]string `yaml:"permissions"`
		Jobs        map[string]struct {
			RunsOn string `yaml:"runs-on"`
			Steps  []struct {
				Name string            `yaml:"name"`
				ID   string            `yaml:"id"`
				If   string            `yaml:"if"`
				Uses string            `yaml:"uses"`
				Run  string            `yaml:"run"`
				With map[string]string `yaml:"with"`
				Env  map[string]string `yaml:"env"`
			} `yaml:"steps"`
		} `yaml:"jobs"`
	}
	decodeExample(t, "github-workflow.yml", &github)
	steps := github.Jobs["audit"].Steps
	if len(github.On) == 0 || github.Jobs["audit"].RunsOn == "" || github.Permissions["security-events"] != "write" || len(steps) == 0 {
		t.Fatalf("the GitHub workflow is %+v", github)
	}
	for i, step := range steps {
		if (step.Uses == "") == (step.Run == "") {
			t.Errorf("step %d has neither or both of uses and run", i)
		}
		if step.ID == "audit" {
			checkShell(t, step.Run, steps[len(steps)-1].With["sarif_file"])
		}
	}
}

func decodeExample(t *testing.T, file string, out any) {
	data, err := os.ReadFile("../../docs/examples/" + file)
	if err != nil {
		t.Fatal(err)
	}
	d := yaml.NewDecoder(bytes.NewReader(data))
	d.KnownFields(true)
	if err := d.Decode(out); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

// checkShell finds what is wrong with a script that is to write file.
func checkShell(t *testing.T, script, file string) {
	if out, err := exec.Command("sh", "-n", "-c", script).CombinedOutput(); err != nil {
		t.Errorf("%v: %s\n%s", err, out, script)
	}
	if file == "" || !strings.Contains(script, "> "+file) {
		t.Errorf("it does not write %q:\n%s", file, script)
	}
}

// Every scwatch audit that is written down somewhere is one that scwatch takes.
func TestDocumentedAuditCommands(t *testing.T) {
	found := 0
	for _, file := range []string{"audit.md", "examples/gitlab-ci.yml", "examples/github-workflow.yml"} {
		data, err := os.ReadFile("../../docs/" + file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(data)) {
			_, args, ok := strings.Cut(strings.TrimSpace(line), "scwatch audit")
			if !ok || strings.ContainsRune(args, '`') {
				continue
			}
			args, _, _ = strings.Cut(args, "#")
			args, _, _ = strings.Cut(args, ">")
			found++
			if _, err := newApplication(&options{}).Parse(append([]string{"audit"}, strings.Fields(args)...)); err != nil {
				t.Errorf("%s: scwatch audit%s: %v", file, args, err)
			}
		}
	}
	if found < 7 {
		t.Errorf("%d commands were found", found)
	}
}

// The formats and thresholds that the documentation names are those of the flags.
func TestDocumentedFormats(t *testing.T) {
	data, err := os.ReadFile("../../docs/audit.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{formatTable, formatJSON, formatSARIF, formatMarkdown, formatJUnit, formatExceptions} {
		if !strings.Contains(string(data), "| `"+format+"` |") {
			t.Errorf("the format %s is not described", format)
		}
	}
	for _, severity := range collector.Severities {
		if !strings.Contains(string(data), "`"+string(severity)+"`") {
			t.Errorf("the threshold %s is not described", severity)
		}
	}
}

// Projects are chosen by name or ID, and one that is not there is an error.
func TestChooseProjects(t *testing.T) {
	names := map[string]string{"id-1": "shop", "id-2": "", "id-3": "shop"}
	for _, test := range []struct {
		wanted, want []string
	}{
		{nil, []string{"id-1", "id-2", "id-3"}},
		{[]string{"shop"}, []string{"id-1", "id-3"}},
		{[]string{"id-2", "id-1"}, []string{"id-1", "id-2"}},
		{[]string{"id-2", "site"}, nil},
	} {
		a := auditOptions{}
		a.filter.Projects = test.wanted
		got, err := a.choose(maps.Clone(names))
		if !slices.Equal(got, test.want) || (err != nil) != (test.want == nil) {
			t.Errorf("of %v: %v, %v", test.wanted, got, err)
		}
	}
}

// The regions are narrowed in the configuration, so that others are not read.
func TestNarrowRegions(t *testing.T) {
	c := &config.Config{Scaleway: config.Scaleway{Regions: []string{"fr-par", "nl-ams", "pl-waw"}}}
	a := auditOptions{}
	a.filter.Regions = []string{"pl-waw", "fr-par"}
	if err := a.check(c, time.Time{}); err != nil || !slices.Equal(c.Scaleway.Regions, []string{"fr-par", "pl-waw"}) {
		t.Errorf("%v, %v", c.Scaleway.Regions, err)
	}
}

// demoEnv has the credentials of sim, which is served for as long as t runs.
func demoEnv(t *testing.T, sim *simulator.Server) config.Environment {
	url, end, err := sim.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(end)
	env := map[string]string{
		"SCW_API_URL": url, "SCW_ACCESS_KEY": simulator.DemoAccessKey, "SCW_SECRET_KEY": simulator.DemoSecretKey,
		"SCW_DEFAULT_ORGANIZATION_ID": simulator.DemoOrganization, "SCW_CONFIG_PATH": "none", "SCWATCH_CONFIG": `scaleway: {projects: ["*"]}`,
	}
	return func(name string) string { return env[name] }
}

// No format, and no log line, holds the value of a variable, the hash of a
// secret, a token or the key.
func TestAuditTellsNoSecret(t *testing.T) {
	sim := simulator.New(simulator.DemoAccount(time.Now()))
	env := demoEnv(t, sim)
	secrets := []string{simulator.DemoSecretKey, "argon2id", "hunter2"}
	sim.Update(func(a *simulator.Account) {
		for _, p := range a.Projects {
			for _, ns := range p.Namespaces {
				secrets = slices.AppendSeq(secrets, maps.Values(ns.Variables))
				for _, token := range ns.Tokens {
					secrets = append(secrets, token.Value)
				}
				for _, f := range ns.Functions {
					secrets = slices.AppendSeq(secrets, maps.Values(f.Variables))
					for _, token := range f.Tokens {
						secrets = append(secrets, token.Value)
					}
				}
			}
		}
	})
	secrets = slices.DeleteFunc(secrets, func(s string) bool { return len(s) < 5 }) // "true", "info": words
	if len(secrets) < 10 {
		t.Fatalf("there are %d secrets only", len(secrets))
	}
	for _, format := range []string{formatTable, formatJSON, formatSARIF, formatMarkdown, formatJUnit, formatExceptions} {
		args := []string{"audit", "--log.level=debug", "--format=" + format}
		if format == formatExceptions {
			args = append(args, "--owner=web", "--expires=2999-01-31")
		}
		var out bytes.Buffer
		if code := run(t.Context(), args, process{stdout: &out, stderr: &out, env: env}); code != exitFound {
			t.Fatalf("%s: exit code %d: %s", format, code, &out)
		}
		for _, secret := range secrets {
			if strings.Contains(out.String(), secret) {
				t.Errorf("%s holds %q", format, secret)
			}
		}
	}
}

// What is interrupted is no report.
func TestInterruptedAudit(t *testing.T) {
	env := demoEnv(t, simulator.New(simulator.DemoAccount(time.Now())))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var stdout, stderr bytes.Buffer
	code := run(ctx, []string{"audit"}, process{stdout: &stdout, stderr: &stderr, env: env})
	if code != exitFailed || stdout.Len() > 0 || !strings.Contains(stderr.String(), "interrupted before everything was read") {
		t.Errorf("exit code %d, %q, %q", code, &stdout, &stderr)
	}
}

// A line of progress stays the last one on a terminal, and is nowhere else.
func TestProgress(t *testing.T) {
	var b bytes.Buffer
	p := &progress{w: &b, terminal: true}
	p.show("1 of 2")
	fmt.Fprintln(p, "news")
	p.end()
	fmt.Fprintln(p, "more")
	if got, want := b.String(), eraseLine+"1 of 2"+eraseLine+"news\n1 of 2"+eraseLine+"more\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	b.Reset()
	p = newProgress(&b)
	p.show("1 of 2")
	fmt.Fprintln(p, "news")
	p.end()
	if got := b.String(); got != "news\n" {
		t.Errorf("where there is no terminal: %q", got)
	}
}

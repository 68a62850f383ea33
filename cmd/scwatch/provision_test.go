package main

import (
	"os"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/scwatch/scwatch/internal/config"
)

// The pipelines are YAML, and the commands in them and in the page are understood.
func TestDocumentedProvisionCommands(t *testing.T) {
	for file, least := range map[string]int{"provisioning.md": 3, "examples/gitlab-plan.yml": 1, "examples/github-plan.yml": 1} {
		data, err := os.ReadFile("../../docs/" + file)
		if err != nil {
			t.Fatal(err)
		}
		var pipeline map[string]any
		if strings.HasSuffix(file, ".yml") && yaml.Unmarshal(data, &pipeline) != nil {
			t.Errorf("%s is not YAML", file)
		}
		found := 0
		for line := range strings.Lines(string(data)) {
			_, command, ok := strings.Cut(line, "scwatch ")
			args := strings.Fields(strings.SplitN(command, "#", 2)[0])
			if !ok || strings.ContainsRune(line, '`') || len(args) == 0 || !slices.Contains([]string{"check", "plan", "apply", "destroy", "eject"}, args[0]) {
				continue
			}
			found++
			if _, err := newApplication(&options{}).Parse(args); err != nil {
				t.Errorf("%s: scwatch %s: %v", file, strings.Join(args, " "), err)
			}
		}
		if found < least {
			t.Errorf("%s: %d commands, want %d at least", file, found, least)
		}
	}
}

// The configuration in the page is one.
func TestDocumentedProvisionConfiguration(t *testing.T) {
	data, err := os.ReadFile("../../docs/provisioning.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(data), "```yaml\n")
	text, _, ok := strings.Cut(text, "```")
	if !ok {
		t.Fatal("the page has no configuration")
	}
	c, err := config.Parse("page", "", []byte(text), nil)
	if err != nil || len(c.Provision.Targets) != 2 {
		t.Errorf("%d targets, error %v", len(c.Provision.Targets), err)
	}
}

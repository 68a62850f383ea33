package config

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	projectA = "11111111-1111-1111-1111-11111111111a"
	projectB = "22222222-2222-2222-2222-22222222222b"
)

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestResolve(t *testing.T) {
	c := mustParse(t, "", "", "provision: {targets: [{}, {project: "+projectB+", region: pl-waw}]}")
	if err := c.Resolve(Credentials{ProjectID: projectA}); err != nil {
		t.Fatal(err)
	}
	if err := c.RequireTargets(); err != nil {
		t.Fatal(err)
	}
	targets := c.Provision.Targets
	got := []any{
		c.Scaleway, c.Cockpit.Project,
		targets[0].Project, targets[0].Region, targets[1].Project, targets[1].Region,
	}
	want := []any{
		Scaleway{Projects: []string{projectA}, Regions: []string{"fr-par", "nl-ams", "pl-waw"}}, projectA,
		projectA, "fr-par", projectB, "pl-waw",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestResolveMissing(t *testing.T) {
	tests := []struct {
		name, text string
		cred       Credentials
		resolve    string
		targets    string
	}{
		{
			name:    "no project",
			resolve: "f.yaml:1:1: scaleway.projects: no project to watch: list some, or set SCW_DEFAULT_PROJECT_ID",
			targets: "f.yaml:1:1: provision.targets[0].project: no project: set it, cockpit.project or SCW_DEFAULT_PROJECT_ID",
		},
		{
			name: "every project without an organization", text: "scaleway:\n  projects: ['*']", cred: Credentials{ProjectID: projectA},
			resolve: `f.yaml:2:13: scaleway.projects: "*" needs the organization: set SCW_DEFAULT_ORGANIZATION_ID`,
		},
		{name: "every project", text: "scaleway: {projects: ['*']}", cred: Credentials{ProjectID: projectA, OrganizationID: projectB}},
		{
			name: "watching alone needs no home", text: "scaleway: {projects: [" + projectA + "]}",
			targets: "f.yaml:1:1: provision.targets[0].project: no project: set it, cockpit.project or SCW_DEFAULT_PROJECT_ID",
		},
		{
			name: "pushing needs a home", text: "scaleway: {projects: [" + projectA + "]}\npush: {enabled: true}\nprovision:\n  targets: []",
			resolve: "f.yaml:1:1: cockpit.project: no project to push to: set it, or SCW_DEFAULT_PROJECT_ID",
		},
		{
			name: "pushing elsewhere needs none", text: "scaleway: {projects: [" + projectA + "]}\npush: {enabled: true, url: 'https://a/'}\nprovision: {targets: []}",
		},
		{name: "a project that was given and is malformed", cred: Credentials{unusableID: true},
			targets: "f.yaml:1:1: provision.targets[0].project: no project: set it, cockpit.project or SCW_DEFAULT_PROJECT_ID"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := mustParse(t, "f.yaml", "", test.text)
			if got := errorText(c.Resolve(test.cred)); got != test.resolve {
				t.Errorf("Resolve: got\n%s\nwant\n%s", got, test.resolve)
			}
			if got := errorText(c.RequireTargets()); got != test.targets {
				t.Errorf("RequireTargets: got\n%s\nwant\n%s", got, test.targets)
			}
		})
	}
}

func TestResolveKeepsWhatTheFileSays(t *testing.T) {
	c := mustParse(t, "", "", "scaleway: {projects: ["+projectA+"], regions: [nl-ams]}\ncockpit: {project: "+projectA+"}")
	if err := c.Resolve(Credentials{ProjectID: projectB}); err != nil {
		t.Fatal(err)
	}
	want := Scaleway{Projects: []string{projectA}, Regions: []string{"nl-ams"}}
	if diff := cmp.Diff(want, c.Scaleway); diff != "" || c.Cockpit.Project != projectA {
		t.Errorf("home %s, -want +got:\n%s", c.Cockpit.Project, diff)
	}
}

// A Config that was not parsed can be resolved too.
func TestResolveWithoutFile(t *testing.T) {
	c := &Config{Provision: Provision{Targets: []Target{{}}}}
	if got, want := errorText(c.Resolve(Credentials{})), "scaleway.projects: no project to watch: list some, or set SCW_DEFAULT_PROJECT_ID"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "scwatch.yaml")
	if err := os.WriteFile(file, []byte("push: {token_file: token}"), 0o600); err != nil {
		t.Fatal(err)
	}
	inline := environment(map[string]string{"SCWATCH_CONFIG": "push: {token_file: token, nope: 1}"})

	c, err := Load(file, none, checks)
	if err != nil || c.Push.TokenFile != filepath.Join(dir, "token") || c.File != file {
		t.Errorf("file: %+v, %v", c, err)
	}
	c, err = Load("", inline, checks)
	if errorText(err) != "SCWATCH_CONFIG:1:27: push.nope: unknown key" || c.Push.TokenFile != "token" || c.File != "SCWATCH_CONFIG" {
		t.Errorf("variable: %+v, %v", c, err)
	}
	c, err = Load("", none, checks)
	if err != nil || c.File != "" || c.Push.SpoolMaxBytes != 256<<20 {
		t.Errorf("neither: %+v, %v", c, err)
	}
	_, err = Load("scwatch.yaml", inline, checks)
	if got, want := errorText(err), "scwatch.yaml: the variable SCWATCH_CONFIG is set as well: give one of the two"; got != want {
		t.Errorf("both: got %q", got)
	}
	_, err = Load("testdata/missing.yaml", none, checks)
	if got, want := errorText(err), "testdata/missing.yaml: cannot be read: no such file or directory"; got != want {
		t.Errorf("missing: got %q", got)
	}
}

// A newcomer sees everything that is missing at once, and nothing that only
// follows from another problem.
func TestReadReportsAllProblems(t *testing.T) {
	const (
		noAccessKey = "SCW_ACCESS_KEY: no access key: set SCW_ACCESS_KEY, SCWATCH_ACCESS_KEY or SCWATCH_ACCESS_KEY_FILE"
		noSecretKey = "SCW_SECRET_KEY: no secret key: set SCW_SECRET_KEY, SCWATCH_SECRET_KEY or SCWATCH_SECRET_KEY_FILE"
	)
	tests := []struct {
		name, file string
		env        map[string]string
		want       string
	}{
		{
			name: "nothing",
			want: noAccessKey + "\n" + noSecretKey + "\nscaleway.projects: no project to watch: list some, or set SCW_DEFAULT_PROJECT_ID",
		},
		{
			name: "file and environment",
			env:  map[string]string{"SCWATCH_CONFIG": "push: {enabled: 1}", "SCW_DEFAULT_PROJECT_ID": "x"},
			want: "SCWATCH_CONFIG:1:17: push.enabled: expected true or false, found a whole number\n" +
				noAccessKey + "\n" + noSecretKey + "\nSCW_DEFAULT_PROJECT_ID: is malformed: expected a UUID",
		},
		{
			name: "projects that cannot be read",
			env:  map[string]string{"SCWATCH_CONFIG": "scaleway: {projects: [x]}"},
			want: "SCWATCH_CONFIG:1:23: scaleway.projects[0]: expected an ID such as 11111111-1111-1111-1111-111111111111\n" +
				noAccessKey + "\n" + noSecretKey,
		},
		{
			name: "a missing file",
			file: "testdata/missing.yaml",
			want: "testdata/missing.yaml: cannot be read: no such file or directory\n" + noAccessKey + "\n" + noSecretKey,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, _, err := Read(test.file, environment(test.env), checks)
			if got := errorText(err); got != test.want {
				t.Errorf("got\n%s\nwant\n%s", got, test.want)
			}
		})
	}
	env := environment(map[string]string{
		"SCW_ACCESS_KEY": accessKeyA, "SCW_SECRET_KEY": projectB, "SCW_DEFAULT_PROJECT_ID": projectA,
	})
	c, credentials, err := Read("", env, checks)
	if err != nil || c.Cockpit.Project != projectA || credentials.AccessKey != accessKeyA {
		t.Errorf("%+v, %+v, %v", c, credentials, err)
	}
}

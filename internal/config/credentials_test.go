package config

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

const (
	accessKeyA = "SCWAAAAAAAAAAAAAAAAA"
	accessKeyB = "SCWBBBBBBBBBBBBBBBBB"
	accessKeyC = "SCWCCCCCCCCCCCCCCCCC"
	accessKeyD = "SCWDDDDDDDDDDDDDDDDD"
	secretKeyA = "33333333-3333-3333-3333-333333333333"
	secretKeyB = "44444444-4444-4444-4444-444444444444"
)

// complete is an environment in which nothing is missing.
var complete = map[string]string{"SCW_ACCESS_KEY": accessKeyA, "SCW_SECRET_KEY": secretKeyA}

const profiles = `
access_key: ` + accessKeyA + `
secret_key: ` + secretKeyA + `
default_project_id: ` + projectA + `
default_region: nl-ams
send_telemetry: true
profiles:
  other:
    access_key: ` + accessKeyB + `
    secret_key: ` + secretKeyB + `
    api_url: https://api.example.org/
    default_zone:
`

// place is a folder to write files into, replaced for "DIR" in environments
// and texts.
type place string

func (p place) write(t *testing.T, name, text string) {
	t.Helper()
	file := filepath.Join(string(p), name)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (p place) environment(pairs map[string]string) Environment {
	return func(name string) string { return strings.ReplaceAll(pairs[name], "DIR", string(p)) }
}

func with(env map[string]string, pairs ...string) map[string]string {
	env = maps.Clone(env)
	for i := 0; i < len(pairs); i += 2 {
		env[pairs[i]] = pairs[i+1]
	}
	return env
}

func TestCredentials(t *testing.T) {
	dir := place(t.TempDir())
	dir.write(t, "scw/config.yaml", profiles)
	dir.write(t, "home/.config/scw/config.yml", "access_key: "+accessKeyC+"\nsecret_key: "+secretKeyA)
	dir.write(t, "active.yaml", "active_profile: other"+profiles)
	dir.write(t, "alias.yaml", "access_key: &a "+accessKeyA+"\nsecret_key: "+secretKeyA+"\nprofiles: {x: {}}")
	dir.write(t, "access", "\n "+accessKeyC+" \n")
	dir.write(t, "profile", "other\n")

	tests := []struct {
		name string
		env  map[string]string
		want Credentials
	}{
		{
			name: "the environment",
			env: with(complete, "SCW_DEFAULT_PROJECT_ID", strings.ToUpper(projectA), "SCW_DEFAULT_ORGANIZATION_ID", projectB,
				"SCW_DEFAULT_REGION", "pl-waw", "SCW_API_URL", "http://127.0.0.1:8080/"),
			want: Credentials{AccessKey: accessKeyA, SecretKey: NewSecret(secretKeyA), ProjectID: projectA, OrganizationID: projectB,
				Region: "pl-waw", APIURL: "http://127.0.0.1:8080"},
		},
		{
			name: "SCWATCH_ before SCW_",
			env:  with(complete, "SCWATCH_ACCESS_KEY", accessKeyB+"\n"),
			want: Credentials{AccessKey: accessKeyB, SecretKey: NewSecret(secretKeyA), APIURL: defaultAPIURL},
		},
		{
			name: "SCWATCH_…_FILE before SCW_",
			env:  with(complete, "SCWATCH_ACCESS_KEY_FILE", "DIR/access"),
			want: Credentials{AccessKey: accessKeyC, SecretKey: NewSecret(secretKeyA), APIURL: defaultAPIURL},
		},
		{
			name: "the default profile",
			env:  map[string]string{"XDG_CONFIG_HOME": "DIR", "HOME": "DIR/home"},
			want: Credentials{AccessKey: accessKeyA, SecretKey: NewSecret(secretKeyA), ProjectID: projectA, Region: "nl-ams", APIURL: defaultAPIURL},
		},
		{
			name: "the home directory, and the other suffix",
			env:  map[string]string{"HOME": "DIR/home"},
			want: Credentials{AccessKey: accessKeyC, SecretKey: NewSecret(secretKeyA), APIURL: defaultAPIURL},
		},
		{
			name: "the environment before the profile",
			env:  map[string]string{"XDG_CONFIG_HOME": "DIR", "SCW_ACCESS_KEY": accessKeyD, "SCW_DEFAULT_REGION": ""},
			want: Credentials{AccessKey: accessKeyD, SecretKey: NewSecret(secretKeyA), ProjectID: projectA, Region: "nl-ams", APIURL: defaultAPIURL},
		},
		{
			name: "a named profile over the default one",
			env:  map[string]string{"XDG_CONFIG_HOME": "DIR", "SCW_PROFILE": "other"},
			want: Credentials{AccessKey: accessKeyB, SecretKey: NewSecret(secretKeyB), ProjectID: projectA, Region: "nl-ams", APIURL: "https://api.example.org"},
		},
		{
			name: "a profile named by a file",
			env:  map[string]string{"SCWATCH_CONFIG_PATH": "DIR/scw/config.yaml", "SCWATCH_PROFILE_FILE": "DIR/profile", "SCW_PROFILE": "default"},
			want: Credentials{AccessKey: accessKeyB, SecretKey: NewSecret(secretKeyB), ProjectID: projectA, Region: "nl-ams", APIURL: "https://api.example.org"},
		},
		{
			name: "the active profile",
			env:  map[string]string{"SCW_CONFIG_PATH": "DIR/active.yaml", "XDG_CONFIG_HOME": "DIR/none"},
			want: Credentials{AccessKey: accessKeyB, SecretKey: NewSecret(secretKeyB), ProjectID: projectA, Region: "nl-ams", APIURL: "https://api.example.org"},
		},
		{
			name: "the default profile by name",
			env:  map[string]string{"SCW_CONFIG_PATH": "DIR/active.yaml", "SCW_PROFILE": "default"},
			want: Credentials{AccessKey: accessKeyA, SecretKey: NewSecret(secretKeyA), ProjectID: projectA, Region: "nl-ams", APIURL: defaultAPIURL},
		},
		{
			name: "a missing file by name",
			env:  with(complete, "SCW_CONFIG_PATH", "DIR/none"),
			want: Credentials{AccessKey: accessKeyA, SecretKey: NewSecret(secretKeyA), APIURL: defaultAPIURL},
		},
		{
			name: "a missing default file",
			env:  with(complete, "HOME", "DIR/none"),
			want: Credentials{AccessKey: accessKeyA, SecretKey: NewSecret(secretKeyA), APIURL: defaultAPIURL},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := LoadCredentials(dir.environment(test.env))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got, cmpopts.IgnoreUnexported(Credentials{})); diff != "" || !got.SecretKey.Equal(test.want.SecretKey) {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestBadCredentials(t *testing.T) {
	dir := place(t.TempDir())
	dir.write(t, "empty", " \n")
	dir.write(t, "folder/file", "")
	dir.write(t, "canary", canary)
	dir.write(t, "good.yaml", profiles)
	dir.write(t, "syntax.yaml", "a: 1\nsecret_key: *"+canary)
	dir.write(t, "cycle.yaml", "profiles: &"+canary+"\n  <<: *"+canary)
	dir.write(t, "shape.yaml", "access_key: a\nprofiles:\n  other: "+canary)
	dir.write(t, "list.yaml", "- "+canary)
	dir.write(t, "values.yaml", "access_key: ["+canary+"]\nsecret_key: "+canary+"\ndefault_project_id: "+canary+"\n")
	dir.write(t, "profile.yaml", "profiles:\n  "+canary+"2: {}\n  other: {default_region: "+canary+"}\nactive_profile: other\n")
	dir.write(t, "active.yaml", "active_profile: "+canary+"\n")

	const missing = "SCW_ACCESS_KEY: no access key: set SCW_ACCESS_KEY, SCWATCH_ACCESS_KEY or SCWATCH_ACCESS_KEY_FILE%[1]s\n" +
		"SCW_SECRET_KEY: no secret key: set SCW_SECRET_KEY, SCWATCH_SECRET_KEY or SCWATCH_SECRET_KEY_FILE%[2]s"
	tests := []struct {
		name string
		env  map[string]string
		want string
	}{
		{name: "nothing, and no home directory", want: fmt.Sprintf(missing, "", "")},
		{
			name: "nothing", env: map[string]string{"HOME": "DIR/none"},
			want: fmt.Sprintf(missing, ", or access_key in DIR/none/.config/scw/config.yaml", ", or secret_key in DIR/none/.config/scw/config.yaml"),
		},
		{
			name: "malformed variables",
			env: map[string]string{
				"SCW_ACCESS_KEY": canary, "SCWATCH_SECRET_KEY": canary, "SCW_DEFAULT_PROJECT_ID": canary,
				"SCW_DEFAULT_ORGANIZATION_ID": canary, "SCW_DEFAULT_REGION": canary, "SCW_API_URL": canary,
			},
			want: "SCW_ACCESS_KEY: is malformed: expected SCW and 17 capital letters or digits\n" +
				"SCWATCH_SECRET_KEY: is malformed: expected a UUID\n" +
				"SCW_DEFAULT_REGION: is malformed: expected fr-par, nl-ams or pl-waw\n" +
				"SCW_API_URL: is malformed: expected an absolute http or https URL without user, query and fragment\n" +
				"SCW_DEFAULT_ORGANIZATION_ID: is malformed: expected a UUID\n" +
				"SCW_DEFAULT_PROJECT_ID: is malformed: expected a UUID",
		},
		{
			name: "an API URL with a password", env: with(complete, "SCW_API_URL", "https://a:"+canary+"@example.org"),
			want: "SCW_API_URL: is malformed: expected an absolute http or https URL without user, query and fragment",
		},
		{
			name: "an API URL with a query", env: with(complete, "SCW_API_URL", "https://example.org?"+canary),
			want: "SCW_API_URL: is malformed: expected an absolute http or https URL without user, query and fragment",
		},
		{
			name: "malformed in a file", env: with(complete, "SCWATCH_SECRET_KEY_FILE", "DIR/canary"),
			want: "SCWATCH_SECRET_KEY_FILE: is malformed: expected a UUID",
		},
		{
			name: "a variable and a file", env: with(complete, "SCWATCH_SECRET_KEY", canary, "SCWATCH_SECRET_KEY_FILE", "DIR/canary"),
			want: "SCWATCH_SECRET_KEY: SCWATCH_SECRET_KEY_FILE is set as well: give one of the two",
		},
		{
			name: "a missing file", env: with(complete, "SCWATCH_ACCESS_KEY_FILE", "DIR/none"),
			want: "SCWATCH_ACCESS_KEY_FILE: DIR/none cannot be read: no such file or directory",
		},
		{
			name: "an empty file", env: with(complete, "SCWATCH_ACCESS_KEY_FILE", "DIR/empty"),
			want: "SCWATCH_ACCESS_KEY_FILE: DIR/empty is empty",
		},
		{
			name: "a key in the place of a file", env: with(complete, "SCWATCH_SECRET_KEY_FILE", canary),
			want: "SCWATCH_SECRET_KEY_FILE: the file cannot be read: no such file or directory",
		},
		{
			name: "a path that is a folder", env: with(complete, "SCW_CONFIG_PATH", "DIR/folder"),
			want: "SCW_CONFIG_PATH: DIR/folder cannot be read: is a directory",
		},
		{
			name: "a path in a missing file", env: map[string]string{"SCWATCH_CONFIG_PATH_FILE": "DIR/none"},
			want: "SCWATCH_CONFIG_PATH_FILE: DIR/none cannot be read: no such file or directory",
		},
		{
			name: "a profile in a missing file", env: map[string]string{"SCWATCH_PROFILE_FILE": "DIR/none", "SCW_CONFIG_PATH": "DIR/values.yaml"},
			want: "SCWATCH_PROFILE_FILE: DIR/none cannot be read: no such file or directory",
		},
		{
			name: "an unknown profile", env: map[string]string{"SCW_CONFIG_PATH": "DIR/good.yaml", "SCW_PROFILE": canary},
			want: "SCW_PROFILE: names a profile that is not in DIR/good.yaml",
		},
		{
			name: "a profile of a missing file", env: with(complete, "HOME", "DIR", "SCW_PROFILE", "other"),
			want: "SCW_PROFILE: names a profile that is not in DIR/.config/scw/config.yaml",
		},
		{
			name: "a profile of no file", env: with(complete, "SCW_PROFILE", "other"),
			want: "SCW_PROFILE: names a profile that is not in any scw configuration file",
		},
		{
			name: "an unknown active profile", env: map[string]string{"SCW_CONFIG_PATH": "DIR/active.yaml"},
			want: "DIR/active.yaml:1:17: active_profile: names a profile that is not in DIR/active.yaml",
		},
		{
			name: "a file that is not YAML", env: map[string]string{"SCW_CONFIG_PATH": "DIR/syntax.yaml"},
			want: "DIR/syntax.yaml:2:1: is not YAML: an alias that leads nowhere: quote a value that begins with *",
		},
		{
			name: "a file that contains itself", env: map[string]string{"SCW_CONFIG_PATH": "DIR/cycle.yaml"},
			want: "DIR/cycle.yaml:2:1: is not YAML: an alias that leads nowhere: quote a value that begins with *",
		},
		{
			name: "a file of another shape", env: map[string]string{"SCW_CONFIG_PATH": "DIR/shape.yaml"},
			want: "DIR/shape.yaml:3:1: is not what an scw configuration file has here",
		},
		{
			name: "a list", env: map[string]string{"SCW_CONFIG_PATH": "DIR/list.yaml"},
			want: "DIR/list.yaml:1:1: is not what an scw configuration file has here",
		},
		{
			name: "malformed in the default profile", env: map[string]string{"SCW_CONFIG_PATH": "DIR/values.yaml"},
			want: "DIR/values.yaml:1:13: access_key: expected a string, found a list\n" +
				"DIR/values.yaml:2:13: secret_key: is malformed: expected a UUID\n" +
				"DIR/values.yaml:3:21: default_project_id: is malformed: expected a UUID",
		},
		{
			name: "malformed in a profile", env: with(complete, "SCW_CONFIG_PATH", "DIR/profile.yaml"),
			want: "DIR/profile.yaml:3:27: profiles.other.default_region: is malformed: expected fr-par, nl-ams or pl-waw",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := LoadCredentials(dir.environment(test.env))
			got, want := errorText(err), strings.ReplaceAll(test.want, "DIR", string(dir))
			if got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
			if strings.Contains(got, canary) {
				t.Errorf("a credential was printed: %s", got)
			}
		})
	}
}

func TestProfileWarnings(t *testing.T) {
	dir := place(t.TempDir())
	file := filepath.Join(string(dir), "scw", "config.yaml")
	dir.write(t, "scw/config.yaml", profiles)
	dir.write(t, "odd/scw/config.yaml/is-a-folder", "")

	for mode, want := range map[os.FileMode]string{
		0o600: "", 0o400: "",
		0o640: file + " holds a secret key and can be read by others than its owner: chmod 600 it",
		0o604: file + " holds a secret key and can be read by others than its owner: chmod 600 it",
	} {
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
		c, err := LoadCredentials(dir.environment(map[string]string{"XDG_CONFIG_HOME": "DIR"}))
		if err != nil || c.Warning != want {
			t.Errorf("%o: got %q, %v", mode, c.Warning, err)
		}
	}

	c, err := LoadCredentials(dir.environment(with(complete, "XDG_CONFIG_HOME", "DIR/odd")))
	want := filepath.Join(string(dir), "odd/scw/config.yaml") + " cannot be read: is a directory"
	if err != nil || c.Warning != want {
		t.Errorf("unreadable: got %q, %v", c.Warning, err)
	}
}

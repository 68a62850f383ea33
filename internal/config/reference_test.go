package config

import (
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
)

// schemaKey is a key of the file as the tags have it.
type schemaKey struct {
	path  string // "[]" stands for an element of a list
	field reflect.StructField
}

// schema lists the keys of a struct, each followed by those in it.
func schema(t reflect.Type, path string) []schemaKey {
	var all []schemaKey
	for f := range keys(t) {
		at := key(path, f.Tag.Get("yaml"))
		all = append(all, schemaKey{at, f})
		switch inner, isList := section(f.Type); {
		case inner == nil:
		case isList:
			all = append(all, schema(inner, at+"[]")...)
		default:
			all = append(all, schema(inner, at)...)
		}
	}
	return all
}

// section is the struct that a key holds, or a list of it; nil for a value.
func section(t reflect.Type) (inner reflect.Type, isList bool) {
	if t.Kind() == reflect.Slice {
		t, isList = t.Elem(), true
	}
	if t.Kind() != reflect.Struct || isScalar(t) {
		return nil, false
	}
	return t, isList
}

func TestEveryKeyIsDescribed(t *testing.T) {
	for _, key := range schema(reflect.TypeFor[Config](), "") {
		tag := key.field.Tag
		if doc := tag.Get("doc"); !strings.HasSuffix(doc, ".") || strings.Contains(doc, "|") {
			t.Errorf("%s: doc %q is no sentence for a table", key.path, doc)
		}
		for _, name := range []string{tag.Get("format"), tag.Get("keys")} {
			if _, known := formats[name]; name != "" && !known {
				t.Errorf("%s: no format %q", key.path, name)
			}
		}
		if key.field.Type.Kind() == reflect.Map && tag.Get("keys") == "" {
			t.Errorf("%s: a map without keys", key.path)
		}
	}
}

func TestGeneratedConfigurationReference(t *testing.T) {
	golden(t, "../../docs/configuration.md", reference(t))
}

func reference(t *testing.T) string {
	example, err := os.ReadFile("testdata/example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	fmt.Fprintf(&b, `# Configuration

scwatch reads one YAML file, named by `+"`--config.file`"+`, or the YAML in the variable `+"`SCWATCH_CONFIG`"+`. Every key has a default: with credentials in the environment no file is needed. An unknown key, a key given twice or a value out of bounds is an error with its line, and all errors are shown at once. `+"`provision`"+` is read and checked, and not acted upon yet: what would be relied upon, `+"`provision.watch`"+`, is refused.

Durations are written as in Prometheus (`+"`90s`, `1h30m`, `1d`"+`), sizes with binary units (`+"`256MiB`"+`), days as `+"`2027-03-31`"+`. Globs know `+"`*`, `?` and `[a-z]`"+`. A relative path starts at the folder of the file, with `+"`SCWATCH_CONFIG`"+` at the working directory. YAML aliases and merge keys are not supported.

Everything at once, with the defaults and one exception:

`+"```yaml\n%s```\n", example)

	for f := range keys(reflect.TypeFor[Config]()) {
		name := f.Tag.Get("yaml")
		fmt.Fprintf(&b, "\n## %s\n\n%s\n", name, meaning(f))
		inner, isList := section(f.Type)
		switch {
		case inner == nil:
			fmt.Fprintf(&b, "\nType: %s. Default: %s.\n", typeText(f.Type, f.Tag), defaultText(f))
		case isList:
			table(&b, inner, name+"[]")
		default:
			table(&b, inner, name)
		}
	}

	b.WriteString(`
## Credentials and environment

Credentials come from the environment or from the ` + "`scw`" + ` CLI's configuration file, never from flags. Each setting is looked for in this order:

1. ` + "`SCWATCH_<name>`" + `, or the file that ` + "`SCWATCH_<name>_FILE`" + ` names, as secrets are mounted; not both. Scaleway's serverless products reserve the prefix ` + "`SCW_`" + `: use these there.
2. ` + "`SCW_<name>`" + `.
3. The key of the selected profile of the configuration file.

| name | key of a profile | meaning |
| --- | --- | --- |
`)
	for _, s := range []setting{accessKey, secretKey, projectID, organizationID, region, apiURL, profileName, configPath} {
		profileKey := ""
		if s.key != "" {
			profileKey = "`" + s.key + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", s.name, profileKey, s.doc)
	}
	b.WriteString(`
| variable | meaning |
| --- | --- |
| ` + "`SCWATCH_CONFIG`" + ` | The configuration itself, instead of a file. |
| ` + "`SCWATCH_PUSH_TOKEN`" + ` | The push token, instead of ` + "`push.token_file`" + `. |
| ` + "`SCWATCH_GRAFANA_TOKEN`" + ` | The token for a target's ` + "`grafana_url`" + `. |
| ` + "`HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`" + ` | The proxy for every call. |
| ` + "`SSL_CERT_FILE`" + ` | The certificate authorities that are trusted. |
`)
	return b.String()
}

// table writes the keys of a section. A list of mappings gets a table of its
// own behind it.
func table(b *strings.Builder, t reflect.Type, path string) {
	b.WriteString("\n| key | type | default | meaning |\n| --- | --- | --- | --- |\n")
	var lists []schemaKey
	var rows func(t reflect.Type, path string)
	rows = func(t reflect.Type, path string) {
		for f := range keys(t) {
			at := key(path, f.Tag.Get("yaml"))
			inner, isList := section(f.Type)
			if isList {
				lists = append(lists, schemaKey{at, f})
			}
			if inner != nil && !isList {
				rows(inner, at)
				continue
			}
			fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", at, typeText(f.Type, f.Tag), defaultText(f), meaning(f))
		}
	}
	rows(t, path)
	for _, list := range lists {
		inner, _ := section(list.field.Type)
		table(b, inner, list.path+"[]")
	}
}

var quoted = regexp.MustCompile(`"([^"]+)"`)

// meaning is the doc of a key; what it quotes is code.
func meaning(f reflect.StructField) string {
	return quoted.ReplaceAllString(f.Tag.Get("doc"), "`${1}`")
}

func typeText(t reflect.Type, tag reflect.StructTag) string {
	bounded := func(name string) string {
		if tag.Get("min") != "" {
			return name + ", at least " + tag.Get("min")
		}
		return name
	}
	switch t {
	case reflect.TypeFor[time.Duration]():
		low, high := durationBounds(tag)
		return fmt.Sprintf("duration, %s to %s", low, high)
	case reflect.TypeFor[time.Time]():
		return "day"
	case reflect.TypeFor[Bytes]():
		return bounded("size")
	}
	switch t.Kind() {
	case reflect.Bool:
		return "`true` or `false`"
	case reflect.Int:
		return bounded("whole number")
	case reflect.Float64:
		return bounded("number")
	case reflect.Map:
		return fmt.Sprintf("mapping of %s to %s", formats[tag.Get("keys")].name, typeText(t.Elem(), tag))
	case reflect.Slice:
		if inner, _ := section(t); inner != nil {
			return "list of mappings, below"
		}
		return "list, each: " + typeText(t.Elem(), tag)
	}
	if enum := tag.Get("enum"); enum != "" {
		return oneOf(strings.Split("`"+strings.ReplaceAll(enum, "|", "`|`")+"`", "|"))
	}
	if f, ok := formats[tag.Get("format")]; ok {
		return f.name
	}
	return "string"
}

func defaultText(f reflect.StructField) string {
	text, optional := f.Tag.Lookup("default")
	switch {
	case !optional:
		return "required"
	case text == "":
		return "`\"\"`"
	}
	return "`" + text + "`"
}

package config

import (
	"iter"
	"path/filepath"
	"reflect"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// decoder fills structs from YAML nodes, strictly, and goes on after a
// problem. The tags of a field are its schema:
//
//	yaml      name of the key; fields without it are no keys
//	default   value where the file has none, as YAML (a string as it is);
//	          without it, a key that is no section is required
//	format    what a string, or each string of a list or map, must be (formats)
//	keys      what each key of a map must be (formats)
//	enum      the strings allowed, separated by |
//	min, max  bounds of a number, a size or a duration (1s and 1d unless said)
//	doc       meaning, for docs/configuration.md
type decoder struct {
	*document
	dir string // where relative paths start
}

// structure decodes the mapping n over the defaults of the struct dst.
func (d decoder) structure(dst reflect.Value, n *yaml.Node, path string) {
	setDefaults(dst)
	// A section with every key commented out is null.
	if n.Kind != yaml.MappingNode && !isNull(n) {
		d.fail(n, path, "expected a mapping, found %s", found(n))
		return
	}
	fields := make(map[string]reflect.StructField)
	var names []string
	for f := range keys(dst.Type()) {
		fields[f.Tag.Get("yaml")] = f
		names = append(names, f.Tag.Get("yaml"))
	}
	for name, value := range d.entries(n, path) {
		f, known := fields[name.Value]
		if !known {
			d.add(position{name.Line, name.Column}, key(path, keyText(name.Value)), "unknown key%s", Suggestion(name.Value, names))
			continue
		}
		d.value(dst.FieldByIndex(f.Index), value, key(path, name.Value), f.Tag)
		delete(fields, name.Value)
	}
	for _, name := range names {
		if f, missing := fields[name]; missing && isRequired(f) {
			d.fail(n, key(path, name), "is required")
		}
	}
}

// value decodes n into dst, a field with this tag or an element of one.
func (d decoder) value(dst reflect.Value, n *yaml.Node, path string, tag reflect.StructTag) {
	d.positions[path] = position{n.Line, n.Column}
	if n.Kind == yaml.AliasNode {
		d.fail(n, path, "aliases are not supported: write the value out")
		return
	}
	switch {
	case isScalar(dst.Type()):
		v, err := scalar(dst.Type(), n, tag, d.dir)
		if err != nil {
			d.fail(n, path, "%s", err)
			return
		}
		dst.Set(v)
	case dst.Kind() == reflect.Struct:
		d.structure(dst, n, path)
	case dst.Kind() == reflect.Slice:
		d.list(dst, n, path, tag)
	case dst.Kind() == reflect.Map:
		d.stringMap(dst, n, path, tag)
	}
}

func (d decoder) list(dst reflect.Value, n *yaml.Node, path string, tag reflect.StructTag) {
	if n.Kind != yaml.SequenceNode {
		d.fail(n, path, "expected a list, found %s", found(n))
		return
	}
	if _, optional := tag.Lookup("default"); !optional && len(n.Content) == 0 {
		d.fail(n, path, "must not be empty")
		return
	}
	list := reflect.MakeSlice(dst.Type(), len(n.Content), len(n.Content))
	for i, item := range n.Content {
		d.value(list.Index(i), item, element(path, i), elementTag(tag))
	}
	dst.Set(list)
}

func (d decoder) stringMap(dst reflect.Value, n *yaml.Node, path string, tag reflect.StructTag) {
	if n.Kind != yaml.MappingNode {
		d.fail(n, path, "expected a mapping, found %s", found(n))
		return
	}
	m := reflect.MakeMap(dst.Type())
	for name, item := range d.entries(n, path) {
		normal, err := formats[tag.Get("keys")].normalise(name.Value)
		if err != nil {
			d.add(position{name.Line, name.Column}, entry(path, name.Value), "%s", err)
		}
		v := reflect.New(dst.Type().Elem()).Elem()
		d.value(v, item, entry(path, name.Value), elementTag(tag))
		m.SetMapIndex(reflect.ValueOf(normal), v)
	}
	dst.Set(m)
}

// entries yields the pairs of a mapping whose keys are plain and new, and
// reports the others.
func (d decoder) entries(n *yaml.Node, path string) iter.Seq2[*yaml.Node, *yaml.Node] {
	return func(yield func(*yaml.Node, *yaml.Node) bool) {
		first := make(map[string]int)
		for i := 0; i+1 < len(n.Content); i += 2 {
			name, value := n.Content[i], n.Content[i+1]
			at := position{name.Line, name.Column}
			line, repeated := first[name.Value]
			switch {
			case name.Kind != yaml.ScalarNode:
				d.add(at, path, "expected a plain key, found %s", found(name))
			case name.ShortTag() == "!!merge":
				d.add(at, path, "merge keys are not supported: write the keys out")
			case repeated:
				d.add(at, key(path, keyText(name.Value)), "duplicate key, first on line %d", line)
			default:
				first[name.Value] = name.Line
				if !yield(name, value) {
					return
				}
			}
		}
	}
}

// setDefaults gives every key of the struct dst its default.
func setDefaults(dst reflect.Value) {
	d := decoder{document: newDocument("")}
	for f := range keys(dst.Type()) {
		field := dst.FieldByIndex(f.Index)
		text, ok := f.Tag.Lookup("default")
		switch {
		case ok && f.Type.Kind() == reflect.String:
			field.SetString(text)
		case ok:
			var n yaml.Node
			if err := yaml.Unmarshal([]byte(text), &n); err != nil {
				panic(err) // a tag of ours, seen by every test
			}
			d.value(field, n.Content[0], f.Name, f.Tag)
		case f.Type.Kind() == reflect.Struct && !isScalar(f.Type):
			setDefaults(field)
		}
	}
}

// keys yields the fields of a struct that are keys of the file.
func keys(t reflect.Type) iter.Seq[reflect.StructField] {
	return func(yield func(reflect.StructField) bool) {
		for f := range t.Fields() {
			if f.Tag.Get("yaml") != "" && !yield(f) {
				return
			}
		}
	}
}

func isRequired(f reflect.StructField) bool {
	_, optional := f.Tag.Lookup("default")
	return !optional && (isScalar(f.Type) || f.Type.Kind() != reflect.Struct)
}

// elementTag is the tag of a list or map as it holds for an element, which has
// no default and so must not be empty.
func elementTag(tag reflect.StructTag) reflect.StructTag {
	return reflect.StructTag(`format:"` + tag.Get("format") + `"`)
}

func isScalar(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Slice, reflect.Map:
		return false
	case reflect.Struct:
		return t == reflect.TypeFor[time.Time]()
	}
	return true
}

// resolve makes a relative path start at dir.
func resolve(dir, path string) string {
	if path == Builtin || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

func isNull(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null"
}

// found names what a node is, never what it says: it could be a secret.
func found(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	}
	switch n.ShortTag() {
	case "!!null":
		return "nothing"
	case "!!str":
		return "a string"
	case "!!int":
		return "a whole number"
	case "!!float":
		return "a decimal number"
	case "!!bool":
		return "true or false"
	case "!!timestamp":
		return "a date"
	}
	return "a value with a tag of its own"
}

// keyText is a key as messages show it: on one line, whatever it holds.
func keyText(name string) string {
	if quoted := entry("", name); quoted != `["`+name+`"]` || name == "" || strings.ContainsAny(name, " :") {
		return strings.Trim(quoted, "[]")
	}
	return name
}

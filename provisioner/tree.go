package provisioner

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
)

// An object's normal form is a tree of map[string]any, []any, string, float64,
// bool and secret. Both sides of a comparison are brought into it by the same
// function of their kind and compared whole, so that no field can be forgotten.

// secret is a leaf that can be compared and not be shown.
type secret string

// masked stands for every secret that is shown.
const masked = "<secret>"

func (secret) String() string               { return masked }
func (secret) GoString() string             { return masked }
func (secret) MarshalText() ([]byte, error) { return []byte(masked), nil }

// treeOf turns what a decoder made into a tree.
func treeOf(v any) (map[string]any, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("it has no form in JSON: %w", err)
	}
	var tree map[string]any
	if err := json.Unmarshal(data, &tree); err != nil {
		return nil, fmt.Errorf("it is no mapping: %w", err)
	}
	return tree, nil
}

// dropZero takes away what the servers leave out where it says nothing: fields
// that are empty, 0 or false.
func dropZero(tree map[string]any) map[string]any {
	maps.DeleteFunc(tree, func(_ string, v any) bool {
		switch v := v.(type) {
		case nil:
			return true
		case string:
			return v == ""
		case bool:
			return !v
		case float64:
			return v == 0
		case []any:
			return len(v) == 0
		case map[string]any:
			return len(v) == 0
		}
		return false
	})
	return tree
}

// Change is one field that differs.
type Change struct {
	Path   string `json:"path"`
	Before any    `json:"before"` // nil: it is not there
	After  any    `json:"after"`
}

// changes lists what differs between two trees, by path.
func changes(path string, before, after any) []Change {
	switch a := after.(type) {
	case map[string]any:
		if b, ok := before.(map[string]any); ok {
			return mapChanges(path, b, a)
		}
	case []any:
		if b, ok := before.([]any); ok {
			return listChanges(path, b, a)
		}
	default:
		if before == after {
			return nil
		}
	}
	return []Change{{path, before, after}}
}

func mapChanges(path string, before, after map[string]any) []Change {
	all := maps.Clone(before)
	maps.Copy(all, after)
	var found []Change
	for _, key := range slices.Sorted(maps.Keys(all)) {
		b, had := before[key]
		a, has := after[key]
		below := key
		if path != "" {
			below = path + "." + key
		}
		switch {
		case !had:
			found = append(found, Change{below, nil, a})
		case !has:
			found = append(found, Change{below, b, nil})
		default:
			found = append(found, changes(below, b, a)...)
		}
	}
	return found
}

// identities are the fields by which the elements of a list are known, the
// first that every element has counts.
var identities = []string{"alert", "record", "refId", "uid", "id", "name", "receiver", "title"}

// listChanges compares elements by what they are called, where that is unique,
// so that one that was put in between does not change all that follow.
func listChanges(path string, before, after []any) []Change {
	var found []Change
	for _, field := range identities {
		b, ok := byName(before, field)
		a, also := byName(after, field)
		if !ok || !also {
			continue
		}
		for _, name := range names(before, field) {
			if _, stays := a[name]; !stays {
				found = append(found, Change{path + "[" + name + "]", b[name], nil})
			}
		}
		for _, name := range names(after, field) {
			if had, there := b[name]; there {
				found = append(found, changes(path+"["+name+"]", had, a[name])...)
			} else {
				found = append(found, Change{path + "[" + name + "]", nil, a[name]})
			}
		}
		if len(found) == 0 && !slices.Equal(names(before, field), names(after, field)) {
			found = append(found, Change{path, list(names(before, field)), list(names(after, field))})
		}
		return found
	}
	for i := range max(len(before), len(after)) {
		at := path + "[" + strconv.Itoa(i) + "]"
		switch {
		case i >= len(before):
			found = append(found, Change{at, nil, after[i]})
		case i >= len(after):
			found = append(found, Change{at, before[i], nil})
		default:
			found = append(found, changes(at, before[i], after[i])...)
		}
	}
	return found
}

func byName(items []any, field string) (map[string]any, bool) {
	byName := make(map[string]any, len(items))
	for _, name := range names(items, field) {
		byName[name] = nil
	}
	if len(byName) != len(items) || len(items) == 0 {
		return nil, false
	}
	for i, name := range names(items, field) {
		byName[name] = items[i]
	}
	return byName, true
}

// names are what the elements of a list are called by a field, those that have
// it.
func names(items []any, field string) []string {
	var all []string
	for _, item := range items {
		m, ok := item.(map[string]any)
		if !ok {
			continue
		}
		switch name := m[field].(type) {
		case string:
			all = append(all, name)
		case float64:
			all = append(all, strconv.FormatFloat(name, 'f', -1, 64))
		}
	}
	return all
}

func list(of []string) []any {
	all := make([]any, len(of))
	for i, s := range of {
		all[i] = s
	}
	return all
}

// text is a leaf or a tree as a plan shows it, on one line.
func text(v any) string {
	switch v := v.(type) {
	case string:
		return strconv.Quote(v)
	case secret:
		return masked
	}
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		panic(err) // a tree always has a form in JSON
	}
	return string(bytes.TrimSpace(b.Bytes()))
}

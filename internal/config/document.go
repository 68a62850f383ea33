package config

import (
	"fmt"
	"strings"

	"gopkg.in/yaml.v3"
)

// document remembers where each value of a file stands and what is wrong with
// it, so that validation can point at lines long after decoding.
type document struct {
	name      string
	positions map[string]position // by path
	undecoded []string            // paths whose value could not be decoded
	problems  Problems
}

type position struct{ line, column int }

func newDocument(name string) *document {
	return &document{name: name, positions: map[string]position{"": {1, 1}}}
}

// fail reports that the value at path could not be decoded. The field keeps
// its default, and validation says nothing more about it.
func (d *document) fail(n *yaml.Node, path, format string, args ...any) {
	d.undecoded = append(d.undecoded, path)
	d.add(position{n.Line, n.Column}, path, format, args...)
}

// reject reports that the value at path was decoded and makes no sense. Where
// decoding has failed already it does nothing.
func (d *document) reject(path, format string, args ...any) {
	for _, undecoded := range d.undecoded {
		if within(path, undecoded) {
			return
		}
	}
	d.add(d.at(path), path, format, args...)
}

func (d *document) add(at position, path, format string, args ...any) {
	d.problems = append(d.problems, Problem{
		File: d.name, Line: at.line, Column: at.column,
		Path: path, Message: fmt.Sprintf(format, args...),
	})
}

// rejectRepeated reports every element of the list at path that is there
// before.
func (d *document) rejectRepeated(path string, list []string) {
	seen := make(map[string]bool, len(list))
	for i, item := range list {
		if seen[item] {
			d.reject(element(path, i), "is listed twice")
		}
		seen[item] = true
	}
}

// sound tells whether the value at path was decoded with everything in it. A
// section that could not be decoded took its keys with it.
func (d *document) sound(path string) bool {
	for _, undecoded := range d.undecoded {
		if within(undecoded, path) || within(path, undecoded) {
			return false
		}
	}
	return true
}

// within tells whether path is top or lies below it.
func within(path, top string) bool {
	rest, ok := strings.CutPrefix(path, top)
	return ok && (top == "" || rest == "" || rest[0] == '.' || rest[0] == '[')
}

// at is the position of path, or of the nearest value around it that the file
// has.
func (d *document) at(path string) position {
	for {
		if at, ok := d.positions[path]; ok {
			return at
		}
		path = path[:max(0, strings.LastIndexAny(path, ".["))]
	}
}

func key(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func element(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }

func entry(path, name string) string { return fmt.Sprintf("%s[%q]", path, name) }

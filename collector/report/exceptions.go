package report

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/scwatch/scwatch/internal/printable"
)

// takenOver is the reason of an exception that WriteExceptions writes.
const takenOver = "open when scwatch was introduced"

// WriteExceptions writes what is open as an exceptions: block of the
// configuration, one for each function, with all its checks: somebody answers
// for it until a day.
func (r *Report) WriteExceptions(w io.Writer, owner, expires string) error {
	for _, warning := range r.warnings() {
		fmt.Fprintf(w, "# %s\n", warning)
	}
	for _, u := range r.Unread {
		fmt.Fprintf(w, "# %s: %s\n", printable.Line(u.place()), printable.Line(u.Error))
	}
	fmt.Fprintf(w, "# %s\n", r.summary())
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode(map[string][]taken{"exceptions": r.taken(owner, expires)}); err != nil {
		return err
	}
	// It is inside double quotes: see scalar.
	_, err := w.Write(escapeUnprintable(b.Bytes(), func(r rune) string { return fmt.Sprintf(`\U%08x`, r) }))
	return err
}

// taken is an exception as the configuration spells it.
type taken struct {
	Checks    []string  `yaml:"checks,flow"`
	Function  yaml.Node `yaml:"function"`
	Namespace yaml.Node `yaml:"namespace"`
	Project   yaml.Node `yaml:"project"`
	Owner     yaml.Node `yaml:"owner"`
	Reason    string    `yaml:"reason"`
	Expires   yaml.Node `yaml:"expires"`
}

// taken lists an exception for each function that something is open at. The
// configuration has no selector for a region: functions that share their other
// names share one.
func (r *Report) taken(owner, expires string) []taken {
	type names struct{ projectID, namespace, function string }
	found := map[names]*taken{}
	for _, f := range r.Findings {
		fn := f.Function
		key := names{fn.ProjectID, fn.Namespace, fn.Name}
		e := found[key]
		if e == nil {
			e = &taken{
				Function: scalar(literal(fn.Name)), Namespace: scalar(literal(fn.Namespace)), Project: scalar(literal(fn.ProjectID)),
				Owner: scalar(owner), Reason: takenOver,
				Expires: yaml.Node{Kind: yaml.ScalarNode, Value: expires},
			}
			e.Project.LineComment = comment(fn)
			found[key] = e
		}
		if !slices.Contains(e.Checks, f.Check) {
			e.Checks = append(e.Checks, f.Check)
		}
	}
	all := []taken{}
	for _, e := range found {
		all = append(all, *e)
	}
	slices.SortFunc(all, func(a, b taken) int {
		return cmp.Or(cmp.Compare(a.Project.Value, b.Project.Value), cmp.Compare(a.Namespace.Value, b.Namespace.Value), cmp.Compare(a.Function.Value, b.Function.Value))
	})
	return all
}

// scalar is s as a string, in double quotes where it holds what is to be escaped.
func scalar(s string) yaml.Node {
	n := yaml.Node{}
	n.SetString(s)
	n.Style = 0 // whatever it needs, on one line
	if printable.Line(s) != s {
		n.Style = yaml.DoubleQuotedStyle
	}
	return n
}

// literal is the glob that matches name and nothing else.
func literal(name string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(name)
}

// comment says whose ID it is, where that is known.
func comment(fn Function) string {
	if fn.Project == fn.ProjectID {
		return ""
	}
	return printable.Line(fn.Project)
}

package report

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
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
		fmt.Fprintf(w, "# %s: %s\n", printable(u.place()), printable(u.Error))
	}
	fmt.Fprintf(w, "# %s\n", r.summary())
	e := yaml.NewEncoder(w)
	e.SetIndent(2)
	if err := e.Encode(map[string][]taken{"exceptions": r.taken(owner, expires)}); err != nil {
		return err
	}
	return e.Close()
}

// taken is an exception as the configuration spells it.
type taken struct {
	Checks    []string  `yaml:"checks,flow"`
	Function  string    `yaml:"function"`
	Namespace string    `yaml:"namespace"`
	Project   yaml.Node `yaml:"project"`
	Owner     string    `yaml:"owner"`
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
				Function: literal(fn.Name), Namespace: literal(fn.Namespace),
				Project: yaml.Node{Kind: yaml.ScalarNode, Value: fn.ProjectID, LineComment: comment(fn)},
				Owner:   owner, Reason: takenOver,
				Expires: yaml.Node{Kind: yaml.ScalarNode, Value: expires},
			}
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
		return cmp.Or(cmp.Compare(a.Project.Value, b.Project.Value), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Function, b.Function))
	})
	return all
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
	return printable(fn.Project)
}

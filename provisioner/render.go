package provisioner

import (
	"fmt"
	"io"
	"strings"

	"github.com/scwatch/scwatch/internal/printable"
)

// Render writes a plan for people: by target, one block for an object, one line
// for a field. colour is for a terminal.
func (p *Plan) Render(w io.Writer, colour bool) {
	paint := func(code, s string) string {
		if !colour {
			return s
		}
		return "\x1b[" + code + "m" + s + "\x1b[0m"
	}
	signs := map[Op]string{Create: paint("32", "+"), Update: paint("33", "~"), Delete: paint("31", "-")}
	target := ""
	for _, a := range p.byTarget() {
		if a.Target != target {
			target = a.Target
			fmt.Fprintf(w, "%s\n", paint("1", printable.Line(target)))
		}
		fmt.Fprintf(w, "  %s %s %s", signs[a.Op], strings.ReplaceAll(string(a.Kind), "_", " "), printable.Line(a.Name))
		if a.ChangedBy != "" {
			fmt.Fprintf(w, " (last written by %s)", printable.Line(a.ChangedBy))
		}
		fmt.Fprintln(w)
		for _, c := range a.Changes {
			c.render(w, paint)
		}
	}
	for _, note := range p.Notes {
		fmt.Fprintf(w, "note: %s\n", printable.Line(note))
	}
	if len(p.Actions) == 0 {
		fmt.Fprintln(w, "Nothing to do: everything is as it is defined.")
		return
	}
	fmt.Fprintf(w, "%d to create, %d to update, %d to delete.\n", p.Count(Create), p.Count(Update), p.Count(Delete))
}

// byTarget are the actions with those of one target together.
func (p *Plan) byTarget() []Action {
	var targets []string
	by := make(map[string][]Action)
	for _, a := range p.Actions {
		if by[a.Target] == nil {
			targets = append(targets, a.Target)
		}
		by[a.Target] = append(by[a.Target], a)
	}
	var all []Action
	for _, target := range targets {
		all = append(all, by[target]...)
	}
	return all
}

// longest is how much of a value is shown on one line.
const longest = 160

func (c Change) render(w io.Writer, paint func(code, s string) string) {
	before, after := multiline(c.Before), multiline(c.After)
	if before != nil || after != nil {
		fmt.Fprintf(w, "      %s:\n", printable.Line(c.Path))
		for _, line := range before {
			fmt.Fprintln(w, paint("31", "        - "+printable.Line(line)))
		}
		for _, line := range after {
			fmt.Fprintln(w, paint("32", "        + "+printable.Line(line)))
		}
		return
	}
	switch {
	case c.Before == nil:
		fmt.Fprintf(w, "      %s: %s\n", printable.Line(c.Path), paint("32", "+ "+short(c.After)))
	case c.After == nil:
		fmt.Fprintf(w, "      %s: %s\n", printable.Line(c.Path), paint("31", "- "+short(c.Before)))
	default:
		fmt.Fprintf(w, "      %s: %s -> %s\n", printable.Line(c.Path), paint("31", short(c.Before)), paint("32", short(c.After)))
	}
}

// multiline are the lines of a text that differ, where it has several.
func multiline(v any) []string {
	s, ok := v.(string)
	if s = strings.TrimRight(s, "\n"); !ok || !strings.Contains(s, "\n") {
		return nil
	}
	return strings.Split(s, "\n")
}

func short(v any) string {
	s := []rune(text(v))
	if len(s) > longest {
		return string(s[:longest]) + "…"
	}
	return string(s)
}

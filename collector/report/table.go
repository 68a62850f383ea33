package report

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/scwatch/scwatch/collector"
	"github.com/scwatch/scwatch/internal/printable"
)

// Terminal is what the table is written for.
type Terminal struct {
	Width int // columns; 0: lines are as long as they need to be
	Color bool
}

// colors are those of the severities, as SGR parameters.
var colors = map[collector.Severity]string{
	collector.Critical: "1;31", collector.High: "31", collector.Medium: "33", collector.Low: "36", collector.Info: "2",
}

// proseWidth is that of texts where the lines have no width.
const proseWidth = 100

// WriteTable writes r for people at a terminal: each check once with why it
// matters and how to mend it, and below it where it was found.
func (r *Report) WriteTable(w io.Writer, t Terminal) error {
	b := bufio.NewWriter(w)
	out := tableWriter{b, t}
	for _, warning := range r.warnings() {
		out.prose(colors[collector.Critical], "", warning)
	}
	for _, u := range r.Unread {
		out.prose("", "  ", u.place()+": "+u.Error)
	}
	if len(r.warnings()) > 0 {
		out.line("")
	}
	out.prose("", "", r.summary())
	out.sections(r, r.Findings, Finding.told, true)
	if len(r.Excepted) > 0 {
		out.line("")
		out.line("EXCEPTED")
		out.sections(r, r.Excepted, func(f Finding) string { return f.Exception.answered() }, false)
	}
	return b.Flush()
}

type tableWriter struct {
	w *bufio.Writer
	Terminal
}

// sections writes the findings check by check; they are in that order.
func (t tableWriter) sections(r *Report, findings []Finding, last func(Finding) string, explained bool) {
	for _, check := range r.Checks {
		var rows [][]string
		for len(findings) > 0 && findings[0].Check == check.ID {
			f := findings[0]
			rows = append(rows, []string{f.Function.Name, f.Function.Namespace, f.Function.Project, f.Function.Region, last(f)})
			findings = findings[1:]
		}
		if rows == nil {
			continue
		}
		t.line("")
		t.prose(colors[check.Severity], "", fmt.Sprintf("%s %s: %s", strings.ToUpper(string(check.Severity)), check.ID, check.Title))
		title := "FOUND"
		if explained {
			t.prose("", "  ", check.Why)
			t.prose("", "  Console: ", check.Remedy.Console)
			t.prose("", "  CLI: ", check.Remedy.CLI)
			t.prose("", "  Terraform: ", check.Remedy.Terraform)
		} else {
			title = "ANSWERED FOR BY"
		}
		t.rows(append([][]string{{"FUNCTION", "NAMESPACE", "PROJECT", "REGION", title}}, rows...))
	}
}

// gap is what is between two columns, and before the first.
const gap = 2

// minColumn is what a column keeps however narrow the terminal is.
const minColumn = 8

// rows writes them in columns. Where they are wider than the terminal, the
// widest columns give way until they fit.
func (t tableWriter) rows(rows [][]string) {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i := range row {
			row[i] = printable.Line(row[i])
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i]))
		}
	}
	if t.Width > 0 {
		narrow(widths, t.Width-gap*len(widths))
	}
	for _, row := range rows {
		var b strings.Builder
		for i, cell := range row {
			cell = cut(cell, widths[i])
			b.WriteString(strings.Repeat(" ", gap) + cell)
			b.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)))
		}
		t.line(strings.TrimRight(b.String(), " "))
	}
}

// narrow takes from the widest until all fit into width.
func narrow(widths []int, width int) {
	for {
		total, widest := 0, 0
		for i, w := range widths {
			total += w
			if w > widths[widest] {
				widest = i
			}
		}
		if total <= width || widths[widest] <= minColumn {
			return
		}
		widths[widest]--
	}
}

func cut(s string, width int) string {
	if utf8.RuneCountInString(s) <= width {
		return s
	}
	return string([]rune(s)[:width-1]) + "…"
}

// prose writes text in lines of the terminal's width, the first behind prefix
// and the others as far in.
func (t tableWriter) prose(color, prefix, text string) {
	width := t.Width
	if width <= 0 {
		width = proseWidth
	}
	line, begun := prefix, false
	for word := range strings.FieldsSeq(text) {
		word = printable.Line(word)
		if begun && utf8.RuneCountInString(line+" "+word) > width {
			t.line(t.paint(color, line))
			line, begun = strings.Repeat(" ", utf8.RuneCountInString(prefix)), false
		}
		if begun {
			line += " "
		}
		line, begun = line+word, true
	}
	t.line(t.paint(color, line))
}

func (t tableWriter) paint(color, text string) string {
	if !t.Color || color == "" {
		return text
	}
	return "\x1b[" + color + "m" + text + "\x1b[0m"
}

func (t tableWriter) line(s string) { fmt.Fprintln(t.w, s) }

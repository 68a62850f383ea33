package report

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"github.com/scwatch/scwatch/internal/printable"
)

// WriteMarkdown writes r for a merge request.
func (r *Report) WriteMarkdown(w io.Writer) error {
	b := bufio.NewWriter(w)
	fmt.Fprint(b, "# Serverless functions: posture\n\n")
	for _, warning := range r.warnings() {
		fmt.Fprintf(b, "> ⚠️ **%s**\n", warning)
	}
	for _, u := range r.Unread {
		fmt.Fprintf(b, ">\n> - %s: %s\n", markdownText(u.place()), markdownText(u.Error))
	}
	if len(r.warnings()) > 0 {
		fmt.Fprintln(b)
	}
	fmt.Fprintf(b, "%s.\n", r.summary())
	findings := r.Findings
	for _, check := range r.Checks {
		n := 0
		for n < len(findings) && findings[n].Check == check.ID {
			n++
		}
		if n == 0 {
			continue
		}
		fmt.Fprintf(b, "\n## %s: %s\n\n%s [`%s`](%s)\n\n", check.Severity, check.Title, check.Why, check.ID, check.Page)
		fmt.Fprint(b, "| function | namespace | project | region | found | mend it |\n| --- | --- | --- | --- | --- | --- |\n")
		for _, f := range findings[:n] {
			fmt.Fprintf(b, "| %s | %s |\n", markdownPlace(f.Function), strings.Join([]string{markdownText(f.told()), markdownText(f.Command)}, " | "))
		}
		fmt.Fprintf(b, "\nIn the console: %s  \nWith Terraform: %s\n", check.Remedy.Console, check.Remedy.Terraform)
		findings = findings[n:]
	}
	if len(r.Excepted) > 0 {
		fmt.Fprint(b, "\n## Excepted\n\n| check | function | namespace | project | region | owner | reason | until |\n| --- | --- | --- | --- | --- | --- | --- | --- |\n")
		for _, f := range r.Excepted {
			until := "without an end"
			if f.Exception.Expires != nil {
				until = string(*f.Exception.Expires)
			}
			fmt.Fprintf(b, "| `%s` | %s | %s | %s | %s |\n", f.Check, markdownPlace(f.Function), markdownText(f.Exception.Owner), markdownText(f.Exception.Reason), until)
		}
	}
	return b.Flush()
}

func markdownPlace(f Function) string {
	return strings.Join([]string{markdownText(f.Name), markdownText(f.Namespace), markdownText(f.Project), markdownText(f.Region)}, " | ")
}

// markdownText is s as text that is nothing else: neither markup nor HTML, no
// link, and nobody's name is called, since what stands in <code> is left alone.
func markdownText(s string) string {
	var b strings.Builder
	b.WriteString("<code>")
	for _, r := range printable.Line(s) {
		if r > ' ' && r < 0x7f && !isPlain(r) {
			fmt.Fprintf(&b, "&#%d;", r)
		} else {
			b.WriteRune(r)
		}
	}
	b.WriteString("</code>")
	return b.String()
}

func isPlain(r rune) bool {
	return r == '-' || r == ',' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
}

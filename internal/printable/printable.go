// Package printable shows other people's text: names, tags, what a server said.
package printable

import (
	"strconv"
	"strings"
)

// Line is s on one line and without what a terminal or a reader could take for
// anything but text: control characters, changes of the writing direction and the
// like stand as their escapes.
func Line(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return !strconv.IsPrint(r) }) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if strconv.IsPrint(r) {
			b.WriteRune(r)
		} else {
			quoted := strconv.QuoteRuneToASCII(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		}
	}
	return b.String()
}

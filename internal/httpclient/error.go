package httpclient

import (
	"fmt"
	"strings"
)

// Error is a call that failed: what was tried, what came back, what to do.
type Error struct {
	Attempted string // "list the namespaces of project … in fr-par"
	Status    int    // HTTP status; 0: no answer
	RequestID string
	Reason    string
	Advice    string // empty where there is none
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Attempted + ": ")
	if e.Status != 0 {
		fmt.Fprintf(&b, "%d: ", e.Status)
	}
	b.WriteString(e.Reason)
	if e.RequestID != "" {
		fmt.Fprintf(&b, " (request ID %s)", e.RequestID)
	}
	if e.Advice != "" {
		b.WriteString("; " + e.Advice)
	}
	return b.String()
}

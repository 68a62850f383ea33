package report

import (
	"encoding/json"
	"io"
)

// WriteJSON writes r as docs/audit.schema.json describes it.
func (r *Report) WriteJSON(w io.Writer) error { return writeJSON(w, r) }

func writeJSON(w io.Writer, value any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(value)
}

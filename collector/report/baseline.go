package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// Baseline says how much a report against an earlier one leaves out.
type Baseline struct {
	Complete bool `json:"complete"` // the earlier report saw everything
	Known    int  `json:"known"`    // findings that stand in it, and are left out here
}

// Earlier is a report to compare with.
type Earlier struct {
	complete       bool
	open, excepted map[string]Finding // by fingerprint
}

// ReadEarlier reads what WriteJSON wrote.
func ReadEarlier(data []byte) (*Earlier, error) {
	var r Report
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, fmt.Errorf("it is not a report of scwatch audit --format=json: %w", err)
	}
	switch {
	case r.Version != Version:
		return nil, fmt.Errorf("it is not a report of version %d of the JSON format", Version)
	case r.Baseline != nil:
		return nil, errors.New("it was itself made with a baseline and holds only what was new then; take one made without")
	}
	e := &Earlier{complete: r.Complete, open: map[string]Finding{}, excepted: map[string]Finding{}}
	for _, f := range r.Findings {
		e.open[f.Fingerprint] = f
	}
	for _, f := range r.Excepted {
		e.excepted[f.Fingerprint] = f
	}
	return e, nil
}

// Since leaves in r only what is new since the earlier report. A finding that
// names more than it did then, such as one more variable, is new. So is one that
// was excepted then and is open now.
func (r *Report) Since(e *Earlier) {
	r.Baseline = &Baseline{Complete: e.complete}
	r.Findings = r.since(r.Findings, e.open)
	r.Excepted = r.since(r.Excepted, e.excepted, e.open)
	r.count()
}

func (r *Report) since(list []Finding, earlier ...map[string]Finding) []Finding {
	return slices.DeleteFunc(list, func(f Finding) bool {
		for _, known := range earlier {
			if before, ok := known[f.Fingerprint]; ok && before.covers(f) {
				r.Baseline.Known++
				return true
			}
		}
		return false
	})
}

// covers tells whether now says nothing that f did not say.
func (f Finding) covers(now Finding) bool {
	for _, subject := range now.Subjects {
		if !slices.Contains(f.Subjects, subject) {
			return false
		}
	}
	return true
}

package collector

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"go.etcd.io/bbolt"
)

// tally is what was counted in one project and region. It is kept in the state
// file as a whole, so that no crash takes the cursor and the counters apart.
type tally struct {
	Method  *method            `json:"method,omitempty"` // how it is counted; nil: nothing to count was found
	Counted time.Time          `json:"counted,omitzero"` // up to when everything is counted
	Spacing time.Duration      `json:"spacing,omitempty"`
	Series  map[string]reading `json:"series"`           // the last readings; nil: nothing was read yet
	Totals  map[string]counts  `json:"totals,omitempty"` // by source
	Lost    time.Duration      `json:"lost,omitempty"`   // what could not be caught up with

	Probes   []sentProbe     `json:"probes,omitempty"`   // refused ones that the source is still to show
	Verdicts map[string]bool `json:"verdicts,omitempty"` // by function: the last conclusive probe was refused
}

// sentProbe is a call of scwatch's own that was refused.
type sentProbe struct {
	Function string    `json:"function"`
	Code     string    `json:"code"`
	At       time.Time `json:"at"`
	Left     float64   `json:"left"` // how much of it is still to be taken off
}

// How long a reading and a probe are waited for. A series that comes back later
// than its reading is kept is a new one. Instances come and go, and never come
// back; a function that nobody calls for a week does.
const (
	readingKept         = 30 * 24 * time.Hour
	instanceReadingKept = time.Hour
	probeKept           = 10 * time.Minute
)

// outdated tells whether a reading is no longer waited for.
func outdated(series string, r reading, now time.Time) bool {
	kept := readingKept
	if strings.Contains(series, labelInstance) {
		kept = instanceReadingKept
	}
	return now.UnixMilli()-r.At > kept.Milliseconds()
}

// use changes how the place is counted, from where it was counted so far.
func (t *tally) use(m *method) {
	t.Method, t.Series, t.Spacing = m, nil, 0
	if m == nil || m.Shape == shapeCount {
		return
	}
	for _, codes := range t.Totals[m.Source] {
		maps.DeleteFunc(codes, func(code string, _ float64) bool { return !slices.Contains(m.Codes, code) })
	}
}

// leap leaves time out that cannot be caught up with. The series begin anew
// behind it: what they gained in it would come in one lump.
func (t *tally) leap(to time.Time, lost time.Duration) {
	t.Counted, t.Lost = to, t.Lost+lost
	if lost > 0 {
		t.Series = nil
	}
}

// add takes a window up to end into the totals of the functions, nil where it
// is not known which there are.
func (t *tally) add(found counts, taken map[string]reading, functions []Function, end time.Time) {
	source := t.Method.Source
	if t.Totals == nil {
		t.Totals = map[string]counts{}
	}
	if t.Totals[source] == nil {
		t.Totals[source] = counts{}
	}
	total := t.Totals[source]
	if functions != nil {
		t.listed(functions)
		for _, f := range functions {
			for _, code := range t.Method.Codes {
				total.add(f.ID, code, 0)
			}
		}
	}
	for function, codes := range found {
		if total[function] == nil {
			continue // not listed: deleted, or too new
		}
		for code, n := range codes {
			total.add(function, code, t.withoutProbes(function, code, n))
		}
	}
	if t.Series == nil && taken != nil {
		t.Series = map[string]reading{}
	}
	maps.Copy(t.Series, taken)
	t.Counted = end
	maps.DeleteFunc(t.Series, func(series string, r reading) bool { return outdated(series, r, end) })
	t.forgetProbes(end)
}

// listed drops what is known of functions that are no more.
func (t *tally) listed(functions []Function) {
	there := map[string]bool{}
	for _, f := range functions {
		there[f.ID] = true
	}
	for _, total := range t.Totals {
		maps.DeleteFunc(total, func(id string, _ map[string]float64) bool { return !there[id] })
	}
	maps.DeleteFunc(t.Verdicts, func(id string, _ bool) bool { return !there[id] })
}

// withoutProbes takes scwatch's own calls off n.
func (t *tally) withoutProbes(function, code string, n float64) float64 {
	for i := range t.Probes {
		p := &t.Probes[i]
		if p.Function == function && (p.Code == code || code == classOf(p.Code)) {
			off := min(n, p.Left)
			n, p.Left = n-off, p.Left-off
		}
	}
	return n
}

// forgetProbes drops the probes that were taken off, and those that the source
// should have shown by now.
func (t *tally) forgetProbes(counted time.Time) {
	var left []sentProbe
	for _, p := range t.Probes {
		if p.Left > 0 && counted.Sub(p.At) < probeKept+2*t.Spacing {
			left = append(left, p)
		}
	}
	t.Probes = left
}

// classOf is the class of a code: "4xx" of "403".
func classOf(code string) string { return code[:1] + "xx" }

// whole returns the totals of the source in use as a counter shows them. What
// is less than a call is carried over.
func (t *tally) whole() counts {
	all := counts{}
	if t.Method == nil {
		return all
	}
	for function, codes := range t.Totals[t.Method.Source] {
		for code, n := range codes {
			all.add(function, code, math.Floor(n+1e-6))
		}
	}
	return all
}

// ledger keeps the tallies of all places. It is safe for concurrent use: a
// tally is changed by update alone, and read outside of it only by what alone
// changes that part.
type ledger struct {
	state *State

	mu      sync.Mutex
	tallies map[string]*tally
}

var rejectedBucket = []byte("rejected_calls")

func newLedger(state *State) (*ledger, error) {
	l := &ledger{state: state, tallies: map[string]*tally{}}
	if state.db == nil {
		return l, nil
	}
	return l, state.db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket(rejectedBucket).ForEach(func(key, value []byte) error {
			t := &tally{}
			if err := json.Unmarshal(value, t); err != nil {
				return fmt.Errorf("read what was counted of %q: %w", key, err)
			}
			l.tallies[string(key)] = t
			return nil
		})
	})
}

// of returns the tally of a place.
func (l *ledger) of(projectID, region string) *tally {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := storyKey(projectID, region)
	if l.tallies[key] == nil {
		l.tallies[key] = &tally{}
	}
	return l.tallies[key]
}

// update changes a tally and keeps it, in one transaction. Where it cannot be
// kept, it is changed all the same, and kept with the next change.
func (l *ledger) update(projectID, region string, change func(*tally)) error {
	t := l.of(projectID, region)
	l.mu.Lock()
	defer l.mu.Unlock()
	change(t)
	if l.state.db == nil {
		return nil
	}
	value, err := json.Marshal(t)
	if err != nil {
		return err
	}
	return l.state.db.Update(func(tx *bbolt.Tx) error {
		return tx.Bucket(rejectedBucket).Put([]byte(storyKey(projectID, region)), value)
	})
}

// verdict returns what the last conclusive probe of a function said.
func (l *ledger) verdict(projectID, region, function string) (refused, known bool) {
	t := l.of(projectID, region)
	l.mu.Lock()
	defer l.mu.Unlock()
	refused, known = t.Verdicts[function]
	return refused, known
}

package push

import (
	"hash/maphash"
	"math"
	"path"
	"time"
)

// delta decides which samples go out at a tick.
type delta struct {
	interval  time.Duration
	heartbeat time.Duration

	sent  map[string]sent // by series
	seed  maphash.Seed
	round int
}

// sent is what the receiver holds of a series.
type sent struct {
	value float64
	at    time.Time
	first bool // it was sent once: its next heartbeat comes early, to spread them
	round int  // in which the series was last there
}

func newDelta(interval, heartbeat time.Duration) *delta {
	return &delta{interval: interval, heartbeat: heartbeat, sent: map[string]sent{}, seed: maphash.MakeSeed()}
}

// ticks is how many ticks a value may stand without being repeated.
func (d *delta) ticks() int64 { return max(1, int64(d.heartbeat/d.interval)) }

// next returns what goes out at tick at, given all samples that there are: those
// that are new or have changed, those whose heartbeat would run out before the
// next tick, and a marker for each series that ended.
func (d *delta) next(current []Sample, at time.Time) []Sample {
	var out []Sample
	d.round++
	if len(d.sent) == 0 { // all of it goes out
		out = make([]Sample, 0, len(current))
		d.sent = make(map[string]sent, len(current))
	}
	for _, s := range current {
		before, known := d.sent[s.Series]
		switch {
		case known && before.round == d.round:
			continue // the same series twice
		case known && same(before.value, s.Value) && at.Before(d.due(s.Series, before)):
			before.round = d.round
			d.sent[s.Series] = before
			continue
		}
		out = append(out, s)
		d.sent[s.Series] = sent{value: s.Value, at: at, first: !known, round: d.round}
	}
	for series, s := range d.sent {
		if s.round != d.round {
			out = append(out, Sample{Series: series, Value: staleMarker})
			delete(d.sent, series)
		}
	}
	return out
}

// due is the last tick before the heartbeat runs out; for a series that was
// sent once, any tick until then.
func (d *delta) due(series string, s sent) time.Time {
	ticks := d.ticks()
	if s.first {
		ticks = 1 + int64(maphash.String(d.seed, series)%uint64(ticks))
	}
	// A tick is late by what the timer is: half an interval tells it from the
	// next one.
	return s.at.Add(time.Duration(ticks)*d.interval - d.interval/2)
}

// replay takes a batch that a former process made for sent.
func (d *delta) replay(samples []Sample, at time.Time) {
	for _, s := range samples {
		if isStale(s.Value) {
			delete(d.sent, s.Series)
		} else {
			d.sent[s.Series] = sent{value: s.Value, at: at}
		}
	}
}

// lost takes back what a batch that never arrived made of sent: what was in it
// goes out again at the next tick.
func (d *delta) lost(samples []Sample, at time.Time) {
	for _, s := range samples {
		before, known := d.sent[s.Series]
		if known && before.at.After(at) || !known && !isStale(s.Value) {
			continue // a later batch, or its end, has overtaken it
		}
		d.sent[s.Series] = sent{value: staleMarker} // due, whatever the value is
	}
}

// same tells whether two values are one to a reader: a NaN is like any other,
// but not like the end of the series.
func same(a, b float64) bool {
	return a == b || math.IsNaN(a) && math.IsNaN(b) && isStale(a) == isStale(b)
}

func isStale(value float64) bool { return math.Float64bits(value) == math.Float64bits(staleMarker) }

func matches(glob, name string) bool {
	ok, _ := path.Match(glob, name)
	return ok
}

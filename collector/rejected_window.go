package collector

import "time"

// Rejected calls are counted in windows of time that lie end to end. A source
// that did not answer for long is caught up with no faster than this: what is
// counted shows in the metric when it is counted, and an hour's calls in one
// minute would look like an attack.
const catchUp = 2

// maxBehind is how far back a source is caught up with. What is older than that
// is lost, and counted as such.
const maxBehind = 2 * time.Hour

// maxAhead is how far in the future the end of the last window may be before
// the clock must have been wrong then. Below it, time is waited for.
const maxAhead = time.Hour

// pace says which window is next. The credit is how much of a source's time may
// be counted now; it grows with the time that passes here.
type pace struct {
	at     time.Time // when it was last asked
	credit time.Duration
}

// latest is the newest end that a window may have at now. Ends lie between two
// seconds: samples lie on them more often than not, and engines differ in
// whether a range takes the sample on its edge.
func latest(now time.Time, delay time.Duration) time.Time {
	return now.Add(-delay).Truncate(time.Second).Add(-500 * time.Millisecond)
}

// window returns the end of the window that begins at counted, or false where
// none is due: too little time has passed for least, or what has passed is not
// to be counted so soon.
func (p *pace) window(counted, latest time.Time, least, interval time.Duration, now time.Time) (end time.Time, due bool) {
	stride := max(least, interval)
	if p.at.IsZero() {
		p.credit = catchUp * stride
	}
	if elapsed := now.Sub(p.at); !p.at.IsZero() && elapsed > 0 {
		p.credit += min(catchUp*elapsed, 2*catchUp*stride) // bounded before it is added: an elapsed time can be huge
	}
	p.credit = min(p.credit, 2*catchUp*stride)
	p.at = now
	behind := latest.Sub(counted)
	if behind < max(least, time.Second) || p.credit < least {
		return time.Time{}, false
	}
	return counted.Add(min(behind, p.credit).Truncate(time.Second)), true
}

// counted takes a window off the credit.
func (p *pace) counted(window time.Duration) { p.credit -= window }

// skip returns where counting goes on, and how much time is lost to it: what
// lies more than maxBehind back. A cursor in the far future begins anew.
func skip(counted, latest time.Time) (from time.Time, lost time.Duration) {
	switch behind := latest.Sub(counted); {
	case behind > maxBehind:
		return latest.Add(-maxBehind), behind - maxBehind
	case -behind > maxAhead:
		return latest, 0
	}
	return counted, 0
}

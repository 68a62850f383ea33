package push

import "time"

// month is what a forecast is for.
const month = 30 * 24 * time.Hour

// window is how far back a forecast looks.
const window = time.Hour

// forecast tells how many samples a month will send, from what is sent.
type forecast struct {
	interval, heartbeat time.Duration

	ticks []counted // within the window
	began time.Time
}

type counted struct {
	at   time.Time
	sent int
	all  int // samples that there were
}

func (f *forecast) count(sent, all int, at time.Time) {
	if f.began.IsZero() {
		f.began = at
	}
	f.ticks = append(f.ticks, counted{at, sent, all})
	for at.Sub(f.ticks[0].at) > window {
		f.ticks = f.ticks[1:]
	}
}

// perMonth is the rate of the window, without the first heartbeats: in them
// everything goes out at least once more. Until those have passed, it is what
// the samples there are would send if none of them changed.
func (f *forecast) perMonth() (samples float64, ok bool) {
	if len(f.ticks) == 0 {
		return 0, false
	}
	sent, ticks := 0, 0
	for _, tick := range f.ticks {
		if tick.at.Sub(f.began) >= 2*f.heartbeat {
			sent += tick.sent
			ticks++
		}
	}
	perTick := float64(sent) / float64(max(1, ticks))
	if ticks < int(f.heartbeat/f.interval) {
		perTick = float64(f.ticks[len(f.ticks)-1].all) / float64(max(1, int64(f.heartbeat/f.interval)))
	}
	return perTick * float64(month) / float64(f.interval), true
}

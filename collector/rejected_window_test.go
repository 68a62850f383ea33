package collector

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// Whatever happens to polls and clocks, windows lie end to end, none reaches
// beyond what may be counted, none is shorter than asked, and time is caught up
// with no faster than twice as fast as it passes.
func TestWindows(t *testing.T) {
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 4))
		least := []time.Duration{0, 30 * time.Second, 2 * time.Minute, 10 * time.Minute}[random.IntN(4)]
		interval := []time.Duration{10 * time.Second, time.Minute, 5 * time.Minute}[random.IntN(3)]
		delay := time.Duration(random.IntN(180)) * time.Second
		now := noon.Add(time.Duration(random.Int64N(int64(time.Hour))))
		var p pace
		counted := latest(now, delay)
		var lost, caught time.Duration
		begin, started := counted, now
		restarts := 1
		for poll := range 500 {
			now = now.Add(interval + time.Duration(random.Int64N(int64(interval)/10)))
			switch random.IntN(60) {
			case 0:
				p = pace{} // a restart
				restarts++
			case 1:
				now = now.Add(time.Duration(random.Int64N(int64(90 * time.Minute)))) // nothing ran
			}
			newest := latest(now, delay)
			if newest.After(now.Add(-delay)) {
				t.Fatalf("seed %d: %s may be counted at %s with a delay of %s", seed, newest, now, delay)
			}
			from, gap := skip(counted, newest)
			lost += gap
			counted = from
			end, due := p.window(counted, newest, least, interval, now)
			if newest.Sub(counted) > maxBehind {
				t.Fatalf("seed %d, poll %d: %s behind", seed, poll, newest.Sub(counted))
			}
			if !due || random.IntN(10) == 0 { // or Cockpit does not answer
				continue
			}
			window := end.Sub(counted)
			switch {
			case window < least || window <= 0:
				t.Fatalf("seed %d, poll %d: a window of %s", seed, poll, window)
			case end.After(newest):
				t.Fatalf("seed %d, poll %d: a window up to %s, beyond %s", seed, poll, end, newest)
			case window > 2*catchUp*max(least, interval):
				t.Fatalf("seed %d, poll %d: a window of %s in one lump", seed, poll, window)
			case window%time.Second != 0:
				t.Fatalf("seed %d, poll %d: a window of %s", seed, poll, window)
			}
			p.counted(window)
			counted, caught = end, caught+window
		}
		if counted.Sub(begin) != caught+lost {
			t.Errorf("seed %d: %s passed, of which %s are counted and %s lost", seed, counted.Sub(begin), caught, lost)
		}
		if most := catchUp*now.Sub(started) + time.Duration(restarts)*2*catchUp*max(least, interval); caught > most {
			t.Errorf("seed %d: %s were counted in %s", seed, caught, now.Sub(started))
		}
	}
}

// A clock that goes back makes nothing count twice; one that was far ahead
// stops the count no longer than it must.
func TestClockSteps(t *testing.T) {
	var p pace
	counted := latest(noon, 0)
	for _, test := range []struct {
		now  time.Time
		from time.Time
		lost time.Duration
		due  bool
	}{
		{noon.Add(time.Minute), counted, 0, true},
		{noon.Add(-30 * time.Minute), counted, 0, false},
		{noon.Add(-2 * time.Hour), latest(noon.Add(-2*time.Hour), 0), 0, false},
		{noon.Add(5 * time.Hour), latest(noon.Add(5*time.Hour), 0).Add(-maxBehind), 3 * time.Hour, true},
	} {
		newest := latest(test.now, 0)
		from, lost := skip(counted, newest)
		if _, due := p.window(from, newest, 30*time.Second, time.Minute, test.now); due != test.due || !from.Equal(test.from) || lost != test.lost {
			t.Errorf("at %s: from %s, lost %s, due %v", test.now, from, lost, due)
		}
	}
}

// However samples arrive, in whatever windows they are asked, a counter's total
// is what it gained between the first and the last of them.
func TestSamplesAreCountedOnce(t *testing.T) {
	const spacing = time.Minute
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 5))
		m := &method{Shape: shapeCounter, CodeLabel: "code"}
		type sample struct {
			point
			arrives time.Time
		}
		samples := map[string][]sample{}
		want := 0.0
		for n := range 4 {
			value, arrives := float64(random.IntN(1000)), time.Time{}
			for minute := range 240 {
				if n == 3 && minute < 100 {
					continue // a series that appears
				}
				if n == 3 && minute == 100 {
					value = 0
				}
				gain := float64(random.IntN(20))
				if minute > 20 || n == 3 {
					want += gain
				}
				before := value
				if value += gain; random.IntN(40) == 0 && gain < before {
					value = gain // it began again at zero, and is seen to
				}
				at := noon.Add(time.Duration(minute) * time.Minute)
				// In order, and no later than a query reaches back.
				if late := at.Add(time.Duration(random.Int64N(int64(3 * time.Minute)))); minute > 20 && late.After(arrives) {
					arrives = late
				}
				samples[fmt.Sprint(n)] = append(samples[fmt.Sprint(n)], sample{point{at.UnixMilli(), value}, arrives})
			}
		}
		var last map[string]reading
		total := 0.0
		from := noon.Add(20*time.Minute + 30*time.Second)
		for now := from; from.Before(noon.Add(245 * time.Minute)); {
			to := from.Add(time.Duration(2+random.IntN(4)) * time.Minute)
			now = to.Add(time.Duration(random.Int64N(int64(2 * time.Minute))))
			var all []series
			for n, points := range samples {
				s := series{labels: map[string]string{labelResource: "f", "code": "403", "n": n}}
				for _, p := range points {
					if !p.arrives.After(now) && p.at <= to.UnixMilli() && p.at > from.Add(-overlapOf(spacing)).UnixMilli() {
						s.points = append(s.points, p.point)
					}
				}
				if len(s.points) > 0 {
					all = append(all, s)
				}
			}
			found, taken, err := m.countSamples(all, last, from, spacing)
			if err != nil {
				t.Fatal(err)
			}
			total += found["f"]["403"]
			if last == nil {
				last = map[string]reading{}
			}
			for key, r := range taken {
				if r.At < last[key].At {
					t.Fatalf("seed %d: a series goes back in time", seed)
				}
				last[key] = r
			}
			from = to
		}
		if math.Abs(total-want) > 1e-6 {
			t.Errorf("seed %d: counted %g, there were %g", seed, total, want)
		}
	}
}

// A rate says what was between two samples, or where one of them is missing; not
// what was in a gap of hours.
func TestGapsAreNotFilled(t *testing.T) {
	for _, shape := range []string{shapeRate, shapePercentage} {
		m := &method{Shape: shape, Metric: "m", CodeLabel: "code", Scale: 0.01}
		s := series{labels: map[string]string{"__name__": "m", labelResource: "f", "code": "403"}}
		rates := series{labels: map[string]string{"__name__": "r", labelResource: "f"}}
		for _, minute := range []int{0, 1, 3, 120} {
			at := noon.Add(time.Duration(minute) * time.Minute).UnixMilli()
			s.points, rates.points = append(s.points, point{at, 2}), append(rates.points, point{at, 100})
		}
		found, _, err := m.countSamples([]series{s, rates}, nil, noon, time.Minute)
		if got := found["f"]["403"]; err != nil || got != 2*60+2*120+2*120 {
			t.Errorf("%s: %g calls (error %v), want 600", shape, got, err)
		}
	}
}

// A percentage is one of its own instance's calls where the rate has instances,
// and of all calls of the function otherwise.
func TestPercentagesOfInstances(t *testing.T) {
	m := &method{Shape: shapePercentage, Metric: "m", CodeLabel: "code", Scale: 0.01}
	at := noon.Add(time.Minute).UnixMilli()
	of := func(name, instance string, value float64) series {
		s := series{labels: map[string]string{"__name__": name, labelResource: "f"}, points: []point{{at, value}}}
		if name == "m" {
			s.labels["code"] = "403"
		}
		if instance != "" {
			s.labels[labelInstance] = instance
		}
		return s
	}
	for name, test := range map[string]struct {
		series []series
		want   float64 // a second
	}{
		"both by instance":     {[]series{of("m", "a", 10), of("m", "b", 50), of("r", "a", 20), of("r", "b", 2)}, 3},
		"the rate by instance": {[]series{of("m", "", 10), of("r", "a", 20), of("r", "b", 2)}, 2.2},
		"the percentage alone": {[]series{of("m", "a", 10), of("m", "b", 50), of("r", "", 20)}, 6},
		"neither":              {[]series{of("m", "", 10), of("r", "", 20)}, 2},
		"no rate":              {[]series{of("m", "", 10)}, 0},
	} {
		found, _, err := m.countSamples(test.series, map[string]reading{}, noon, time.Minute)
		if got := found["f"]["403"]; err != nil || math.Abs(got-60*test.want) > 1e-6 {
			t.Errorf("%s: %g calls (error %v), want %g", name, got, err, 60*test.want)
		}
	}
}

// Fractions are carried over: however small the parts, no call is lost to
// rounding, and a counter shows whole calls.
func TestFractions(t *testing.T) {
	random := rand.New(rand.NewPCG(6, 6))
	tl := &tally{Method: &method{Source: sourceOfMetrics, Codes: exactCodes}}
	functions := []Function{{ID: "f"}}
	tl.add(nil, nil, functions, noon)
	sum := 0.0
	for n := range 5000 {
		part := random.Float64() / 3
		sum += part
		found := counts{}
		found.add("f", "403", part)
		tl.add(found, nil, functions, noon.Add(time.Duration(n)*time.Minute))
		shown := tl.whole()["f"]["403"]
		if shown != math.Floor(shown) || shown > sum+1e-6 || shown < sum-1 {
			t.Fatalf("%g are shown of %g", shown, sum)
		}
	}
	if got := tl.whole()["f"]["401"]; got != 0 {
		t.Errorf("401 is %g", got)
	}
}

// scwatch's own probes are taken off, once each, and no longer than they may
// still show.
func TestProbesAreTakenOff(t *testing.T) {
	for name, test := range map[string]struct {
		code    string
		probes  []sentProbe
		windows []float64 // calls found in each of the next minutes
		want    float64
	}{
		"none were sent":          {"403", nil, []float64{2, 3}, 5},
		"one at once":             {"403", []sentProbe{{"f", "403", noon, 1}}, []float64{2, 3}, 4},
		"in parts":                {"403", []sentProbe{{"f", "403", noon, 1}}, []float64{0.4, 0.4, 3.2}, 3},
		"by its class":            {"4xx", []sentProbe{{"f", "401", noon, 1}}, []float64{2}, 1},
		"of another code":         {"403", []sentProbe{{"f", "401", noon, 1}}, []float64{2}, 2},
		"of another function":     {"403", []sentProbe{{"g", "403", noon, 1}}, []float64{2}, 2},
		"two of them":             {"403", []sentProbe{{"f", "403", noon, 1}, {"f", "403", noon, 1}}, []float64{1, 1, 1}, 1},
		"never shown by a source": {"403", []sentProbe{{"f", "403", noon.Add(-time.Hour), 1}}, []float64{0, 2}, 2},
	} {
		tl := &tally{Method: &method{Source: sourceOfMetrics, Codes: []string{test.code}}, Probes: test.probes}
		functions := []Function{{ID: "f"}, {ID: "g"}}
		for n, calls := range test.windows {
			found := counts{}
			found.add("f", test.code, calls)
			tl.add(found, nil, functions, noon.Add(time.Duration(n+1)*time.Minute))
		}
		if got := tl.whole()["f"][test.code]; got != test.want {
			t.Errorf("%s: %g, want %g", name, got, test.want)
		}
	}
}

// A function begins at zero when it is listed, whatever came of it before.
func TestNewFunctionsBeginAtZero(t *testing.T) {
	tl := &tally{Method: &method{Source: sourceOfMetrics, Codes: exactCodes}}
	found := counts{}
	found.add("old", "403", 1)
	found.add("new", "403", 2)
	tl.add(found, nil, []Function{{ID: "old"}}, noon)
	tl.add(nil, nil, []Function{{ID: "old"}, {ID: "new"}}, noon)
	if got := tl.whole(); got["old"]["403"] != 1 || got["new"]["403"] != 0 || len(got["new"]) != 2 {
		t.Errorf("counts %v", got)
	}
	tl.add(found, nil, []Function{{ID: "new"}}, noon.Add(time.Minute))
	if got := tl.whole(); got["old"] != nil || got["new"]["403"] != 2 {
		t.Errorf("after a deletion %v", got)
	}
	tl.add(found, nil, nil, noon.Add(2*time.Minute)) // it is not known which there are
	if got := tl.whole(); got["new"]["403"] != 4 {
		t.Errorf("without a listing %v", got)
	}
}

package collector

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"
)

// series is what a query answered about one series: its samples, or a single
// value.
type series struct {
	labels map[string]string
	points []point // by time
}

type point struct {
	at    int64 // milliseconds
	value float64
}

// reading is the last sample of a series that was counted.
type reading struct {
	At    int64   `json:"at"`
	Value float64 `json:"value"`
}

// Labels that Scaleway's series have.
const (
	labelResource = "resource_id"
	labelInstance = "resource_instance"
	labelCode     = "code"
)

// counts are calls by the function's ID and the code.
type counts map[string]map[string]float64

func (c counts) add(function, code string, n float64) {
	if c[function] == nil {
		c[function] = map[string]float64{}
	}
	c[function][code] += n
}

// key tells the series of one query apart.
func (s series) key() string {
	var parts []string
	for name, value := range s.labels {
		parts = append(parts, name+"\x00"+value)
	}
	slices.Sort(parts)
	return strings.Join(parts, "\x00")
}

// validCode is a status code or a class of them.
var validCode = regexp.MustCompile(`^[1-5]([0-9][0-9]|xx)$`)

// check finds what no query of rejected calls may answer.
func check(all []series, codeLabel string) error {
	if len(all) == 0 {
		return nil
	}
	for _, s := range all {
		if s.labels[labelResource] == "" {
			return fmt.Errorf("it returns a series without the label %s, so that its function is not known", labelResource)
		}
		if code := s.labels[codeLabel]; code != "" && !validCode.MatchString(strings.ToLower(code)) {
			return fmt.Errorf("it returns %s=%.20q, which is neither a status code such as 403 nor a class such as 4xx", codeLabel, code)
		}
		for _, p := range s.points {
			switch {
			case math.IsNaN(p.value):
				return errors.New("it returns a value that is no number (NaN)")
			case math.IsInf(p.value, 0):
				return errors.New("it returns an infinite value")
			case p.value < 0:
				return fmt.Errorf("it returns a negative value (%g)", p.value)
			}
		}
	}
	return nil
}

// countAnswers takes values as they are: the calls in the window that was
// asked.
func countAnswers(all []series) (counts, error) {
	if err := check(all, labelCode); err != nil {
		return nil, err
	}
	found, seen := counts{}, map[[2]string]bool{}
	for _, s := range all {
		function, code := s.labels[labelResource], strings.ToLower(s.labels[labelCode])
		if code == "" {
			return nil, fmt.Errorf("it returns a series without the label %s, so that the kind of refusal is not known", labelCode)
		}
		if seen[[2]string{function, code}] {
			return nil, fmt.Errorf("it returns more than one series for %s %s and %s %s; aggregate them: sum by (%[1]s, %[3]s) (…)", labelResource, function, labelCode, code)
		}
		seen[[2]string{function, code}] = true
		for _, p := range s.points {
			found.add(function, code, p.value)
		}
	}
	return found, nil
}

// countSamples counts the calls between the samples of the last window and
// those that came since, series by series: from each one's last reading on, so that a
// late sample is counted with the next window and none is counted twice. A
// series that is new begins at zero, because it was looked for before and was
// not there. Where nothing was read before (last is nil), it begins at its last
// sample up to from if it has one.
func (m *method) countSamples(all []series, last map[string]reading, from time.Time, spacing time.Duration) (counts, map[string]reading, error) {
	if err := check(all, m.CodeLabel); err != nil {
		return nil, nil, err
	}
	found, taken := counts{}, map[string]reading{}
	rates := m.rates(all)
	for _, s := range all {
		if m.Shape == shapePercentage && (s.labels["__name__"] != m.Metric || s.labels[m.CodeLabel] == "") {
			continue // a rate, or a percentage of no status
		}
		function, code := s.labels[labelResource], strings.ToLower(s.labels[m.CodeLabel])
		key := s.key()
		begin, known := last[key]
		fresh := !known
		for _, p := range s.points {
			switch {
			case last == nil && p.at <= from.UnixMilli():
				begin, fresh = reading{p.at, p.value}, false
				taken[key] = begin
				continue
			case p.at <= begin.At && !fresh:
				continue
			}
			// A gap is bridged for one sample that is missing: what a rate was
			// while it was not measured for long is not known.
			covers := min(time.Duration(p.at-begin.At)*time.Millisecond, 2*spacing)
			if fresh {
				covers = spacing
			}
			found.add(function, code, m.calls(begin, p, covers, func() float64 { return rates.at(s, p.at, spacing) }))
			begin, fresh = reading{p.at, p.value}, false
			taken[key] = begin
		}
	}
	return found, taken, nil
}

// calls is how many there were from one sample to the next.
func (m *method) calls(begin reading, p point, covers time.Duration, rate func() float64) float64 {
	switch m.Shape {
	case shapeRate:
		return p.value * covers.Seconds()
	case shapePercentage:
		return p.value * m.Scale * rate() * covers.Seconds()
	}
	if p.value < begin.Value { // it began again at zero
		return p.value
	}
	return p.value - begin.Value
}

// requestRates are the series of requests a second beside the percentages.
type requestRates struct {
	rates, percentages map[string][]series // by function
	codeLabel          string
}

func (m *method) rates(all []series) requestRates {
	r := requestRates{map[string][]series{}, map[string][]series{}, m.CodeLabel}
	if m.Shape != shapePercentage {
		return r
	}
	for _, s := range all {
		function := s.labels[labelResource]
		if s.labels["__name__"] == m.Metric {
			r.percentages[function] = append(r.percentages[function], s)
		} else {
			r.rates[function] = append(r.rates[function], s)
		}
	}
	return r
}

// at is the rate that a percentage at that time is one of: its own instance's,
// or its share of the function's where instances are measured on one side
// alone.
func (r requestRates) at(percentage series, at int64, spacing time.Duration) float64 {
	function, instance := percentage.labels[labelResource], percentage.labels[labelInstance]
	var all, own float64
	for _, s := range r.rates[function] {
		p, ok := s.near(at, spacing)
		if !ok {
			continue
		}
		if instance != "" && s.labels[labelInstance] == instance {
			return p.value
		}
		all += p.value
	}
	for _, s := range r.percentages[function] {
		if _, ok := s.near(at, spacing); ok && s.labels[r.codeLabel] == percentage.labels[r.codeLabel] {
			own++
		}
	}
	return all / max(1, own)
}

// near returns the point that is nearest in time, within spacing.
func (s series) near(at int64, spacing time.Duration) (nearest point, ok bool) {
	distance := spacing.Milliseconds() + 1
	for _, p := range s.points {
		if d := max(p.at-at, at-p.at); d < distance {
			nearest, distance, ok = p, d, true
		}
	}
	return nearest, ok
}

// spacingOf returns how far apart samples lie; false where that cannot be seen.
func spacingOf(all []series) (time.Duration, bool) {
	var distances []int64
	for _, s := range all {
		for i := 1; i < len(s.points); i++ {
			distances = append(distances, s.points[i].at-s.points[i-1].at)
		}
	}
	if len(distances) == 0 {
		return 0, false
	}
	slices.Sort(distances)
	median := time.Duration(distances[len(distances)/2]) * time.Millisecond
	return max(time.Second, median.Round(time.Second)), true
}

// byTime sorts the points of a series.
func byTime(points []point) {
	slices.SortFunc(points, func(a, b point) int { return cmp.Compare(a.at, b.at) })
}

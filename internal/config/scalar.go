package config

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"gopkg.in/yaml.v3"
)

// Bytes is a size in bytes, written with a binary unit: 256MiB.
type Bytes int64

// scalar decodes n as a value of type t, within what the tag allows.
func scalar(t reflect.Type, n *yaml.Node, tag reflect.StructTag, dir string) (reflect.Value, error) {
	var (
		v   any
		err error
	)
	switch t {
	case reflect.TypeFor[string]():
		v, err = stringScalar(n, tag, dir)
	case reflect.TypeFor[bool]():
		v, err = plain[bool](n, "true or false", "!!bool")
	case reflect.TypeFor[int]():
		v, err = number(n, tag)
	case reflect.TypeFor[float64]():
		v, err = amount(n, tag)
	case reflect.TypeFor[Bytes]():
		v, err = size(n, tag)
	case reflect.TypeFor[time.Duration]():
		v, err = duration(n, tag)
	case reflect.TypeFor[time.Time]():
		v, err = date(n)
	}
	return reflect.ValueOf(v), err
}

// plain decodes n the way YAML does, where it has one of the tags. what is what
// the user should have written.
func plain[T any](n *yaml.Node, what string, tags ...string) (T, error) {
	var v T
	if slices.Contains(tags, n.ShortTag()) && n.Decode(&v) == nil {
		return v, nil
	}
	return v, fmt.Errorf("expected %s, found %s", what, found(n))
}

func stringScalar(n *yaml.Node, tag reflect.StructTag, dir string) (string, error) {
	s, err := plain[string](n, "a string", "!!str")
	if err != nil {
		return "", err
	}
	if strings.TrimSpace(s) == "" {
		if fallback, optional := tag.Lookup("default"); optional && fallback == "" {
			return "", nil
		}
		return "", errors.New("must not be empty")
	}
	if enum := tag.Get("enum"); enum != "" {
		words := strings.Split(enum, "|")
		if !slices.Contains(words, s) {
			return "", fmt.Errorf("expected %s, found %.40q", oneOf(words), s)
		}
	}
	f, ok := formats[tag.Get("format")]
	if !ok {
		return s, nil
	}
	if s, err = f.normalise(s); err == nil && f.path {
		s = resolve(dir, s)
	}
	return s, err
}

func number(n *yaml.Node, tag reflect.StructTag) (int, error) {
	i, err := plain[int](n, "a whole number", "!!int")
	if err != nil {
		return 0, err
	}
	return i, atLeast(float64(i), tag)
}

func amount(n *yaml.Node, tag reflect.StructTag) (float64, error) {
	f, err := plain[float64](n, "a number", "!!int", "!!float")
	if err != nil {
		return 0, err
	}
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return 0, errors.New("expected a finite number")
	}
	return f, atLeast(f, tag)
}

func atLeast(f float64, tag reflect.StructTag) error {
	if low, err := strconv.ParseFloat(tag.Get("min"), 64); err == nil && f < low {
		return fmt.Errorf("must be at least %s", tag.Get("min"))
	}
	return nil
}

func duration(n *yaml.Node, tag reflect.StructTag) (time.Duration, error) {
	const what = "a duration such as 30s, 1m or 1h30m"
	text, err := plain[string](n, what, "!!str", "!!int") // 0 needs no unit
	if err != nil {
		return 0, err
	}
	parsed, err := model.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("expected %s, found %.40q", what, text)
	}
	low, high := durationBounds(tag)
	if parsed < low || parsed > high {
		return 0, fmt.Errorf("must be from %s to %s", low, high)
	}
	return time.Duration(parsed), nil
}

// durationBounds are what a tag allows; a second to a day unless it says more.
func durationBounds(tag reflect.StructTag) (low, high model.Duration) {
	low, high = model.Duration(time.Second), model.Duration(24*time.Hour)
	if d, err := model.ParseDuration(tag.Get("min")); err == nil {
		low = d
	}
	if d, err := model.ParseDuration(tag.Get("max")); err == nil {
		high = d
	}
	return low, high
}

// durationText writes a duration the way the file does.
func durationText(d time.Duration) string { return model.Duration(d).String() }

var (
	sizePattern = regexp.MustCompile(`^([0-9]+)(B|KiB|MiB|GiB|TiB)$`)
	sizeUnits   = map[string]int64{"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
)

func size(n *yaml.Node, tag reflect.StructTag) (Bytes, error) {
	const what = "a size such as 256MiB"
	text, err := plain[string](n, what, "!!str", "!!int")
	if err != nil {
		return 0, err
	}
	bytes, ok := parseSize(text)
	if !ok {
		return 0, fmt.Errorf("expected %s, found %.40q", what, text)
	}
	if low, ok := parseSize(tag.Get("min")); ok && bytes < low {
		return 0, fmt.Errorf("must be at least %s", tag.Get("min"))
	}
	return bytes, nil
}

func parseSize(s string) (Bytes, bool) {
	parts := sizePattern.FindStringSubmatch(s)
	if parts == nil {
		return 0, false
	}
	count, err := strconv.ParseInt(parts[1], 10, 64)
	unit := sizeUnits[parts[2]]
	if err != nil || count > math.MaxInt64/unit {
		return 0, false
	}
	return Bytes(count * unit), true
}

func date(n *yaml.Node) (time.Time, error) {
	const what = "a day such as 2027-03-31"
	text, err := plain[string](n, what, "!!timestamp", "!!str")
	if err != nil {
		return time.Time{}, err
	}
	day, err := time.Parse(time.DateOnly, text)
	if err != nil || day.IsZero() {
		return time.Time{}, fmt.Errorf("expected %s, found %.40q", what, text)
	}
	return day, nil
}

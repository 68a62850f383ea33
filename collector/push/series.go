// Package push sends the daemon's metrics to a remote-write receiver: what
// changed at once, everything else once a heartbeat, nothing twice and nothing
// lost.
package push

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/encoding/protowire"
)

// Sample is one value of one series.
type Sample struct {
	Series string // the series' labels as remote write encodes them; its identity
	Value  float64
}

// staleMarker is the value that ends a series (Prometheus's value.StaleNaN).
var staleMarker = math.Float64frombits(0x7ff0000000000002)

// MaxLabels is how many labels Cockpit takes for a series, its name included;
// MaxExternal is how many of them are left beside the most that a series of ours
// has.
const (
	MaxLabels   = 30
	MaxExternal = 17
)

// Selection says which samples are pushed, and with what on them.
type Selection struct {
	Drop     []string          // globs of metric names, checked by the configuration
	External map[string]string // labels that every series gets, unless it has them
}

// usualSize is about how many bytes the labels of a series take.
const usualSize = 300

type label struct{ name, value string }

// samples returns the samples of families that are pushed: gauges and counters
// of the fleet's and of the daemon's own.
func (s Selection) samples(families []*dto.MetricFamily) []Sample {
	var labels []label
	// One buffer for all series: tens of thousands of strings of their own would
	// be as many allocations, a minute.
	count := 0
	for _, family := range families {
		count += len(family.Metric)
	}
	encoded := make([]byte, 0, count*usualSize)
	ends := make([]int, 0, count)
	all := make([]Sample, 0, count)
	for _, family := range families {
		name := family.GetName()
		if !s.takes(family) {
			continue
		}
		for _, metric := range family.Metric {
			labels = append(labels[:0], label{"__name__", name})
			for _, pair := range metric.Label {
				labels = append(labels, label{pair.GetName(), pair.GetValue()})
			}
			own := len(labels)
			for external, value := range s.External {
				if !slices.ContainsFunc(labels[:own], func(l label) bool { return l.name == external }) {
					labels = append(labels, label{external, value})
				}
			}
			slices.SortFunc(labels, func(a, b label) int { return strings.Compare(a.name, b.name) })
			encoded = appendLabels(encoded, labels)
			ends = append(ends, len(encoded))
			value := metric.GetGauge().GetValue()
			if metric.Counter != nil {
				value = metric.Counter.GetValue()
			}
			all = append(all, Sample{Value: value})
		}
	}
	text, begin := string(encoded), 0
	for i, end := range ends {
		all[i].Series = text[begin:end]
		begin = end
	}
	return all
}

func (s Selection) takes(family *dto.MetricFamily) bool {
	name := family.GetName()
	if !strings.HasPrefix(name, "scaleway_") && !strings.HasPrefix(name, "scwatch_") {
		return false
	}
	if kind := family.GetType(); kind != dto.MetricType_GAUGE && kind != dto.MetricType_COUNTER {
		return false
	}
	return !slices.ContainsFunc(s.Drop, func(glob string) bool { return matches(glob, name) })
}

// The fields of remote write 1.0: WriteRequest.timeseries, TimeSeries.labels
// and .samples, Label.name and .value, Sample.value and .timestamp.
const (
	fieldTimeSeries = 1
	fieldLabels     = 1
	fieldSamples    = 2
	fieldName       = 1
	fieldValue      = 2
	fieldNumber     = 1
	fieldTimestamp  = 2
)

func appendLabels(b []byte, labels []label) []byte {
	for _, l := range labels {
		b = protowire.AppendTag(b, fieldLabels, protowire.BytesType)
		b = protowire.AppendVarint(b, uint64(2+protowire.SizeBytes(len(l.name))+protowire.SizeBytes(len(l.value))))
		b = protowire.AppendTag(b, fieldName, protowire.BytesType)
		b = protowire.AppendString(b, l.name)
		b = protowire.AppendTag(b, fieldValue, protowire.BytesType)
		b = protowire.AppendString(b, l.value)
	}
	return b
}

// appendRequest encodes samples, all of one time, as a WriteRequest.
func appendRequest(b []byte, samples []Sample, at time.Time) []byte {
	ms := uint64(at.UnixMilli())
	point := 1 + 8 + 1 + protowire.SizeVarint(ms)
	size := 0
	for _, s := range samples {
		size += len(s.Series) + point + 8 // tags and lengths
	}
	b = slices.Grow(b, size)
	for _, s := range samples {
		b = protowire.AppendTag(b, fieldTimeSeries, protowire.BytesType)
		b = protowire.AppendVarint(b, uint64(len(s.Series)+1+protowire.SizeVarint(uint64(point))+point))
		b = append(b, s.Series...)
		b = protowire.AppendTag(b, fieldSamples, protowire.BytesType)
		b = protowire.AppendVarint(b, uint64(point))
		b = protowire.AppendTag(b, fieldNumber, protowire.Fixed64Type)
		b = protowire.AppendFixed64(b, math.Float64bits(s.Value))
		b = protowire.AppendTag(b, fieldTimestamp, protowire.VarintType)
		b = protowire.AppendVarint(b, ms)
	}
	return b
}

// parseRequest reads back what appendRequest wrote.
func parseRequest(b []byte) (samples []Sample, at time.Time, err error) {
	malformed := func(n int) error { return fmt.Errorf("not a batch of samples: %w", protowire.ParseError(n)) }
	for len(b) > 0 {
		_, kind, n := protowire.ConsumeTag(b)
		if n < 0 || kind != protowire.BytesType {
			return nil, at, malformed(n)
		}
		series, m := protowire.ConsumeBytes(b[n:])
		if m < 0 {
			return nil, at, malformed(m)
		}
		b = b[n+m:]
		sample, time, err := parseSeries(series)
		if err != nil {
			return nil, at, err
		}
		samples, at = append(samples, sample), time
	}
	return samples, at, nil
}

func parseSeries(b []byte) (s Sample, at time.Time, err error) {
	whole := b
	for len(b) > 0 {
		field, kind, n := protowire.ConsumeTag(b)
		if n < 0 || kind != protowire.BytesType {
			break
		}
		body, m := protowire.ConsumeBytes(b[n:])
		if m < 0 {
			break
		}
		if field == fieldSamples {
			s.Series = string(whole[:len(whole)-len(b)])
			if len(body) < 11 {
				break
			}
			bits, _ := protowire.ConsumeFixed64(body[1:])
			ms, size := protowire.ConsumeVarint(body[10:])
			if size < 0 {
				break
			}
			s.Value = math.Float64frombits(bits)
			return s, time.UnixMilli(int64(ms)), nil
		}
		b = b[n+m:]
	}
	return Sample{}, at, fmt.Errorf("not a series with a sample")
}

package push

import (
	"fmt"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/proto"
)

// fleet has the series of n functions: 34 each, with the labels they have.
func fleet(n int) []*dto.MetricFamily {
	var families []*dto.MetricFamily
	for m := range 34 {
		family := &dto.MetricFamily{Name: proto.String(fmt.Sprintf("scaleway_function_metric_%d_seconds", m)), Type: dto.MetricType_GAUGE.Enum()}
		for f := range n {
			metric := &dto.Metric{Gauge: &dto.Gauge{Value: proto.Float64(float64(f))}}
			for name, value := range map[string]string{
				"project_id": "6b3d3786-c7bd-47c8-b0e4-daabfa8f4e2e", "region": "fr-par", "namespace": fmt.Sprintf("namespace-%d", f/10),
				"function": fmt.Sprintf("function-%d", f), "function_id": fmt.Sprintf("b8707337-0911-4249-9ca8-%012x", f), "status": "ready",
			} {
				metric.Label = append(metric.Label, &dto.LabelPair{Name: proto.String(name), Value: proto.String(value)})
			}
			family.Metric = append(family.Metric, metric)
		}
		families = append(families, family)
	}
	return families
}

// A full batch of 1,000 functions: from the metrics to a file on the disk.
func BenchmarkFullBatch(b *testing.B) {
	families := fleet(1000)
	s, _, err := openSpool(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		at := noon.Add(time.Duration(n) * time.Minute)
		n++
		if err := s.add(newDelta(time.Minute, time.Minute).next(Selection{}.samples(families), at), at); err != nil {
			b.Fatal(err)
		}
		s.remove(s.oldest())
	}
	b.ReportMetric(float64(34*1000), "samples/op")
}

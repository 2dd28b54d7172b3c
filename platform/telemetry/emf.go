package telemetry

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

// Limits of CloudWatch's embedded metric format
// (https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html).
const (
	emfNamespace = "RiskProfiler"
	// emfMetrics is how many metrics one line defines, emfValues how many values one of them has.
	emfMetrics = 100
	emfValues  = 100
	// emfDimensionBytes is the longest value of a dimension that we write; the format takes 1024.
	emfDimensionBytes = 128
	// emfLines bounds the lines of one histogram in one flush. What has more samples is drawn from evenly.
	emfLines = 10
	// emfBuckets is the resolution of a histogram before it is written, the SDK's default.
	emfBuckets, emfScale = 160, 20
)

// emf writes metrics as JSON lines which CloudWatch makes metrics of: no agent, no call, no waiting.
// A histogram is written as samples, from which CloudWatch computes percentiles. Delivery of log
// lines is at least once, so a count can be too high after a disturbance, never too low.
type emf struct {
	mu sync.Mutex
	w  io.Writer
}

func newEMFReader(w io.Writer) sdkmetric.Reader {
	return sdkmetric.NewPeriodicReader(&emf{w: w}, sdkmetric.WithInterval(metricInterval))
}

// Temporality is delta: a line says what happened since the one before.
func (*emf) Temporality(sdkmetric.InstrumentKind) metricdata.Temporality {
	return metricdata.DeltaTemporality
}

// Aggregation of histograms is exponential, whose buckets follow the values.
func (*emf) Aggregation(kind sdkmetric.InstrumentKind) sdkmetric.Aggregation {
	if kind == sdkmetric.InstrumentKindHistogram {
		return sdkmetric.AggregationBase2ExponentialHistogram{MaxSize: emfBuckets, MaxScale: emfScale}
	}
	return sdkmetric.DefaultAggregationSelector(kind)
}

// ForceFlush has nothing to do: Export keeps nothing.
func (*emf) ForceFlush(context.Context) error { return nil }

// Shutdown has nothing to do. The writer is its owner's to close.
func (*emf) Shutdown(context.Context) error { return nil }

// Export writes one line for each set of dimensions that something was measured for.
func (e *emf) Export(_ context.Context, rm *metricdata.ResourceMetrics) error {
	service := ""
	if v, ok := rm.Resource.Set().Value("service.name"); ok {
		service = v.AsString()
	}
	page := emfPage{service: service, at: time.Now().UnixMilli(), open: map[string]*emfLine{}}
	for _, scope := range rm.ScopeMetrics {
		for _, m := range scope.Metrics {
			page.metric(m)
		}
	}
	var out bytes.Buffer
	for _, line := range page.lines {
		text, err := json.Marshal(line)
		if err != nil {
			return fmt.Errorf("write metrics: %w", err)
		}
		out.Write(text)
		out.WriteByte('\n')
	}
	if out.Len() == 0 {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, err := e.w.Write(out.Bytes()); err != nil {
		return fmt.Errorf("write metrics: %w", err)
	}
	return nil
}

// dimension is one name and value.
type dimension struct{ name, value string }

// emfLine is one line while it is filled.
type emfLine struct {
	at         int64
	dimensions []dimension
	metrics    []emfMetric
	values     map[string]any
}

type emfMetric struct {
	Name string `json:"Name"`
	Unit string `json:"Unit"`
}

// MarshalJSON writes the line as the format's root node.
func (l *emfLine) MarshalJSON() ([]byte, error) {
	names := make([]string, len(l.dimensions))
	node := make(map[string]any, len(l.values)+len(l.dimensions)+1)
	for i, d := range l.dimensions {
		names[i] = d.name
		node[d.name] = d.value
	}
	for name, v := range l.values {
		node[name] = v
	}
	node["_aws"] = map[string]any{"Timestamp": l.at, "CloudWatchMetrics": []any{map[string]any{
		"Namespace": emfNamespace, "Dimensions": [][]string{names}, "Metrics": l.metrics,
	}}}
	return json.Marshal(node)
}

// emfPage is the lines of one flush.
type emfPage struct {
	service string
	at      int64
	lines   []*emfLine
	open    map[string]*emfLine // by dimensions
}

// put adds one value to the line of its dimensions, or begins another line when that has no room.
func (p *emfPage) put(m metricdata.Metrics, set attribute.Set, value any) {
	dimensions := p.dimensions(set)
	key := fmt.Sprint(dimensions)
	line := p.open[key]
	if line == nil || len(line.metrics) >= emfMetrics || line.values[m.Name] != nil {
		line = &emfLine{at: p.at, dimensions: dimensions, values: map[string]any{}}
		p.open[key] = line
		p.lines = append(p.lines, line)
	}
	line.metrics = append(line.metrics, emfMetric{Name: m.Name, Unit: emfUnit(m.Unit)})
	line.values[m.Name] = value
}

// dimensions are those of the attributes that [Dimensions] names. Nothing else can become one.
func (p *emfPage) dimensions(set attribute.Set) []dimension {
	out := []dimension{}
	if p.service != "" {
		out = append(out, dimension{"service", dimensionValue(p.service)})
	}
	for _, kv := range set.ToSlice() {
		name := dimensionOf(kv.Key)
		taken := slices.ContainsFunc(out, func(d dimension) bool { return d.name == name })
		if name != "" && !taken && kv.Value.String() != "" {
			out = append(out, dimension{name, dimensionValue(kv.Value.String())})
		}
	}
	slices.SortFunc(out, func(a, b dimension) int { return cmp.Compare(a.name, b.name) })
	return out
}

// dimensionValue is v if it looks like one of a few names, which are all short and plain.
func dimensionValue(v string) string {
	if len(v) > emfDimensionBytes || strings.ContainsFunc(v, func(r rune) bool { return r < ' ' || r > '~' }) {
		return "other"
	}
	return v
}

func (p *emfPage) metric(m metricdata.Metrics) {
	switch d := m.Data.(type) {
	case metricdata.Sum[int64]:
		points(p, m, d.DataPoints)
	case metricdata.Sum[float64]:
		points(p, m, d.DataPoints)
	case metricdata.Gauge[int64]:
		points(p, m, d.DataPoints)
	case metricdata.Gauge[float64]:
		points(p, m, d.DataPoints)
	case metricdata.ExponentialHistogram[float64]:
		for _, point := range d.DataPoints {
			for part := range slices.Chunk(samples(point), emfValues) {
				p.put(m, point.Attributes, part)
			}
		}
	}
}

func points[N int64 | float64](p *emfPage, m metricdata.Metrics, all []metricdata.DataPoint[N]) {
	for _, point := range all {
		p.put(m, point.Attributes, point.Value)
	}
}

// emfUnit is the format's word for a unit of OpenTelemetry.
func emfUnit(unit string) string {
	switch {
	case unit == "s":
		return "Seconds"
	case unit == "ms":
		return "Milliseconds"
	case unit == "By":
		return "Bytes"
	case strings.HasPrefix(unit, "{"):
		return "Count"
	default:
		return "None"
	}
}

package telemetry

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"pgregory.net/rapid"
)

// emfNode is a line as CloudWatch reads it.
type emfNode struct {
	AWS struct {
		Timestamp         int64
		CloudWatchMetrics []struct {
			Namespace  string
			Dimensions [][]string
			Metrics    []struct{ Name, Unit string }
		}
	} `json:"_aws"`
	fields map[string]any
}

// readEMF checks every line against the specification's rules and returns them.
func readEMF(t testing.TB, text string) (out []emfNode) {
	t.Helper()
	for line := range strings.Lines(text) {
		if len(line) > 256<<10 || !strings.HasSuffix(line, "\n") {
			t.Errorf("line of %d bytes", len(line))
		}
		var n emfNode
		if err := json.Unmarshal([]byte(line), &n); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if err := json.Unmarshal([]byte(line), &n.fields); err != nil {
			t.Fatal(err)
		}
		if n.AWS.Timestamp < 1e12 || len(n.AWS.CloudWatchMetrics) != 1 {
			t.Fatalf("%s", line)
		}
		checkDirective(t, n)
		out = append(out, n)
	}
	return out
}

func checkDirective(t testing.TB, n emfNode) {
	t.Helper()
	d := n.AWS.CloudWatchMetrics[0]
	if d.Namespace != "RiskProfiler" || len(d.Metrics) == 0 || len(d.Metrics) > 100 || len(d.Dimensions) != 1 || len(d.Dimensions[0]) > 30 {
		t.Errorf("directive %+v", d)
	}
	for _, name := range d.Dimensions[0] {
		if v, ok := n.fields[name].(string); !ok || v == "" || len(v) > 1024 {
			t.Errorf("dimension %s is %v", name, n.fields[name])
		}
	}
	for _, m := range d.Metrics {
		switch v := n.fields[m.Name].(type) {
		case float64:
		case []any:
			if len(v) == 0 || len(v) > 100 {
				t.Errorf("metric %s has %d values", m.Name, len(v))
			}
		default:
			t.Errorf("metric %s is %v", m.Name, v)
		}
	}
}

func withEMF(t testing.TB) (*Telemetry, *buffer) {
	t.Helper()
	out := &buffer{}
	tel, _ := setup(t, Options{Service: "ingest", EMF: out})
	return tel, out
}

func TestEMFIsOneLineForEachSetOfDimensions(t *testing.T) {
	tel, out := withEMF(t)
	ctx := t.Context()
	tel.Metrics.ScanJob(ctx, "dns", "complete")
	tel.Metrics.ScanJob(ctx, "dns", "complete")
	tel.Metrics.ScanJob(ctx, "tls", "failed")
	tel.Metrics.server.Record(ctx, 0.25, newRPCMethod("a.B/C").measured(0)...)
	tel.Metrics.server.Record(ctx, 4, newRPCMethod("a.B/C").measured(0)...)
	tel.Metrics.client.Record(ctx, 0.5, newRPCMethod("a.B/C").measured(0)...)
	tel.Flush(ctx)
	var got []string
	for _, n := range readEMF(t, out.String()) {
		d := n.AWS.CloudWatchMetrics[0]
		line := ""
		for _, name := range d.Dimensions[0] {
			line += fmt.Sprintf("%s=%v ", name, n.fields[name])
		}
		for _, m := range d.Metrics {
			line += fmt.Sprintf("%s(%s)=%v ", m.Name, m.Unit, n.fields[m.Name])
		}
		got = append(got, strings.TrimSpace(line))
	}
	slices.Sort(got)
	want := []string{
		"method=a.B/C outcome=OK service=ingest rpc.client.call.duration(Seconds)=[0.5] rpc.server.call.duration(Seconds)=[0.25 4]",
		"outcome=complete scan_type=dns service=ingest riskprofiler.scan_jobs(Count)=2",
		"outcome=failed scan_type=tls service=ingest riskprofiler.scan_jobs(Count)=1",
	}
	for i := range got { // in which order a scope lists its metrics is not promised
		if strings.Contains(got[i], "rpc.server.call.duration(Seconds)=[0.25 4] rpc.client") {
			got[i] = want[0]
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	before := out.String()
	tel.Flush(ctx)
	if out.String() != before {
		t.Error("what was written once was written again")
	}
}

// TestNoDimensionIsUnbounded: whatever package records by tenant, host, asset or id, it is counted, but not by that.
func TestNoDimensionIsUnbounded(t *testing.T) {
	tel, out := withEMF(t)
	meter := tel.MeterProvider.Meter("careless")
	counter, err := meter.Int64Counter("careless")
	if err != nil {
		t.Fatal(err)
	}
	const n = 1000
	for i := range n {
		counter.Add(t.Context(), 1, metric.WithAttributes(
			attribute.String("tenant", fmt.Sprint("t", i)), attribute.String("host", fmt.Sprintf("h%d.example", i)), attribute.Int("asset", i),
			attribute.String("service", "forged"), attribute.String("_aws", "forged"), attribute.String("outcome", "ok")))
	}
	for i := range 2 * maxCombinations { // and one that is allowed but out of bounds
		tel.Metrics.ScanJob(t.Context(), fmt.Sprint("type", i), "complete")
	}
	tel.Metrics.Provider(t.Context(), strings.Repeat("x", 5000), "a\nb")
	tel.Flush(t.Context())
	lines, scans := readEMF(t, out.String()), 0
	for _, l := range lines {
		switch l.AWS.CloudWatchMetrics[0].Metrics[0].Name {
		case "careless":
			if l.fields["careless"] != float64(n) || l.fields["service"] != "ingest" || len(l.fields) != 4 {
				t.Errorf("%v", l.fields)
			}
		case "riskprofiler.scan_jobs":
			scans++
		case "riskprofiler.provider.requests":
			if l.fields["provider"] != "other" || l.fields["outcome"] != "other" {
				t.Errorf("%v", l.fields)
			}
		}
	}
	if scans > maxCombinations {
		t.Errorf("%d combinations of one metric", scans)
	}
}

func TestManySamples(t *testing.T) {
	tel, out := withEMF(t)
	for i := range 12_345 {
		tel.Metrics.server.Record(t.Context(), float64(i+1)/1000, newRPCMethod("a.B/C").measured(0)...)
	}
	for range 150 {
		tel.Metrics.client.Record(t.Context(), 0.5, newRPCMethod("a.B/C").measured(0)...)
	}
	tel.Flush(t.Context())
	server, client := []float64{}, 0
	for _, l := range readEMF(t, out.String()) {
		if v, ok := l.fields["rpc.server.call.duration"].([]any); ok {
			for _, x := range v {
				server = append(server, x.(float64)) //nolint:forcetypeassert // checkDirective did
			}
		}
		if v, ok := l.fields["rpc.client.call.duration"].([]any); ok {
			client += len(v)
		}
	}
	if client != 150 || len(server) != emfLines*emfValues {
		t.Errorf("%d and %d samples", client, len(server))
	}
	slices.Sort(server)
	for _, c := range []struct{ at, want float64 }{{0, 0.001}, {0.5, 6.17}, {0.9, 11.1}, {0.99, 12.22}, {1, 12.345}} {
		if got := server[int(c.at*float64(len(server)-1))]; math.Abs(got-c.want) > 0.05*c.want {
			t.Errorf("at %v: %v, want about %v", c.at, got, c.want)
		}
	}
}

func TestSamplesStayWithinWhatWasMeasured(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Float64Range(-1e6, 1e6), 1, 300).Draw(t, "values")
		reader := &collector{}
		h := reader.histogram(t)
		for _, v := range values {
			h.Record(t.Context(), v)
		}
		for _, p := range reader.points(t) {
			got := samples(p)
			if len(got) != len(values) || !slices.IsSorted(got) || got[0] != slices.Min(values) || got[len(got)-1] != slices.Max(values) {
				t.Fatalf("%v became %v", values, got)
			}
		}
	})
}

func BenchmarkEMFFlush(b *testing.B) {
	out := &buffer{}
	tel, _ := setup(b, Options{Service: "ingest", EMF: out})
	b.ReportAllocs()
	for b.Loop() {
		tel.Metrics.ScanJob(b.Context(), "dns", "complete")
		tel.Metrics.server.Record(b.Context(), 0.25, newRPCMethod("a.B/C").measured(0)...)
		tel.Flush(b.Context())
		out.reset()
	}
}

// collector is a meter with one exponential histogram.
type collector struct{ reader *sdkmetric.ManualReader }

func (c *collector) histogram(t *rapid.T) metric.Float64Histogram {
	c.reader = sdkmetric.NewManualReader(sdkmetric.WithAggregationSelector((&emf{}).Aggregation))
	h, err := sdkmetric.NewMeterProvider(sdkmetric.WithReader(c.reader)).Meter("m").Float64Histogram("h")
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func (c *collector) points(t *rapid.T) []metricdata.ExponentialHistogramDataPoint[float64] {
	var data metricdata.ResourceMetrics
	if err := c.reader.Collect(t.Context(), &data); err != nil {
		t.Fatal(err)
	}
	h, ok := data.ScopeMetrics[0].Metrics[0].Data.(metricdata.ExponentialHistogram[float64])
	if !ok {
		t.Fatalf("%T", data.ScopeMetrics[0].Metrics[0].Data)
	}
	return h.DataPoints
}

func TestEachSampleIsNearWhatWasMeasured(t *testing.T) {
	c := &collector{}
	rapid.Check(t, func(t *rapid.T) {
		h := c.histogram(t)
		values := rapid.SliceOfN(rapid.Float64Range(1, 20), 2, 100).Draw(t, "values")
		for _, v := range values {
			h.Record(t.Context(), v)
		}
		slices.Sort(values)
		for i, got := range samples(c.points(t)[0]) {
			if math.Abs(got-values[i]) > 0.02*values[i] {
				t.Fatalf("sample %d is %v, measured was %v", i, got, values[i])
			}
		}
	})
}

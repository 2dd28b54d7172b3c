package telemetry

import (
	"math"

	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

// weighted is a value and how often it was measured.
type weighted struct {
	value float64
	count uint64
}

// samples draws a histogram's values: all of them up to emfLines*emfValues, and evenly over their
// ranks beyond that, so that percentiles stay what they are. Each is the middle of its bucket, which
// is within 0.5 % of what was measured unless the values span more than some orders of magnitude;
// the least and the greatest are exact.
func samples(p metricdata.ExponentialHistogramDataPoint[float64]) []float64 {
	all := spread(p)
	total := uint64(0)
	for _, w := range all {
		total += w.count
	}
	n := min(total, emfLines*emfValues)
	out := make([]float64, 0, n)
	at, below := 0, uint64(0) // below: how many values come before all[at]
	for i := range n {
		rank := i * total / n // the same as i where all are written
		for below+all[at].count <= rank {
			below += all[at].count
			at++
		}
		out = append(out, all[at].value)
	}
	bound(out, p)
	return out
}

// bound puts the exact extremes in the places of their approximations, and nothing outside of them.
func bound(out []float64, p metricdata.ExponentialHistogramDataPoint[float64]) {
	low, okLow := p.Min.Value()
	high, okHigh := p.Max.Value()
	if len(out) == 0 || !okLow || !okHigh {
		return
	}
	for i := range out {
		out[i] = min(max(out[i], low), high)
	}
	out[0], out[len(out)-1] = low, high
}

// spread lists a histogram's buckets from the least value to the greatest.
func spread(p metricdata.ExponentialHistogramDataPoint[float64]) []weighted {
	var out []weighted
	for i := len(p.NegativeBucket.Counts) - 1; i >= 0; i-- {
		out = add(out, -middle(p.NegativeBucket.Offset+int32(i), p.Scale), p.NegativeBucket.Counts[i])
	}
	out = add(out, 0, p.ZeroCount)
	for i, n := range p.PositiveBucket.Counts {
		out = add(out, middle(p.PositiveBucket.Offset+int32(i), p.Scale), n)
	}
	return out
}

func add(out []weighted, value float64, count uint64) []weighted {
	if count == 0 || math.IsInf(value, 0) || math.IsNaN(value) {
		return out
	}
	return append(out, weighted{value, count})
}

// middle is the geometric middle of a bucket: its bounds are base^index and base^(index+1), and base is
// 2^(2^-scale) (https://opentelemetry.io/docs/specs/otel/metrics/data-model/#exponential-scale).
func middle(index, scale int32) float64 {
	return math.Exp2((float64(index) + 0.5) * math.Exp2(-float64(scale)))
}

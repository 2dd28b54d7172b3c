package footprint

import (
	"testing"
	"time"
)

func TestLook(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct {
		name  string
		start time.Duration
		used  []time.Duration
		want  []bool
	}{
		{"after the start", worth, []time.Duration{10 * ms, 10 * ms, 10 * ms, 10 * ms}, []bool{false, true, false, false}},
		{"a start that goes on", worth, []time.Duration{4000 * ms, 900 * ms, 10 * ms, 10 * ms, 10 * ms}, []bool{false, false, false, true, false}},
		{"a pause between two bursts is no rest", 0, []time.Duration{900 * ms, 10 * ms, 900 * ms, 10 * ms, 10 * ms}, []bool{false, false, false, false, true}},
		{"ticks alone are not worth it for long", 0, []time.Duration{100 * ms, 100 * ms, 100 * ms, 100 * ms, 100 * ms, 100 * ms}, []bool{false, false, false, false, true, false}},
		{"never quiet", worth, []time.Duration{151 * ms, 151 * ms, 151 * ms}, []bool{false, false, false}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := watch{since: c.start}
			for i, used := range c.used {
				if got := w.look(used); got != c.want[i] {
					t.Errorf("look %d: give back is %v, want %v", i, got, c.want[i])
				}
			}
		})
	}
}

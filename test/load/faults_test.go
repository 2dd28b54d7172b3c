package load

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/queue"
)

// faults are what goes wrong at the drivers while on is set. A nil *faults is none.
type faults struct {
	on atomic.Bool
	// throttled is the part of all calls that is refused.
	throttled float64

	mu     sync.Mutex
	random *rand.Rand
}

func (f *faults) chance(p float64) bool {
	if f == nil || !f.on.Load() {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.random.Float64() < p
}

func (f *faults) refuse(b *bill) error {
	if f == nil || !f.chance(f.throttled) {
		return nil
	}
	b.refused.Add(1)
	return fault.Wrap(fault.Unavailable, errThrottled, "use the service")
}

func (f *faults) lost() error { return nil }

func (f *faults) twice(_ *fifo, out []queue.Delivery) []queue.Delivery { return out }

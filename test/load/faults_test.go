package load

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/smithy-go"

	"github.com/riskprofiler/riskprofiler/platform/awsclient"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/queue"
	"github.com/riskprofiler/riskprofiler/platform/workflow"
)

// faults are what goes wrong while on is set. A nil *faults is none.
type faults struct {
	on atomic.Bool
	// throttled is the part of all calls that is refused, killed the part of deliveries whose function ends before its handler
	// did anything, hasty the part whose visibility ends while the handler works, late the part of messages that come again six
	// minutes after they were sent, when their dedup id is forgotten.
	throttled, killed, hasty, late float64
	// tokens is how many completions of tasks get lost.
	tokens atomic.Int64
	// count is how often each came.
	count struct{ killed, hasty, late, tokens atomic.Int64 }

	mu     sync.Mutex
	random *rand.Rand
}

func (f *faults) chance(p float64) bool {
	if f == nil || p == 0 || !f.on.Load() {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.random.Float64() < p
}

var errThrottled = &smithy.GenericAPIError{Code: "ThrottlingException", Message: "slow down"}

// client is how the SDK calls one table or queue: with the policy of the drivers.
type client struct {
	faults  *faults
	bill    *bill
	retryer *retry.Standard
}

func newClient(b *bill, f *faults) client { return client{f, b, awsclient.NewRetryer()} }

// call makes the attempts of one call until one is not refused.
func (c client) call(ctx context.Context) error {
	release, err := c.retryer.GetAttemptToken(ctx)
	if err != nil {
		return fault.Wrap(fault.Unavailable, err, "use the service")
	}
	for attempt := 1; c.faults.refuses(); attempt++ {
		c.bill.refused.Add(1)
		_ = release(errThrottled)
		next, err := c.retryer.GetRetryToken(ctx, errThrottled)
		if err != nil || attempt == c.retryer.MaxAttempts() || !c.retryer.IsErrorRetryable(errThrottled) {
			return fault.Wrap(fault.Unavailable, errThrottled, "use the service")
		}
		release = next
		pause, err := c.retryer.RetryDelay(attempt, errThrottled)
		if err != nil {
			return fault.Wrap(fault.Internal, err, "wait for the next attempt")
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return fault.Wrap(fault.CodeOf(ctx.Err()), ctx.Err(), "use the service")
		}
	}
	return release(nil)
}

func (f *faults) refuses() bool { return f != nil && f.chance(f.throttled) }

// deliver lets functions die with what they got, and visibilities end too early.
func (f *faults) deliver(q *fifo, out []queue.Delivery) []queue.Delivery {
	if f == nil {
		return out
	}
	kept := out[:0]
	for _, d := range out {
		switch {
		case f.chance(f.killed):
			f.count.killed.Add(1)
			continue
		case f.chance(f.hasty):
			f.count.hasty.Add(1)
			q.shorten(d.Receipt, scanTime/2)
		}
		kept = append(kept, d)
	}
	return kept
}

// again sends a message once more when nobody expects it.
func (f *faults) again(h *handle, m queue.Message) {
	if f == nil || !f.chance(f.late) {
		return
	}
	f.count.late.Add(1)
	time.AfterFunc(queue.DedupWindow+time.Minute, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.put(m, time.Now())
		h.wake()
	})
}

// forgetful is an engine that loses completions: the caller believes that the task is told.
type forgetful struct {
	workflow.Engine
	faults *faults
}

// Complete implements [workflow.Engine].
func (e forgetful) Complete(ctx context.Context, token string, output json.RawMessage) error {
	if e.faults != nil && e.faults.on.Load() && e.faults.tokens.Add(-1) >= 0 {
		e.faults.count.tokens.Add(1)
		return nil
	}
	return e.Engine.Complete(ctx, token, output)
}

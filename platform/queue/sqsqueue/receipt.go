package sqsqueue

import (
	"context"
	"strconv"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/queue"
)

// receipt is what this process knows of one delivery. Its fields below the line belong to shared.mu, the others to whoever
// answers it.
type receipt struct {
	handle   string
	message  queue.Message
	count    int // how often SQS handed the message out, this delivery included
	received time.Time
	state    state
	noted    bool   // the answer is in the table
	place    string // among the parked

	// ---
	until     time.Time     // when it ends, by the clock of this process and not later than by SQS's
	answer    queue.Action  // given to it for good; 0: none yet
	redo      bool          // the answer took effect in a call that failed as a whole, and may be given again
	extending chan struct{} // closed when the extension that is under way ends
	hidden    time.Time     // until when an answer delays the message
}

// now is the wall clock: the monotonic one stands still while a function is frozen.
func now() time.Time { return time.Now().Round(0) }

// millis is a time that SQS gives in milliseconds since 1970; zero if it is none.
func millis(text string) time.Time {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n <= 0 {
		return time.Time{}
	}
	return time.UnixMilli(n).UTC()
}

// enter keeps a delivery's receipt.
func (s *shared) enter(r *receipt) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.receipts[r.handle] = r
	if len(s.receipts) > 2*s.swept+64 {
		s.sweep(now())
	}
}

// sweep forgets what is over. The lock is held.
func (s *shared) sweep(at time.Time) {
	for handle, r := range s.receipts {
		if !r.until.After(at) && !r.hidden.After(at) {
			delete(s.receipts, handle)
		}
	}
	s.swept = len(s.receipts)
}

// claim takes a receipt for an answer. It returns nil if it is not valid. done says that the answer took effect before. An
// extension that is under way is waited for: SQS might carry it out after the answer.
func (s *shared) claim(ctx context.Context, a queue.Settlement) (r *receipt, done bool, err error) {
	for {
		s.mu.Lock()
		r = s.receipts[a.Receipt]
		if r == nil {
			s.mu.Unlock()
			return nil, false, nil
		}
		if r.redo && r.answer == a.Action {
			s.mu.Unlock()
			return r, true, nil
		}
		if r.answer != 0 || !r.until.After(now()) {
			s.mu.Unlock()
			return nil, false, nil
		}
		running := r.extending
		if running == nil {
			if a.Action == queue.Extend {
				r.extending = make(chan struct{})
			} else {
				r.answer = a.Action
			}
			s.mu.Unlock()
			return r, false, nil
		}
		s.mu.Unlock()
		select {
		case <-running:
		case <-ctx.Done():
			return nil, false, ctx.Err()
		}
	}
}

// fate is what became of a claim.
type fate int

const (
	open    fate = iota // not tried, or failed: it may be tried again
	settled             // it took effect
	expired             // SQS says that the receipt is not valid any more
)

// release ends a claim. failed says that the whole call is going to be repeated.
func (s *shared) release(r *receipt, a queue.Settlement, f fate, failed bool, began time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a.Action == queue.Extend {
		close(r.extending)
		r.extending = nil
		if f == settled {
			r.until = began.Add(a.After)
		}
	}
	switch {
	case f == expired:
		delete(s.receipts, r.handle)
	case f == open && a.Action != queue.Extend:
		r.answer = 0
	case f == settled && a.Action != queue.Extend:
		r.redo = failed
		if !failed && (a.Action == queue.Ack || a.Action == queue.Park || a.After == 0) {
			delete(s.receipts, r.handle)
			return
		}
		if a.Action == queue.Retry || a.Action == queue.Return {
			r.hidden = began.Add(a.After)
		}
	}
}

// delayed counts the messages that answers of this process hide.
func (s *shared) delayed() (n int) {
	at := now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.receipts {
		if r.hidden.After(at) {
			n++
		}
	}
	return n
}

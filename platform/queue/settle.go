package queue

import (
	"context"
	"errors"
	"runtime"
	"time"
)

// maxSettle is how many answers one call to the driver carries at most.
const maxSettle = 256

// settler collects the answers of all lanes into few calls to the driver: while one call runs,
// those that come in meanwhile make up the next.
type settler struct {
	queue    *Queue
	requests chan *settleRequest
	done     chan struct{}
}

type settleRequest struct {
	settlements []Settlement
	until       time.Time // when the receipts end: trying longer is of no use
	answered    bool      // all took effect
	ready       chan struct{}
}

func newSettler(ctx context.Context, q *Queue) *settler {
	s := &settler{
		queue:    q,
		requests: make(chan *settleRequest, q.concurrency),
		done:     make(chan struct{}),
	}
	go s.loop(context.WithoutCancel(ctx)) // an answer is worth giving even when the handlers' time is over
	return s
}

// settle gives the answers and says whether all of them took effect.
func (s *settler) settle(until time.Time, settlements ...Settlement) bool {
	r := &settleRequest{settlements: settlements, until: until, ready: make(chan struct{})}
	s.requests <- r
	<-r.ready
	return r.answered
}

// close ends the settler. All settle calls must have returned.
func (s *settler) close() {
	close(s.requests)
	<-s.done
}

func (s *settler) loop(ctx context.Context) {
	defer close(s.done)
	for r := range s.requests {
		s.flush(ctx, s.collect(r))
	}
}

// collect adds what waits behind r. A call to the driver costs far more than a turn of the
// scheduler, so lanes that are about to be done get the chance to come along.
func (s *settler) collect(r *settleRequest) []*settleRequest {
	batch, total := []*settleRequest{r}, len(r.settlements)
	for turns := 0; total < maxSettle; {
		select {
		case more, ok := <-s.requests:
			if !ok {
				return batch
			}
			batch, total = append(batch, more), total+len(more.settlements)
		default:
			if turns++; turns > 2 {
				return batch
			}
			runtime.Gosched()
		}
	}
	return batch
}

// flush tries until the driver took the batch or no receipt in it can be valid any more.
func (s *settler) flush(ctx context.Context, batch []*settleRequest) {
	var all []Settlement
	var owners []*settleRequest
	var until time.Time
	for _, r := range batch {
		for _, one := range r.settlements {
			all, owners = append(all, one), append(owners, r)
		}
		if r.until.After(until) {
			until = r.until
		}
	}
	expired, err := s.try(ctx, all, until)
	for _, r := range batch {
		r.answered = err == nil
	}
	if err == nil {
		for _, at := range expired {
			owners[at].answered = false
		}
	}
	for _, r := range batch {
		close(r.ready)
	}
}

func (s *settler) try(ctx context.Context, all []Settlement, until time.Time) ([]int, error) {
	ctx, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	pause := 50 * time.Millisecond
	for {
		expired, err := s.queue.driver.Settle(ctx, all)
		if err == nil || errors.Is(err, ErrClosed) {
			return expired, err
		}
		s.queue.log.ErrorContext(ctx, "settle failed", "queue", s.queue.name, "messages", len(all), "error", err)
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
			pause = min(2*pause, 2*time.Second)
		case <-ctx.Done():
			timer.Stop()
			return nil, err
		}
	}
}

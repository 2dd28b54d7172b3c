package sqsqueue

import (
	"context"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/queue"
)

const (
	// maxCallBytes is what the entries of a call add up to: below the 256 KiB that every SQS takes, with room for their ids. Today's
	// limit is 1 MiB: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html
	maxCallBytes = 250 << 10
	// maxSenders is how many calls run at once for one queue. Ours: a full batch every 10 ms on each is 8,000 messages a second.
	maxSenders = 8
	// maxTries is how often an entry is sent that SQS refused for no fault of its own.
	maxTries = 4
	// refusedPause is the first pause after such a refusal. It doubles.
	refusedPause = 50 * time.Millisecond
)

// sender joins Sends into batches. See the package comment for what it promises about groups.
type sender struct {
	shared *shared

	mu      sync.Mutex
	pending []*entry        // in the order in which they came
	busy    map[string]bool // groups of entries that are under way
	running int             // goroutines that send
}

// entry is a message on its way.
type entry struct {
	types.SendMessageBatchRequestEntry

	size  int
	tries int
	call  *call
}

func (e *entry) group() string { return *e.MessageGroupId }

// call is one Send.
type call struct {
	ctx  context.Context //nolint:containedctx // for the spans of the calls that it makes
	left int
	err  error
	over bool
	done chan struct{}
}

func (s *sender) init(sh *shared) { s.shared, s.busy = sh, map[string]bool{} }

// Send implements [queue.Driver].
func (d *Driver) Send(ctx context.Context, messages []queue.Message) error {
	if err := d.open(ctx, "send messages"); err != nil {
		return err
	}
	entries := make([]types.SendMessageBatchRequestEntry, len(messages))
	for i, m := range messages {
		entries[i] = encode(m) //nolint:contextcheck // the trace is the message's, not the caller's
	}
	return d.sender.send(ctx, entries)
}

// send returns when all were sent or one could not be.
func (s *sender) send(ctx context.Context, entries []types.SendMessageBatchRequestEntry) error {
	c := &call{ctx: ctx, left: len(entries), done: make(chan struct{})}
	s.mu.Lock()
	for _, e := range entries {
		s.pending = append(s.pending, &entry{SendMessageBatchRequestEntry: e, size: size(e), call: c})
	}
	// One goroutine sends and takes along what came meanwhile; another joins when a full batch waits for it.
	for s.running == 0 || s.running < maxSenders && len(s.pending) > maxBatch*s.running {
		s.running++
		go s.run() //nolint:contextcheck // it sends for many callers
	}
	s.mu.Unlock()
	select {
	case <-c.done:
		return c.err
	case <-ctx.Done():
		s.mu.Lock()
		defer s.mu.Unlock()
		s.end(c, fault.Wrap(fault.CodeOf(ctx.Err()), ctx.Err(), "send messages"))
		return c.err
	}
}

// run sends until nothing is left that could be. A batch goes when it is full, or when it lingered.
func (s *sender) run() {
	linger := s.shared.queues.options.Linger
	for {
		s.mu.Lock()
		if waiting := len(s.pending); linger > 0 && waiting > 0 && waiting < maxBatch {
			s.mu.Unlock()
			time.Sleep(linger)
			s.mu.Lock()
		}
		batch := s.pick()
		if len(batch) == 0 {
			s.running--
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
		if pause := s.flush(batch); pause > 0 {
			time.Sleep(pause)
		}
	}
}

// pick takes the next batch: the oldest entries, one of each group that is not under way.
func (s *sender) pick() []*entry {
	var batch []*entry
	bytes := 0
	rest := s.pending[:0]
	for _, e := range s.pending {
		if len(batch) == maxBatch || s.busy[e.group()] || bytes+e.size > maxCallBytes {
			rest = append(rest, e)
			if bytes+e.size > maxCallBytes {
				bytes = maxCallBytes // nothing that came later gets in before it
			}
			continue
		}
		batch, bytes = append(batch, e), bytes+e.size
		s.busy[e.group()] = true
	}
	clear(s.pending[len(rest):])
	s.pending = rest
	return batch
}

// flush sends a batch and says how long to wait after it.
func (s *sender) flush(batch []*entry) (pause time.Duration) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(batch[0].call.ctx), callTimeout)
	defer cancel()
	refused, err := s.request(ctx, batch)
	s.mu.Lock()
	defer s.mu.Unlock()
	var again []*entry
	for i, e := range batch {
		delete(s.busy, e.group())
		why, isRefused := refused[i]
		switch {
		case err != nil:
			s.end(e.call, err)
		case !isRefused:
			s.sent(e.call)
		case why.SenderFault || e.tries+1 >= maxTries:
			s.end(e.call, s.shared.failed(refusal(why), "send message"))
		default:
			pause = max(pause, refusedPause<<e.tries)
			e.tries++
			again = append(again, e)
		}
	}
	again = slices.DeleteFunc(again, func(e *entry) bool { return e.call.over }) // another entry of its call failed
	if len(again) == 0 {
		return 0
	}
	s.pending = append(again, s.pending...)
	return pause
}

// request makes the call. It returns the entries that were refused, by position.
func (s *sender) request(ctx context.Context, batch []*entry) (map[int]types.BatchResultErrorEntry, error) {
	url, err := s.shared.address(ctx)
	if err != nil {
		return nil, err
	}
	in := &sqs.SendMessageBatchInput{QueueUrl: url}
	refused := make(map[int]types.BatchResultErrorEntry)
	for i, e := range batch {
		one := e.SendMessageBatchRequestEntry
		one.Id = aws.String(strconv.Itoa(i))
		in.Entries = append(in.Entries, one)
		refused[i] = types.BatchResultErrorEntry{Code: aws.String("InternalError"), Message: aws.String("the answer does not name it")}
	}
	out, err := s.shared.client.SendMessageBatch(ctx, in)
	if err != nil {
		return nil, s.shared.failed(err, "send messages")
	}
	for _, ok := range out.Successful {
		delete(refused, position(ok.Id, len(batch)))
	}
	for _, bad := range out.Failed {
		if at := position(bad.Id, len(batch)); at >= 0 {
			refused[at] = bad
		}
	}
	return refused, nil
}

// sent counts an entry down. The lock is held.
func (s *sender) sent(c *call) {
	if c.left--; c.left == 0 && !c.over {
		c.over = true
		close(c.done)
	}
}

// end fails a call: what it did not send yet is not sent, so that nothing of a group gets before what failed. The lock is held.
func (s *sender) end(c *call, err error) {
	if c.over {
		return
	}
	c.over, c.err = true, err
	rest := s.pending[:0]
	for _, e := range s.pending {
		if e.call != c {
			rest = append(rest, e)
		}
	}
	clear(s.pending[len(rest):])
	s.pending = rest
	close(c.done)
}

// position is the place of an entry of a batch by its id, -1 if there is none.
func position(id *string, count int) int {
	at, err := strconv.Atoi(aws.ToString(id))
	if err != nil || at < 0 || at >= count {
		return -1
	}
	return at
}

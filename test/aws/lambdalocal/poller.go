package lambdalocal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

const (
	// maxBatch is the largest batch of a FIFO queue's mapping: https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html
	maxBatch = 10
	// longPoll is how long Lambda waits for messages in one call.
	longPoll = 20 * time.Second
	// Pauses after a throttled invocation, doubled from the first to the last.
	firstPause, lastPause = 100 * time.Millisecond, 5 * time.Second
)

// Source is a queue as a mapping sees it. [NewSource] makes one of the SDK's client.
type Source interface {
	// Receive waits for at most wait for 1 to limit messages, and gives them with all their attributes.
	Receive(ctx context.Context, limit int, wait time.Duration) ([]types.Message, error)
	// Delete removes messages by their receipts.
	Delete(ctx context.Context, receipts []string) error
}

// Invoker runs a function: [Lambda.Invoke].
type Invoker func(ctx context.Context, in Invocation) (Result, error)

// Mapping is the event source mapping of a queue. It reports batch item failures.
type Mapping struct {
	Source Source
	// QueueARN stands in the events.
	QueueARN string
	Invoke   Invoker
	// Function with its qualifier.
	Function string
	// BatchSize is 1 to 10. 0: 10.
	BatchSize int
	// MaxConcurrency is how many invocations run at a time, 2 to 1,000. 0: 5, with which pollers begin on AWS.
	MaxConcurrency int
	// Visibility is that of the queue: for so long a throttled batch is tried again. 0: 30 s, SQS's default.
	Visibility time.Duration
	// Wait is how long one receive waits. 0: 20 s, as on AWS.
	Wait   time.Duration
	Logger *slog.Logger
}

// Poller plays an event source mapping: it receives batches, invokes the function with each, and deletes what the function
// did. That of a FIFO group nothing more comes while something of it is in flight is the queue's doing.
//
// What failed is left alone: it comes again when its visibility timeout ends, as on AWS
// (https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html). A function that wants it sooner changes the
// visibility itself. That Lambda lowers the concurrency of a mapping whose function throws is not played.
type Poller struct {
	m Mapping

	mu    sync.Mutex
	stats PollerStats
}

// PollerStats count what a poller did.
type PollerStats struct {
	Batches, Messages, Deleted, Failed, Throttled int
	// LargestBatch and MostAtOnce are the largest number of messages in one batch and of invocations at a time.
	LargestBatch, MostAtOnce int
	atOnce                   int
}

// NewPoller checks a mapping. Nothing is polled before Run.
func NewPoller(m Mapping) (*Poller, error) {
	if m.BatchSize == 0 {
		m.BatchSize = maxBatch
	}
	if m.MaxConcurrency == 0 {
		m.MaxConcurrency = 5
	}
	if m.Visibility == 0 {
		m.Visibility = 30 * time.Second
	}
	if m.Wait == 0 {
		m.Wait = longPoll
	}
	if m.Logger == nil {
		m.Logger = slog.New(slog.DiscardHandler)
	}
	switch {
	case m.Source == nil || m.Invoke == nil || m.Function == "":
		return nil, fault.New(fault.Invalid, "new poller: Source, Invoke and Function are needed")
	case m.BatchSize < 1 || m.BatchSize > maxBatch:
		return nil, fault.New(fault.Invalid, "new poller: a batch of %d, a FIFO queue allows 1 to %d", m.BatchSize, maxBatch)
	case m.MaxConcurrency < 2 || m.MaxConcurrency > 1000:
		return nil, fault.New(fault.Invalid, "new poller: a maximum concurrency of %d, 2 to 1000 are allowed", m.MaxConcurrency)
	}
	return &Poller{m: m}, nil
}

// Stats is what was done so far.
func (p *Poller) Stats() PollerStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stats
}

// Run polls until ctx ends, and then waits for the batches at work.
func (p *Poller) Run(ctx context.Context) {
	slots := make(chan struct{}, p.m.MaxConcurrency)
	var running sync.WaitGroup
	defer running.Wait()
	pause := firstPause
	for {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		batch, err := p.m.Source.Receive(ctx, p.m.BatchSize, p.m.Wait)
		if ctx.Err() != nil && len(batch) == 0 {
			return
		}
		if err != nil {
			p.m.Logger.WarnContext(ctx, "poller could not receive", "queue", p.m.QueueARN, "error", err)
			sleep(ctx, pause)
			pause = min(2*pause, lastPause)
		} else {
			pause = firstPause
		}
		if len(batch) == 0 {
			<-slots
			continue
		}
		received := time.Now()
		running.Go(func() {
			defer func() { <-slots }()
			p.batch(context.WithoutCancel(ctx), ctx.Done(), batch, received)
		})
	}
}

// batch invokes the function with messages and deletes those that it did.
func (p *Poller) batch(ctx context.Context, stop <-chan struct{}, batch []types.Message, received time.Time) {
	p.count(func(s *PollerStats) {
		s.Batches++
		s.Messages += len(batch)
		s.LargestBatch = max(s.LargestBatch, len(batch))
		s.atOnce++
		s.MostAtOnce = max(s.MostAtOnce, s.atOnce)
	})
	defer p.count(func(s *PollerStats) { s.atOnce-- })
	payload, err := p.m.event(batch)
	if err != nil {
		p.m.Logger.ErrorContext(ctx, "poller could not write the event", "error", err)
		return
	}
	result, err := p.invoke(ctx, stop, payload, received.Add(p.m.Visibility))
	if err != nil {
		p.count(func(s *PollerStats) { s.Failed += len(batch) })
		p.m.Logger.WarnContext(ctx, "poller gives a batch up", "function", p.m.Function, "error", err)
		return
	}
	done, failed := outcome(result, batch)
	if len(failed) > 0 {
		p.m.Logger.InfoContext(ctx, "messages stay in the queue", "function", p.m.Function, "messages", len(failed), "why", string(clip(result.Payload)))
	}
	if len(done) > 0 {
		if err := p.m.Source.Delete(ctx, done); err != nil {
			p.m.Logger.WarnContext(ctx, "poller could not delete", "queue", p.m.QueueARN, "error", err)
		}
	}
	p.count(func(s *PollerStats) {
		s.Deleted += len(done)
		s.Failed += len(failed)
	})
}

// invoke tries again while the function is throttled, until the messages are visible again: then they are dropped here
// (https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html#services-sqs-backoff-strategy).
func (p *Poller) invoke(ctx context.Context, stop <-chan struct{}, payload []byte, until time.Time) (Result, error) {
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		result, err := p.m.Invoke(ctx, Invocation{Function: p.m.Function, Payload: payload})
		if !errors.Is(err, ErrThrottled) || time.Now().Add(pause).After(until) {
			return result, err
		}
		p.count(func(s *PollerStats) { s.Throttled++ })
		select {
		case <-stop:
			return result, err
		case <-time.After(pause):
		}
	}
}

func (p *Poller) count(f func(*PollerStats)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f(&p.stats)
}

// outcome says which receipts are done and which messages failed, by the rules for partial batch responses
// (https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html#services-sqs-batchfailurereporting): all is
// done if the answer is empty, null or names no failures. All failed if the function failed, if the answer is no JSON, or if
// an identifier is missing, null, empty or of no message of the batch.
func outcome(r Result, batch []types.Message) (done, failed []string) {
	all := func() []string {
		var ids []string
		for _, m := range batch {
			ids = append(ids, *m.MessageId)
		}
		return ids
	}
	if r.FunctionError != "" {
		return nil, all()
	}
	left, err := failures(r.Payload)
	if err != nil {
		return nil, all()
	}
	known := map[string]bool{}
	for _, m := range batch {
		known[*m.MessageId] = true
	}
	for id := range left {
		if !known[id] {
			return nil, all()
		}
	}
	for _, m := range batch {
		if left[*m.MessageId] {
			failed = append(failed, *m.MessageId)
		} else {
			done = append(done, *m.ReceiptHandle)
		}
	}
	return done, failed
}

// failures reads the identifiers of an answer.
func failures(payload []byte) (map[string]bool, error) {
	if len(payload) == 0 {
		return nil, nil
	}
	var answer struct {
		BatchItemFailures []struct {
			ItemIdentifier *string `json:"itemIdentifier"`
		} `json:"batchItemFailures"`
	}
	if err := json.Unmarshal(payload, &answer); err != nil {
		return nil, err
	}
	out := map[string]bool{}
	for _, f := range answer.BatchItemFailures {
		if f.ItemIdentifier == nil || *f.ItemIdentifier == "" {
			return nil, fmt.Errorf("an item identifier is empty")
		}
		out[*f.ItemIdentifier] = true
	}
	return out, nil
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func clip(b []byte) []byte { return b[:min(len(b), 500)] }

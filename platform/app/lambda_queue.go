package app

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/queue"
	"github.com/riskprofiler/riskprofiler/platform/telemetry"
)

// sqsSource is what an SQS record says it comes from
// (docs.aws.amazon.com/lambda/latest/dg/with-sqs.html, example message event).
const sqsSource = "aws:sqs"

// eventSource is a queue driver whose messages a platform receives and hands to functions. It turns the records of an event
// into deliveries, whose message ids are those of the records. A record that it cannot read is a delivery that says so; one
// that it leaves out needs no work any more.
type eventSource interface {
	FromEvent(ctx context.Context, event []byte) ([]queue.Delivery, error)
}

// record is as much of a record as the host needs.
type record struct {
	MessageID string `json:"messageId"`
	Source    string `json:"eventSource"`
	ARN       string `json:"eventSourceARN"`
}

// part is the records of a batch that come from one queue.
type part struct {
	Records []json.RawMessage `json:"Records"`
	ids     []string
	service string
	queue   string
}

// batchAnswer names the messages that are not done with
// (docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html, partial batch responses).
type batchAnswer struct {
	Failures []batchFailure `json:"batchItemFailures"`
}

type batchFailure struct {
	ID string `json:"itemIdentifier"`
}

// batch hands a batch to the consumers of its queues. It never fails as a whole: then all messages would come again for one
// that is bad, and Lambda would call less often.
func (f *function) batch(ctx context.Context, raw json.RawMessage, b budget) ([]byte, error) {
	var records []json.RawMessage
	if json.Unmarshal(raw, &records) != nil {
		return nil, fault.New(fault.Invalid, "the event's records are no list")
	}
	ctx, end := f.begin(ctx, telemetry.Invocation{Trigger: telemetry.TriggerMessages, XRay: traceHeader(ctx)})
	defer end(nil)
	parts, remaining := f.split(ctx, records)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, p := range parts {
		wg.Go(func() {
			left := f.consume(ctx, p, b)
			mu.Lock()
			defer mu.Unlock()
			remaining = append(remaining, left...)
		})
	}
	wg.Wait()
	answer := batchAnswer{Failures: []batchFailure{}}
	for _, id := range remaining {
		answer.Failures = append(answer.Failures, batchFailure{ID: id})
	}
	return json.Marshal(answer)
}

// split sorts records by their queues. Those of queues that nobody here consumes remain.
func (f *function) split(ctx context.Context, records []json.RawMessage) (parts []*part, remaining []string) {
	byQueue := map[string]*part{}
	for _, raw := range records {
		var r record
		if json.Unmarshal(raw, &r) != nil || r.MessageID == "" {
			// An empty identifier in the answer would fail the whole batch.
			f.log.ErrorContext(ctx, "record without a message id, which no queue sends")
			continue
		}
		service, name := f.consumer(r)
		if name == "" {
			f.log.ErrorContext(ctx, "message of a queue that this function does not consume", "resource", r.ARN, "message", r.MessageID)
			remaining = append(remaining, r.MessageID)
			continue
		}
		p := byQueue[name]
		if p == nil {
			p = &part{service: service, queue: name}
			byQueue[name] = p
			parts = append(parts, p)
		}
		p.Records, p.ids = append(p.Records, raw), append(p.ids, r.MessageID)
	}
	return parts, remaining
}

// consumer finds the service and the queue of a record. The name of the resource is the queue's behind a prefix and a dash,
// and before ".fifo"; of several queues that fit, the longest is meant.
func (f *function) consumer(r record) (service, name string) {
	if r.Source != sqsSource {
		return "", ""
	}
	resource := strings.TrimSuffix(r.ARN[strings.LastIndex(r.ARN, ":")+1:], ".fifo")
	for _, s := range f.host.specs {
		for _, c := range s.Consumes {
			if (resource == c.Queue || strings.HasSuffix(resource, "-"+c.Queue)) && len(c.Queue) > len(name) {
				service, name = s.Name, c.Queue
			}
		}
	}
	return service, name
}

// consume hands the messages of one queue to its handler and returns the ids of those that remain.
func (f *function) consume(ctx context.Context, p *part, b budget) []string {
	deliveries, err := f.deliveries(ctx, p)
	var at []int
	if err == nil {
		at, err = f.host.consumers[p.queue].Handle(ctx, queue.Batch{
			Deliveries: deliveries,
			MayBegin:   func() bool { return !f.stopping.Load() && time.Now().Before(b.takeUntil) },
			WorkUntil:  b.workUntil, AnswerBy: b.answerBy,
		}, f.host.services[p.service].Handlers[p.queue])
	}
	if err != nil {
		f.log.ErrorContext(ctx, "batch was handed back", "queue", p.queue, "messages", len(p.ids), "error", err)
		return p.ids
	}
	var remaining []string
	for _, i := range at {
		remaining = append(remaining, deliveries[i].Message.ID)
	}
	return remaining
}

func (f *function) deliveries(ctx context.Context, p *part) ([]queue.Delivery, error) {
	source := f.host.sources[p.queue]
	if source == nil {
		return nil, fault.New(fault.FailedPrecondition, "the driver of queue %s takes no events; build with -tags aws", p.queue)
	}
	event, err := json.Marshal(p)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, err, "read batch")
	}
	return source.FromEvent(ctx, event)
}

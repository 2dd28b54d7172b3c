package queue

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"

	metricnoop "go.opentelemetry.io/otel/metric/noop"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/riskprofiler/riskprofiler/platform/blob"
	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// Queue is one named queue. It is safe for use by many goroutines.
type Queue struct {
	driver      Driver
	name        string
	spill       blob.Bucket
	visibility  time.Duration
	concurrency int
	backoff     func(attempt int) time.Duration
	onParked    func(ctx context.Context, m Message, cause error) error
	log         *slog.Logger
	telemetry   telemetry
}

// New makes a queue on a driver. It panics if the driver is missing or an option is out of its
// range: that is a mistake in the wiring, not a condition of the run.
func New(d Driver, o Options) *Queue {
	if d == nil {
		panic("queue: New without a driver")
	}
	if err := checkName(o.Name); err != nil {
		panic("queue: New: " + err.Error())
	}
	if o.Visibility < 0 || o.Visibility > MaxVisibility || o.Concurrency < 0 {
		panic("queue: New " + o.Name + ": the visibility or the concurrency is out of range")
	}
	q := &Queue{
		driver:      d,
		name:        o.Name,
		spill:       o.Spill,
		visibility:  o.Visibility,
		concurrency: o.Concurrency,
		backoff:     o.Backoff,
		onParked:    o.OnParked,
		log:         o.Logger,
	}
	if q.visibility == 0 {
		q.visibility = DefaultVisibility
	}
	if q.concurrency == 0 {
		q.concurrency = DefaultConcurrency
	}
	if q.backoff == nil {
		q.backoff = defaultBackoff
	}
	if q.onParked == nil {
		q.onParked = func(context.Context, Message, error) error { return nil }
	}
	if q.log == nil {
		q.log = slog.New(slog.DiscardHandler)
	}
	if named, ok := d.(Named); ok && o.System == "" {
		o.System = named.System()
	}
	if o.System == "" {
		o.System = "riskprofiler"
	}
	if o.TracerProvider == nil {
		o.TracerProvider = tracenoop.NewTracerProvider()
	}
	if o.MeterProvider == nil {
		o.MeterProvider = metricnoop.NewMeterProvider()
	}
	q.telemetry = newTelemetry(o)
	return q
}

// defaultBackoff grows by four up to five minutes. Half of it is fixed: full jitter can shrink to
// nothing, which would burn the attempts while the cause still lasts.
func defaultBackoff(attempt int) time.Duration {
	const first, limit = 500 * time.Millisecond, 5 * time.Minute
	d := limit
	if attempt < 6 {
		d = min(limit, first<<(2*(max(attempt, 1)-1)))
	}
	return d/2 + rand.N(d/2) //nolint:gosec // jitter is no secret
}

// Send stores the messages durably, in their order within each group. All are checked before any
// is sent; [fault.Invalid] means that none was. On another error some may have been sent: send all
// of them again, those with a dedup id are not doubled within [DedupWindow]. A body over
// MaxBodyBytes is put into Options.Spill first.
func (q *Queue) Send(ctx context.Context, messages ...Message) error {
	if len(messages) == 0 {
		return nil
	}
	for i, m := range messages {
		if err := q.checkSend(m); err != nil {
			return fault.Wrap(fault.CodeOf(err), err, "send message %d of %d to queue %s", i+1, len(messages), q.name)
		}
	}
	encoded, sending, finish := q.telemetry.inject(ctx, messages)
	err := q.sendEncoded(sending, encoded)
	finish(err)
	if err != nil {
		return q.wrap(err, "send to queue %s", q.name)
	}
	return nil
}

func (q *Queue) checkSend(m Message) error {
	if err := check(m); err != nil {
		return err
	}
	switch {
	case len(m.Body) <= MaxBodyBytes:
		return nil
	case q.spill == nil:
		return fault.New(fault.Invalid, "check message: the body has %d bytes, the most is %d", len(m.Body), MaxBodyBytes)
	case len(m.Body) > MaxSpillBytes:
		return fault.New(fault.Invalid, "check message: the body has %d bytes, the most is %d", len(m.Body), MaxSpillBytes)
	}
	return nil
}

// sendEncoded spills and sends in batches. The slice is its own, the maps in it too.
func (q *Queue) sendEncoded(ctx context.Context, messages []Message) error {
	for i := range messages {
		if len(messages[i].Body) <= MaxBodyBytes {
			continue
		}
		if err := q.spillBody(ctx, &messages[i]); err != nil {
			return err
		}
	}
	for len(messages) > 0 {
		n, bytes := 1, size(messages[0])
		for n < len(messages) && n < MaxBatch {
			if bytes += size(messages[n]); bytes > MaxBatchBytes {
				break
			}
			n++
		}
		if err := q.driver.Send(ctx, messages[:n]); err != nil {
			return err
		}
		messages = messages[n:]
	}
	return nil
}

// Depth counts what is in the queue.
func (q *Queue) Depth(ctx context.Context) (Depth, error) {
	got, err := q.driver.Inspect(ctx, Inspect{})
	if err != nil {
		return Depth{}, q.wrap(err, "count messages of queue %s", q.name)
	}
	return got.Depth, nil
}

// Parked lists parked messages, at most limit of them (0: MaxPage). A non-empty token says that
// there may be more.
func (q *Queue) Parked(ctx context.Context, pageToken string, limit int) ([]ParkedMessage, string, error) {
	if limit < 0 || limit > MaxPage {
		return nil, "", fault.New(fault.Invalid, "list parked messages of queue %s: limit %d is not in 0 to %d", q.name, limit, MaxPage)
	}
	if limit == 0 {
		limit = MaxPage
	}
	got, err := q.driver.Inspect(ctx, Inspect{Limit: limit, PageToken: pageToken})
	if err != nil {
		return nil, "", q.wrap(err, "list parked messages of queue %s", q.name)
	}
	for i := range got.Parked {
		q.describeParked(&got.Parked[i])
	}
	return got.Parked, got.NextPageToken, nil
}

// Redrive sends parked messages again, all of them or those with the given ids, and returns how
// many. They come behind the later messages of their group, so a handler must accept a late step.
// They start with no failures.
func (q *Queue) Redrive(ctx context.Context, ids ...string) (int, error) {
	n, err := q.driver.Redrive(ctx, ids)
	if err != nil {
		return n, q.wrap(err, "redrive queue %s", q.name)
	}
	return n, nil
}

// Close ends waiting calls and releases the driver's handle.
func (q *Queue) Close() error {
	return q.driver.Close()
}

func (q *Queue) wrap(err error, format string, args ...any) error {
	return fault.Wrap(fault.CodeOf(err), err, format, args...)
}

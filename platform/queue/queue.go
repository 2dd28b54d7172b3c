// Package queue carries messages between services in FIFO groups, with the promises of an Amazon
// SQS FIFO queue and its limits, whichever driver is behind it.
//
// What is promised:
//
//   - At least once. A message that Send took comes to a handler until one returns nil for it. It
//     may come again afterwards (a crash between the effect and the acknowledgement), so a
//     handler makes its effects idempotent by condition.
//   - In order within a group. While a message is handled, waits for its next attempt or was
//     handed back, nothing else of its group is handed out. Groups do not wait for each other.
//   - Fair across groups. They take turns, so a group with a long backlog does not hide others.
//   - A repeat of (group, dedup id) within [DedupWindow] of the first is dropped. That guards a
//     retried Send and nothing else: it is no replacement for idempotent handlers.
//   - Poison is isolated. A message that fails [MaxAttempts] times, or once with [Permanent], is
//     parked with its error and trace id, and its group goes on.
//
// What is refused: delays on Send ("not yet" belongs in a table with a due time), priorities,
// selective receive, more than one consumer group.
package queue

import (
	"context"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/riskprofiler/riskprofiler/platform/blob"
)

const (
	// MaxNameBytes is the longest queue name: SQS's 80 characters less the suffix ".fifo".
	MaxNameBytes = 75
	// MaxBodyBytes is the largest body that lies in the queue itself. SQS takes 1 MiB now and
	// took 256 KiB before; ours is smaller so that regions, emulators and costs do not matter.
	// A larger body goes to [Options.Spill].
	MaxBodyBytes = 64 << 10
	// MaxSpillBytes is the largest body with a spill: a blob, less a little.
	MaxSpillBytes = blob.MaxObjectBytes - saltBytes
	// MaxBatch is how many messages a driver takes in one Send: SQS's batch.
	// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html
	MaxBatch = 10
	// MaxBatchBytes is the most that the messages of one batch add up to (body, attributes, group
	// and dedup id). In base64 that stays below the 256 KiB which SQS always allowed.
	MaxBatchBytes = 160 << 10
	// MaxGroupBytes is the longest group: SQS's MessageGroupId.
	MaxGroupBytes = 128
	// MaxDedupBytes is the longest dedup id: SQS's MessageDeduplicationId.
	MaxDedupBytes = 128
	// MaxAttributes is how many attributes the sender of a message may set. SQS allows 10; two
	// are taken by traceparent and tracestate.
	MaxAttributes = 8
	// MaxAttributeNameBytes is the longest attribute name: SQS's limit.
	MaxAttributeNameBytes = 256
	// MaxAttributeBytes is the longest attribute value. W3C wants room for a tracestate of 512
	// characters; the rest is ours.
	MaxAttributeBytes = 1024
	// DedupWindow is how long a dedup id is remembered: SQS's, which cannot be changed there.
	DedupWindow = 5 * time.Minute
	// MaxAttempts is how many failures a message may have before it is parked.
	MaxAttempts = 5
	// MaxLost is how many deliveries of a message may end without any answer (the process was
	// killed, the handler outlived its receipt) before it is parked untried: such a message may
	// be what kills the process. It is the maxReceiveCount that SQS users set as a net.
	MaxLost = 10
	// MaxVisibility is how long one delivery can last, extensions included, and the longest
	// delay of a retry: SQS's twelve hours.
	// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-visibility-timeout.html
	MaxVisibility = 12 * time.Hour
	// MaxErrorBytes is how much of an error's text is kept with a message. The rest is cut.
	MaxErrorBytes = 1024
	// MaxPage is the most parked messages in one page.
	MaxPage = 100
	// DrainTimeout is how long running handlers may go on after Run's context ended: less than
	// the 30 s that container platforms grant between SIGTERM and SIGKILL.
	DrainTimeout = 25 * time.Second
	// DefaultVisibility is how long a message stays hidden after the process that took it died.
	DefaultVisibility = 60 * time.Second
	// DefaultConcurrency is how many groups are handled at once.
	DefaultConcurrency = 8
)

// Message is one message. Send reads Group, DedupID, Body and Attributes and ignores the rest.
type Message struct {
	// ID is given by the queue. It is the same for all deliveries of one message; a redriven
	// message may have a new one.
	ID string
	// Group is the lane in which the message keeps its order: 1 to MaxGroupBytes printable ASCII
	// characters without spaces.
	Group string
	// DedupID makes a repeat of the message known: up to MaxDedupBytes printable ASCII characters
	// without spaces. Empty: the message is never taken for a repeat.
	DedupID string
	// Body is the content, possibly empty.
	Body []byte
	// Attributes are at most MaxAttributes short texts beside the body. Names consist of letters,
	// digits, '_', '-' and '.'; values are non-empty UTF-8 without control characters. A sender
	// that already has the trace context as text may set "traceparent" and "tracestate", which do
	// not count; a handler finds the trace in its context and never here.
	Attributes map[string]string
	// Attempt is 1 on the first delivery and one more for every attempt that failed. Being
	// handed back with Later or lost in a crash does not count.
	Attempt int
	// SentAt is when the queue took the message, in milliseconds.
	SentAt time.Time
}

// Handler does the work of one message. nil acknowledges it; an error is a failed attempt, unless
// it was made by [Later]; a panic is a failed attempt too. The context carries the message's
// trace. It ends when the message is no longer this process's to handle (the receipt expired) and
// [DrainTimeout] after Run was told to stop.
type Handler func(ctx context.Context, m Message) error

// Options configure a queue. Only Name is required.
type Options struct {
	// Name is the queue's name in errors, spans and metrics: 1 to MaxNameBytes of a-z 0-9 _ -.
	Name string
	// Spill takes bodies over MaxBodyBytes. nil: they are refused.
	Spill blob.Bucket
	// Visibility is how long a delivered message is hidden from others unless its handler goes
	// on, in which case it is extended at half time. 0: DefaultVisibility.
	Visibility time.Duration
	// Concurrency is how many groups Run handles at once. 0: DefaultConcurrency.
	Concurrency int
	// Backoff is the pause before the attempt that follows the given number of failures (1 and
	// up). nil: 0.5 s, 2 s, 8 s, 32 s and so on to 5 min, half of it random.
	Backoff func(attempt int) time.Duration
	// OnParked is called before a message is parked, so that what waits for it can be failed.
	// It may be called several times for one message. If it returns an error the message stays
	// and comes again after a backoff; the handler is not called more than MaxAttempts times.
	OnParked func(ctx context.Context, m Message, cause error) error
	// System is the messaging.system of spans and metrics. Empty: what the driver says (see [Named]), or "riskprofiler".
	System string
	// TracerProvider makes the spans. nil: none are made, trace context still passes through.
	TracerProvider trace.TracerProvider
	// OwnTraces begins a trace for every delivery of Run, which links to its producer's. It is for
	// X-Ray, which keeps 100 links of a trace. Otherwise a delivery goes on in its producer's trace.
	OwnTraces bool
	// MeterProvider makes the metrics. nil: none.
	MeterProvider metric.MeterProvider
	// Logger is told about failed attempts, parked messages and driver errors; never about
	// bodies. nil: silent.
	Logger *slog.Logger
}

// Depth says how much is in a queue. A driver on a distributed service may be a little late.
type Depth struct {
	// Visible counts messages that wait for a consumer, those behind others of their group
	// included.
	Visible int
	// InFlight counts messages that were handed out and not yet answered.
	InFlight int
	// Delayed counts messages that wait for their next attempt.
	Delayed int
	// Parked counts messages that were given up.
	Parked int
	// OldestSentAt is when the oldest message was sent that is not parked; zero if there is none.
	OldestSentAt time.Time
}

// ParkedMessage is a message that was given up, and why.
type ParkedMessage struct {
	Message
	// Error is the text of the last failure, at most MaxErrorBytes.
	Error string
	// TraceID is the trace in which it happened, 32 hex digits or empty.
	TraceID string
	// ParkedAt is when it was given up.
	ParkedAt time.Time
	// BodyKey names the blob of a body that did not fit into the queue; Body is empty then.
	BodyKey string
}

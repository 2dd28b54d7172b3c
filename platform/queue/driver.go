package queue

import (
	"context"
	"time"
)

// Driver is what a queue technology implements. Its input was already validated by [Queue]. All
// methods may be called by many goroutines. Errors are faults; after Close they match [ErrClosed].
// The suite in queuetest has a case for every "must" below.
type Driver interface {
	// Send stores 1 to MaxBatch messages of together at most MaxBatchBytes, durably, in the order
	// given. It must drop a message whose Group and non-empty DedupID were stored less than
	// DedupWindow ago. On an error some may have been stored.
	Send(ctx context.Context, messages []Message) error

	// Receive hands out 1 to limit messages and hides them for visibility. It waits until there is
	// one, and returns ctx's error if that ends first. It must not hand out anything of a group
	// that has a message in flight or delayed, and it must take turns between groups. It may hand
	// out several of one group at once, in their order, and may return fewer than there are.
	// When a receipt expires unanswered the message is visible again and has lost one delivery.
	Receive(ctx context.Context, limit int, visibility time.Duration) ([]Delivery, error)

	// Settle answers deliveries, any number of them. It returns the positions of those whose
	// receipt is no longer valid (expired, answered before, or given to somebody else), which
	// must have no effect, while the others take effect. On an error none, some or all of them
	// took effect, and the same call may be made again.
	Settle(ctx context.Context, settlements []Settlement) (expired []int, err error)

	// Inspect counts the messages or lists parked ones, in an order that stays.
	Inspect(ctx context.Context, r Inspect) (Inspection, error)

	// Redrive sends parked messages again: behind the later ones of their group, with no failures
	// and no lost deliveries. With no ids it takes all that are parked when it is called. Ids that
	// are not parked are ignored. It returns how many it sent.
	Redrive(ctx context.Context, ids []string) (int, error)

	// Close ends waiting calls and gives back what this handle holds. Messages stay. A second
	// call is harmless.
	Close() error
}

// Named is a driver of a technology that the conventions for spans have a name for
// (https://opentelemetry.io/docs/specs/semconv/registry/attributes/messaging/#messaging-system).
type Named interface {
	// System is that name, such as "aws_sqs".
	System() string
}

// Delivery is one handing out of one message.
type Delivery struct {
	Message Message
	// Receipt stands for this delivery in Settle. It is opaque, and no two deliveries share one.
	Receipt string
	// Lost counts earlier deliveries that ended without an answer.
	Lost int
	// LastError and LastTraceID are from the latest failed attempt, if there was one.
	LastError, LastTraceID string
	// Damaged is set if the stored message cannot be read back whole; Message then has only
	// what could be trusted. It is parked without being handled.
	Damaged error
}

// Action is what is to become of a delivery.
type Action int

// The actions.
const (
	// Ack removes the message: its work is done.
	Ack Action = iota + 1
	// Retry counts a failed attempt and hides the message, and with it its group, for After.
	Retry
	// Return hides the message for After and counts nothing.
	Return
	// Extend keeps the message in flight for After from now.
	Extend
	// Park counts a failed attempt and sets the message aside.
	Park
)

// String is the action in one lower-case word.
func (a Action) String() string {
	switch a {
	case Ack:
		return "ack"
	case Retry:
		return "retry"
	case Return:
		return "return"
	case Extend:
		return "extend"
	case Park:
		return "park"
	default:
		return "unknown"
	}
}

// Settlement is the answer to one delivery.
type Settlement struct {
	Receipt string
	Action  Action
	// After is a delay of 0 to MaxVisibility. See Action.
	After time.Duration
	// Error and TraceID are kept with the message on Retry and Park. Error is valid UTF-8 of at
	// most MaxErrorBytes.
	Error, TraceID string
}

// Inspect asks about a queue.
type Inspect struct {
	// Limit is how many parked messages to list, up to MaxPage, and no counts. 0: only the counts.
	Limit int
	// PageToken goes on after an earlier page.
	PageToken string
}

// Inspection is the answer to Inspect: the counts or a page.
type Inspection struct {
	Depth         Depth
	Parked        []ParkedMessage
	NextPageToken string
}

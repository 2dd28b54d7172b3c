// Package sqsqueue is the queue driver on Amazon SQS: one FIFO queue each, and beside it a table for what SQS does not keep.
//
// # What lies where
//
// Messages, their order, the blocking of groups, visibility and the window of deduplication are SQS's. The table has an item for
// a message only after it was answered with anything but Ack: its failures, last error and trace id, how many of its
// deliveries were answered (the others are lost), and when it is parked the message itself. SQS's receive count says on which
// deliveries to look there, so a message that succeeds at once never touches the table.
//
// # What is promised beyond the port
//
//   - No call holds two messages of one group, and no two calls that run at once do. SQS may refuse single entries of a batch; so
//     a refused one cannot be overtaken by a later one of its group, and when it fails for good the rest of its Send is not sent.
//     A batch is filled from different groups and from Sends that run at the same time.
//   - A message with an empty DedupID gets a random one, the same in every repetition of the call: an answer that was lost on the
//     way doubles nothing.
//   - A parked message is in the table before it leaves SQS. Should the process end in between, the next delivery finishes it.
//   - A receipt is valid in the process that received it, until the time that this process knows of: SQS itself might still
//     delete by an expired one.
//   - A delay with a fraction of a second is a whole one more for SQS, and cut short by this process; should it end, or sleep as a
//     function does between two calls, the message comes up to a second later, never earlier.
//
// # What it costs
//
// Requests for each message, at best and at worst. SQS bills every one of them, DynamoDB the reads and writes.
//
//	              at best   at worst    why
//	send          1/10      1           10 groups in a batch, or one message alone
//	receive       1/10      2           10 in a receive, or one alone; a second look when one group fills a receive twice
//	acknowledge   1/10      1           what is answered at the same time goes together
//	extend        0         1 each      half of the visibility has passed
//	table         0         0           first delivery and Ack
//
// A failed attempt costs one write and one ChangeMessageVisibility, shared with up to nine others (two if the delay has a fraction
// of a second), and its next delivery one read. Handing back costs the same. Parking costs one transaction of two writes.
// An idle consumer makes 3 receives a minute; a Lambda event source mapping receives by itself and is not counted here.
//
// # What SQS cannot say
//
// [queue.Depth].OldestSentAt stays zero: only CloudWatch knows it (ApproximateAgeOfOldestMessage), and that is what alarms are made
// on. SQS counts messages that wait for their next attempt as in flight; Delayed has those that this process delayed. All counts
// are approximate, as SQS's are.
//
// A table that cannot be read holds up the groups whose messages were received before: such a delivery is not handed out and
// counts as lost.
package sqsqueue

import (
	"context"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/riskprofiler/riskprofiler/platform/awsclient"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/queue"
	"github.com/riskprofiler/riskprofiler/platform/table"
)

const (
	// MaxWait is the longest that one receive can wait for a message:
	// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-short-and-long-polling.html
	MaxWait = 20 * time.Second
	// maxBatch is how many entries a batch or a receive has at most:
	// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html
	maxBatch = 10
	// maxNameBytes is the longest name of a queue, ".fifo" included (the same page).
	maxNameBytes = 80
	// callTimeout ends a call that gets no answer, with the SDK's own repetitions in it. Ours.
	callTimeout = 30 * time.Second
)

// Options configure the queues of a location.
type Options struct {
	// State keeps what SQS does not: items by queue and message. A process that only sends needs none.
	State *table.Table
	// Wait is how long one receive waits for messages, in whole seconds up to MaxWait. 0: MaxWait.
	Wait time.Duration
	// Linger is how long a message may wait for others to share its call with. 0: it waits for none, and only takes along what
	// came while the call before was under way.
	Linger time.Duration
	// EventVisibility is the attribute VisibilityTimeout of the queues, which says how long what a Lambda event source mapping
	// received stays hidden. 0: [DefaultVisibilityTimeout], which Create sets.
	EventVisibility time.Duration
}

// Queues is the queues of one location.
type Queues struct {
	client   *sqs.Client
	location awsclient.Location
	options  Options

	mu     sync.Mutex
	shared map[string]*shared
}

// Open makes a client for the queues of a location. It calls nothing.
func Open(cfg aws.Config, l awsclient.Location, o Options) (*Queues, error) {
	if o.Wait == 0 {
		o.Wait = MaxWait
	}
	if o.EventVisibility == 0 {
		o.EventVisibility = DefaultVisibilityTimeout
	}
	if o.Wait < 0 || o.Wait > MaxWait || o.Wait%time.Second != 0 {
		return nil, fault.New(fault.Invalid, "open SQS queues: a wait of %s is not in whole seconds up to %s", o.Wait, MaxWait)
	}
	if o.Linger < 0 || o.EventVisibility < 0 || o.EventVisibility > queue.MaxVisibility {
		return nil, fault.New(fault.Invalid, "open SQS queues: the linger or the visibility of events is out of range")
	}
	return &Queues{client: NewClient(cfg, l), location: l, options: o, shared: map[string]*shared{}}, nil
}

// NewClient is a client for the SQS of a location.
func NewClient(cfg aws.Config, l awsclient.Location) *sqs.Client {
	return sqs.NewFromConfig(cfg, func(o *sqs.Options) { o.BaseEndpoint = l.EndpointOf("sqs") })
}

// Queue is the queue <prefix>-<name>.fifo. That it does not exist is noticed by its first call.
func (q *Queues) Queue(name string) *Driver {
	q.mu.Lock()
	defer q.mu.Unlock()
	s := q.shared[name]
	if s == nil {
		s = newShared(q, name)
		q.shared[name] = s
	}
	closed, closing := context.WithCancel(context.Background())
	return &Driver{shared: s, closed: closed, close: closing}
}

// Close closes nothing: connections are the SDK configuration's. Each Driver is closed by itself.
func (q *Queues) Close() error { return nil }

// Driver is a handle on one queue.
type Driver struct {
	*shared
	closed context.Context //nolint:containedctx // ended by Close
	close  context.CancelFunc
}

var _ queue.Driver = (*Driver)(nil)

// System is the name of SQS in spans: https://opentelemetry.io/docs/specs/semconv/messaging/sqs/.
func (*Driver) System() string { return "aws_sqs" }

// Close implements [queue.Driver].
func (d *Driver) Close() error {
	d.close()
	return nil
}

// open is queue.ErrClosed after Close, and ctx's error when it has ended.
func (d *Driver) open(ctx context.Context, what string) error {
	if d.closed.Err() != nil {
		return queue.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return fault.Wrap(fault.CodeOf(err), err, "%s", what)
	}
	return nil
}

// shared is what the handles on one queue have in common.
type shared struct {
	queues *Queues
	client *sqs.Client
	state  *table.Table
	name   string // ours
	full   string // SQS's
	sender sender

	mu       sync.Mutex
	url      string
	receipts map[string]*receipt
	swept    int   // how many receipts were left by the last sweep
	stamp    int64 // of the message parked last
	fat      string
}

func newShared(q *Queues, name string) *shared {
	s := &shared{
		queues: q, client: q.client, state: q.options.State, name: name, full: q.location.Name(name) + ".fifo",
		receipts: map[string]*receipt{},
	}
	s.sender.init(s)
	return s
}

// failed gives an error of the SDK its words.
func (s *shared) failed(err error, what string) error {
	return awsclient.Fault(err, what, awsclient.Resource{Kind: "queue", Name: s.full, Region: s.queues.location.Region})
}

// address is the queue's URL, asked for once.
func (s *shared) address(ctx context.Context) (*string, error) {
	if len(s.full) > maxNameBytes {
		return nil, fault.New(fault.Invalid, "find queue %s: its name has %d bytes, SQS allows %d; choose a shorter prefix", s.full, len(s.full), maxNameBytes)
	}
	s.mu.Lock()
	known := s.url
	s.mu.Unlock()
	if known != "" {
		return &known, nil
	}
	found, err := s.client.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: &s.full})
	if err != nil {
		return nil, s.failed(err, "find queue")
	}
	s.know(*found.QueueUrl)
	return found.QueueUrl, nil
}

// know keeps the queue's URL.
func (s *shared) know(url string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.url = url
}

// needState says that the table is missing.
func (s *shared) needState() error {
	if s.state == nil {
		return fault.New(fault.FailedPrecondition, "use queue %s: it was opened without a table for its state, for sending only", s.full)
	}
	return nil
}

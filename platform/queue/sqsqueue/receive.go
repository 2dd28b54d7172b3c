package sqsqueue

import (
	"context"
	"crypto/rand"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/queue"
)

// System attributes come only when they are asked for by name:
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ReceiveMessage.html
const (
	groupAttribute = "MessageGroupId"
	dedupAttribute = "MessageDeduplicationId"
	sentAttribute  = "SentTimestamp"
	countAttribute = "ApproximateReceiveCount"
)

var systemAttributes = []types.MessageSystemAttributeName{groupAttribute, dedupAttribute, sentAttribute, countAttribute, traceHeader}

// recoverTimeout bounds asking for what a receive that was given up had already been handed. Ours.
const recoverTimeout = 3 * time.Second

// Receive implements [queue.Driver].
func (d *Driver) Receive(ctx context.Context, limit int, visibility time.Duration) ([]queue.Delivery, error) {
	for {
		if err := d.open(ctx, "receive messages"); err != nil {
			return nil, err
		}
		found, err := d.once(ctx, min(limit, maxBatch), visibility)
		if len(found) > 0 {
			return found, nil
		}
		if err != nil && ctx.Err() == nil && d.closed.Err() == nil {
			return nil, err
		}
	}
}

// once is one long poll.
func (d *Driver) once(ctx context.Context, limit int, visibility time.Duration) ([]queue.Delivery, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(d.closed, cancel) //nolint:contextcheck // it is the handle's end
	defer stop()
	began := now()
	messages, err := d.take(ctx, limit, visibility)
	if len(messages) == 0 {
		return nil, err
	}
	raws := make([]raw, len(messages))
	for i, m := range messages {
		raws[i] = rawOf(m)
	}
	if d.closed.Err() != nil {
		d.letGo(ctx, raws)
		return nil, queue.ErrClosed
	}
	return d.judge(context.WithoutCancel(ctx), raws, began.Add(visibility))
}

// take receives. SQS packs as many of one group into a receive as it can, so one with a long backlog could hide all others; when a
// group filled the receive before alone, a place is kept for another, which is looked for while that group is in flight.
func (s *shared) take(ctx context.Context, limit int, visibility time.Duration) ([]types.Message, error) {
	s.mu.Lock()
	fat := s.fat
	s.mu.Unlock()
	first := limit
	if fat != "" && limit > 1 {
		first--
	}
	found, err := s.poll(ctx, first, visibility, s.queues.options.Wait)
	if err == nil && first < limit && len(found) > 0 && only(found) == fat && ctx.Err() == nil {
		more, err := s.poll(ctx, limit-len(found), visibility, 0)
		if err == nil {
			found = append(found, more...)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fat = ""
	if len(found) > 1 {
		s.fat = only(found)
	}
	return found, err
}

// only is the group that all messages are of, "" if there are several.
func only(messages []types.Message) string {
	group := ""
	for _, m := range messages {
		if g := m.Attributes[groupAttribute]; group == "" {
			group = g
		} else if g != group {
			return ""
		}
	}
	return group
}

// poll makes one receive. When ctx ends while it waits, what SQS may have handed out by then is asked for under the same attempt
// id, so that nothing is hidden that nobody has.
func (s *shared) poll(ctx context.Context, limit int, visibility, wait time.Duration) ([]types.Message, error) {
	url, err := s.address(ctx)
	if err != nil {
		return nil, err
	}
	in := &sqs.ReceiveMessageInput{
		QueueUrl: url, MaxNumberOfMessages: int32(limit), VisibilityTimeout: wholeSeconds(max(visibility, time.Second)),
		WaitTimeSeconds: wholeSeconds(wait), MessageSystemAttributeNames: systemAttributes, MessageAttributeNames: []string{"All"},
		ReceiveRequestAttemptId: aws.String(rand.Text()),
	}
	timed, cancel := context.WithTimeout(ctx, wait+callTimeout)
	defer cancel()
	out, err := s.client.ReceiveMessage(timed, in)
	if err == nil {
		return out.Messages, nil
	}
	if ctx.Err() == nil {
		return nil, s.failed(err, "receive messages")
	}
	again, cancel := context.WithTimeout(context.WithoutCancel(ctx), recoverTimeout)
	defer cancel()
	in.WaitTimeSeconds = 0
	if out, err = s.client.ReceiveMessage(again, in); err != nil {
		return nil, s.failed(err, "receive messages")
	}
	return out.Messages, nil
}

// wholeSeconds is a duration for SQS, never shorter.
func wholeSeconds(d time.Duration) int32 {
	return int32((d + time.Second - 1) / time.Second)
}

// judge turns messages into deliveries: it looks up what became of earlier ones. A message that is parked or over already goes.
// If the table cannot be read the groups concerned are held back, and the error comes with what is left.
func (s *shared) judge(ctx context.Context, raws []raw, until time.Time) ([]queue.Delivery, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var before []string
	counts := make([]int, len(raws))
	for i, r := range raws {
		counts[i], _ = strconv.Atoi(r.system[countAttribute])
		if counts[i] > 1 {
			before = append(before, r.id)
		}
	}
	states, err := s.states(ctx, before)
	held := map[string]bool{}
	var found []queue.Delivery
	var rest []raw
	for i, r := range raws {
		st := states[r.id]
		group := r.system[groupAttribute]
		if held[group] = held[group] || err != nil && counts[i] > 1; held[group] {
			continue
		}
		if st.Parked != "" || st.Over {
			rest = append(rest, r)
			continue
		}
		found = append(found, s.deliver(r, counts[i], st, until)) //nolint:contextcheck // the trace is the message's, not the caller's
	}
	s.remove(ctx, rest)
	if err != nil {
		return found, fault.Wrap(fault.CodeOf(err), err, "receive messages")
	}
	return found, nil
}

func (s *shared) deliver(r raw, count int, st state, until time.Time) queue.Delivery {
	m, damage := decode(r)
	m.Attempt = st.Failures + 1
	s.enter(&receipt{handle: r.handle, message: m, count: count, received: now(), state: st, until: until})
	return queue.Delivery{
		Message: m, Receipt: r.handle, Lost: max(count-1-st.Answered, 0), LastError: st.Error, LastTraceID: st.TraceID, Damaged: damage,
	}
}

// letGo makes messages visible again, as well as can be.
func (s *shared) letGo(ctx context.Context, raws []raw) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recoverTimeout)
	defer cancel()
	url, err := s.address(ctx)
	if err != nil {
		return
	}
	in := &sqs.ChangeMessageVisibilityBatchInput{QueueUrl: url}
	for i, r := range raws {
		in.Entries = append(in.Entries, types.ChangeMessageVisibilityBatchRequestEntry{Id: aws.String(strconv.Itoa(i)), ReceiptHandle: aws.String(r.handle)})
	}
	_, _ = s.client.ChangeMessageVisibilityBatch(ctx, in) // else they come when their visibility ends
}

// remove deletes messages that are done with, as well as can be: what stays comes again and is removed then.
func (s *shared) remove(ctx context.Context, raws []raw) {
	if len(raws) == 0 {
		return
	}
	url, err := s.address(ctx)
	if err != nil {
		return
	}
	in := &sqs.DeleteMessageBatchInput{QueueUrl: url}
	for i, r := range raws {
		in.Entries = append(in.Entries, types.DeleteMessageBatchRequestEntry{Id: aws.String(strconv.Itoa(i)), ReceiptHandle: aws.String(r.handle)})
	}
	_, _ = s.client.DeleteMessageBatch(ctx, in)
}

package sqsqueue

import (
	"context"
	"errors"
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

// answer is one settlement while it is carried out.
type answer struct {
	queue.Settlement

	at      int // its position in the call
	receipt *receipt
	fate    fate
	began   time.Time
	seconds int32 // of visibility
}

// Settle implements [queue.Driver].
func (d *Driver) Settle(ctx context.Context, settlements []queue.Settlement) ([]int, error) {
	if d.closed.Err() != nil {
		return nil, queue.ErrClosed
	}
	var lost []int
	rest := make([]*answer, len(settlements))
	for i, one := range settlements {
		rest[i] = &answer{Settlement: one, at: i}
	}
	for len(rest) > 0 {
		// An answer to a receipt waits until the one before it in this call has its effect.
		var round, later []*answer
		seen := map[string]bool{}
		for _, a := range rest {
			if seen[a.Receipt] {
				later = append(later, a)
				continue
			}
			seen[a.Receipt] = true
			round = append(round, a)
		}
		gone, err := d.settle(ctx, round)
		if err != nil {
			return nil, err
		}
		lost, rest = append(lost, gone...), later
	}
	slices.Sort(lost)
	return lost, nil
}

// settle answers different receipts: first what has to be in the table, then SQS.
func (s *shared) settle(ctx context.Context, answers []*answer) (lost []int, err error) {
	var claimed []*answer
	for _, a := range answers {
		r, done, claimErr := s.claim(ctx, a.Settlement)
		switch {
		case claimErr != nil:
			err = fault.Wrap(fault.CodeOf(claimErr), claimErr, "settle messages")
		case r == nil:
			lost = append(lost, a.at)
		default:
			a.receipt = r
			if done {
				a.fate = settled
			}
			claimed = append(claimed, a)
		}
	}
	if err == nil {
		err = s.carryOut(ctx, claimed)
	}
	for _, a := range claimed {
		s.release(a.receipt, a.Settlement, a.fate, err != nil, a.began)
		if a.fate == expired {
			lost = append(lost, a.at)
		}
	}
	if err != nil {
		return nil, err
	}
	return lost, nil
}

func (s *shared) carryOut(ctx context.Context, answers []*answer) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if len(answers) == 0 {
		return nil
	}
	url, err := s.address(ctx)
	if err != nil {
		return err
	}
	err = s.noteAll(ctx, answers)
	var deletes, changes []*answer
	for _, a := range answers {
		switch {
		case a.fate == settled:
		case a.Action == queue.Ack || a.Action == queue.Park && a.receipt.noted:
			deletes = append(deletes, a)
		case a.Action == queue.Extend || (a.Action == queue.Retry || a.Action == queue.Return) && a.receipt.noted:
			changes = append(changes, a)
		}
	}
	for batch := range slices.Chunk(deletes, maxBatch) {
		err = errors.Join(err, s.delete(ctx, url, batch))
	}
	for batch := range slices.Chunk(changes, maxBatch) {
		err = errors.Join(err, s.change(ctx, url, batch))
	}
	if err != nil {
		return fault.Wrap(fault.CodeOf(err), err, "settle messages")
	}
	return nil
}

// noteAll writes into the table what it has to know, a few at a time.
func (s *shared) noteAll(ctx context.Context, answers []*answer) error {
	errs := make([]error, len(answers))
	var group sync.WaitGroup
	slots := make(chan struct{}, maxBatch)
	for i, a := range answers {
		if a.fate == settled || a.Action == queue.Ack || a.Action == queue.Extend || a.receipt.noted {
			continue
		}
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			errs[i] = s.note(ctx, a.receipt, a.Settlement, now())
		})
	}
	group.Wait()
	return errors.Join(errs...)
}

// delete removes messages from SQS.
func (s *shared) delete(ctx context.Context, url *string, answers []*answer) error {
	in := &sqs.DeleteMessageBatchInput{QueueUrl: url}
	for i, a := range answers {
		in.Entries = append(in.Entries, types.DeleteMessageBatchRequestEntry{Id: aws.String(strconv.Itoa(i)), ReceiptHandle: aws.String(a.Receipt)})
	}
	out, err := s.client.DeleteMessageBatch(ctx, in)
	if err != nil {
		return s.failed(err, "delete messages")
	}
	for _, ok := range out.Successful {
		if at := position(ok.Id, len(answers)); at >= 0 {
			answers[at].fate = settled
		}
	}
	return s.judgeRefused(out.Failed, answers)
}

// judgeRefused marks entries whose receipts have expired, and fails for others that did not take effect.
func (s *shared) judgeRefused(refused []types.BatchResultErrorEntry, answers []*answer) error {
	var why error
	for _, e := range refused {
		at := position(e.Id, len(answers))
		if at < 0 {
			continue
		}
		if isExpired(e) {
			answers[at].fate = expired
			continue
		}
		why = refusal(e)
	}
	if why == nil && slices.ContainsFunc(answers, func(a *answer) bool { return a.fate == open }) {
		why = errors.New("SQS does not say what became of all entries")
	}
	return s.failed(why, "settle messages")
}

// change sets the visibility of messages.
func (s *shared) change(ctx context.Context, url *string, answers []*answer) error {
	began := now()
	for _, a := range answers {
		a.began = began
		// A delivery lasts twelve hours at most; what is asked for beyond that SQS would refuse.
		left := queue.MaxVisibility - began.Sub(a.receipt.received)
		a.seconds = min(wholeSeconds(a.After), int32(max(left, 0)/time.Second))
	}
	refused, err := s.changeOnce(ctx, url, answers)
	if err != nil {
		return err
	}
	// SQS counts from a moment that this process does not know exactly.
	var long []*answer
	rest := refused[:0]
	for _, e := range refused {
		if at := position(e.Id, len(answers)); at >= 0 && isTooLong(e) {
			answers[at].seconds = max(answers[at].seconds-2, 0)
			long = append(long, answers[at])
			continue
		}
		rest = append(rest, e)
	}
	if len(long) > 0 {
		if again, err := s.changeOnce(ctx, url, long); err != nil {
			return err
		} else if err := s.judgeRefused(again, long); err != nil {
			return err
		}
	}
	s.wakeAll(answers) //nolint:contextcheck // the delays end after this call
	return s.judgeRefused(rest, answers)
}

func (s *shared) changeOnce(ctx context.Context, url *string, answers []*answer) ([]types.BatchResultErrorEntry, error) {
	in := &sqs.ChangeMessageVisibilityBatchInput{QueueUrl: url}
	for i, a := range answers {
		in.Entries = append(in.Entries, types.ChangeMessageVisibilityBatchRequestEntry{
			Id: aws.String(strconv.Itoa(i)), ReceiptHandle: aws.String(a.Receipt), VisibilityTimeout: a.seconds,
		})
	}
	out, err := s.client.ChangeMessageVisibilityBatch(ctx, in)
	if err != nil {
		return nil, s.failed(err, "change visibility of messages")
	}
	for _, ok := range out.Successful {
		if at := position(ok.Id, len(answers)); at >= 0 {
			answers[at].fate = settled
		}
	}
	return out.Failed, nil
}

// wakeAll sees to it that a delay with a fraction of a second, which SQS was given as a whole one more, ends when it is over.
func (s *shared) wakeAll(answers []*answer) {
	for _, a := range answers {
		if a.fate != settled || a.Action == queue.Extend || a.After%time.Second == 0 {
			continue
		}
		end := a.began.Add(time.Duration(a.seconds) * time.Second)
		handle := a.Receipt
		time.AfterFunc(a.began.Add(a.After).Sub(now()), func() { s.wake(handle, end) })
	}
}

// wake makes a message visible, unless that time has come by itself. In vain, it comes when SQS's delay is over.
func (s *shared) wake(handle string, end time.Time) {
	if !now().Before(end) {
		return // the process was asleep; somebody else may have the message
	}
	ctx, cancel := context.WithDeadline(context.Background(), end)
	defer cancel()
	url, err := s.address(ctx)
	if err != nil {
		return
	}
	_, _ = s.client.ChangeMessageVisibility(ctx, &sqs.ChangeMessageVisibilityInput{QueueUrl: url, ReceiptHandle: aws.String(handle), VisibilityTimeout: 0})
}

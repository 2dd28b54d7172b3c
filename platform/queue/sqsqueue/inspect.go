package sqsqueue

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/queue"
	"github.com/riskprofiler/riskprofiler/platform/table"
)

// Inspect implements [queue.Driver]. See the package comment for what SQS cannot say.
func (d *Driver) Inspect(ctx context.Context, r queue.Inspect) (queue.Inspection, error) {
	if err := d.open(ctx, "inspect queue"); err != nil {
		return queue.Inspection{}, err
	}
	if err := d.needState(); err != nil {
		return queue.Inspection{}, err
	}
	if r.Limit > 0 {
		return d.page(ctx, r)
	}
	depth, err := d.depth(ctx)
	return queue.Inspection{Depth: depth}, err
}

func (s *shared) depth(ctx context.Context) (queue.Depth, error) {
	url, err := s.address(ctx)
	if err != nil {
		return queue.Depth{}, err
	}
	out, err := s.client.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: url, AttributeNames: []types.QueueAttributeName{
		types.QueueAttributeNameApproximateNumberOfMessages, types.QueueAttributeNameApproximateNumberOfMessagesNotVisible,
		types.QueueAttributeNameApproximateNumberOfMessagesDelayed,
	}})
	if err != nil {
		return queue.Depth{}, s.failed(err, "count messages")
	}
	count := func(name types.QueueAttributeName) int {
		n, _ := strconv.Atoi(out.Attributes[string(name)])
		return n
	}
	hidden := count(types.QueueAttributeNameApproximateNumberOfMessagesNotVisible)
	delayed := min(s.delayed(), hidden)
	found := queue.Depth{
		Visible:  count(types.QueueAttributeNameApproximateNumberOfMessages),
		InFlight: hidden - delayed,
		Delayed:  delayed + count(types.QueueAttributeNameApproximateNumberOfMessagesDelayed),
	}
	err = s.places(ctx, "", func(places []string) error {
		found.Parked += len(places)
		return nil
	})
	return found, err
}

// places goes through the keys of the parked, up to last or all of them.
func (s *shared) places(ctx context.Context, last string, visit func([]string) error) error {
	q := table.Query{Partition: s.name, KeysOnly: true}
	if last != "" {
		q.Before = last + "~" // above every id of SQS behind it, which is of letters, digits and dashes
	}
	for {
		page, err := s.state.Query(ctx, q)
		if err != nil {
			return err
		}
		places := make([]string, len(page.Items))
		for i, item := range page.Items {
			places[i] = item.Key.Sort
		}
		if err := visit(places); err != nil {
			return err
		}
		if q.PageToken = page.NextPageToken; q.PageToken == "" {
			return nil
		}
	}
}

// page lists parked messages in the order in which they were parked.
func (s *shared) page(ctx context.Context, r queue.Inspect) (queue.Inspection, error) {
	page, err := s.state.Query(ctx, table.Query{Partition: s.name, KeysOnly: true, Limit: r.Limit, PageToken: r.PageToken})
	if err != nil {
		return queue.Inspection{}, err
	}
	found := queue.Inspection{NextPageToken: page.NextPageToken}
	ids := make([]string, len(page.Items))
	for i, item := range page.Items {
		ids[i] = idOf(item.Key.Sort)
	}
	states, err := s.states(ctx, ids)
	if err != nil {
		return queue.Inspection{}, err
	}
	for _, id := range ids {
		if st := states[id]; st.Message != nil { // else it was sent again meanwhile
			found.Parked = append(found.Parked, st.parked(id))
		}
	}
	return found, nil
}

func (st state) parked(id string) queue.ParkedMessage {
	p := st.Message
	return queue.ParkedMessage{
		Message: queue.Message{
			ID: id, Group: p.Group, DedupID: p.DedupID, Body: p.Body, Attributes: p.Attributes, Attempt: st.Failures,
			SentAt: time.UnixMilli(p.SentAt).UTC(),
		},
		Error: st.Error, TraceID: st.TraceID, ParkedAt: time.UnixMilli(p.ParkedAt).UTC(),
	}
}

// Redrive implements [queue.Driver]. A message is sent before it leaves the table; should the process end in between, the same
// call within five minutes sends it no second time, a later one does.
func (d *Driver) Redrive(ctx context.Context, ids []string) (int, error) {
	if err := d.open(ctx, "redrive queue"); err != nil {
		return 0, err
	}
	if err := d.needState(); err != nil {
		return 0, err
	}
	if len(ids) > 0 {
		return d.redriveAll(ctx, ids)
	}
	newest, err := d.state.Query(ctx, table.Query{Partition: d.name, KeysOnly: true, Descending: true, Limit: 1})
	if err != nil || len(newest.Items) == 0 {
		return 0, err
	}
	total := 0
	err = d.places(ctx, newest.Items[0].Key.Sort, func(places []string) error {
		some := make([]string, len(places))
		for i, place := range places {
			some[i] = idOf(place)
		}
		n, err := d.redriveAll(ctx, some)
		total += n
		return err
	})
	return total, err
}

// redriveAll sends those of the ids again that are parked.
func (s *shared) redriveAll(ctx context.Context, ids []string) (total int, err error) {
	seen := map[string]bool{"": true}
	var some []string
	for i, id := range ids {
		// What SQS gave is short; other texts make no key and are no message's.
		if !seen[id] && len(id) <= 100 && isLegal([]byte(id)) {
			seen[id] = true
			some = append(some, id)
		}
		if len(some) < table.MaxGetItems && i < len(ids)-1 {
			continue
		}
		n, err := s.redriveSome(ctx, some)
		total += n
		if err != nil {
			return total, err
		}
		some = some[:0]
	}
	return total, nil
}

// redriveSome sends up to a page of messages: those of a group after each other, groups beside each other.
func (s *shared) redriveSome(ctx context.Context, ids []string) (total int, err error) {
	states, err := s.states(ctx, ids)
	if err != nil {
		return 0, err
	}
	groups := map[string][]string{}
	for _, id := range ids {
		if st := states[id]; st.Parked != "" && st.Message != nil {
			groups[st.Message.Group] = append(groups[st.Message.Group], id)
		}
	}
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, members := range groups {
		all.Go(func() {
			for _, id := range members {
				sent, one := s.redriveOne(ctx, id, states[id])
				mu.Lock()
				if sent {
					total++
				}
				err = errors.Join(err, one)
				mu.Unlock()
				if one != nil {
					return // the later ones of its group stay behind it
				}
			}
		})
	}
	all.Wait()
	if err != nil {
		return total, fault.Wrap(fault.CodeOf(err), err, "redrive queue %s", s.full)
	}
	return total, nil
}

// redriveOne sends a message under an id that belongs to this parking of it, and then takes it out of the table.
func (s *shared) redriveOne(ctx context.Context, id string, st state) (bool, error) {
	p := st.Message
	sum := sha256.Sum256([]byte(s.name + "\x00" + st.Parked))
	//nolint:contextcheck // the trace is the message's, not the caller's
	entry := encode(queue.Message{Group: p.Group, Body: p.Body, Attributes: p.Attributes})
	entry.MessageDeduplicationId = aws.String(ownDedup + hex.EncodeToString(sum[:16]))
	if err := s.sender.send(ctx, []types.SendMessageBatchRequestEntry{entry}); err != nil {
		return false, err
	}
	over := state{Over: true, Last: st.Last, revision: st.revision}
	w, err := s.put(id, over, now())
	if err != nil {
		return false, err
	}
	err = s.state.Write(ctx, table.Write{Delete: true, Item: table.Item{Key: s.parkedKey(st.Parked)}, If: table.Any}, w)
	if errors.Is(err, fault.Conflict) {
		return false, nil // another call did the same
	}
	return err == nil, err
}

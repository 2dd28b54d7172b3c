package sqsqueue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/queue"
	"github.com/riskprofiler/riskprofiler/platform/table"
)

// The items of a queue in the table, and who reads them:
//
//	<queue>/<message id>, "state"          a message that was answered with anything but Ack: Receive, Settle, Inspect, Redrive
//	<queue>, <when it was parked>/<id>     that it is parked, no more than the key: Inspect (a page, a count), Redrive (all)

// stateKey is the sort key of a state.
const stateKey = "state"

// stateLifetime is how long a state is kept: longer than SQS keeps the message, at most 14 days
// (https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html).
const stateLifetime = 15 * 24 * time.Hour

// state is what is known of a message beside what SQS knows.
type state struct {
	// Answered counts deliveries that ended with Retry or Return, Failures the former.
	Answered int `json:"answered,omitempty"`
	Failures int `json:"failures,omitempty"`
	// Last is SQS's receive count of the delivery that was answered last: an answer that is given again is known by it.
	Last int `json:"last,omitempty"`
	// Error and TraceID are of the latest failure.
	Error   string `json:"error,omitempty"`
	TraceID string `json:"trace_id,omitempty"`
	// Parked is the sort key of its place among the parked, Message what was parked.
	Parked  string         `json:"parked,omitempty"`
	Message *parkedMessage `json:"message,omitempty"`
	// Over says that the message was parked and sent again as another. Should it still be in SQS, it is to go.
	Over bool `json:"over,omitempty"`

	revision int64
}

// parkedMessage is a message in the table.
type parkedMessage struct {
	Group      string            `json:"group"`
	DedupID    string            `json:"dedup_id,omitempty"`
	Body       []byte            `json:"body,omitempty"`
	Attributes map[string]string `json:"attributes,omitempty"`
	SentAt     int64             `json:"sent_at"`   // Unix milliseconds
	ParkedAt   int64             `json:"parked_at"` // Unix milliseconds
}

func (s *shared) stateKey(id string) table.Key {
	return table.Key{Partition: s.name + "/" + id, Sort: stateKey}
}

func (s *shared) parkedKey(place string) table.Key {
	return table.Key{Partition: s.name, Sort: place}
}

// placeOf makes the next place among the parked: by time, and each of this process behind the one before.
func (s *shared) placeOf(id string, now time.Time) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stamp = max(s.stamp+1, now.UnixNano())
	return fmt.Sprintf("%020d/%s", s.stamp, id)
}

// idOf is the message's id in a place.
func idOf(place string) string {
	_, id, _ := strings.Cut(place, "/")
	return id
}

// states reads the states of messages, by id. One that was never written is missing.
func (s *shared) states(ctx context.Context, ids []string) (map[string]state, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	if err := s.needState(); err != nil {
		return nil, err
	}
	keys := make([]table.Key, len(ids))
	for i, id := range ids {
		keys[i] = s.stateKey(id)
	}
	items, err := s.state.GetAll(ctx, keys)
	if err != nil {
		return nil, err
	}
	found := make(map[string]state, len(items))
	for _, item := range items {
		id := strings.TrimPrefix(item.Key.Partition, s.name+"/")
		if found[id], err = parseState(item); err != nil {
			return nil, err
		}
	}
	return found, nil
}

func parseState(item table.Item) (state, error) {
	var st state
	if err := json.Unmarshal(item.Value, &st); err != nil {
		return state{}, fault.Wrap(fault.DataLoss, err, "read state of message %s", item.Key.Partition)
	}
	st.revision = item.Revision
	return st, nil
}

// put is the write of a state over the revision that it was made from.
func (s *shared) put(id string, st state, now time.Time) (table.Write, error) {
	value, err := json.Marshal(st)
	if err != nil {
		return table.Write{}, fault.Wrap(fault.Internal, err, "encode state of message")
	}
	w := table.Write{Item: table.Item{Key: s.stateKey(id), Value: value}, If: table.Condition(st.revision)}
	if st.Parked == "" {
		w.Item.Expires = now.Add(stateLifetime)
	}
	return w, nil
}

// note records that the delivery r was answered with a. It may be called again for the same answer.
func (s *shared) note(ctx context.Context, r *receipt, a queue.Settlement, now time.Time) error {
	if r.noted {
		return nil
	}
	if err := s.needState(); err != nil {
		return err
	}
	err := s.write(ctx, r, a, now)
	if !errors.Is(err, fault.Conflict) {
		return err
	}
	// Somebody wrote since this delivery was received: this process, in a call whose answer was lost, or the receive count
	// was too low.
	item, err := s.state.Get(ctx, s.stateKey(r.message.ID))
	if err != nil && !errors.Is(err, fault.NotFound) {
		return err
	}
	r.state = state{}
	if err == nil {
		if r.state, err = parseState(item); err != nil {
			return err
		}
	}
	if r.state.Last >= r.count || r.state.Parked != "" || r.state.Over {
		r.noted = true
		return nil
	}
	return s.write(ctx, r, a, now)
}

// write applies the answer to the state that is known.
func (s *shared) write(ctx context.Context, r *receipt, a queue.Settlement, now time.Time) error {
	next := r.state
	next.Last = r.count
	if a.Action == queue.Return {
		next.Answered++
		return s.store(ctx, r, next, now)
	}
	next.Failures++
	next.Error, next.TraceID = a.Error, a.TraceID
	if a.Action == queue.Retry {
		next.Answered++
		return s.store(ctx, r, next, now)
	}
	if r.place == "" {
		r.place = s.placeOf(r.message.ID, now) // the same when it has to be written again
	}
	m := r.message
	next.Parked = r.place
	next.Message = &parkedMessage{
		Group: m.Group, DedupID: m.DedupID, Body: m.Body, Attributes: m.Attributes, SentAt: m.SentAt.UnixMilli(), ParkedAt: now.UnixMilli(),
	}
	return s.store(ctx, r, next, now, table.Write{Item: table.Item{Key: s.parkedKey(r.place)}, If: table.Any})
}

func (s *shared) store(ctx context.Context, r *receipt, next state, now time.Time, others ...table.Write) error {
	w, err := s.put(r.message.ID, next, now)
	if err != nil {
		return err
	}
	if err := s.state.Write(ctx, append(others, w)...); err != nil {
		return err
	}
	r.noted = true
	return nil
}

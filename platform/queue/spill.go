package queue

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"maps"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/blob"
	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// spillTenant is the first segment of the keys of spilled bodies. They belong to the queue and go
// when the message is acknowledged; a lifecycle rule on this prefix removes what a crash left.
const spillTenant = "spill"

// spilled is the body that a message has in the queue while its own lies in a blob. It takes the
// sender's attributes along, so that the mark does not need an eleventh one.
type spilled struct {
	Key        string            `json:"key"`
	Attributes map[string]string `json:"attributes,omitempty"`
}

// saltBytes come before a spilled body in its blob.
const saltBytes = 16

// spillBody puts the body into the bucket and a pointer into its place. The blob begins with a
// salt, so that each message owns its blob though the key is the content's hash: acknowledging one
// message cannot take the body from another that has the same content.
func (q *Queue) spillBody(ctx context.Context, m *Message) error {
	data := make([]byte, saltBytes, saltBytes+len(m.Body))
	_, _ = rand.Read(data) // never fails: crypto/rand ends the process instead
	data = append(data, m.Body...)
	key := blob.ContentKey(spillTenant, q.name, data)
	if err := q.spill.Put(ctx, key, data); err != nil {
		return err
	}
	pointer := spilled{Key: key, Attributes: map[string]string{}}
	outer := map[string]string{spilledKey: "1"}
	for name, value := range m.Attributes {
		if name == traceparentKey || name == tracestateKey {
			outer[name] = value
		} else {
			pointer.Attributes[name] = value
		}
	}
	body, err := json.Marshal(pointer)
	if err != nil {
		return fault.Wrap(fault.Internal, err, "encode spilled message")
	}
	m.Body, m.Attributes = body, outer
	return nil
}

// pointerOf reads the pointer of a message whose body was spilled.
func pointerOf(m Message) (spilled, bool, error) {
	if m.Attributes[spilledKey] == "" {
		return spilled{}, false, nil
	}
	var p spilled
	if err := json.Unmarshal(m.Body, &p); err != nil {
		return spilled{}, true, fault.Wrap(fault.DataLoss, err, "read pointer of spilled message %s", m.ID)
	}
	return p, true, nil
}

// restore turns a stored message into what its sender gave. key is the blob of its body, if it has
// one. On an error the message has what could be had.
func (q *Queue) restore(ctx context.Context, m *Message) (key string, err error) {
	p, isSpilled, err := pointerOf(*m)
	if !isSpilled {
		m.Attributes = withoutTrace(m.Attributes)
		return "", nil
	}
	m.Body, m.Attributes = nil, p.Attributes
	if err != nil {
		return "", err
	}
	if q.spill == nil {
		return p.Key, fault.New(fault.FailedPrecondition, "read body of message %s: it lies in blob %s and the queue has no spill bucket", m.ID, p.Key)
	}
	data, err := q.spill.Get(ctx, p.Key)
	if err != nil {
		return p.Key, fault.Wrap(fault.CodeOf(err), err, "read body of message %s", m.ID)
	}
	if len(data) < saltBytes {
		return p.Key, fault.New(fault.DataLoss, "read body of message %s: blob %s is too short", m.ID, p.Key)
	}
	m.Body = data[saltBytes:]
	return p.Key, nil
}

// describeParked is restore for a listing, which does not fetch bodies.
func (q *Queue) describeParked(m *ParkedMessage) {
	p, isSpilled, _ := pointerOf(m.Message) // a damaged pointer leaves the key empty
	if !isSpilled {
		m.Attributes = withoutTrace(m.Attributes)
		return
	}
	m.Body, m.Attributes, m.BodyKey = nil, p.Attributes, p.Key
}

// forget deletes the blob of an acknowledged message. A failure leaves an orphan and is no more
// than logged: the message is done.
func (q *Queue) forget(ctx context.Context, m Message, key string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := q.spill.Delete(ctx, key); err != nil {
		q.log.WarnContext(ctx, "spilled body was left behind", "queue", q.name, "message", m.ID, "blob", key, "error", err)
	}
}

// withoutTrace hides the trace context, which travels in the handler's context. A message without
// attributes of its own has a nil map, as it was sent.
func withoutTrace(attributes map[string]string) map[string]string {
	own := maps.Clone(attributes)
	delete(own, traceparentKey)
	delete(own, tracestateKey)
	if len(own) == 0 {
		return nil
	}
	return own
}

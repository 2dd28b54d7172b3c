package queuetest

import (
	"bytes"
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/riskprofiler/riskprofiler/platform/blob"
	"github.com/riskprofiler/riskprofiler/platform/blob/fileblob"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/queue"
)

var spillCases = []testCase{
	{"LargeBodySpills", largeBodySpills},
	{"SpillFirst", spillFirst},
	{"SpilledBodiesAreApart", spilledBodiesAreApart},
	{"SpilledBodyIsGone", spilledBodyIsGone},
	{"SpillBucketIsDown", spillBucketIsDown},
	{"LateAnswerKeepsTheBody", lateAnswerKeepsTheBody},
	{"SpilledMessageWithoutBucket", spilledMessageWithoutBucket},
}

func bucket(t testing.TB) *fileblob.Bucket {
	t.Helper()
	b, err := fileblob.Open(t.Context(), fileblob.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func keysIn(t testing.TB, b blob.Bucket) []string {
	t.Helper()
	objects, _, err := b.List(t.Context(), "", "", 0)
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, o := range objects {
		keys = append(keys, o.Key)
	}
	return keys
}

// large is a message whose body does not fit.
func large(group string, n int) queue.Message {
	m := message(group, n)
	m.Body = append(m.Body, bytes.Repeat([]byte{0, 255}, queue.MaxBodyBytes)...)
	return m
}

func largeBodySpills(t *testing.T, h Harness) {
	b := bucket(t)
	q := queue.New(h.Queue("jobs"), queue.Options{Name: "jobs", Spill: b})
	sent := []queue.Message{large("g", 1), message("g", 2), large("g", 3)}
	sent[1].Body = make([]byte, queue.MaxBodyBytes)
	sent[2].Body = sent[2].Body[:queue.MaxBodyBytes+1]
	for i := range sent {
		sent[i].Attributes = map[string]string{}
		attributes(queue.MaxAttributes)(&sent[i])
	}
	if err := q.Send(t.Context(), sent...); err != nil {
		t.Fatalf("Send: %v", err)
	}
	keys := keysIn(t, b)
	if len(keys) != 2 || !strings.HasPrefix(keys[0], "spill/jobs/") {
		t.Errorf("blobs after sending: %v; want two in spill/jobs/", keys)
	}
	var got []queue.Message
	failed := false
	stop := start(t, q, func(_ context.Context, m queue.Message) error {
		if !failed {
			failed = true
			return errPoison // the body is still there at the second attempt
		}
		m.ID, m.Attempt, m.SentAt = "", 0, time.Time{}
		got = append(got, m)
		return nil
	})
	time.Sleep(time.Minute)
	stop()
	if diff := cmp.Diff(sent, got); diff != "" {
		t.Errorf("messages (-sent +handled):\n%s", diff)
	}
	if keys := keysIn(t, b); len(keys) != 0 {
		t.Errorf("blobs of acknowledged messages are left: %v", keys)
	}
}

// The body is stored before the message that names it.
func spillFirst(t *testing.T, h Harness) {
	d := h.Queue("jobs")
	broken := &flakyBucket{Bucket: bucket(t)}
	q := queue.New(d, queue.Options{Name: "jobs", Spill: broken})
	broken.put.Store(true)
	wantCode(t, "Send while the bucket is down", q.Send(t.Context(), large("g", 1)), fault.Unavailable)
	wantDepth(t, d, queue.Depth{})
	broken.put.Store(false)
	if err := q.Send(t.Context(), large("g", 1)); err != nil {
		t.Errorf("Send again: %v", err)
	}
	m := large("g", 2)
	m.Body = make([]byte, queue.MaxSpillBytes+1)
	wantCode(t, "Send of more than an object", q.Send(t.Context(), m), fault.Invalid)
}

// Two messages with the same content do not share a blob: the end of one is not that of the other.
func spilledBodiesAreApart(t *testing.T, h Harness) {
	b := bucket(t)
	q := queue.New(h.Queue("jobs"), queue.Options{Name: "jobs", Spill: b, Backoff: func(int) time.Duration { return time.Minute }})
	one, two := large("a", 1), large("a", 1)
	two.Group = "b"
	if err := q.Send(t.Context(), one, two); err != nil {
		t.Fatal(err)
	}
	var j journal
	start(t, q, func(_ context.Context, m queue.Message) error {
		j.add("%s attempt %d, %d bytes", m.Group, m.Attempt, len(m.Body))
		if m.Group == "b" && m.Attempt == 1 {
			return errPoison
		}
		return nil
	})
	time.Sleep(2 * time.Minute)
	synctest.Wait()
	if got := j.all(); len(got) != 3 || got[2] != "b attempt 2, 131075 bytes" {
		t.Errorf("what happened: %v", got)
	}
}

func spilledBodyIsGone(t *testing.T, h Harness) {
	b := bucket(t)
	var j journal
	q := queue.New(h.Queue("jobs"), queue.Options{Name: "jobs", Spill: b, OnParked: func(_ context.Context, m queue.Message, cause error) error {
		j.add("OnParked %s %v: %v", m.Group, m.Attributes, fault.CodeOf(cause))
		return nil
	}})
	m := large("g", 1)
	m.Attributes = map[string]string{"step": "7"}
	if err := q.Send(t.Context(), m, message("g", 2)); err != nil {
		t.Fatal(err)
	}
	key := keysIn(t, b)[0]
	if err := b.Delete(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	start(t, q, func(_ context.Context, m queue.Message) error {
		j.add("handler %s", m.Body)
		return nil
	})
	j.want(t, "OnParked g map[step:7]: not found", "handler g/2")
	parked := parkedOf(t, q)
	if len(parked) != 1 || parked[0].BodyKey != key || parked[0].Body != nil || parked[0].Attributes["step"] != "7" {
		t.Errorf("parked: %+v; want blob %s", parked, key)
	}
}

// A bucket that is down is not the message's fault.
func spillBucketIsDown(t *testing.T, h Harness) {
	broken := &flakyBucket{Bucket: bucket(t)}
	q := queue.New(h.Queue("jobs"), queue.Options{Name: "jobs", Spill: broken, Backoff: func(int) time.Duration { return time.Minute }})
	if err := q.Send(t.Context(), large("g", 1)); err != nil {
		t.Fatal(err)
	}
	broken.get.Store(true)
	var j journal
	start(t, q, func(_ context.Context, m queue.Message) error {
		j.add("%s attempt %d", m.Body[:3], m.Attempt)
		return nil
	})
	time.Sleep(5 * time.Minute)
	j.want(t)
	broken.get.Store(false)
	time.Sleep(time.Minute)
	j.want(t, "g/1 attempt 1")
}

// An answer that came too late had no effect, so the body must still be there for the next attempt.
func lateAnswerKeepsTheBody(t *testing.T, h Harness) {
	q := queue.New(&hasty{h.Queue("jobs")}, queue.Options{Name: "jobs", Spill: bucket(t), Visibility: time.Minute, Concurrency: 1})
	if err := q.Send(t.Context(), large("g", 1), message("g", 2)); err != nil {
		t.Fatal(err)
	}
	var j journal
	slow := true
	start(t, q, func(_ context.Context, m queue.Message) error {
		if slow {
			slow = false
			time.Sleep(10 * time.Second)
		}
		j.add("%s, %d bytes", m.Body[:3], len(m.Body))
		return nil
	})
	time.Sleep(time.Minute)
	j.want(t, "g/1, 131075 bytes", "g/1, 131075 bytes", "g/2, 3 bytes")
}

// hasty is a driver whose visibility is shorter than it was asked for.
type hasty struct{ queue.Driver }

// Receive hides messages for a tenth of the time.
func (d *hasty) Receive(ctx context.Context, limit int, visibility time.Duration) ([]queue.Delivery, error) {
	return d.Driver.Receive(ctx, limit, visibility/10)
}

func spilledMessageWithoutBucket(t *testing.T, h Harness) {
	d := h.Queue("jobs")
	if err := queue.New(d, queue.Options{Name: "jobs", Spill: bucket(t)}).Send(t.Context(), large("g", 1)); err != nil {
		t.Fatal(err)
	}
	var j journal
	q := queue.New(d, queue.Options{Name: "jobs"})
	stop := start(t, q, func(_ context.Context, m queue.Message) error {
		j.add("%s", m.Body)
		return nil
	})
	time.Sleep(5 * time.Minute)
	stop()
	j.want(t)
	if got := depthOf(t, q); got.Visible+got.Delayed != 1 {
		t.Errorf("depth %+v; the message waits for a consumer that has the bucket", got)
	}
}

// flakyBucket can be made to fail.
type flakyBucket struct {
	blob.Bucket
	put, get atomic.Bool
}

// Put fails as told.
func (b *flakyBucket) Put(ctx context.Context, key string, data []byte) error {
	if b.put.Load() {
		return errBroken
	}
	return b.Bucket.Put(ctx, key, data)
}

// Get fails as told.
func (b *flakyBucket) Get(ctx context.Context, key string) ([]byte, error) {
	if b.get.Load() {
		return nil, errBroken
	}
	return b.Bucket.Get(ctx, key)
}

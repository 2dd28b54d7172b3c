package lambdalocal_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/riskprofiler/riskprofiler/test/aws/lambdalocal"
)

const (
	queueARN   = "arn:aws:sqs:eu-west-1:123456789012:rp-results.fifo"
	visibility = 30 * time.Second
)

// fifo is a FIFO queue in memory with the rules that a mapping relies on.
type fifo struct {
	mu       sync.Mutex
	messages []*held
}

type held struct {
	m       types.Message
	group   string
	visible time.Time
	count   int
}

func (q *fifo) send(id, group, body string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.messages = append(q.messages, &held{group: group, m: types.Message{
		MessageId: aws.String(id), Body: aws.String(body), MessageAttributes: map[string]types.MessageAttributeValue{
			"traceparent": {DataType: aws.String("String"), StringValue: aws.String("00-1-2-01")},
		},
	}})
}

func (q *fifo) Receive(ctx context.Context, limit int, wait time.Duration) ([]types.Message, error) {
	for end := time.Now().Add(wait); ; {
		if got := q.take(limit); len(got) > 0 || !time.Now().Before(end) {
			return got, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(time.Second):
		}
	}
}

func (q *fifo) take(limit int) (out []types.Message) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	blocked := map[string]bool{}
	for _, h := range q.messages {
		blocked[h.group] = blocked[h.group] || now.Before(h.visible)
	}
	for _, h := range q.messages {
		if blocked[h.group] || len(out) == limit {
			continue
		}
		h.count++
		h.visible = now.Add(visibility)
		m := h.m
		m.ReceiptHandle = aws.String(*m.MessageId + "#" + strconv.Itoa(h.count))
		m.Attributes = map[string]string{"MessageGroupId": h.group, "ApproximateReceiveCount": strconv.Itoa(h.count)}
		out = append(out, m)
	}
	return out
}

func (q *fifo) Delete(_ context.Context, receipts []string) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.messages = slices.DeleteFunc(q.messages, func(h *held) bool {
		return slices.Contains(receipts, *h.m.MessageId+"#"+strconv.Itoa(h.count))
	})
	return nil
}

func (q *fifo) left() (ids []string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, h := range q.messages {
		ids = append(ids, *h.m.MessageId)
	}
	return ids
}

type sqsEvent struct {
	Records []struct {
		MessageID  string `json:"messageId"`
		Body       string `json:"body"`
		Attributes map[string]string
	}
}

// poll runs a mapping with a function for a time.
func poll(t *testing.T, q *fifo, m lambdalocal.Mapping, d time.Duration) lambdalocal.PollerStats {
	t.Helper()
	m.Source, m.QueueARN, m.Function, m.Visibility = q, queueARN, "f:live", visibility
	p, err := lambdalocal.NewPoller(m)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	p.Run(ctx)
	return p.Stats()
}

func TestEventHasTheDocumentedShape(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &fifo{}
		q.send("m1", "g", "hello")
		var got string
		poll(t, q, lambdalocal.Mapping{Invoke: func(_ context.Context, in lambdalocal.Invocation) (lambdalocal.Result, error) {
			got = string(in.Payload)
			return lambdalocal.Result{}, nil
		}}, time.Second)
		want := `{"Records":[{"messageId":"m1","receiptHandle":"m1#1","body":"hello",` +
			`"attributes":{"ApproximateReceiveCount":"1","MessageGroupId":"g"},` +
			`"messageAttributes":{"traceparent":{"stringValue":"00-1-2-01","stringListValues":[],"binaryListValues":[],"dataType":"String"}},` +
			`"md5OfBody":"5d41402abc4b2a76b9719d911017c592","eventSource":"aws:sqs","eventSourceARN":"` + queueARN + `","awsRegion":"eu-west-1"}]}`
		if got != want {
			t.Errorf("event is\n%s\nwant\n%s", got, want)
		}
	})
}

func TestWhatAnAnswerMeans(t *testing.T) {
	for name, tt := range map[string]struct {
		answer, functionError string
		left                  []string
	}{
		"empty":           {},
		"null":            {answer: "null"},
		"empty object":    {answer: "{}"},
		"null list":       {answer: `{"batchItemFailures":null}`},
		"empty list":      {answer: `{"batchItemFailures":[]}`},
		"two failed":      {answer: `{"batchItemFailures":[{"itemIdentifier":"b"},{"itemIdentifier":"c"}]}`, left: []string{"b", "c"}},
		"no JSON":         {answer: `oops`, left: []string{"a", "b", "c"}},
		"other JSON":      {answer: `[]`, left: []string{"a", "b", "c"}},
		"empty id":        {answer: `{"batchItemFailures":[{"itemIdentifier":""}]}`, left: []string{"a", "b", "c"}},
		"null id":         {answer: `{"batchItemFailures":[{"itemIdentifier":null}]}`, left: []string{"a", "b", "c"}},
		"other key":       {answer: `{"batchItemFailures":[{"messageId":"b"}]}`, left: []string{"a", "b", "c"}},
		"unknown id":      {answer: `{"batchItemFailures":[{"itemIdentifier":"b"},{"itemIdentifier":"x"}]}`, left: []string{"a", "b", "c"}},
		"function failed": {answer: `{"errorType":"E"}`, functionError: "Unhandled", left: []string{"a", "b", "c"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := &fifo{}
				for _, id := range []string{"a", "b", "c"} {
					q.send(id, "g"+id, "x")
				}
				s := poll(t, q, lambdalocal.Mapping{Invoke: func(context.Context, lambdalocal.Invocation) (lambdalocal.Result, error) {
					return lambdalocal.Result{Payload: []byte(tt.answer), FunctionError: tt.functionError}, nil
				}}, time.Second)
				if !slices.Equal(q.left(), tt.left) || s.Deleted != 3-len(tt.left) || s.Failed != len(tt.left) {
					t.Errorf("%v are left, want %v; %+v", q.left(), tt.left, s)
				}
			})
		})
	}
}

// TestFailedMessagesComeAgainInOrder: what failed comes again after its visibility timeout, and before what is behind it.
func TestFailedMessagesComeAgainInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &fifo{}
		for i := range 3 {
			q.send(fmt.Sprint("m", i), "one", "x")
		}
		q.send("other", "two", "x")
		began := time.Now()
		var seen []string
		poll(t, q, lambdalocal.Mapping{BatchSize: 1, Invoke: func(_ context.Context, in lambdalocal.Invocation) (lambdalocal.Result, error) {
			var e sqsEvent
			_ = json.Unmarshal(in.Payload, &e)
			r := e.Records[0]
			seen = append(seen, fmt.Sprintf("%s try %s at %s", r.MessageID, r.Attributes["ApproximateReceiveCount"], time.Since(began)))
			if r.MessageID == "m0" && r.Attributes["ApproximateReceiveCount"] == "1" {
				return lambdalocal.Result{Payload: []byte(`{"batchItemFailures":[{"itemIdentifier":"m0"}]}`)}, nil
			}
			return lambdalocal.Result{}, nil
		}}, time.Minute)
		slices.Sort(seen)
		for i, want := range []string{"m0 try 1 at 0s", "m0 try 2 at 30s", "m1 try 1 at 3", "m2 try 1 at 3", "other try 1 at 0s"} {
			if i >= len(seen) || !strings.HasPrefix(seen[i], want) {
				t.Fatalf("saw %q, want %q at %d", seen, want, i)
			}
		}
	})
}

func TestConcurrencyAndBatchesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &fifo{}
		for i := range 100 {
			q.send(fmt.Sprintf("m%03d", i), fmt.Sprint("g", i%50), "x")
		}
		s := poll(t, q, lambdalocal.Mapping{MaxConcurrency: 3, BatchSize: 5, Invoke: func(context.Context, lambdalocal.Invocation) (lambdalocal.Result, error) {
			time.Sleep(100 * time.Millisecond)
			return lambdalocal.Result{}, nil
		}}, time.Minute)
		if s.MostAtOnce != 3 || s.LargestBatch != 5 || s.Messages != 100 || s.Deleted != 100 || len(q.left()) != 0 {
			t.Errorf("got %+v, left %v", s, q.left())
		}
	})
}

// TestThrottledBatches are tried again until the messages would be visible, and not dropped.
func TestThrottledBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &fifo{}
		q.send("m", "g", "x")
		busyUntil, began := time.Now().Add(45*time.Second), time.Now()
		var at time.Duration
		s := poll(t, q, lambdalocal.Mapping{Invoke: func(context.Context, lambdalocal.Invocation) (lambdalocal.Result, error) {
			if time.Now().Before(busyUntil) {
				return lambdalocal.Result{}, fmt.Errorf("invoke: %w", lambdalocal.ErrThrottled)
			}
			at = time.Since(began)
			return lambdalocal.Result{}, nil
		}}, 2*time.Minute)
		if s.Batches != 2 || s.Failed != 1 || s.Deleted != 1 || s.Throttled < 5 || at < 45*time.Second || at > 60*time.Second {
			t.Errorf("invoked after %s, %+v", at, s)
		}
	})
}

// TestPollerOverAFunction joins the poller with a real process.
func TestPollerOverAFunction(t *testing.T) {
	l := start(t, lambdalocal.Function{Aliases: []string{"live"}, Timeout: 10 * time.Second}, lambdalocal.Options{})
	q := &fifo{}
	for _, id := range []string{"a", "b"} {
		q.send(id, id, "x")
	}
	p, err := lambdalocal.NewPoller(lambdalocal.Mapping{Source: q, QueueARN: queueARN, Function: "f:live", Visibility: visibility, Wait: time.Second,
		Invoke: func(ctx context.Context, in lambdalocal.Invocation) (lambdalocal.Result, error) {
			var e sqsEvent
			if err := json.Unmarshal(in.Payload, &e); err != nil || len(e.Records) != 2 {
				t.Errorf("event %s: %v", in.Payload, err)
			}
			in.Payload = []byte(`{"do":"echo","echo":{"batchItemFailures":[{"itemIdentifier":"b"}]}}`)
			return l.Invoke(ctx, in)
		}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { p.Run(ctx); close(ended) }()
	for p.Stats().Deleted == 0 && t.Context().Err() == nil {
		time.Sleep(time.Millisecond)
	}
	cancel()
	<-ended
	if !slices.Equal(q.left(), []string{"b"}) {
		t.Errorf("%v are left, want b", q.left())
	}
}

func TestTickInvokesAtItsInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // its clock begins on 1 January 2000
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute+time.Second)
		defer cancel()
		got := map[string]int{}
		lambdalocal.Tick(ctx, func(_ context.Context, in lambdalocal.Invocation) (lambdalocal.Result, error) {
			got[in.Function+" "+string(in.Payload)]++
			return lambdalocal.Result{FunctionError: "Unhandled"}, nil
		}, "scheduler:live", "tick", time.Minute, nil)
		want := map[string]int{
			`scheduler:live {"schedule":"tick","time":"2000-01-01T00:01:00Z"}`: 1, `scheduler:live {"schedule":"tick","time":"2000-01-01T00:02:00Z"}`: 1,
		}
		if !maps.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}

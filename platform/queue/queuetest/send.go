package queuetest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/queue"
)

var sendCases = []testCase{
	{"SendLimits", sendLimits},
	{"SendChecksAllFirst", sendChecksAllFirst},
	{"SendManyAtOnce", sendManyAtOnce},
	{"SendLeavesTheMessageAlone", sendLeavesTheMessageAlone},
}

// with makes a valid message and changes it.
func with(change func(m *queue.Message)) queue.Message {
	m := queue.Message{Group: "g", Body: []byte("x"), Attributes: map[string]string{}}
	change(&m)
	return m
}

func attributes(n int) func(*queue.Message) {
	return func(m *queue.Message) {
		for i := range n {
			m.Attributes[fmt.Sprint("a", i)] = "v"
		}
	}
}

func attr(name, value string) func(*queue.Message) {
	return func(m *queue.Message) { m.Attributes[name] = value }
}

func sendLimits(t *testing.T, h Harness) {
	long := func(n int) string { return strings.Repeat("n", n) }
	tests := []struct {
		name   string
		change func(m *queue.Message)
		valid  bool
	}{
		{"empty body", func(m *queue.Message) { m.Body = nil }, true},
		{"body at the limit", func(m *queue.Message) { m.Body = make([]byte, queue.MaxBodyBytes) }, true},
		{"body above the limit", func(m *queue.Message) { m.Body = make([]byte, queue.MaxBodyBytes+1) }, false},
		{"no group", func(m *queue.Message) { m.Group = "" }, false},
		{"group at the limit", func(m *queue.Message) { m.Group = long(queue.MaxGroupBytes) }, true},
		{"group above the limit", func(m *queue.Message) { m.Group = long(queue.MaxGroupBytes + 1) }, false},
		{"group with a space", func(m *queue.Message) { m.Group = "a b" }, false},
		{"group with a newline", func(m *queue.Message) { m.Group = "a\n" }, false},
		{"group that is not ASCII", func(m *queue.Message) { m.Group = "ä" }, false},
		{"dedup id at the limit", func(m *queue.Message) { m.DedupID = long(queue.MaxDedupBytes) }, true},
		{"dedup id above the limit", func(m *queue.Message) { m.DedupID = long(queue.MaxDedupBytes + 1) }, false},
		{"dedup id with DEL", func(m *queue.Message) { m.DedupID = "a\x7f" }, false},
		{"attributes at the limit", attributes(queue.MaxAttributes), true},
		{"attributes above the limit", attributes(queue.MaxAttributes + 1), false},
		{"attributes at the limit and a trace", func(m *queue.Message) {
			attributes(queue.MaxAttributes)(m)
			m.Attributes["traceparent"], m.Attributes["tracestate"] = "no trace context", "\x00"
		}, true},
		{"attribute name at the limit", attr(long(queue.MaxAttributeNameBytes), "v"), true},
		{"attribute name above the limit", attr(long(queue.MaxAttributeNameBytes+1), "v"), false},
		{"attribute name with all that is allowed", attr("aZ09_.-", "v"), true},
		{"attribute without name", attr("", "v"), false},
		{"attribute name with a space", attr("a b", "v"), false},
		{"attribute name that begins with a dot", attr(".a", "v"), false},
		{"attribute name that ends with a dot", attr("a.", "v"), false},
		{"attribute name with two dots", attr("a..b", "v"), false},
		{"attribute name of AWS", attr("AWSTraceHeader", "v"), false},
		{"attribute name of Amazon", attr("amazon.x", "v"), false},
		{"attribute name of the spill", attr("rp-spilled", "1"), false},
		{"attribute at the limit", attr("a", long(queue.MaxAttributeBytes)), true},
		{"attribute above the limit", attr("a", long(queue.MaxAttributeBytes+1)), false},
		{"attribute without value", attr("a", ""), false},
		{"attribute with a control character", attr("a", "a\x1bb"), false},
		{"attribute that is not UTF-8", attr("a", "\xff"), false},
		{"attribute in many scripts", attr("a", "é 中 \U0001F600"), true},
	}
	d := h.Queue("jobs")
	q := queue.New(d, queue.Options{Name: "jobs"})
	for _, test := range tests {
		m := with(test.change)
		err := q.Send(t.Context(), m)
		if !test.valid {
			wantCode(t, test.name, err, fault.Invalid)
			wantNothing(t, d, "that was refused: "+test.name)
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		got := receive(t, d, 1)
		if len(got) != 1 || got[0].Message.Group != m.Group || string(got[0].Message.Body) != string(m.Body) {
			t.Fatalf("%s: the message did not come as it was sent", test.name)
		}
		ack(t, d, got[0])
	}
}

func sendChecksAllFirst(t *testing.T, h Harness) {
	d := h.Queue("jobs")
	q := queue.New(d, queue.Options{Name: "jobs"})
	var messages []queue.Message
	for n := range 25 {
		messages = append(messages, message("g", n))
	}
	messages[24].Group = ""
	wantCode(t, "Send with a bad message at the end", q.Send(t.Context(), messages...), fault.Invalid)
	wantDepth(t, d, queue.Depth{})
	if err := q.Send(t.Context()); err != nil {
		t.Errorf("Send of nothing: %v", err)
	}
}

// More than a batch, in number and in bytes.
func sendManyAtOnce(t *testing.T, h Harness) {
	q := queue.New(&strict{Driver: h.Queue("jobs"), t: t}, queue.Options{Name: "jobs"})
	var messages []queue.Message
	var want []string
	for n := range 47 {
		m := message("g", n)
		if n >= 20 {
			m.Body = slices.Concat(m.Body, make([]byte, queue.MaxBodyBytes-len(m.Body)))
			m.Attributes = map[string]string{}
			attributes(queue.MaxAttributes)(&m)
		}
		messages = append(messages, m)
		want = append(want, fmt.Sprint(n))
	}
	if err := q.Send(t.Context(), messages...); err != nil {
		t.Fatalf("Send: %v", err)
	}
	var j journal
	start(t, q, func(_ context.Context, m queue.Message) error {
		name, _, _ := strings.Cut(string(m.Body), "\x00")
		j.add("%s", strings.TrimPrefix(name, "g/"))
		return nil
	})
	j.want(t, want...)
}

// strict is a driver that looks at the batches it is given.
type strict struct {
	queue.Driver
	t testing.TB
}

// Send checks the limits of a batch.
func (s *strict) Send(ctx context.Context, messages []queue.Message) error {
	bytes := 0
	for _, m := range messages {
		bytes += len(m.Group) + len(m.DedupID) + len(m.Body)
		for name, value := range m.Attributes {
			bytes += len(name) + len(value)
		}
	}
	if len(messages) < 1 || len(messages) > queue.MaxBatch || bytes > queue.MaxBatchBytes {
		s.t.Errorf("a batch has %d messages with %d bytes", len(messages), bytes)
	}
	return s.Driver.Send(ctx, messages)
}

func sendLeavesTheMessageAlone(t *testing.T, h Harness) {
	q := queue.New(h.Queue("jobs"), queue.Options{Name: "jobs"})
	m := queue.Message{Group: "g", Body: []byte("body"), Attributes: map[string]string{"a": "b", "traceparent": "x"}}
	want := queue.Message{Group: "g", Body: []byte("body"), Attributes: map[string]string{"a": "b", "traceparent": "x"}}
	if err := q.Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, m); diff != "" {
		t.Errorf("Send changed the message (-want +got):\n%s", diff)
	}
	copy(m.Body, "oops")
	m.Attributes["a"] = "oops"
	var j journal
	start(t, q, func(_ context.Context, m queue.Message) error {
		j.add("%s %v", m.Body, m.Attributes)
		return nil
	})
	synctest.Wait()
	j.want(t, "body map[a:b]")
}

package sqsqueue

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/riskprofiler/riskprofiler/platform/awsclient"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/queue"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestBody(t *testing.T) {
	for body, want := range map[string]string{
		"":                          "base64:",
		`{"a":"b"}`:                 `{"a":"b"}`,
		"tab\tline\r\n":             "tab\tline\r\n",
		"\x00":                      "base64:AA==",
		"\x1b[0m":                   "base64:G1swbQ==",
		"\xff":                      "base64:/w==",
		"\ufffe":                    "base64:77++",
		"base64:":                   "base64:YmFzZTY0Og==",
		"\ufffd\U0001F600\u007f":    "\ufffd\U0001F600\u007f",
		"base6":                     "base6",
		strings.Repeat("x", 64<<10): strings.Repeat("x", 64<<10),
	} {
		got := encodeBody([]byte(body))
		if got != want {
			t.Errorf("encodeBody(%q) = %q, want %q", body, got, want)
		}
		if back, err := decodeBody(got); err != nil || string(back) != body {
			t.Errorf("decodeBody(%q) = %q, %v", got, back, err)
		}
	}
}

// received is an entry as it would come back.
func received(e types.SendMessageBatchRequestEntry) raw {
	r := raw{id: "id", handle: "handle", body: *e.MessageBody, system: map[string]string{
		groupAttribute: *e.MessageGroupId, dedupAttribute: *e.MessageDeduplicationId, sentAttribute: "946684800123", countAttribute: "1",
	}, attributes: map[string]rawAttribute{}}
	for name, a := range e.MessageAttributes {
		r.attributes[name] = rawAttribute{aws.ToString(a.DataType), aws.ToString(a.StringValue)}
	}
	for name, a := range e.MessageSystemAttributes {
		r.system[name] = aws.ToString(a.StringValue)
	}
	return r
}

func TestMessageComesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := queue.Message{
			Group:   rapid.StringMatching(`[!-~]{1,128}`).Draw(t, "group"),
			DedupID: rapid.StringMatching(`[!-~]{0,128}`).Draw(t, "dedup"),
			Body:    rapid.SliceOf(rapid.Byte()).Draw(t, "body"),
		}
		if rapid.Bool().Draw(t, "text") {
			m.Body = []byte(rapid.String().Draw(t, "text body"))
		}
		m.Attributes = rapid.MapOfN(rapid.StringMatching(`[a-z]{1,9}`), rapid.StringN(1, 99, -1), 1, 8).Draw(t, "attributes")
		e := encode(m)
		if !isLegal([]byte(*e.MessageBody)) || *e.MessageBody == "" || *e.MessageDeduplicationId == "" {
			t.Fatalf("SQS refuses %+v", e)
		}
		got, err := decode(received(e))
		if err != nil {
			t.Fatal(err)
		}
		m.ID, m.SentAt = "id", got.SentAt
		if diff := cmp.Diff(m, got, cmp.Comparer(func(a, b []byte) bool { return string(a) == string(b) })); diff != "" {
			t.Fatal(diff)
		}
		if got.SentAt.UnixMilli() != 946684800123 {
			t.Fatalf("sent at %s", got.SentAt)
		}
	})
}

func TestTraceTravelsTwice(t *testing.T) {
	const parent, header = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "Root=1-0af76519-16cd43dd8448eb211c80319c;Parent=b7ad6b7169203331;Sampled=1"
	const untraced = "00-00000000000000000000000000000000-0000000000000000-00" // what a state machine has to send, see assessment.asl.json
	e := encode(queue.Message{Group: "g", Attributes: map[string]string{traceparent: parent}})
	if got := *e.MessageSystemAttributes[traceHeader].StringValue; got != header {
		t.Errorf("AWSTraceHeader is %q, want %q", got, header)
	}
	for name, test := range map[string]struct{ parent, header, want string }{
		"both":        {parent, "Root=1-11111111-111111111111111111111111;Parent=1111111111111111;Sampled=1", parent},
		"header only": {"", header, parent},
		"not sampled": {"", strings.Replace(header, "Sampled=1", "Sampled=0", 1), parent[:53] + "00"},
		"neither":     {"", "", ""},
		"nonsense":    {"", "Root=x", ""},
		"none, said":  {untraced, header, parent},
		"really none": {untraced, "", untraced},
		"broken":      {"00-zz", header, parent},
	} {
		r := raw{id: "i", handle: "h", body: "x", system: map[string]string{groupAttribute: "g", traceHeader: test.header}}
		if test.parent != "" {
			r.attributes = map[string]rawAttribute{traceparent: {stringType, test.parent}, tracestate: {stringType, "a=b"}}
		}
		m, err := decode(r)
		if err != nil || m.Attributes[traceparent] != test.want {
			t.Errorf("%s: traceparent %q, error %v; want %q", name, m.Attributes[traceparent], err, test.want)
		}
		if kept := m.Attributes[tracestate] != ""; kept != (test.parent != "" && test.parent == test.want) {
			t.Errorf("%s: the state of the sender's trace is there: %t", name, kept)
		}
	}
	for name, m := range map[string]queue.Message{
		"no trace": {Group: "g"}, "broken trace": {Group: "g", Attributes: map[string]string{traceparent: "00-zz"}},
	} {
		if e := encode(m); e.MessageSystemAttributes != nil {
			t.Errorf("%s: system attributes %v", name, e.MessageSystemAttributes)
		}
	}
}

// driver is one without a server: nothing here may call it.
func driver(t testing.TB) *Driver {
	t.Helper()
	q, err := Open(aws.Config{Region: "eu-west-1"}, awsclient.Location{Region: "eu-west-1", Prefix: "rp"}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return q.Queue("jobs")
}

// record is a record of an event, changed.
func record(change map[string]any) map[string]any {
	r := map[string]any{
		"messageId": "m1", "receiptHandle": "r1", "body": "text", "eventSource": "aws:sqs",
		"attributes":        map[string]string{groupAttribute: "g", dedupAttribute: "d", sentAttribute: "946684800123", countAttribute: "1"},
		"messageAttributes": map[string]any{"a": map[string]any{"stringValue": "b", "stringListValues": []string{}, "dataType": "String"}},
		"eventSourceARN":    "arn:aws:sqs:eu-west-1:123456789012:rp-jobs.fifo",
	}
	for name, value := range change {
		r[name] = value
	}
	return r
}

func eventOf(records ...map[string]any) []byte {
	data, _ := json.Marshal(map[string]any{"Records": records})
	return data
}

func TestEvent(t *testing.T) {
	d := driver(t)
	got, err := d.FromEvent(t.Context(), eventOf(
		record(nil),
		record(map[string]any{"messageId": "m2", "receiptHandle": "r2", "body": "base64:AP8="}),
		record(map[string]any{"messageId": "m3", "receiptHandle": "r3", "body": "base64:!"}),
		record(map[string]any{"messageId": "m4", "receiptHandle": "r4", "messageAttributes": map[string]any{"a": map[string]any{"binaryValue": "AA==", "dataType": "Binary"}}}),
		record(map[string]any{"messageId": "m5", "receiptHandle": "r5", "attributes": nil}),
		record(map[string]any{"messageId": "m6", "receiptHandle": ""}),
	))
	if err != nil {
		t.Fatal(err)
	}
	want := []queue.Message{
		{ID: "m1", Group: "g", DedupID: "d", Body: []byte("text"), Attributes: map[string]string{"a": "b"}, Attempt: 1},
		{ID: "m2", Group: "g", DedupID: "d", Body: []byte{0, 0xff}, Attributes: map[string]string{"a": "b"}, Attempt: 1},
		{ID: "m3", Group: "g", DedupID: "d", Body: []byte("base64:!"), Attributes: map[string]string{"a": "b"}, Attempt: 1},
		{ID: "m4", Group: "g", DedupID: "d", Body: []byte("text"), Attempt: 1},
		{ID: "m5", Body: []byte("text"), Attributes: map[string]string{"a": "b"}, Attempt: 1},
		{ID: "m6", Group: "g", DedupID: "d", Body: []byte("text"), Attributes: map[string]string{"a": "b"}, Attempt: 1},
	}
	for i, delivery := range got {
		if i < 4 && delivery.Message.SentAt.UnixMilli() != 946684800123 {
			t.Errorf("delivery %d was sent at %s", i, delivery.Message.SentAt)
		}
		delivery.Message.SentAt = want[i].SentAt
		if diff := cmp.Diff(want[i], delivery.Message); diff != "" {
			t.Errorf("delivery %d (-want +got):\n%s", i, diff)
		}
		if damaged := i >= 2; (delivery.Damaged != nil) != damaged || damaged && !errors.Is(delivery.Damaged, fault.DataLoss) {
			t.Errorf("delivery %d: damaged %v", i, delivery.Damaged)
		}
	}
	if d.url != "https://sqs.eu-west-1.amazonaws.com/123456789012/rp-jobs.fifo" {
		t.Errorf("the queue's address is %q", d.url)
	}
}

func TestEventThatIsNone(t *testing.T) {
	d := driver(t)
	for name, data := range map[string][]byte{
		"no JSON":       []byte("{"),
		"other queue":   eventOf(record(map[string]any{"eventSourceARN": "arn:aws:sqs:eu-west-1:123456789012:rp-otherjobs.fifo"})),
		"no queue":      eventOf(record(map[string]any{"eventSourceARN": ""})),
		"suffix":        eventOf(record(map[string]any{"eventSourceARN": "arn:aws:sqs:eu-west-1:123456789012:x-rp-jobs.fifo"})),
		"too many":      eventOf(slices.Repeat([]map[string]any{record(nil)}, maxBatch+1)...),
		"far too large": make([]byte, maxEventBytes+1),
	} {
		if got, err := d.FromEvent(t.Context(), data); !errors.Is(err, fault.Invalid) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	// Without a table it is not known how often a message that was received before has failed.
	again := record(map[string]any{"attributes": map[string]string{groupAttribute: "g", countAttribute: "2"}})
	if _, err := d.FromEvent(t.Context(), eventOf(again)); !errors.Is(err, fault.FailedPrecondition) {
		t.Errorf("second delivery without a table: %v", err)
	}
	if got, err := d.FromEvent(t.Context(), []byte(`{}`)); err != nil || len(got) != 0 {
		t.Errorf("an empty event: %v, %v", got, err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := d.FromEvent(t.Context(), []byte(`{}`)); !errors.Is(err, queue.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func FuzzEvent(f *testing.F) {
	f.Add(eventOf(record(nil)))
	f.Add(eventOf(record(map[string]any{"body": "base64:!", "attributes": nil})))
	f.Add([]byte(`{"Records":[{"eventSourceARN":":rp-jobs.fifo","attributes":{"SentTimestamp":"9999999999999999999"}}]}`))
	d := driver(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := d.FromEvent(t.Context(), data)
		if err != nil {
			return
		}
		for _, one := range got {
			if one.Damaged == nil && (one.Message.ID == "" || one.Receipt == "" || one.Message.Group == "") {
				t.Errorf("it is said to be whole: %+v", one)
			}
			for name, value := range one.Message.Attributes {
				if !utf8.ValidString(name) || !utf8.ValidString(value) {
					t.Errorf("attribute %q is no text", name)
				}
			}
		}
	})
}

func TestOptions(t *testing.T) {
	for _, o := range []Options{{Wait: -1}, {Wait: 21e9}, {Wait: 1500e6}, {Linger: -1}, {EventVisibility: -1}, {EventVisibility: queue.MaxVisibility + 1}} {
		if _, err := Open(aws.Config{}, awsclient.Location{}, o); !errors.Is(err, fault.Invalid) {
			t.Errorf("Open with %+v: %v", o, err)
		}
	}
	q, err := Open(aws.Config{}, awsclient.Location{Prefix: "rp"}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	d := q.Queue(strings.Repeat("n", 75))
	if err := d.Send(t.Context(), []queue.Message{{Group: "g"}}); !errors.Is(err, fault.Invalid) {
		t.Errorf("Send to a queue whose name is too long: %v", err)
	}
	if _, err := q.Queue("jobs").Inspect(t.Context(), queue.Inspect{}); !errors.Is(err, fault.FailedPrecondition) {
		t.Errorf("Inspect without a table: %v", err)
	}
}

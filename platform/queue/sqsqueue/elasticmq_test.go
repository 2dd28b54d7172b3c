//go:build awstest

package sqsqueue_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/google/go-cmp/cmp"

	"github.com/riskprofiler/riskprofiler/platform/awsclient"
	"github.com/riskprofiler/riskprofiler/platform/awsclient/awstest"
	"github.com/riskprofiler/riskprofiler/platform/queue"
	"github.com/riskprofiler/riskprofiler/platform/queue/sqsqueue"
)

// TestSecondOpinion asks another server, in real time, about what the corrections of moto say.
func TestSecondOpinion(t *testing.T) {
	l := awsclient.Location{Region: awstest.Region, Prefix: "t", Endpoint: awstest.ElasticMQ(t)}
	cfg := awstest.Config(t, l)
	client := sqsqueue.NewClient(cfg, l)
	queues := open(t, cfg, l, sqsqueue.Options{State: stateTable(t), Wait: time.Second})
	for _, test := range []struct {
		name string
		run  func(t *testing.T, d *sqsqueue.Driver, raw *sqs.Client, url *string)
	}{
		{"order", orderAndBlocking},
		{"dedup", dedupAfterDeletion},
		{"visibility", visibilityEnds},
		{"content", everyCharacter},
		{"attempts", attemptID},
		{"batch", batchOfGroups},
	} {
		t.Run(test.name, func(t *testing.T) {
			if err := sqsqueue.Create(t.Context(), client, l, test.name); err != nil {
				t.Fatal(err)
			}
			url, err := client.GetQueueUrl(t.Context(), &sqs.GetQueueUrlInput{QueueName: aws.String("t-" + test.name + ".fifo")})
			if err != nil {
				t.Fatal(err)
			}
			test.run(t, queues.Queue(test.name), client, url.QueueUrl)
		})
	}
}

func message(group string, n int) queue.Message {
	return queue.Message{Group: group, DedupID: fmt.Sprintf("%s-%d", group, n), Body: fmt.Appendf(nil, "%s/%d", group, n)}
}

func bodies(deliveries []queue.Delivery) []string {
	var all []string
	for _, d := range deliveries {
		all = append(all, string(d.Message.Body))
	}
	return all
}

func send(t testing.TB, d queue.Driver, messages ...queue.Message) {
	t.Helper()
	for batch := range slices.Chunk(messages, queue.MaxBatch) {
		if err := d.Send(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
	}
}

// receive takes what comes within a time.
func receive(t testing.TB, d queue.Driver, limit int, within, visibility time.Duration) []queue.Delivery {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	got, err := d.Receive(ctx, limit, visibility)
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	return got
}

func want(t testing.TB, got []queue.Delivery, bodiesWanted ...string) {
	t.Helper()
	if diff := cmp.Diff(bodiesWanted, bodies(got)); diff != "" {
		t.Fatalf("received (-want +got):\n%s", diff)
	}
}

func settle(t testing.TB, d queue.Driver, settlements ...queue.Settlement) []int {
	t.Helper()
	expired, err := d.Settle(t.Context(), settlements)
	if err != nil {
		t.Fatal(err)
	}
	return expired
}

func ack(t testing.TB, d queue.Driver, deliveries ...queue.Delivery) {
	t.Helper()
	for _, one := range deliveries {
		if len(settle(t, d, queue.Settlement{Receipt: one.Receipt, Action: queue.Ack})) > 0 {
			t.Fatalf("the receipt of %s has expired", one.Message.Body)
		}
	}
}

const second = time.Second

// nothing asks without waiting: ElasticMQ goes on with a long poll that was given up, and takes for it what comes then.
func nothing(t testing.TB, raw *sqs.Client, url *string) {
	t.Helper()
	out, err := raw.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: url, MaxNumberOfMessages: 10})
	if err != nil || len(out.Messages) > 0 {
		t.Fatalf("there are %d messages, error %v", len(out.Messages), err)
	}
}

func orderAndBlocking(t *testing.T, d *sqsqueue.Driver, raw *sqs.Client, url *string) {
	send(t, d, message("g", 1), message("g", 2), message("g", 3), message("h", 1))
	first := receive(t, d, 1, second, time.Minute)
	want(t, first, "g/1")
	other := receive(t, d, 10, second, time.Minute)
	want(t, other, "h/1")
	nothing(t, raw, url)
	settle(t, d, queue.Settlement{Receipt: first[0].Receipt, Action: queue.Return})
	all := receive(t, d, 10, second, time.Minute)
	want(t, all, "g/1", "g/2", "g/3")
	// The second goes back; with the first in flight the group stays blocked, then it begins with the second.
	settle(t, d, queue.Settlement{Receipt: all[1].Receipt, Action: queue.Return}, queue.Settlement{Receipt: all[2].Receipt, Action: queue.Return})
	nothing(t, raw, url)
	ack(t, d, all[0], other[0])
	want(t, receive(t, d, 10, second, time.Minute), "g/2", "g/3")
}

// ElasticMQ knows no DeduplicationScope, so nothing is said about other groups here.
func dedupAfterDeletion(t *testing.T, d *sqsqueue.Driver, raw *sqs.Client, url *string) {
	send(t, d, message("g", 1))
	send(t, d, message("g", 1))
	got := receive(t, d, 10, second, time.Minute)
	want(t, got, "g/1")
	ack(t, d, got...)
	send(t, d, message("g", 1))
	nothing(t, raw, url)
	send(t, d, message("g", 2))
	want(t, receive(t, d, 10, second, time.Minute), "g/2")
}

func visibilityEnds(t *testing.T, d *sqsqueue.Driver, raw *sqs.Client, url *string) {
	send(t, d, message("g", 1), message("g", 2))
	lost := receive(t, d, 10, second, second)
	want(t, lost, "g/1", "g/2")
	time.Sleep(1100 * time.Millisecond)
	if expired := settle(t, d, queue.Settlement{Receipt: lost[0].Receipt, Action: queue.Ack}); len(expired) != 1 {
		t.Error("an expired receipt settled")
	}
	const visibility = 30 * second // so long that what comes sooner came by its retry
	again := receive(t, d, 10, visibility, 5*second)
	want(t, again, "g/1", "g/2")
	if again[0].Lost != 1 || again[0].Message.Attempt != 1 {
		t.Errorf("lost %d, attempt %d; want 1 and 1", again[0].Lost, again[0].Message.Attempt)
	}
	settle(t, d, queue.Settlement{Receipt: again[1].Receipt, Action: queue.Return},
		queue.Settlement{Receipt: again[0].Receipt, Action: queue.Retry, After: 200 * time.Millisecond, Error: "why"})
	began := time.Now()
	time.Sleep(400 * time.Millisecond) // its long poll does not notice that something became visible
	third := receive(t, d, 1, visibility, time.Minute)
	want(t, third, "g/1")
	if took := time.Since(began); third[0].Message.Attempt != 2 || third[0].Lost != 1 || third[0].LastError != "why" || took > visibility/2 {
		t.Errorf("after %s: %+v", took, third[0])
	}
	// moto deletes by the receipt of an earlier delivery.
	if _, err := raw.DeleteMessage(t.Context(), &sqs.DeleteMessageInput{QueueUrl: url, ReceiptHandle: aws.String(lost[0].Receipt)}); err == nil {
		t.Error("the receipt of an earlier delivery deletes the message")
	}
}

func everyCharacter(t *testing.T, d *sqsqueue.Driver, raw *sqs.Client, url *string) {
	var group, binary strings.Builder
	for c := byte('!'); c <= '~'; c++ {
		group.WriteByte(c)
	}
	for c := range 256 {
		binary.WriteByte(byte(c))
	}
	attributes := map[string]string{"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "tracestate": "a=b"}
	for i := range queue.MaxAttributes {
		attributes[fmt.Sprint("a-b.c_", i)] = "välue \U0001F600"
	}
	sent := []queue.Message{
		{Group: group.String(), DedupID: group.String(), Body: []byte("text \t\r\n \ue000\ufffd\U0001F600 \u007f"), Attributes: attributes},
		{Group: "b", Body: []byte(binary.String())},
		{Group: "c", Body: []byte("base64:no")},
		{Group: "d"},
	}
	send(t, d, sent...)
	for range sent {
		got := receive(t, d, 1, second, time.Minute)
		if len(got) != 1 || got[0].Damaged != nil {
			t.Fatalf("received %+v", got)
		}
		g := got[0].Message
		m := sent[slices.IndexFunc(sent, func(m queue.Message) bool { return m.Group == g.Group })]
		if g.Group != m.Group || g.DedupID != m.DedupID || string(g.Body) != string(m.Body) || !cmp.Equal(g.Attributes, m.Attributes) {
			t.Errorf("sent %+v\nreceived %+v", m, g)
		}
		ack(t, d, got...)
	}
	if _, err := raw.SendMessage(t.Context(), &sqs.SendMessageInput{
		QueueUrl: url, MessageBody: aws.String("a\x01b"), MessageGroupId: aws.String("g"), MessageDeduplicationId: aws.String("d"),
	}); err == nil {
		t.Error("the server takes what SQS would refuse: the test of the encoding says nothing")
	}
	// The header that X-Ray follows, also in a batch.
	send(t, d, queue.Message{Group: "e", Attributes: attributes}, queue.Message{Group: "f", Attributes: attributes})
	out, err := raw.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: url, MessageSystemAttributeNames: []types.MessageSystemAttributeName{"AWSTraceHeader"}})
	if err != nil || len(out.Messages) != 1 {
		t.Fatal(out, err)
	}
	if got := out.Messages[0].Attributes["AWSTraceHeader"]; got != "Root=1-0af76519-16cd43dd8448eb211c80319c;Parent=b7ad6b7169203331;Sampled=1" {
		t.Errorf("AWSTraceHeader is %q", got)
	}
}

func attemptID(t *testing.T, d *sqsqueue.Driver, raw *sqs.Client, url *string) {
	send(t, d, message("g", 1))
	in := &sqs.ReceiveMessageInput{QueueUrl: url, ReceiveRequestAttemptId: aws.String("attempt"), VisibilityTimeout: 60}
	var receipts []string
	for range 2 {
		out, err := raw.ReceiveMessage(t.Context(), in)
		if err != nil || len(out.Messages) != 1 {
			t.Fatalf("receive: %v, %v", out, err)
		}
		receipts = append(receipts, *out.Messages[0].MessageId)
	}
	if receipts[0] != receipts[1] {
		t.Errorf("the same attempt got two messages: %v", receipts)
	}
}

func batchOfGroups(t *testing.T, d *sqsqueue.Driver, _ *sqs.Client, _ *string) {
	var messages []queue.Message
	for n := range 30 {
		messages = append(messages, message(fmt.Sprint("g", n), 1))
	}
	send(t, d, messages...)
	seen := map[string]bool{}
	for len(seen) < len(messages) {
		got := receive(t, d, 10, second, time.Minute)
		if len(got) == 0 {
			t.Fatalf("only %d messages came", len(seen))
		}
		var answers []queue.Settlement
		for _, one := range got {
			seen[one.Message.Group] = true
			answers = append(answers, queue.Settlement{Receipt: one.Receipt, Action: queue.Ack})
		}
		if expired := settle(t, d, answers...); len(expired) > 0 {
			t.Fatalf("expired: %v", expired)
		}
	}
	if found, err := d.Inspect(t.Context(), queue.Inspect{}); err != nil || found.Depth != (queue.Depth{}) {
		t.Errorf("depth %+v, error %v", found.Depth, err)
	}
}

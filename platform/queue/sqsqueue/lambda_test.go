//go:build awstest

package sqsqueue_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/google/go-cmp/cmp"

	"github.com/riskprofiler/riskprofiler/platform/awsclient/awstest"
	"github.com/riskprofiler/riskprofiler/platform/queue"
	"github.com/riskprofiler/riskprofiler/platform/queue/sqsqueue"
)

// mapping plays an event source mapping: it receives, invokes, and deletes what was not reported.
type mapping struct {
	w    *world
	url  *string
	name string
}

// poll invokes once. The function returns the message ids that it reports; ok false is a function that was killed.
func (m mapping) poll(t *testing.T, function func(event []byte) (failures map[string]bool, ok bool)) (records int) {
	t.Helper()
	out, err := m.w.client.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{
		QueueUrl: m.url, MaxNumberOfMessages: 10, MessageAttributeNames: []string{"All"}, MessageSystemAttributeNames: []types.MessageSystemAttributeName{"All"},
	})
	if err != nil {
		t.Fatal(err)
	}
	var all []map[string]any
	for _, r := range out.Messages {
		attributes := map[string]any{}
		for name, a := range r.MessageAttributes {
			attributes[name] = map[string]any{"stringValue": *a.StringValue, "dataType": *a.DataType}
		}
		all = append(all, map[string]any{
			"messageId": *r.MessageId, "receiptHandle": *r.ReceiptHandle, "body": *r.Body, "attributes": r.Attributes, "messageAttributes": attributes,
			"eventSource": "aws:sqs", "eventSourceARN": "arn:aws:sqs:" + awstest.Region + ":123456789012:" + m.w.place.Name(m.name) + ".fifo",
		})
	}
	if len(all) == 0 {
		return 0
	}
	event, _ := json.Marshal(map[string]any{"Records": all})
	failures, ok := function(event)
	for _, r := range out.Messages {
		if !ok || failures[*r.MessageId] {
			continue
		}
		if _, err := m.w.client.DeleteMessage(t.Context(), &sqs.DeleteMessageInput{QueueUrl: m.url, ReceiptHandle: r.ReceiptHandle}); err != nil {
			t.Errorf("the mapping deletes what the function deleted: %v", err)
		}
	}
	return len(all)
}

// TestEventSourceMapping: attempts, lost deliveries, parking and partial failures as with a consumer of its own.
func TestEventSourceMapping(t *testing.T) {
	awstest.Moto(t)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, sqsqueue.Options{})
		d := w.driver("jobs")
		url, err := w.client.GetQueueUrl(t.Context(), &sqs.GetQueueUrlInput{QueueName: new(w.place.Name("jobs") + ".fifo")})
		if err != nil {
			t.Fatal(err)
		}
		m := mapping{w, url.QueueUrl, "jobs"}
		send(t, d, message("good", 1), message("bad", 1), message("bad", 2), message("killed", 1), message("good", 2))
		q := queue.New(d, queue.Options{Name: "jobs", Backoff: func(int) time.Duration { return time.Minute }})
		var lines []string
		kill := true
		for range 30 {
			m.poll(t, func(event []byte) (map[string]bool, bool) {
				deliveries, err := d.FromEvent(t.Context(), event)
				if err != nil {
					t.Fatal(err)
				}
				if kill {
					kill = false
					return nil, false
				}
				remaining, err := q.Handle(t.Context(), queue.Batch{Deliveries: deliveries}, func(_ context.Context, m queue.Message) error {
					if m.Group == "bad" {
						lines = append(lines, fmt.Sprintf("%s attempt %d", m.Body, m.Attempt))
					}
					if string(m.Body) == "bad/1" {
						return errors.New("poison")
					}
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
				failures := map[string]bool{}
				for _, at := range remaining {
					failures[deliveries[at].Message.ID] = true
					if deliveries[at].Lost != 1 {
						t.Errorf("%s lost %d deliveries, want the one that was killed", deliveries[at].Message.Body, deliveries[at].Lost)
					}
				}
				return failures, true
			})
			time.Sleep(time.Minute)
		}
		if diff := cmp.Diff([]string{"bad/1 attempt 1", "bad/1 attempt 2", "bad/1 attempt 3", "bad/1 attempt 4", "bad/1 attempt 5", "bad/2 attempt 1"}, lines); diff != "" {
			t.Errorf("what the group of the poison message saw (-want +got):\n%s", diff)
		}
		found, err := d.Inspect(t.Context(), queue.Inspect{})
		if err != nil || found.Depth != (queue.Depth{Parked: 1}) {
			t.Errorf("depth %+v, error %v; want only the parked one", found.Depth, err)
		}
	})
}

// TestCreate: once or twice, with the net below.
func TestCreate(t *testing.T) {
	awstest.Moto(t)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, sqsqueue.Options{})
		w.driver("jobs")
		if err := sqsqueue.Create(t.Context(), w.client, w.place, "jobs"); err != nil {
			t.Errorf("a second time: %v", err)
		}
		for name, want := range map[string]map[string]string{
			"jobs": {"FifoQueue": "true", "DeduplicationScope": "messageGroup", "FifoThroughputLimit": "perMessageGroupId", "MessageRetentionPeriod": "1209600",
				"RedrivePolicy": `{"deadLetterTargetArn": "arn:aws:sqs:eu-west-1:123456789012:` + w.place.Name("jobs-dlq.fifo") + `", "maxReceiveCount": 1000}`},
			"jobs-dlq": {"FifoQueue": "true", "MessageRetentionPeriod": "1209600", "RedrivePolicy": ""},
		} {
			url, err := w.client.GetQueueUrl(t.Context(), &sqs.GetQueueUrlInput{QueueName: new(w.place.Name(name) + ".fifo")})
			if err != nil {
				t.Fatal(err)
			}
			got, err := w.client.GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{QueueUrl: url.QueueUrl, AttributeNames: []types.QueueAttributeName{"All"}})
			if err != nil {
				t.Fatal(err)
			}
			for attribute, value := range want {
				if got.Attributes[attribute] != value {
					t.Errorf("%s of %s is %q, want %q", attribute, name, got.Attributes[attribute], value)
				}
			}
		}
	})
}

//go:build awstest

package awstest_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/riskprofiler/riskprofiler/platform/awsclient"
	"github.com/riskprofiler/riskprofiler/platform/awsclient/awstest"
)

// TestClockOfMotoFollowsTheBubble: a visibility timeout of an hour passes at once.
func TestClockOfMotoFollowsTheBubble(t *testing.T) {
	awstest.Moto(t)
	synctest.Test(t, func(t *testing.T) {
		client, url := fifo(t, awstest.Location(t))
		ctx := t.Context()
		if _, err := client.SendMessage(ctx, &sqs.SendMessageInput{
			QueueUrl: url, MessageBody: aws.String("x"), MessageGroupId: aws.String("g"), MessageDeduplicationId: aws.String("d"),
		}); err != nil {
			t.Fatal(err)
		}
		for _, want := range []int{1, 0} {
			if got := receive(t, client, url); got != want {
				t.Fatalf("received %d messages, want %d", got, want)
			}
		}
		time.Sleep(61 * time.Minute)
		if got := receive(t, client, url); got != 1 {
			t.Fatalf("after an hour received %d messages, want 1", got)
		}
	})
}

func TestElasticMQStarts(t *testing.T) {
	l := awsclient.Location{Region: awstest.Region, Prefix: "t", Endpoint: awstest.ElasticMQ(t)}
	client, url := fifo(t, l)
	if got := receive(t, client, url); got != 0 {
		t.Fatalf("received %d messages from an empty queue", got)
	}
}

func fifo(t *testing.T, l awsclient.Location) (*sqs.Client, *string) {
	t.Helper()
	client := sqs.NewFromConfig(awstest.Config(t, l), func(o *sqs.Options) { o.BaseEndpoint = l.EndpointOf("sqs") })
	q, err := client.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: aws.String(l.Name("q.fifo")), Attributes: map[string]string{
		"FifoQueue": "true", "VisibilityTimeout": "3600",
	}})
	if err != nil {
		t.Fatal(err)
	}
	return client, q.QueueUrl
}

func receive(t *testing.T, client *sqs.Client, url *string) int {
	t.Helper()
	got, err := client.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: url, MaxNumberOfMessages: 10})
	if err != nil {
		t.Fatal(err)
	}
	return len(got.Messages)
}

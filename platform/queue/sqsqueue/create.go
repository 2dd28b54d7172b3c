package sqsqueue

import (
	"context"
	"encoding/json"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/riskprofiler/riskprofiler/platform/awsclient"
	"github.com/riskprofiler/riskprofiler/platform/fault"
)

const (
	// DefaultVisibilityTimeout is the queues' attribute: six times the minute that a function takes, as AWS advises:
	// https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
	DefaultVisibilityTimeout = 6 * time.Minute
	// Retention is the longest that SQS keeps a message:
	// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html
	Retention = 14 * 24 * time.Hour
	// MaxReceiveCount is how often SQS hands a message out before it moves it to the dead-letter queue: the most that it allows
	// (https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SetQueueAttributes.html). A message that is
	// handed back (no permit yet, a provider down) is received again without having failed, so this net has to hang low: failures
	// and lost deliveries are counted by the queue package, which parks after 5 and 10 of them.
	MaxReceiveCount = 1000
)

// DeadLetterName is the name of the queue below a queue.
func DeadLetterName(name string) string { return name + "-dlq" }

// Attributes are those of a queue and of its dead-letter queue, as deployment has to set them too.
func Attributes(deadLetterARN string) map[string]string {
	policy, _ := json.Marshal(map[string]string{"deadLetterTargetArn": deadLetterARN, "maxReceiveCount": strconv.Itoa(MaxReceiveCount)})
	return map[string]string{
		"FifoQueue": "true",
		// High throughput: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/high-throughput-fifo.html
		"DeduplicationScope": "messageGroup", "FifoThroughputLimit": "perMessageGroupId",
		"VisibilityTimeout":      strconv.Itoa(int(DefaultVisibilityTimeout / time.Second)),
		"MessageRetentionPeriod": strconv.Itoa(int(Retention / time.Second)),
		"RedrivePolicy":          string(policy),
	}
}

// Create makes a queue and its dead-letter queue, for stand-ins and tests. That they exist with the same attributes is no error.
func Create(ctx context.Context, client *sqs.Client, l awsclient.Location, name string) error {
	attributes := Attributes("")
	delete(attributes, "RedrivePolicy")
	arn, err := create(ctx, client, l, DeadLetterName(name), attributes)
	if err != nil {
		return err
	}
	_, err = create(ctx, client, l, name, Attributes(arn))
	return err
}

func create(ctx context.Context, client *sqs.Client, l awsclient.Location, name string, attributes map[string]string) (arn string, err error) {
	full := l.Name(name) + ".fifo"
	r := awsclient.Resource{Kind: "queue", Name: full, Region: l.Region}
	made, err := client.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: aws.String(full), Attributes: attributes})
	if err != nil {
		return "", awsclient.Fault(err, "create queue", r)
	}
	got, err := client.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{
		QueueUrl: made.QueueUrl, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameQueueArn},
	})
	if err != nil {
		return "", awsclient.Fault(err, "create queue", r)
	}
	if arn = got.Attributes["QueueArn"]; arn == "" {
		return "", fault.New(fault.Internal, "create queue %s: SQS does not say its ARN", full)
	}
	return arn, nil
}

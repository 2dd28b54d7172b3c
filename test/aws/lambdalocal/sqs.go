package lambdalocal

import (
	"context"
	"crypto/md5" // what SQS gives as the digest of a body
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// record is a message in an event, with the names that Lambda gives its parts:
// https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html#example-fifo-queue-message-event
type record struct {
	MessageID              string               `json:"messageId"`
	ReceiptHandle          string               `json:"receiptHandle"`
	Body                   string               `json:"body"`
	Attributes             map[string]string    `json:"attributes"`
	MessageAttributes      map[string]attribute `json:"messageAttributes"`
	MD5OfMessageAttributes string               `json:"md5OfMessageAttributes,omitempty"`
	MD5OfBody              string               `json:"md5OfBody"`
	EventSource            string               `json:"eventSource"`
	EventSourceARN         string               `json:"eventSourceARN"`
	AWSRegion              string               `json:"awsRegion"`
}

type attribute struct {
	StringValue      *string  `json:"stringValue,omitempty"`
	BinaryValue      []byte   `json:"binaryValue,omitempty"`
	StringListValues []string `json:"stringListValues"`
	BinaryListValues [][]byte `json:"binaryListValues"`
	DataType         string   `json:"dataType"`
}

// event is the payload for a batch.
func (m Mapping) event(batch []types.Message) ([]byte, error) {
	region := ""
	if parts := strings.Split(m.QueueARN, ":"); len(parts) == 6 {
		region = parts[3]
	}
	records := make([]record, len(batch))
	for i, message := range batch {
		r := record{
			MessageID: aws.ToString(message.MessageId), ReceiptHandle: aws.ToString(message.ReceiptHandle), Body: aws.ToString(message.Body),
			Attributes: message.Attributes, MessageAttributes: map[string]attribute{}, MD5OfBody: aws.ToString(message.MD5OfBody),
			MD5OfMessageAttributes: aws.ToString(message.MD5OfMessageAttributes),
			EventSource:            "aws:sqs", EventSourceARN: m.QueueARN, AWSRegion: region,
		}
		if r.MD5OfBody == "" {
			sum := md5.Sum([]byte(r.Body))
			r.MD5OfBody = hex.EncodeToString(sum[:])
		}
		for name, a := range message.MessageAttributes {
			r.MessageAttributes[name] = attribute{
				StringValue: a.StringValue, BinaryValue: a.BinaryValue, DataType: aws.ToString(a.DataType),
				StringListValues: []string{}, BinaryListValues: [][]byte{},
			}
		}
		records[i] = r
	}
	return json.Marshal(map[string]any{"Records": records})
}

type source struct {
	client *sqs.Client
	url    string
}

// NewSource is a queue behind the SDK's client.
func NewSource(client *sqs.Client, url string) Source { return source{client, url} }

// Receive implements [Source]. SQS waits for whole seconds: a shorter wait is a look and a pause.
func (s source) Receive(ctx context.Context, limit int, wait time.Duration) ([]types.Message, error) {
	out, err := s.client.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
		QueueUrl: &s.url, MaxNumberOfMessages: int32(min(limit, maxBatch)), WaitTimeSeconds: int32(wait / time.Second),
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameAll},
		MessageAttributeNames:       []string{"All"},
	})
	if err != nil {
		return nil, err
	}
	if len(out.Messages) == 0 && wait < time.Second {
		sleep(ctx, wait)
	}
	return out.Messages, nil
}

// Delete implements [Source].
func (s source) Delete(ctx context.Context, receipts []string) error {
	in := &sqs.DeleteMessageBatchInput{QueueUrl: &s.url}
	for i, receipt := range receipts {
		in.Entries = append(in.Entries, types.DeleteMessageBatchRequestEntry{Id: aws.String(strconv.Itoa(i)), ReceiptHandle: aws.String(receipt)})
	}
	out, err := s.client.DeleteMessageBatch(ctx, in)
	if err != nil {
		return err
	}
	var errs []error
	for _, f := range out.Failed {
		errs = append(errs, fmt.Errorf("delete message: %s: %s", aws.ToString(f.Code), aws.ToString(f.Message)))
	}
	return errors.Join(errs...)
}

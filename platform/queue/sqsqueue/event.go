package sqsqueue

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/queue"
)

// maxEventBytes bounds an event: Lambda's for a synchronous invocation
// (https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html), which is how an event source mapping invokes.
const maxEventBytes = 6 << 20

// event is what a Lambda event source mapping sends: https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html
type event struct {
	Records []struct {
		MessageID         string            `json:"messageId"`
		ReceiptHandle     string            `json:"receiptHandle"`
		Body              string            `json:"body"`
		Attributes        map[string]string `json:"attributes"`
		MessageAttributes map[string]struct {
			StringValue string `json:"stringValue"`
			DataType    string `json:"dataType"`
		} `json:"messageAttributes"`
		EventSourceARN string `json:"eventSourceARN"`
	} `json:"Records"`
}

// FromEvent turns an SQS event into deliveries, in its order, whose receipts Settle takes like those of Receive. The message id of a
// delivery is the itemIdentifier under which a function reports that the message is still in the queue.
//
// Two delete what is done: Settle with Ack or Park, and Lambda, which deletes every message of the batch that the function did
// not report. Deleting twice does nothing: the receipt is the same, and SQS confirms. Settle deletes although Lambda would,
// because then a function that is ended in the middle of a batch has not worked for nothing. What is not done is both answered by
// Settle, which sets the visibility, and reported, so that Lambda leaves it alone.
//
// A record that cannot be read whole is a delivery with Damaged set. A message that was parked before and is only still in SQS is
// left out. An error means the whole batch: the event is none of this queue's, or the table cannot be read. Then all are to be
// reported.
func (d *Driver) FromEvent(ctx context.Context, data []byte) ([]queue.Delivery, error) {
	if err := d.open(ctx, "read SQS event"); err != nil {
		return nil, err
	}
	if len(data) > maxEventBytes {
		return nil, fault.New(fault.Invalid, "read SQS event: it has %d bytes, the most is %d", len(data), maxEventBytes)
	}
	var e event
	if err := json.Unmarshal(data, &e); err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "read SQS event")
	}
	if len(e.Records) > maxBatch {
		return nil, fault.New(fault.Invalid, "read SQS event: it has %d records, a FIFO queue's has at most %d", len(e.Records), maxBatch)
	}
	raws := make([]raw, len(e.Records))
	for i, r := range e.Records {
		if !strings.HasSuffix(r.EventSourceARN, ":"+d.full) {
			return nil, fault.New(fault.Invalid, "read SQS event: a record is of %s, this is queue %s", r.EventSourceARN, d.full)
		}
		raws[i] = raw{id: r.MessageID, handle: r.ReceiptHandle, body: r.Body, system: r.Attributes, attributes: map[string]rawAttribute{}}
		for name, a := range r.MessageAttributes {
			raws[i].attributes[name] = rawAttribute{kind: a.DataType, value: a.StringValue}
		}
		d.learn(r.EventSourceARN)
	}
	found, err := d.judge(ctx, raws, now().Add(d.queues.options.EventVisibility))
	if err != nil {
		return nil, err
	}
	return found, nil
}

// learn makes the queue's URL from its ARN, arn:aws:sqs:REGION:ACCOUNT:NAME, which saves a function's first call. Only for AWS's own
// endpoint in its first partition; elsewhere the queue is asked for.
func (s *shared) learn(arn string) {
	part := strings.Split(arn, ":")
	if len(part) != 6 || part[1] != "aws" || s.queues.location.EndpointOf("sqs") != nil {
		return
	}
	s.know("https://sqs." + part[3] + ".amazonaws.com/" + part[4] + "/" + part[5])
}

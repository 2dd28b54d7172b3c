package statesapi

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/queue"
	"github.com/riskprofiler/riskprofiler/platform/workflow"
	"github.com/riskprofiler/riskprofiler/test/aws/lambdalocal"
)

// invoke is the task arn:aws:states:::lambda:invoke. A function's error is caught by the name in its errorType; what Lambda
// itself says begins with "Lambda." (https://docs.aws.amazon.com/step-functions/latest/dg/connect-lambda.html,
// https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html).
func (s *Server) invoke(ctx context.Context, function string, payload json.RawMessage) (json.RawMessage, error) {
	r, err := s.options.Invoke(ctx, lambdalocal.Invocation{Function: function, Payload: payload})
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.Is(err, lambdalocal.ErrThrottled):
		return nil, &workflow.TaskError{Name: "Lambda.TooManyRequestsException", Cause: "Rate Exceeded."}
	case errors.Is(err, fault.NotFound):
		return nil, &workflow.TaskError{Name: "Lambda.ResourceNotFoundException", Cause: err.Error()}
	case errors.Is(err, fault.ResourceExhausted):
		return nil, &workflow.TaskError{Name: "Lambda.RequestTooLargeException", Cause: err.Error()}
	case err != nil:
		return nil, &workflow.TaskError{Name: "Lambda.ServiceException", Cause: err.Error()}
	}
	if f := r.Failure(); f != nil {
		name := f.Type
		if name == lambdalocal.ErrorUnknown {
			name = "Lambda.Unknown"
		}
		return nil, &workflow.TaskError{Name: name, Cause: string(r.Payload)}
	}
	return r.Payload, nil
}

// send is the task arn:aws:states:::sqs:sendMessage. Of a message's attributes it can set those that stand in the definition,
// and no system attributes: https://docs.aws.amazon.com/step-functions/latest/dg/connect-sqs.html.
func (s *Server) send(ctx context.Context, queueURL string, m queue.Message) error {
	in := &sqs.SendMessageInput{
		QueueUrl: &queueURL, MessageBody: aws.String(string(m.Body)), MessageGroupId: aws.String(m.Group),
		MessageDeduplicationId: aws.String(m.DedupID), MessageAttributes: map[string]types.MessageAttributeValue{},
	}
	for name, value := range m.Attributes {
		in.MessageAttributes[name] = types.MessageAttributeValue{DataType: aws.String("String"), StringValue: aws.String(value)}
	}
	_, err := s.options.SQS.SendMessage(ctx, in)
	if err == nil || ctx.Err() != nil {
		return err
	}
	name := "SdkClientException"
	var api smithy.APIError
	if errors.As(err, &api) {
		name = api.ErrorCode()
	}
	return &workflow.TaskError{Name: "SQS." + name, Cause: err.Error()}
}

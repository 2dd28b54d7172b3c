package sqsqueue

import (
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go"
)

// refusal makes an error of what SQS says about an entry of a batch.
func refusal(e types.BatchResultErrorEntry) error {
	f := smithy.FaultServer
	if e.SenderFault {
		f = smithy.FaultClient
	}
	return &smithy.GenericAPIError{Code: aws.ToString(e.Code), Message: aws.ToString(e.Message), Fault: f}
}

// isExpired says whether SQS refused a receipt because it is no longer valid. A FIFO queue answers InvalidParameterValue and "The
// receipt handle has expired", a message that is visible again MessageNotInflight:
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ChangeMessageVisibility.html,
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_DeleteMessage.html
func isExpired(e types.BatchResultErrorEntry) bool {
	switch code := strings.TrimPrefix(aws.ToString(e.Code), "AWS.SimpleQueueService."); code {
	case "ReceiptHandleIsInvalid", "MessageNotInflight":
		return true
	case "InvalidParameterValue":
		return strings.Contains(strings.ToLower(aws.ToString(e.Message)), "expired")
	default:
		return false
	}
}

// isTooLong says whether SQS refused a visibility because the delivery would last longer than twelve hours.
func isTooLong(e types.BatchResultErrorEntry) bool {
	return aws.ToString(e.Code) == "InvalidParameterValue" && strings.Contains(aws.ToString(e.Message), "Total")
}

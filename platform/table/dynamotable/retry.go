package dynamotable

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/riskprofiler/riskprofiler/platform/awsclient"
)

func newRetryer() *retry.Standard {
	return awsclient.NewRetryer(
		retry.RetryableErrorCode{Codes: map[string]struct{}{"TransactionConflictException": {}, "ReplicatedWriteConflictException": {}}},
		retry.IsErrorRetryableFunc(func(err error) aws.Ternary {
			var cancelled *types.TransactionCanceledException
			if errors.As(err, &cancelled) {
				return aws.BoolTernary(transient(cancelled))
			}
			return aws.UnknownTernary
		}))
}

// pause waits between two requests that are no attempts of one another.
func pause(ctx context.Context, attempt int) error {
	timer := time.NewTimer(awsclient.Delay(attempt))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// begin bounds a call in time, and ends it if it is over already.
func begin(ctx context.Context) (context.Context, context.CancelFunc, error) {
	bounded, cancel := context.WithTimeout(ctx, callTimeout)
	return bounded, cancel, awsclient.Fault(ctx.Err(), "begin", awsclient.Resource{})
}

// outcome is what is known about a write.
type outcome struct {
	// resend says that the write may be sent again though an earlier request may have been executed.
	resend bool
	// doubtful says that a request may have been executed whose answer was lost.
	doubtful bool
}

// retry gives one call the policy of the table; o is nil where repetition is harmless.
func (d *driver) retry(o *outcome) func(*dynamodb.Options) {
	return func(options *dynamodb.Options) {
		options.Retryer = d.retryer
		if o != nil {
			options.Retryer = &witness{Standard: d.retryer, outcome: o}
		}
	}
}

// witness sees how each attempt of one call ended.
type witness struct {
	*retry.Standard

	outcome *outcome
}

// IsErrorRetryable implements aws.Retryer.
func (w *witness) IsErrorRetryable(err error) bool {
	if mayHaveHappened(err) {
		w.outcome.doubtful = true
		if !w.outcome.resend {
			return false
		}
	}
	return w.Standard.IsErrorRetryable(err)
}

// mayHaveHappened says whether a request that ended so may have been executed. It was not if DynamoDB said so (status 4xx), if there
// was no connection, or if it was never sent, for lack of credentials for example.
func mayHaveHappened(err error) bool {
	var response *awshttp.ResponseError
	if errors.As(err, &response) && response.HTTPStatusCode() > 0 {
		return response.HTTPStatusCode()/100 != http.StatusBadRequest/100
	}
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return false
	}
	var send *smithyhttp.RequestSendError
	var unreadable *smithy.DeserializationError
	return errors.As(err, &send) || errors.As(err, &unreadable)
}

//go:build aws || awstest

package drivers

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/lambda"

	"github.com/riskprofiler/riskprofiler/platform/awsclient"
	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// functions calls services that are Lambda functions.
type functions struct {
	client   *lambda.Client
	location awsclient.Location
}

// newFunctions makes the client. It repeats a call only where Lambda says that it did not begin it: whether a call may be made
// twice is for its caller to know.
func newFunctions(c aws.Config, l awsclient.Location) *functions {
	return &functions{location: l, client: lambda.NewFromConfig(c, func(o *lambda.Options) {
		o.BaseEndpoint = l.EndpointOf("lambda")
		o.Retryer = retry.NewStandard(func(o *retry.StandardOptions) {
			o.Backoff = retry.BackoffDelayerFunc(func(attempt int, _ error) (time.Duration, error) { return awsclient.Delay(attempt), nil })
			o.Retryables = []retry.IsErrorRetryable{retry.NoRetryCanceledError{}, retry.RetryableErrorCode{Codes: retry.DefaultThrottleErrorCodes}}
		})
	})}
}

// invoke calls a function, "name:alias" or an ARN, and waits for its answer. A function that failed itself (it crashed, ran out
// of time or memory) is Unavailable: what it did is not known. What a service answers, failures too, is in the answer.
func (f *functions) invoke(ctx context.Context, name string, payload []byte) ([]byte, error) {
	out, err := f.client.Invoke(ctx, &lambda.InvokeInput{FunctionName: aws.String(name), Payload: payload})
	if err != nil {
		return nil, awsclient.Fault(err, "call another service", awsclient.Resource{Kind: "function", Name: name, Region: f.location.Region})
	}
	if out.FunctionError == nil {
		return out.Payload, nil
	}
	var failure struct {
		Type    string `json:"errorType"`
		Message string `json:"errorMessage"`
	}
	_ = json.Unmarshal(out.Payload, &failure) // what cannot be read leaves the fields empty
	cause := fmt.Errorf("function %s in %s failed (%s): %s %s", name, f.location.Region, aws.ToString(out.FunctionError), failure.Type, failure.Message)
	return nil, fault.Wrap(fault.Unavailable, cause, "call another service")
}

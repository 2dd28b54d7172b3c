package awsclient

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// Resource is what an operation was about, for the words of its errors.
type Resource struct {
	// Kind and Name as an operator knows them: "table", "rp-prod-assets".
	Kind, Name string
	// Region it was looked for in.
	Region string
}

// remedy is how an error is judged.
type remedy struct {
	code fault.Code
	// words follow "KIND NAME in REGION: ".
	words string
}

var (
	missing = remedy{fault.Internal, "it does not exist there; deploy it, or correct region and prefix in RISKPROFILER_BACKEND"}
	denied  = remedy{fault.Internal, "AWS refused the permission; give this role the actions that its stack lists"}
	wrong   = remedy{fault.Internal, "AWS does not accept the credentials; check AWS_PROFILE, AWS_ACCESS_KEY_ID or the role of this process, and its clock"}
	region  = remedy{fault.Internal, "it is in another region; correct the region in RISKPROFILER_BACKEND"}
	slow    = remedy{fault.Unavailable, "AWS throttles the requests"}
	down    = remedy{fault.Unavailable, "AWS could not answer"}
)

// remedies by error code: the common errors of
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html,
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/CommonErrors.html,
// https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html and
// https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html.
var remedies = map[string]remedy{
	"ResourceNotFoundException": missing, "QueueDoesNotExist": missing, "AWS.SimpleQueueService.NonExistentQueue": missing,
	"NoSuchBucket": missing, "StateMachineDoesNotExist": missing,

	"AccessDenied": denied, "AccessDeniedException": denied, "AllAccessDisabled": denied, "KMSAccessDeniedException": denied,
	"KMS.AccessDeniedException": denied, "KmsAccessDenied": denied,

	"UnrecognizedClientException": wrong, "InvalidClientTokenId": wrong, "InvalidSignatureException": wrong,
	"SignatureDoesNotMatch": wrong, "ExpiredToken": wrong, "ExpiredTokenException": wrong, "InvalidAccessKeyId": wrong,
	"IncompleteSignature": wrong, "MissingAuthenticationToken": wrong, "MissingAuthenticationTokenException": wrong,
	"RequestTimeTooSkewed": wrong, "InvalidToken": wrong, "AuthFailure": wrong, "NotSignedUp": wrong,

	"PermanentRedirect": region, "AuthorizationHeaderMalformed": region, "IllegalLocationConstraintException": region,
	"301": region, "MovedPermanently": region, "TemporaryRedirect": region,

	"ThrottlingException": slow, "Throttling": slow, "ProvisionedThroughputExceededException": slow, "RequestLimitExceeded": slow,
	"RequestThrottled": slow, "TooManyRequestsException": slow, "SlowDown": slow, "ThrottledException": slow,
	"KmsThrottled": slow, "KMSThrottlingException": slow, "LimitExceededException": slow, "OverLimit": slow, "EC2ThrottledException": slow,

	"InternalServerError": down, "InternalFailure": down, "InternalError": down, "ServiceUnavailable": down, "ServiceException": down,
	"ServiceFailure": down, "503": down, "500": down,
}

// Code is the error code that an AWS service gave, "" if the error is not a service's answer.
func Code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

// Fault turns an error of the SDK into a fault with one line: what was done to which resource, why it failed and what to do. Names
// and remedies are in the cause: the operator's log has them, a tenant reads only what was tried. A mistake of the operator's is
// fault.Internal. A nil
// err is nil, a fault stays as it is. Codes that only a driver understands (a condition that failed) are the driver's to look at
// first, with [Code].
func Fault(err error, what string, r Resource) error {
	if err == nil {
		return nil
	}
	var known *fault.Error
	if errors.As(err, &known) {
		return err
	}
	if errors.Is(err, context.Canceled) {
		return fault.Wrap(fault.Cancelled, err, "%s", what)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fault.Wrap(fault.DeadlineExceeded, err, "%s", what)
	}
	k := judge(err)
	return fault.Wrap(k.code, fmt.Errorf("%s %s in %s: %s: %w", r.Kind, r.Name, r.Region, k.words, oneLine{err}), "%s", what)
}

// oneLine shows an error of several lines (errors.Join) on one.
type oneLine struct{ error }

// Error joins the lines.
func (e oneLine) Error() string { return strings.Join(strings.Fields(e.error.Error()), " ") }

// Unwrap is the error as it was.
func (e oneLine) Unwrap() error { return e.error }

func judge(err error) remedy {
	// A signature for one region at the endpoint of another has the code of a wrong signature.
	if strings.Contains(err.Error(), "scoped to a valid region") || strings.Contains(err.Error(), "scoped to correct region") {
		return region
	}
	if k, ok := remedies[Code(err)]; ok {
		return k
	}
	var response *awshttp.ResponseError
	if errors.As(err, &response) && response.HTTPStatusCode() != 0 { // 0: the request was not sent or has no answer
		return byStatus(response.HTTPStatusCode(), Code(err))
	}
	if text := err.Error(); strings.Contains(text, "get credentials") || strings.Contains(text, "get identity") ||
		strings.Contains(text, "static credentials are empty") {
		return remedy{fault.Internal, "no AWS credentials were found; set AWS_PROFILE or AWS_ACCESS_KEY_ID, or give this process a role"}
	}
	var dns *net.DNSError
	var op *net.OpError
	if errors.As(err, &dns) || errors.As(err, &op) {
		return remedy{fault.Unavailable, "AWS cannot be reached; check the network, the region and the endpoint in RISKPROFILER_BACKEND"}
	}
	return down
}

// byStatus judges an answer whose code is not known.
func byStatus(status int, code string) remedy {
	switch {
	case status == 301 || status == 307:
		return region
	case status == 403:
		return denied
	case status == 429:
		return slow
	case status >= 500:
		return down
	}
	return remedy{fault.Internal, "AWS refused the request with " + code}
}

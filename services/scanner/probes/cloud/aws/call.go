package aws

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"

	"github.com/riskprofiler/riskprofiler/platform/awsclient"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud/aws/query"
)

// Short names for the reasons of gaps.
const (
	failedGap    = cloud.GapFailed
	deniedGap    = cloud.GapDenied
	throttledGap = cloud.GapThrottled
	timeGap      = cloud.GapTime
)

// denied are codes with which AWS refuses, beside those that contain "AccessDenied": docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html,
// docs.aws.amazon.com/IAM/latest/APIReference/CommonErrors.html, docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html.
var denied = []string{
	"UnauthorizedOperation", "AuthorizationError", "AuthorizationErrorException", "NotAuthorized", "UnauthorizedException", "ForbiddenException", "Forbidden",
	"AuthFailure", "OptInRequired", "SubscriptionRequiredException", "UnrecognizedClientException", "InvalidClientTokenId", "AllAccessDisabled",
	"ExpiredToken", "ExpiredTokenException", "SignatureDoesNotMatch",
}

// throttled are codes that ask for fewer calls, as the SDK's retryer knows them.
var throttled = []string{
	"ThrottlingException", "Throttling", "RequestLimitExceeded", "RequestThrottled", "RequestThrottledException", "TooManyRequestsException", "SlowDown", "ThrottledException",
	"EC2ThrottledException", "PriorRequestNotComplete", "BandwidthLimitExceeded", "LimitExceededException",
}

// gapOf is why a call failed.
func gapOf(err error) cloud.GapKind {
	code := awsclient.Code(err)
	status := 0
	var response *awshttp.ResponseError
	if errors.As(err, &response) {
		status = response.HTTPStatusCode()
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return timeGap
	case slices.Contains(throttled, code), status == 429:
		return throttledGap
	case slices.Contains(denied, code), strings.Contains(code, "AccessDenied"), code != "" && status == 403:
		return deniedGap
	}
	return failedGap
}

// noCredentials says that the SDK found none for this process.
func noCredentials(err error) bool {
	text := err.Error()
	return strings.Contains(text, "get identity") || strings.Contains(text, "get credentials") || strings.Contains(text, "credentials are empty")
}

// notOffered says that there is no such interface in a region: its name does not exist.
func notOffered(err error) bool {
	return errors.Is(err, fault.NotFound) && awsclient.Code(err) == ""
}

// oneLine is an error without what it quotes of requests: the service's code, or what happened to the connection.
func oneLine(err error) string {
	var api smithy.APIError
	switch {
	case errors.As(err, &api) && api.ErrorCode() != "":
		return "AWS answered " + probes.SafeString(api.ErrorCode(), 100)
	case errors.Is(err, errLong):
		return errLong.Error()
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return "there was no answer in time"
	case noCredentials(err):
		return "this process has no credentials"
	}
	var refused interface{ FaultCode() fault.Code }
	if errors.As(err, &refused) {
		return "it cannot be reached from here"
	}
	var response *awshttp.ResponseError
	if errors.As(err, &response) && response.HTTPStatusCode() != 0 {
		return "its answer could not be read"
	}
	return "it does not answer"
}

// pager is any paginator of the SDK.
type pager[O, F any] interface {
	HasMorePages() bool
	NextPage(ctx context.Context, options ...F) (*O, error)
}

// pages reads a listing of the SDK to its end or its bound, and says whether it was read whole: then what is not in it does not exist.
func pages[O, F any](ctx context.Context, in *inventory, p place, from pager[O, F], each func(*O)) bool {
	return walk(ctx, in, p, from.HasMorePages, func(ctx context.Context) (*O, error) { return from.NextPage(ctx) }, each)
}

// list is pages for a service of the protocol Query.
func list[O query.Page](ctx context.Context, in *inventory, p place, from *query.Pages[O], each func(*O)) bool {
	return walk(ctx, in, p, from.HasMorePages, from.NextPage, each)
}

func walk[O any](ctx context.Context, in *inventory, p place, more func() bool, next func(context.Context) (*O, error), each func(*O)) bool {
	for n := 0; more(); n++ {
		if n == cloud.MaxPages {
			in.gap(cloud.Gap{API: p.api, Region: p.region, Why: cloud.GapCut})
			return false
		}
		one, cancel := context.WithTimeout(ctx, cloud.CallTimeout)
		out, err := next(one)
		cancel()
		if err != nil {
			return in.failed(p, err)
		}
		each(out)
	}
	return true
}

// call makes one call of the SDK, and says whether it was answered. Codes in absent mean "there is none", which is an answer.
func call[I, O, F any](ctx context.Context, in *inventory, p place, do func(context.Context, *I, ...F) (*O, error), input *I, absent ...string) (*O, bool) {
	return once(ctx, in, p, func(ctx context.Context) (*O, error) { return do(ctx, input) }, absent)
}

// ask is call for a service of the protocol Query.
func ask[O any](ctx context.Context, in *inventory, p place, c *query.Client, o query.Operation[O], input url.Values, absent ...string) (*O, bool) {
	return once(ctx, in, p, func(ctx context.Context) (*O, error) { return query.Call(ctx, c, o, input) }, absent)
}

func once[O any](ctx context.Context, in *inventory, p place, do func(context.Context) (*O, error), absent []string) (*O, bool) {
	ctx, cancel := context.WithTimeout(ctx, cloud.CallTimeout)
	defer cancel()
	out, err := do(ctx)
	switch {
	case err == nil:
		return out, true
	case slices.Contains(absent, awsclient.Code(err)):
		return nil, true
	}
	return nil, in.failed(p, err)
}

// place is one call in one region.
type place struct{ api, region string }

// Package awsspan makes one CLIENT span of each call of the AWS SDK, whatever service it is of: append
// [Middleware] to the APIOptions of an aws.Config once, and every client made from it is covered.
//
// The SDK's own tracing hooks would make eleven spans a call (serialising, resolving the endpoint,
// each attempt, ...), which cost more than they tell. Here a call is one span with its retries as an
// attribute, by https://opentelemetry.io/docs/specs/semconv/cloud-providers/aws-sdk/.
//
// A call outside of a recorded span makes none: polls and refreshed credentials are too many to be
// traces. It refuses to write an error's text, which may hold keys and names of tenants: the code of
// the error is all that a span says.
//
// It is a package of its own because it links the AWS SDK.
package awsspan

import (
	"context"
	"errors"

	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// instrumentation is the scope of the spans.
const instrumentation = "github.com/riskprofiler/riskprofiler/platform/telemetry/awsspan"

// maxRequestID bounds what a server calls its answer.
const maxRequestID = 128

// Middleware adds the span to an operation. It is one of aws.Config.APIOptions.
func Middleware(stack *middleware.Stack) error {
	// Outermost: the span lasts as long as the caller waits, and what is below it knows it.
	return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("RiskProfilerSpan", call), middleware.Before)
}

func call(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
	parent := trace.SpanFromContext(ctx)
	if !parent.IsRecording() {
		return next.HandleInitialize(ctx, in)
	}
	// Not those of the SDK's own package: clients that were generated before 2026 set them further in than this is.
	service, method := middleware.GetServiceID(ctx), middleware.GetOperationName(ctx)
	ctx, span := parent.TracerProvider().Tracer(instrumentation).Start(ctx, service+"."+method, trace.WithSpanKind(trace.SpanKindClient),
		trace.WithAttributes(attribute.String("rpc.system", "aws-api"), attribute.String("rpc.service", service), attribute.String("rpc.method", method)))
	defer span.End()
	out, metadata, err := next.HandleInitialize(ctx, in)
	describe(span, metadata, err)
	return out, metadata, err
}

func describe(span trace.Span, metadata middleware.Metadata, err error) {
	id, ok := awsmiddleware.GetRequestIDMetadata(metadata)
	var answered interface{ ServiceRequestID() string }
	if !ok && errors.As(err, &answered) {
		id = answered.ServiceRequestID()
	}
	if id != "" && len(id) <= maxRequestID {
		span.SetAttributes(attribute.String("aws.request_id", id))
	}
	if attempts, ok := retry.GetAttemptResults(metadata); ok && len(attempts.Results) > 1 {
		span.SetAttributes(attribute.Int("http.request.resend_count", len(attempts.Results)-1))
	}
	if err == nil {
		return
	}
	var response *smithyhttp.ResponseError
	if errors.As(err, &response) {
		span.SetAttributes(attribute.Int("http.response.status_code", response.HTTPStatusCode()))
	}
	span.SetAttributes(attribute.String("error.type", errorType(err)))
	span.SetStatus(codes.Error, "")
}

// errorType is the code by which the service or the SDK calls what went wrong.
func errorType(err error) string {
	var api smithy.APIError
	var cancelled *smithy.CanceledError
	switch {
	case errors.As(err, &api):
		return api.ErrorCode()
	case errors.As(err, &cancelled), errors.Is(err, context.Canceled):
		return "cancelled"
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	default:
		return "_OTHER"
	}
}

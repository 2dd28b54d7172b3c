package app

import (
	"context"
	"errors"
	"sync"
	"time"

	"buf.build/go/protovalidate"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// defaultDeadline bounds a call between services that was made without one: shorter than the 29 s after which an API
// gateway gives up (docs.aws.amazon.com/apigateway/latest/developerguide/limits.html).
const defaultDeadline = 20 * time.Second

// deadline gives calls a deadline that have none.
func deadline() grpc.UnaryClientInterceptor {
	return func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		if _, ok := ctx.Deadline(); !ok {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, defaultDeadline)
			defer cancel()
		}
		return invoke(ctx, method, req, reply, cc, opts...)
	}
}

// validate checks requests against the rules in their contract; each violation names its field. The validator is made with
// the first request: it costs milliseconds, which a function that starts does not have.
func validate() grpc.UnaryServerInterceptor {
	validator := sync.OnceValues(func() (protovalidate.Validator, error) { return protovalidate.New() })
	return func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		m, ok := req.(proto.Message)
		if !ok {
			return handler(ctx, req)
		}
		v, err := validator()
		if err != nil {
			return nil, fault.Wrap(fault.Internal, err, "make validator")
		}
		err = v.Validate(m)
		if err == nil {
			return handler(ctx, req)
		}
		var invalid *protovalidate.ValidationError
		if !errors.As(err, &invalid) {
			return nil, fault.Wrap(fault.Internal, err, "validate request")
		}
		return nil, violations(invalid)
	}
}

func violations(invalid *protovalidate.ValidationError) error {
	var out error
	for _, v := range invalid.Violations {
		field := protovalidate.FieldPathString(v.Proto.GetField())
		text := v.Proto.GetMessage()
		if field == "" {
			field = "request"
		}
		if out == nil {
			out = fault.New(fault.Invalid, "%s: %s", field, text)
		}
		out = fault.WithField(out, field, text)
	}
	return out
}

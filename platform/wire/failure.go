package wire

import (
	"context"
	"errors"

	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/together"
)

// callError is what a caller gets: a gRPC status with all its details that also answers to the
// sentinels of package fault.
type callError struct {
	status *status.Status
	cause  error // what happened on this side, if the status is not the other side's
}

// Error is for a log on this side. What crosses the next wire is the status.
func (e *callError) Error() string {
	if e.cause != nil {
		return e.status.String() + ": " + e.cause.Error()
	}
	return e.status.String()
}

// GRPCStatus is how gRPC asks for the status.
func (e *callError) GRPCStatus() *status.Status { return e.status }

// FaultCode is how package fault asks for the code.
func (e *callError) FaultCode() fault.Code { return fault.CodeOf(e.status.Err()) }

// Is makes errors.Is work with the sentinels of package fault.
func (e *callError) Is(target error) bool {
	code, ok := target.(fault.Code)
	return ok && code == e.FaultCode()
}

// asCallError gives err, which a transport returned, to a caller.
func asCallError(err error) error {
	if err == nil {
		return nil
	}
	var own *callError
	if errors.As(err, &own) {
		return err
	}
	var made *fault.Error
	s, ok := statusOf(err)
	switch {
	case ok && errors.As(err, &made):
		return &callError{status: s, cause: err}
	case ok:
		return &callError{status: s}
	case errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded):
		return &callError{status: status.FromContextError(err)}
	}
	return &callError{status: status.New(codes.Unavailable, "the service cannot be reached"), cause: err}
}

// statusOf finds the outermost gRPC status in err. Unlike status.FromError it leaves out the text
// that was wrapped around it: that was written for a log.
func statusOf(err error) (*status.Status, bool) {
	var remote interface{ GRPCStatus() *status.Status }
	if !errors.As(err, &remote) {
		return nil, false
	}
	s := remote.GRPCStatus()
	return s, s != nil
}

// public turns what a handler or interceptor returned into an error that may leave the service:
// a fault, or a gRPC status as it is. Everything else becomes an Internal fault with a reference;
// made is true then, and somebody has to log err beside that reference.
func public(err error) (made bool, out error) {
	var f *fault.Error
	var remote interface{ GRPCStatus() *status.Status }
	switch {
	case errors.As(err, &f):
		return false, f
	case errors.As(err, &remote) && remote.GRPCStatus().Code() != codes.OK && remote.GRPCStatus().Code() != codes.Unknown:
		return false, status.ErrorProto(remote.GRPCStatus().Proto())
	}
	f = fault.From(err)
	return f.FaultCode() == fault.Internal, f
}

// statusProto is the status of err, which is not nil, as it crosses the wire.
func statusProto(err error) *spb.Status {
	s, ok := statusOf(err)
	if !ok {
		s = status.New(codes.Internal, fault.Internal.String())
	}
	return s.Proto() // a copy
}

// recovered is deferred by what calls a handler: it turns a panic into an Internal fault. Only
// what runs on the same goroutine is caught.
func recovered(method string, reply *any, err *error) {
	if value := recover(); value != nil { //nolint:revive // this function is what is deferred
		*reply, *err = nil, fault.Wrap(fault.Internal, together.Caught(value), "serve %s", method)
	}
}

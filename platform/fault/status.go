package fault

import (
	"errors"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"
)

// GRPCStatus is the error as it crosses the wire: code, [Error.Public], and as details
// google.rpc.BadRequest, google.rpc.RetryInfo and google.rpc.RequestInfo (the reference).
//
// grpc-go calls it by itself, but puts the full text of an error that is *wrapped around* a fault
// into the message: a server returns From(err), not err.
func (e *Error) GRPCStatus() *status.Status {
	s := status.New(e.code.GRPC(), e.Public())
	detailed, err := s.WithDetails(e.details()...)
	if err != nil {
		// Not reached: all strings are valid UTF-8 (clip). The bare status is still true.
		return s
	}
	return detailed
}

func (e *Error) details() []protoadapt.MessageV1 {
	var out []protoadapt.MessageV1
	if len(e.fields) > 0 {
		bad := &errdetails.BadRequest{}
		for _, f := range e.fields {
			bad.FieldViolations = append(bad.FieldViolations,
				&errdetails.BadRequest_FieldViolation{Field: f.Name, Description: f.Description})
		}
		out = append(out, bad)
	}
	if e.hasRetry {
		out = append(out, &errdetails.RetryInfo{RetryDelay: durationpb.New(e.retry)})
	}
	if e.reference != "" {
		out = append(out, &errdetails.RequestInfo{RequestId: e.reference})
	}
	return out
}

// FromStatus reads back an error that came over the wire, so that the sentinels work on the
// calling side as on the called one. Errors that are no gRPC status come back as they are.
func FromStatus(err error) error {
	if err == nil {
		return nil
	}
	var own *Error
	if errors.As(err, &own) {
		return err
	}
	var remote interface{ GRPCStatus() *status.Status }
	if !errors.As(err, &remote) {
		return err
	}
	return fromStatus(remote.GRPCStatus(), err)
}

// fromStatus trusts the peer's words to be fit for a caller (they passed through Public there)
// but not their size: they are clipped again.
func fromStatus(s *status.Status, cause error) *Error {
	e := &Error{code: Code(s.Code()).known(), message: clip(s.Message(), MaxMessageBytes)}
	if e.code.opaque() {
		// The words of a stranger's Internal are kept for the log only, as a cause.
		e.message, e.cause = "", cause
	}
	for _, d := range s.Details() {
		e.readDetail(d)
	}
	if e.code.opaque() && e.reference == "" {
		e.reference = newReference()
	}
	return e
}

func (e *Error) readDetail(d any) {
	switch d := d.(type) {
	case *errdetails.BadRequest:
		for _, v := range d.GetFieldViolations() {
			if len(e.fields) == MaxFields {
				return
			}
			e.fields = append(e.fields, Field{
				Name:        clip(v.GetField(), MaxFieldBytes),
				Description: clip(v.GetDescription(), MaxDescriptionBytes),
			})
		}
	case *errdetails.RetryInfo:
		e.retry, e.hasRetry = max(d.GetRetryDelay().AsDuration(), time.Duration(0)), true
	case *errdetails.RequestInfo:
		e.reference = clip(d.GetRequestId(), MaxFieldBytes)
	}
}

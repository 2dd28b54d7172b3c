package fault

import "google.golang.org/grpc/codes"

// Code says what kind of failure an error is. A Code is itself an error, so it serves as the
// sentinel: errors.Is(err, fault.NotFound). The numbers are gRPC's own
// (https://grpc.github.io/grpc/core/md_doc_statuscodes.html), so that no table can go out of step.
type Code uint32

// The codes. Each comment says what the caller may do about it.
const (
	// OK is the code of a nil error. No error carries it.
	OK Code = Code(codes.OK)
	// Cancelled: the caller went away. Nobody is left to be told.
	Cancelled Code = Code(codes.Canceled)
	// Invalid: the request is wrong in itself and stays wrong however often it is sent.
	Invalid Code = Code(codes.InvalidArgument)
	// DeadlineExceeded: time ran out. The effect may or may not have happened.
	DeadlineExceeded Code = Code(codes.DeadlineExceeded)
	// NotFound: it does not exist, or the caller may not know that it does.
	NotFound Code = Code(codes.NotFound)
	// AlreadyExists: something else holds the name.
	AlreadyExists Code = Code(codes.AlreadyExists)
	// PermissionDenied: the caller is known and may not.
	PermissionDenied Code = Code(codes.PermissionDenied)
	// ResourceExhausted: a quota, a rate or a disk is used up. Try again later, see [RetryDelay].
	ResourceExhausted Code = Code(codes.ResourceExhausted)
	// FailedPrecondition: the system is not in the state that the request needs. Change that first.
	FailedPrecondition Code = Code(codes.FailedPrecondition)
	// Conflict: somebody else changed the thing in between. Read again, decide again, write again.
	Conflict Code = Code(codes.Aborted)
	// Unimplemented: no such method.
	Unimplemented Code = Code(codes.Unimplemented)
	// Internal: a mistake of ours. The cause is in the log under the error's reference.
	Internal Code = Code(codes.Internal)
	// Unavailable: not now. The same request may be tried again after a pause.
	Unavailable Code = Code(codes.Unavailable)
	// DataLoss: stored data is damaged. Repeating does not help, a person has to look.
	DataLoss Code = Code(codes.DataLoss)
	// Unauthenticated: the caller did not prove who it is.
	Unauthenticated Code = Code(codes.Unauthenticated)
)

// Error makes a code usable as a sentinel. It is the same text as String.
func (c Code) Error() string { return c.String() }

// String is the code in lower-case words.
func (c Code) String() string {
	switch c {
	case OK:
		return "ok"
	case Cancelled:
		return "cancelled"
	case Invalid:
		return "invalid argument"
	case DeadlineExceeded:
		return "deadline exceeded"
	case NotFound:
		return "not found"
	case AlreadyExists:
		return "already exists"
	case PermissionDenied:
		return "permission denied"
	case ResourceExhausted:
		return "resource exhausted"
	case FailedPrecondition:
		return "failed precondition"
	case Conflict:
		return "conflict"
	case Unimplemented:
		return "unimplemented"
	case Unavailable:
		return "unavailable"
	case DataLoss:
		return "data loss"
	case Unauthenticated:
		return "unauthenticated"
	default:
		return "internal error"
	}
}

// FaultCode lets a bare code answer [CodeOf].
func (c Code) FaultCode() Code { return c.known() }

// GRPC is the code's number in a gRPC status.
func (c Code) GRPC() codes.Code {
	if c == OK {
		return codes.OK
	}
	return codes.Code(c.known())
}

// known maps what is no failure code of this package to Internal, and gRPC's two codes that
// say the same as another one to that one.
func (c Code) known() Code {
	switch c {
	case Cancelled, Invalid, DeadlineExceeded, NotFound, AlreadyExists, PermissionDenied,
		ResourceExhausted, FailedPrecondition, Conflict, Unimplemented, Internal, Unavailable,
		DataLoss, Unauthenticated:
		return c
	case Code(codes.OutOfRange):
		return Invalid
	default:
		return Internal
	}
}

// opaque says that the error's own words stay on this side of the wire: they were written for
// whoever runs the system, not for a tenant.
func (c Code) opaque() bool { return c == Internal || c == DataLoss }

// Package wire carries unary RPCs between services without a network of their own: inside one
// process, or as the payload of a Lambda Invoke.
//
// The transport port of this repository is gRPC's own pair of interfaces. Generated clients take
// a [grpc.ClientConnInterface], which [Conn] is; generated servers take a [grpc.ServiceRegistrar],
// which [Mux] is. Between the two lies one envelope, [Call] and [Reply], and a [RoundTripper] that
// moves it. A Mux is itself a RoundTripper, so an in-process connection is
//
//	conn := wire.NewConn(mux, wire.ConnOptions{})
//
// and a connection over Lambda is a [JSONTransport] around the Invoke call on one side and
// [Mux.ServeJSON] on the other. Where services talk real gRPC, [GRPCServerOptions] and
// [GRPCDialOptions] make that behave alike. The suite in wiretest holds all three to one contract:
//
//   - An in-process call is a real call: messages are marshaled, so neither side sees the other's
//     changes; the caller's context values stay with the caller; metadata, headers, trailers,
//     status details, deadline and cancellation behave as over gRPC.
//   - Each hop keeps [ReturnOverhead] of the deadline for the way back, and a call with
//     [MinTimeLeft] or less is refused with DeadlineExceeded before its handler runs.
//   - A failed handler answers with what package fault lets pass. Errors that are neither faults
//     nor gRPC statuses, and panics, become Internal without their words.
//   - A caller's error satisfies errors.Is(err, fault.NotFound) and the like, and keeps all
//     status details.
//   - A method is found by its exact name, "/package.Service/Method". Everything else, streaming
//     methods included, is Unimplemented.
//
// The package refuses streams, retries, balancing and authentication: a stream has a unary paged
// twin, and the others are interceptors or the business of the round-tripper.
package wire

import (
	"context"
	"time"

	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// Limits of one call. They hold on every transport.
const (
	// MaxMessageBytes is the largest request or reply message, marshaled. It is gRPC's own default
	// for received messages; in base64 it is 5.6 MB and so fits the 6 MB of a synchronous Lambda
	// Invoke (https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html) together
	// with its metadata. Beyond it a call fails with ResourceExhausted.
	MaxMessageBytes = 4 << 20

	// MaxMetadataBytes is the largest metadata of a request, and of the headers and trailers of a
	// reply together, counted as HTTP/2 counts a header list (RFC 9113, section 6.5.2): name plus
	// value plus 32 bytes for each value. Beyond it a call fails with Internal, as in gRPC.
	MaxMetadataBytes = 16 << 10

	// MaxEnvelopeBytes is the largest JSON form of a Call or Reply: the 6 MB of a synchronous
	// Lambda Invoke.
	MaxEnvelopeBytes = 6 << 20

	// ReturnOverhead is the part of a deadline that a hop keeps for answering, so that a callee's
	// timeout reaches the caller as an answer and not as the caller's own timeout. Boulder, which
	// the shape is from, keeps the same 20 ms (grpc/interceptors.go).
	ReturnOverhead = 20 * time.Millisecond

	// MinTimeLeft is the time to its deadline at or below which a call is refused: what is left
	// after the overhead would not do for one durable write.
	MinTimeLeft = 50 * time.Millisecond
)

// Call is one request on its way to a service.
type Call struct {
	// Method is the full name of the method: "/package.Service/Method".
	Method string
	// Metadata is the request's metadata: names in lower case, "-bin" values as raw bytes.
	Metadata map[string][]string
	// Body is the request message in protobuf's binary form.
	Body []byte
	// Message is the request message in protobuf's JSON form. It is used instead of Body where the
	// sender has no protobuf, as a state machine has not; the reply then has its Message set.
	Message []byte
	// Deadline is when the caller stops waiting. Zero: never. It is absolute: machines that share
	// calls share a clock.
	Deadline time.Time
}

// Reply is the answer to a [Call].
type Reply struct {
	// Status is nil for OK.
	Status *spb.Status
	// Header and Trailer are the reply's metadata, in the form of [Call.Metadata].
	Header, Trailer map[string][]string
	// Body is the reply message in protobuf's binary form. Empty when the call failed.
	Body []byte
	// Message is the reply message in protobuf's JSON form, if the Call came with one.
	Message []byte
}

// Err is the reply's status as an error that keeps all details and matches the sentinels of
// package fault, or nil.
func (r *Reply) Err() error {
	if r.Status.GetCode() == 0 {
		return nil
	}
	return &callError{status: status.FromProto(r.Status)}
}

// RoundTripper moves one call to a service and its answer back.
//
// It must not change or keep the Call after it returned, with one exception: when ctx ends it
// returns at once, and may go on reading the Call until the abandoned call is over. What the
// service answered, failures too, is a Reply; an error means that no answer was had. An error that
// carries no gRPC status reaches the caller as Unavailable.
type RoundTripper interface {
	RoundTrip(ctx context.Context, call *Call) (*Reply, error)
}

// headerListSize counts md as HTTP/2 does: RFC 9113, section 6.5.2.
func headerListSize(md metadata.MD) int {
	size := 0
	for name, values := range md {
		for _, v := range values {
			size += len(name) + len(v) + 32
		}
	}
	return size
}

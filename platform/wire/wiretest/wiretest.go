// Package wiretest is the contract of an RPC transport as a suite of tests. Every transport is held
// to the same one, real gRPC included: what gRPC does is what the others must do.
package wiretest

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"google.golang.org/grpc"
	testpb "google.golang.org/grpc/interop/grpc_testing"
)

// Server is what a case wants served, and how it wants to be connected.
type Server struct {
	// Register registers the services.
	Register func(grpc.ServiceRegistrar)
	// ServerInterceptors and ClientInterceptors run around the calls, the first outermost.
	ServerInterceptors []grpc.UnaryServerInterceptor
	ClientInterceptors []grpc.UnaryClientInterceptor
	// Logger is the server's.
	Logger *slog.Logger
}

// Transport is what is under test.
type Transport struct {
	// Connect serves s until the test is over and gives a connection to it. It may be called in a
	// synctest bubble.
	Connect func(t testing.TB, s Server) grpc.ClientConnInterface
	// CancelStaysHere says that a caller who gives up is not noticed on the other side before the
	// deadline. It is so where an Invoke has been sent: Lambda has no way to take it back.
	CancelStaysHere bool
	// CarriesStreams says that streams work, as they do over real gRPC only.
	CarriesStreams bool
}

// Run runs the suite.
func Run(t *testing.T, tr Transport) {
	for _, c := range []struct {
		name string
		run  func(*testing.T, Transport)
	}{
		{"messages are copied", messagesAreCopied},
		{"empty and absent messages", emptyMessages},
		{"statuses with details", statuses},
		{"faults", faults},
		{"words of other errors stay here", plainErrors},
		{"a status that claims success", okStatus},
		{"panics", panics},
		{"metadata to the server", metadataIn},
		{"metadata to the client", metadataOut},
		{"metadata of failed calls", metadataOfFailures},
		{"metadata that is refused", badMetadata},
		{"too much metadata", muchMetadata},
		{"headers are final", headersAreFinal},
		{"context values stay here", contextValues},
		{"method names", methodNames},
		{"streams", streams},
		{"message sizes", messageSizes},
		{"messages that cannot be marshaled", badMessages},
		{"deadline of the handler", handlerDeadline},
		{"no time left", noTimeLeft},
		{"a handler that does not listen", deafHandler},
		{"cancellation", cancellation},
		{"over before it began", alreadyOver},
		{"the handler's context ends with the call", contextEnds},
		{"interceptors", interceptors},
		{"call options", callOptions},
		{"many at once", manyAtOnce},
		{"proxy", proxy},
	} {
		t.Run(c.name, func(t *testing.T) {
			// A bubble's time stands still while anything runs, so the cases about time are exact;
			// and a goroutine that outlives its case is a failure by itself.
			synctest.Test(t, func(t *testing.T) { c.run(t, tr) })
		})
	}
}

// service answers with functions.
type service struct {
	testpb.UnimplementedTestServiceServer

	unary func(context.Context, *testpb.SimpleRequest) (*testpb.SimpleResponse, error)
	empty func(context.Context, *testpb.Empty) (*testpb.Empty, error)
}

// UnaryCall answers with the case's function.
func (s *service) UnaryCall(ctx context.Context, req *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
	return s.unary(ctx, req)
}

// EmptyCall answers with the case's function, or is not implemented.
func (s *service) EmptyCall(ctx context.Context, req *testpb.Empty) (*testpb.Empty, error) {
	if s.empty == nil {
		return s.UnimplementedTestServiceServer.EmptyCall(ctx, req)
	}
	return s.empty(ctx, req)
}

type unaryFunc = func(context.Context, *testpb.SimpleRequest) (*testpb.SimpleResponse, error)

// connect serves one function.
func connect(t testing.TB, tr Transport, unary unaryFunc) grpc.ClientConnInterface {
	return connectServer(t, tr, Server{}, &service{unary: unary})
}

func connectServer(t testing.TB, tr Transport, s Server, impl testpb.TestServiceServer) grpc.ClientConnInterface {
	if s.Logger == nil {
		s.Logger = slog.New(slog.DiscardHandler)
	}
	s.Register = func(reg grpc.ServiceRegistrar) { testpb.RegisterTestServiceServer(reg, impl) }
	return tr.Connect(t, s)
}

func dial(t testing.TB, tr Transport, unary unaryFunc) testpb.TestServiceClient {
	return testpb.NewTestServiceClient(connect(t, tr, unary))
}

// text is a request or payload that carries s.
func text(s string) *testpb.Payload { return &testpb.Payload{Body: []byte(s)} }

// counter counts how often a handler ran.
type counter struct{ n atomic.Int64 }

func (c *counter) unary(context.Context, *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
	c.n.Add(1)
	return &testpb.SimpleResponse{}, nil
}

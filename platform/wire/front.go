package wire

import (
	"context"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// NewFront makes a connection that serves its calls by passing them on: the interceptors of o run around every call as those of
// a server do, with what the caller sent as outgoing metadata for the incoming one, and then the call goes to the connection that
// route gives for the full name of its service. Between the two nothing is marshaled and no goroutine begins, so it costs less than
// a [Conn] on a [Mux] of proxies, which it behaves like, except that the caller has to leave the request alone until the call
// has returned, and that it gets no headers and trailers. A service without a route is Unimplemented, and so are streams.
//
// It is for a protocol that is translated into calls, as REST is.
func NewFront(o MuxOptions, route func(service string) grpc.ClientConnInterface) grpc.ClientConnInterface {
	return &front{boundary: boundary{log: orDefault(o.Logger)}, chain: chainServer(o.Interceptors), route: route}
}

type front struct {
	boundary
	chain grpc.UnaryServerInterceptor
	route func(service string) grpc.ClientConnInterface
}

// Invoke passes one call on.
func (f *front) Invoke(ctx context.Context, method string, req, reply any, _ ...grpc.CallOption) error {
	md, _ := metadata.FromOutgoingContext(ctx)
	ctx = metadata.NewIncomingContext(metadata.NewOutgoingContext(ctx, metadata.MD{}), md)
	_, err := f.call(ctx, method, req, reply)
	return asCallError(f.publish(ctx, method, err))
}

func (f *front) call(ctx context.Context, method string, req, reply any) (out any, err error) {
	defer recovered(method, &out, &err)
	service, _, _ := strings.Cut(strings.TrimPrefix(method, "/"), "/")
	conn := f.route(service)
	if conn == nil {
		return nil, status.Errorf(codes.Unimplemented, "unknown service %s", service)
	}
	pass := func(ctx context.Context, req any) (any, error) { return reply, conn.Invoke(ctx, method, req, reply) }
	if f.chain == nil {
		return pass(ctx, req)
	}
	return f.chain(ctx, req, &grpc.UnaryServerInfo{FullMethod: method}, pass)
}

// NewStream refuses streams, as a Conn does.
func (f *front) NewStream(_ context.Context, _ *grpc.StreamDesc, method string, _ ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, errStream(method, "")
}

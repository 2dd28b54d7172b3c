package wire

import (
	"context"
	"log/slog"
	"math"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// GRPCServerOptions makes a real gRPC server behave as a [Mux] with the same options does: limits,
// deadlines, panics, and what of an error leaves the service. streams are the interceptors for
// streaming methods, which only real gRPC has.
//
// The other limits are what a server needs that faces a network: at most 100 streams a connection
// (rapid reset, GO-2023-2153) and no pings more often than every 30 s.
func GRPCServerOptions(o MuxOptions, streams ...grpc.StreamServerInterceptor) []grpc.ServerOption {
	const maxStreams, minPing = 100, 30 * time.Second
	b := boundary{log: orDefault(o.Logger)}
	return []grpc.ServerOption{
		grpc.MaxRecvMsgSize(MaxMessageBytes),
		grpc.MaxSendMsgSize(MaxMessageBytes),
		grpc.MaxHeaderListSize(MaxMetadataBytes),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: minPing, PermitWithoutStream: true}),
		grpc.ChainUnaryInterceptor(append(append([]grpc.UnaryServerInterceptor{b.outermost}, o.Interceptors...), innermost)...),
		grpc.ChainStreamInterceptor(append([]grpc.StreamServerInterceptor{b.outermostStream}, streams...)...),
	}
}

// GRPCDialOptions makes a real gRPC connection behave as a [Conn] with the same options does.
// Credentials, the resolver and the balancer are the caller's to add.
func GRPCDialOptions(o ConnOptions) []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithDefaultCallOptions(
			grpc.MaxCallRecvMsgSize(MaxMessageBytes),
			grpc.MaxCallSendMsgSize(math.MaxInt32), // the server judges, as it does for a Conn
		),
		grpc.WithMaxHeaderListSize(MaxMetadataBytes),
		grpc.WithChainUnaryInterceptor(append(o.Interceptors[:len(o.Interceptors):len(o.Interceptors)], translate)...),
	}
}

// translate gives the caller of a real gRPC connection the errors that a Conn gives.
func translate(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	return asCallError(invoke(ctx, method, req, reply, cc, opts...))
}

// boundary is where a service ends: no error passes it as it is.
type boundary struct{ log *slog.Logger }

// outermost runs before all other interceptors: what is too late is refused, what they return or
// panic with is made fit to leave the service.
func (b boundary) outermost(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	if deadline, ok := ctx.Deadline(); ok {
		shaved, err := shave(deadline, time.Now())
		if err != nil {
			return nil, err
		}
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, shaved)
		defer cancel()
	}
	reply, err := innermost(ctx, req, info, handler)
	return reply, b.publish(ctx, info.FullMethod, err)
}

func (b boundary) outermostStream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	return b.publish(stream.Context(), info.FullMethod, callStream(srv, stream, info.FullMethod, handler))
}

func callStream(srv any, stream grpc.ServerStream, method string, handler grpc.StreamHandler) (err error) {
	var none any
	defer recovered(method, &none, &err)
	return handler(srv, stream)
}

// innermost runs after all other interceptors, so that they see a panic as the error it becomes.
func innermost(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (reply any, err error) {
	defer recovered(info.FullMethod, &reply, &err)
	return handler(ctx, req)
}

// publish makes err fit to leave the service. It logs a cause that nothing else can have logged.
func (b boundary) publish(ctx context.Context, method string, err error) error {
	if err == nil {
		return nil
	}
	made, out := public(err)
	if made {
		b.log.ErrorContext(ctx, "call failed", "method", method, "error", err.Error(), "reference", fault.Reference(out))
	}
	return out
}

// shave gives the deadline under which a handler runs, or refuses a call that comes too late.
func shave(deadline, now time.Time) (time.Time, error) {
	if left := deadline.Sub(now); left <= MinTimeLeft {
		return time.Time{}, fault.New(fault.DeadlineExceeded, "not enough time left: %s", max(left, 0))
	}
	return deadline.Add(-ReturnOverhead), nil
}

// chainServer makes one interceptor of many; the first is the outermost.
func chainServer(in []grpc.UnaryServerInterceptor) grpc.UnaryServerInterceptor {
	switch len(in) {
	case 0:
		return nil
	case 1:
		return in[0]
	}
	first, rest := in[0], chainServer(in[1:])
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		return first(ctx, req, info, func(ctx context.Context, req any) (any, error) {
			return rest(ctx, req, info, handler)
		})
	}
}

// chainClient makes one call of many interceptors around invoke; the first is the outermost.
func chainClient(in []grpc.UnaryClientInterceptor, invoke grpc.UnaryInvoker) grpc.UnaryInvoker {
	if len(in) == 0 {
		return invoke
	}
	first, rest := in[0], chainClient(in[1:], invoke)
	return func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, opts ...grpc.CallOption) error {
		return first(ctx, method, req, reply, cc, rest, opts...)
	}
}

// orDefault is l, or the process's logger.
func orDefault(l *slog.Logger) *slog.Logger {
	if l == nil {
		return slog.Default()
	}
	return l
}

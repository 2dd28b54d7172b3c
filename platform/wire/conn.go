package wire

import (
	"context"
	"math"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

// ConnOptions configure a [Conn]. The zero value works.
type ConnOptions struct {
	// Interceptors run around every call, the first outermost. They are given a nil
	// *grpc.ClientConn: there is none.
	Interceptors []grpc.UnaryClientInterceptor
}

// Conn is a connection for generated clients over a [RoundTripper]. It may be used concurrently
// and needs no closing.
//
// Every error of a call carries a gRPC status with all its details and matches the sentinels of
// package fault.
type Conn struct {
	rt   RoundTripper
	call grpc.UnaryInvoker
}

// NewConn makes a connection over rt.
func NewConn(rt RoundTripper, o ConnOptions) *Conn {
	c := &Conn{rt: rt}
	c.call = chainClient(o.Interceptors, c.invoke)
	return c
}

// Invoke makes one unary call. Of the call options it serves Header, Trailer, Peer, OnFinish,
// MaxCallRecvMsgSize and MaxCallSendMsgSize, and lets pass those that only tune a network
// (WaitForReady, UseCompressor, ...). Per-call credentials and codecs fail with Internal.
func (c *Conn) Invoke(ctx context.Context, method string, req, reply any, opts ...grpc.CallOption) error {
	return c.call(ctx, method, req, reply, nil, opts...)
}

// NewStream fails with Unimplemented, naming the unary method to use instead where it can find it.
func (c *Conn) NewStream(_ context.Context, _ *grpc.StreamDesc, method string, _ ...grpc.CallOption) (grpc.ClientStream, error) {
	service, name := splitMethod(method)
	return nil, asCallError(errStream(method, unaryTwin(service, name)))
}

func (c *Conn) invoke(ctx context.Context, method string, req, reply any, _ *grpc.ClientConn, opts ...grpc.CallOption) error {
	o, err := readOptions(opts)
	if err == nil {
		err = c.roundTrip(ctx, method, req, reply, &o)
	}
	err = asCallError(err)
	for _, f := range o.onFinish {
		f(err)
	}
	return err
}

func (c *Conn) roundTrip(ctx context.Context, method string, req, reply any, o *callOptions) error {
	if err := ctx.Err(); err != nil {
		return status.FromContextError(err).Err()
	}
	call := &Call{Method: method}
	if md, ok := metadata.FromOutgoingContext(ctx); ok {
		dropReserved(md)
		call.Metadata = md
	}
	call.Deadline, _ = ctx.Deadline()
	var err error
	if call.Body, err = encode(req); err != nil {
		return err
	}
	if len(call.Body) > o.maxSend {
		return status.Errorf(codes.ResourceExhausted, "trying to send message larger than max (%d vs. %d)", len(call.Body), o.maxSend)
	}
	answer, err := c.rt.RoundTrip(ctx, call)
	if err != nil {
		return err
	}
	o.deliver(answer)
	if answer.Status.GetCode() != int32(codes.OK) {
		return answer.Err()
	}
	if len(answer.Body) > o.maxReceive {
		return status.Errorf(codes.ResourceExhausted, "grpc: received message larger than max (%d vs. %d)", len(answer.Body), o.maxReceive)
	}
	return decode(answer.Body, reply)
}

// callOptions are the call options that mean something here.
type callOptions struct {
	headers, trailers   []*metadata.MD
	peers               []*peer.Peer
	onFinish            []func(error)
	maxSend, maxReceive int
}

func readOptions(opts []grpc.CallOption) (callOptions, error) {
	o := callOptions{maxSend: math.MaxInt, maxReceive: MaxMessageBytes}
	for _, opt := range opts {
		switch opt := opt.(type) {
		case grpc.HeaderCallOption:
			o.headers = append(o.headers, opt.HeaderAddr)
		case grpc.TrailerCallOption:
			o.trailers = append(o.trailers, opt.TrailerAddr)
		case grpc.PeerCallOption:
			o.peers = append(o.peers, opt.PeerAddr)
		case grpc.OnFinishCallOption:
			o.onFinish = append(o.onFinish, opt.OnFinish)
		case grpc.MaxRecvMsgSizeCallOption:
			o.maxReceive = min(opt.MaxRecvMsgSize, MaxMessageBytes)
		case grpc.MaxSendMsgSizeCallOption:
			o.maxSend = opt.MaxSendMsgSize
		case grpc.PerRPCCredsCallOption, grpc.ForceCodecCallOption, grpc.ForceCodecV2CallOption,
			grpc.CustomCodecCallOption, grpc.ContentSubtypeCallOption:
			return o, status.Errorf(codes.Internal, "call option %T is not supported by this connection", opt)
		}
	}
	return o, nil
}

// deliver hands out what the caller asked for, of failed calls too.
func (o *callOptions) deliver(r *Reply) {
	for _, md := range o.headers {
		*md = metadata.MD(r.Header).Copy()
	}
	for _, md := range o.trailers {
		*md = metadata.MD(r.Trailer).Copy()
	}
	for _, p := range o.peers {
		*p = peer.Peer{Addr: net.Addr(address{}), LocalAddr: net.Addr(address{})}
	}
}

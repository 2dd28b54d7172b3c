package wire

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// MuxOptions configure a [Mux]. The zero value works.
type MuxOptions struct {
	// Interceptors run around every handler, the first outermost. Interceptors see the deadline
	// that the handler has, and a panic of the handler as the error that it becomes.
	Interceptors []grpc.UnaryServerInterceptor
	// Logger is told the cause of an error that leaves as Internal and that no interceptor turned
	// into a fault. Nil: slog.Default.
	Logger *slog.Logger
}

// Mux serves the calls of the services that were registered with it. It is a
// [grpc.ServiceRegistrar] for generated code and a [RoundTripper] for a [Conn] in the same process.
//
// Services are registered before the first call. All other methods may be called concurrently.
type Mux struct {
	boundary
	chain    grpc.UnaryServerInterceptor
	base     context.Context //nolint:containedctx // the empty parent of every handler's context
	services map[string]grpc.ServiceInfo
	methods  map[string]*method
	streams  map[string]string // full method: its unary twin, or ""

	serving  atomic.Bool
	draining atomic.Bool
	inFlight atomic.Int64
	idle     chan struct{}
}

type method struct {
	full    string
	srv     any
	handler grpc.MethodHandler
}

// NewMux makes an empty Mux.
func NewMux(o MuxOptions) *Mux {
	m := &Mux{
		boundary: boundary{log: orDefault(o.Logger)},
		base: metadata.NewIncomingContext(
			peer.NewContext(context.Background(), &peer.Peer{Addr: address{}, LocalAddr: address{}}), metadata.MD{}),
		services: map[string]grpc.ServiceInfo{},
		methods:  map[string]*method{},
		streams:  map[string]string{},
		idle:     make(chan struct{}, 1),
	}
	if len(o.Interceptors) > 0 {
		m.chain = chainServer(append(o.Interceptors[:len(o.Interceptors):len(o.Interceptors)], innermost))
	}
	return m
}

// address is the peer's address that a handler sees: there is none.
type address struct{}

// Network names this transport.
func (address) Network() string { return "wire" }

// String names this transport.
func (address) String() string { return "wire" }

// RegisterService adds a service. It is called by generated code, and panics when the service is
// there already, when srv does not implement it and after the first call: all three are mistakes
// in the program.
func (m *Mux) RegisterService(desc *grpc.ServiceDesc, srv any) {
	if m.serving.Load() {
		panic(fmt.Sprintf("wire: service %s registered after the first call", desc.ServiceName))
	}
	if _, ok := m.services[desc.ServiceName]; ok {
		panic(fmt.Sprintf("wire: service %s registered twice", desc.ServiceName))
	}
	if srv != nil {
		want := reflect.TypeOf(desc.HandlerType).Elem()
		if !reflect.TypeOf(srv).Implements(want) {
			panic(fmt.Sprintf("wire: %T does not implement %s", srv, want))
		}
	}
	info := grpc.ServiceInfo{Metadata: desc.Metadata}
	for _, d := range desc.Methods {
		full := "/" + desc.ServiceName + "/" + d.MethodName
		m.methods[full] = &method{full: full, srv: srv, handler: d.Handler}
		info.Methods = append(info.Methods, grpc.MethodInfo{Name: d.MethodName})
	}
	for _, d := range desc.Streams {
		m.streams["/"+desc.ServiceName+"/"+d.StreamName] = unaryTwin(desc.ServiceName, d.StreamName)
		info.Methods = append(info.Methods, grpc.MethodInfo{
			Name: d.StreamName, IsClientStream: d.ClientStreams, IsServerStream: d.ServerStreams,
		})
	}
	m.services[desc.ServiceName] = info
}

// GetServiceInfo tells what is registered, in the form that gRPC's reflection and health services
// ask for.
func (m *Mux) GetServiceInfo() map[string]grpc.ServiceInfo {
	out := make(map[string]grpc.ServiceInfo, len(m.services))
	for name, info := range m.services {
		info.Methods = slices.Clone(info.Methods)
		out[name] = info
	}
	return out
}

// Drain refuses further calls with Unavailable and waits until the running ones are over, those
// too whose caller went away. It returns ctx's error when that ends first.
func (m *Mux) Drain(ctx context.Context) error {
	m.draining.Store(true)
	for m.inFlight.Load() > 0 {
		select {
		case <-m.idle:
		case <-ctx.Done():
			return fmt.Errorf("drain calls: %d still run: %w", m.inFlight.Load(), ctx.Err())
		}
	}
	return nil
}

// RoundTrip serves one call. It returns when the handler has answered or ctx has ended, whichever
// is first; the handler's context ends with ctx, and otherwise shares nothing with it.
func (m *Mux) RoundTrip(ctx context.Context, c *Call) (*Reply, error) {
	h, err := m.admit(c)
	if err != nil {
		return &Reply{Status: statusProto(err)}, nil
	}
	deadline := c.Deadline
	if d, ok := ctx.Deadline(); ok && (deadline.IsZero() || d.Before(deadline)) {
		deadline = d
	}
	if !deadline.IsZero() {
		if deadline, err = shave(deadline, time.Now()); err != nil {
			return &Reply{Status: statusProto(err)}, nil
		}
	}
	if !m.enter() {
		return &Reply{Status: statusProto(fault.New(fault.Unavailable, "the service is shutting down"))}, nil
	}
	return m.run(ctx, deadline, h, c)
}

// run serves the call on a goroutine of its own, so that a handler that does not listen cannot hold
// a caller that has given up.
func (m *Mux) run(ctx context.Context, deadline time.Time, h *method, c *Call) (*Reply, error) {
	s := &serving{mux: m, method: h, call: c, stream: transportStream{method: h.full}, done: make(chan *Reply, 1)}
	var cancel context.CancelFunc
	if deadline.IsZero() {
		s.ctx, cancel = context.WithCancel(m.base)
	} else {
		s.ctx, cancel = context.WithDeadline(m.base, deadline)
	}
	defer cancel()
	if len(c.Metadata) > 0 {
		s.ctx = metadata.NewIncomingContext(s.ctx, c.Metadata)
	}
	s.ctx = grpc.NewContextWithServerTransportStream(s.ctx, &s.stream)
	go s.run()
	select {
	case reply := <-s.done:
		return reply, nil
	case <-ctx.Done():
		return nil, &callError{status: status.FromContextError(ctx.Err())}
	}
}

// admit finds the method and checks the call's form. Its errors are what the caller gets.
func (m *Mux) admit(c *Call) (*method, error) {
	if !m.serving.Load() {
		m.serving.Store(true)
	}
	h, ok := m.methods[c.Method]
	if !ok {
		return nil, m.unknown(c.Method)
	}
	if size := max(len(c.Body), len(c.Message)); size > MaxMessageBytes {
		return nil, tooLarge(size)
	}
	return h, checkMetadata(c.Metadata)
}

// unknown says what is wrong with a method's name, in the words of grpc-go where it has them.
func (m *Mux) unknown(full string) error {
	if twin, ok := m.streams[full]; ok {
		return errStream(full, twin)
	}
	rest, slash := strings.CutPrefix(full, "/")
	cut := strings.LastIndex(rest, "/")
	if !slash || cut < 0 {
		return status.Errorf(codes.Unimplemented, "malformed method name: %q", full)
	}
	if _, ok := m.services[rest[:cut]]; !ok {
		return status.Errorf(codes.Unimplemented, "unknown service %s", rest[:cut])
	}
	return status.Errorf(codes.Unimplemented, "unknown method %s for service %s", rest[cut+1:], rest[:cut])
}

func (m *Mux) enter() bool {
	m.inFlight.Add(1)
	if m.draining.Load() {
		m.leave()
		return false
	}
	return true
}

func (m *Mux) leave() {
	if m.inFlight.Add(-1) == 0 {
		select {
		case m.idle <- struct{}{}:
		default: // a token that Drain has not taken yet says the same
		}
	}
}

// errDone is what a handler gets that sets metadata when it is too late. grpc-go's own is internal.
var errDone = errors.New("wire: the headers were sent or the call is over")

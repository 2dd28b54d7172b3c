package app

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"

	"github.com/riskprofiler/riskprofiler/platform/authn"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/wire"
)

// Limits of a connection between processes.
const (
	// handshakeLimit is how long somebody who connects may take to say who it is. gRPC's default is 2 minutes.
	handshakeLimit = 10 * time.Second
	// connectionAge is how long a connection lives. Then the client resolves the name again, so that it finds instances
	// that were added, and shows its certificate again, so that one which has expired ends with it.
	connectionAge = 10 * time.Minute
	// connectionGrace is what calls of an old connection may still take: the longest one takes a minute (Spec.Timeout).
	connectionGrace = 2 * time.Minute
	// pingEvery finds connections whose other side is gone without a word. Servers allow a ping every 30 s (package wire);
	// a load balancer of AWS forgets a silent connection after 350 s
	// (docs.aws.amazon.com/elasticloadbalancing/latest/network/network-load-balancers.html, idle timeout).
	pingEvery   = time.Minute
	pingTimeout = 10 * time.Second
	// reconnectMax bounds the pauses between attempts to connect. gRPC's default of 2 minutes is longer than the restart of
	// a service takes.
	reconnectMax   = 10 * time.Second
	reconnectFirst = 200 * time.Millisecond
	connectTimeout = 5 * time.Second
)

// answeredTrailer is set by a service that answers Unavailable itself. Without it the transport made the error up, and its
// words are addresses and certificates, which are for a log and not for a tenant.
const answeredTrailer = "rp-answered"

// lambdaScheme begins the place of a peer that is a function.
const lambdaScheme = "lambda:"

// Invoker calls functions by name or ARN with a payload and returns the answer's. Backends that are one reach peers that
// are functions.
type Invoker interface {
	Invoke(ctx context.Context, function string, payload []byte) ([]byte, error)
}

// connect connects a service here with others: over the mux if they are in this process, else where RISKPROFILER_PEERS
// says: "lambda:<function>" or "<host>:<port>".
func (h *Host) connect(from string, to []string) error {
	options := wire.ConnOptions{Interceptors: []grpc.UnaryClientInterceptor{
		h.telemetryOf(from).UnaryClientInterceptor(), deadline(), authn.UnaryClientInterceptor(h.signers[from]),
	}}
	for _, peer := range to {
		conn, err := h.reach(from, peer, options)
		if err != nil {
			return err
		}
		h.conns[from+">"+peer] = conn
	}
	return nil
}

func (h *Host) reach(from, peer string, options wire.ConnOptions) (grpc.ClientConnInterface, error) {
	if slices.ContainsFunc(h.specs, func(s Spec) bool { return s.Name == peer }) {
		return wire.NewConn(h.mux, options), nil
	}
	place, ok := h.config.Peers[peer]
	if !ok {
		return nil, fault.New(fault.Invalid, "connect %s to %s: the service is not in this process and RISKPROFILER_PEERS does not say where it is", from, peer)
	}
	if function, ok := strings.CutPrefix(place, lambdaScheme); ok {
		invoker, ok := h.backends.(Invoker)
		if !ok || function == "" {
			return nil, fault.New(fault.Invalid, "connect %s to %s: RISKPROFILER_PEERS says %s, but these drivers call no functions; name a host and port", from, peer, place)
		}
		return wire.NewConn(wire.JSONTransport{Invoke: func(ctx context.Context, payload []byte) ([]byte, error) {
			return invoker.Invoke(ctx, function, payload)
		}}, options), nil
	}
	return h.dial(from, peer, place, options)
}

// dial connects over gRPC. Nothing is sent before the first call.
func (h *Host) dial(from, peer, place string, options wire.ConnOptions) (grpc.ClientConnInterface, error) {
	var proof credentials.TransportCredentials
	switch {
	case h.tls != nil:
		proof = h.tls.ClientCredentials(peer)
	case local(place):
		proof = insecure.NewCredentials()
	default:
		return nil, fault.New(fault.Invalid, "connect %s to %s at %s: calls leave this machine and no certificate is set; set RISKPROFILER_TLS_CERT, _KEY and _CA", from, peer, place)
	}
	options.Interceptors = append(slices.Clone(options.Interceptors), unreachable(peer))
	config, err := serviceConfig()
	if err != nil {
		return nil, err
	}
	cc, err := grpc.NewClient(target(place), append(wire.GRPCDialOptions(options),
		grpc.WithTransportCredentials(proof),
		grpc.WithDefaultServiceConfig(config),
		grpc.WithDisableServiceConfig(), // one in DNS would say how often we repeat ourselves
		grpc.WithNoProxy(),              // a proxy is for the way out
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: pingEvery, Timeout: pingTimeout, PermitWithoutStream: true}),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: reconnectFirst, Multiplier: backoff.DefaultConfig.Multiplier, Jitter: backoff.DefaultConfig.Jitter, MaxDelay: reconnectMax},
			MinConnectTimeout: connectTimeout,
		}))...)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "connect %s to %s at %s", from, peer, place)
	}
	h.dialed = append(h.dialed, cc)
	h.closers = append(h.closers, cc.Close)
	return cc, nil
}

// target is the place in gRPC's form. A place that names its own DNS server has that form already:
// "dns://192.0.2.53:53/ingest.example.internal:9000" (grpc.github.io/grpc/core/md_doc_naming.html).
func target(place string) string {
	if strings.HasPrefix(place, "dns://") {
		return place
	}
	return "dns:///" + place
}

// local reports whether what is sent to or taken at the address "host:port" stays on this machine.
func local(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// unreachable replaces what the transport says about a peer that cannot be reached.
func unreachable(peer string) grpc.UnaryClientInterceptor {
	return func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		var trailer metadata.MD
		err := invoke(ctx, method, req, reply, cc, append(opts[:len(opts):len(opts)], grpc.Trailer(&trailer))...)
		if fault.CodeOf(err) == fault.Unavailable && len(trailer.Get(answeredTrailer)) == 0 {
			return fault.Wrap(fault.Unavailable, err, "%s cannot be reached", peer)
		}
		return err
	}
}

// answered marks Unavailable as the service's own answer: see [unreachable].
func answered(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	reply, err := handler(ctx, req)
	if fault.CodeOf(err) == fault.Unavailable {
		_ = grpc.SetTrailer(ctx, metadata.Pairs(answeredTrailer, "1")) // without it the caller sees less
	}
	return reply, err
}

// servePeers serves this process's services to the others over gRPC until ctx ends. Then it says so first, to whoever asks
// for its health, stays RISKPROFILER_LAME_DUCK longer, takes no more calls, and finishes those that run.
func (h *Host) servePeers(ctx context.Context, l net.Listener) error {
	options := h.server
	options.Interceptors = []grpc.UnaryServerInterceptor{answered}
	for _, i := range h.admit {
		options.Interceptors = append(options.Interceptors, exceptHealth(i))
	}
	more := []grpc.ServerOption{
		grpc.ConnectionTimeout(handshakeLimit),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			Time: pingEvery, Timeout: pingTimeout, MaxConnectionAge: connectionAge, MaxConnectionAgeGrace: connectionGrace,
		}),
	}
	if h.tls != nil {
		more = append(more, grpc.Creds(h.tls.ServerCredentials()))
		options.Interceptors = append(options.Interceptors, bind)
	}
	options.Interceptors = append(options.Interceptors, h.validate)
	server := grpc.NewServer(append(wire.GRPCServerOptions(options, onlyHealth), more...)...)
	for _, s := range h.specs {
		if r := h.services[s.Name].Register; r != nil {
			r(server)
		}
	}
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	health := newPeerHealth(h.specs)
	health.register(server)
	cancel := context.AfterFunc(ctx, func() {
		health.drain()
		sleep(serving, h.config.LameDuck)
		stop()
	})
	defer cancel()
	return ServeGRPC(serving, server, l, h.config.Drain)
}

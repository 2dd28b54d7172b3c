package gateway

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/reflection"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	schedulerv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/scheduler/v1"
	"github.com/riskprofiler/riskprofiler/platform/app"
	"github.com/riskprofiler/riskprofiler/platform/authn"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/telemetry"
	"github.com/riskprofiler/riskprofiler/platform/wire"
)

// edge is what faces the outside: one gRPC server and one REST handler in front of the same chain.
type edge struct {
	service  *Service
	settings settings
	limits   *limits
	options  wire.MuxOptions
	rest     func() (http.Handler, error)
	conns    map[string]grpc.ClientConnInterface
	// signOn verifies tokens of people; nil: there is no issuer.
	signOn *signOn
}

func newEdge(s *Service, conns map[string]grpc.ClientConnInterface, t *telemetry.Telemetry, c settings) (*edge, error) {
	e := &edge{service: s, settings: c, limits: newLimits(c.KeyRate, c.TenantRate), conns: conns}
	var err error
	if e.signOn, err = newSignOn(c.SignOn, func(ctx context.Context, tenant string) (bool, error) {
		return s.tenants.get(ctx, tenant, time.Now())
	}); err != nil {
		return nil, err
	}
	e.options = wire.MuxOptions{Logger: t.Logger, Interceptors: []grpc.UnaryServerInterceptor{
		t.UnaryServerInterceptor(telemetry.ServerOptions{Untrusted: true, Level: slog.LevelInfo}), e.authenticate,
	}}
	e.rest = sync.OnceValues(func() (http.Handler, error) { return newREST(wire.NewFront(e.options, e.route), e) })
	return e, nil
}

// ServeHTTP serves REST. The handler is made at the first request: it takes milliseconds, and a function that answers calls of
// peers never needs it.
func (e *edge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rest, err := e.rest()
	if err != nil {
		e.service.log.ErrorContext(r.Context(), "REST is not served", slog.Any("error", err))
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	rest.ServeHTTP(w, r)
}

// route is the connection to the service that answers a contract, nil if the edge does not show it.
func (e *edge) route(contract string) grpc.ClientConnInterface {
	for _, r := range routes {
		if r.contract == contract {
			return e.conns[r.service]
		}
	}
	return nil
}

// authenticate proves who calls by the API key or the token, limits them, and passes on who it is. What they may call is the called
// service's policy.
func (e *edge) authenticate(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	ctx, err := e.admit(ctx)
	if err != nil {
		return nil, err
	}
	return handler(ctx, req)
}

func (e *edge) admit(ctx context.Context) (context.Context, error) {
	text, err := credentialOf(ctx)
	if err != nil {
		return nil, err
	}
	judge := e.service.keys.authenticate
	if e.signOn != nil && isToken(text) {
		judge = e.signOn.authenticate
	}
	p, err := judge(ctx, text)
	if err != nil {
		return nil, err
	}
	if wait, ok := e.limits.take(p, time.Now()); !ok {
		return nil, fault.RetryAfter(fault.New(fault.ResourceExhausted, "too many requests; try again in %s", wait.Round(time.Millisecond)), wait)
	}
	return authn.NewContext(ctx, p), nil
}

// credentialOf is the API key or token of a call: `authorization: Bearer <key or token>` or `x-api-key: <key>`.
func credentialOf(ctx context.Context) (string, error) {
	bearer, keys := metadata.ValueFromIncomingContext(ctx, "authorization"), metadata.ValueFromIncomingContext(ctx, "x-api-key")
	switch {
	case len(bearer) == 1 && len(keys) == 0:
		if scheme, text, ok := strings.Cut(bearer[0], " "); ok && strings.EqualFold(scheme, "bearer") {
			return text, nil
		}
	case len(keys) == 1 && len(bearer) == 0:
		return keys[0], nil
	case len(bearer)+len(keys) == 0:
		return "", fault.New(fault.Unauthenticated, "missing API key: send it as `Authorization: Bearer rp_...`")
	}
	return "", errKey()
}

// serve serves gRPC and REST on one listener: a connection that begins as HTTP/2 without TLS is gRPC, any other is REST.
func (e *edge) serve(ctx context.Context, l net.Listener) error {
	grpcServer, err := e.grpcServer() //nolint:contextcheck // a stream's context is its caller's, not the server's
	if err != nil {
		return err
	}
	if _, err := e.rest(); err != nil {
		return err
	}
	httpServer := &http.Server{
		Handler: e, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: slog.NewLogLogger(e.service.log.Handler(), slog.LevelDebug),
	}
	split := newSplitter(l)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return app.ServeGRPC(ctx, grpcServer, split.http2, e.settings.Drain) })
	g.Go(func() error { return serveHTTP(ctx, httpServer, split.http1, e.settings.Drain) })
	g.Go(func() error { return split.run(ctx) })
	return g.Wait()
}

func serveHTTP(ctx context.Context, s *http.Server, l net.Listener, drain time.Duration) error {
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
		defer cancel()
		_ = s.Shutdown(limit)
	})
	err := s.Serve(l)
	if !stop() {
		<-done
	}
	if ctx.Err() == nil {
		return fault.Wrap(fault.Unavailable, err, "serve REST on %s", l.Addr())
	}
	return nil
}

func (e *edge) grpcServer() (*grpc.Server, error) {
	server := grpc.NewServer(wire.GRPCServerOptions(e.options, e.authenticateStream)...)
	for _, r := range routes {
		found, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(r.contract))
		sd, ok := found.(protoreflect.ServiceDescriptor)
		if err != nil || !ok {
			return nil, fault.New(fault.Internal, "expose %s: the contract is not linked in", r.contract)
		}
		desc, err := wire.ProxyDesc(sd, e.conns[r.service])
		if err != nil {
			return nil, fault.Wrap(fault.Internal, err, "expose %s", r.contract)
		}
		if r.contract == schedulerv1.SchedulerService_ServiceDesc.ServiceName {
			desc = e.withWatch(desc)
		}
		server.RegisterService(desc, nil)
	}
	healthv1.RegisterHealthServer(server, health.NewServer())
	reflection.Register(server)
	return server, nil
}

// authenticateStream admits callers of streams. Health and reflection say nothing about tenants and need no key.
func (e *edge) authenticateStream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	if strings.HasPrefix(info.FullMethod, "/grpc.") {
		return handler(srv, stream)
	}
	ctx, err := e.admit(stream.Context())
	if err != nil {
		return err
	}
	return handler(srv, admitted{stream, ctx})
}

type admitted struct {
	grpc.ServerStream

	ctx context.Context //nolint:containedctx // grpc.ServerStream is made this way
}

// Context carries the principal.
func (a admitted) Context() context.Context { return a.ctx }

// withWatch adds the stream of events to the scheduler's contract, served from its unary twin.
func (e *edge) withWatch(desc *grpc.ServiceDesc) *grpc.ServiceDesc {
	out := *desc
	out.Streams = slices.Concat(desc.Streams, []grpc.StreamDesc{{
		StreamName: "WatchAssessment", ServerStreams: true,
		Handler: func(_ any, stream grpc.ServerStream) error {
			req := &schedulerv1.WatchAssessmentRequest{}
			if err := stream.RecvMsg(req); err != nil {
				return err
			}
			return e.watch(stream.Context(), req.GetName(), true, func(event *schedulerv1.AssessmentEvent) error { return stream.SendMsg(event) })
		},
	}})
	return &out
}

// watchEvery is how often a watched assessment is looked at.
const watchEvery = 250 * time.Millisecond

// snapshotPages bounds an answer that does not follow.
const snapshotPages = 20

// watch sends the events of an assessment until it has ended or the caller has gone; without follow, those that there are by
// now, at most snapshotPages of them.
func (e *edge) watch(ctx context.Context, assessment string, follow bool, send func(*schedulerv1.AssessmentEvent) error) error {
	client := schedulerv1.NewSchedulerServiceClient(e.conns["scheduler"])
	token := ""
	for page := 1; ; page++ {
		res, err := client.ListAssessmentEvents(ctx, &schedulerv1.ListAssessmentEventsRequest{Name: assessment, PageSize: 500, PageToken: token})
		if err != nil {
			return err
		}
		for _, event := range res.GetEvents() {
			if err := send(event); err != nil {
				return err
			}
		}
		if token = res.GetNextPageToken(); token == "" || !follow && (len(res.GetEvents()) == 0 || page == snapshotPages) {
			return nil
		}
		if !follow {
			continue
		}
		t := time.NewTimer(watchEvery)
		select {
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		case <-t.C:
		}
	}
}

package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/test/bufconn"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/telemetry/tracetest"
	"github.com/riskprofiler/riskprofiler/platform/wire"
)

// impl answers with a function.
type impl struct {
	testpb.UnimplementedTestServiceServer

	unary func(context.Context, *testpb.SimpleRequest) (*testpb.SimpleResponse, error)
}

func (s impl) UnaryCall(ctx context.Context, req *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
	return s.unary(ctx, req)
}

func (s impl) StreamingOutputCall(req *testpb.StreamingOutputCallRequest, stream grpc.ServerStreamingServer[testpb.StreamingOutputCallResponse]) error {
	_, err := s.unary(stream.Context(), &testpb.SimpleRequest{Payload: req.Payload})
	return err
}

type unary = func(context.Context, *testpb.SimpleRequest) (*testpb.SimpleResponse, error)

// hop connects a caller's telemetry with a service's, over one transport.
type hop func(t testing.TB, caller, service *Telemetry, o ServerOptions, serve unary) testpb.TestServiceClient

func overWire(_ testing.TB, caller, service *Telemetry, o ServerOptions, serve unary) testpb.TestServiceClient {
	m := wire.NewMux(wire.MuxOptions{Interceptors: []grpc.UnaryServerInterceptor{service.UnaryServerInterceptor(o)}, Logger: service.Logger})
	testpb.RegisterTestServiceServer(m, impl{unary: serve})
	return testpb.NewTestServiceClient(wire.NewConn(m, wire.ConnOptions{Interceptors: []grpc.UnaryClientInterceptor{caller.UnaryClientInterceptor()}}))
}

func overGRPC(t testing.TB, caller, service *Telemetry, o ServerOptions, serve unary) testpb.TestServiceClient {
	lis := bufconn.Listen(1 << 20)
	srv := grpc.NewServer(wire.GRPCServerOptions(wire.MuxOptions{Interceptors: []grpc.UnaryServerInterceptor{service.UnaryServerInterceptor(o)}, Logger: service.Logger},
		service.StreamServerInterceptor(o))...)
	testpb.RegisterTestServiceServer(srv, impl{unary: serve})
	go func() { _ = srv.Serve(lis) }() // Stop ends it
	opts := append(wire.GRPCDialOptions(wire.ConnOptions{Interceptors: []grpc.UnaryClientInterceptor{caller.UnaryClientInterceptor()}}),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return lis.DialContext(ctx) }))
	conn, err := grpc.NewClient("passthrough:///bufconn", opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
		srv.Stop()
	})
	return testpb.NewTestServiceClient(conn)
}

func hops() map[string]hop { return map[string]hop{"wire": overWire, "gRPC": overGRPC} }

func ok(context.Context, *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
	return &testpb.SimpleResponse{}, nil
}

func TestSpansOfACallMakeOneTree(t *testing.T) {
	for name, connect := range hops() {
		t.Run(name, func(t *testing.T) {
			tel, r, log := recording(t)
			back := connect(t, tel.For("scheduler"), tel.For("ingest"), ServerOptions{}, func(ctx context.Context, _ *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
				_, span := Start(ctx, "decide")
				defer span.End()
				return nil, fault.New(fault.NotFound, "none")
			})
			front := connect(t, tel.For("gateway"), tel.For("scheduler"), ServerOptions{}, func(ctx context.Context, req *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
				if _, err := back.UnaryCall(ctx, req); !errors.Is(err, fault.NotFound) {
					return nil, err
				}
				return &testpb.SimpleResponse{}, nil
			})
			ctx, span := tel.For("gateway").TracerProvider.Tracer("x").Start(t.Context(), "POST /v1/x")
			if _, err := front.UnaryCall(ctx, &testpb.SimpleRequest{}); err != nil {
				t.Fatal(err)
			}
			span.End()
			const want = `POST /v1/x @gateway
  grpc.testing.TestService/UnaryCall client @gateway rpc.system.name=grpc rpc.response.status_code=OK
    grpc.testing.TestService/UnaryCall server @scheduler rpc.system.name=grpc rpc.response.status_code=OK
      grpc.testing.TestService/UnaryCall client @scheduler rpc.system.name=grpc rpc.response.status_code=NOT_FOUND !
        grpc.testing.TestService/UnaryCall server @ingest rpc.system.name=grpc rpc.response.status_code=NOT_FOUND
          decide @ingest
`
			if diff := cmp.Diff(want, r.Tree(tracetest.Options{Service: true, Attributes: []string{"rpc.system.name", "rpc.response.status_code"}})); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			for _, line := range log.lines(t) {
				if line["trace_id"] != span.SpanContext().TraceID().String() {
					t.Errorf("log line of another trace: %v", line)
				}
			}
		})
	}
}

func TestUnsampledCallsKeepTheirTrace(t *testing.T) {
	tel, log := setup(t, Options{Level: slog.LevelDebug})
	client := overWire(t, tel, tel, ServerOptions{}, ok)
	ctx, span := tel.TracerProvider.Tracer("x").Start(t.Context(), "root")
	defer span.End()
	if _, err := client.UnaryCall(ctx, &testpb.SimpleRequest{}); err != nil {
		t.Fatal(err)
	}
	if line := log.lines(t)[0]; line["trace_id"] != span.SpanContext().TraceID().String() || line["code"] != "OK" || line["level"] != "DEBUG" {
		t.Errorf("log: %v", line)
	}
}

func TestStrangersCannotWriteIntoOurTraces(t *testing.T) {
	for name, connect := range hops() {
		for _, untrusted := range []bool{true, false} {
			tel, r, _ := recording(t)
			client := connect(t, tel, tel, ServerOptions{Untrusted: untrusted}, ok)
			ctx := trace.ContextWithSpanContext(t.Context(), remote(t, someParent, someState))
			ctx = metadata.AppendToOutgoingContext(ctx, "baggage", "tenant=t2")
			if _, err := client.UnaryCall(ctx, &testpb.SimpleRequest{}); err != nil {
				t.Fatal(err)
			}
			if err := r.Await(t.Context(), "grpc.testing.TestService/UnaryCall", 2); err != nil {
				t.Fatal(err)
			}
			for _, s := range r.Spans() {
				if s.SpanKind() != trace.SpanKindServer {
					continue
				}
				same := s.SpanContext().TraceID().String() == strings.Split(someParent, "-")[1]
				if same == untrusted || s.Parent().IsValid() == untrusted || (untrusted && s.SpanContext().TraceState().Len() > 0) {
					t.Errorf("%s, untrusted %v: trace %s, parent %v", name, untrusted, s.SpanContext().TraceID(), s.Parent())
				}
			}
		}
	}
}

func TestEventsOfRequests(t *testing.T) {
	cause := errors.New("disk full on 10.0.0.7")
	for _, c := range []struct {
		name  string
		err   error
		level string
		code  string
		says  string
	}{
		{"fine", nil, "INFO", "OK", ""},
		{"the caller's fault", fault.New(fault.Invalid, "domain %q is none", "hunter2"), "INFO", "INVALID_ARGUMENT", ""},
		{"not there", fault.Wrap(fault.NotFound, cause, "get plan"), "INFO", "NOT_FOUND", ""},
		{"plain", cause, "ERROR", "INTERNAL", "disk full on 10.0.0.7"},
		{"wrapped", fmt.Errorf("save plan: %w", fault.Wrap(fault.Internal, cause, "write table")), "ERROR", "INTERNAL", "save plan: write table: disk full"},
		{"damaged", fault.Wrap(fault.DataLoss, cause, "read"), "ERROR", "DATA_LOSS", "read: disk full"},
	} {
		for transport, connect := range hops() {
			tel, _, log := recording(t)
			client := connect(t, tel, tel, ServerOptions{Level: slog.LevelInfo}, func(ctx context.Context, _ *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
				Annotate(WithAssessment(ctx, "assessments/a1"), slog.String("tenant", "t1"), slog.Int("jobs", 3))
				Annotate(ctx, slog.Int("jobs", 4))
				return &testpb.SimpleResponse{}, c.err
			})
			_, err := client.UnaryCall(t.Context(), &testpb.SimpleRequest{})
			if fault.CodeOf(err) != fault.CodeOf(c.err) {
				t.Errorf("%s, %s: caller got %v", c.name, transport, err)
			}
			lines := log.lines(t)
			if len(lines) != 1 {
				t.Fatalf("%s, %s: %d lines: %v", c.name, transport, len(lines), lines)
			}
			line := lines[0]
			if line["msg"] != "request" || line["level"] != c.level || line["code"] != c.code || line["method"] != "grpc.testing.TestService/UnaryCall" ||
				line["tenant"] != "t1" || line["jobs"] != 4.0 || line["assessment"] != "assessments/a1" || line["trace_id"] == nil || line["duration_ms"] == nil {
				t.Errorf("%s, %s: %v", c.name, transport, line)
			}
			said, _ := line["error"].(string)
			if !strings.Contains(said, c.says) || (c.says == "" && line["error"] != nil) {
				t.Errorf("%s, %s: the log says %q", c.name, transport, said)
			}
			if c.says == "" {
				continue
			}
			if reference := fault.Reference(fault.From(err)); reference == "" || line["reference"] != reference {
				t.Errorf("%s, %s: the caller has reference %q, the log %v", c.name, transport, reference, line["reference"])
			}
		}
	}
}

func TestPanicsAreToldOnce(t *testing.T) {
	tel, r, log := recording(t)
	client := overWire(t, tel, tel, ServerOptions{}, func(context.Context, *testpb.SimpleRequest) (*testpb.SimpleResponse, error) { panic("hunter2") })
	if _, err := client.UnaryCall(t.Context(), &testpb.SimpleRequest{}); !errors.Is(err, fault.Internal) {
		t.Errorf("got %v", err)
	}
	lines := log.lines(t)
	if text := fmt.Sprint(lines); len(lines) != 1 || !strings.Contains(text, "TestPanicsAreToldOnce") || strings.Contains(text, "hunter2") {
		t.Errorf("log: %v", lines)
	}
	if got := r.Tree(tracetest.Options{}); strings.Count(got, "!") != 2 {
		t.Errorf("spans:\n%s", got)
	}
	// A panic that comes through the interceptor ends its span all the same.
	r.Reset()
	func() {
		defer func() { _ = recover() }()
		_, _ = tel.UnaryServerInterceptor(ServerOptions{})(t.Context(), nil, &grpc.UnaryServerInfo{FullMethod: "/a.B/C"}, func(context.Context, any) (any, error) { panic("x") })
	}()
	if got := r.Tree(tracetest.Options{}); got != "a.B/C server !\n" {
		t.Errorf("spans:\n%s", got)
	}
}

func TestStreams(t *testing.T) {
	tel, r, log := recording(t)
	for _, fails := range []bool{false, true} {
		client := overGRPC(t, tel, tel, ServerOptions{}, func(ctx context.Context, _ *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
			Annotate(ctx, slog.Int("sent", 7))
			_, span := Start(ctx, "inside")
			span.End()
			if fails {
				return nil, errors.New("broken")
			}
			return nil, nil //nolint:nilnil // a stream has no reply
		})
		stream, err := client.StreamingOutputCall(t.Context(), &testpb.StreamingOutputCallRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err = stream.Recv(); err == nil || errors.Is(err, fault.Internal) {
			t.Errorf("fails %v: got %v", fails, err)
		}
	}
	if err := r.Await(t.Context(), "grpc.testing.TestService/StreamingOutputCall", 2); err != nil {
		t.Fatal(err)
	}
	const want = "grpc.testing.TestService/StreamingOutputCall server\n  inside\ngrpc.testing.TestService/StreamingOutputCall server !\n  inside\n"
	if got := r.Tree(tracetest.Options{}); got != want {
		t.Errorf("spans:\n%s", got)
	}
	lines := log.lines(t)
	if len(lines) != 2 || lines[0]["code"] != "OK" || lines[0]["sent"] != 7.0 || lines[1]["code"] != "INTERNAL" || lines[1]["error"] != "broken" {
		t.Errorf("log: %v", lines)
	}
}

func TestRPCMetrics(t *testing.T) {
	reader := sdkmetric.NewManualReader()
	tel, _ := setup(t, Options{MetricReaders: []sdkmetric.Reader{reader}})
	fail := false
	client := overWire(t, tel, tel, ServerOptions{}, func(context.Context, *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
		if fail {
			return nil, fault.New(fault.Unavailable, "no")
		}
		return &testpb.SimpleResponse{}, nil
	})
	for range 3 {
		_, _ = client.UnaryCall(t.Context(), &testpb.SimpleRequest{})
		_, _ = client.UnaryCall(t.Context(), &testpb.SimpleRequest{})
		fail = true
	}
	const attrs = "rpc.method=grpc.testing.TestService/UnaryCall,rpc.response.status_code=%s,rpc.system.name=grpc"
	want := map[string]int64{}
	for _, side := range []string{"client", "server"} {
		want["rpc."+side+".call.duration "+fmt.Sprintf(attrs, "OK")] = 2
		want["rpc."+side+".call.duration "+fmt.Sprintf(attrs, "UNAVAILABLE")] = 4
	}
	if diff := cmp.Diff(want, collect(t, reader)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestMethodCacheIsBounded(t *testing.T) {
	tel, _ := setup(t, Options{})
	for i := range maxMethods + 100 {
		if m := tel.rpc.method(fmt.Sprint("/a.B/M", i)); m.name != fmt.Sprint("a.B/M", i) {
			t.Fatal(m.name)
		}
	}
	if n := len(tel.rpc.methods); n != maxMethods {
		t.Errorf("%d methods", n)
	}
}

func TestAnnotationsAreBounded(t *testing.T) {
	e := &event{}
	ctx := context.WithValue(t.Context(), eventKey{}, e)
	for i := range 1000 {
		Annotate(ctx, slog.Int(fmt.Sprint("k", i), i))
	}
	if n := len(e.list()); n != maxEventAttrs {
		t.Errorf("%d attributes", n)
	}
	Annotate(t.Context(), slog.Int("k", 1)) // nothing to add to
}

// TestQuietProcessesDoNotAskOthersToRecord: where nothing records, the ids of a recorded caller pass through, but
// not its wish to be recorded.
func TestQuietProcessesDoNotAskOthersToRecord(t *testing.T) {
	tel, _ := setup(t, Options{})
	for name, start := range map[string]func(context.Context) trace.SpanContext{
		"span": func(ctx context.Context) trace.SpanContext {
			_, span := tel.TracerProvider.Tracer("x").Start(ctx, "work", trace.WithSpanKind(trace.SpanKindServer))
			return span.SpanContext()
		},
		"request": func(ctx context.Context) trace.SpanContext {
			ctx, r := tel.begin(metadata.NewIncomingContext(ctx, metadata.Pairs("traceparent", someParent)), "/a.B/C", ServerOptions{})
			defer r.span.End()
			return trace.SpanContextFromContext(ctx)
		},
	} {
		parent := remote(t, someParent, someState)
		sc := start(trace.ContextWithRemoteSpanContext(t.Context(), parent))
		if sc.TraceID() != parent.TraceID() || sc.SpanID() == parent.SpanID() || sc.IsSampled() || sc.IsRemote() {
			t.Errorf("%s: %v", name, sc)
		}
	}
}

package telemetry

import (
	"context"
	"testing"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"google.golang.org/grpc"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"

	"github.com/riskprofiler/riskprofiler/platform/wire"
)

func benchmarkRPC(b *testing.B, o Options, with bool) {
	tel, _ := setup(b, o)
	// What every call has besides: an interceptor on either side, and a header, the token.
	m := wire.MuxOptions{Interceptors: []grpc.UnaryServerInterceptor{serveNothing}}
	c := wire.ConnOptions{Interceptors: []grpc.UnaryClientInterceptor{sendToken}}
	if with {
		m.Interceptors = append(m.Interceptors, tel.UnaryServerInterceptor(ServerOptions{}))
		c.Interceptors = append(c.Interceptors, tel.UnaryClientInterceptor())
	}
	mux := wire.NewMux(m)
	testpb.RegisterTestServiceServer(mux, impl{unary: ok})
	client := testpb.NewTestServiceClient(wire.NewConn(mux, c))
	ctx, span := tel.TracerProvider.Tracer("x").Start(b.Context(), "root")
	defer span.End()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := client.UnaryCall(ctx, &testpb.SimpleRequest{}); err != nil {
			b.Fatal(err)
		}
	}
}

func serveNothing(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	return handler(ctx, req)
}

func sendToken(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	return invoke(metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer token"), method, req, reply, cc, opts...)
}

// BenchmarkFloorRPC is the call without telemetry.
func BenchmarkFloorRPC(b *testing.B)    { benchmarkRPC(b, Options{}, false) }
func BenchmarkRPCNoExport(b *testing.B) { benchmarkRPC(b, Options{}, true) }
func BenchmarkRPCMetrics(b *testing.B) {
	benchmarkRPC(b, Options{MetricReaders: []sdkmetric.Reader{sdkmetric.NewManualReader()}}, true)
}

func BenchmarkRPCRecorded(b *testing.B) {
	benchmarkRPC(b, Options{SpanProcessors: []sdktrace.SpanProcessor{nothing{}}}, true)
}

type nothing struct{}

func (nothing) OnStart(context.Context, sdktrace.ReadWriteSpan) {}
func (nothing) OnEnd(sdktrace.ReadOnlySpan)                     {}
func (nothing) Shutdown(context.Context) error                  { return nil }
func (nothing) ForceFlush(context.Context) error                { return nil }

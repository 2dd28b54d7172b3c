package telemetry

import (
	"context"
	"testing"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"google.golang.org/grpc"
	testpb "google.golang.org/grpc/interop/grpc_testing"

	"github.com/riskprofiler/riskprofiler/platform/wire"
)

func benchmarkRPC(b *testing.B, o Options, with bool) {
	tel, _ := setup(b, o)
	m := wire.MuxOptions{}
	c := wire.ConnOptions{}
	if with {
		m.Interceptors = []grpc.UnaryServerInterceptor{tel.UnaryServerInterceptor(ServerOptions{})}
		c.Interceptors = []grpc.UnaryClientInterceptor{tel.UnaryClientInterceptor()}
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

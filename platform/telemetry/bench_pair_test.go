package telemetry

import (
	"context"
	"testing"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

// benchmarkPair is what the two interceptors cost by themselves: the transport between them hands
// over the metadata and nothing else.
func benchmarkPair(b *testing.B, o Options, with bool) {
	tel, _ := setup(b, o)
	const method = "/riskprofiler.ingest.v1.IngestService/GetAsset"
	info := &grpc.UnaryServerInfo{FullMethod: method}
	handler := func(context.Context, any) (any, error) { return nil, nil } //nolint:nilnil // nobody reads it
	client, server := tel.UnaryClientInterceptor(), tel.UnaryServerInterceptor(ServerOptions{})
	empty := metadata.NewIncomingContext(context.Background(), metadata.MD{})
	invoke := func(ctx context.Context, _ string, _, _ any, _ *grpc.ClientConn, _ ...grpc.CallOption) error {
		md, _ := metadata.FromOutgoingContext(ctx)
		ctx = metadata.NewIncomingContext(empty, md)
		if !with {
			_, err := handler(ctx, nil)
			return err
		}
		_, err := server(ctx, nil, info, handler)
		return err
	}
	ctx, span := tel.TracerProvider.Tracer("x").Start(metadata.AppendToOutgoingContext(b.Context(), "authorization", "Bearer token"), "root")
	defer span.End()
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if with {
			err = client(ctx, method, nil, nil, nil, invoke)
		} else {
			err = invoke(ctx, method, nil, nil, nil)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkFloorPair is the same without interceptors.
func BenchmarkFloorPair(b *testing.B)    { benchmarkPair(b, Options{}, false) }
func BenchmarkPairNoExport(b *testing.B) { benchmarkPair(b, Options{}, true) }
func BenchmarkPairMetrics(b *testing.B) {
	benchmarkPair(b, Options{MetricReaders: []sdkmetric.Reader{sdkmetric.NewManualReader()}}, true)
}

func BenchmarkPairRecorded(b *testing.B) {
	benchmarkPair(b, Options{SpanProcessors: []sdktrace.SpanProcessor{nothing{}}}, true)
}

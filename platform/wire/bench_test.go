package wire_test

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/protobuf/proto"

	"github.com/riskprofiler/riskprofiler/platform/wire"
	"github.com/riskprofiler/riskprofiler/platform/wire/wiretest"
)

// echo answers with what a small call of ours has: some 100 bytes each way.
type echo struct {
	testpb.UnimplementedTestServiceServer
}

func (echo) UnaryCall(_ context.Context, req *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
	return &testpb.SimpleResponse{Payload: req.Payload, Username: "tenants/t1/assets/a1"}, nil
}

func register(r grpc.ServiceRegistrar) { testpb.RegisterTestServiceServer(r, echo{}) }

func benchRequest() *testpb.SimpleRequest {
	return &testpb.SimpleRequest{Payload: &testpb.Payload{Body: make([]byte, 80)}, ResponseSize: 7}
}

// BenchmarkFloor is what every call has to do: marshal and unmarshal, both ways, in a bare loop.
func BenchmarkFloor(b *testing.B) {
	req := benchRequest()
	b.ReportAllocs()
	for b.Loop() {
		if err := floor(req); err != nil {
			b.Fatal(err)
		}
	}
}

func floor(req *testpb.SimpleRequest) error {
	body, err := proto.Marshal(req)
	if err != nil {
		return err
	}
	in := &testpb.SimpleRequest{}
	if err := proto.Unmarshal(body, in); err != nil {
		return err
	}
	out, err := echo{}.UnaryCall(context.Background(), in)
	if err != nil {
		return err
	}
	if body, err = proto.Marshal(out); err != nil {
		return err
	}
	return proto.Unmarshal(body, &testpb.SimpleResponse{})
}

func benchmark(b *testing.B, conn grpc.ClientConnInterface, ctx context.Context) { //nolint:revive // b comes first in a benchmark
	client := testpb.NewTestServiceClient(conn)
	req := benchRequest()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := client.UnaryCall(ctx, req); err != nil {
			b.Fatal(err)
		}
	}
}

func inProcess() (*wire.Mux, grpc.ClientConnInterface) {
	m := wire.NewMux(wire.MuxOptions{})
	register(m)
	return m, wire.NewConn(m, wire.ConnOptions{})
}

func BenchmarkInProcess(b *testing.B) {
	_, conn := inProcess()
	benchmark(b, conn, context.Background())
}

func BenchmarkInProcessWithDeadline(b *testing.B) {
	_, conn := inProcess()
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	benchmark(b, conn, ctx)
}

func BenchmarkInProcessParallel(b *testing.B) {
	_, conn := inProcess()
	client := testpb.NewTestServiceClient(conn)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		req := benchRequest()
		for pb.Next() {
			if _, err := client.UnaryCall(context.Background(), req); err != nil {
				b.Error(err)
			}
		}
	})
}

func BenchmarkJSON(b *testing.B) {
	m, _ := inProcess()
	benchmark(b, wire.NewConn(wire.JSONTransport{Invoke: m.ServeJSON}, wire.ConnOptions{}), context.Background())
}

func BenchmarkGRPC(b *testing.B) {
	benchmark(b, connectGRPC(b, wiretest.Server{Register: register}), context.Background())
}

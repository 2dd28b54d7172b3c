package wire_test

import (
	"context"
	"net"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/riskprofiler/riskprofiler/platform/wire"
	"github.com/riskprofiler/riskprofiler/platform/wire/wiretest"
)

func muxOf(s wiretest.Server) *wire.Mux {
	m := wire.NewMux(wire.MuxOptions{Interceptors: s.ServerInterceptors, Logger: s.Logger})
	s.Register(m)
	return m
}

func drained(t testing.TB, m *wire.Mux) {
	t.Cleanup(func() {
		if err := m.Drain(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

func TestInProcess(t *testing.T) {
	wiretest.Run(t, wiretest.Transport{Connect: func(t testing.TB, s wiretest.Server) grpc.ClientConnInterface {
		m := muxOf(s)
		drained(t, m)
		return wire.NewConn(m, wire.ConnOptions{Interceptors: s.ClientInterceptors})
	}})
}

// TestJSON carries every call as the bytes that a Lambda Invoke carries, into a function that knows
// nothing of the caller but those bytes.
func TestJSON(t *testing.T) {
	wiretest.Run(t, wiretest.Transport{CancelStaysHere: true, Connect: func(t testing.TB, s wiretest.Server) grpc.ClientConnInterface {
		m := muxOf(s)
		drained(t, m)
		invoke := func(ctx context.Context, payload []byte) ([]byte, error) {
			type answer struct {
				payload []byte
				err     error
			}
			answered := make(chan answer, 1)
			go func() {
				out, err := m.ServeJSON(context.Background(), payload)
				answered <- answer{out, err}
			}()
			select {
			case a := <-answered:
				return a.payload, a.err
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		return wire.NewConn(wire.JSONTransport{Invoke: invoke}, wire.ConnOptions{Interceptors: s.ClientInterceptors})
	}})
}

func TestGRPC(t *testing.T) {
	wiretest.Run(t, wiretest.Transport{Connect: connectGRPC, CarriesStreams: true})
}

func connectGRPC(t testing.TB, s wiretest.Server) grpc.ClientConnInterface {
	srv := grpc.NewServer(wire.GRPCServerOptions(wire.MuxOptions{Interceptors: s.ServerInterceptors, Logger: s.Logger})...)
	s.Register(srv)
	return dialBuf(t, srv, wire.GRPCDialOptions(wire.ConnOptions{Interceptors: s.ClientInterceptors})...)
}

// dialBuf serves srv in memory until the test is over.
func dialBuf(t testing.TB, srv *grpc.Server, opts ...grpc.DialOption) *grpc.ClientConn {
	lis := bufconn.Listen(1 << 20)
	served := make(chan error, 1)
	go func() { served <- srv.Serve(lis) }()
	opts = append(opts, grpc.WithTransportCredentials(insecure.NewCredentials()),
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
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return conn
}

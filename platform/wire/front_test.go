package wire

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// behind answers health checks by what the service is called, and keeps the metadata that reached it.
type behind struct {
	healthv1.UnimplementedHealthServer

	md metadata.MD
}

func (b *behind) Check(ctx context.Context, req *healthv1.HealthCheckRequest) (*healthv1.HealthCheckResponse, error) {
	b.md, _ = metadata.FromIncomingContext(ctx)
	if req.GetService() == "absent" {
		return nil, fault.WithField(fault.New(fault.NotFound, "no such service"), "service", "unknown")
	}
	return &healthv1.HealthCheckResponse{Status: healthv1.HealthCheckResponse_SERVING}, nil
}

// newFront is a front with an interceptor of its own before a mux with the service.
func newFront(b *behind, in grpc.UnaryServerInterceptor) healthv1.HealthClient {
	mux := NewMux(MuxOptions{})
	healthv1.RegisterHealthServer(mux, b)
	conn := NewConn(mux, ConnOptions{})
	return healthv1.NewHealthClient(NewFront(MuxOptions{
		Interceptors: []grpc.UnaryServerInterceptor{in}, Logger: slog.New(slog.DiscardHandler),
	}, func(service string) grpc.ClientConnInterface {
		if service != healthv1.Health_ServiceDesc.ServiceName {
			return nil
		}
		return conn
	}))
}

func TestFrontPassesOn(t *testing.T) {
	b := &behind{}
	var seen []string
	client := newFront(b, func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		seen = append(metadata.ValueFromIncomingContext(ctx, "x-api-key"), info.FullMethod)
		return handler(metadata.AppendToOutgoingContext(ctx, "x-subject", "alice"), req)
	})
	res, err := client.Check(metadata.AppendToOutgoingContext(t.Context(), "x-api-key", "secret"), &healthv1.HealthCheckRequest{})
	if err != nil || res.GetStatus() != healthv1.HealthCheckResponse_SERVING {
		t.Fatalf("%v, %v", res, err)
	}
	if want := []string{"secret", healthv1.Health_Check_FullMethodName}; !slices.Equal(seen, want) {
		t.Errorf("the interceptor saw %v, want %v", seen, want)
	}
	if len(b.md["x-api-key"]) > 0 || !slices.Equal(b.md["x-subject"], []string{"alice"}) {
		t.Errorf("%v reached the service: want what the interceptor adds and nothing of the caller's", b.md)
	}
}

func TestFrontErrors(t *testing.T) {
	pass := func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		return handler(ctx, req)
	}
	fail := func(err error) grpc.UnaryServerInterceptor {
		return func(context.Context, any, *grpc.UnaryServerInfo, grpc.UnaryHandler) (any, error) { return nil, err }
	}
	for _, c := range []struct {
		name, service string
		in            grpc.UnaryServerInterceptor
		code          codes.Code
		details       int
		words         string
	}{
		{"of the service", "absent", pass, codes.NotFound, 1, "no such service"},
		{"of an interceptor", "", fail(fault.New(fault.Unauthenticated, "no key")), codes.Unauthenticated, 0, "no key"},
		{"that is no fault", "", fail(errors.New("secret words")), codes.Internal, 1, "internal error"},
		{"panic", "", func(context.Context, any, *grpc.UnaryServerInfo, grpc.UnaryHandler) (any, error) {
			panic("secret words")
		}, codes.Internal, 1, "internal error"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := newFront(&behind{}, c.in).Check(t.Context(), &healthv1.HealthCheckRequest{Service: c.service})
			s := status.Convert(err)
			if s.Code() != c.code || len(s.Details()) != c.details || !strings.HasPrefix(s.Message(), c.words) || !errors.Is(err, fault.CodeOf(err)) {
				t.Errorf("%v with %v", err, s.Details())
			}
		})
	}
}

func TestFrontRefuses(t *testing.T) {
	front := NewFront(MuxOptions{}, func(string) grpc.ClientConnInterface { return nil })
	if err := front.Invoke(t.Context(), "/no.Such/Method", nil, nil); status.Code(err) != codes.Unimplemented {
		t.Errorf("a service without a route: %v", err)
	}
	if _, err := front.NewStream(t.Context(), nil, "/no.Such/Stream"); status.Code(err) != codes.Unimplemented {
		t.Errorf("a stream: %v", err)
	}
}

func TestFrontEndsWithItsCaller(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	client := newFront(&behind{}, func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		return handler(ctx, req)
	})
	if _, err := client.Check(ctx, &healthv1.HealthCheckRequest{}); status.Code(err) != codes.Canceled {
		t.Errorf("%v, want Canceled", err)
	}
}

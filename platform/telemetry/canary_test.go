package telemetry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"google.golang.org/grpc"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// fill puts secret into every text and bytes field of m, and into what is below it.
func fill(m protoreflect.Message, secret string, depth int) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		switch {
		case f.IsMap():
		case f.Kind() == protoreflect.MessageKind && depth > 0 && f.IsList():
			fill(m.Mutable(f).List().AppendMutable().Message(), secret, depth-1)
		case f.Kind() == protoreflect.MessageKind && depth > 0:
			fill(m.Mutable(f).Message(), secret, depth-1)
		case f.IsList():
		case f.Kind() == protoreflect.StringKind:
			m.Set(f, protoreflect.ValueOfString(secret))
		case f.Kind() == protoreflect.BytesKind:
			m.Set(f, protoreflect.ValueOfBytes([]byte(secret)))
		}
	}
}

// TestCanary: a secret in every field and every header of a request, and in every field and header
// of its reply, is in no log line and no span, however the request ends and whatever the handler
// is careless enough to log.
func TestCanary(t *testing.T) {
	const secret = "hunter2-canary"
	ends := map[string]func(*testpb.SimpleRequest) error{
		"fine":              func(*testpb.SimpleRequest) error { return nil },
		"quotes in a fault": func(r *testpb.SimpleRequest) error { return fault.New(fault.Invalid, "no such %s", r.Payload.Body) },
		"quotes in a field": func(r *testpb.SimpleRequest) error { return fault.WithField(nil, "payload", string(r.Payload.Body)) },
		"quotes in a cause": func(r *testpb.SimpleRequest) error {
			return fault.Wrap(fault.NotFound, fmt.Errorf("%s", r.Payload.Body), "get")
		},
		"panics with a text":   func(r *testpb.SimpleRequest) error { panic(string(r.Payload.Body)) },
		"panics with an error": func(r *testpb.SimpleRequest) error { panic(fmt.Errorf("%v", r)) },
		"panics with it":       func(r *testpb.SimpleRequest) error { panic(r) },
		"fails":                func(*testpb.SimpleRequest) error { return errors.New("disk full") },
	}
	for name, end := range ends {
		for transport, connect := range hops() {
			tel, r, log := recording(t)
			client := connect(t, tel, tel, ServerOptions{Level: slog.LevelInfo}, func(ctx context.Context, req *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
				if string(req.Payload.Body) != secret || req.ResponseStatus.Message != secret {
					t.Errorf("the request arrived as %v", req)
				}
				tel.Logger.InfoContext(ctx, "careless", "request", req, "payload", req.Payload.Body, "context", ctx, "any", []any{req})
				md, _ := metadata.FromIncomingContext(ctx)
				tel.Logger.InfoContext(ctx, "careless", "metadata", md, "values", map[string]any{"k": req})
				_ = grpc.SetTrailer(ctx, metadata.Pairs("secret", secret))
				return &testpb.SimpleResponse{Username: secret, Payload: req.Payload}, end(req)
			})
			req := &testpb.SimpleRequest{}
			fill(req.ProtoReflect(), secret, 3)
			if data, err := proto.Marshal(req); err != nil || bytes.Count(data, []byte(secret)) < 2 {
				t.Fatalf("the secret is not in the request: %q, %v", data, err)
			}
			ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+secret, "x-secret", secret)
			_, _ = client.UnaryCall(ctx, req)
			if err := r.Await(t.Context(), "grpc.testing.TestService/UnaryCall", 2); err != nil {
				t.Fatal(err)
			}
			spans := ""
			for _, s := range r.Spans() {
				spans += fmt.Sprintf("%s %v %v %v\n", s.Name(), s.Attributes(), s.Events(), s.Status())
			}
			if strings.Contains(log.String(), secret) || strings.Contains(spans, secret) {
				t.Errorf("%s, %s: the secret got out:\n%s\n%s", name, transport, log.String(), spans)
			}
			if !strings.Contains(log.String(), `"request":"[grpc.testing.SimpleRequest]"`) {
				t.Errorf("%s, %s: the careless line is missing: %s", name, transport, log.String())
			}
		}
	}
}

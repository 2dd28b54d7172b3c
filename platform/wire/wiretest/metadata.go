package wiretest

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/wire"
)

// binary is a value that is no text.
const binary = "\x00\xff\xfe,\n binary"

func metadataIn(t *testing.T, tr Transport) {
	var got metadata.MD
	client := dial(t, tr, func(ctx context.Context, _ *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
		md, ok := metadata.FromIncomingContext(ctx)
		if !ok {
			t.Error("no incoming metadata")
		}
		got = md
		if _, ok := metadata.FromOutgoingContext(ctx); ok {
			t.Error("the handler's context has outgoing metadata")
		}
		return &testpb.SimpleResponse{}, nil
	})
	ctx := metadata.AppendToOutgoingContext(t.Context(), "Upper", "Case", "empty", "", "twice", "one", "twice", "two", "raw-bin", binary, "comma", "a,b; c",
		"grpc-timeout", "1H", "content-type", "text/plain", "te", "gzip", "user-agent", "me")
	if _, err := client.UnaryCall(ctx, &testpb.SimpleRequest{}); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]string{
		"upper": {"Case"}, "empty": {""}, "twice": {"one", "two"}, "raw-bin": {binary}, "comma": {"a,b; c"}, "Upper": nil,
		"grpc-timeout": nil, "te": nil,
	} {
		if diff := cmp.Diff(want, got[name]); diff != "" {
			t.Errorf("%s (-sent +received):\n%s", name, diff)
		}
	}
	for _, reserved := range []string{"content-type", "user-agent"} {
		for _, v := range got[reserved] {
			if v == "text/plain" || v == "me" {
				t.Errorf("reserved %s arrived as %q", reserved, v)
			}
		}
	}
	if _, err := client.UnaryCall(t.Context(), &testpb.SimpleRequest{}); err != nil || len(got["twice"]) > 0 {
		t.Errorf("a call without metadata: %v, %v", got, err)
	}
}

func reply(ctx context.Context) error {
	if err := grpc.SetHeader(ctx, metadata.Pairs("first", "1", "Both", "header", "raw-bin", binary)); err != nil {
		return err
	}
	if err := grpc.SetTrailer(ctx, metadata.Pairs("last", "1", "both", "trailer")); err != nil {
		return err
	}
	if err := grpc.SetTrailer(ctx, metadata.Pairs("last", "2", "raw-bin", binary, "grpc-status", "13")); err != nil {
		return err
	}
	return grpc.SetHeader(ctx, metadata.Pairs("first", "2"))
}

func checkReply(t *testing.T, header, trailer metadata.MD) {
	t.Helper()
	for name, want := range map[string][]string{"first": {"1", "2"}, "both": {"header"}, "raw-bin": {binary}, "last": nil} {
		if diff := cmp.Diff(want, header[name]); diff != "" {
			t.Errorf("header %s (-sent +received):\n%s", name, diff)
		}
	}
	for name, want := range map[string][]string{"last": {"1", "2"}, "both": {"trailer"}, "raw-bin": {binary}, "first": nil, "grpc-status": nil} {
		if diff := cmp.Diff(want, trailer[name]); diff != "" {
			t.Errorf("trailer %s (-sent +received):\n%s", name, diff)
		}
	}
}

func metadataOut(t *testing.T, tr Transport) {
	client := dial(t, tr, func(ctx context.Context, _ *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
		return &testpb.SimpleResponse{}, reply(ctx)
	})
	var header, trailer metadata.MD
	if _, err := client.UnaryCall(t.Context(), &testpb.SimpleRequest{}, grpc.Header(&header), grpc.Trailer(&trailer)); err != nil {
		t.Fatal(err)
	}
	checkReply(t, header, trailer)
}

func metadataOfFailures(t *testing.T, tr Transport) {
	client := dial(t, tr, func(ctx context.Context, _ *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
		if err := reply(ctx); err != nil {
			t.Error(err)
		}
		return nil, fault.New(fault.NotFound, "none")
	})
	var header, trailer metadata.MD
	if _, err := client.UnaryCall(t.Context(), &testpb.SimpleRequest{}, grpc.Header(&header), grpc.Trailer(&trailer)); status.Code(err) != codes.NotFound {
		t.Fatalf("got %v", err)
	}
	checkReply(t, header, trailer)
}

func badMetadata(t *testing.T, tr Transport) {
	ran := &counter{}
	client := dial(t, tr, ran.unary)
	for name, md := range map[string]metadata.MD{
		"illegal name": {"sp ace": {"x"}}, "empty name": {"": {"x"}}, "line end": {"k": {"a\r\nb: c"}}, "not ASCII": {"k": {"ü"}},
	} {
		_, err := client.UnaryCall(metadata.NewOutgoingContext(t.Context(), md), &testpb.SimpleRequest{})
		if status.Code(err) != codes.Internal {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if ran.n.Load() != 0 {
		t.Errorf("the handler ran %d times", ran.n.Load())
	}
}

func muchMetadata(t *testing.T, tr Transport) {
	ran := &counter{}
	client := dial(t, tr, ran.unary)
	for bytes, want := range map[int]codes.Code{wire.MaxMetadataBytes - 1024: codes.OK, wire.MaxMetadataBytes: codes.Internal, 1 << 20: codes.Internal} {
		ctx := metadata.AppendToOutgoingContext(t.Context(), "much", strings.Repeat("x", bytes))
		if _, err := client.UnaryCall(ctx, &testpb.SimpleRequest{}); status.Code(err) != want {
			t.Errorf("%d bytes: got %v, want %s", bytes, err, want)
		}
	}
	if ran.n.Load() != 1 {
		t.Errorf("the handler ran %d times, want once", ran.n.Load())
	}
	client = dial(t, tr, func(ctx context.Context, _ *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
		return &testpb.SimpleResponse{}, grpc.SetHeader(ctx, metadata.Pairs("much", strings.Repeat("x", wire.MaxMetadataBytes)))
	})
	if _, err := client.UnaryCall(t.Context(), &testpb.SimpleRequest{}); status.Code(err) != codes.Internal {
		t.Errorf("header of a reply: got %v", err)
	}
}

func headersAreFinal(t *testing.T, tr Transport) {
	late := make(chan context.Context, 1)
	client := dial(t, tr, func(ctx context.Context, _ *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
		if m, ok := grpc.Method(ctx); !ok || m != testpb.TestService_UnaryCall_FullMethodName {
			t.Errorf("method in the context: %q, %v", m, ok)
		}
		if err := grpc.SendHeader(ctx, metadata.Pairs("sent", "1")); err != nil {
			t.Errorf("send header: %v", err)
		}
		if grpc.SetHeader(ctx, metadata.Pairs("late", "1")) == nil || grpc.SendHeader(ctx, metadata.Pairs("late", "1")) == nil {
			t.Error("a header was taken after the headers were sent")
		}
		late <- ctx
		return &testpb.SimpleResponse{}, nil
	})
	var header metadata.MD
	if _, err := client.UnaryCall(t.Context(), &testpb.SimpleRequest{}, grpc.Header(&header)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"1"}, header["sent"]); diff != "" || header["late"] != nil {
		t.Errorf("header: %v", header)
	}
	ctx := <-late
	<-ctx.Done() // the call is over on the server's side too
	if grpc.SetTrailer(ctx, metadata.Pairs("late", "1")) == nil {
		t.Error("a trailer was taken after the call")
	}
}

type callerKey struct{}

func contextValues(t *testing.T, tr Transport) {
	client := dial(t, tr, func(ctx context.Context, _ *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
		if v := ctx.Value(callerKey{}); v != nil {
			t.Errorf("the caller's value reached the handler: %v", v)
		}
		if _, ok := peer.FromContext(ctx); !ok {
			t.Error("no peer in the handler's context")
		}
		return &testpb.SimpleResponse{}, nil
	})
	plain := context.WithValue(t.Context(), callerKey{}, "secret")
	limited, cancel := context.WithTimeout(plain, time.Minute)
	defer cancel()
	for _, ctx := range []context.Context{plain, limited} {
		if _, err := client.UnaryCall(ctx, &testpb.SimpleRequest{}); err != nil {
			t.Fatal(err)
		}
	}
}

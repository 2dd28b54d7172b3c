package wiretest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/wire"
)

func messagesAreCopied(t *testing.T, tr Transport) {
	kept := &testpb.SimpleResponse{Username: "kept", Payload: text("reply")}
	client := dial(t, tr, func(_ context.Context, req *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
		req.Payload.Body[0] = 'X'
		req.ResponseSize = 99
		return kept, nil
	})
	req := &testpb.SimpleRequest{ResponseSize: 7, Payload: text("request")}
	reply, err := client.UnaryCall(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if want := (&testpb.SimpleRequest{ResponseSize: 7, Payload: text("request")}); !cmp.Equal(req, want, protocmp.Transform()) {
		t.Errorf("the handler changed the caller's request: %v", req)
	}
	if diff := cmp.Diff(kept, reply, protocmp.Transform()); diff != "" {
		t.Errorf("reply (-sent +received):\n%s", diff)
	}
	reply.Payload.Body[0] = 'X'
	if string(kept.Payload.Body) != "reply" {
		t.Error("the caller changed the handler's reply")
	}
}

func emptyMessages(t *testing.T, tr Transport) {
	seen := &testpb.SimpleRequest{}
	conn := connect(t, tr, func(_ context.Context, req *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
		seen = req
		return nil, nil //nolint:nilnil // this is the case
	})
	reply := &testpb.SimpleResponse{Username: "left over"}
	if err := conn.Invoke(t.Context(), testpb.TestService_UnaryCall_FullMethodName, &testpb.SimpleRequest{}, reply); err != nil {
		t.Fatal(err)
	}
	if !cmp.Equal(seen, &testpb.SimpleRequest{}, protocmp.Transform()) {
		t.Errorf("empty request arrived as %v", seen)
	}
	if !cmp.Equal(reply, &testpb.SimpleResponse{}, protocmp.Transform()) {
		t.Errorf("absent reply arrived as %v", reply)
	}
}

func messageSizes(t *testing.T, tr Transport) {
	// The two bytes of a tag and the four of a length come on top of a payload of this size, twice.
	const fits = wire.MaxMessageBytes - 64
	client := dial(t, tr, func(_ context.Context, req *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
		return &testpb.SimpleResponse{Payload: &testpb.Payload{Body: make([]byte, req.ResponseSize)}}, nil
	})
	for _, c := range []struct {
		name      string
		send, get int
		want      codes.Code
	}{
		{"request fits", fits, 0, codes.OK},
		{"reply fits", 0, fits, codes.OK},
		{"both fit", fits, fits, codes.OK},
		{"request is too large", wire.MaxMessageBytes + 1, 0, codes.ResourceExhausted},
		{"reply is too large", 0, wire.MaxMessageBytes + 1, codes.ResourceExhausted},
	} {
		req := &testpb.SimpleRequest{ResponseSize: int32(c.get), Payload: &testpb.Payload{Body: bytes.Repeat([]byte{0xFF}, c.send)}}
		reply, err := client.UnaryCall(t.Context(), req)
		if status.Code(err) != c.want {
			t.Errorf("%s: got %v, want %s", c.name, err, c.want)
		}
		if c.want == codes.OK && len(reply.GetPayload().GetBody()) != c.get {
			t.Errorf("%s: reply of %d bytes, want %d", c.name, len(reply.GetPayload().GetBody()), c.get)
		}
		if c.want != codes.OK && !errors.Is(err, fault.ResourceExhausted) {
			t.Errorf("%s: errors.Is does not find the code in %v", c.name, err)
		}
	}
}

func badMessages(t *testing.T, tr Transport) {
	const notUTF8 = "\xff\xfe"
	ran := &counter{}
	client := dial(t, tr, ran.unary)
	_, err := client.UnaryCall(t.Context(), &testpb.SimpleRequest{ResponseStatus: &testpb.EchoStatus{Message: notUTF8}})
	if status.Code(err) != codes.Internal || ran.n.Load() != 0 {
		t.Errorf("request: got %v, handler ran %d times", err, ran.n.Load())
	}
	client = dial(t, tr, func(context.Context, *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
		return &testpb.SimpleResponse{Username: notUTF8}, nil
	})
	if _, err = client.UnaryCall(t.Context(), &testpb.SimpleRequest{}); status.Code(err) != codes.Internal {
		t.Errorf("reply: got %v", err)
	}
	conn := connect(t, tr, ran.unary)
	for name, args := range map[string][2]any{
		"request is no message": {"text", &testpb.SimpleResponse{}},
		"reply is no message":   {&testpb.SimpleRequest{}, new(string)},
	} {
		if err := conn.Invoke(t.Context(), testpb.TestService_UnaryCall_FullMethodName, args[0], args[1]); status.Code(err) != codes.Internal {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func manyAtOnce(t *testing.T, tr Transport) {
	client := dial(t, tr, func(_ context.Context, req *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
		return &testpb.SimpleResponse{Payload: req.Payload}, nil
	})
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			want := fmt.Sprintf("call %d", i)
			reply, err := client.UnaryCall(t.Context(), &testpb.SimpleRequest{Payload: text(want)})
			if err != nil || string(reply.GetPayload().GetBody()) != want {
				t.Errorf("call %d: got %v, %v", i, reply, err)
			}
		})
	}
	wg.Wait()
}

func proxy(t *testing.T, tr Transport) {
	behind := connect(t, tr, func(_ context.Context, req *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
		if req.FillUsername {
			return nil, fault.WithField(nil, "fill_username", "must be false")
		}
		req.Payload.Body = append(req.Payload.Body, " and back"...)
		return &testpb.SimpleResponse{Payload: req.Payload}, nil
	})
	sd := testpb.File_grpc_testing_test_proto.Services().ByName("TestService")
	seen := []string{}
	front := tr.Connect(t, Server{
		Register: func(reg grpc.ServiceRegistrar) {
			if err := wire.RegisterProxy(reg, sd, behind); err != nil {
				t.Error(err)
			}
		},
		ServerInterceptors: []grpc.UnaryServerInterceptor{
			func(ctx context.Context, req any, info *grpc.UnaryServerInfo, h grpc.UnaryHandler) (any, error) {
				seen = append(seen, fmt.Sprintf("%s %T", info.FullMethod, req))
				return h(ctx, req)
			},
		},
	})
	client := testpb.NewTestServiceClient(front)
	reply, err := client.UnaryCall(t.Context(), &testpb.SimpleRequest{Payload: text("there")})
	if err != nil || string(reply.GetPayload().GetBody()) != "there and back" {
		t.Errorf("got %v, %v", reply, err)
	}
	_, err = client.UnaryCall(t.Context(), &testpb.SimpleRequest{FillUsername: true})
	want := []fault.Field{{Name: "fill_username", Description: "must be false"}}
	if diff := cmp.Diff(want, fault.Fields(err)); diff != "" || !errors.Is(err, fault.Invalid) {
		t.Errorf("failure through the proxy: %v\n%s", err, diff)
	}
	if _, err := client.EmptyCall(t.Context(), &testpb.Empty{}); status.Code(err) != codes.Unimplemented {
		t.Errorf("method that is unimplemented behind: got %v", err)
	}
	full := testpb.TestService_UnaryCall_FullMethodName + " *grpc_testing.SimpleRequest"
	if diff := cmp.Diff([]string{full, full, testpb.TestService_EmptyCall_FullMethodName + " *grpc_testing.Empty"}, seen); diff != "" {
		t.Errorf("interceptors of the proxy saw (-want +got):\n%s", diff)
	}
}

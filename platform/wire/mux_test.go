package wire_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// impl answers with a function.
type impl struct {
	testpb.UnimplementedTestServiceServer

	unary func(context.Context, *testpb.SimpleRequest) (*testpb.SimpleResponse, error)
}

func (s impl) UnaryCall(ctx context.Context, req *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
	return s.unary(ctx, req)
}

func serve(unary func(context.Context, *testpb.SimpleRequest) (*testpb.SimpleResponse, error)) (*wire.Mux, testpb.TestServiceClient) {
	m := wire.NewMux(wire.MuxOptions{})
	testpb.RegisterTestServiceServer(m, impl{unary: unary})
	return m, testpb.NewTestServiceClient(wire.NewConn(m, wire.ConnOptions{}))
}

func ok(context.Context, *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
	return &testpb.SimpleResponse{}, nil
}

func TestRegistrationMistakesPanic(t *testing.T) {
	type other struct{}
	for name, register := range map[string]func(*wire.Mux){
		"twice":                func(m *wire.Mux) { testpb.RegisterTestServiceServer(m, impl{}) },
		"wrong implementation": func(m *wire.Mux) { m.RegisterService(&testpb.ReconnectService_ServiceDesc, other{}) },
		"after the first call": func(m *wire.Mux) {
			if _, err := m.RoundTrip(context.Background(), &wire.Call{}); err != nil {
				t.Error(err)
			}
			testpb.RegisterReconnectServiceServer(m, testpb.UnimplementedReconnectServiceServer{})
		},
	} {
		m, _ := serve(ok)
		func() {
			defer func() {
				if v, ok := recover().(string); !ok || !strings.HasPrefix(v, "wire: ") {
					t.Errorf("%s: panicked with %v", name, v)
				}
			}()
			register(m)
			t.Errorf("%s: did not panic", name)
		}()
	}
}

func TestServiceInfo(t *testing.T) {
	m, _ := serve(ok)
	s := grpc.NewServer()
	testpb.RegisterTestServiceServer(s, impl{})
	want := s.GetServiceInfo()["grpc.testing.TestService"]
	got := m.GetServiceInfo()["grpc.testing.TestService"]
	if got.Metadata != want.Metadata || len(got.Methods) != len(want.Methods) {
		t.Errorf("got %v, want %v", got, want)
	}
	for _, have := range want.Methods {
		found := false
		for _, m := range got.Methods {
			found = found || m == have
		}
		if !found {
			t.Errorf("%v is missing", have)
		}
	}
}

func TestDrainWaitsForAbandonedCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, client := serve(func(context.Context, *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
			time.Sleep(time.Minute)
			return &testpb.SimpleResponse{}, nil
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := client.UnaryCall(ctx, &testpb.SimpleRequest{}); status.Code(err) != codes.DeadlineExceeded {
			t.Fatalf("got %v", err)
		}
		if err := m.Drain(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("drain under a context that is over: %v", err)
		}
		start := time.Now()
		if err := m.Drain(t.Context()); err != nil || time.Since(start) != 59*time.Second {
			t.Errorf("drain: %v after %s", err, time.Since(start))
		}
		if _, err := client.UnaryCall(t.Context(), &testpb.SimpleRequest{}); !errors.Is(err, fault.Unavailable) {
			t.Errorf("call after drain: %v", err)
		}
	})
}

func TestHandlerThatEndsItsGoroutine(t *testing.T) {
	_, client := serve(func(context.Context, *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
		runtime.Goexit()
		return &testpb.SimpleResponse{}, nil
	})
	if _, err := client.UnaryCall(t.Context(), &testpb.SimpleRequest{}); !errors.Is(err, fault.Internal) {
		t.Errorf("got %v", err)
	}
}

// tripper answers with a function.
type tripper func(context.Context, *wire.Call) (*wire.Reply, error)

func (f tripper) RoundTrip(ctx context.Context, c *wire.Call) (*wire.Reply, error) { return f(ctx, c) }

func TestErrorsOfATransport(t *testing.T) {
	for want, err := range map[fault.Code]error{
		fault.Unavailable:       errors.New("connection reset"),
		fault.ResourceExhausted: status.Error(codes.ResourceExhausted, "throttled"),
		fault.Cancelled:         context.Canceled,
		fault.DeadlineExceeded:  context.DeadlineExceeded,
		fault.NotFound:          fault.New(fault.NotFound, "no such function"),
	} {
		conn := wire.NewConn(tripper(func(context.Context, *wire.Call) (*wire.Reply, error) { return nil, err }), wire.ConnOptions{})
		got := conn.Invoke(t.Context(), "/a/b", &testpb.Empty{}, &testpb.Empty{})
		if !errors.Is(got, want) || status.Code(got) != want.GRPC() {
			t.Errorf("%v arrived as %v", err, got)
		}
	}
}

func TestCallOptionsThatChangeAMeaningAreRefused(t *testing.T) {
	_, client := serve(ok)
	for _, opt := range []grpc.CallOption{grpc.ForceCodec(nil), grpc.CallContentSubtype("json"), grpc.PerRPCCredentials(nil)} {
		if _, err := client.UnaryCall(t.Context(), &testpb.SimpleRequest{}, opt); status.Code(err) != codes.Internal {
			t.Errorf("%T: got %v", opt, err)
		}
	}
}

func TestInternalCauseIsLoggedUnderItsReference(t *testing.T) {
	var log bytes.Buffer
	m := wire.NewMux(wire.MuxOptions{Logger: slog.New(slog.NewJSONHandler(&log, nil)), Interceptors: []grpc.UnaryServerInterceptor{
		func(context.Context, any, *grpc.UnaryServerInfo, grpc.UnaryHandler) (any, error) {
			return nil, errors.New("disk on fire")
		},
	}})
	testpb.RegisterTestServiceServer(m, impl{unary: ok})
	_, err := testpb.NewTestServiceClient(wire.NewConn(m, wire.ConnOptions{})).UnaryCall(t.Context(), &testpb.SimpleRequest{})
	reference := fault.Reference(fault.From(err))
	if reference == "" || !strings.Contains(log.String(), reference) || !strings.Contains(log.String(), "disk on fire") {
		t.Errorf("caller got %v, log has %s", err, log.String())
	}
}

// watchProto has a stream and its paged twin, as our contracts do.
func watchProto(t *testing.T) {
	t.Helper()
	field := func(name, typ string, list bool) *descriptorpb.FieldDescriptorProto {
		label := descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL
		if list {
			label = descriptorpb.FieldDescriptorProto_LABEL_REPEATED
		}
		return &descriptorpb.FieldDescriptorProto{Name: &name, Number: proto.Int32(1), Label: &label,
			Type: descriptorpb.FieldDescriptorProto_TYPE_MESSAGE.Enum(), TypeName: &typ}
	}
	method := func(name, out string, stream bool) *descriptorpb.MethodDescriptorProto {
		return &descriptorpb.MethodDescriptorProto{Name: &name, InputType: proto.String(".wiretest.Event"), OutputType: &out, ServerStreaming: &stream}
	}
	fd, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: proto.String("wiretest/watch.proto"), Package: proto.String("wiretest"), Syntax: proto.String("proto3"),
		MessageType: []*descriptorpb.DescriptorProto{
			{Name: proto.String("Event")},
			{Name: proto.String("Page"), Field: []*descriptorpb.FieldDescriptorProto{field("events", ".wiretest.Event", true)}},
			{Name: proto.String("Other"), Field: []*descriptorpb.FieldDescriptorProto{field("event", ".wiretest.Event", false)}},
		},
		Service: []*descriptorpb.ServiceDescriptorProto{{Name: proto.String("Watcher"), Method: []*descriptorpb.MethodDescriptorProto{
			method("Get", ".wiretest.Other", false), method("Watch", ".wiretest.Event", true),
			method("List", ".wiretest.Page", false), method("Lonely", ".wiretest.Page", true),
		}}},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := protoregistry.GlobalFiles.FindFileByPath(fd.Path()); err == nil {
		return // the test runs a second time
	}
	if err := protoregistry.GlobalFiles.RegisterFile(fd); err != nil {
		t.Fatal(err)
	}
}

func TestStreamNamesItsUnaryTwin(t *testing.T) {
	watchProto(t)
	m := wire.NewMux(wire.MuxOptions{})
	m.RegisterService(&grpc.ServiceDesc{ServiceName: "wiretest.Watcher", Streams: []grpc.StreamDesc{{StreamName: "Watch", ServerStreams: true}}}, nil)
	conn := wire.NewConn(m, wire.ConnOptions{})
	_, err := conn.NewStream(t.Context(), &grpc.StreamDesc{}, "/wiretest.Watcher/Watch")
	if !errors.Is(err, fault.Unimplemented) || !strings.HasSuffix(err.Error(), "call /wiretest.Watcher/List") {
		t.Errorf("new stream: %v", err)
	}
	err = conn.Invoke(t.Context(), "/wiretest.Watcher/Watch", &testpb.Empty{}, &testpb.Empty{})
	if !errors.Is(err, fault.Unimplemented) || !strings.HasSuffix(err.Error(), "call /wiretest.Watcher/List") {
		t.Errorf("unary call: %v", err)
	}
	for _, method := range []string{"/wiretest.Watcher/Lonely", "/wiretest.Watcher/None", "/none/Watch", "/wiretest.Event/x", "", "/"} {
		if _, err := conn.NewStream(t.Context(), &grpc.StreamDesc{}, method); !errors.Is(err, fault.Unimplemented) || strings.Contains(err.Error(), "call ") {
			t.Errorf("%q: %v", method, err)
		}
	}
}

func TestProxyNeedsGeneratedTypes(t *testing.T) {
	watchProto(t)
	found, err := protoregistry.GlobalFiles.FindDescriptorByName("wiretest.Watcher")
	if err != nil {
		t.Fatal(err)
	}
	sd, isService := found.(protoreflect.ServiceDescriptor)
	if !isService {
		t.Fatalf("%T", found)
	}
	m, _ := serve(ok)
	if err := wire.RegisterProxy(m, sd, wire.NewConn(m, wire.ConnOptions{})); err == nil || !strings.Contains(err.Error(), "wiretest.Watcher.Get") {
		t.Errorf("got %v", err)
	}
	desc, err := wire.ProxyDesc(testpb.File_grpc_testing_test_proto.Services().ByName("TestService"), nil)
	if err != nil || len(desc.Methods) != 4 || len(desc.Streams) != 0 || desc.ServiceName != "grpc.testing.TestService" {
		t.Errorf("got %+v, %v", desc, err)
	}
}

func TestGRPCStreamHandlerPanicIsInternal(t *testing.T) {
	var log bytes.Buffer
	opts := wire.GRPCServerOptions(wire.MuxOptions{Logger: slog.New(slog.NewJSONHandler(&log, nil))},
		func(any, grpc.ServerStream, *grpc.StreamServerInfo, grpc.StreamHandler) error { panic("hunter2") })
	srv := grpc.NewServer(opts...)
	testpb.RegisterTestServiceServer(srv, impl{})
	conn := dialBuf(t, srv)
	stream, err := testpb.NewTestServiceClient(conn).StreamingOutputCall(t.Context(), &testpb.StreamingOutputCallRequest{})
	if err == nil {
		_, err = stream.Recv()
	}
	if status.Code(err) != codes.Internal || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v", err)
	}
}

// TestMuxHoldsTheLimits: a caller that is no Conn of ours is held to them too.
func TestMuxHoldsTheLimits(t *testing.T) {
	m, _ := serve(func(_ context.Context, req *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
		return &testpb.SimpleResponse{Payload: &testpb.Payload{Body: make([]byte, req.ResponseSize)}}, nil
	})
	large, err := proto.Marshal(&testpb.SimpleRequest{ResponseSize: wire.MaxMessageBytes})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		call wire.Call
		want codes.Code
	}{
		"request":  {wire.Call{Body: make([]byte, wire.MaxMessageBytes+1)}, codes.ResourceExhausted},
		"message":  {wire.Call{Message: make([]byte, wire.MaxMessageBytes+1)}, codes.ResourceExhausted},
		"reply":    {wire.Call{Body: large}, codes.ResourceExhausted},
		"metadata": {wire.Call{Metadata: map[string][]string{"x": {strings.Repeat("x", wire.MaxMetadataBytes)}}}, codes.Internal},
		"deadline": {wire.Call{Deadline: time.Now().Add(wire.MinTimeLeft)}, codes.DeadlineExceeded},
	} {
		c.call.Method = testpb.TestService_UnaryCall_FullMethodName
		reply, err := m.RoundTrip(t.Context(), &c.call)
		if err != nil || codes.Code(reply.Status.GetCode()) != c.want || len(reply.Body)+len(reply.Message) > 0 || status.Code(reply.Err()) != c.want {
			t.Errorf("%s: %v, %v", name, reply.Status, err)
		}
	}
}

package wiretest

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/wire"
)

func methodNames(t *testing.T, tr Transport) {
	ran := &counter{}
	conn := connect(t, tr, ran.unary)
	for _, name := range []string{
		"/grpc.testing.TestService/Unarycall", "/grpc.testing.TestService/UNARYCALL", "/grpc.testing.TestService/unaryCall",
		"/grpc.testing.testService/UnaryCall", "/GRPC.TESTING.TESTSERVICE/UNARYCALL",
		"//grpc.testing.TestService/UnaryCall", "/grpc.testing.TestService//UnaryCall", "/grpc.testing.TestService/UnaryCall/",
		"/grpc.testing.TestService/./UnaryCall", "/x/../grpc.testing.TestService/UnaryCall", "/grpc.testing.TestService/UnaryCall?x=1",
		"/grpc.testing.TestService/UnaryCall ", "/grpc.testing.TestService/%55naryCall", "/grpc.testing.TestService/UnaryCall#x",
		"/grpc.testing.TestService/", "/grpc.testing.TestService", "/UnaryCall", "/", "//",
		"/TestService/UnaryCall", "/grpc.testing.TestService.UnaryCall", "/grpc.testing.Other/UnaryCall", "/grpc.testing.TestService/Other",
	} {
		err := conn.Invoke(t.Context(), name, &testpb.SimpleRequest{}, &testpb.SimpleResponse{})
		if status.Code(err) != codes.Unimplemented || !errors.Is(err, fault.Unimplemented) {
			t.Errorf("%q: got %v", name, err)
		}
	}
	// Without a slash in front grpc-go's client does not always send the call; it must not arrive.
	for _, name := range []string{"grpc.testing.TestService/UnaryCall", "", "UnaryCall"} {
		if err := conn.Invoke(t.Context(), name, &testpb.SimpleRequest{}, &testpb.SimpleResponse{}); err == nil {
			t.Errorf("%q: was answered", name)
		}
	}
	if ran.n.Load() != 0 {
		t.Errorf("the handler ran %d times", ran.n.Load())
	}
	if err := conn.Invoke(t.Context(), testpb.TestService_UnaryCall_FullMethodName, &testpb.SimpleRequest{}, &testpb.SimpleResponse{}); err != nil || ran.n.Load() != 1 {
		t.Errorf("the right name: %v, handler ran %d times", err, ran.n.Load())
	}
}

func streams(t *testing.T, tr Transport) {
	if tr.CarriesStreams {
		return
	}
	ran := &counter{}
	conn := connect(t, tr, ran.unary)
	_, err := testpb.NewTestServiceClient(conn).StreamingOutputCall(t.Context(), &testpb.StreamingOutputCallRequest{})
	if status.Code(err) != codes.Unimplemented || !strings.Contains(err.Error(), "StreamingOutputCall") {
		t.Errorf("stream: got %v", err)
	}
	err = conn.Invoke(t.Context(), testpb.TestService_StreamingOutputCall_FullMethodName, &testpb.SimpleRequest{}, &testpb.SimpleResponse{})
	if status.Code(err) != codes.Unimplemented || !strings.Contains(err.Error(), "is a stream") {
		t.Errorf("unary call of a stream: got %v", err)
	}
}

func handlerDeadline(t *testing.T, tr Transport) {
	const limit = 3 * time.Second
	var left time.Duration
	has := false
	client := dial(t, tr, func(ctx context.Context, _ *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
		var d time.Time
		if d, has = ctx.Deadline(); has {
			left = time.Until(d)
		}
		if left == 0 {
			return &testpb.SimpleResponse{}, nil
		}
		<-ctx.Done()
		return nil, fault.Wrap(fault.Unavailable, ctx.Err(), "look up CAA of example.com")
	})
	if _, err := client.UnaryCall(context.WithoutCancel(t.Context()), &testpb.SimpleRequest{}); err != nil || has {
		t.Errorf("no deadline: got %v, handler had one: %v", err, has)
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	_, err := client.UnaryCall(ctx, &testpb.SimpleRequest{})
	if left != limit-wire.ReturnOverhead {
		t.Errorf("the handler had %s, want %s", left, limit-wire.ReturnOverhead)
	}
	// The handler's own words arrive, because it was told before the caller's time was up.
	if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "look up CAA") {
		t.Errorf("got %v", err)
	}
	if ctx.Err() != nil {
		t.Error("the answer came after the deadline")
	}
}

func noTimeLeft(t *testing.T, tr Transport) {
	ran := &counter{}
	client := dial(t, tr, ran.unary)
	for left, want := range map[time.Duration]codes.Code{
		time.Millisecond: codes.DeadlineExceeded, wire.MinTimeLeft: codes.DeadlineExceeded,
		wire.MinTimeLeft + time.Millisecond: codes.OK,
	} {
		before := ran.n.Load()
		ctx, cancel := context.WithTimeout(t.Context(), left)
		_, err := client.UnaryCall(ctx, &testpb.SimpleRequest{})
		if status.Code(err) != want {
			t.Errorf("%s left: got %v, want %s", left, err, want)
		}
		if ctx.Err() != nil {
			t.Errorf("%s left: the refusal came after the deadline", left)
		}
		if ran := ran.n.Load() - before; (ran > 0) != (want == codes.OK) {
			t.Errorf("%s left: the handler ran %d times", left, ran)
		}
		cancel()
	}
}

func deafHandler(t *testing.T, tr Transport) {
	client := dial(t, tr, func(context.Context, *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
		time.Sleep(time.Hour)
		return &testpb.SimpleResponse{}, nil
	})
	start := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := client.UnaryCall(ctx, &testpb.SimpleRequest{})
	if status.Code(err) != codes.DeadlineExceeded || !errors.Is(err, fault.DeadlineExceeded) || time.Since(start) != time.Second {
		t.Errorf("got %v after %s", err, time.Since(start))
	}
	time.Sleep(time.Hour)
	synctest.Wait()
}

func cancellation(t *testing.T, tr Transport) {
	entered, left := make(chan struct{}), make(chan error, 1)
	client := dial(t, tr, func(ctx context.Context, _ *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
		close(entered)
		<-ctx.Done()
		left <- ctx.Err()
		return nil, ctx.Err()
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	go func() {
		<-entered
		cancel()
	}()
	start := time.Now()
	_, err := client.UnaryCall(ctx, &testpb.SimpleRequest{})
	if status.Code(err) != codes.Canceled || !errors.Is(err, fault.Cancelled) || time.Since(start) != 0 {
		t.Errorf("caller: got %v after %s", err, time.Since(start))
	}
	got := <-left
	if tr.CancelStaysHere {
		if !errors.Is(got, context.DeadlineExceeded) {
			t.Errorf("handler: got %v", got)
		}
		return
	}
	if !errors.Is(got, context.Canceled) || time.Since(start) != 0 {
		t.Errorf("handler: got %v after %s", got, time.Since(start))
	}
}

func alreadyOver(t *testing.T, tr Transport) {
	ran := &counter{}
	client := dial(t, tr, ran.unary)
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	late, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	for ctx, want := range map[context.Context]codes.Code{canceled: codes.Canceled, late: codes.DeadlineExceeded} {
		if _, err := client.UnaryCall(ctx, &testpb.SimpleRequest{}); status.Code(err) != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if ran.n.Load() != 0 {
		t.Errorf("the handler ran %d times", ran.n.Load())
	}
}

func contextEnds(t *testing.T, tr Transport) {
	contexts := make(chan context.Context, 1)
	client := dial(t, tr, func(ctx context.Context, _ *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
		contexts <- ctx
		return &testpb.SimpleResponse{}, nil
	})
	if _, err := client.UnaryCall(t.Context(), &testpb.SimpleRequest{}); err != nil {
		t.Fatal(err)
	}
	<-(<-contexts).Done()
}

func interceptors(t *testing.T, tr Transport) {
	var order []string
	around := func(name string) grpc.UnaryServerInterceptor {
		return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, h grpc.UnaryHandler) (any, error) {
			order = append(order, name+" "+info.FullMethod)
			if info.Server == nil {
				t.Error("no server in the info")
			}
			return h(ctx, req)
		}
	}
	calling := func(name string) grpc.UnaryClientInterceptor {
		return func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			order = append(order, name+" "+method)
			return invoke(ctx, method, req, reply, cc, opts...)
		}
	}
	s := Server{
		ServerInterceptors: []grpc.UnaryServerInterceptor{around("server 1"), around("server 2"), around("server 3")},
		ClientInterceptors: []grpc.UnaryClientInterceptor{calling("client 1"), calling("client 2")},
	}
	client := testpb.NewTestServiceClient(connectServer(t, tr, s, &service{
		unary: func(context.Context, *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
			order = append(order, "handler")
			return &testpb.SimpleResponse{}, nil
		},
	}))
	if _, err := client.UnaryCall(t.Context(), &testpb.SimpleRequest{}); err != nil {
		t.Fatal(err)
	}
	m := " " + testpb.TestService_UnaryCall_FullMethodName
	want := []string{"client 1" + m, "client 2" + m, "server 1" + m, "server 2" + m, "server 3" + m, "handler"}
	if diff := cmp.Diff(want, order); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
}

func callOptions(t *testing.T, tr Transport) {
	client := dial(t, tr, func(_ context.Context, req *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
		return &testpb.SimpleResponse{Payload: req.Payload}, nil
	})
	var p peer.Peer
	finished := []error{}
	if _, err := client.UnaryCall(t.Context(), &testpb.SimpleRequest{}, grpc.Peer(&p), grpc.WaitForReady(true), grpc.StaticMethod(),
		grpc.OnFinish(func(err error) { finished = append(finished, err) })); err != nil {
		t.Fatal(err)
	}
	if p.Addr == nil || len(finished) != 1 || finished[0] != nil {
		t.Errorf("peer %v, finished with %v", p, finished)
	}
	big := &testpb.SimpleRequest{Payload: text(strings.Repeat("x", 100))}
	for _, opt := range []grpc.CallOption{grpc.MaxCallRecvMsgSize(50), grpc.MaxCallSendMsgSize(50)} {
		if _, err := client.UnaryCall(t.Context(), big, opt); status.Code(err) != codes.ResourceExhausted {
			t.Errorf("%T: got %v", opt, err)
		}
	}
}

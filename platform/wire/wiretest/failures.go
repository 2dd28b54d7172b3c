package wiretest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// failing serves one error.
func failing(t testing.TB, tr Transport, err error) testpb.TestServiceClient {
	return dial(t, tr, func(context.Context, *testpb.SimpleRequest) (*testpb.SimpleResponse, error) { return nil, err })
}

func callFailing(t testing.TB, tr Transport, err error) error {
	reply, got := failing(t, tr, err).UnaryCall(t.Context(), &testpb.SimpleRequest{})
	if got == nil {
		t.Fatalf("handler failed with %v, caller got %v", err, reply)
	}
	return got
}

func statuses(t *testing.T, tr Transport) {
	for code := codes.Canceled; code <= codes.Unauthenticated; code++ {
		if code == codes.Unknown {
			continue // no code of ours: see plainErrors
		}
		want, err := status.New(code, "wörds\n\x00 and ümläuts %").WithDetails(
			&errdetails.ErrorInfo{Reason: "TEST", Domain: "riskprofiler", Metadata: map[string]string{"k": "v"}},
			&errdetails.RetryInfo{RetryDelay: durationpb.New(3 * time.Second)},
		)
		if err != nil {
			t.Fatal(err)
		}
		got := status.Convert(callFailing(t, tr, want.Err()))
		if diff := cmp.Diff(want.Proto(), got.Proto(), protocmp.Transform()); diff != "" {
			t.Errorf("%s (-sent +received):\n%s", code, diff)
		}
		// What was wrapped around a status was written for a log.
		got = status.Convert(callFailing(t, tr, fmt.Errorf("load from 10.0.0.7: %w", want.Err())))
		if diff := cmp.Diff(want.Proto(), got.Proto(), protocmp.Transform()); diff != "" {
			t.Errorf("wrapped %s (-sent +received):\n%s", code, diff)
		}
	}
}

func faults(t *testing.T, tr Transport) {
	for _, code := range []fault.Code{fault.Cancelled, fault.Invalid, fault.DeadlineExceeded, fault.NotFound, fault.AlreadyExists,
		fault.PermissionDenied, fault.ResourceExhausted, fault.FailedPrecondition, fault.Conflict, fault.Unavailable, fault.Unauthenticated} {
		cause := errors.New("connection to 10.0.0.7 refused")
		err := fault.RetryAfter(fault.WithField(fault.Wrap(code, cause, "load plan %d", 7), "plan.name", "is taken"), 2*time.Second)
		got := callFailing(t, tr, fmt.Errorf("list: %w", err))
		if !errors.Is(got, code) || fault.CodeOf(got) != code {
			t.Errorf("%s arrived as %v", code, got)
		}
		if errors.Is(got, fault.DataLoss) {
			t.Errorf("%s arrived as data loss too", code)
		}
		if want := "load plan 7"; status.Convert(got).Message() != want {
			t.Errorf("%s: message %q, want %q", code, status.Convert(got).Message(), want)
		}
		if d, ok := fault.RetryDelay(got); !ok || d != 2*time.Second {
			t.Errorf("%s: retry delay %v, %v", code, d, ok)
		}
		if diff := cmp.Diff([]fault.Field{{Name: "plan.name", Description: "is taken"}}, fault.Fields(got)); diff != "" {
			t.Errorf("%s: fields (-sent +received):\n%s", code, diff)
		}
	}
	// A sentinel alone is an error too.
	if got := callFailing(t, tr, fault.NotFound); !errors.Is(got, fault.NotFound) {
		t.Errorf("bare sentinel arrived as %v", got)
	}
}

func plainErrors(t *testing.T, tr Transport) {
	const secret = "password hunter2 of 10.0.0.7"
	for name, err := range map[string]error{
		"plain":           errors.New(secret),
		"unknown status":  status.Error(codes.Unknown, secret),
		"internal fault":  fault.New(fault.Internal, "%s", secret),
		"wrapped":         fault.Wrap(fault.Internal, errors.New(secret), "read table"),
		"data loss":       fault.Wrap(fault.DataLoss, errors.New(secret), "read %s", secret),
		"cause of others": fault.Wrap(fault.Unavailable, errors.New(secret), "send"),
	} {
		var log bytes.Buffer
		client := testpb.NewTestServiceClient(connectServer(t, tr, Server{Logger: slog.New(slog.NewJSONHandler(&log, nil))}, &service{
			unary: func(context.Context, *testpb.SimpleRequest) (*testpb.SimpleResponse, error) { return nil, err },
		}))
		_, got := client.UnaryCall(t.Context(), &testpb.SimpleRequest{})
		if got == nil || strings.Contains(got.Error(), "hunter2") {
			t.Errorf("%s: arrived as %v", name, got)
		}
		s := status.Convert(got)
		if s.Code() != codes.Internal && s.Code() != codes.DataLoss {
			continue
		}
		reference := fault.Reference(fault.From(got))
		if reference == "" || !strings.Contains(s.Message(), reference) {
			t.Errorf("%s: no reference in %v", name, s)
		}
		// What is no fault nobody else can have logged under the reference that was just made.
		var isFault *fault.Error
		if !errors.As(err, &isFault) && (!strings.Contains(log.String(), reference) || !strings.Contains(log.String(), "hunter2")) {
			t.Errorf("%s: cause and reference are not in the log: %s", name, log.String())
		}
	}
	for err, want := range map[error]codes.Code{context.Canceled: codes.Canceled, context.DeadlineExceeded: codes.DeadlineExceeded} {
		if got := callFailing(t, tr, fmt.Errorf("wait: %w", err)); status.Code(got) != want {
			t.Errorf("%v arrived as %v", err, got)
		}
	}
}

// okError is an error whose status says OK.
type okError struct{}

func (okError) Error() string { return "odd" }

// GRPCStatus claims success.
func (okError) GRPCStatus() *status.Status { return status.New(codes.OK, "") }

func okStatus(t *testing.T, tr Transport) {
	if got := callFailing(t, tr, okError{}); status.Code(got) != codes.Internal {
		t.Errorf("arrived as %v", got)
	}
}

func panics(t *testing.T, tr Transport) {
	const secret = "hunter2"
	for name, value := range map[string]any{
		"text": "bad request " + secret, "error": errors.New(secret), "nil": nil, "struct": &testpb.SimpleRequest{},
		"deep": fault.New(fault.NotFound, secret),
	} {
		seen := error(nil)
		s := Server{ServerInterceptors: []grpc.UnaryServerInterceptor{
			func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, h grpc.UnaryHandler) (any, error) {
				reply, err := h(ctx, req)
				seen = err
				return reply, err
			},
		}}
		client := testpb.NewTestServiceClient(connectServer(t, tr, s, &service{
			unary: func(context.Context, *testpb.SimpleRequest) (*testpb.SimpleResponse, error) { panic(value) },
		}))
		for range 2 { // the server lives on
			_, err := client.UnaryCall(t.Context(), &testpb.SimpleRequest{})
			if status.Code(err) != codes.Internal || strings.Contains(err.Error(), secret) {
				t.Errorf("%s: got %v", name, err)
			}
		}
		if fault.CodeOf(seen) != fault.Internal || !strings.Contains(fmt.Sprint(seen), "wiretest.panics") {
			t.Errorf("%s: interceptors saw %v, without the stack", name, seen)
		}
		if strings.Contains(fmt.Sprint(seen), secret) {
			t.Errorf("%s: the panic's value is in the error: %v", name, seen)
		}
	}
	s := Server{ServerInterceptors: []grpc.UnaryServerInterceptor{
		func(context.Context, any, *grpc.UnaryServerInfo, grpc.UnaryHandler) (any, error) { panic(secret) },
	}}
	client := testpb.NewTestServiceClient(connectServer(t, tr, s, &service{}))
	if _, err := client.UnaryCall(t.Context(), &testpb.SimpleRequest{}); status.Code(err) != codes.Internal {
		t.Errorf("panic of an interceptor: got %v", err)
	}
}

package fault_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

var all = map[fault.Code]codes.Code{
	fault.Cancelled:          codes.Canceled,
	fault.Invalid:            codes.InvalidArgument,
	fault.DeadlineExceeded:   codes.DeadlineExceeded,
	fault.NotFound:           codes.NotFound,
	fault.AlreadyExists:      codes.AlreadyExists,
	fault.PermissionDenied:   codes.PermissionDenied,
	fault.ResourceExhausted:  codes.ResourceExhausted,
	fault.FailedPrecondition: codes.FailedPrecondition,
	fault.Conflict:           codes.Aborted,
	fault.Unimplemented:      codes.Unimplemented,
	fault.Internal:           codes.Internal,
	fault.Unavailable:        codes.Unavailable,
	fault.DataLoss:           codes.DataLoss,
	fault.Unauthenticated:    codes.Unauthenticated,
}

// overTheWire is what the caller of a service gets: the status as bytes and back.
func overTheWire(t testing.TB, err error) error {
	t.Helper()
	b, e := proto.Marshal(fault.From(err).GRPCStatus().Proto())
	if e != nil {
		t.Fatalf("marshal: %v", e)
	}
	p := status.New(codes.OK, "").Proto()
	if e := proto.Unmarshal(b, p); e != nil {
		t.Fatal(e)
	}
	return fault.FromStatus(status.FromProto(p).Err())
}

func TestSentinelsSurviveTheWire(t *testing.T) {
	texts := map[string]bool{}
	for code, grpc := range all {
		err := fmt.Errorf("around: %w", fault.New(code, "do a thing"))
		if got := fault.From(err).GRPCStatus().Code(); got != grpc || code.GRPC() != grpc {
			t.Errorf("%v: status %v, GRPC %v, want %v", code, got, code.GRPC(), grpc)
		}
		for name, err := range map[string]error{"here": err, "there": overTheWire(t, err), "bare": code} {
			for other := range all {
				if errors.Is(err, other) != (other == code) {
					t.Errorf("%s: errors.Is(%v, %v) is wrong", name, err, other)
				}
			}
			if got := fault.CodeOf(err); got != code {
				t.Errorf("%s: CodeOf is %v, want %v", name, got, code)
			}
		}
		texts[code.String()] = true
	}
	if len(texts) != len(all) {
		t.Errorf("two codes have the same text: %v", texts)
	}
}

func TestCodeOfForeignErrors(t *testing.T) {
	for _, c := range []struct {
		err  error
		want fault.Code
	}{
		{nil, fault.OK},
		{errors.New("x"), fault.Internal},
		{fmt.Errorf("x: %w", context.Canceled), fault.Cancelled},
		{fmt.Errorf("x: %w", context.DeadlineExceeded), fault.DeadlineExceeded},
		{os.ErrDeadlineExceeded, fault.Internal},
		{fmt.Errorf("x: %w", status.Error(codes.NotFound, "y")), fault.NotFound},
		{status.Error(codes.OutOfRange, "y"), fault.Invalid},
		{status.Error(codes.Unknown, "y"), fault.Internal},
		{status.Error(codes.Code(99), "y"), fault.Internal},
		{fault.New(fault.OK, "no such failure"), fault.Internal},
		{fault.New(fault.Code(99), "no such code"), fault.Internal},
		{errors.Join(errors.New("x"), fault.New(fault.Conflict, "y")), fault.Conflict},
		{fault.Code(99), fault.Internal},
	} {
		if got := fault.CodeOf(c.err); got != c.want {
			t.Errorf("CodeOf(%v) is %v, want %v", c.err, got, c.want)
		}
		if c.err != nil && fault.From(c.err).FaultCode() != c.want {
			t.Errorf("From(%v) has code %v, want %v", c.err, fault.From(c.err).FaultCode(), c.want)
		}
	}
}

func TestOutermostCodeDecides(t *testing.T) {
	cause := &fs.PathError{Op: "open", Path: "/secret", Err: fs.ErrNotExist}
	inner := fault.Wrap(fault.NotFound, cause, "find file")
	err := fault.Wrap(fault.FailedPrecondition, fmt.Errorf("between: %w", inner), "start")
	if errors.Is(err, fault.NotFound) || !errors.Is(err, fault.FailedPrecondition) {
		t.Error("inner code is visible")
	}
	var path *fs.PathError
	if !errors.Is(err, fs.ErrNotExist) || !errors.As(err, &path) {
		t.Error("cause is not visible")
	}
	if want := "start: between: find file: open /secret: file does not exist"; err.Error() != want {
		t.Errorf("text is %q, want %q", err, want)
	}
	if fault.Wrap(fault.Internal, nil, "x") != nil || fault.RetryAfter(nil, 1) != nil || fault.FromStatus(nil) != nil {
		t.Error("nil became an error")
	}
}

// TestCanary puts a secret wherever a text can come from, and looks for it on the wire.
func TestCanary(t *testing.T) {
	const canary = "hunter2"
	secret := errors.New(canary)
	for name, err := range map[string]error{
		"foreign":         secret,
		"wrapped":         fault.Wrap(fault.NotFound, secret, "find"),
		"around":          fmt.Errorf(canary+": %w", fault.New(fault.NotFound, "find")),
		"between":         fault.Wrap(fault.Conflict, fmt.Errorf(canary+": %w", fault.New(fault.NotFound, "find")), "put"),
		"internal":        fault.New(fault.Internal, canary),
		"data loss":       fault.Wrap(fault.DataLoss, secret, canary),
		"inside internal": fault.Wrap(fault.Unavailable, fault.New(fault.Internal, canary), "call"),
		"peer's internal": fault.FromStatus(status.Error(codes.Internal, canary)),
		"peer's unknown":  fmt.Errorf("call: %w", status.Error(codes.Unknown, canary)),
		"context":         fmt.Errorf(canary+": %w", context.Canceled),
	} {
		t.Run(name, func(t *testing.T) {
			wire := overTheWire(t, err)
			if strings.Contains(fmt.Sprintf("%v %+v", wire, fault.From(wire).GRPCStatus().Proto()), canary) {
				t.Errorf("the wire shows it: %v", wire)
			}
			if !strings.Contains(fault.From(err).Error(), canary) {
				t.Errorf("the log does not show it: %v", fault.From(err))
			}
		})
	}
}

func TestReferenceLeadsFromWireToLog(t *testing.T) {
	for _, err := range []error{
		errors.New("disk on fire"),
		fault.Wrap(fault.Internal, errors.New("disk on fire"), "read"),
		fault.Wrap(fault.DataLoss, fault.Wrap(fault.Internal, errors.New("disk on fire"), "read"), "load"),
	} {
		logged := fault.From(err)
		caller := overTheWire(t, logged)
		reference := fault.Reference(caller)
		if len(reference) != 16 || !strings.Contains(caller.Error(), reference) ||
			strings.Count(logged.Error(), reference) != 1 {
			t.Errorf("log %q, caller %q", logged, caller)
		}
		// The next service in the chain keeps it.
		if again := overTheWire(t, fault.Wrap(fault.CodeOf(caller), caller, "call")); fault.Reference(again) != reference {
			t.Errorf("reference %s became %q", reference, again)
		}
	}
	if fault.Reference(nil) != "" || fault.Reference(fault.New(fault.NotFound, "x")) != "" {
		t.Error("reference without need")
	}
}

func TestFields(t *testing.T) {
	var err error
	err = fault.WithField(err, "plan.cron", "is empty")
	first := err
	err = fault.WithField(err, "plan.seeds[0]", "is no domain")
	if !errors.Is(err, fault.Invalid) || len(fault.Fields(first)) != 1 {
		t.Errorf("got %v; the first became %v", err, first)
	}
	want := []fault.Field{{Name: "plan.cron", Description: "is empty"}, {Name: "plan.seeds[0]", Description: "is no domain"}}
	err = fault.Wrap(fault.Invalid, err, "create plan")
	for name, err := range map[string]error{"here": err, "there": overTheWire(t, err)} {
		if d := cmp.Diff(want, fault.Fields(err)); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
	if text := err.Error(); strings.Count(text, "is no domain") != 1 {
		t.Errorf("text is %q", text)
	}
	other := fault.WithField(fault.New(fault.AlreadyExists, "create"), "name", "is taken")
	if !errors.Is(other, fault.AlreadyExists) {
		t.Errorf("got %v", other)
	}
	if fault.Fields(nil) != nil || fault.Fields(errors.New("x")) != nil {
		t.Error("fields from nowhere")
	}
}

func TestRetryDelay(t *testing.T) {
	err := fault.Wrap(fault.ResourceExhausted,
		fault.RetryAfter(fault.New(fault.ResourceExhausted, "too many"), 1500*time.Millisecond), "start")
	for name, err := range map[string]error{"here": err, "there": overTheWire(t, err)} {
		if d, ok := fault.RetryDelay(err); !ok || d != 1500*time.Millisecond {
			t.Errorf("%s: %v, %v", name, d, ok)
		}
	}
	if d, ok := fault.RetryDelay(fault.RetryAfter(fault.New(fault.Unavailable, "x"), -1)); !ok || d != 0 {
		t.Errorf("negative: %v, %v", d, ok)
	}
	for _, err := range []error{nil, errors.New("x"), fault.New(fault.Unavailable, "x")} {
		if _, ok := fault.RetryDelay(err); ok {
			t.Errorf("%v has a delay", err)
		}
	}
}

func TestPeersDetailsAreBounded(t *testing.T) {
	long := strings.Repeat("x", 10_000)
	bad := &errdetails.BadRequest{}
	for range 1000 {
		bad.FieldViolations = append(bad.FieldViolations, &errdetails.BadRequest_FieldViolation{Field: long, Description: long})
	}
	s, err := status.New(codes.InvalidArgument, long).WithDetails(bad, &errdetails.RequestInfo{RequestId: long})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(fault.From(fault.FromStatus(s.Err())).Error()); n > 16<<10 {
		t.Errorf("error has %d bytes", n)
	}
}

// TestAnyTextCanBeSent builds errors from arbitrary bytes: they must always marshal, stay below the
// limit of a header list, and keep the code.
func TestAnyTextCanBeSent(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		text := rapid.Custom(func(rt *rapid.T) string {
			return strings.Repeat(string(rapid.SliceOf(rapid.Byte()).Draw(rt, "bytes")), rapid.IntRange(1, 100).Draw(rt, "times"))
		})
		code := rapid.SampledFrom([]fault.Code{fault.Invalid, fault.Internal, fault.NotFound}).Draw(rt, "code")
		err := fault.New(code, "%s", text.Draw(rt, "message"))
		for range rapid.IntRange(0, 30).Draw(rt, "fields") {
			err = fault.WithField(err, text.Draw(rt, "field"), text.Draw(rt, "description"))
		}
		err = fault.Wrap(code, err, "%s", text.Draw(rt, "around"))
		s := fault.From(err).GRPCStatus()
		b, e := proto.Marshal(s.Proto())
		if e != nil || len(b)*4/3 > 16<<10 {
			rt.Fatalf("%d bytes, %v", len(b), e)
		}
		if want := min(len(fault.Fields(err)), fault.MaxFields); fault.CodeOf(fault.FromStatus(s.Err())) != code ||
			len(fault.Fields(fault.FromStatus(s.Err()))) != want || !utf8.ValidString(s.Message()) {
			rt.Fatalf("came back as %v", s)
		}
	})
}

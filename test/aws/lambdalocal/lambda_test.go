package lambdalocal_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/test/aws/lambdalocal"
)

func TestInvocationCarriesWhatLambdaGives(t *testing.T) {
	t.Setenv("ONLY_OF_THE_TEST", "1")
	l := start(t, lambdalocal.Function{
		Env: map[string]string{"OWN": "yes", "AWS_LAMBDA_FUNCTION_NAME": "forged"}, MemoryMiB: 256, Timeout: 20 * time.Second, Aliases: []string{"live"},
	}, lambdalocal.Options{Region: "eu-west-1", AccessKeyID: "AK", SecretAccessKey: "SK"})
	s := look(t, l, lambdalocal.Invocation{
		Qualifier: "live", Trace: "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1",
		ClientContext: `{"custom":{"who":"tester"}}`,
	})
	if want := "arn:aws:lambda:eu-west-1:123456789012:function:f:live"; s.ARN != want {
		t.Errorf("invoked as %s, want %s", s.ARN, want)
	}
	if s.Left < 15*time.Second || s.Left > 20*time.Second {
		t.Errorf("%s are left of 20 s", s.Left)
	}
	if len(s.RequestID) != 36 || s.Client != "tester" || !strings.HasPrefix(s.Trace, "Root=1-5759e988-") {
		t.Errorf("got %+v", s)
	}
	for name, want := range map[string]string{
		"AWS_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": "AK", "AWS_LAMBDA_FUNCTION_NAME": "f", "AWS_LAMBDA_FUNCTION_VERSION": "1",
		"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256", "OWN": "yes", "_HANDLER": "bootstrap", "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
		"AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/f", "ONLY_OF_THE_TEST": "", "AWS_EXECUTION_ENV": "",
	} {
		if s.Env[name] != want {
			t.Errorf("%s is %q, want %q", name, s.Env[name], want)
		}
	}
}

func TestProcessIsUsedAgainAndEndedWithTheLambda(t *testing.T) {
	l := start(t, lambdalocal.Function{}, lambdalocal.Options{})
	first := invoke(t, l, lambdalocal.Invocation{})
	one, two := look(t, l, lambdalocal.Invocation{}), look(t, l, lambdalocal.Invocation{})
	if one.Pid != two.Pid || two.Count != 3 {
		t.Errorf("three invocations ran in processes %d and %d, the last counted %d", one.Pid, two.Pid, two.Count)
	}
	if first.Cold <= 0 || len(l.ColdStarts("f")) != 1 || l.ColdStarts("f")[0] != first.Cold {
		t.Errorf("cold starts %v, the first invocation says %s", l.ColdStarts("f"), first.Cold)
	}
	if n := l.Recycle("f"); n != 1 {
		t.Errorf("%d idle processes were ended, want 1", n)
	}
	if three := look(t, l, lambdalocal.Invocation{}); three.Pid == one.Pid || three.Count != 1 {
		t.Errorf("after a recycle process %d counts %d", three.Pid, three.Count)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if err := syscall.Kill(one.Pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("process %d is still there: %v", one.Pid, err)
	}
}

func TestFunctionErrors(t *testing.T) {
	l := start(t, lambdalocal.Function{Timeout: 2 * time.Second}, lambdalocal.Options{})
	for name, tt := range map[string]struct {
		payload, kind, message string
	}{
		"own name":     {`{"do":"fail"}`, "Unavailable", "come again"},
		"plain":        {`{"do":"error"}`, "errorString", "plain"},
		"panic":        {`{"do":"panic"}`, "string", "at the disco"},
		"exit":         {`{"do":"exit"}`, lambdalocal.ErrorExit, "Runtime exited with error: exit status 7"},
		"time is over": {`{"do":"hang"}`, lambdalocal.ErrorTimeout, "Task timed out after 2.00 seconds"},
		"too large":    {`{"do":"large","bytes":6291456}`, "Function.ResponseSizeTooLarge", "exceeded maximum"},
	} {
		t.Run(name, func(t *testing.T) {
			r := invoke(t, l, lambdalocal.Invocation{Payload: []byte(tt.payload)})
			f := r.Failure()
			if f == nil || r.FunctionError != "Unhandled" || f.Type != tt.kind || !strings.Contains(f.Message, tt.message) {
				t.Errorf("got %s %s", r.FunctionError, r.Payload)
			}
			// Whatever happened to the process, the next invocation is served.
			look(t, l, lambdalocal.Invocation{})
		})
	}
}

func TestProcessIsKilledWhenItsTimeIsOver(t *testing.T) {
	l := start(t, lambdalocal.Function{Timeout: time.Second}, lambdalocal.Options{Freeze: true})
	before := look(t, l, lambdalocal.Invocation{})
	invoke(t, l, lambdalocal.Invocation{Payload: []byte(`{"do":"hang"}`)})
	if err := syscall.Kill(before.Pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("process %d outlived its time: %v", before.Pid, err)
	}
	if after := look(t, l, lambdalocal.Invocation{}); after.Pid == before.Pid || after.Count != 1 {
		t.Errorf("after the timeout %+v", after)
	}
}

func TestProcessThatDoesNotStart(t *testing.T) {
	l := start(t, lambdalocal.Function{Env: map[string]string{"MODE": "no-start"}}, lambdalocal.Options{})
	r := invoke(t, l, lambdalocal.Invocation{})
	if f := r.Failure(); f == nil || f.Type != lambdalocal.ErrorExit || !strings.Contains(f.Message, "exit status 3") {
		t.Errorf("got %s", r.Payload)
	}
	missing := lambdalocal.New(lambdalocal.Options{})
	if err := missing.Add(lambdalocal.Function{Name: "gone", Binary: "/no/such/file"}); err != nil {
		t.Fatal(err)
	}
	r = invoke(t, missing, lambdalocal.Invocation{Function: "gone"})
	if f := r.Failure(); f == nil || f.Type != "Runtime.InvalidEntrypoint" {
		t.Errorf("got %s", r.Payload)
	}
}

func TestInstancesAreBounded(t *testing.T) {
	l := start(t, lambdalocal.Function{MaxInstances: 2, Timeout: 20 * time.Second}, lambdalocal.Options{})
	var wg sync.WaitGroup
	var mu sync.Mutex
	ran, refused := 0, 0
	pids := map[string]bool{}
	for range 6 {
		wg.Go(func() {
			r, err := l.Invoke(t.Context(), lambdalocal.Invocation{Function: "f", Payload: []byte(`{"do":"pause"}`)})
			mu.Lock()
			defer mu.Unlock()
			switch {
			case errors.Is(err, lambdalocal.ErrThrottled):
				refused++
			case err == nil && r.FunctionError == "":
				ran++
				pids[fmt.Sprint(r.Cold)] = true
			default:
				t.Errorf("%v %s", err, r.Payload)
			}
		})
	}
	wg.Wait()
	if ran != 2 || refused != 4 {
		t.Errorf("%d ran and %d were refused, want 2 and 4", ran, refused)
	}
	look(t, l, lambdalocal.Invocation{})
	if n := len(l.ColdStarts("f")); n != 2 {
		t.Errorf("%d processes were started, want 2", n)
	}
}

// TestFrozenBetweenInvocations: a goroutine that should beat every 5 ms stands still while there is nothing to do.
func TestFrozenBetweenInvocations(t *testing.T) {
	const pause = 300 * time.Millisecond
	for _, freeze := range []bool{true, false} {
		t.Run(fmt.Sprint("freeze=", freeze), func(t *testing.T) {
			l := start(t, lambdalocal.Function{Env: map[string]string{"MODE": "sigterm"}}, lambdalocal.Options{Freeze: freeze})
			pid := look(t, l, lambdalocal.Invocation{}).Pid
			stopped := false
			for deadline := time.Now().Add(5 * time.Second); freeze && !stopped && time.Now().Before(deadline); {
				stopped = state(t, pid) == "T"
			}
			if stopped != freeze {
				t.Fatalf("the process is in state %s", state(t, pid))
			}
			if !freeze {
				return
			}
			time.Sleep(pause) // the length of the standstill is what is measured
			s := look(t, l, lambdalocal.Invocation{Payload: []byte(`{"do":"pause"}`)})
			if s.Pid != pid || s.Slept < pause {
				t.Errorf("process %d (was %d) stood still for %s at most, want %s", s.Pid, pid, s.Slept, pause)
			}
		})
	}
}

// state is the letter of a process's state.
func state(t *testing.T, pid int) string {
	t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(raw), ") ")
	return rest[:1]
}

func TestSIGTERMComesToThoseWhoRegistered(t *testing.T) {
	for mode, want := range map[string]struct {
		told bool
		err  string
	}{"sigterm": {told: true}, "": {}, "stubborn": {err: "did not end within"}} {
		t.Run("mode "+mode, func(t *testing.T) {
			out := &output{}
			l := start(t, lambdalocal.Function{Env: map[string]string{"MODE": mode}, Log: out}, lambdalocal.Options{Freeze: true})
			look(t, l, lambdalocal.Invocation{})
			err := l.Close()
			if want.err == "" && err != nil || want.err != "" && (err == nil || !strings.Contains(err.Error(), want.err)) {
				t.Errorf("close: %v", err)
			}
			if strings.Contains(out.String(), "told to end") != want.told {
				t.Errorf("printed %q", out)
			}
		})
	}
}

func TestNamesAndQualifiers(t *testing.T) {
	l := start(t, lambdalocal.Function{Aliases: []string{"live"}}, lambdalocal.Options{})
	const arn = "arn:aws:lambda:us-east-1:123456789012:function:f"
	for _, in := range []lambdalocal.Invocation{
		{Function: "f"}, {Function: "f:live"}, {Function: "f", Qualifier: "live"}, {Function: arn}, {Function: arn + ":live"},
		{Function: arn + ":live", Qualifier: "live"}, {Function: "f", Qualifier: "$LATEST"}, {Function: "f", Qualifier: "1"},
	} {
		if s := look(t, l, in); !strings.HasPrefix(s.ARN, arn) {
			t.Errorf("%+v: invoked as %s", in, s.ARN)
		}
	}
	for _, tt := range []struct {
		in   lambdalocal.Invocation
		want fault.Code
	}{
		{lambdalocal.Invocation{Function: "g"}, fault.NotFound},
		{lambdalocal.Invocation{Function: "f:old"}, fault.NotFound},
		{lambdalocal.Invocation{Function: "arn:aws:lambda:eu-west-1:123456789012:function:f"}, fault.NotFound},
		{lambdalocal.Invocation{Function: "f:live", Qualifier: "other"}, fault.Invalid},
		{lambdalocal.Invocation{Function: "f", Payload: make([]byte, lambdalocal.MaxPayloadBytes+1)}, fault.ResourceExhausted},
	} {
		if _, err := l.Invoke(t.Context(), tt.in); !errors.Is(err, tt.want) {
			t.Errorf("%s %s: %v, want %v", tt.in.Function, tt.in.Qualifier, err, tt.want)
		}
	}
}

func TestAddRefuses(t *testing.T) {
	l := lambdalocal.New(lambdalocal.Options{})
	if err := l.Add(lambdalocal.Function{Name: "f"}); err != nil {
		t.Fatal(err)
	}
	for _, f := range []lambdalocal.Function{
		{Name: ""}, {Name: "f"}, {Name: strings.Repeat("f", 65)}, {Name: "a", Timeout: time.Hour}, {Name: "a", MemoryMiB: 64}, {Name: "a", MaxInstances: -1},
	} {
		if err := l.Add(f); err == nil {
			t.Errorf("%+v was accepted", f)
		}
	}
}

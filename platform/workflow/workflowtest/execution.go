package workflowtest

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/workflow"
)

var executionCases = []testCase{
	{"ANameIsOneRun", aNameIsOneRun},
	{"TheFirstInputCounts", theFirstInputCounts},
	{"StartRefusesWhatIsNoNameOrInput", startRefuses},
	{"InputCarriesTheTrace", inputCarriesTheTrace},
	{"DataUpToTheLimitPass", dataUpToTheLimit},
	{"UnknownExecutionIsNotFound", unknownExecution},
	{"StopEndsAsAborted", stopEndsAsAborted},
	{"TheEndOfAnExecutionStays", theEndStays},
	{"FailureAndTimeoutAreTold", failureAndTimeout},
}

func aNameIsOneRun(t *testing.T, e workflow.Engine, o *Outside) {
	ctx := context.Background()
	for range 3 {
		must(t, e.Start(ctx, "calls", "tenant-1", json.RawMessage(`{"n": 1}`)))
	}
	x := await(t, e, "calls", "tenant-1")
	wantOutput(t, x, `{"n":1}`)
	if x.Machine != "calls" || x.Name != "tenant-1" || x.StartedAt.IsZero() || x.StoppedAt.Before(x.StartedAt) {
		t.Errorf("is described as %+v", x)
	}
	must(t, e.Start(ctx, "calls", "tenant-1", json.RawMessage(`{"n": 1}`)))
	time.Sleep(time.Minute)
	if n := o.calls(); n != 1 {
		t.Errorf("the function was called %d times", n)
	}
	must(t, e.Start(ctx, "fails", "tenant-1", nil)) // of another machine it is another run
	if x := await(t, e, "fails", "tenant-1"); x.Status != workflow.Failed {
		t.Errorf("ended as %+v", x)
	}
}

func theFirstInputCounts(t *testing.T, e workflow.Engine, o *Outside) {
	ctx := context.Background()
	must(t, e.Start(ctx, "waits", "one", json.RawMessage(`{"n": 1}`)))
	must(t, e.Start(ctx, "waits", "one", json.RawMessage(`{"n": 2}`))) // while it runs
	token := o.token(t, "one")
	x, err := e.Describe(ctx, "waits", "one")
	must(t, err)
	if x.Status != workflow.Running || compact(x.Input) != `{"n":1}` || len(x.Output) > 0 || !x.StoppedAt.IsZero() {
		t.Errorf("is described as %+v", x)
	}
	must(t, e.Complete(ctx, token, json.RawMessage(`7`)))
	wantOutput(t, await(t, e, "waits", "one"), `7`)
	must(t, e.Start(ctx, "waits", "one", json.RawMessage(`{"n": 3}`))) // when it has ended
	time.Sleep(time.Minute)
	x, err = e.Describe(ctx, "waits", "one")
	must(t, err)
	wantOutput(t, x, `7`)
}

func startRefuses(t *testing.T, e workflow.Engine, _ *Outside) {
	ctx := context.Background()
	for _, bad := range []string{"", "a/b", "a b", "a:b", "é", "a\n", strings.Repeat("x", 81)} {
		wantCode(t, e.Start(ctx, "calls", bad, nil), fault.Invalid)
		wantCode(t, e.Start(ctx, bad, "one", nil), fault.Invalid)
		wantCode(t, e.Stop(ctx, "calls", bad, "", ""), fault.Invalid)
		_, err := e.Describe(ctx, "calls", bad)
		wantCode(t, err, fault.Invalid)
	}
	for _, bad := range []string{`{`, `{} {}`, `nope`, `"` + strings.Repeat("x", workflow.MaxDataBytes) + `"`} {
		wantCode(t, e.Start(ctx, "calls", "one", json.RawMessage(bad)), fault.Invalid)
	}
	_, err := e.Describe(ctx, "calls", "one")
	wantCode(t, err, fault.NotFound)
	must(t, e.Start(ctx, "calls", strings.Repeat("x", 80), nil))
	wantOutput(t, await(t, e, "calls", strings.Repeat("x", 80)), `{}`)
}

func inputCarriesTheTrace(t *testing.T, e workflow.Engine, _ *Outside) {
	ctx := trace.ContextWithSpanContext(context.Background(), trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{1, 2}, SpanID: trace.SpanID{3}, TraceFlags: trace.FlagsSampled,
	}))
	for name, c := range map[string]struct{ input, want string }{
		"set":    {`{"a":1}`, `{"a":1,"trace":{"traceparent":"00-01020000000000000000000000000000-0300000000000000-01"}}`},
		"kept":   {`{"trace":"mine"}`, `{"trace":"mine"}`},
		"scalar": {`[1]`, `[1]`},
	} {
		must(t, e.Start(ctx, "calls", name, json.RawMessage(c.input)))
		wantOutput(t, await(t, e, "calls", name), c.want)
	}
}

func dataUpToTheLimit(t *testing.T, e workflow.Engine, _ *Outside) {
	ctx := context.Background()
	// The result of a function call has an envelope, which counts: there has to be room for it.
	large := `{"n":12345678901234567890,"s":"<&>é` + strings.Repeat("x", workflow.MaxDataBytes-100) + `"}`
	must(t, e.Start(ctx, "calls", "large", json.RawMessage(large)))
	x := await(t, e, "calls", "large")
	wantOutput(t, x, large)
	if compact(x.Input) != large {
		t.Error("the input is not what it was")
	}
}

func unknownExecution(t *testing.T, e workflow.Engine, _ *Outside) {
	ctx := context.Background()
	must(t, e.Start(ctx, "calls", "one", nil))
	for _, c := range [][2]string{{"calls", "two"}, {"waits", "one"}} {
		_, err := e.Describe(ctx, c[0], c[1])
		wantCode(t, err, fault.NotFound)
		wantCode(t, e.Stop(ctx, c[0], c[1], "", ""), fault.NotFound)
	}
}

func stopEndsAsAborted(t *testing.T, e workflow.Engine, o *Outside) {
	ctx := context.Background()
	must(t, e.Start(ctx, "waits", "one", nil))
	token := o.token(t, "one")
	must(t, e.Stop(ctx, "waits", "one", strings.Repeat("E", 300), "because"))
	x := await(t, e, "waits", "one")
	if x.Status != workflow.Aborted || x.Error != strings.Repeat("E", 256) || x.Cause != "because" || x.StoppedAt.IsZero() {
		t.Errorf("ended as %+v", x)
	}
	wantCode(t, e.Complete(ctx, token, json.RawMessage(`1`)), fault.FailedPrecondition)
	must(t, e.Stop(ctx, "waits", "one", "Again", "no"))
	if again := await(t, e, "waits", "one"); again.Error != x.Error || !again.StoppedAt.Equal(x.StoppedAt) {
		t.Errorf("a second stop made it %+v", again)
	}
}

func theEndStays(t *testing.T, e workflow.Engine, _ *Outside) {
	ctx := context.Background()
	must(t, e.Start(ctx, "calls", "one", nil))
	before := await(t, e, "calls", "one")
	must(t, e.Stop(ctx, "calls", "one", "Late", "too late"))
	after := await(t, e, "calls", "one")
	wantOutput(t, after, `{}`)
	if !after.StoppedAt.Equal(before.StoppedAt) {
		t.Errorf("was %+v, is %+v", before, after)
	}
}

func failureAndTimeout(t *testing.T, e workflow.Engine, _ *Outside) {
	ctx := context.Background()
	must(t, e.Start(ctx, "fails", "one", nil))
	if x := await(t, e, "fails", "one"); x.Status != workflow.Failed || x.Error != "Broken" || x.Cause != "on purpose" || len(x.Output) > 0 {
		t.Errorf("ended as %+v", x)
	}
	must(t, e.Start(ctx, "late", "one", nil))
	if x := await(t, e, "late", "one"); x.Status != workflow.TimedOut || x.StoppedAt.Sub(x.StartedAt).Round(time.Second) != 5*time.Second {
		t.Errorf("ended as %+v", x)
	}
}

package workflowtest

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/workflow"
)

var tokenCases = []testCase{
	{"ATokenIsCompletedOnce", completedOnce},
	{"ATokenIsFailedByName", failedByName},
	{"UnknownTokenIsNotFound", unknownToken},
	{"OutputThatIsNoneIsRefused", outputRefused},
	{"HeartbeatsKeepATaskOpen", heartbeats},
	{"AMissedHeartbeatClosesTheToken", missedHeartbeat},
}

func completedOnce(t *testing.T, e workflow.Engine, o *Outside) {
	ctx := context.Background()
	must(t, e.Start(ctx, "waits", "one", nil))
	token := o.token(t, "one")
	must(t, e.Complete(ctx, token, json.RawMessage(`{"b": 2, "a": 1}`)))
	if err := e.Complete(ctx, token, json.RawMessage(`{"a":1,"b":2}`)); err != nil {
		wantCode(t, err, fault.FailedPrecondition) // where a repeat is not told from another outcome
	}
	wantCode(t, e.Complete(ctx, token, json.RawMessage(`{"a":2}`)), fault.FailedPrecondition)
	wantCode(t, e.Fail(ctx, token, "E", "c"), fault.FailedPrecondition)
	wantCode(t, e.Heartbeat(ctx, token), fault.FailedPrecondition)
	wantOutput(t, await(t, e, "waits", "one"), `{"a":1,"b":2}`)
	wantCode(t, e.Complete(ctx, token, json.RawMessage(`{"a":1,"b":2}`)), fault.FailedPrecondition)
}

func failedByName(t *testing.T, e workflow.Engine, o *Outside) {
	ctx := context.Background()
	for execution, c := range map[string]struct{ name, cause, want string }{
		"named":   {"Bad", "why", `{"Cause":"why","Error":"Bad"}`},
		"unnamed": {"", "why", `{"any":{"Cause":"why","Error":"States.TaskFailed"}}`},
		"other":   {"Else", "", `{"any":{"Cause":"","Error":"Else"}}`},
		"long": {
			strings.Repeat("n", 300), strings.Repeat("c", 40000),
			`{"any":{"Cause":"` + strings.Repeat("c", 32768) + `","Error":"` + strings.Repeat("n", 256) + `"}}`,
		},
	} {
		must(t, e.Start(ctx, "catches", execution, nil))
		token := o.token(t, execution)
		must(t, e.Fail(ctx, token, c.name, c.cause))
		wantOutput(t, await(t, e, "catches", execution), c.want)
		wantCode(t, e.Fail(ctx, token, c.name, c.cause), fault.FailedPrecondition)
	}
}

func unknownToken(t *testing.T, e workflow.Engine, o *Outside) {
	ctx := context.Background()
	must(t, e.Start(ctx, "waits", "one", nil))
	token := o.token(t, "one")
	for _, bad := range []string{"", "x", token[:len(token)-4], token + "AAAA", strings.Repeat("A", 5000)} {
		wantCode(t, e.Complete(ctx, bad, json.RawMessage(`1`)), fault.NotFound)
		wantCode(t, e.Fail(ctx, bad, "E", "c"), fault.NotFound)
		wantCode(t, e.Heartbeat(ctx, bad), fault.NotFound)
	}
	must(t, e.Complete(ctx, token, json.RawMessage(`1`)))
}

func outputRefused(t *testing.T, e workflow.Engine, o *Outside) {
	ctx := context.Background()
	must(t, e.Start(ctx, "waits", "one", nil))
	token := o.token(t, "one")
	for _, bad := range []string{``, `{`, `1 2`, `"` + strings.Repeat("x", workflow.MaxDataBytes) + `"`} {
		wantCode(t, e.Complete(ctx, token, json.RawMessage(bad)), fault.Invalid)
	}
	must(t, e.Complete(ctx, token, json.RawMessage(`null`)))
	wantOutput(t, await(t, e, "waits", "one"), `null`)
}

func heartbeats(t *testing.T, e workflow.Engine, o *Outside) {
	ctx := context.Background()
	must(t, e.Start(ctx, "waits", "one", nil))
	token := o.token(t, "one")
	for range 6 {
		time.Sleep(15 * time.Second)
		must(t, e.Heartbeat(ctx, token))
	}
	x := await(t, e, "waits", "one")
	if took := x.StoppedAt.Sub(x.StartedAt).Round(time.Second); x.Status != workflow.Failed || x.Error != workflow.ErrorTimeout || took != 100*time.Second {
		t.Errorf("ended as %s %q after %s", x.Status, x.Error, took)
	}
	wantCode(t, e.Complete(ctx, token, json.RawMessage(`1`)), fault.FailedPrecondition)
}

func missedHeartbeat(t *testing.T, e workflow.Engine, o *Outside) {
	ctx := context.Background()
	must(t, e.Start(ctx, "waits", "one", nil))
	token := o.token(t, "one")
	x := await(t, e, "waits", "one")
	if took := x.StoppedAt.Sub(x.StartedAt).Round(time.Second); x.Error != workflow.ErrorTimeout || took != 20*time.Second {
		t.Errorf("ended as %s %q after %s", x.Status, x.Error, took)
	}
	wantCode(t, e.Heartbeat(ctx, token), fault.FailedPrecondition)
	wantCode(t, e.Complete(ctx, token, json.RawMessage(`1`)), fault.FailedPrecondition)
}

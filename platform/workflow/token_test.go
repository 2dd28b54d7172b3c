package workflow

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

func (w *world) token(id string) string {
	w.t.Helper()
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	var body struct{ Token string }
	if len(w.sent[id]) == 0 || json.Unmarshal(w.sent[id][0].m.Body, &body) != nil {
		w.t.Fatalf("no message %s", id)
	}
	return body.Token
}

func TestTokenIsCompletedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		w := silent(t)
		// Waits for a second token, so that the execution goes on after the first.
		two := strings.Replace(waits, `"End": true`, `"Next": "W"`, 1)
		two = strings.Replace(two, `"States": {`, `"States": {"W": {"Type": "Wait", "Seconds": 50, "End": true}, `, 1)
		p := w.start(map[string]string{"m": two}, 0, false)
		defer p.stop()
		other := NewClient(w.store.table())
		must(t, other.Start(ctx, "m", "one", nil))
		time.Sleep(101 * time.Millisecond)
		token := w.token("one")
		if len(token) > MaxTokenBytes || strings.Contains(token, "one") {
			t.Errorf("token %q is not opaque", token)
		}
		for _, bad := range []string{"", "x", token[:len(token)-2], token + "AA", token[:len(token)-1] + "_", strings.Repeat("A", 5000)} {
			if bad != token {
				wantCode(t, other.Complete(ctx, bad, json.RawMessage(`1`)), fault.NotFound)
			}
		}
		forged, _ := parseToken(token)
		forged.secret[3] ^= 1
		wantCode(t, other.Complete(ctx, forged.String(), json.RawMessage(`1`)), fault.NotFound)
		wantCode(t, other.Complete(ctx, token, json.RawMessage(`{`)), fault.Invalid)
		wantCode(t, other.Complete(ctx, token, json.RawMessage(`"`+strings.Repeat("x", MaxDataBytes)+`"`)), fault.Invalid)
		must(t, other.Complete(ctx, token, json.RawMessage(`{"b": 2, "a": 1}`)))
		must(t, other.Complete(ctx, token, json.RawMessage(`{"a":1,"b":2}`)))
		must(t, p.Complete(ctx, token, json.RawMessage(`{"a":1,"b":2}`)))
		wantCode(t, other.Complete(ctx, token, json.RawMessage(`{"a":1}`)), fault.FailedPrecondition)
		wantCode(t, other.Fail(ctx, token, "E", "c"), fault.FailedPrecondition)
		wantCode(t, other.Heartbeat(ctx, token), fault.FailedPrecondition)
		e := w.await("m", "one")
		if e.Status != Succeeded || string(e.Output) != `{"a":1,"b":2}` {
			t.Errorf("ended as %+v", e)
		}
		if took := e.StoppedAt.Sub(e.StartedAt); took > 50*time.Second+300*time.Millisecond {
			t.Errorf("start and completion were noticed after %s", took-50*time.Second)
		}
		wantCode(t, other.Complete(ctx, token, json.RawMessage(`{"a":1,"b":2}`)), fault.FailedPrecondition)
	})
}

func TestTokenInTheSameProcessNeedsNoPolling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		w := silent(t)
		p := w.start(map[string]string{"m": waits}, 0, false, func(o *RunnerOptions) { o.Poll = -1 })
		defer p.stop()
		synctest.Wait()
		must(t, p.Start(ctx, "m", "one", nil))
		must(t, p.Complete(ctx, w.token("one"), json.RawMessage(`7`)))
		synctest.Wait()
		e, err := p.Describe(ctx, "m", "one")
		if err != nil || e.Status != Succeeded || !e.StoppedAt.Equal(e.StartedAt) {
			t.Errorf("ended as %+v, %v", e, err)
		}
		if left := w.store.keys(eventsPartition, ""); len(left) > 0 {
			t.Errorf("events were written: %v", left)
		}
	})
}

func TestHeartbeatsKeepATaskOpenUntilItsTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		w := silent(t)
		p := w.start(map[string]string{"m": waits}, 0, false)
		other := NewClient(w.store.table())
		must(t, p.Start(ctx, "m", "one", nil))
		token := w.token("one")
		for i := range 6 {
			time.Sleep(15 * time.Second)
			must(t, other.Heartbeat(ctx, token))
			if i == 2 { // a restart in between changes nothing
				p.stop()
				p = w.start(map[string]string{"m": waits}, 0, false)
			}
		}
		e := w.await("m", "one")
		p.stop()
		if took := e.StoppedAt.Sub(e.StartedAt); e.Error != ErrorTimeout || took != 100*time.Second || !strings.Contains(e.Cause, "no result") {
			t.Errorf("ended as %s %q after %s", e.Error, e.Cause, took)
		}
		wantCode(t, other.Complete(ctx, token, json.RawMessage(`1`)), fault.FailedPrecondition)
		if n := len(w.sent["one"]); n != 1 {
			t.Errorf("message was sent %d times", n)
		}
	})
}

func TestTimersKeepTheirTimeOverARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		machines := map[string]string{"m": `{"StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": 100, "End": true}}}`}
		p := w.start(machines, 0, false)
		must(t, p.Start(context.Background(), "m", "one", nil))
		time.Sleep(30 * time.Second)
		p.stop()
		time.Sleep(40 * time.Second)
		p = w.start(machines, 0, false)
		defer p.stop()
		e := w.await("m", "one")
		if took := e.StoppedAt.Sub(e.StartedAt); took != 100*time.Second {
			t.Errorf("waited %s, want 100s", took)
		}
	})
}

func TestFailedMapClosesTheTokensInside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		w := silent(t)
		definition := `{"StartAt": "M", "States": {
			"M": {"Type": "Map", "ItemProcessor": ` + strings.Replace(waits, "$$.Execution.Name", "$", 1) + `,
				"Catch": [{"ErrorEquals": ["Bad"], "Next": "W"}], "End": true},
			"W": {"Type": "Wait", "Seconds": 10, "End": true}}}`
		p := w.start(map[string]string{"m": definition}, 0, false)
		defer p.stop()
		other := NewClient(w.store.table())
		must(t, p.Start(ctx, "m", "one", json.RawMessage(`["a","b"]`)))
		a, b := w.token("a"), w.token("b")
		must(t, other.Fail(ctx, a, "Bad", "why"))
		time.Sleep(time.Second)
		wantCode(t, other.Complete(ctx, b, json.RawMessage(`1`)), fault.FailedPrecondition)
		must(t, other.Fail(ctx, a, "Bad", "why"))
		if e := w.await("m", "one"); string(e.Output) != `{"Cause":"why","Error":"Bad"}` {
			t.Errorf("ended as %+v", e)
		}
	})
}

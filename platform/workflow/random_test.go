package workflow

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

type fieldsOf = map[string]any

// chain draws a flow whose states transform the data {"v": ..., "items": [...]}. What a task does to
// v depends on everything before it, so that a run that took another way gives another output.
type chain struct {
	rt     *rapid.T
	states int
}

func (c *chain) name(kind string) string {
	c.states++
	return fmt.Sprintf("%s %d", kind, c.states)
}

func (c *chain) flow(depth int) fieldsOf {
	var names []string
	states := fieldsOf{}
	for range rapid.IntRange(1, 3).Draw(c.rt, "length") {
		kinds := []string{"call", "token", "wait", "clock", "loop"}
		if depth > 0 {
			kinds = append(kinds, "map", "parallel", "map")
		}
		names = append(names, c.add(states, rapid.SampledFrom(kinds).Draw(c.rt, "kind"), depth)...)
	}
	for i, name := range names {
		s := states[name].(fieldsOf)
		next := "End"
		if i+1 < len(names) {
			next = names[i+1]
		}
		if s["Type"] == "Choice" {
			s["Default"] = next
			continue
		}
		s["Next"] = next
		if catch, ok := s["Catch"].([]any); ok {
			catch[0].(fieldsOf)["Next"] = next
		}
	}
	states["End"+fmt.Sprint(c.states)] = fieldsOf{"Type": "Succeed", "OutputPath": "$.v"}
	raw, _ := json.Marshal(fieldsOf{"StartAt": names[0], "States": states})
	text := strings.ReplaceAll(string(raw), `"End"`, fmt.Sprintf(`"End%d"`, c.states))
	c.states++
	out := fieldsOf{}
	_ = json.Unmarshal([]byte(text), &out)
	return out
}

// add draws one state, or the few that make a loop.
func (c *chain) add(states fieldsOf, kind string, depth int) []string {
	name := c.name(kind)
	switch kind {
	case "call":
		states[name] = c.handled(fieldsOf{
			"Type": "Task", "Resource": resourceInvoke,
			"Parameters": fieldsOf{"FunctionName": "f", "Payload": fieldsOf{
				"at": name, "v.$": "$.v", "try.$": "$$.State.RetryCount",
			}},
			"ResultSelector": fieldsOf{"h.$": "$.Payload"},
		})
	case "token":
		states[name] = c.handled(fieldsOf{
			"Type": "Task", "Resource": resourceSendToken, "TimeoutSeconds": 60,
			"Parameters": fieldsOf{
				"QueueUrl": "q", "MessageGroupId": "g",
				"MessageDeduplicationId.$": "$$.Task.Token",
				"MessageBody": fieldsOf{
					"token.$": "$$.Task.Token", "at": name, "v.$": "$.v", "try.$": "$$.State.RetryCount",
				},
			},
		})
	case "wait":
		states[name] = fieldsOf{"Type": "Wait", "Seconds": rapid.IntRange(0, 5).Draw(c.rt, "seconds")}
	case "clock":
		// The time itself differs from run to run; that it was read shows in the number of steps.
		states[name] = fieldsOf{
			"Type": "Pass", "Parameters": fieldsOf{"t.$": "$$.State.EnteredTime"}, "ResultPath": "$.seen",
		}
	case "loop":
		return c.loop(states, name)
	case "map":
		states[name] = c.handled(fieldsOf{
			"Type": "Map", "ItemsPath": "$.items", "MaxConcurrency": rapid.IntRange(0, 3).Draw(c.rt, "concurrency"),
			"ItemSelector":  fieldsOf{"v": fieldsOf{"i.$": "$$.Map.Item.Index", "of.$": "$.v"}, "items.$": "$.items"},
			"ItemProcessor": c.flow(depth - 1),
		})
	case "parallel":
		states[name] = c.handled(fieldsOf{"Type": "Parallel", "Branches": []any{c.flow(depth - 1), c.flow(depth - 1)}})
	}
	return []string{name}
}

func (c *chain) loop(states fieldsOf, name string) []string {
	field := fmt.Sprintf("$.c%d", c.states)
	states[name] = fieldsOf{"Type": "Pass", "Result": fieldsOf{"x": 0}, "ResultPath": field}
	body := c.add(states, rapid.SampledFrom([]string{"call", "token", "wait"}).Draw(c.rt, "body"), 0)[0]
	count, again := c.name("count"), c.name("again")
	states[count] = fieldsOf{
		"Type": "Pass", "Parameters": fieldsOf{"x.$": "States.MathAdd(" + field + ".x, 1)"}, "ResultPath": field,
	}
	states[again] = fieldsOf{"Type": "Choice", "Choices": []any{
		fieldsOf{"Variable": field + ".x", "NumericLessThan": 2, "Next": body},
	}}
	return []string{name, body, count, again}
}

// handled adds Retry and Catch.
func (c *chain) handled(s fieldsOf) fieldsOf {
	s["ResultPath"] = "$.v"
	if rapid.Bool().Draw(c.rt, "retried") {
		s["Retry"] = []any{fieldsOf{
			"ErrorEquals": []any{"States.ALL"}, "MaxAttempts": rapid.IntRange(0, 2).Draw(c.rt, "attempts"),
			"JitterStrategy": rapid.SampledFrom([]string{"FULL", "NONE"}).Draw(c.rt, "jitter"),
		}}
		if p, ok := s["Parameters"].(fieldsOf); ok && p["MessageDeduplicationId.$"] != nil {
			p["MessageDeduplicationId.$"] = "States.Format('{}{}', $$.Task.Token, $$.State.RetryCount)"
		}
	}
	if rapid.IntRange(0, 3).Draw(c.rt, "caught") > 0 {
		s["Catch"] = []any{fieldsOf{"ErrorEquals": []any{"States.ALL"}, "ResultPath": "$.v"}}
	}
	return s
}

// digestAnswers answer with a digest of the request; about a quarter of all requests fail, always the
// same ones.
func digestAnswers(w *world) {
	w.answer = func(name string, request any) (any, error) {
		raw, _ := encode(request)
		sum := sha256.Sum256(append([]byte(name), raw...))
		if sum[0] < 64 {
			return nil, fault.New(fault.Unavailable, "not now")
		}
		return hex.EncodeToString(sum[:8]), nil
	}
}

func runMachine(t *testing.T, definition string, deaths []int, lost bool) Execution {
	w := newWorld(t)
	digestAnswers(w)
	machines := map[string]string{"m": definition}
	if err := NewClient(w.store.table()).Start(context.Background(), "m", "one", []byte(`{"v":"start","items":[1,2,3]}`)); err != nil {
		t.Fatal(err)
	}
	for _, n := range deaths {
		w.live(w.start(machines, n, lost), "m", "one")
	}
	p := w.start(machines, 0, false)
	e := w.await("m", "one")
	time.Sleep(time.Minute)
	p.stop()
	w.complete.Wait()
	for id, messages := range w.sent {
		if len(messages) > 1+len(deaths) {
			t.Errorf("%s was sent %d times in %d lives", id, len(messages), 1+len(deaths))
		}
	}
	if left := w.store.keys("one/", stepPrefix); len(left) > 0 {
		t.Errorf("records were left: %v", left)
	}
	e.StartedAt, e.StoppedAt = time.Time{}, time.Time{}
	return e
}

// TestRandomMachinesSurviveCrashes compares random machines that die at random writes with an
// undisturbed run.
func TestRandomMachinesSurviveCrashes(t *testing.T) {
	ended := map[Status]int{}
	rapid.Check(t, func(rt *rapid.T) {
		c := &chain{rt: rt}
		raw, err := json.Marshal(c.flow(2))
		if err != nil {
			rt.Fatal(err)
		}
		deaths := rapid.SliceOfN(rapid.IntRange(1, 60), 1, 4).Draw(rt, "deaths")
		lost := rapid.Bool().Draw(rt, "lost")
		var want, got Execution
		synctest.Test(t, func(t *testing.T) { want = runMachine(t, string(raw), nil, false) })
		synctest.Test(t, func(t *testing.T) { got = runMachine(t, string(raw), deaths, lost) })
		ended[want.Status]++
		if diff := cmp.Diff(want, got); diff != "" {
			rt.Fatalf("%s\ndies at %v: -undisturbed +crashed\n%s", raw, deaths, diff)
		}
	})
	t.Logf("undisturbed runs ended as %v", ended)
}

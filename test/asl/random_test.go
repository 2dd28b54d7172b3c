//go:build awstest

package asl

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

type fields = map[string]any

// flows draws machines of the subset that both interpreters have. Their data is {"v": ANY, "n": NUMBER, "items": [1,2,3]}. What a
// task gives depends on all that was before it, so that a run that took another way gives another output.
type flows struct {
	rt     *rapid.T
	states int
}

func (f *flows) name(kind string) string {
	f.states++
	return fmt.Sprintf("%s %d", kind, f.states)
}

// flow is one to four steps and an end.
func (f *flows) flow(depth int, deep bool) fields {
	states := fields{}
	var names []string
	for range rapid.IntRange(1, 4).Draw(f.rt, "length") {
		kinds := []string{"call", "token", "wait", "pass", "choice", "loop"}
		if depth > 0 {
			kinds = append(kinds, "map", "parallel", "map")
		}
		names = append(names, f.add(states, rapid.SampledFrom(kinds).Draw(f.rt, "kind"), depth, deep)...)
	}
	end := f.name("end")
	for i, name := range names {
		next := end
		if i+1 < len(names) {
			next = names[i+1]
		}
		s, _ := states[name].(fields)
		if s["Type"] == "Choice" {
			s["Default"] = next
			continue
		}
		if s["Next"] == nil {
			s["Next"] = next
		}
		for _, c := range list(s["Catch"]) {
			c["Next"] = next
		}
	}
	states[end] = fields{"Type": "Succeed", "OutputPath": "$.v"}
	return fields{"StartAt": names[0], "States": states}
}

func list(v any) []fields {
	out, _ := v.([]fields)
	return out
}

// add draws one state, or the few that belong together. The last of them goes on to what follows.
func (f *flows) add(states fields, kind string, depth int, deep bool) []string {
	name := f.name(kind)
	request := fields{"at": name, "v.$": "$.v", "n.$": "$.n", "deep": deep}
	switch kind {
	case "call":
		states[name] = f.handled(fields{
			"Type": "Task", "Resource": invoke, "Parameters": fields{"FunctionName": "f", "Payload": request},
			"ResultSelector": fields{"h.$": "$.Payload", "code.$": "$.StatusCode"}, "TimeoutSeconds": 30,
		}, deep)
	case "token":
		request["token.$"] = "$$.Task.Token"
		states[name] = f.handled(fields{
			"Type": "Task", "Resource": sendAndWait, "TimeoutSeconds": 60,
			"Parameters": fields{
				"QueueUrl": "q", "MessageGroupId": "g", "MessageBody": request,
				"MessageDeduplicationId.$": "States.Format('{}{}', $$.Task.Token, $$.State.RetryCount)",
			},
		}, deep)
	case "wait":
		states[name] = fields{"Type": "Wait", "Seconds": rapid.IntRange(0, 5).Draw(f.rt, "seconds")}
	case "pass":
		states[name] = f.pass()
	case "choice":
		return f.choice(states, name)
	case "loop":
		return f.loop(states, name, deep)
	case "map":
		states[name] = f.handled(fields{
			"Type": "Map", "ItemsPath": "$.items", "MaxConcurrency": rapid.IntRange(0, 3).Draw(f.rt, "concurrency"),
			"ItemSelector": fields{
				"v": fields{"i.$": "$$.Map.Item.Index", "is.$": "$$.Map.Item.Value", "of.$": "$.v"}, "n.$": "$.n", "items.$": "$.items",
			},
			"ItemProcessor": f.flow(depth-1, true),
		}, deep)
	case "parallel":
		states[name] = f.handled(fields{"Type": "Parallel", "Branches": []any{f.flow(depth-1, true), f.flow(depth-1, true)}}, deep)
	}
	return []string{name}
}

func (f *flows) pass() fields {
	s := fields{"Type": "Pass", "ResultPath": "$.v"}
	switch rapid.IntRange(0, 4).Draw(f.rt, "pass") {
	case 0:
		s["Parameters"] = fields{"t.$": "States.Format('{} of {}: {}', $.n, States.ArrayLength($.items), States.JsonToString($.items))"} // of an object the other gives the names in another order
	case 1:
		s["Parameters"] = fields{"a.$": "States.Array($.v, $.items[1], 'x', null, -2)", "all.$": "$.items[*]", "is": fields{"fixed": []any{1, "b"}}}
	case 2:
		s["Parameters"], s["ResultPath"] = fields{"x.$": "States.MathAdd($.n, 3)"}, "$.sum"
	case 3:
		s["InputPath"], s["Result"] = "$.v", fields{"fixed": []any{nil, 1.5, "text"}}
	case 4:
		s["InputPath"], s["ResultPath"] = "$.items", "$.copy.deeper"
	}
	return s
}

// choice is a choice of a rule of one or two tests; where it holds, a state that the other way does not visit.
func (f *flows) choice(states fields, name string) []string {
	test := func() fields {
		n := rapid.IntRange(0, 9).Draw(f.rt, "number")
		return rapid.SampledFrom([]fields{
			{"Variable": "$.n", "NumericLessThan": n}, {"Variable": "$.n", "NumericGreaterThanEquals": n},
			{"Variable": "$.n", "NumericEquals": n}, {"Variable": "$.v", "IsString": true}, {"Variable": "$.sum", "IsPresent": true},
			{"Variable": "$.v", "StringEquals": "start"}, {"Not": fields{"Variable": "$.items", "IsNumeric": true}}, // a false here the other interpreter reads as true
			{"Variable": "$.n", "NumericEqualsPath": "$.items[2]"},
			// StringMatches alone breaks the other interpreter where the variable is no string.
			{"And": []any{fields{"Variable": "$.v", "IsString": true}, fields{"Variable": "$.v", "StringMatches": "st*t"}}},
		}).Draw(f.rt, "test")
	}
	rule := test()
	switch rapid.IntRange(0, 3).Draw(f.rt, "rule") {
	case 0:
		rule = fields{"And": []any{rule, test()}}
	case 1:
		rule = fields{"Or": []any{rule, test()}}
	case 2:
		rule = fields{"Not": rule}
	}
	yes, last := f.name("yes"), f.name("no")
	rule["Next"] = yes
	states[name] = fields{"Type": "Choice", "Choices": []any{rule}}
	states[yes] = fields{"Type": "Pass", "Result": fields{"was": name}, "ResultPath": "$.v", "Next": last}
	states[last] = fields{"Type": "Pass"}
	return []string{name, last}
}

func (f *flows) loop(states fields, name string, deep bool) []string {
	field := fmt.Sprintf("$.c%d", f.states)
	states[name] = fields{"Type": "Pass", "Result": fields{"x": 0}, "ResultPath": field}
	body := f.add(states, rapid.SampledFrom([]string{"call", "token", "wait"}).Draw(f.rt, "body"), 0, deep)[0]
	count, again := f.name("count"), f.name("again")
	states[count] = fields{"Type": "Pass", "Parameters": fields{"x.$": "States.MathAdd(" + field + ".x, 1)"}, "ResultPath": field}
	states[again] = fields{"Type": "Choice", "Choices": []any{fields{
		"Variable": field + ".x", "NumericLessThan": rapid.IntRange(1, 3).Draw(f.rt, "rounds"), "Next": body,
	}}}
	return []string{name, body, count, again}
}

// handled adds Retry and Catch. What fails within a Map or Parallel fails as Deep, whichever iteration does first.
func (f *flows) handled(s fields, deep bool) fields {
	s["ResultPath"] = "$.v"
	names := [][]string{{"E0"}, {"E1", "E2"}, {"States.Timeout"}, {"States.TaskFailed"}, {"States.ALL"}, {"Deep", "E0"}}
	if s["Type"] != "Task" { // States.TaskFailed is a difference with a name
		names = [][]string{{"E0"}, {"States.ALL"}, {"Deep"}, {"Deep", "E1"}}
	}
	if rapid.Bool().Draw(f.rt, "retried") {
		r := fields{
			"ErrorEquals": rapid.SampledFrom(names).Draw(f.rt, "retry"), "MaxAttempts": rapid.IntRange(0, 3).Draw(f.rt, "attempts"),
			"IntervalSeconds": rapid.IntRange(1, 4).Draw(f.rt, "interval"), "BackoffRate": rapid.SampledFrom([]float64{1, 1.5, 2}).Draw(f.rt, "rate"),
		}
		if rapid.Bool().Draw(f.rt, "bounded") {
			r["MaxDelaySeconds"] = 5
		}
		s["Retry"] = []fields{r}
	}
	if rapid.IntRange(0, 3).Draw(f.rt, "caught") > 0 {
		s["Catch"] = []fields{{"ErrorEquals": rapid.SampledFrom(names).Draw(f.rt, "catch"), "ResultPath": "$.v"}}
	}
	return s
}

// digests answers with a digest of the request. A fifth fails: at the top by any name and each try anew, below always and as Deep.
func digests() *script {
	seen := map[string]int{}
	return &script{decide: func(name, request string) outcome {
		var in struct{ Deep bool }
		_ = json.Unmarshal([]byte(request), &in)
		seen[request]++
		text := name + request
		if !in.Deep {
			text += fmt.Sprint(seen[request])
		}
		sum := sha256.Sum256([]byte(text))
		switch {
		case sum[0] < 50 && in.Deep:
			return outcome{Error: "Deep", Cause: "why"}
		case sum[0] < 50:
			return outcome{Error: fmt.Sprintf("E%d", sum[1]%3), Cause: hex.EncodeToString(sum[2:5])}
		case sum[0] < 60 && !in.Deep:
			return outcome{Hangs: true}
		}
		output, _ := json.Marshal(hex.EncodeToString(sum[:8]))
		return outcome{Output: output}
	}}
}

// TestRandomMachinesEndAlike draws machines and runs each by both.
func TestRandomMachinesEndAlike(t *testing.T) {
	o := theOracle(t)
	ended, runs, calls, fans := map[string]int{}, 0, 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		f := &flows{rt: rt}
		definition, err := json.Marshal(f.flow(2, false))
		if err != nil {
			rt.Fatal(err)
		}
		if why := o.validate(t, definition); why != "" {
			rt.Fatalf("the validator refuses %s: %s", definition, why)
		}
		input := json.RawMessage(fmt.Sprintf(`{"v":"start","n":%d,"items":[1,2,3]}`, rapid.IntRange(0, 9).Draw(rt, "n")))
		want, got := ours(t, definition, input, digests()), o.run(t, definition, input, digests())
		runs, calls = runs+1, calls+len(want.Calls)
		ended[want.Status+" "+want.Error]++
		if got.fan {
			// How far the other iterations came when one failed is a race that both may win.
			fans++
			want.Calls, got.Calls = nil, nil
		}
		rt.Logf("%s with %s", definition, input)
		compare(rt, want, got, false)
	})
	t.Logf("%d machines with %d calls, in %d a Map or Parallel failed; they ended as %v", runs, calls, fans, ended)
}

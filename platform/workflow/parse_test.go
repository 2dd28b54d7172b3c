package workflow

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// TestParseRefuses has for every rule a definition that breaks it, and where and why it is refused.
func TestParseRefuses(t *testing.T) {
	pass := func(fields string) string { return `{"StartAt":"P","States":{"P":{"Type":"Pass",` + fields + `}}}` }
	state := func(fields string) string {
		return `{"StartAt":"P","States":{"P":{` + fields + `},"S":{"Type":"Succeed"}}}`
	}
	call := func(fields string) string {
		return state(`"Type":"Task","Resource":"arn:aws:states:::lambda:invoke","Next":"S",` + fields)
	}
	send := func(parameters, fields string) string {
		return state(`"Type":"Task","Resource":"arn:aws:states:::sqs:sendMessage.waitForTaskToken","Next":"S","Parameters":{
			"QueueUrl":"q","MessageGroupId":"g","MessageBody":{"t.$":"$$.Task.Token"}` + parameters + `}` + fields)
	}
	choice := func(rule string) string { return state(`"Type":"Choice","Choices":[{` + rule + `,"Next":"S"}]`) }
	loop := func(fields string) string {
		return state(`"Type":"Map","Next":"S","ItemProcessor":{"StartAt":"Q","States":{"Q":{"Type":"Succeed"}}},` + fields)
	}
	for _, c := range []struct{ definition, want string }{
		{`x`, "no JSON"},
		{`[]`, "must be an object"},
		{`{"StartAt":"P"} {}`, "no JSON"},
		{strings.Repeat(" ", MaxDefinitionBytes+1), "bytes, at most"},
		{`{"States":{"P":{"Type":"Succeed"}}}`, "StartAt: is needed"},
		{`{"StartAt":"P"}`, "States: is needed"},
		{`{"StartAt":"Q","States":{"P":{"Type":"Succeed"}}}`, `StartAt: there is no state "Q"`},
		{`{"StartAt":"P","Version":"2","States":{"P":{"Type":"Succeed"}}}`, "Version: must be 1.0"},
		{`{"StartAt":"P","TimeoutSeconds":0,"States":{"P":{"Type":"Succeed"}}}`, "TimeoutSeconds: must be a whole number"},
		{`{"StartAt":"P","TimeoutSeconds":1.5,"States":{"P":{"Type":"Succeed"}}}`, "TimeoutSeconds: must be a whole number"},
		{`{"StartAt":"P","QueryLanguage":"JSONata","States":{"P":{"Type":"Succeed"}}}`, "QueryLanguage: JSONata is outside the supported subset"},
		{`{"StartAt":"P","Foo":1,"States":{"P":{"Type":"Succeed"}}}`, "Foo: is outside the supported subset"},
		{`{"StartAt":"P","States":{"P":{"Type":"Succeed"},"P":{"Type":"Succeed"}}}`, "the field P twice"},
		{`{"StartAt":"` + strings.Repeat("x", 81) + `","States":{"` + strings.Repeat("x", 81) + `":{"Type":"Succeed"}}}`, "1 to 80 characters"},
		{`{"StartAt":"P","States":{"P":{"Type":"Succeed"},"Q":{"Type":"Succeed"}}}`, "States.Q: cannot be reached"},
		{`{"StartAt":"P","States":{"P":{"Type":"Pass","Next":"P"}}}`, "no state ends the flow"},
		{`{"StartAt":"P","States":{"P":{"Type":"Activity"}}}`, `"Activity" is no state type`},
		{`{"StartAt":"P","States":{"P":{}}}`, "States.P.Type: is needed"},
		{pass(`"Comment":"x"`), "either Next or"},
		{pass(`"End":false`), "either Next or"},
		{pass(`"End":true,"Next":"P"`), "either Next or"},
		{pass(`"Next":"Q"`), `the next state "Q" does not exist`},
		{pass(`"Assign":{},"End":true`), "States.P.Assign: is outside the supported subset here"},
		{pass(`"InputPath":7,"End":true`), "InputPath: must be a string"},
		{pass(`"InputPath":"$.a[?(@.b)]","End":true`), "outside the supported subset"},
		{pass(`"InputPath":"$variable","End":true`), "variables are outside"},
		{pass(`"ResultPath":"$$.a","End":true`), "must not begin with $$"},
		{pass(`"ResultPath":"$.a[0]","End":true`), "an index or wildcard here"},
		{pass(`"Parameters":[],"End":true`), "Parameters: must be an object"},
		{pass(`"Parameters":{"a":1,"a.$":"$"},"End":true`), "are the same field"},
		{pass(`"Parameters":{"a.$":7},"End":true`), "must be a string with a path"},
		{pass(`"Parameters":{"a":[{"b.$":"c"}]},"End":true`), "a: [0]: b.$:"},
		{pass(`"Parameters":{"a.$":"States.UUID()"},"End":true`), "States.UUID is outside"},
		{pass(`"Parameters":{"a.$":"States.MathAdd(1)"},"End":true`), "takes 2 arguments, not 1"},
		{pass(`"Retry":[],"End":true`), "Retry: is outside"},
		{state(`"Type":"Wait","Next":"S"`), "exactly one of Seconds"},
		{state(`"Type":"Wait","Next":"S","Seconds":1,"Timestamp":"2016-03-14T01:59:00Z"`), "exactly one of Seconds"},
		{state(`"Type":"Wait","Next":"S","Seconds":1,"SecondsPath":"$.a"`), "exclude each other"},
		{state(`"Type":"Wait","Next":"S","SecondsPath":"$.a[*]"`), "must be a reference path"},
		{state(`"Type":"Wait","Next":"S","Timestamp":"2016-03-14t01:59:00z"`), "must be RFC 3339"},
		{`{"StartAt":"F","States":{"F":{"Type":"Fail","Error":"a","ErrorPath":"$.b"}}}`, "exclude each other"},
		{`{"StartAt":"F","States":{"F":{"Type":"Fail","Next":"F"}}}`, "Next: is outside"},
		{state(`"Type":"Choice"`), "Choices: is needed"},
		{state(`"Type":"Choice","Choices":[]`), "must not be empty"},
		{state(`"Type":"Choice","Choices":[{"Next":"S"}]`), "one of Variable, And, Or and Not is needed"},
		{choice(`"Variable":"$.a"`), "exactly one comparison"},
		{choice(`"Variable":"$.a","IsNull":true,"IsPresent":true`), "exactly one comparison"},
		{choice(`"Variable":"$.a","StringLike":"x"`), "StringLike: is outside"},
		{choice(`"Variable":"$.a","BooleanLessThan":true`), "BooleanLessThan: is outside"},
		{choice(`"Variable":"$.a","NumericEquals":"x"`), "not of the operator's type"},
		{choice(`"Variable":"$.a","TimestampEquals":"today"`), "not of the operator's type"},
		{choice(`"Variable":"$.a","StringMatches":"a\\b"`), "a backslash stands"},
		{choice(`"And":[{"Variable":"$.a","IsNull":true,"Next":"S"}]`), "exactly one comparison"},
		{state(`"Type":"Parallel","Next":"S"`), "Branches: is needed"},
		{state(`"Type":"Parallel","Next":"S","Branches":[{"StartAt":"S","States":{"S":{"Type":"Succeed"}}}]`), "used twice"},
		{state(`"Type":"Parallel","Next":"S","Branches":[{"StartAt":"Q","States":{"Q":{"Type":"Pass","Next":"S"}}}]`), "does not exist beside it"},
		{state(`"Type":"Map","Next":"S"`), "ItemProcessor: is needed"},
		{loop(`"ItemReader":{}`), "ItemReader: is outside"},
		{loop(`"ToleratedFailureCount":1`), "ToleratedFailureCount: is outside"},
		{loop(`"ItemSelector":{},"Parameters":{}`), "exclude each other"},
		{loop(`"MaxConcurrency":-1`), "whole number"},
		{strings.Replace(loop(`"MaxConcurrency":1`), `"StartAt":"Q"`, `"ProcessorConfig":{"Mode":"DISTRIBUTED"},"StartAt":"Q"`, 1), "DISTRIBUTED is outside"},
		{call(`"Parameters":{}`), "Parameters.FunctionName: is needed"},
		{call(`"Parameters":{"FunctionName":"f","Qualifier":"1"}`), "Parameters.Qualifier: is outside"},
		{call(`"Parameters":{"FunctionName":"f"},"HeartbeatSeconds":5`), "HeartbeatSeconds needs a resource that waits"},
		{call(`"Parameters":{"FunctionName":"f"},"Credentials":{}`), "Credentials: is outside"},
		{state(`"Type":"Task","Next":"S","Resource":"arn:aws:lambda:us-east-1:1:function:f"`), "Resource: arn:aws:lambda:us-east-1:1:function:f is outside"},
		{call(`"Parameters":{"FunctionName":"f"},"Retry":[{}]`), "States.P.Retry[0].ErrorEquals: is needed"},
		{call(`"Parameters":{"FunctionName":"f"},"Retry":[{"ErrorEquals":["States.ALL"]},{"ErrorEquals":["A"]}]`), "must stand alone and last"},
		{call(`"Parameters":{"FunctionName":"f"},"Retry":[{"ErrorEquals":["States.ALL","A"]}]`), "must stand alone and last"},
		{call(`"Parameters":{"FunctionName":"f"},"Retry":[{"ErrorEquals":["States.Runtime"]}]`), "never retried or caught"},
		{call(`"Parameters":{"FunctionName":"f"},"Retry":[{"ErrorEquals":["States.Typo"]}]`), "States.Typo is no error"},
		{call(`"Parameters":{"FunctionName":"f"},"Retry":[{"ErrorEquals":["A"],"BackoffRate":0.5}]`), "at least 1"},
		{call(`"Parameters":{"FunctionName":"f"},"Retry":[{"ErrorEquals":["A"],"MaxAttempts":-1}]`), "Retry[0].MaxAttempts: must be"},
		{call(`"Parameters":{"FunctionName":"f"},"Retry":[{"ErrorEquals":["A"],"IntervalSeconds":5,"MaxDelaySeconds":5}]`), "greater than IntervalSeconds"},
		{call(`"Parameters":{"FunctionName":"f"},"Retry":[{"ErrorEquals":["A"],"JitterStrategy":"HALF"}]`), "FULL or NONE"},
		{call(`"Parameters":{"FunctionName":"f"},"Catch":[{"ErrorEquals":["A"]}]`), "Catch[0].Next: is needed"},
		{call(`"Parameters":{"FunctionName":"f"},"Catch":[{"ErrorEquals":["A"],"Next":"X"}]`), `the next state "X"`},
		{send(``, `,"TimeoutSeconds":9`), "MessageDeduplicationId: is needed"},
		{send(`,"MessageDeduplicationId":"d"`, ``), "needs TimeoutSeconds"},
		{send(`,"MessageDeduplicationId":"d"`, `,"TimeoutSeconds":9,"HeartbeatSeconds":9`), "must be smaller than TimeoutSeconds"},
		{send(`,"MessageDeduplicationId":"d"`, `,"TimeoutSeconds":9,"Retry":[{"ErrorEquals":["A"]}]`), "must have $$.State.RetryCount in it"},
		{send(`,"MessageDeduplicationId":"d","DelaySeconds":1`, `,"TimeoutSeconds":9`), "DelaySeconds: is outside"},
		{send(`,"MessageDeduplicationId":"d","MessageAttributes":{"a":{"DataType":"Binary","StringValue":"x"}}`, `,"TimeoutSeconds":9`), "DataType must be String"},
		{send(`,"MessageDeduplicationId":"d","MessageAttributes":{"a":{"DataType":"String"}}`, `,"TimeoutSeconds":9`), "StringValue are needed"},
		{strings.Replace(send(`,"MessageDeduplicationId":"d"`, `,"TimeoutSeconds":9`), "$$.Task.Token", "$$.State.Name", 1), "must send $$.Task.Token"},
	} {
		_, err := Parse([]byte(c.definition))
		if fault.CodeOf(err) != fault.Invalid || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.300s\nis refused with %v\nwant %q", c.definition, err, c.want)
		}
	}
}

func TestParseRefusesWhatIsTooDeep(t *testing.T) {
	inner := `{"StartAt":"S","States":{"S":{"Type":"Succeed"}}}`
	for i := range 8 {
		name := strings.Repeat(string(rune('a'+i)), 70)
		inner = `{"StartAt":"` + name + `","States":{"` + name + `":{"Type":"Map","End":true,"ItemProcessor":` + inner + `}}}`
	}
	if _, err := Parse([]byte(inner)); err == nil || !strings.Contains(err.Error(), "add up to") {
		t.Errorf("error is %v", err)
	}
}

func TestSubstitute(t *testing.T) {
	got, err := Substitute([]byte(`{"a": "${A}-${B}", "c": "$.x"}`), map[string]string{"A": `q"<>`, "B": "b"})
	if want := `{"a": "q\"<>-b", "c": "$.x"}`; err != nil || string(got) != want {
		t.Errorf("got %s, %v, want %s", got, err, want)
	}
	for _, bad := range []string{`"${C}"`, `"${A`, `"${}"`} {
		_, err := Substitute([]byte(bad), map[string]string{"A": "a"})
		wantCode(t, err, fault.Invalid)
	}
}

func FuzzParse(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.asl.json")
	more, _ := filepath.Glob("testdata/golden/*.json")
	for _, name := range append(files, more...) {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		if !strings.Contains(name, "golden") {
			f.Add(text)
			continue
		}
		cases, _ := decode(text)
		for _, c := range cases.([]any) {
			raw, _ := encode(c.(map[string]any)["Definition"])
			f.Add([]byte(raw))
		}
	}
	f.Fuzz(func(t *testing.T, definition []byte) {
		m, err := Parse(definition)
		if (m == nil) == (err == nil) {
			t.Fatalf("machine %v, error %v", m, err)
		}
		if err != nil && fault.CodeOf(err) != fault.Invalid {
			t.Fatalf("error is %v", err)
		}
	})
}

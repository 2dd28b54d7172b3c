// Package workflowtest is the conformance suite of [workflow.Engine]. An engine's test is:
//
//	func TestConformance(t *testing.T) { workflowtest.Run(t, open) }
//
// Every case runs in a bubble of testing/synctest, where hours pass at once. An engine that talks to a server has to be given
// connections that live in the bubble.
package workflowtest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/queue"
	"github.com/riskprofiler/riskprofiler/platform/workflow"
)

// Outside is what the machines of a case call, and the machines themselves.
type Outside struct {
	// Machines are definitions by name. Their placeholders are ${Queue} and ${Function}.
	Machines map[string]string

	mu       sync.Mutex
	payloads []string
	messages map[string]queue.Message
}

// Invoke is a function that answers with what it was given.
func (o *Outside) Invoke(_ context.Context, _ string, payload json.RawMessage) (json.RawMessage, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.payloads = append(o.payloads, string(payload))
	return payload, nil
}

// Send keeps the message for the case.
func (o *Outside) Send(_ context.Context, _ string, m queue.Message) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.messages[m.DedupID] = m
	return nil
}

// calls is how often the function was called.
func (o *Outside) calls() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.payloads)
}

// token waits for the token in the message with the dedup id.
func (o *Outside) token(t *testing.T, id string) string {
	t.Helper()
	for range 100 {
		o.mu.Lock()
		m, ok := o.messages[id]
		o.mu.Unlock()
		if !ok {
			time.Sleep(100 * time.Millisecond)
			continue
		}
		var body struct{ Token string }
		if err := json.Unmarshal(m.Body, &body); err != nil || body.Token == "" {
			t.Fatalf("message %s has no token: %s", id, m.Body)
		}
		return body.Token
	}
	t.Fatalf("no message %s came within 10 s", id)
	return ""
}

// Open gives an engine that executes the machines, inside the bubble of a case. It cleans up with t.Cleanup.
type Open func(t *testing.T, o *Outside) workflow.Engine

// machines of the suite: one function call; one task that waits for a token, with a heartbeat; the same with its errors caught;
// one that fails; one that runs out of its time.
var machines = map[string]string{
	"calls": `{"StartAt": "Call", "States": {"Call": {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke",
		"Parameters": {"FunctionName": "${Function}", "Payload.$": "$"}, "OutputPath": "$.Payload", "End": true}}}`,
	"waits": `{"StartAt": "Job", "States": {"Job": ` + waiting + `, "Next": "After"},
		"After": {"Type": "Wait", "Seconds": 10, "End": true}}}`,
	"catches": `{"StartAt": "Job", "States": {"Job": ` + waiting + `, "End": true, "Catch": [
			{"ErrorEquals": ["Bad"], "Next": "Named"}, {"ErrorEquals": ["States.TaskFailed"], "Next": "Any"}]},
		"Named": {"Type": "Pass", "End": true}, "Any": {"Type": "Pass", "Parameters": {"any.$": "$"}, "End": true}}}`,
	"fails": `{"StartAt": "F", "States": {"F": {"Type": "Fail", "Error": "Broken", "Cause": "on purpose"}}}`,
	"late":  `{"StartAt": "W", "TimeoutSeconds": 5, "States": {"W": {"Type": "Wait", "Seconds": 60, "End": true}}}`,
}

const waiting = `{"Type": "Task", "Resource": "arn:aws:states:::sqs:sendMessage.waitForTaskToken",
	"TimeoutSeconds": 100, "HeartbeatSeconds": 20,
	"Parameters": {"QueueUrl": "${Queue}", "MessageGroupId": "g", "MessageDeduplicationId.$": "$$.Execution.Name",
		"MessageBody": {"token.$": "$$.Task.Token"}}`

// Run holds an engine to the contract of [workflow.Engine].
func Run(t *testing.T, open Open) {
	for _, c := range slices.Concat(executionCases, tokenCases) {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := &Outside{Machines: machines, messages: map[string]queue.Message{}}
				c.run(t, open(t, o), o)
			})
		})
	}
}

type testCase struct {
	name string
	run  func(t *testing.T, e workflow.Engine, o *Outside)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wantCode expects one of the codes.
func wantCode(t *testing.T, err error, codes ...fault.Code) {
	t.Helper()
	if !slices.ContainsFunc(codes, func(c fault.Code) bool { return errors.Is(err, c) }) {
		t.Errorf("error is %v, want %v", err, codes)
	}
}

// await gives the execution when it has ended, and fails if that takes more than ten minutes.
func await(t *testing.T, e workflow.Engine, machine, name string) workflow.Execution {
	t.Helper()
	for range 6000 {
		x, err := e.Describe(context.Background(), machine, name)
		must(t, err)
		if x.Status != workflow.Running {
			return x
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatalf("execution %s of %s did not end", name, machine)
	return workflow.Execution{}
}

// wantOutput expects an execution that succeeded with an output.
func wantOutput(t *testing.T, x workflow.Execution, output string) {
	t.Helper()
	if x.Status != workflow.Succeeded || compact(x.Output) != output || x.Error != "" || x.Cause != "" {
		t.Errorf("ended as %s with %s %q %q, want %s", x.Status, clip(x.Output), x.Error, x.Cause, clip([]byte(output)))
	}
}

func compact(raw json.RawMessage) string {
	var b bytes.Buffer
	if err := json.Compact(&b, raw); err != nil {
		return "no JSON text: " + err.Error()
	}
	return b.String()
}

func clip(b []byte) string { return strings.ToValidUTF8(string(b[:min(len(b), 200)]), "") }

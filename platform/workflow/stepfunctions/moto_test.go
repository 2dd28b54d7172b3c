//go:build awstest

package stepfunctions_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/riskprofiler/riskprofiler/platform/awsclient"
	"github.com/riskprofiler/riskprofiler/platform/awsclient/awstest"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/workflow"
	"github.com/riskprofiler/riskprofiler/platform/workflow/stepfunctions"
)

// moto executes definitions, in the time of the machine, with its own SQS behind them. What it does otherwise than AWS is listed in
// docs/aws-stand-ins.md; the conformance suite runs over our own server for that reason, and here is what it can tell.
type moto struct {
	engine *stepfunctions.Engine
	sqs    *sqs.Client
	queue  string
}

const mine = `{"StartAt": "Job", "States": {
	"Job": {"Type": "Task", "Resource": "arn:aws:states:::sqs:sendMessage.waitForTaskToken", "TimeoutSeconds": 60, "HeartbeatSeconds": 2,
		"Parameters": {"QueueUrl": "${Queue}", "MessageGroupId": "g", "MessageDeduplicationId.$": "$$.Execution.Name",
			"MessageBody": {"token.$": "$$.Task.Token"}},
		"Catch": [{"ErrorEquals": ["Bad"], "ResultPath": "$.failure", "Next": "After"}], "Next": "After"},
	"After": {"Type": "Pass", "End": true}}}`

func newMoto(t *testing.T) *moto {
	t.Helper()
	ctx := context.Background()
	l := awstest.Location(t)
	l.Region = "eu-west-1"
	config := awstest.Config(t, l)
	answer, err := http.Post(l.Endpoint+"/moto-api/config", "application/json", //nolint:noctx // loopback
		strings.NewReader(`{"stepfunctions": {"execute_state_machine": true}}`))
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	m := &moto{engine: stepfunctions.New(config, l), sqs: sqs.NewFromConfig(config, func(o *sqs.Options) { o.BaseEndpoint = &l.Endpoint })}
	q, err := m.sqs.CreateQueue(ctx, &sqs.CreateQueueInput{
		QueueName:  aws.String(l.Name("jobs") + ".fifo"),
		Attributes: map[string]string{string(types.QueueAttributeNameFifoQueue): "true"},
	})
	if err != nil {
		t.Fatal(err)
	}
	m.queue = *q.QueueUrl
	definition, err := workflow.Substitute([]byte(mine), map[string]string{"Queue": m.queue})
	if err != nil {
		t.Fatal(err)
	}
	states := sfn.NewFromConfig(config, func(o *sfn.Options) { o.BaseEndpoint = &l.Endpoint })
	_, err = states.CreateStateMachine(ctx, &sfn.CreateStateMachineInput{
		Name: aws.String(l.Name("job")), Definition: aws.String(string(definition)),
		RoleArn: aws.String("arn:aws:iam::123456789012:role/test"),
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// start begins an execution and gives the token of its message.
func (m *moto) start(t *testing.T, name, input string) string {
	t.Helper()
	ctx := context.Background()
	if err := m.engine.Start(ctx, "job", name, json.RawMessage(input)); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		out, err := m.sqs.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: &m.queue, WaitTimeSeconds: 1})
		if err != nil {
			t.Fatal(err)
		}
		if len(out.Messages) == 0 {
			continue
		}
		_, err = m.sqs.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: &m.queue, ReceiptHandle: out.Messages[0].ReceiptHandle})
		if err != nil {
			t.Fatal(err)
		}
		var body struct{ Token string }
		if err := json.Unmarshal([]byte(*out.Messages[0].Body), &body); err != nil || body.Token == "" {
			t.Fatalf("the message has no token: %s", *out.Messages[0].Body)
		}
		return body.Token
	}
	t.Fatal("no message came")
	return ""
}

func (m *moto) await(t *testing.T, name string) workflow.Execution {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		x, err := m.engine.Describe(context.Background(), "job", name)
		if err != nil {
			t.Fatal(err)
		}
		if x.Status != workflow.Running {
			return x
		}
	}
	t.Fatalf("execution %s did not end", name)
	return workflow.Execution{}
}

func wantCode(t *testing.T, err error, code fault.Code) {
	t.Helper()
	if fault.CodeOf(err) != code {
		t.Errorf("error is %v (%v), want %v", err, fault.CodeOf(err), code)
	}
}

// TestMotoExecutesOurMachine goes through the calls of an execution against a server that nobody here wrote.
func TestMotoExecutesOurMachine(t *testing.T) {
	ctx := context.Background()
	m := newMoto(t)
	token := m.start(t, "one", `{"n": 1}`)
	for _, input := range []string{`{"n": 1}`, `{"n": 2}`} { // a repeat while it runs
		if err := m.engine.Start(ctx, "job", "one", json.RawMessage(input)); err != nil {
			t.Error(err)
		}
	}
	x, err := m.engine.Describe(ctx, "job", "one")
	if err != nil || x.Status != workflow.Running || !x.StoppedAt.IsZero() || time.Since(x.StartedAt).Abs() > time.Minute {
		t.Errorf("is described as %+v, %v", x, err)
	}
	if err := m.engine.Heartbeat(ctx, token); err != nil {
		t.Error(err)
	}
	if err := m.engine.Complete(ctx, token, json.RawMessage(`{"x": [1, "é<&>"]}`)); err != nil {
		t.Error(err)
	}
	x = m.await(t, "one")
	var output any
	if err := json.Unmarshal(x.Output, &output); err != nil || x.Status != workflow.Succeeded || x.StoppedAt.Before(x.StartedAt) {
		t.Errorf("ended as %+v, %v", x, err)
	}
	if err := m.engine.Start(ctx, "job", "one", nil); err != nil { // a repeat when it has ended
		t.Error(err)
	}
	wantCode(t, m.engine.Complete(ctx, token, json.RawMessage(`1`)), fault.NotFound) // AWS: FailedPrecondition

	token = m.start(t, "two", `{}`)
	if err := m.engine.Fail(ctx, token, "Bad", "why"); err != nil {
		t.Error(err)
	}
	if x := m.await(t, "two"); x.Status != workflow.Succeeded || !strings.Contains(string(x.Output), `"Error": "Bad"`) {
		t.Errorf("ended as %+v", x)
	}
	m.start(t, "three", `{}`) // without a heartbeat
	if x := m.await(t, "three"); x.Status != workflow.Failed || x.Error != workflow.ErrorTimeout {
		t.Errorf("ended as %+v", x)
	}
}

func TestMotoDoesNotKnow(t *testing.T) {
	ctx := context.Background()
	m := newMoto(t)
	_, err := m.engine.Describe(ctx, "job", "none")
	wantCode(t, err, fault.NotFound)
	wantCode(t, m.engine.Stop(ctx, "job", "none", "E", "c"), fault.NotFound)
	wantCode(t, m.engine.Complete(ctx, "no token", json.RawMessage(`1`)), fault.NotFound)
	wantCode(t, m.engine.Fail(ctx, "no token", "E", "c"), fault.NotFound)
	wantCode(t, m.engine.Heartbeat(ctx, "no token"), fault.NotFound)
	err = m.engine.Start(ctx, "none", "one", nil)
	wantCode(t, err, fault.Internal)
	if !strings.Contains(err.Error(), "-none in eu-west-1: it does not exist there; deploy it") {
		t.Errorf("error is %v", err)
	}
	other := stepfunctions.New(awstest.Config(t, awstest.Location(t)), awsclient.Location{
		Region: "eu-west-1", Prefix: "x", Account: "123456789012", Endpoint: "http://127.0.0.1:1",
	})
	wantCode(t, other.Start(ctx, "job", "one", nil), fault.Unavailable)
}

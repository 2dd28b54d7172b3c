package statesapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	"github.com/aws/aws-sdk-go-v2/service/sfn/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/table"
	"github.com/riskprofiler/riskprofiler/platform/table/sqlitetable"
	"github.com/riskprofiler/riskprofiler/test/aws/lambdalocal"
	"github.com/riskprofiler/riskprofiler/test/aws/statesapi"
)

const (
	machineARN   = "arn:aws:states:us-east-1:123456789012:stateMachine:rp-m"
	executionARN = "arn:aws:states:us-east-1:123456789012:execution:rp-m:"
)

// definition sends a message with a token and then invokes a function.
const definition = `{"StartAt": "Job", "States": {
	"Job": {"Type": "Task", "Resource": "arn:aws:states:::sqs:sendMessage.waitForTaskToken", "TimeoutSeconds": 60,
		"Parameters": {"QueueUrl": "QUEUE/rp-jobs.fifo", "MessageGroupId": "g", "MessageDeduplicationId.$": "$$.Execution.Name",
			"MessageBody": {"token.$": "$$.Task.Token"},
			"MessageAttributes": {"traceparent": {"DataType": "String", "StringValue.$": "$.trace"}}},
		"ResultPath": "$.job", "Next": "Call"},
	"Call": {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "TimeoutSeconds": 60,
		"Parameters": {"FunctionName": "rp-f:workflow", "Payload": {"job.$": "$.job"}},
		"ResultSelector": {"answer.$": "$.Payload"}, "End": true}}}`

// world is Step Functions with a queue that takes messages and a function that answers.
type world struct {
	sfn  *sfn.Client
	url  string
	sent chan map[string]any // as SQS's API got them
}

func newWorld(t *testing.T, invoke lambdalocal.Invoker) *world {
	t.Helper()
	w := &world{sent: make(chan map[string]any, 10)}
	queue := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		var m map[string]any
		_ = json.Unmarshal(raw, &m)
		m["target"] = r.Header.Get("X-Amz-Target")
		w.sent <- m
		out.Header().Set("Content-Type", "application/x-amz-json-1.0")
		_, _ = io.WriteString(out, `{"MessageId":"1","SequenceNumber":"1"}`)
	}))
	t.Cleanup(queue.Close)
	keys := credentials.NewStaticCredentialsProvider("AK", "SK", "")
	db, err := sqlitetable.Open(t.Context(), sqlitetable.Options{Path: filepath.Join(t.TempDir(), "states.db")})
	if err != nil {
		t.Fatal(err)
	}
	s, err := statesapi.New(statesapi.Options{
		Machines: map[string][]byte{"rp-m": []byte(strings.ReplaceAll(definition, "QUEUE", queue.URL))},
		Table:    table.New(db.Table("states"), table.Options{Name: "states"}), Invoke: invoke,
		SQS: sqs.New(sqs.Options{Region: "us-east-1", BaseEndpoint: &queue.URL, Credentials: keys, DisableMessageChecksumValidation: true}),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	api := httptest.NewServer(s)
	t.Cleanup(func() {
		api.Close()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		_ = db.Close()
	})
	w.url = api.URL
	w.sfn = sfn.New(sfn.Options{Region: "us-east-1", BaseEndpoint: &api.URL, Credentials: keys, RetryMaxAttempts: 1})
	return w
}

// start begins an execution and gives the token of its message.
func (w *world) start(t *testing.T, name string) string {
	t.Helper()
	out, err := w.sfn.StartExecution(t.Context(), &sfn.StartExecutionInput{StateMachineArn: aws.String(machineARN), Name: &name, Input: aws.String(`{"trace":"00-abc"}`)})
	if err != nil {
		t.Fatal(err)
	}
	if *out.ExecutionArn != executionARN+name || time.Since(*out.StartDate).Abs() > time.Minute {
		t.Errorf("started %s at %s", *out.ExecutionArn, out.StartDate)
	}
	m := <-w.sent
	attributes, _ := json.Marshal(m["MessageAttributes"])
	if m["target"] != "AmazonSQS.SendMessage" || m["MessageGroupId"] != "g" || m["MessageDeduplicationId"] != name || m["MessageSystemAttributes"] != nil ||
		string(attributes) != `{"traceparent":{"DataType":"String","StringValue":"00-abc"}}` {
		t.Errorf("sent %v", m)
	}
	var body struct{ Token string }
	text, _ := m["MessageBody"].(string)
	if err := json.Unmarshal([]byte(text), &body); err != nil || body.Token == "" {
		t.Fatalf("the body is %q", text)
	}
	return body.Token
}

func (w *world) await(t *testing.T, name string) *sfn.DescribeExecutionOutput {
	t.Helper()
	for {
		out, err := w.sfn.DescribeExecution(t.Context(), &sfn.DescribeExecutionInput{ExecutionArn: aws.String(executionARN + name)})
		if err != nil {
			t.Fatal(err)
		}
		if out.Status != types.ExecutionStatusRunning {
			return out
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func succeed(t *testing.T, w *world, token string) {
	t.Helper()
	if _, err := w.sfn.SendTaskSuccess(t.Context(), &sfn.SendTaskSuccessInput{TaskToken: &token, Output: aws.String(`{"n":1}`)}); err != nil {
		t.Fatal(err)
	}
}

func TestExecution(t *testing.T) {
	w := newWorld(t, func(_ context.Context, in lambdalocal.Invocation) (lambdalocal.Result, error) {
		if in.Function != "rp-f:workflow" || string(in.Payload) != `{"job":{"n":1}}` {
			t.Errorf("invoked %s with %s", in.Function, in.Payload)
		}
		return lambdalocal.Result{Payload: []byte(`"done"`)}, nil
	})
	token := w.start(t, "one")
	if _, err := w.sfn.SendTaskHeartbeat(t.Context(), &sfn.SendTaskHeartbeatInput{TaskToken: &token}); err != nil {
		t.Error(err)
	}
	succeed(t, w, token)
	out := w.await(t, "one")
	if out.Status != types.ExecutionStatusSucceeded || *out.Output != `{"answer":"done"}` || *out.Input != `{"trace":"00-abc"}` || out.StopDate == nil ||
		*out.StateMachineArn != machineARN {
		t.Errorf("ended as %s %s", out.Status, aws.ToString(out.Output))
	}
}

// TestErrorsOfFunctionsHaveTheirNames as a state machine sees them.
func TestErrorsOfFunctionsHaveTheirNames(t *testing.T) {
	for name, tt := range map[string]struct {
		result      lambdalocal.Result
		err         error
		want, cause string
	}{
		"own":       {result: lambdalocal.Result{FunctionError: "Unhandled", Payload: []byte(`{"errorType":"RiskProfiler.Invalid","errorMessage":"no"}`)}, want: "RiskProfiler.Invalid", cause: `{"errorType":"RiskProfiler.Invalid","errorMessage":"no"}`},
		"none":      {result: lambdalocal.Result{FunctionError: "Unhandled", Payload: []byte(`{"errorMessage":"no"}`)}, want: "Lambda.Unknown", cause: `{"errorMessage":"no"}`},
		"throttled": {err: lambdalocal.ErrThrottled, want: "Lambda.TooManyRequestsException", cause: "Rate Exceeded."},
		"missing":   {err: fault.New(fault.NotFound, "gone"), want: "Lambda.ResourceNotFoundException", cause: "gone"},
		"too large": {err: fault.New(fault.ResourceExhausted, "big"), want: "Lambda.RequestTooLargeException", cause: "big"},
		"other":     {err: errors.New("oops"), want: "Lambda.ServiceException", cause: "oops"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, func(context.Context, lambdalocal.Invocation) (lambdalocal.Result, error) { return tt.result, tt.err })
			succeed(t, w, w.start(t, "one"))
			out := w.await(t, "one")
			if out.Status != types.ExecutionStatusFailed || *out.Error != tt.want || !strings.Contains(*out.Cause, tt.cause) {
				t.Errorf("ended as %s %s %s", out.Status, aws.ToString(out.Error), aws.ToString(out.Cause))
			}
		})
	}
}

func TestNamesAreTakenOnce(t *testing.T) {
	w := newWorld(t, func(context.Context, lambdalocal.Invocation) (lambdalocal.Result, error) {
		return lambdalocal.Result{}, nil
	})
	token := w.start(t, "one")
	again := func(input string) error {
		_, err := w.sfn.StartExecution(t.Context(), &sfn.StartExecutionInput{StateMachineArn: aws.String(machineARN), Name: aws.String("one"), Input: &input})
		return err
	}
	if err := again(`{"trace":"00-abc"}`); err != nil {
		t.Errorf("the same while it runs: %v", err)
	}
	var exists *types.ExecutionAlreadyExists
	if err := again(`{"trace":"other"}`); !errors.As(err, &exists) {
		t.Errorf("another input: %v", err)
	}
	succeed(t, w, token)
	w.await(t, "one")
	if err := again(`{"trace":"00-abc"}`); !errors.As(err, &exists) {
		t.Errorf("the same after its end: %v", err)
	}
	select {
	case m := <-w.sent:
		t.Errorf("sent again: %v", m)
	default:
	}
}

func TestStopAndTokens(t *testing.T) {
	release := make(chan struct{})
	w := newWorld(t, func(context.Context, lambdalocal.Invocation) (lambdalocal.Result, error) {
		<-release
		return lambdalocal.Result{Payload: []byte("1")}, nil
	})
	var closed *types.TaskTimedOut
	token := w.start(t, "one")
	succeed(t, w, token)
	again := func(when string) {
		if _, err := w.sfn.SendTaskSuccess(t.Context(), &sfn.SendTaskSuccessInput{TaskToken: &token, Output: aws.String(`{"n":1}`)}); !errors.As(err, &closed) {
			t.Errorf("a token that was answered, %s: %v", when, err)
		}
	}
	again("while the execution runs")
	close(release)
	w.await(t, "one")
	again("when it has ended")
	token = w.start(t, "two")
	if _, err := w.sfn.SendTaskFailure(t.Context(), &sfn.SendTaskFailureInput{TaskToken: &token, Error: aws.String("Bad"), Cause: aws.String("why")}); err != nil {
		t.Error(err)
	}
	if out := w.await(t, "two"); out.Status != types.ExecutionStatusFailed || *out.Error != "Bad" || *out.Cause != "why" {
		t.Errorf("ended as %+v", out)
	}
	token = w.start(t, "three")
	if _, err := w.sfn.StopExecution(t.Context(), &sfn.StopExecutionInput{ExecutionArn: aws.String(executionARN + "three"), Error: aws.String("E"), Cause: aws.String("c")}); err != nil {
		t.Error(err)
	}
	if out := w.await(t, "three"); out.Status != types.ExecutionStatusAborted || *out.Error != "E" {
		t.Errorf("ended as %+v", out)
	}
	if _, err := w.sfn.SendTaskHeartbeat(t.Context(), &sfn.SendTaskHeartbeatInput{TaskToken: &token}); !errors.As(err, &closed) {
		t.Errorf("a token of a stopped execution: %v", err)
	}
}

func TestRefusals(t *testing.T) {
	w := newWorld(t, func(context.Context, lambdalocal.Invocation) (lambdalocal.Result, error) {
		return lambdalocal.Result{}, nil
	})
	ctx := t.Context()
	start := func(machine, name, input string) error {
		_, err := w.sfn.StartExecution(ctx, &sfn.StartExecutionInput{StateMachineArn: &machine, Name: &name, Input: &input})
		return err
	}
	_, described := w.sfn.DescribeExecution(ctx, &sfn.DescribeExecutionInput{ExecutionArn: aws.String(executionARN + "none")})
	_, stopped := w.sfn.StopExecution(ctx, &sfn.StopExecutionInput{ExecutionArn: aws.String("arn:aws:states:x")})
	_, settled := w.sfn.SendTaskSuccess(ctx, &sfn.SendTaskSuccessInput{TaskToken: aws.String("none"), Output: aws.String("1")})
	_, output := w.sfn.SendTaskSuccess(ctx, &sfn.SendTaskSuccessInput{TaskToken: aws.String("none"), Output: aws.String("oops")})
	for name, tt := range map[string]struct {
		err  error
		want string
	}{
		"machine":     {start(machineARN+"x", "one", "{}"), "StateMachineDoesNotExist"},
		"region":      {start("arn:aws:states:eu-west-1:123456789012:stateMachine:rp-m", "one", "{}"), "StateMachineDoesNotExist"},
		"name":        {start(machineARN, "a b", "{}"), "InvalidName"},
		"input":       {start(machineARN, "one", "{"), "InvalidExecutionInput"},
		"large input": {start(machineARN, "one", `"`+strings.Repeat("x", 256<<10)+`"`), "InvalidExecutionInput"},
		"execution":   {described, "ExecutionDoesNotExist"},
		"arn":         {stopped, "ExecutionDoesNotExist"},
		"token":       {settled, "InvalidToken"},
		"output":      {output, "InvalidOutput"},
	} {
		if tt.err == nil || !strings.Contains(tt.err.Error(), tt.want) {
			t.Errorf("%s: %v, want %s", name, tt.err, tt.want)
		}
	}
	res, err := http.Post(w.url, "application/x-amz-json-1.0", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusBadRequest {
		t.Errorf("no operation: %s", res.Status)
	}
}

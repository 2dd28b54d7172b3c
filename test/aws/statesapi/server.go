// Package statesapi plays AWS Step Functions for tests: its API in front of this project's own interpreter of the States
// Language, which calls functions and sends messages as a state machine does. What is sent is what stands in the definition:
// nothing is added from this process, no trace and no header, because Step Functions adds none that a consumer of ours reads.
//
// Played as documented: names of executions are idempotent while they run with the same input and taken afterwards, a token is
// answered once, errors have their types. Not played: signatures, histories, lists, express workflows, changes of machines.
package statesapi

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/table"
	"github.com/riskprofiler/riskprofiler/platform/workflow"
	"github.com/riskprofiler/riskprofiler/test/aws/lambdalocal"
)

// maxRequestBytes bounds a request: https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
const maxRequestBytes = 1 << 20

// Options make a server.
type Options struct {
	// Region and Account stand in ARNs. Empty: us-east-1 and 123456789012.
	Region, Account string
	// Machines are the definitions by their full names, as they are deployed: all placeholders replaced.
	Machines map[string][]byte
	// Table is for the interpreter alone.
	Table  *table.Table
	Invoke lambdalocal.Invoker
	SQS    *sqs.Client
	Logger *slog.Logger
}

// Server answers the API. It is an [http.Handler]; [Server.Run] runs the executions.
type Server struct {
	options Options
	runner  *workflow.Runner

	mu      sync.Mutex
	inputs  map[string]string // by ARN of the execution
	settled map[string]bool   // tokens that were answered
}

// New makes a server. It starts nothing.
func New(o Options) (*Server, error) {
	if o.Region == "" {
		o.Region = "us-east-1"
	}
	if o.Account == "" {
		o.Account = "123456789012"
	}
	s := &Server{options: o, inputs: map[string]string{}, settled: map[string]bool{}}
	var err error
	s.runner, err = workflow.NewRunner(workflow.RunnerOptions{
		Table: o.Table, Machines: o.Machines, Invoke: s.invoke, Send: s.send, Poll: -1, Logger: o.Logger,
	})
	return s, err
}

// Run executes until ctx ends, which is no error.
func (s *Server) Run(ctx context.Context) error {
	err := s.runner.Run(ctx)
	if ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, fault.Cancelled)) {
		return nil
	}
	return err
}

// request has the fields of all requests that are answered.
type request struct {
	StateMachineArn string `json:"stateMachineArn"`
	ExecutionArn    string `json:"executionArn"`
	Name            string `json:"name"`
	Input           string `json:"input"`
	TaskToken       string `json:"taskToken"`
	Output          string `json:"output"`
	Error           string `json:"error"`
	Cause           string `json:"cause"`
}

// ServeHTTP is AWS JSON 1.0: https://smithy.io/2.0/aws/protocols/aws-json-1_0-protocol.html
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	out, err := s.answer(r)
	status := http.StatusOK
	if err != nil {
		e := &apiError{code: "InternalServerError", text: err.Error()}
		status = http.StatusInternalServerError
		if errors.As(err, &e) {
			status = http.StatusBadRequest
		}
		out = map[string]string{"__type": "com.amazonaws.swf.service.v2.model#" + e.code, "message": e.text}
	}
	raw, err := json.Marshal(out)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	w.WriteHeader(status)
	_, _ = w.Write(raw)
}

func (s *Server) answer(r *http.Request) (any, error) {
	operation, ok := strings.CutPrefix(r.Header.Get("X-Amz-Target"), "AWSStepFunctions.")
	if !ok || r.Method != http.MethodPost {
		return nil, refused("UnknownOperationException", "no operation of Step Functions")
	}
	if !strings.HasPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 ") {
		return nil, refused("MissingAuthenticationTokenException", "Missing Authentication Token")
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxRequestBytes+1))
	if err != nil {
		return nil, err
	}
	var in request
	if err := json.Unmarshal(body, &in); err != nil || len(body) > maxRequestBytes {
		return nil, refused("SerializationException", "the request cannot be read")
	}
	ctx := r.Context()
	switch operation {
	case "StartExecution":
		return s.start(ctx, in)
	case "StopExecution":
		return s.stop(ctx, in)
	case "DescribeExecution":
		return s.describe(ctx, in)
	case "SendTaskSuccess", "SendTaskFailure", "SendTaskHeartbeat":
		return s.token(ctx, operation, in)
	}
	return nil, refused("UnknownOperationException", operation+" is not played here")
}

// start is idempotent for STANDARD workflows while the execution runs with the same input:
// https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html
func (s *Server) start(ctx context.Context, in request) (any, error) {
	machine, ok := strings.CutPrefix(in.StateMachineArn, s.arn("stateMachine"))
	if !ok || s.options.Machines[machine] == nil {
		return nil, refused("StateMachineDoesNotExist", "State Machine Does Not Exist: '"+in.StateMachineArn+"'")
	}
	if err := workflow.CheckNames(machine, in.Name); err != nil {
		return nil, refused("InvalidName", err.Error())
	}
	if in.Input == "" {
		in.Input = "{}"
	}
	if !json.Valid([]byte(in.Input)) || len(in.Input) > workflow.MaxDataBytes {
		return nil, refused("InvalidExecutionInput", "Invalid State Machine Execution Input")
	}
	arn := s.arn("execution") + machine + ":" + in.Name
	s.mu.Lock()
	defer s.mu.Unlock()
	if before, known := s.inputs[arn]; known {
		x, err := s.runner.Describe(ctx, machine, in.Name)
		if err != nil {
			return nil, err
		}
		if before != in.Input || x.Status != workflow.Running {
			return nil, refused("ExecutionAlreadyExists", "Execution Already Exists: '"+arn+"'")
		}
		return map[string]any{"executionArn": arn, "startDate": seconds(x.StartedAt)}, nil
	}
	// Not the request's context: its trace would get into the input.
	if err := s.runner.Start(context.WithoutCancel(ctx), machine, in.Name, json.RawMessage(in.Input)); err != nil {
		return nil, err
	}
	s.inputs[arn] = in.Input
	return map[string]any{"executionArn": arn, "startDate": seconds(time.Now())}, nil
}

func (s *Server) stop(ctx context.Context, in request) (any, error) {
	machine, name, err := s.execution(in.ExecutionArn)
	if err != nil {
		return nil, err
	}
	if err := s.runner.Stop(ctx, machine, name, in.Error, in.Cause); err != nil {
		return nil, unknownExecution(err, in.ExecutionArn)
	}
	return map[string]any{"stopDate": seconds(time.Now())}, nil
}

func (s *Server) describe(ctx context.Context, in request) (any, error) {
	machine, name, err := s.execution(in.ExecutionArn)
	if err != nil {
		return nil, err
	}
	x, err := s.runner.Describe(ctx, machine, name)
	if err != nil {
		return nil, unknownExecution(err, in.ExecutionArn)
	}
	s.mu.Lock()
	input := s.inputs[in.ExecutionArn]
	s.mu.Unlock()
	out := map[string]any{
		"executionArn": in.ExecutionArn, "stateMachineArn": s.arn("stateMachine") + machine, "name": name,
		"status": x.Status, "startDate": seconds(x.StartedAt), "input": input,
	}
	switch x.Status {
	case workflow.Running:
		return out, nil
	case workflow.Succeeded:
		out["output"] = string(x.Output)
	default:
		out["error"], out["cause"] = x.Error, x.Cause
	}
	out["stopDate"] = seconds(x.StoppedAt)
	return out, nil
}

// token settles a task. One that was settled is closed, whatever comes again:
// https://docs.aws.amazon.com/step-functions/latest/apireference/API_SendTaskSuccess.html
func (s *Server) token(ctx context.Context, operation string, in request) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.settled[in.TaskToken] {
		return nil, closedToken()
	}
	var err error
	switch operation {
	case "SendTaskSuccess":
		if !json.Valid([]byte(in.Output)) || len(in.Output) > workflow.MaxDataBytes {
			return nil, refused("InvalidOutput", "Invalid output")
		}
		err = s.runner.Complete(ctx, in.TaskToken, json.RawMessage(in.Output))
	case "SendTaskFailure":
		err = s.runner.Fail(ctx, in.TaskToken, in.Error, in.Cause)
	default:
		err = s.runner.Heartbeat(ctx, in.TaskToken)
	}
	switch {
	case errors.Is(err, fault.NotFound):
		return nil, refused("InvalidToken", "Invalid Token: 'Invalid token'")
	case errors.Is(err, fault.FailedPrecondition):
		return nil, closedToken()
	case err != nil:
		return nil, err
	}
	if operation != "SendTaskHeartbeat" {
		s.settled[in.TaskToken] = true
	}
	return map[string]any{}, nil
}

// execution reads an ARN of an execution.
func (s *Server) execution(arn string) (machine, name string, err error) {
	rest, ok := strings.CutPrefix(arn, s.arn("execution"))
	machine, name, both := strings.Cut(rest, ":")
	if !ok || !both || s.options.Machines[machine] == nil {
		return "", "", refused("ExecutionDoesNotExist", "Execution Does Not Exist: '"+arn+"'")
	}
	return machine, name, nil
}

func (s *Server) arn(kind string) string {
	return "arn:aws:states:" + s.options.Region + ":" + s.options.Account + ":" + kind + ":"
}

// apiError is an error with a type that callers know.
type apiError struct{ code, text string }

func (e *apiError) Error() string { return e.code + ": " + e.text }

func refused(code, text string) error { return &apiError{code, text} }

func closedToken() error {
	return refused("TaskTimedOut", "Task Timed Out: 'Provided task does not exist anymore'")
}

func unknownExecution(err error, arn string) error {
	if errors.Is(err, fault.NotFound) {
		return refused("ExecutionDoesNotExist", "Execution Does Not Exist: '"+arn+"'")
	}
	return err
}

// seconds is how the protocol writes times.
func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1e3 }

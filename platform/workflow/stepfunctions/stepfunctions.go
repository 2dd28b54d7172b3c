// Package stepfunctions is [workflow.Engine] on AWS Step Functions: it starts, stops and describes executions of deployed state
// machines and answers their task tokens. Step Functions executes the definitions; the deployment makes the machines from the same
// files that [workflow.Runner] executes elsewhere.
//
// Machines have to be of the type STANDARD: only they keep a name as one run for 90 days and wait for tokens
// (https://docs.aws.amazon.com/step-functions/latest/dg/choosing-workflow-type.html). The package refuses to make or change
// machines, to list executions and to read histories: no service needs that, and no role gets the permission.
package stepfunctions

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	"github.com/aws/aws-sdk-go-v2/service/sfn/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"go.opentelemetry.io/otel/trace"

	"github.com/riskprofiler/riskprofiler/platform/awsclient"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/telemetry"
	"github.com/riskprofiler/riskprofiler/platform/workflow"
)

// maxTokenBytes is the longest task token of Step Functions:
// https://docs.aws.amazon.com/step-functions/latest/apireference/API_SendTaskSuccess.html
const maxTokenBytes = 2048

// Engine is a [workflow.Engine]. It is safe for many goroutines.
type Engine struct {
	location awsclient.Location
	states   *sfn.Client
	sts      *sts.Client

	mu      sync.Mutex
	account string
}

var _ workflow.Engine = (*Engine)(nil)

// New makes an engine for the machines of a location. It calls nothing. Where the location does not say the account, the first
// call that needs it asks STS who it is, which needs no permission.
func New(config aws.Config, l awsclient.Location) *Engine {
	return &Engine{
		location: l, account: l.Account,
		states: sfn.NewFromConfig(config, func(o *sfn.Options) {
			// To repeat any of the calls is harmless: Start finds the first, a token that was answered is closed.
			o.BaseEndpoint, o.Retryer = l.EndpointOf("states"), awsclient.NewRetryer()
		}),
		sts: sts.NewFromConfig(config, func(o *sts.Options) { o.BaseEndpoint = l.EndpointOf("sts") }),
	}
}

// Start implements [workflow.Engine]. A machine that is not deployed is fault.Internal with the remedy, a million open executions
// (https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html) fault.ResourceExhausted.
func (e *Engine) Start(ctx context.Context, machine, name string, input json.RawMessage) error {
	arn, err := e.arn(ctx, "stateMachine", machine, name)
	if err != nil {
		return err
	}
	raw, err := workflow.StartInput(ctx, input)
	if err != nil {
		return err
	}
	request := &sfn.StartExecutionInput{StateMachineArn: &arn, Name: &name, Input: aws.String(string(raw))}
	if header := telemetry.FormatXRay(trace.SpanContextFromContext(ctx)); header != "" {
		request.TraceHeader = &header
	}
	_, err = e.states.StartExecution(ctx, request)
	// Step Functions takes a repeat only while the first run is open and only with the same input. Ours may have another trace.
	if known[*types.ExecutionAlreadyExists](err) {
		return nil
	}
	return e.fault(err, "start execution", machine)
}

// Stop implements [workflow.Engine].
func (e *Engine) Stop(ctx context.Context, machine, name, errName, cause string) error {
	arn, err := e.arn(ctx, "execution", machine, name)
	if err != nil {
		return err
	}
	errName, cause = workflow.ClipError(errName, cause)
	_, err = e.states.StopExecution(ctx, &sfn.StopExecutionInput{ExecutionArn: &arn, Error: &errName, Cause: &cause})
	return e.fault(err, "stop execution", machine)
}

// Describe implements [workflow.Engine].
func (e *Engine) Describe(ctx context.Context, machine, name string) (workflow.Execution, error) {
	arn, err := e.arn(ctx, "execution", machine, name)
	if err != nil {
		return workflow.Execution{}, err
	}
	out, err := e.states.DescribeExecution(ctx, &sfn.DescribeExecutionInput{ExecutionArn: &arn})
	if err != nil {
		return workflow.Execution{}, e.fault(err, "describe execution", machine)
	}
	x := workflow.Execution{
		Machine: machine, Name: name, Status: workflow.Status(out.Status),
		Error: aws.ToString(out.Error), Cause: aws.ToString(out.Cause), StartedAt: aws.ToTime(out.StartDate).UTC(),
	}
	if out.Status == types.ExecutionStatusPendingRedrive { // it failed, and somebody asked to try it again
		x.Status = workflow.Failed
	}
	if x.Input, err = jsonText(out.Input); err != nil {
		return workflow.Execution{}, err
	}
	if x.Status == workflow.Running {
		return x, nil
	}
	x.StoppedAt = aws.ToTime(out.StopDate).UTC()
	x.Output, err = jsonText(out.Output)
	return x, err
}

func jsonText(s *string) (json.RawMessage, error) {
	if s == nil {
		return nil, nil
	}
	if raw := json.RawMessage(*s); json.Valid(raw) {
		return raw, nil
	}
	return nil, fault.New(fault.DataLoss, "describe execution: Step Functions returned data that is no JSON text")
}

// Complete implements [workflow.Engine]. To complete a token again is fault.FailedPrecondition.
func (e *Engine) Complete(ctx context.Context, token string, output json.RawMessage) error {
	raw, err := workflow.TaskOutput(output)
	if err == nil {
		err = checkToken(token)
	}
	if err != nil {
		return err
	}
	_, err = e.states.SendTaskSuccess(ctx, &sfn.SendTaskSuccessInput{TaskToken: &token, Output: aws.String(string(raw))})
	return e.fault(err, "complete task", "")
}

// Fail implements [workflow.Engine]. To fail a token again is fault.FailedPrecondition.
func (e *Engine) Fail(ctx context.Context, token, errName, cause string) error {
	if err := checkToken(token); err != nil {
		return err
	}
	errName, cause = workflow.TaskFailure(errName, cause)
	_, err := e.states.SendTaskFailure(ctx, &sfn.SendTaskFailureInput{TaskToken: &token, Error: &errName, Cause: &cause})
	return e.fault(err, "fail task", "")
}

// Heartbeat implements [workflow.Engine].
func (e *Engine) Heartbeat(ctx context.Context, token string) error {
	if err := checkToken(token); err != nil {
		return err
	}
	_, err := e.states.SendTaskHeartbeat(ctx, &sfn.SendTaskHeartbeatInput{TaskToken: &token})
	return e.fault(err, "send heartbeat", "")
}

func checkToken(token string) error {
	if token == "" || len(token) > maxTokenBytes {
		return errUnknownToken
	}
	return nil
}

var errUnknownToken = fault.New(fault.NotFound, "task token is unknown")

// arn names a machine ("stateMachine") or one of its executions ("execution").
func (e *Engine) arn(ctx context.Context, kind, machine, name string) (string, error) {
	if err := workflow.CheckNames(machine, name); err != nil {
		return "", err
	}
	account, err := e.accountID(ctx)
	if err != nil {
		return "", err
	}
	parts := []string{"arn", e.location.Partition(), "states", e.location.Region, account, kind, e.location.Name(machine)}
	if kind == "execution" {
		parts = append(parts, name)
	}
	return strings.Join(parts, ":"), nil
}

// accountID asks STS until it has answered once. First calls that come together each ask.
func (e *Engine) accountID(ctx context.Context) (string, error) {
	e.mu.Lock()
	account := e.account
	e.mu.Unlock()
	if account != "" {
		return account, nil
	}
	out, err := e.sts.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return "", awsclient.Fault(err, "look up the AWS account", awsclient.Resource{Kind: "service", Name: "STS", Region: e.location.Region})
	}
	if account = aws.ToString(out.Account); account == "" {
		return "", fault.New(fault.Internal, "look up the AWS account: STS did not say it; set account= in RISKPROFILER_BACKEND")
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.account = account
	return account, nil
}

// fault gives an error of Step Functions the code that the contract of [workflow.Engine] has for it, and one line. An error about
// a token names no machine: the token alone knows it.
func (e *Engine) fault(err error, what, machine string) error {
	switch {
	case err == nil:
		return nil
	case known[*types.ExecutionDoesNotExist](err):
		return fault.New(fault.NotFound, "execution not found")
	case known[*types.InvalidToken](err), known[*types.TaskDoesNotExist](err):
		return errUnknownToken
	case known[*types.TaskTimedOut](err):
		return fault.New(fault.FailedPrecondition, "task token is closed")
	case known[*types.ExecutionLimitExceeded](err):
		return fault.Wrap(fault.ResourceExhausted, err, "%s: too many executions are open", what)
	case known[*types.InvalidExecutionInput](err), known[*types.InvalidOutput](err), known[*types.InvalidName](err):
		return fault.Wrap(fault.Invalid, err, "%s: Step Functions does not take it", what)
	}
	r := awsclient.Resource{Kind: "state machine", Name: e.location.Name(machine), Region: e.location.Region}
	if machine == "" {
		r.Kind, r.Name = "service", "Step Functions"
	}
	return awsclient.Fault(err, what, r)
}

// known says whether an error is of one of the types that Step Functions declares.
func known[T error](err error) bool {
	var e T
	return errors.As(err, &e)
}

package stepfunctions_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"

	"github.com/riskprofiler/riskprofiler/platform/awsclient"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/table"
	"github.com/riskprofiler/riskprofiler/platform/table/sqlitetable"
	"github.com/riskprofiler/riskprofiler/platform/workflow"
	"github.com/riskprofiler/riskprofiler/platform/workflow/stepfunctions"
	"github.com/riskprofiler/riskprofiler/platform/workflow/workflowtest"
)

const (
	account  = "123456789012"
	machines = "arn:aws:states:eu-west-1:" + account + ":stateMachine:rp-test-"
	runs     = "arn:aws:states:eu-west-1:" + account + ":execution:rp-test-"
)

// server answers the Step Functions API in front of our runner. It is handed requests without a connection between, so that it lives
// in a bubble: the deadlines of connections in memory are not exact enough for net/http, which then sees callers leave who wait.
// Where AWS is stricter than the runner it is too: a name is taken by another input, a token is answered once.
type server struct {
	runner *workflow.Runner

	mu       sync.Mutex
	inputs   map[string]string
	settled  map[string]bool
	requests []string
	headers  []string
	// refuse is an answer to everything.
	refuse *apiError
	// gone makes that nobody answers.
	gone bool
}

type apiError struct {
	status     int
	code, text string
}

func (e *apiError) Error() string { return e.code }

func refusal(code string) error { return &apiError{http.StatusBadRequest, code, "said by the server"} }

// open starts a server with a runner behind it.
func open(t *testing.T, o *workflowtest.Outside) *server {
	db, err := sqlitetable.Open(context.Background(), sqlitetable.Options{Path: t.TempDir() + "/workflows.db"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	definitions := map[string][]byte{}
	for name, text := range o.Machines {
		definitions[name] = []byte(text)
	}
	s := &server{inputs: map[string]string{}, settled: map[string]bool{}}
	s.runner, err = workflow.NewRunner(workflow.RunnerOptions{
		Table:    table.New(db.Table("workflows"), table.Options{Name: "workflows"}),
		Machines: definitions, Resources: map[string]string{"Queue": "jobs", "Function": "worker"},
		Invoke: o.Invoke, Send: o.Send, Poll: -1,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var work sync.WaitGroup
	work.Go(func() { _ = s.runner.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		work.Wait()
	})
	synctest.Wait()
	return s
}

// engine is the driver in front of the server.
func (s *server) engine(t *testing.T, l awsclient.Location) *stepfunctions.Engine {
	c, err := awsclient.Load(context.Background(), l, config.WithCredentialsProvider(
		aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "test", SecretAccessKey: "test"}, nil
		})))
	if err != nil {
		t.Fatal(err)
	}
	c.HTTPClient = &http.Client{Transport: s}
	return stepfunctions.New(c, l)
}

// RoundTrip takes a request of the driver.
func (s *server) RoundTrip(r *http.Request) (*http.Response, error) {
	if s.gone {
		return nil, syscall.ECONNREFUSED
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	_ = r.Body.Close()
	return w.Result(), nil
}

// ServeHTTP is AWS JSON 1.0 (https://smithy.io/2.0/aws/protocols/aws-json-1_0-protocol.html), and GetCallerIdentity of STS.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 4<<20))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	operation := strings.TrimPrefix(r.Header.Get("X-Amz-Target"), "AWSStepFunctions.")
	s.mu.Lock()
	s.requests = append(s.requests, operation)
	refused := s.refuse
	s.mu.Unlock()
	if operation == "" {
		w.Header().Set("Content-Type", "text/xml")
		_, _ = io.WriteString(w, `<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>`+
			`<Arn>arn:aws:iam::`+account+`:user/test</Arn><UserId>A</UserId><Account>`+account+`</Account></GetCallerIdentityResult>`+
			`<ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></GetCallerIdentityResponse>`)
		return
	}
	var in request
	var out any
	if err = json.Unmarshal(body, &in); err == nil {
		out, err = s.answer(r.Context(), operation, in)
	}
	if refused != nil {
		err = refused
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	if err != nil {
		e := &apiError{http.StatusInternalServerError, "InternalServerError", err.Error()}
		errors.As(err, &e)
		w.WriteHeader(e.status)
		out = map[string]string{"__type": "com.amazonaws.swf.service.v2.model#" + e.code, "message": e.text}
	}
	_ = json.NewEncoder(w).Encode(out)
}

type request struct {
	StateMachineArn, ExecutionArn, Name, Input, TaskToken, Output, Error, Cause, TraceHeader string
}

func (s *server) answer(ctx context.Context, operation string, in request) (any, error) {
	machine, name, _ := strings.Cut(strings.TrimPrefix(in.ExecutionArn, runs), ":")
	switch operation {
	case "StartExecution":
		return s.start(ctx, in)
	case "StopExecution":
		if err := s.runner.Stop(ctx, machine, name, in.Error, in.Cause); errors.Is(err, fault.NotFound) {
			return nil, refusal("ExecutionDoesNotExist")
		} else if err != nil {
			return nil, err
		}
		return map[string]any{"stopDate": seconds(time.Now())}, nil
	case "DescribeExecution":
		return s.describe(ctx, machine, name)
	}
	return s.token(ctx, operation, in)
}

func (s *server) start(ctx context.Context, in request) (any, error) {
	machine, ok := strings.CutPrefix(in.StateMachineArn, machines)
	if !ok {
		return nil, refusal("StateMachineDoesNotExist")
	}
	s.mu.Lock()
	s.headers = append(s.headers, in.TraceHeader)
	key := machine + "/" + in.Name
	before, known := s.inputs[key]
	if !known {
		s.inputs[key] = in.Input
	}
	s.mu.Unlock()
	if known {
		x, err := s.runner.Describe(ctx, machine, in.Name)
		if err != nil {
			return nil, err
		}
		if before != in.Input || x.Status != workflow.Running {
			return nil, refusal("ExecutionAlreadyExists")
		}
	}
	err := s.runner.Start(ctx, machine, in.Name, json.RawMessage(in.Input))
	if errors.Is(err, fault.NotFound) {
		return nil, refusal("StateMachineDoesNotExist")
	}
	return map[string]any{"executionArn": runs + machine + ":" + in.Name, "startDate": seconds(time.Now())}, err
}

func (s *server) describe(ctx context.Context, machine, name string) (any, error) {
	x, err := s.runner.Describe(ctx, machine, name)
	if errors.Is(err, fault.NotFound) {
		return nil, refusal("ExecutionDoesNotExist")
	}
	out := map[string]any{
		"executionArn": runs + machine + ":" + name, "stateMachineArn": machines + machine, "name": name,
		"status": x.Status, "startDate": seconds(x.StartedAt), "input": string(x.Input),
	}
	switch x.Status {
	case workflow.Running:
		return out, err
	case workflow.Succeeded:
		out["output"] = string(x.Output)
	default:
		out["error"], out["cause"] = x.Error, x.Cause
	}
	out["stopDate"] = seconds(x.StoppedAt)
	return out, err
}

func (s *server) token(ctx context.Context, operation string, in request) (out any, err error) {
	s.mu.Lock()
	closed := s.settled[in.TaskToken]
	s.mu.Unlock()
	if closed {
		return nil, refusal("TaskTimedOut")
	}
	switch operation {
	case "SendTaskSuccess":
		err = s.runner.Complete(ctx, in.TaskToken, json.RawMessage(in.Output))
	case "SendTaskFailure":
		err = s.runner.Fail(ctx, in.TaskToken, in.Error, in.Cause)
	case "SendTaskHeartbeat":
		err = s.runner.Heartbeat(ctx, in.TaskToken)
	default:
		return nil, refusal("UnknownOperationException")
	}
	switch {
	case errors.Is(err, fault.NotFound):
		return nil, refusal("InvalidToken")
	case errors.Is(err, fault.FailedPrecondition):
		return nil, refusal("TaskTimedOut")
	case err == nil && operation != "SendTaskHeartbeat":
		s.mu.Lock()
		defer s.mu.Unlock()
		s.settled[in.TaskToken] = true
	}
	return map[string]any{}, err
}

// seconds is how the protocol writes times.
func seconds(t time.Time) float64 { return float64(t.UnixMicro()) / 1e6 }

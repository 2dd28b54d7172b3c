package stepfunctions_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"go.opentelemetry.io/otel/trace"

	"github.com/riskprofiler/riskprofiler/platform/awsclient"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/workflow"
	"github.com/riskprofiler/riskprofiler/platform/workflow/workflowtest"
)

// location has no network behind it: the server is called.
var location = awsclient.Location{Region: "eu-west-1", Prefix: "rp-test", Endpoint: "http://states.test"}

// TestConformance also proves that the account is found.
func TestConformance(t *testing.T) {
	workflowtest.Run(t, func(t *testing.T, o *workflowtest.Outside) workflow.Engine { return open(t, o).engine(t, location) })
}

func bubble(t *testing.T, run func(t *testing.T, s *server)) {
	synctest.Test(t, func(t *testing.T) {
		run(t, open(t, &workflowtest.Outside{Machines: map[string]string{
			"m": `{"StartAt": "A", "States": {"A": {"Type": "Wait", "Seconds": 60, "End": true}}}`,
		}}))
	})
}

func TestTheAccountIsAskedForOnce(t *testing.T) {
	for account, want := range map[string]string{
		"":             ",StartExecution,DescribeExecution",
		"123456789012": "StartExecution,DescribeExecution",
	} {
		bubble(t, func(t *testing.T, s *server) {
			l := location
			l.Account = account
			e := s.engine(t, l)
			if err := e.Start(context.Background(), "m", "one", nil); err != nil {
				t.Fatal(err)
			}
			if _, err := e.Describe(context.Background(), "m", "one"); err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(s.requests, ","); got != want {
				t.Errorf("with account %q the requests were %s, want %s", account, got, want)
			}
		})
	}
}

func TestStartNamesTheTrace(t *testing.T) {
	bubble(t, func(t *testing.T, s *server) {
		ctx := trace.ContextWithSpanContext(context.Background(), trace.NewSpanContext(trace.SpanContextConfig{
			TraceID: trace.TraceID{0x65, 1, 2, 3, 4}, SpanID: trace.SpanID{3}, TraceFlags: trace.FlagsSampled,
		}))
		e := s.engine(t, location)
		if err := e.Start(ctx, "m", "one", nil); err != nil {
			t.Fatal(err)
		}
		if err := e.Start(context.Background(), "m", "two", nil); err != nil {
			t.Fatal(err)
		}
		want := "Root=1-65010203-040000000000000000000000;Parent=0300000000000000;Sampled=1"
		if len(s.headers) != 2 || s.headers[0] != want || s.headers[1] != "" {
			t.Errorf("the trace headers were %q, want %q and none", s.headers, want)
		}
	})
}

// TestErrorsSayWhatToDo goes through what Step Functions can answer beside the errors of the contract.
func TestErrorsSayWhatToDo(t *testing.T) {
	for _, c := range []struct {
		answer apiError
		code   fault.Code
		words  string
	}{
		{apiError{400, "StateMachineDoesNotExist", ""}, fault.Internal, "state machine rp-test-m in eu-west-1: it does not exist there; deploy it"},
		{apiError{400, "ExecutionLimitExceeded", ""}, fault.ResourceExhausted, "too many executions are open"},
		{apiError{400, "ThrottlingException", ""}, fault.Unavailable, "state machine rp-test-m in eu-west-1: AWS throttles"},
		{apiError{400, "InvalidExecutionInput", ""}, fault.Invalid, "Step Functions does not take it"},
		{apiError{400, "InvalidName", ""}, fault.Invalid, "Step Functions does not take it"},
		{apiError{400, "AccessDeniedException", ""}, fault.Internal, "refused the permission"},
		{apiError{400, "UnrecognizedClientException", ""}, fault.Internal, "does not accept the credentials"},
		{apiError{500, "InternalServerError", ""}, fault.Unavailable, "AWS could not answer"},
		{apiError{400, "StateMachineDeleting", ""}, fault.Internal, "AWS refused the request with StateMachineDeleting"},
	} {
		bubble(t, func(t *testing.T, s *server) {
			s.refuse = &c.answer
			err := s.engine(t, location).Start(context.Background(), "m", "one", nil)
			if fault.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.words) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s: error is %v (%v), want %v and %q", c.answer.code, err, fault.CodeOf(err), c.code, c.words)
			}
		})
	}
}

func TestErrorsOfTokens(t *testing.T) {
	for code, want := range map[string]fault.Code{
		"InvalidToken": fault.NotFound, "TaskDoesNotExist": fault.NotFound, "TaskTimedOut": fault.FailedPrecondition,
		"InvalidOutput": fault.Invalid, "ThrottlingException": fault.Unavailable,
	} {
		bubble(t, func(t *testing.T, s *server) {
			s.refuse = &apiError{http.StatusBadRequest, code, ""}
			err := s.engine(t, location).Complete(context.Background(), "token", json.RawMessage(`1`))
			if fault.CodeOf(err) != want {
				t.Errorf("%s: error is %v (%v), want %v", code, err, fault.CodeOf(err), want)
			}
		})
	}
}

func TestNobodyAnswers(t *testing.T) {
	bubble(t, func(t *testing.T, s *server) {
		s.gone = true
		err := s.engine(t, location).Start(context.Background(), "m", "one", nil)
		if fault.CodeOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "look up the AWS account") {
			t.Errorf("error is %v (%v)", err, fault.CodeOf(err))
		}
	})
}

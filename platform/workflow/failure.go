package workflow

import (
	"errors"
	"fmt"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// Error names that the engine itself reports or matches, from Appendix A of the States Language
// (https://states-language.net/spec.html#appendix-a) and, for the last two, from
// https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html.
const (
	// ErrorAll matches every error but DataLimitExceeded and Runtime. It stands alone and last.
	ErrorAll = "States.ALL"
	// ErrorTimeout is reported when TimeoutSeconds or HeartbeatSeconds passed.
	ErrorTimeout = "States.Timeout"
	// ErrorHeartbeatTimeout matches, in Retry and Catch, the ErrorTimeout of a missed heartbeat. It
	// is never the name that is reported: the States Language gives that as States.Timeout.
	ErrorHeartbeatTimeout = "States.HeartbeatTimeout"
	// ErrorTaskFailed matches every error but ErrorTimeout, DataLimitExceeded and Runtime.
	ErrorTaskFailed = "States.TaskFailed"
	// ErrorResultPath is reported when a ResultPath cannot be applied to the state's input.
	ErrorResultPath = "States.ResultPathMatchFailure"
	// ErrorParameterPath is reported when a path in a payload template finds nothing.
	ErrorParameterPath = "States.ParameterPathFailure"
	// ErrorNoChoice is reported by a Choice without a matching rule and without a Default.
	ErrorNoChoice = "States.NoChoiceMatched"
	// ErrorIntrinsic is reported when an intrinsic function gets arguments that it cannot use.
	ErrorIntrinsic = "States.IntrinsicFailure"
	// ErrorDataLimit is reported when an input or output is larger than MaxDataBytes. Only its own
	// name catches it, ErrorAll does not.
	ErrorDataLimit = "States.DataLimitExceeded"
	// ErrorRuntime is reported when a state cannot be processed, for example for an InputPath that
	// finds nothing. Nothing retries or catches it.
	ErrorRuntime = "States.Runtime"
)

// errorPrefix begins the names of errors that tasks report by their fault code.
const errorPrefix = "RiskProfiler."

// Limits of the texts of an error, the larger parts are cut:
// https://docs.aws.amazon.com/step-functions/latest/apireference/API_SendTaskFailure.html
const (
	maxErrorBytes = 256
	maxCauseBytes = 32768
)

// TaskError lets a task choose the error name and cause that Retry and Catch see.
type TaskError struct{ Name, Cause string }

// Error is name and cause.
func (e *TaskError) Error() string { return e.Name + ": " + e.Cause }

// ErrorName is the States Language name under which a task's error is retried and caught: that of a
// [TaskError], or "RiskProfiler." and the fault code as fault spells it in Go, for example
// RiskProfiler.Unavailable, RiskProfiler.Invalid or RiskProfiler.Internal. A Lambda function that is
// called by the same definition has to report its errors under the same name.
func ErrorName(err error) string {
	var own *TaskError
	if errors.As(err, &own) && own.Name != "" {
		return own.Name
	}
	return errorPrefix + codeNames[fault.CodeOf(err)]
}

// codeNames are the codes as fault spells them. They are part of definitions and never change.
var codeNames = map[fault.Code]string{
	fault.Cancelled: "Cancelled", fault.Invalid: "Invalid", fault.DeadlineExceeded: "DeadlineExceeded",
	fault.NotFound: "NotFound", fault.AlreadyExists: "AlreadyExists", fault.PermissionDenied: "PermissionDenied",
	fault.ResourceExhausted: "ResourceExhausted", fault.FailedPrecondition: "FailedPrecondition",
	fault.Conflict: "Conflict", fault.Unimplemented: "Unimplemented", fault.Internal: "Internal",
	fault.Unavailable: "Unavailable", fault.DataLoss: "DataLoss", fault.Unauthenticated: "Unauthenticated",
}

// failure is an error in the sense of the States Language: it can be retried, caught, and ends an
// execution as failed. Every other error type means that the engine could not go on.
type failure struct {
	name, cause string
	heartbeat   bool      // a States.Timeout for want of a heartbeat
	at          time.Time // when it was recorded; zero: it is not recorded, but follows from what is
}

func (f *failure) Error() string { return f.name + ": " + f.cause }

func failed(name, format string, args ...any) *failure {
	return &failure{name: name, cause: fmt.Sprintf(format, args...)}
}

// taskFailure is what Retry and Catch see of a task's error. The cause is the text that may be
// shown, as it travels on in the data.
func taskFailure(err error) *failure {
	cause := fault.From(err).Public()
	var own *TaskError
	if errors.As(err, &own) {
		cause = own.Cause
	}
	return &failure{name: clip(ErrorName(err), maxErrorBytes), cause: clip(cause, maxCauseBytes)}
}

// asFailure gives the failure in err, or nil if the engine could not go on.
func asFailure(err error) *failure {
	var f *failure
	if errors.As(err, &f) {
		return f
	}
	return nil
}

package lambdalocal

import (
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"time"
)

// unhandled is the value of X-Amz-Function-Error for every error of a function whose runtime is not managed:
// https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html
const unhandled = "Unhandled"

// Types of errors that Lambda itself gives in a function's name. They are what a state machine sees as error names.
const (
	// ErrorTimeout: the time of the invocation passed and the process was killed.
	ErrorTimeout = "Sandbox.Timedout"
	// ErrorExit: the process ended before it answered.
	ErrorExit = "Runtime.ExitError"
	// ErrorUnknown is given here to an error without a type.
	ErrorUnknown = "Unknown"
)

// Result is what an invocation came to.
type Result struct {
	// Payload is the answer, or the error as {"errorType","errorMessage"}.
	Payload []byte
	// FunctionError is "Unhandled" if the function failed, else empty.
	FunctionError string
	RequestID     string
	// Cold is how long the process took from its start to its first poll, if this invocation started it.
	Cold time.Duration
}

// FunctionFailure is the payload of a function that failed.
type FunctionFailure struct {
	Type    string `json:"errorType"`
	Message string `json:"errorMessage"`
}

// Failure is the error of the function, nil if it did not fail.
func (r Result) Failure() *FunctionFailure {
	if r.FunctionError == "" {
		return nil
	}
	f := &FunctionFailure{}
	if json.Unmarshal(r.Payload, f) != nil || f.Type == "" {
		f.Type = ErrorUnknown
	}
	return f
}

func errorPayload(kind, message string) []byte {
	raw, err := json.Marshal(FunctionFailure{Type: kind, Message: message})
	if err != nil {
		return []byte(`{"errorType":"Unknown"}`)
	}
	return raw
}

func timedOut(id string, after time.Duration) Result {
	return Result{FunctionError: unhandled, Payload: errorPayload(ErrorTimeout,
		fmt.Sprintf("RequestId: %s Error: Task timed out after %.2f seconds", id, after.Seconds()))}
}

// exitResult is what a process that ended leaves behind: its own word from /init/error, or how it ended.
func exitResult(id string, exit error, said []byte) Result {
	if len(said) > 0 {
		return Result{FunctionError: unhandled, Payload: said}
	}
	text := "Runtime exited without providing a reason"
	var status *exec.ExitError
	if errors.As(exit, &status) {
		text = "Runtime exited with error: " + status.String()
	}
	return Result{FunctionError: unhandled, Payload: errorPayload(ErrorExit, fmt.Sprintf("RequestId: %s Error: %s", id, text))}
}

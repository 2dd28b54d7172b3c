package queue

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// ErrClosed is returned by every call on a queue whose driver was closed.
var ErrClosed = fault.New(fault.FailedPrecondition, "queue is closed")

// errDraining ends the handlers' contexts when the time for draining is over.
var errDraining = errors.New("the process is shutting down")

// errOutOfTime ends the handlers' contexts when a function has to answer.
var errOutOfTime = errors.New("the function's time is over")

// errExpired ends a handler's context when its message may be handled elsewhere by now.
var errExpired = errors.New("the receipt of the message expired")

// permanentError marks a failure that no further attempt can mend.
type permanentError struct{ cause error }

func (e *permanentError) Error() string { return e.cause.Error() }
func (e *permanentError) Unwrap() error { return e.cause }

// Permanent says that another attempt cannot help: the message is parked at once. Permanent of
// nil is nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanentError{cause: err}
}

// laterError hands a message back.
type laterError struct {
	after time.Duration
	cause error
}

func (e *laterError) Error() string {
	if e.cause == nil {
		return fmt.Sprintf("try again in %s", e.after)
	}
	return fmt.Sprintf("try again in %s: %v", e.after, e.cause)
}

func (e *laterError) Unwrap() error { return e.cause }

// Later hands the message back: it comes again after d (0 to MaxVisibility, other values are
// moved to the nearer end) and the attempt does not count. Its group waits that long. It is for
// what is not the message's fault: a permit that is not free yet, a provider that is down. cause
// may be nil. A message can be handed back without end: who does it bounds it.
func Later(d time.Duration, cause error) error {
	return &laterError{after: clampDelay(d), cause: cause}
}

func clampDelay(d time.Duration) time.Duration {
	return min(max(d, 0), MaxVisibility)
}

// clip makes an error text fit to be kept: valid UTF-8 of at most MaxErrorBytes.
func clip(text string) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) <= MaxErrorBytes {
		return text
	}
	const mark = "…"
	cut := MaxErrorBytes - len(mark)
	for cut > 0 && text[cut]&0xC0 == 0x80 {
		cut--
	}
	return text[:cut] + mark
}

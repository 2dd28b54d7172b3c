// Package fault is the one small error taxonomy that every package here speaks.
//
// An error has a code, words that may be shown to the caller, and a cause that may not:
//
//	return fault.New(fault.NotFound, "get plan %s", id)
//	return fault.Wrap(fault.Unavailable, err, "send results")
//
// Error() is the full story, for logs. What crosses the wire (gRPC status, or the same bytes in
// an in-process or Lambda call) is less:
//
//   - survives: the code, the words given to [New] and [Wrap] (those of nested faults included),
//     field violations, the retry delay, the reference;
//   - is lost: every cause that is not itself a fault, the text that fmt.Errorf put around a
//     fault, and the type of the error;
//   - [Internal] and [DataLoss] lose their words as well: the caller reads "internal error
//     (reference 4f1c…)" and the log has the same reference beside the cause.
//
// The outermost code decides, for errors.Is too: wrapping a NotFound as FailedPrecondition hides
// the NotFound. Causes that are no codes stay visible to errors.Is and errors.As.
//
// The package refuses to know about HTTP, about retry policy and about logging.
package fault

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc/status"
)

// Limits of what goes into a status, so that its trailers stay below the 16 KiB header list
// that our servers and most proxies allow: 20 violations of at most 384 bytes are 7.5 KiB,
// 10 KiB in base64.
const (
	MaxFields           = 20
	MaxFieldBytes       = 128
	MaxDescriptionBytes = 256
	MaxMessageBytes     = 1024
)

// Field is one thing that is wrong with a request, as in google.rpc.BadRequest.
type Field struct {
	// Name is the path of the field, for example "plan.seeds[2].domain".
	Name string
	// Description says what is wrong, as a sentence for the caller.
	Description string
}

// Error is the type behind every error that this package makes. Values never change.
type Error struct {
	code      Code
	message   string // ours, for the caller unless the code is opaque
	cause     error  // for the log only, unless it is a fault
	fields    []Field
	inherited int // so many of the fields came with the cause
	retry     time.Duration
	hasRetry  bool
	reference string
}

// New makes an error. The words are shown to the caller; an unknown code counts as [Internal].
func New(code Code, format string, args ...any) error {
	return build(code, fmt.Sprintf(format, args...), nil)
}

// Wrap gives err a code and words in front. Wrap of nil is nil. Field violations, retry delay and
// reference of a fault inside err are kept.
func Wrap(code Code, err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return build(code, fmt.Sprintf(format, args...), err)
}

// WithField adds what is wrong with one field of the request. A nil err starts a new
// [Invalid] error, so that a check can collect. Beyond [MaxFields] violations are dropped and
// longer texts are cut: see the limits above.
func WithField(err error, field, description string) error {
	if err == nil {
		err = New(Invalid, "invalid argument")
	}
	e := *From(err)
	if len(e.fields) >= MaxFields {
		return &e
	}
	e.fields = append(e.fields[:len(e.fields):len(e.fields)], Field{
		Name:        clip(field, MaxFieldBytes),
		Description: clip(description, MaxDescriptionBytes),
	})
	return &e
}

// RetryAfter tells the caller not to come back before d (google.rpc.RetryInfo). RetryAfter of
// nil is nil; a negative d counts as 0.
func RetryAfter(err error, d time.Duration) error {
	if err == nil {
		return nil
	}
	e := *From(err)
	e.retry, e.hasRetry = max(d, 0), true
	return &e
}

// CodeOf is the code of the outermost fault in err; for errors of others it knows contexts and
// gRPC statuses, everything else is [Internal]. CodeOf(nil) is [OK].
func CodeOf(err error) Code {
	if err == nil {
		return OK
	}
	var coded interface{ FaultCode() Code }
	if errors.As(err, &coded) {
		return coded.FaultCode()
	}
	switch {
	case errors.Is(err, context.Canceled):
		return Cancelled
	case errors.Is(err, context.DeadlineExceeded):
		return DeadlineExceeded
	}
	var remote interface{ GRPCStatus() *status.Status }
	if errors.As(err, &remote) {
		return Code(remote.GRPCStatus().Code()).known()
	}
	return Internal
}

// Fields are the violations that err carries.
func Fields(err error) []Field {
	if err == nil {
		return nil
	}
	return append([]Field(nil), From(err).fields...)
}

// RetryDelay is the pause that err asks for, if it asks for one.
func RetryDelay(err error) (time.Duration, bool) {
	if err == nil {
		return 0, false
	}
	e := From(err)
	return e.retry, e.hasRetry
}

// Reference is the id under which the cause of an [Internal] or [DataLoss] error is found in the
// log, or "".
func Reference(err error) string {
	if err == nil {
		return ""
	}
	var e *Error
	if errors.As(err, &e) {
		return e.reference
	}
	return ""
}

// From gives err as a fault: as it is, or the outermost fault in it, or a new one around it that
// has CodeOf(err). A server calls it once per failed request, logs the Error() of what it was
// given beside the reference, and returns the result. From(nil) is nil.
func From(err error) *Error {
	if err == nil {
		return nil
	}
	if e, ok := err.(*Error); ok { //nolint:errorlint // only the very outermost is taken as it is
		return e
	}
	var remote interface{ GRPCStatus() *status.Status }
	var inner *Error
	if !errors.As(err, &inner) && errors.As(err, &remote) {
		return fromStatus(remote.GRPCStatus(), err)
	}
	return build(CodeOf(err), "", err)
}

func build(code Code, message string, cause error) *Error {
	e := &Error{code: code.known(), message: clip(message, MaxMessageBytes), cause: cause}
	var inner *Error
	if errors.As(cause, &inner) {
		e.fields, e.inherited = inner.fields, len(inner.fields)
		e.retry, e.hasRetry, e.reference = inner.retry, inner.hasRetry, inner.reference
	}
	if e.code.opaque() && e.reference == "" {
		e.reference = newReference()
	}
	return e
}

// Error is the whole story, cause included. It is for logs and never for the wire.
func (e *Error) Error() string {
	var parts []string
	if e.message != "" {
		parts = append(parts, e.message)
	}
	if e.cause != nil {
		parts = append(parts, e.cause.Error())
	}
	if len(parts) == 0 {
		parts = append(parts, e.code.String())
	}
	for _, f := range e.fields[e.inherited:] {
		parts = append(parts, f.Name+": "+f.Description)
	}
	text := strings.Join(parts, ": ")
	if e.reference != "" && !strings.Contains(text, e.reference) {
		text += " (reference " + e.reference + ")"
	}
	return text
}

// FaultCode is the error's code. Error types of other packages implement the same method to take
// part in [CodeOf].
func (e *Error) FaultCode() Code { return e.code }

// Is makes errors.Is(err, fault.NotFound) work, by the outermost code only.
func (e *Error) Is(target error) bool {
	if code, ok := target.(Code); ok {
		return e.code == code
	}
	return e.cause != nil && errors.Is(e.cause, target)
}

// As looks for other error types among the causes. There is no Unwrap, because errors.Is would
// then find the codes of the causes too.
func (e *Error) As(target any) bool {
	return e.cause != nil && errors.As(e.cause, target)
}

// Public is the text that the caller may read.
func (e *Error) Public() string {
	if e.code.opaque() {
		return e.code.String() + " (reference " + e.reference + ")"
	}
	inner := ""
	var cause *Error
	if errors.As(e.cause, &cause) {
		inner = cause.Public()
	}
	switch {
	case e.message != "" && inner != "":
		return clip(e.message+": "+inner, MaxMessageBytes)
	case e.message != "":
		return e.message
	case inner != "":
		return inner
	default:
		return e.code.String()
	}
}

// newReference is 64 random bits: unique among all errors that a log keeps, and says nothing.
func newReference() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the process instead
	return hex.EncodeToString(b[:])
}

// clip cuts at a rune and drops what is no UTF-8: protobuf refuses to marshal such strings, and
// an error must never fail to be sent.
func clip(s string, limit int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= limit {
		return s
	}
	const mark = "…"
	cut := limit - len(mark)
	for cut > 0 && s[cut]&0xC0 == 0x80 {
		cut--
	}
	return s[:cut] + mark
}

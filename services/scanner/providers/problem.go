package providers

import (
	"errors"
	"time"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

// The states of a source, for short.
const (
	limited     = modelv1.SourceReport_STATE_LIMITED
	failed      = modelv1.SourceReport_STATE_FAILED
	unavailable = modelv1.SourceReport_STATE_UNAVAILABLE
)

// Problem is why a provider gave no answer. Its text is ours: nothing that the provider sent and no key is in it.
type Problem struct {
	State modelv1.SourceReport_State
	Text  string
	// Until is when the provider may be asked again, zero if time does not help.
	Until time.Time
}

// Error is the text.
func (p *Problem) Error() string { return p.Text }

// problemOf finds the problem in an error; whatever else went wrong is the platform's own trouble.
func problemOf(err error) *Problem {
	var p *Problem
	if errors.As(err, &p) {
		return p
	}
	return &Problem{State: unavailable, Text: "this platform could not keep account of its requests, so it made none"}
}

// Unasked says that the source was never meant to be asked: no key, or a subject that third parties are not asked about. What
// nobody wanted is no gap.
func Unasked(err error) bool { return errors.Is(err, errUnasked) }

// errUnasked marks such problems.
var errUnasked = errors.New("not asked")

type unasked struct{ Problem }

// Is matches errUnasked.
func (*unasked) Is(target error) bool { return target == errUnasked }

// As gives the problem.
func (u *unasked) As(target any) bool {
	if p, ok := target.(**Problem); ok {
		*p = &u.Problem
		return true
	}
	return false
}

func notAsked(text string) error {
	return &unasked{Problem{State: unavailable, Text: text}}
}

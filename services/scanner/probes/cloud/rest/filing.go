package rest

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud"
)

// Filing hands over what an inventory finds, notes what it holds, and gathers what could not be read. Emit, Gap, Lack and Gaps are safe
// for concurrent use; Held is not beside them.
type Filing struct {
	Held Held

	mu   sync.Mutex
	send func(cloud.Resource) error
	gaps []cloud.Gap
}

// NewFiling hands over to emit.
func NewFiling(emit func(cloud.Resource) error) *Filing { return &Filing{send: emit} }

// emitted is an error of emit, which ends the reading.
type emitted struct{ error }

func (e emitted) Unwrap() error { return e.error }

// Ends says whether an error is one of emit, after which nothing more is to be read.
func Ends(err error) bool {
	var stop emitted
	return errors.As(err, &stop)
}

// Emit hands over one resource and notes what it holds.
func (f *Filing) Emit(r cloud.Resource) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.Held.Add(r.Fact.GetHostnames(), r.Fact.GetAddresses())
	if err := f.send(r); err != nil {
		return emitted{err}
	}
	return nil
}

// Gap notes what could not be read; an error of emit is passed on.
func (f *Filing) Gap(err error, api string) error {
	if err == nil || Ends(err) {
		return err
	}
	f.Lack(Gap(err, api, ""))
	return nil
}

// Lack notes a gap that is known already.
func (f *Filing) Lack(g cloud.Gap) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.gaps = append(f.gaps, g)
}

// Gaps are those so far.
func (f *Filing) Gaps() []cloud.Gap {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.gaps)
}

// Credential reads what the tenant has stored for a provider.
func Credential[T any](ctx context.Context, env probes.Env, provider string, parse func([]byte) (T, error)) (T, error) {
	var none T
	if env.Credential == nil {
		return none, fault.New(fault.FailedPrecondition, "this scanner reads no credentials of tenants")
	}
	text, err := env.Credential(ctx, provider)
	if err != nil {
		return none, err
	}
	return parse([]byte(text))
}

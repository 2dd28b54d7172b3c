package lambdalocal

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// ErrThrottled is the error of an invocation that found all instances busy.
var ErrThrottled = errors.New("rate exceeded")

// Options of a Lambda.
type Options struct {
	// Region and Account stand in ARNs. Empty: us-east-1 and 123456789012.
	Region, Account string
	// Credentials that functions find in their environment, as from their execution role.
	AccessKeyID, SecretAccessKey, SessionToken string
	// Freeze stops processes between invocations (SIGSTOP), as Lambda does.
	Freeze bool
}

// Lambda holds functions and their processes.
type Lambda struct {
	options   Options
	mu        sync.Mutex
	functions map[string]*pool
	closed    bool
	running   sync.WaitGroup
	reaping   sync.WaitGroup
}

// pool is a function with its processes.
type pool struct {
	Function
	all  map[*instance]bool
	idle []*instance // the last one was used last and is used first
	busy int
	cold []time.Duration
	// used is the processor time of processes that ended.
	used time.Duration
}

// New makes a Lambda without functions.
func New(o Options) *Lambda {
	if o.Region == "" {
		o.Region = "us-east-1"
	}
	if o.Account == "" {
		o.Account = "123456789012"
	}
	if o.AccessKeyID == "" {
		o.AccessKeyID, o.SecretAccessKey = "ASIALOCAL", "local"
	}
	return &Lambda{options: o, functions: map[string]*pool{}}
}

// Add deploys a function. Nothing is started before it is invoked.
func (l *Lambda) Add(f Function) error {
	f, err := f.withDefaults()
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.functions[f.Name] != nil {
		return fault.New(fault.AlreadyExists, "add function %s: there is one of this name", f.Name)
	}
	l.functions[f.Name] = &pool{Function: f, all: map[*instance]bool{}}
	return nil
}

// Invocation is a request to invoke a function.
type Invocation struct {
	// Function is a name, a name with a qualifier, or an ARN of either.
	Function string
	// Qualifier is an alias or version, if Function has none.
	Qualifier string
	Payload   []byte
	// Trace is the value of an X-Amzn-Trace-Id header. Empty: a new one that is not sampled.
	Trace string
	// ClientContext is JSON that the function gets as it is.
	ClientContext string
}

// Invoke runs a function and waits for its answer. An error means that it was not run, or that ctx ended first: the
// invocation goes on then, as it does on AWS. What the function itself did wrong is in the result.
func (l *Lambda) Invoke(ctx context.Context, in Invocation) (Result, error) {
	if len(in.Payload) > MaxPayloadBytes {
		return Result{}, fault.New(fault.ResourceExhausted, "%d byte payload is too large for the RequestResponse invocation type (limit %d bytes)",
			len(in.Payload), MaxPayloadBytes)
	}
	if len(in.Payload) == 0 {
		in.Payload = []byte("{}")
	}
	p, arn, err := l.find(in)
	if err != nil {
		return Result{}, err
	}
	call := &invocation{id: newRequestID(), arn: arn, trace: in.Trace, clientContext: in.ClientContext, payload: in.Payload, done: make(chan struct{})}
	if call.trace == "" {
		call.trace = newTrace(time.Now())
	}
	i, err := l.take(p)
	if err != nil {
		return Result{}, err
	}
	answer := make(chan Result, 1)
	l.running.Go(func() { //nolint:contextcheck // it goes on when the caller has gone
		answer <- l.serve(p, i, call)
	})
	select {
	case r := <-answer:
		return r, nil
	case <-ctx.Done():
		return Result{}, ctx.Err()
	}
}

// find resolves a function's name and qualifier.
func (l *Lambda) find(in Invocation) (*pool, string, error) {
	name, qualifier := in.Function, in.Qualifier
	if rest, ok := strings.CutPrefix(name, l.options.arn("", "")); ok {
		name = rest
	}
	if n, q, ok := strings.Cut(name, ":"); ok {
		if qualifier != "" && qualifier != q {
			return nil, "", fault.New(fault.Invalid, "The derived qualifier from the function name does not match the specified qualifier.")
		}
		name, qualifier = n, q
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.functions[name]
	if p == nil || l.closed || qualifier != "" && qualifier != latest && qualifier != version && !slices.Contains(p.Aliases, qualifier) {
		return nil, "", fault.New(fault.NotFound, "Function not found: %s", l.options.arn(name, qualifier))
	}
	return p, l.options.arn(name, qualifier), nil
}

// take reserves a place: a process that is idle, or nil for one that has to be started.
func (l *Lambda) take(p *pool) (*instance, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(p.idle) > 0 {
		i := p.idle[len(p.idle)-1]
		p.idle = p.idle[:len(p.idle)-1]
		if i.alive() {
			p.busy++
			return i, nil
		}
		delete(p.all, i)
	}
	if p.busy >= p.MaxInstances {
		return nil, fmt.Errorf("invoke %s: all %d instances are busy: %w", p.Name, p.MaxInstances, ErrThrottled)
	}
	p.busy++
	return nil, nil //nolint:nilnil // no instance: one has to be started
}

// serve runs an invocation on a process, which it starts if there is none, and gives the process back.
func (l *Lambda) serve(p *pool, i *instance, call *invocation) Result {
	cold := time.Duration(0)
	if i == nil {
		var err error
		if i, err = l.boot(p, call.id); err != nil {
			l.give(p, i)
			var f *failedStart
			if errors.As(err, &f) {
				return f.result
			}
			return Result{FunctionError: unhandled, RequestID: call.id, Payload: errorPayload("Runtime.InvalidEntrypoint",
				fmt.Sprintf("RequestId: %s Error: %v", call.id, err))}
		}
		cold = i.cold
	}
	r := i.run(call)
	r.Cold = cold
	l.give(p, i)
	return r
}

// failedStart is the error of a process that did not come to its first poll.
type failedStart struct{ result Result }

func (f *failedStart) Error() string { return string(f.result.Payload) }

// boot starts a process and waits for its first poll.
func (l *Lambda) boot(p *pool, id string) (*instance, error) {
	i, err := startInstance(p.Function, l.options)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	p.all[i] = true
	l.mu.Unlock()
	l.reaping.Go(func() {
		<-i.exited
		l.mu.Lock()
		defer l.mu.Unlock()
		p.used += i.cmd.ProcessState.UserTime() + i.cmd.ProcessState.SystemTime()
	})
	if err := i.awaitReady(); err != nil {
		alive := i.alive()
		i.kill()
		i.mu.Lock()
		r := exitResult(id, i.exit, i.initError)
		i.mu.Unlock()
		if alive {
			r = timedOut(id, initLimit)
		}
		r.RequestID = id
		return i, &failedStart{r}
	}
	l.mu.Lock()
	p.cold = append(p.cold, i.cold)
	l.mu.Unlock()
	return i, nil
}

// give puts a process back, or forgets it if it is gone.
func (l *Lambda) give(p *pool, i *instance) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p.busy--
	switch {
	case i == nil:
	case i.alive():
		p.idle = append(p.idle, i)
	default:
		delete(p.all, i)
	}
}

// ColdStarts are the times from process start to first poll of all processes of a function so far.
func (l *Lambda) ColdStarts(function string) []time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.functions[function]
	if p == nil {
		return nil
	}
	return slices.Clone(p.cold)
}

// ProcessorTime is what the processes of a function used that have ended, in user and kernel mode. On a busy machine it says
// more than the clock.
func (l *Lambda) ProcessorTime(function string) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p := l.functions[function]; p != nil {
		return p.used
	}
	return 0
}

// Recycle ends the idle processes of a function, so that the next invocation is a cold start. It returns how many there
// were.
func (l *Lambda) Recycle(function string) int {
	l.mu.Lock()
	p := l.functions[function]
	var idle []*instance
	if p != nil {
		idle, p.idle = p.idle, nil
		for _, i := range idle {
			delete(p.all, i)
		}
	}
	l.mu.Unlock()
	for _, i := range idle {
		i.shutdown()
	}
	return len(idle)
}

// Close ends all processes as Lambda ends environments, after what they are doing. An error names the processes that asked
// for SIGTERM, got it, and did not end in time.
func (l *Lambda) Close() error {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.running.Wait()
	err := l.endAll()
	l.reaping.Wait()
	return err
}

func (l *Lambda) endAll() error {
	l.mu.Lock()
	var mu sync.Mutex
	var errs []error
	var ending sync.WaitGroup
	for _, p := range l.functions {
		for i := range p.all {
			if !i.alive() {
				continue
			}
			ending.Go(func() {
				if told, graceful := i.shutdown(); told && !graceful {
					mu.Lock()
					defer mu.Unlock()
					errs = append(errs, fmt.Errorf("a process of function %s did not end within %s of SIGTERM", i.function.Name, shutdownLimit))
				}
			})
		}
		p.all, p.idle = map[*instance]bool{}, nil
	}
	l.mu.Unlock()
	ending.Wait()
	return errors.Join(errs...)
}

// newRequestID is a random UUID.
func newRequestID() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails: crypto/rand ends the process instead
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	s := hex.EncodeToString(b)
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}

// newTrace is the header that Lambda makes for an invocation without one:
// https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-tracingheader
func newTrace(at time.Time) string {
	b := make([]byte, 20)
	_, _ = rand.Read(b) // never fails, as above
	return fmt.Sprintf("Root=1-%08x-%x;Parent=%x;Sampled=0", uint32(at.Unix()), b[:12], b[12:])
}

// Start starts a process of a function, waits for its first poll and keeps it for an invocation: a cold start and nothing
// else. It gives the time between the two.
func (l *Lambda) Start(function string) (time.Duration, error) {
	p, _, err := l.find(Invocation{Function: function})
	if err != nil {
		return 0, err
	}
	i, err := l.boot(p, "start")
	if err != nil {
		return 0, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	p.idle = append(p.idle, i)
	return i.cold, nil
}

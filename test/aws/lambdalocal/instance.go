package lambdalocal

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// instance is one process of a function with a Runtime API of its own.
type instance struct {
	function Function
	freeze   bool
	cmd      *exec.Cmd
	server   *http.Server
	started  time.Time
	// ready is closed by the first poll, exited when the process is gone and reaped.
	ready, exited chan struct{}
	// polled gets a token for each poll.
	polled chan struct{}
	work   chan *invocation

	mu         sync.Mutex
	cold       time.Duration // process start to first poll
	current    *invocation
	polling    bool
	frozen     bool
	extensions map[string]bool // by identifier: whether it has polled
	initError  []byte
	exit       error
	closing    bool
}

// invocation is one call on its way through a process.
type invocation struct {
	id, arn, trace, clientContext string
	payload                       []byte
	deadline                      time.Time
	once                          sync.Once
	result                        Result
	done                          chan struct{}
}

// finish sets what came of it; the first one counts.
func (i *invocation) finish(r Result) {
	i.once.Do(func() {
		r.RequestID = i.id
		i.result = r
		close(i.done)
	})
}

// startInstance starts a process. It does not wait for its first poll.
func startInstance(f Function, o Options) (*instance, error) {
	i := &instance{
		function: f, freeze: o.Freeze, ready: make(chan struct{}), exited: make(chan struct{}),
		polled: make(chan struct{}, 1), work: make(chan *invocation, 1), extensions: map[string]bool{},
	}
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fault.Wrap(fault.Internal, err, "start function %s: open a Runtime API", f.Name)
	}
	i.server = &http.Server{Handler: i.routes(), ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = i.server.Serve(l) }()
	i.cmd = exec.Command(f.Binary) //nolint:noctx // ended by its id, as Lambda does
	i.cmd.Dir = filepath.Dir(f.Binary)
	i.cmd.Stdout, i.cmd.Stderr = f.Log, f.Log
	i.cmd.Env = f.environment(o, l.Addr().String(), logStream(time.Now()))
	dieWithParent(i.cmd)
	i.started = time.Now()
	if err := i.cmd.Start(); err != nil {
		_ = i.server.Close()
		return nil, fault.Wrap(fault.Invalid, err, "start function %s: %s", f.Name, f.Binary)
	}
	go i.reap()
	return i, nil
}

// reap waits for the process to end, and ends with it what it was doing.
func (i *instance) reap() {
	err := i.cmd.Wait()
	i.mu.Lock()
	i.exit = err
	if i.current != nil {
		i.current.finish(exitResult(i.current.id, err, i.initError))
	}
	close(i.exited)
	i.mu.Unlock()
	_ = i.server.Close()
}

// awaitReady waits for the first poll.
func (i *instance) awaitReady() error {
	timer := time.NewTimer(initLimit)
	defer timer.Stop()
	select {
	case <-i.ready:
		return nil
	case <-i.exited:
		return errors.New("it ended before it polled")
	case <-timer.C:
		return fmt.Errorf("it did not poll within %s", initLimit)
	}
}

// run hands one invocation to the process and waits for its end, and until the process polls again or is gone: an
// invocation lasts until then (https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html).
func (i *instance) run(call *invocation) Result {
	i.mu.Lock()
	select {
	case <-i.polled:
	default:
	}
	call.deadline = time.Now().Add(i.function.Timeout)
	i.current = call
	i.thaw()
	i.mu.Unlock()
	i.work <- call
	timer := time.NewTimer(i.function.Timeout)
	defer timer.Stop()
	select {
	case <-i.polled:
		// It asks for the next invocation: either it answered, or it never will.
		call.finish(Result{FunctionError: unhandled, Payload: errorPayload(ErrorExit, "RequestId: "+call.id+" Error: the runtime did not answer")})
	case <-i.exited: // reap finished the call
	case <-timer.C:
		call.finish(timedOut(call.id, i.function.Timeout))
		i.kill()
	}
	i.mu.Lock()
	i.current = nil
	// A process that ended before it got the call left no result.
	call.finish(exitResult(call.id, i.exit, i.initError))
	i.mu.Unlock()
	return call.result
}

// alive says whether the process can be used again.
func (i *instance) alive() bool {
	select {
	case <-i.exited:
		return false
	default:
		return true
	}
}

// settle stops the process if it waits for work and so do its extensions. Its lock is held.
func (i *instance) settle() {
	if !i.freeze || !i.polling || i.frozen || i.closing {
		return
	}
	for _, polled := range i.extensions {
		if !polled {
			return
		}
	}
	i.frozen = i.cmd.Process.Signal(syscall.SIGSTOP) == nil
}

// thaw lets the process go on. Its lock is held.
func (i *instance) thaw() {
	i.polling = false
	if i.frozen {
		_ = i.cmd.Process.Signal(syscall.SIGCONT)
		i.frozen = false
	}
}

// kill ends the process at once and waits until it is gone.
func (i *instance) kill() {
	_ = i.cmd.Process.Kill() // a process that is gone already is what is wanted
	<-i.exited
}

// shutdown ends the process as Lambda ends an environment: SIGTERM if it registered an extension and so asked for it, and
// SIGKILL when its time is over. It says whether the process ended by itself, which one that was not told cannot.
func (i *instance) shutdown() (told, graceful bool) {
	i.mu.Lock()
	i.closing = true
	i.thaw()
	told = len(i.extensions) > 0
	i.mu.Unlock()
	if told && i.cmd.Process.Signal(syscall.SIGTERM) == nil {
		timer := time.NewTimer(shutdownLimit)
		defer timer.Stop()
		select {
		case <-i.exited:
			return told, true
		case <-timer.C:
		}
	}
	i.kill()
	return told, false
}

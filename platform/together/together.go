// Package together runs parts of one piece of work at the same time without losing what protects whoever waits for them: a panic in a
// goroutine of its own ends the process, with all other tenants' work, however well the waiting goroutine is guarded.
package together

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
)

// Group runs functions at the same time and waits for them. The zero value has no limit.
type Group struct {
	slots  chan struct{}
	all    sync.WaitGroup
	once   sync.Once
	caught *Panic
}

// Limit is a group that runs at most n functions at the same time; n is at least 1.
func Limit(n int) *Group { return &Group{slots: make(chan struct{}, n)} }

// Go runs f in a goroutine. Where the limit is reached it waits first.
func (g *Group) Go(f func()) {
	if g.slots != nil {
		g.slots <- struct{}{}
	}
	g.all.Go(func() {
		defer func() {
			if g.slots != nil {
				<-g.slots
			}
		}()
		defer func() {
			if value := recover(); value != nil {
				g.once.Do(func() { g.caught = Caught(value) })
			}
		}()
		f()
	})
}

// Wait waits until all have ended. If one of them panicked, it panics with a [*Panic], the first one's.
func (g *Group) Wait() {
	g.all.Wait()
	if g.caught != nil {
		panic(g.caught)
	}
}

// Safely is f with a panic as its error, a [*Panic]: for golang.org/x/sync/errgroup, which lets panics end the process.
func Safely(f func() error) func() error {
	return func() (err error) {
		defer func() {
			if value := recover(); value != nil {
				err = Caught(value)
			}
		}()
		return f()
	}
}

// Panic is a panic that was caught in another goroutine.
type Panic struct {
	Value any
	// Stack is that of the goroutine that panicked.
	Stack []byte
}

// Caught is what recover returned, with the stack of the goroutine that panicked. It is called by the deferred function.
func Caught(value any) *Panic {
	if p, ok := value.(*Panic); ok { // of a group within a group
		return p
	}
	return &Panic{Value: value, Stack: debug.Stack()}
}

// Error is for the log: the stack, and the value only where the runtime made it, because a value may hold a request.
func (p *Panic) Error() string { return "panic: " + p.Text() + "\n" + string(p.Stack) }

// Text is the value if the runtime made it, or its type.
func (p *Panic) Text() string {
	if err, ok := p.Value.(runtime.Error); ok {
		return err.Error()
	}
	return fmt.Sprintf("a value of type %T", p.Value)
}

// Unwrap is the value where it is an error.
func (p *Panic) Unwrap() error {
	err, _ := p.Value.(error)
	return err
}

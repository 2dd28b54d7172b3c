package proxied

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"time"
)

// Limits of a process and of each that it starts.
type Limits struct {
	// Memory is the address space of each process, Data what each may write to; 0: none. A browser reserves more addresses than any
	// machine has memory for, so that only Data and Resident mean something to it.
	Memory, Data uint64
	// Resident bounds the memory of the whole process group; 0: none.
	Resident uint64
	// FileBytes is the largest file, Files the number of descriptors.
	FileBytes, Files uint64
	// Grace is how long pipes are waited for that somebody else keeps open.
	Grace time.Duration
}

// Command is one run of a program.
type Command struct {
	Program string
	Args    []string
	// Env is all of its environment.
	Env []string
	Dir string
}

// Run runs the program to its end, the context's or its limits', and kills what is left of it. What it says on its standard output
// goes to out; the end of what it complains of is in the error. The error is nil where it ended by itself without one.
func Run(ctx context.Context, l Limits, c Command, out io.Writer) error {
	ended := make(chan error)
	go func() {
		// The kernel's promise to kill the program with its parent (PR_SET_PDEATHSIG) is about the thread that started it.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		ended <- runHere(ctx, l, c, out)
	}()
	return <-ended
}

func runHere(ctx context.Context, l Limits, c Command, out io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	complaint := &tail{most: 2048}
	cmd := exec.CommandContext(ctx, c.Program, c.Args...)
	cmd.Env, cmd.Dir = c.Env, c.Dir
	cmd.Stdout, cmd.Stderr = out, complaint
	// Children that keep the pipes open are not waited for longer than this.
	cmd.WaitDelay = l.Grace
	isolate(cmd)
	cmd.Cancel = func() error { return killAll(cmd) }
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	limited := restrict(ctx, cmd, l)
	if limited != nil {
		_ = killAll(cmd)
	}
	watched, stop := watch(cmd, l.Resident)
	err := cmd.Wait()
	stop()
	_ = killAll(cmd)
	switch {
	case limited != nil:
		return fmt.Errorf("set limits: %w", limited)
	case watched.Load():
		return fmt.Errorf("it took more than %d MiB of memory and was ended", l.Resident>>20)
	case errors.Is(err, exec.ErrWaitDelay):
		return errors.New("it left processes behind, which were ended")
	case err != nil && len(complaint.kept) > 0:
		return fmt.Errorf("%w: %s", err, complaint.kept)
	}
	return err
}

// tail keeps the last bytes written to it.
type tail struct {
	most int
	kept []byte
}

// Write never fails.
func (t *tail) Write(b []byte) (int, error) {
	t.kept = append(t.kept, b...)
	if extra := len(t.kept) - t.most; extra > 0 {
		t.kept = append(t.kept[:0], t.kept[extra:]...)
	}
	return len(b), nil
}

package vuln

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"time"
)

// limits bound one run of the engine.
type limits struct {
	// outputBytes, lines and lineBytes bound what is read of what it writes; events are kept.
	outputBytes int64
	lines       int
	lineBytes   int
	events      int
	// memory, fileBytes and files are limits of the process and of each that it starts: address space, largest file, descriptors.
	memory, fileBytes, files uint64
	// grace is how long pipes are waited for that somebody else keeps open.
	grace time.Duration
}

// goMemory is told to the engine's own runtime (GOMEMLIMIT): below the address space that it may have, of which Go reserves more
// than it uses.
const goMemory = 1 << 30

var defaultLimits = limits{
	outputBytes: 32 << 20, lines: 20_000, lineBytes: 256 << 10, events: 1000,
	memory: 8 << 30, fileBytes: 256 << 20, files: 512, grace: time.Second,
}

// run runs the engine to its end, the context's or its bounds', and kills what is left of it. The error is nil where it ended by
// itself without one.
func run(ctx context.Context, l limits, c *command, out *output) error {
	ended := make(chan error)
	go func() {
		// The kernel's promise to kill the engine with its parent (PR_SET_PDEATHSIG) is about the thread that started it.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		ended <- runHere(ctx, l, c, out)
	}()
	return <-ended
}

func runHere(ctx context.Context, l limits, c *command, out *output) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	out.stop = cancel
	complaint := &tail{most: 2048}
	cmd := exec.CommandContext(ctx, c.program, c.args...)
	cmd.Env, cmd.Dir = c.env, c.dir
	cmd.Stdout, cmd.Stderr = out, complaint
	// Children that keep the pipes open are not waited for longer than this.
	cmd.WaitDelay = l.grace
	isolate(cmd)
	cmd.Cancel = func() error { return killAll(cmd) }
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	limited := restrict(ctx, cmd, l)
	if limited != nil {
		_ = killAll(cmd)
	}
	err := cmd.Wait()
	_ = killAll(cmd)
	out.end()
	switch {
	case limited != nil:
		return fmt.Errorf("set limits: %w", limited)
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

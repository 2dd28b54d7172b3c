//go:build !linux

package proxied

import (
	"context"
	"errors"
	"os/exec"
	"sync/atomic"
)

func isolate(*exec.Cmd) {}

func killAll(cmd *exec.Cmd) error {
	if cmd.Process == nil {
		return nil
	}
	return cmd.Process.Kill()
}

// restrict refuses: without limits and a process group the program is not run.
func restrict(context.Context, *exec.Cmd, Limits) error {
	return errors.New("this system has no limits for another process; run engines on Linux")
}

// watch does nothing: restrict has refused.
func watch(*exec.Cmd, uint64) (over *atomic.Bool, stop func()) { return new(atomic.Bool), func() {} }

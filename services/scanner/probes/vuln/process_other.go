//go:build !linux

package vuln

import (
	"context"
	"errors"
	"os/exec"
)

func isolate(*exec.Cmd) {}

func killAll(cmd *exec.Cmd) error {
	if cmd.Process == nil {
		return nil
	}
	return cmd.Process.Kill()
}

// restrict refuses: without limits and a process group the engine is not run.
func restrict(context.Context, *exec.Cmd, limits) error {
	return errors.New("this system has no limits for another process; run the vuln scan type on Linux")
}

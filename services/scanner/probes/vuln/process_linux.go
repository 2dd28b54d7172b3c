package vuln

import (
	"context"
	"math"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// isolate makes the engine the head of a process group of its own, killed when this process dies however it does.
func isolate(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// killAll kills the process group. A process that left the group is not reached, but has the limits of restrict.
func killAll(cmd *exec.Cmd) error {
	if cmd.Process == nil {
		return nil
	}
	return unix.Kill(-cmd.Process.Pid, unix.SIGKILL)
}

// restrict sets the limits of a process that has just begun; all that it starts has them too. There is no way to set them before
// it begins but another program in between; what it does in these microseconds is done without.
func restrict(ctx context.Context, cmd *exec.Cmd, l limits) error {
	// Processor seconds: what four processors do in the time that is left.
	seconds := uint64(3600)
	if deadline, ok := ctx.Deadline(); ok {
		seconds = uint64(math.Ceil(4*time.Until(deadline).Seconds())) + 1
	}
	for resource, most := range map[int]uint64{
		unix.RLIMIT_AS: l.memory, unix.RLIMIT_FSIZE: l.fileBytes, unix.RLIMIT_NOFILE: l.files, unix.RLIMIT_CORE: 0, unix.RLIMIT_CPU: seconds,
	} {
		if err := unix.Prlimit(cmd.Process.Pid, resource, &unix.Rlimit{Cur: most, Max: most}, nil); err != nil && err != unix.ESRCH {
			return err
		}
	}
	return nil
}

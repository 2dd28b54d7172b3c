package proxied

import (
	"context"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/riskprofiler/riskprofiler/platform/together"
)

// isolate makes the program the head of a process group of its own, killed when this process dies however it does.
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
func restrict(ctx context.Context, cmd *exec.Cmd, l Limits) error {
	// Processor seconds: what four processors do in the time that is left.
	seconds := uint64(3600)
	if deadline, ok := ctx.Deadline(); ok {
		seconds = uint64(math.Ceil(4*max(time.Until(deadline), 0).Seconds())) + 1
	}
	all := map[int]uint64{unix.RLIMIT_FSIZE: l.FileBytes, unix.RLIMIT_NOFILE: l.Files, unix.RLIMIT_CORE: 0, unix.RLIMIT_CPU: seconds}
	if l.Memory > 0 {
		all[unix.RLIMIT_AS] = l.Memory
	}
	if l.Data > 0 {
		all[unix.RLIMIT_DATA] = l.Data
	}
	for resource, most := range all {
		if err := unix.Prlimit(cmd.Process.Pid, resource, &unix.Rlimit{Cur: most, Max: most}, nil); err != nil && err != unix.ESRCH {
			return err
		}
	}
	return nil
}

// every is how often the memory of a process group is looked at.
const every = 100 * time.Millisecond

// watch kills the process group when it takes more memory than most, which the flag tells; 0: nobody looks. stop ends the watch.
func watch(cmd *exec.Cmd, most uint64) (over *atomic.Bool, stop func()) {
	over = new(atomic.Bool)
	if most == 0 {
		return over, func() {}
	}
	done := make(chan struct{})
	var all together.Group
	all.Go(func() {
		ticks := time.NewTicker(every)
		defer ticks.Stop()
		for {
			select {
			case <-done:
				return
			case <-ticks.C:
				if resident(cmd.Process.Pid) > most {
					over.Store(true)
					_ = killAll(cmd)
				}
			}
		}
	})
	return over, func() {
		close(done)
		all.Wait()
	}
}

// resident is the memory of a process group in bytes: fields 5 (group) and 24 (pages) of proc_pid_stat(5). Pages that processes share
// are counted for each.
func resident(group int) uint64 {
	names, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0
	}
	var pages uint64
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			continue // it ended
		}
		// The second field is the program's name in brackets, which may hold spaces and brackets.
		fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
		if len(fields) < 22 || fields[2] != strconv.Itoa(group) {
			continue
		}
		if n, err := strconv.ParseUint(fields[21], 10, 64); err == nil {
			pages += n
		}
	}
	return pages * uint64(os.Getpagesize())
}

package lambdalocal

import (
	"os/exec"
	"syscall"
)

// dieWithParent ends the process when this one dies without having ended it: a frozen process would stay for ever.
func dieWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}

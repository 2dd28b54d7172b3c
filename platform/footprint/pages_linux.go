package footprint

import (
	"bufio"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// used is the processor time that this process has used, its threads together.
func used() (time.Duration, bool) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0, false
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), true
}

// letGo unmaps the binary's unchanged pages (madvise(2), MADV_DONTNEED: "repopulating the memory contents from the up-to-date
// contents of the underlying mapped file"). It is an optimisation: where the system does not show or allow it, nothing is done.
func letGo() {
	executable, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return
	}
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		return
	}
	defer func() { _ = f.Close() }()
	for _, m := range unchanged(f, executable) {
		_, _, _ = syscall.Syscall(syscall.SYS_MADVISE, m.start, m.end-m.start, syscall.MADV_DONTNEED)
	}
}

// mapping is a range of addresses.
type mapping struct{ start, end uintptr }

// unchanged are the mappings of a file that a process only reads and that are equal to the file in every page: one that was changed
// (by relocation or a debugger's breakpoint) has anonymous pages, whose content would be lost. The form is that of
// /proc/PID/smaps, proc_pid_smaps(5).
func unchanged(smaps io.Reader, file string) []mapping {
	var found []mapping
	var current *mapping
	lines := bufio.NewScanner(smaps)
	for lines.Scan() {
		line := lines.Text()
		if m, path, ok := header(line); ok {
			current = nil
			if m != nil && path == file {
				current = m
			}
			continue
		}
		if size, ok := strings.CutPrefix(line, "Anonymous:"); ok && current != nil {
			if strings.TrimSpace(size) == "0 kB" {
				found = append(found, *current)
			}
			current = nil
		}
	}
	return found
}

// header reads the first line of a mapping, as of
// "00400000-02180000 r-xp 00000000 fe:00 1234    /usr/bin/riskprofiler". The mapping is nil where it may be written or is shared.
func header(line string) (m *mapping, path string, ok bool) {
	addresses, rest, _ := strings.Cut(line, " ")
	from, to, isRange := strings.Cut(addresses, "-")
	if !isRange {
		return nil, "", false
	}
	start, err := strconv.ParseUint(from, 16, 64)
	if err != nil {
		return nil, "", false
	}
	end, err := strconv.ParseUint(to, 16, 64)
	if err != nil || end <= start {
		return nil, "", false
	}
	if !strings.HasPrefix(rest, "r-xp ") && !strings.HasPrefix(rest, "r--p ") {
		return nil, "", true
	}
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		path = rest[i:]
	}
	return &mapping{start: uintptr(start), end: uintptr(end)}, path, true
}

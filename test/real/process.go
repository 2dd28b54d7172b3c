//go:build realservers

package real

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// startTimeout is how long a server may take to listen: long, because the machine may be busy with everything else.
const startTimeout = time.Minute

// processes are those that run, to be ended by Main.
var processes struct {
	sync.Mutex
	running []*exec.Cmd
	dirs    []string
}

// Main runs the tests of the package and then ends every server: TestMain calls it and nothing else.
func Main(m *testing.M) int {
	code := m.Run()
	processes.Lock()
	defer processes.Unlock()
	for _, cmd := range processes.running {
		// The group, because servers have workers. The group was made by us, and its leader is not waited for yet.
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
		gone := time.AfterFunc(10*time.Second, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
		_ = cmd.Wait()
		gone.Stop()
	}
	for _, dir := range processes.dirs {
		_ = os.RemoveAll(dir)
	}
	return code
}

// Dir makes a folder that servers running as other users can reach; Main removes it.
func Dir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "realservers-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil { // servers that give up root must reach it
		t.Fatal(err)
	}
	processes.Lock()
	processes.dirs = append(processes.dirs, dir)
	processes.Unlock()
	return dir
}

// File writes a file below dir and returns its name.
func File(t testing.TB, dir, name, content string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { // so here
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil { // and read it
		t.Fatal(err)
	}
	return path
}

// Run starts a program in the foreground, in a process group of its own, with its output in dir/log, and waits until every
// address in listens ("127.0.0.1:80", or "127.0.0.1:161/udp") is taken. Main ends it.
func Run(t testing.TB, dir string, listens []string, program string, args ...string) {
	t.Helper()
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	cmd := exec.Command(find(t, program), args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, log, log
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", program, err)
	}
	processes.Lock()
	processes.running = append(processes.running, cmd)
	processes.Unlock()
	for _, listen := range listens {
		if err := waitFor(listen, cmd.Process.Pid); err != nil {
			said, _ := os.ReadFile(log.Name())
			t.Fatalf("%s: %v; it said:\n%s", program, err, tail(said))
		}
	}
}

// Say waits until the server in dir has said text in its log: for those that listen before they know what to answer.
func Say(t testing.TB, dir, text string) {
	t.Helper()
	for began := time.Now(); time.Since(began) < startTimeout; time.Sleep(20 * time.Millisecond) {
		if said, err := os.ReadFile(filepath.Join(dir, "log")); err == nil && strings.Contains(string(said), text) {
			return
		}
	}
	t.Fatalf("the server in %s has not said %q after %v", dir, text, startTimeout)
}

// Do runs a program to its end; the test fails where it does.
func Do(t testing.TB, program string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, find(t, program), args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, tail(out))
	}
	return string(out)
}

// find looks where Debian puts programs, also those that are not in the path of a user.
func find(t testing.TB, program string) string {
	t.Helper()
	if path, err := exec.LookPath(program); err == nil {
		return path
	}
	for _, dir := range []string{"/usr/sbin", "/sbin", "/usr/bin"} {
		if path := filepath.Join(dir, program); executable(path) {
			return path
		}
	}
	t.Fatalf("%s is not installed: run tools/realservers.sh as root", program)
	return ""
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

func tail(text []byte) string {
	if len(text) > 4000 {
		text = text[len(text)-4000:]
	}
	return string(text)
}

// errNotYet says that nobody listens yet.
var errNotYet = errors.New("nobody listens there")

// waitFor asks the kernel's own table, so that servers see no connection which is not a scan's.
func waitFor(listen string, pid int) error {
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		err := listening(listen)
		if err == nil {
			return nil
		}
		if !errors.Is(err, errNotYet) {
			return err
		}
		if state, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); errors.Is(err, fs.ErrNotExist) || strings.Contains(string(state), ") Z ") {
			return fmt.Errorf("it ended before it listened on %s", listen)
		}
		if time.Since(began) > startTimeout {
			return fmt.Errorf("it does not listen on %s after %v", listen, startTimeout)
		}
	}
}

// listening looks the address up in /proc/net (proc(5)): local address in the order of the machine, port, state 0A (listen)
// for TCP, 07 for UDP.
func listening(listen string) error {
	file, state := "/proc/net/tcp", "0A"
	address, udp := strings.CutSuffix(listen, "/udp")
	if udp {
		file, state = "/proc/net/udp", "07"
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return err
	}
	ip := net.ParseIP(host).To4()
	if ip == nil {
		return fmt.Errorf("%q is no IPv4 address", host)
	}
	local := fmt.Sprintf("%02X%02X%02X%02X:%04X", ip[3], ip[2], ip[1], ip[0], number)
	table, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(table)) {
		if fields := strings.Fields(line); len(fields) > 3 && fields[1] == local && fields[3] == state {
			return nil
		}
	}
	return errNotYet
}

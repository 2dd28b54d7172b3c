package main

import (
	"bytes"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// asCommand in the environment makes the test's own binary the command: what it prints and how it ends are the real thing.
const asCommand = "RISKPROFILER_TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		os.Exit(run(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// child is the command with arguments, in a directory of its own and without settings from this process's environment.
func child(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	c := exec.CommandContext(t.Context(), os.Args[0], args...)
	c.Dir = t.TempDir()
	c.Env = []string{asCommand + "=1", "PATH=" + os.Getenv("PATH"), "HOME=" + c.Dir, "TMPDIR=" + c.Dir}
	return c
}

// result is how a command ended.
type result struct {
	code           int
	stdout, stderr string
}

func execute(t *testing.T, c *exec.Cmd) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return result{c.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// inside is what a line for people does not have: types of Go, stacks, names of temporary files.
var inside = regexp.MustCompile(`goroutine |panic|\.go:\d|\*[a-z]+\.[A-Z]|time\.Duration|/\.riskprofiler-\d|%!|<nil>|rpc error|desc =`)

// checkLine checks that a failure is one line with all the words in it.
func checkLine(t *testing.T, line string, words ...string) {
	t.Helper()
	if !strings.HasPrefix(line, "riskprofiler: ") || strings.Count(line, "\n") != 1 || !strings.HasSuffix(line, "\n") {
		t.Errorf("stderr is not one line of the command: %q", line)
	}
	for _, w := range words {
		if !strings.Contains(line, w) {
			t.Errorf("the line does not say %q: %s", w, line)
		}
	}
	if found := inside.FindString(line); found != "" {
		t.Errorf("the line shows the inside (%s): %s", found, line)
	}
	if len(line) > 500 {
		t.Errorf("the line has %d bytes: %s", len(line), line)
	}
}

// TestUsage: what is wrong with a command is one line that says what to do, before anything is done.
func TestUsage(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	busy, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = busy.Close() }()
	garbage := func(name string) string {
		data := t.TempDir()
		if err := os.WriteFile(filepath.Join(data, name), bytes.Repeat([]byte("garbage!"), 1024), 0o600); err != nil {
			t.Fatal(err)
		}
		return data
	}
	many := append([]string{"assess"}, strings.Split(strings.Repeat("a.example,", maxTargets)+"b.example", ",")...)
	for _, c := range []struct {
		name string
		args []string
		says []string
	}{
		{"no target", []string{"assess"}, []string{"at least one target", "assess example.com"}},
		{"empty target", []string{"assess", ""}, []string{"empty", "give a name"}},
		{"malformed target", []string{"assess", "not a name"}, []string{`"not a name"`, "give a name"}},
		{"malformed URL", []string{"assess", "http://[::bad"}, []string{"not a URL"}},
		{"terminal escapes in a target", []string{"assess", "a\x1b[31m\nb"}, []string{"give a name"}},
		{"too many targets", many, []string{"257 targets", "256"}},
		{"unknown profile", []string{"assess", "a.example", "--profile", "wild"}, []string{"--profile", `"wild"`, "standard"}},
		{"unknown scan type", []string{"assess", "a.example", "--scan-types", "tls,smell"}, []string{"--scan-types", `"smell"`, "http"}},
		{"scan type that is no scan", []string{"assess", "a.example", "--scan-types", "unspecified"}, []string{"--scan-types"}},
		{"port too large", []string{"assess", "a.example", "--ports", "99999"}, []string{"--ports", "65535", "top100"}},
		{"no ports", []string{"assess", "a.example", "--ports", "80-x"}, []string{"--ports", "x", "is not a port"}},
		{"unknown output", []string{"assess", "a.example", "--output", "xml"}, []string{"--output", `"xml"`, "sarif"}},
		{"unknown severity", []string{"assess", "a.example", "--fail-on", "bad"}, []string{"--fail-on", "critical"}},
		{"output file in no directory", []string{"assess", "a.example", "--output-file", filepath.Join(dir, "none", "x")}, []string{"none/x", "no such file", "--output-file"}},
		{"output file is a directory", []string{"assess", "a.example", "--output-file", dir}, []string{dir, "directory", "--output-file"}},
		{"report file in no directory", []string{"assess", "a.example", "--report-file", filepath.Join(dir, "none", "x")}, []string{"none/x", "--report-file"}},
		{"report file below a file", []string{"assess", "a.example", "--report-file", filepath.Join(file, "x")}, []string{"file/x", "--report-file"}},
		{"data directory is a file", []string{"assess", "a.example", "--data", file}, []string{file, "not a directory", "--data"}},
		{"data directory below a file", []string{"up", "--listen", "127.0.0.1:0", "--data", filepath.Join(file, "x")}, []string{"file/x", "--data"}},
		{"no database of tables", []string{"up", "--listen", "127.0.0.1:0", "--data", garbage("tables.db")}, []string{"damaged", "tables.db", "backup"}},
		{"no database of queues", []string{"assess", "a.example", "--data", garbage("queues.db")}, []string{"damaged", "queues.db", "backup"}},
		{"malformed resolver", []string{"assess", "a.example", "--resolver", "nonsense"}, []string{"--resolver", `"nonsense"`, ":53"}},
		{"busy port", []string{"up", "--listen", busy.Addr().String(), "--data", t.TempDir()}, []string{busy.Addr().String(), "already in use", "--listen"}},
		{"malformed listen address", []string{"up", "--listen", "nonsense", "--data", t.TempDir()}, []string{"nonsense", "missing port", "--listen"}},
		{"argument of up", []string{"up", "more"}, []string{`"more"`, "up --help"}},
		{"lab on no network", []string{"lab", "--network", "here"}, []string{"--network", "127.0.0.0/24"}},
		{"lab outside of loopback", []string{"lab", "--network", "192.0.2.0/24"}, []string{"192.0.2.0/24", "127.0.0.0/8"}},
		{"unknown flag", []string{"assess", "a.example", "--colour"}, []string{"--colour", "assess --help"}},
		{"flag without value", []string{"assess", "a.example", "--ports"}, []string{"--ports", "assess --help"}},
		{"unknown command", []string{"asess"}, []string{`"asess"`, "--help"}},
		{"unknown command of a family", []string{"risks", "smell", "--key", "x"}, []string{`"smell"`, "risks --help"}},
		{"missing argument", []string{"assets", "add"}, []string{"at least 1 arg", "assets add --help"}},
		{"no key", []string{"risks", "list"}, []string{"RISKPROFILER_API_KEY", "riskprofiler up"}},
		{"nobody answers", []string{"risks", "list", "--key", "x", "--server", "127.0.0.1:1"}, []string{"127.0.0.1:1", "refused", "--server"}},
		{"unknown output of a list", []string{"risks", "list", "--key", "x", "--output", "xml"}, []string{"--output", "json"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := execute(t, child(t, c.args...))
			if r.code != exitUsage || r.stdout != "" {
				t.Errorf("exit code %d, stdout %q", r.code, r.stdout)
			}
			checkLine(t, r.stderr, c.says...)
		})
	}
}

// TestSettings: a wrong setting is named by its environment variable.
func TestSettings(t *testing.T) {
	for setting, value := range map[string]string{
		"RISKPROFILER_DRAIN": "soon", "RISKPROFILER_KEY_RATE": "fast", "RISKPROFILER_PEERS": "ingest",
	} {
		c := child(t, "up", "--listen", "127.0.0.1:0")
		c.Env = append(c.Env, setting+"="+value)
		r := execute(t, c)
		if r.code != exitUsage || r.stdout != "" {
			t.Errorf("%s: exit code %d, stdout %q", setting, r.code, r.stdout)
		}
		checkLine(t, r.stderr, setting, value)
	}
}

// TestNotPermitted: a target that may not be looked at leaves the assessment incomplete, and the line names the flag.
func TestNotPermitted(t *testing.T) {
	r := execute(t, child(t, "assess", "127.0.0.1", "--scan-types", "port", "--ports", "1"))
	if r.code != exitIncomplete {
		t.Errorf("exit code %d", r.code)
	}
	lines := strings.SplitAfter(r.stderr, "\n")
	var ours []string
	for _, l := range lines {
		if strings.HasPrefix(l, "riskprofiler: ") {
			ours = append(ours, l)
		}
	}
	if len(ours) != 1 {
		t.Fatalf("stderr: %s", r.stderr)
	}
	checkLine(t, ours[0], "127.0.0.1", "refused", "--allow-private")
	if !strings.Contains(r.stdout, "not permitted") {
		t.Errorf("the report does not say that it was not permitted: %s", r.stdout)
	}
}

// TestOutputKept: a run that fails leaves an earlier output as it was, and nothing beside it.
func TestOutputKept(t *testing.T) {
	c := child(t, "assess", "a.example", "--output-file", "risks.txt", "--data", "risks.txt")
	path := filepath.Join(c.Dir, "risks.txt")
	if err := os.WriteFile(path, []byte("earlier"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := execute(t, c); r.code != exitUsage {
		t.Errorf("exit code %d: %s", r.code, r.stderr)
	}
	entries, err := os.ReadDir(c.Dir)
	if err != nil {
		t.Fatal(err)
	}
	if raw, err := os.ReadFile(path); len(entries) != 1 || err != nil || string(raw) != "earlier" {
		t.Errorf("%d files, output %q, %v", len(entries), raw, err)
	}
}

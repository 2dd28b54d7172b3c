package consent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// commandsOf are the commands in the blocks of a page.
func commandsOf(t *testing.T, page string) []string {
	t.Helper()
	raw, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	shell := false
	for line := range strings.Lines(string(raw)) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "```"):
			shell = line == "```sh"
		case shell && strings.HasPrefix(line, "riskprofiler "):
			out = append(out, line)
		}
	}
	return out
}

// TestDocumentedCommands: the commands of docs/security.md work in the order in which they stand there.
func TestDocumentedCommands(t *testing.T) {
	w := start(t)
	bin := filepath.Join(t.TempDir(), "riskprofiler")
	if out, err := exec.Command("go", "build", "-o", bin, "../../cmd/riskprofiler").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	commands := commandsOf(t, "../../docs/security.md")
	if len(commands) < 15 {
		t.Fatalf("%d commands in the page: %q", len(commands), commands)
	}
	run := func(line string, more ...string) (string, error) {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		// The shell takes the quotes apart, as it does for whoever copies the line.
		c := exec.CommandContext(ctx, "sh", "-c", strings.Join(append([]string{line}, more...), " "))
		c.Env = append(os.Environ(), "PATH="+filepath.Dir(bin)+":"+os.Getenv("PATH"), "RISKPROFILER_SERVER="+w.platform.Address, "RISKPROFILER_API_KEY="+w.platform.Key)
		var stderr bytes.Buffer
		c.Stderr = &stderr
		out, err := c.Output()
		if err != nil {
			err = errors.Join(err, errors.New(stderr.String()))
		}
		return string(out), err
	}
	for _, line := range commands {
		out, err := run(line)
		if err != nil {
			t.Errorf("%s: %v", line, err)
		}
		if strings.Contains(line, " prove example.com") { // do what it says
			var p struct{ Location, Token string }
			if err := json.Unmarshal([]byte(out), &p); err != nil || p.Token == "" {
				t.Fatalf("%s: %v: %s", line, err, out)
			}
			w.zone.set(p.Location, "TXT "+p.Token)
		}
	}
	out, err := run("riskprofiler stops --output json")
	if err != nil || out != "" {
		t.Errorf("what was stopped is resumed: %q %v", out, err)
	}
	if out, err := run("riskprofiler assets authorizations --output json"); err != nil || strings.Count(out, "\n") != 3 {
		t.Errorf("the record has a proof, an attestation and a grant: %v\n%s", err, out)
	}
	for line, says := range map[string]string{
		"riskprofiler stop":                                                          "--all",
		"riskprofiler stop a.example --all":                                          "--all",
		"riskprofiler stop a.example:443":                                            "port",
		"riskprofiler resume a.example":                                              "not stopped",
		"riskprofiler assets verify nobody.test":                                     "does not exist",
		"riskprofiler assets grant example.com --clearance much --reference x":       "intrusive",
		"riskprofiler assets attest example.com --reason x --until tomorrow":         "2027-01-31",
		"riskprofiler assets verify aws:123456789012":                                "",
		"riskprofiler assessments start www.unproven.example.net --profile standard": "prove ownership",
	} {
		if _, err := run(line); err == nil || !strings.Contains(err.Error(), says) || strings.Count(err.Error(), "\n") > 2 {
			t.Errorf("%s: %v", line, err)
		}
	}
}

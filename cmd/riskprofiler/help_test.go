package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// TestHelp: every command explains itself and exits with 0.
func TestHelp(t *testing.T) {
	var visit func(c *cobra.Command, path []string)
	visit = func(c *cobra.Command, path []string) {
		if c.Short == "" {
			t.Errorf("%v has no short help", path)
		}
		root := newRoot()
		var out strings.Builder
		root.SetOut(&out)
		root.SetErr(&out)
		root.SetArgs(append(append([]string{}, path...), "--help"))
		if err := root.ExecuteContext(t.Context()); err != nil {
			t.Errorf("%v --help: %v", path, err)
		}
		if !strings.Contains(out.String(), c.Short) && !strings.Contains(out.String(), c.Long) || !strings.Contains(out.String(), "Usage:") {
			t.Errorf("%v --help: %q", path, out.String())
		}
		for _, sub := range c.Commands() {
			visit(sub, append(append([]string{}, path...), sub.Name()))
		}
	}
	visit(newRoot(), nil)

	for _, args := range [][]string{{"--help"}, {"help", "assess"}, {"assess", "--help"}, {"completion", "bash"}} {
		if r := execute(t, child(t, args...)); r.code != exitDone || r.stdout == "" || r.stderr != "" {
			t.Errorf("%v: exit code %d, %d bytes, stderr %q", args, r.code, len(r.stdout), r.stderr)
		}
	}
	bash := exec.CommandContext(t.Context(), "bash", "-n")
	bash.Stdin = strings.NewReader(execute(t, child(t, "completion", "bash")).stdout)
	if out, err := bash.CombinedOutput(); err != nil {
		t.Errorf("bash does not take the completion: %v: %s", err, out)
	}
}

var word = regexp.MustCompile(`"[^"]*"|[^\s"]+`)

// documented are the command lines in the ```sh blocks of the documents, by document.
func documented(t *testing.T) map[string][]string {
	t.Helper()
	lines := map[string][]string{}
	documents, err := filepath.Glob("../../*.md")
	if err != nil {
		t.Fatal(err)
	}
	more, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range append(documents, more...) {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		inside := false
		for line := range strings.SplitSeq(strings.ReplaceAll(string(raw), "\\\n", " "), "\n") {
			switch {
			case strings.HasPrefix(line, "```"):
				inside = strings.TrimSpace(line) == "```sh"
			case inside && strings.TrimSpace(line) != "" && !strings.HasPrefix(line, "#"):
				command, _, _ := strings.Cut(line, " #")
				lines[filepath.Base(path)] = append(lines[filepath.Base(path)], strings.TrimSpace(command))
			}
		}
	}
	return lines
}

// TestDocuments: what the documents tell people to type exists.
func TestDocuments(t *testing.T) {
	makefile, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	commands, targets := 0, 0
	for document, lines := range documented(t) {
		for _, line := range lines {
			words := word.FindAllString(line, -1)
			for i, w := range words {
				words[i] = strings.Trim(w, `"`)
			}
			switch words[0] {
			case "bin/riskprofiler", "riskprofiler":
				commands++
				if err := parse(words[1:]); err != nil {
					t.Errorf("%s: %s: %v", document, line, err)
				}
			case "make":
				for _, target := range words[1:] {
					if strings.Contains(target, "=") {
						continue
					}
					targets++
					if !regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(target) + `:`).Match(makefile) {
						t.Errorf("%s: make has no target %s", document, target)
					}
				}
			}
		}
	}
	if commands < 10 || targets < 3 {
		t.Errorf("only %d commands and %d make targets were found in the documents", commands, targets)
	}
}

// parse finds the command and reads its flags and arguments without running it.
func parse(args []string) error {
	c, rest, err := newRoot().Find(args)
	if err != nil {
		return err
	}
	if err := c.ParseFlags(rest); err != nil {
		return err
	}
	return c.ValidateArgs(c.Flags().Args())
}

// TestExamples: the examples in the help parse.
func TestExamples(t *testing.T) {
	found := 0
	var visit func(c *cobra.Command)
	visit = func(c *cobra.Command) {
		for line := range strings.SplitSeq(c.Example, "\n") {
			if words := strings.Fields(line); len(words) > 0 {
				found++
				if err := parse(words[1:]); err != nil || words[0] != "riskprofiler" {
					t.Errorf("%s: %v", line, err)
				}
			}
		}
		for _, sub := range c.Commands() {
			visit(sub)
		}
	}
	visit(newRoot())
	if found < 5 {
		t.Errorf("only %d examples", found)
	}
}

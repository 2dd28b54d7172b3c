package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// feedFiles are small files as the feeds publish them, the same that their readers are tested with.
func feedFiles(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"cve-github.json", "cve-strange.json", "osv-debian.json", "kev.json", "epss.csv", "nvd.json"} {
		raw, err := os.ReadFile(filepath.Join("../../services/ingest/feeds/testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "other.json"), []byte(`{"hello": 1}`), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestIntelFromFiles: files of all feeds become a snapshot, what is not understood is said, and nobody is asked.
func TestIntelFromFiles(t *testing.T) {
	data, files := filepath.Join(t.TempDir(), "data"), feedFiles(t)
	before := execute(t, child(t, "intel", "status", "--data", data))
	if before.code != exitDone || !strings.Contains(before.stdout, "no snapshot") || !strings.Contains(before.stdout, "schedule off") || strings.Contains(before.stdout, "NVD") {
		t.Errorf("status before: %+v", before)
	}
	r := execute(t, child(t, "intel", "sync", "--data", data, "--from", files))
	if r.code != exitDone || !strings.HasPrefix(r.stdout, "snapshot 1: 4 advisories, 2 of them known to be exploited, ") ||
		!strings.Contains(r.stderr, "things not understood") || !strings.Contains(r.stderr, "left out "+filepath.Join(files, "other.json")) {
		t.Errorf("sync: %+v", r)
	}
	if again := execute(t, child(t, "intel", "sync", "--data", data, "--from", files)); again.code != exitDone || again.stdout != "nothing changed\n" {
		t.Errorf("the same again: %+v", again)
	}
	status := execute(t, child(t, "intel", "status", "--data", data))
	for _, want := range []string{"snapshot 1 of ", "osv/Debian", "v2026.06.15", "2026.11.20", "never", "not endorsed or certified by the NVD"} {
		if !strings.Contains(status.stdout, want) {
			t.Errorf("status has no %q: %s", want, status.stdout)
		}
	}
	var s struct {
		Manifest struct{ Version, Blob string }
		Feeds    []struct {
			Name     string
			Examples []string
		}
	}
	if out := execute(t, child(t, "intel", "status", "--data", data, "--output", "json")); json.Unmarshal([]byte(out.stdout), &s) != nil || s.Manifest.Version != "1" {
		t.Fatalf("status as JSON: %+v", out)
	}
	named := false
	for _, f := range s.Feeds {
		named = named || f.Name == "cve" && len(f.Examples) == 3 && strings.HasPrefix(f.Examples[0], "CVE-2026-20004: ")
	}
	if !named {
		t.Errorf("what was not understood is not named: %+v", s.Feeds)
	}
}

// TestIntelMistakes: what is wrong is said in one line.
func TestIntelMistakes(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	empty := t.TempDir()
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"intel", "sync", "--data", data, "--from", filepath.Join(empty, "absent")}, "no such file"},
		{[]string{"intel", "sync", "--data", data, "--from", empty}, "there is no file of a feed"},
		{[]string{"intel", "sync", "--data", data, "--feeds", "nope"}, "use cve, osv, osv/ECOSYSTEM, nvd, kev or epss"},
		{[]string{"intel", "sync", "--data", data, "--from", empty, "--feeds", "kev"}, "do not go together"},
		{[]string{"intel", "status", "--data", data, "--output", "xml"}, "use table or json"},
		{[]string{"intel", "status"}, "RISKPROFILER_API_KEY"},
	} {
		r := execute(t, child(t, c.args...))
		if r.code != exitUsage || !strings.Contains(r.stderr, c.want) || r.stdout != "" {
			t.Errorf("%v: %+v, want %q", c.args, r, c.want)
		}
	}
	wrong := child(t, "intel", "status", "--data", data)
	wrong.Env = append(wrong.Env, "RISKPROFILER_INTEL=yes")
	if r := execute(t, wrong); r.code != exitUsage || !strings.Contains(r.stderr, `RISKPROFILER_INTEL is "yes"; use on or off`) {
		t.Errorf("a wrong setting: %+v", r)
	}
}

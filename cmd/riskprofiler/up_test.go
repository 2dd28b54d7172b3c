package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// served is a platform in a process of its own.
type served struct {
	t            *testing.T
	c            *exec.Cmd
	address, key string
	stderr       bytes.Buffer
}

// serve runs `up` on a data directory. A limit above 0 is the largest size of any file in KiB.
func serve(t *testing.T, data, key string, limit int) *served {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &served{t: t, address: l.Addr().String(), key: key}
	_ = l.Close()
	s.c = child(t, "up", "--listen", s.address, "--data", data)
	if limit > 0 {
		wrapped := append([]string{"-c", `ulimit -f "$0"; exec "$@"`, strconv.Itoa(limit)}, s.c.Args...)
		limited := exec.CommandContext(t.Context(), "bash", wrapped...)
		limited.Dir, limited.Env = s.c.Dir, s.c.Env
		s.c = limited
	}
	s.c.Stderr = &s.stderr
	stdout, err := s.c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.c.Start(); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		if _, key, ok := strings.Cut(lines.Text(), "(shown this once): "); ok {
			s.key = key
		}
		if strings.HasPrefix(lines.Text(), "listening on") {
			return s
		}
	}
	_ = s.c.Wait()
	t.Fatalf("the platform did not start: %s", s.stderr.String())
	return nil
}

// stop ends the platform as a service manager does.
func (s *served) stop() {
	s.t.Helper()
	if err := s.c.Process.Signal(syscall.SIGTERM); err != nil {
		s.t.Fatal(err)
	}
	if err := s.c.Wait(); err != nil {
		s.t.Errorf("after SIGTERM: %v: %s", err, s.stderr.String())
	}
	if strings.Contains(s.stderr.String(), "goroutine ") {
		s.t.Errorf("a stack in the log: %s", s.stderr.String())
	}
}

// call makes one call over REST.
func (s *served) call(method, path string, body any, out any) (int, []byte) {
	s.t.Helper()
	raw, err := json.Marshal(body)
	if err != nil {
		s.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(s.t.Context(), method, "http://"+s.address+path, bytes.NewReader(raw))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.key)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatalf("%v: %s", err, s.stderr.String())
	}
	defer func() { _ = res.Body.Close() }()
	raw, err = io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	if out != nil && res.StatusCode == http.StatusOK {
		if err := json.Unmarshal(raw, out); err != nil {
			s.t.Fatal(err)
		}
	}
	return res.StatusCode, raw
}

// assets are the values of all assets.
func (s *served) assets() map[string]bool {
	s.t.Helper()
	all := map[string]bool{}
	for token := ""; ; {
		var page struct {
			Assets        []struct{ Value string }
			NextPageToken string
		}
		if code, raw := s.call(http.MethodGet, "/v1/assets?pageSize=1000&pageToken="+token, nil, &page); code != http.StatusOK {
			s.t.Fatalf("list: %d %s", code, raw)
		}
		for _, a := range page.Assets {
			all[a.Value] = true
		}
		if token = page.NextPageToken; token == "" {
			return all
		}
	}
}

// TestDataInUse: a data directory serves one process at a time.
func TestDataInUse(t *testing.T) {
	data := t.TempDir()
	first := serve(t, data, "", 0)
	r := execute(t, child(t, "up", "--listen", "127.0.0.1:0", "--data", data))
	if r.code != exitUsage || r.stdout != "" {
		t.Errorf("exit code %d, stdout %q", r.code, r.stdout)
	}
	checkLine(t, r.stderr, data, "another riskprofiler process", "--data")
	if code, raw := first.call(http.MethodGet, "/v1/whoami", nil, nil); code != http.StatusOK {
		t.Errorf("the first one: %d %s", code, raw)
	}
	first.stop()
	serve(t, data, first.key, 0).stop()
}

// TestDiskFull: when nothing more can be written the platform says so and still answers reads; what it had acknowledged is
// there when there is room again.
func TestDiskFull(t *testing.T) {
	data := t.TempDir()
	start := serve(t, data, "", 0)
	acknowledged := map[string]bool{}
	labels := map[string]string{}
	for i := range 32 {
		labels[fmt.Sprintf("label%d", i)] = strings.Repeat("x", 256)
	}
	add := func(s *served, n int) (int, []byte) {
		value := fmt.Sprintf("host%d.example.com", n)
		code, raw := s.call(http.MethodPost, "/v1/assets", map[string]any{"kind": "ASSET_KIND_HOST", "value": value, "labels": labels}, nil)
		if code == http.StatusOK {
			acknowledged[value] = true
		}
		return code, raw
	}
	if code, raw := add(start, 0); code != http.StatusOK {
		t.Fatalf("with room: %d %s", code, raw)
	}
	start.stop()

	const limit, most = 512, 1000 // KiB of each file; assets of 8 KiB, so that the limit comes long before
	full := serve(t, data, start.key, limit)
	refused := 0
	for n := 1; n < most && refused < 3; n++ {
		code, raw := add(full, n)
		if code == http.StatusOK {
			continue
		}
		refused++
		var status struct {
			Code    int
			Message string
		}
		if err := json.Unmarshal(raw, &status); err != nil {
			t.Fatalf("%v: %s", err, raw)
		}
		// A limit on the size of files is EFBIG, which SQLite takes for a failing disk; a full disk is ENOSPC and RESOURCE_EXHAUSTED.
		exhausted := code == http.StatusTooManyRequests && status.Code == 8 && strings.Contains(status.Message, "storage is full")
		failed := code == http.StatusServiceUnavailable && status.Code == 14 && strings.Contains(status.Message, "storage failed")
		if !exhausted && !failed || strings.Contains(status.Message, data) {
			t.Errorf("without room: %d %s", code, raw)
		}
	}
	if refused == 0 {
		t.Fatal("the limit was never reached")
	}
	compare(t, "without room", full.assets(), acknowledged)
	full.stop()

	again := serve(t, data, start.key, 0)
	compare(t, "with room again", again.assets(), acknowledged)
	if code, raw := add(again, most); code != http.StatusOK {
		t.Errorf("with room again: %d %s", code, raw)
	}
	again.stop()
}

func compare(t *testing.T, when string, got, acknowledged map[string]bool) {
	t.Helper()
	for value := range acknowledged {
		if !got[value] {
			t.Errorf("%s: %s was acknowledged and is gone", when, value)
		}
	}
	for value := range got {
		if !acknowledged[value] {
			t.Errorf("%s: %s was refused and is there", when, value)
		}
	}
}

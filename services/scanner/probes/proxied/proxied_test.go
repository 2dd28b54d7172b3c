package proxied

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/riskprofiler/riskprofiler/platform/netguard"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
)

// greedy makes this test binary a program that takes memory without end, when it is run again.
const greedy = "PROXIED_TEST_GREEDY"

func TestMain(m *testing.M) {
	if os.Getenv(greedy) != "" {
		var kept [][]byte
		for len(kept) < 64 {
			kept = append(kept, bytes.Repeat([]byte{1}, 64<<20))
			time.Sleep(20 * time.Millisecond)
		}
		os.Exit(len(kept))
	}
	goleak.VerifyTestMain(m)
}

// A process group that takes too much memory is ended, and the error says so.
func TestMemoryOfAllIsWatched(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	err = Run(t.Context(), Limits{Resident: 256 << 20, FileBytes: 1 << 20, Files: 64, Grace: time.Second}, Command{Program: program, Env: []string{greedy + "=1"}, Dir: t.TempDir()}, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "more than 256 MiB of memory") {
		t.Errorf("ended with %v", err)
	}
}

func TestProgramEndsWithTheContext(t *testing.T) {
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := Run(ctx, Limits{FileBytes: 1 << 20, Files: 64, Grace: time.Second}, Command{Program: sleep, Args: []string{"600"}, Dir: t.TempDir()}, io.Discard); err == nil {
		t.Error("no error")
	}
}

// An open proxy asks for no password, still leads to the target alone, and ends when all connections have carried enough.
func TestOpenProxyIsBounded(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 64<<10)) }))
	defer server.Close()
	at := netip.MustParseAddrPort(server.Listener.Addr().String())
	env := probes.Env{Guard: netguard.New(netguard.Options{AllowPrivate: true})}
	p, err := Start(t.Context(), env, Place{Host: "127.0.0.1", Port: at.Port(), Addr: at.Addr()}, Options{Open: true, Bytes: 100 << 10})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	client := &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: p.Address()}), DisableKeepAlives: true}}
	read := 0
	for range 4 {
		answer, err := client.Get(server.URL)
		if err != nil {
			continue
		}
		body, _ := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		if answer.StatusCode == http.StatusOK {
			read += len(body)
		}
	}
	if read < 64<<10 || read > 128<<10 || !p.Reached() {
		t.Errorf("%d bytes of at most 100 KiB came through", read)
	}
	if answer, err := client.Get("http://169.254.169.254/"); err != nil || answer.StatusCode != http.StatusForbidden {
		t.Errorf("elsewhere: %v %v", answer, err)
	} else {
		_ = answer.Body.Close()
	}
}

// The proxy is nobody else's.
func TestProxyAsksForItsPassword(t *testing.T) {
	env := probes.Env{Guard: netguard.New(netguard.Options{AllowPrivate: true})}
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	at := netip.MustParseAddrPort(server.Listener.Addr().String())
	p, err := Start(t.Context(), env, Place{Host: "127.0.0.1", Port: at.Port(), Addr: at.Addr()}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	right, err := url.Parse(p.URL())
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		user   *url.Userinfo
		status int
	}{"right": {right.User, 404}, "none": {nil, 407}, "wrong": {url.UserPassword("engine", "x"), 407}} {
		through := *right
		through.User = tt.user
		client := &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(&through), DisableKeepAlives: true}}
		answer, err := client.Get(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		if answer.StatusCode != tt.status {
			t.Errorf("%s: %d, want %d", name, answer.StatusCode, tt.status)
		}
	}
	conn, err := net.Dial("tcp", p.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: "+right.Host+"\r\n\r\n")
	answer := make([]byte, 64)
	if n, _ := conn.Read(answer); !strings.Contains(string(answer[:n]), "407") {
		t.Errorf("%q", answer[:n])
	}
}

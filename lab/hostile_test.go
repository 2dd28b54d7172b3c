package lab

import (
	"bufio"
	"compress/gzip"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"
)

// request asks for a page and returns the connection to read from.
func request(t *testing.T, address string) *bufio.Reader {
	t.Helper()
	conn := dial(t, address)
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: lab.test\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	return bufio.NewReader(conn)
}

func TestTarpitsNeverEnd(t *testing.T) {
	conn := dial(t, startLab(t, Options{Clean: true, Hostile: true}).at(100, 2323))
	if b := make([]byte, 1); must(io.ReadFull(conn, b)) != 1 || b[0] != 'w' {
		t.Errorf("first byte %q", b)
	}
	// Without the pause the same server goes on and on, over its text and over again.
	quick := startTalk(t, drip(time.Microsecond, "ab", false))
	b := make([]byte, 1000)
	if _, err := io.ReadFull(quick, b); err != nil || string(b) != strings.Repeat("ab", 500) {
		t.Errorf("%.20q, error %v", b, err)
	}
	waiting := startTalk(t, drip(time.Microsecond, "HTTP/1.1 200 OK\r\n", true))
	if _, err := io.WriteString(waiting, "GET / HTTP/1.1\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(waiting, b[:17]); err != nil || string(b[:17]) != "HTTP/1.1 200 OK\r\n" {
		t.Errorf("%q, error %v", b[:17], err)
	}
}

func must(n int, err error) int {
	if err != nil {
		return -1
	}
	return n
}

func TestFloodIsEndlessAndNeedsNoMemory(t *testing.T) {
	l := startLab(t, Options{Clean: true, Hostile: true})
	defer debug.SetGCPercent(debug.SetGCPercent(100))
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for range 20 {
		conn := dial(t, l.at(101, 9999))
		if n, err := io.CopyN(io.Discard, conn, 4<<20); err != nil {
			t.Fatalf("ended after %d bytes: %v", n, err)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 8<<20 {
		t.Errorf("20 floods left %d bytes on the heap", grown)
	}
}

func TestGzipBomb(t *testing.T) {
	l := startLab(t, Options{Clean: true, Hostile: true})
	reply, err := http.ReadResponse(request(t, l.at(102, 8080)), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = reply.Body.Close() }()
	if reply.Header.Get("Content-Encoding") != "gzip" || reply.ContentLength > bombBytes/500 {
		t.Errorf("encoding %q, %d bytes on the wire", reply.Header.Get("Content-Encoding"), reply.ContentLength)
	}
	body, err := gzip.NewReader(reply.Body)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, body); err != nil || n != bombBytes {
		t.Errorf("unpacks to %d bytes, error %v, want %d", n, err, bombBytes)
	}
}

func TestRedirects(t *testing.T) {
	l := startLab(t, Options{Clean: true, Hostile: true})
	for _, port := range []int{8080, 8081} {
		path, seen := "/", map[string]int{}
		for range 20 {
			got := get(t, http.MethodGet, "http", l.at(103, port), path, nil)
			if got.StatusCode != http.StatusFound {
				t.Fatalf("%d%s: status %d", port, path, got.StatusCode)
			}
			path = got.Header.Get("Location")
			seen[path]++
		}
		if chain := port == 8081; chain != (len(seen) == 20) || !chain && len(seen) != 2 {
			t.Errorf("port %d: %d different pages in 20 steps", port, len(seen))
		}
	}
	for port, want := range map[int]string{
		8080: "http://169.254.169.254/latest/meta-data/",
		8081: "http://10.0.0.1/",
		8082: "http://" + l.at(numberSentinel, 8080) + "/",
		8083: "file:///etc/passwd",
	} {
		if got := get(t, http.MethodGet, "http", l.at(106, port), "/", nil); got.StatusCode != http.StatusFound || got.Header.Get("Location") != want {
			t.Errorf("port %d: %d to %q, want %q", port, got.StatusCode, got.Header.Get("Location"), want)
		}
	}
}

func TestTrespassesAreSeen(t *testing.T) {
	l := startLab(t, Options{Clean: true, Hostile: true})
	if got := l.Trespasses(); len(got) != 0 {
		t.Errorf("trespasses before anybody came: %q", got)
	}
	conn := dial(t, l.at(numberSentinel, 8080))
	// The sentinel hangs up once it has noted who came.
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("read: %v", err)
	}
	if got := l.Trespasses(); len(got) != 1 || got[0] != conn.LocalAddr().String() {
		t.Errorf("trespasses %q, want %q", got, conn.LocalAddr())
	}
}

func TestPoisonIsEverywhere(t *testing.T) {
	l := startLab(t, Options{Clean: true, Hostile: true})
	got := get(t, http.MethodGet, "http", l.at(104, 8080), "/", nil)
	if got.Header.Get("Server") != printablePoison || !strings.Contains(got.body, "<title>"+poison+"</title>") {
		t.Errorf("server %q, body %q", got.Header.Get("Server"), got.body)
	}
	state, err := shake(t, l.at(104, 8443), "", &tls.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if name := state.PeerCertificates[0].Subject.CommonName; name != poison {
		t.Errorf("subject %q", name)
	}
	banner, err := bufio.NewReader(dial(t, l.at(104, 9999))).ReadString('\n')
	if err != nil || banner != poison+"\r\n" {
		t.Errorf("banner %q, error %v", banner, err)
	}
	if raw, err := io.ReadAll(request(t, l.at(104, 8081))); err != nil || !strings.Contains(string(raw), "Server: "+poison+"\r\n") {
		t.Errorf("answer %q, error %v", raw, err)
	}
}

func TestGiantHeaders(t *testing.T) {
	l := startLab(t, Options{Clean: true, Hostile: true})
	for _, tt := range []struct {
		port, lines, bytes int
		line               string
	}{
		{8080, 100_000, 2 << 20, "Set-Cookie: c99999=lab; Path=/"},
		{8081, 10 << 10, 10 << 20, "X-Lab-010239: aaa"},
	} {
		in := request(t, l.at(105, tt.port))
		lines, bytes, found := 0, 0, false
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			if line == "\r\n" {
				break
			}
			lines, bytes = lines+1, bytes+len(line)
			found = found || strings.HasPrefix(line, tt.line)
		}
		if lines < tt.lines || bytes < tt.bytes || !found {
			t.Errorf("port %d: %d headers of %d bytes, last one seen %v", tt.port, lines, bytes, found)
		}
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	l := startLab(t, Options{Clean: true, Hostile: true})
	for range maxConnections {
		dial(t, l.at(100, 2323))
	}
	// The one too many is turned away, and a place that gets free is given again.
	conn := dial(t, l.at(100, 2323))
	if n, err := conn.Read(make([]byte, 1)); err == nil {
		t.Errorf("connection %d read %d bytes", maxConnections+1, n)
	}
}

package gateway

import (
	"context"
	"io"
	"net"
	"testing"
	"time"
)

// TestSplitter: the first bytes decide, however they are cut, and none is lost.
func TestSplitter(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := newSplitter(l)
	done := make(chan error, 1)
	go func() { done <- s.run(ctx) }()
	for _, c := range []struct {
		name   string
		parts  []string
		branch *branch
	}{
		{"HTTP/2", []string{preface + "\r\n\r\nSM\r\n\r\n"}, s.http2},
		{"HTTP/2 in single bytes", []string{"P", "R", "I", " * HTTP/2.0", "\r\n"}, s.http2},
		{"HTTP/1.1", []string{"GET / HTTP/1.1\r\n"}, s.http1},
		{"a method that begins the same", []string{"PR", "OPFIND / HTTP/1.1\r\n"}, s.http1},
		{"one byte that decides", []string{"G"}, s.http1},
	} {
		t.Run(c.name, func(t *testing.T) {
			client, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			var want string
			for _, part := range c.parts {
				want += part
				if _, err := io.WriteString(client, part); err != nil {
					t.Fatal(err)
				}
			}
			_ = client.Close()
			conn, err := c.branch.Accept()
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(conn)
			if err != nil || string(got) != want {
				t.Errorf("read %q, %v; want %q", got, err, want)
			}
		})
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	for _, b := range []*branch{s.http1, s.http2} {
		if _, err := b.Accept(); err == nil {
			t.Error("a branch goes on after the end")
		}
	}
}

package lab

import (
	"net"
	"strings"
	"testing"
	"time"
)

// The servers over UDP answer what they know and are silent to all else.
func TestDatagrams(t *testing.T) {
	l := startLab(t, Options{})
	tests := []struct {
		port          int
		request, want string
	}{
		{11211, "ab\x00\x00\x00\x01\x00\x00version\r\n", "ab\x00\x00\x00\x01\x00\x00VERSION 1.5.5\r\n"},
		{11211, "ab\x00\x00\x00\x01\x00\x00stats\r\n", "ab\x00\x00\x00\x01\x00\x00STAT pid 1"},
		{11211, "short", ""},
		{1900, "M-SEARCH * HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK"},
		{1900, "hello", ""},
	}
	for _, tt := range tests {
		conn, err := net.Dial("udp4", l.at(76, tt.port))
		if err != nil {
			t.Fatal(err)
		}
		if tt.want == "" { // silence: the answer to a second, known request is the first that comes
			_, _ = conn.Write([]byte(tt.request))
			tt.request, tt.want = tests[0].request, tests[0].want
			if tt.port == 1900 {
				tt.request, tt.want = "M-SEARCH x", "HTTP/1.1 200 OK"
			}
		}
		_, _ = conn.Write([]byte(tt.request))
		_ = conn.SetReadDeadline(time.Now().Add(patience))
		answer := make([]byte, 4096)
		n, err := conn.Read(answer)
		if err != nil || !strings.HasPrefix(string(answer[:n]), tt.want) {
			t.Errorf("%d %q: %q %v", tt.port, tt.request, answer[:n], err)
		}
		_ = conn.Close()
	}
}

package lab

import (
	"bufio"
	"crypto/tls"
	"io"
	"net/http"
	"strings"
	"testing"
)

// The server answers plain requests, and turns the connection into TLS where it is asked to.
func TestUpgradeInHTTP(t *testing.T) {
	l := startLab(t, Options{})
	ask := func(headers string) *http.Response {
		conn := dial(t, l.at(31, 20455))
		if _, err := io.WriteString(conn, "OPTIONS * HTTP/1.1\r\nHost: holes.acme.test\r\n"+headers+"\r\n"); err != nil {
			t.Fatal(err)
		}
		answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		if answer.StatusCode == http.StatusSwitchingProtocols {
			secure := tls.Client(conn, &tls.Config{InsecureSkipVerify: true}) // whose certificate it is does not matter here
			if err := secure.HandshakeContext(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		return answer
	}
	if answer := ask("Upgrade: TLS/1.0\r\nConnection: Upgrade\r\n"); answer.StatusCode != http.StatusSwitchingProtocols || !strings.HasPrefix(answer.Header.Get("Upgrade"), "TLS/") {
		t.Errorf("%s %v", answer.Status, answer.Header)
	}
	if answer := ask(""); answer.StatusCode == http.StatusSwitchingProtocols {
		t.Error("it upgrades unasked")
	}
}

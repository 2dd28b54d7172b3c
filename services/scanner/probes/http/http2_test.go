package http

import (
	"crypto/tls"
	"net"
	nethttp "net/http"
	"net/http/httptest"
	"testing"
)

// newHTTP2 starts a server that speaks HTTP/2 and nothing else.
func newHTTP2(t *testing.T, secure bool, handler nethttp.HandlerFunc) string {
	t.Helper()
	protocols := new(nethttp.Protocols)
	protocols.SetHTTP2(secure)
	protocols.SetUnencryptedHTTP2(!secure)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &nethttp.Server{Handler: handler, Protocols: protocols, ErrorLog: quiet}
	address := listener.Addr().String()
	if secure {
		borrowed := httptest.NewTLSServer(nil)
		certificate := borrowed.TLS.Certificates[0]
		borrowed.Close()
		listener = tls.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: []string{"h2"}})
		server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: []string{"h2"}}
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close(); <-done })
	return address
}

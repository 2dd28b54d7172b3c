package lab

import (
	"context"
	"crypto/tls"
	"net/http"
	"strings"
	"time"
)

// webUpgraded serves HTTP in clear text and turns a connection into TLS where a request asks for it (RFC 2817 section 3), as Apache does
// with "SSLEngine optional" and CUPS does. Inside it serves the same, one request for each connection.
func webUpgraded(t tlsServer, s site) starter {
	return func(ctx context.Context, r *running, h host, sock sockets) error {
		config, err := t.config(r, h)
		if err != nil {
			return err
		}
		inside := config.Clone()
		inside.NextProtos = nil
		page := s(r, h)
		r.serveHTTP(ctx, admit(sock.tcp), http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if !strings.HasPrefix(req.Header.Get("Upgrade"), "TLS/") {
				page.ServeHTTP(w, req)
				return
			}
			r.upgrade(ctx, w, inside)
		}))
		return nil
	}
}

// upgrade turns the connection of a request into TLS, and ends it after the handshake or with the lab.
func (r *running) upgrade(ctx context.Context, w http.ResponseWriter, config *tls.Config) {
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer r.group.Done() // the server of HTTP, which counted it, has nothing to do with it any more
	defer func() { _ = conn.Close() }()
	ended := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer ended()
	_ = conn.SetDeadline(time.Now().Add(idleTimeout))
	if _, err := buffered.WriteString("HTTP/1.1 101 Switching Protocols\r\nUpgrade: TLS/1.0, HTTP/1.1\r\nConnection: Upgrade\r\n\r\n"); err != nil || buffered.Flush() != nil {
		return
	}
	secure := tls.Server(prefixed{conn, buffered.Reader}, config)
	if secure.HandshakeContext(ctx) == nil {
		_, _ = secure.Read(make([]byte, 1)) // until the client ends it
		_ = secure.Close()
	}
}

package lab

import (
	"context"
	"crypto/tls"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"strings"
	"time"
)

// Bounds of the web servers.
const (
	headerTimeout  = 10 * time.Second
	idleTimeout    = 30 * time.Second
	maxHeaderBytes = 16 << 10
	maxBodyBytes   = 64 << 10
)

// site makes the handler of a web server, which may need to know where other servers of the lab are.
type site func(r *running, h host) http.Handler

// web serves a site without TLS.
func web(s site) starter {
	return func(ctx context.Context, r *running, h host, sock sockets) error {
		r.serveHTTP(ctx, admit(sock.tcp), s(r, h))
		return nil
	}
}

// webTLS serves a site over TLS.
func webTLS(t tlsServer, s site) starter {
	return func(ctx context.Context, r *running, h host, sock sockets) error {
		config, err := t.config(r, h)
		if err != nil {
			return err
		}
		r.serveHTTP(ctx, tls.NewListener(admit(sock.tcp), config), s(r, h))
		return nil
	}
}

func (r *running) serveHTTP(ctx context.Context, l net.Listener, handler http.Handler) {
	server := &http.Server{
		Handler:           bounded(handler),
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       idleTimeout,
		WriteTimeout:      connectionLife,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		// "OPTIONS *" is for the handler: some servers upgrade there.
		DisableGeneralOptionsHandler: true,
		// A scanner breaks handshakes off all the time; nobody wants to read that.
		ErrorLog:    log.New(io.Discard, "", 0),
		BaseContext: func(net.Listener) context.Context { return ctx },
		// Server.Close does not wait for connections: some linger for half a second after their last answer.
		ConnState: func(_ net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				r.group.Add(1)
			case http.StateClosed:
				r.group.Done()
			}
		},
	}
	// Serve always ends with an error, and it always says that the server was closed.
	r.group.Go(func() { _ = server.Serve(l) })
	r.onClose(func() { _ = server.Close() })
}

// bounded limits what a request may carry.
func bounded(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		req.Body = http.MaxBytesReader(w, req.Body, maxBodyBytes)
		h.ServeHTTP(w, req)
	})
}

// answer is one fixed answer.
type answer struct {
	// status is 200 if it is not said.
	status int
	// kind is the content type, HTML if it is not said.
	kind string
	body string
	// headers of this answer only.
	headers map[string]string
	cookies []*http.Cookie
}

// Content types.
const (
	typeHTML = "text/html; charset=utf-8"
	typeText = "text/plain; charset=utf-8"
	typeJSON = "application/json"
	typeData = "application/octet-stream"
)

// pages is a site of fixed answers by path. What it does not list is a 404 in plain text.
type pages struct {
	// headers of every answer.
	headers map[string]string
	paths   map[string]answer
	// everywhere answers all other paths.
	everywhere *answer
	// cors says how a foreign origin is answered.
	cors cors
	// trace echoes TRACE requests.
	trace bool
}

// cors is a way to treat foreign origins.
type cors int

const (
	corsNone cors = iota
	corsReflect
	corsReflectWithCredentials
)

// site makes the pages a site.
func (p pages) site(*running, host) http.Handler { return p }

// ServeHTTP answers one request.
func (p pages) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if req.Method == http.MethodTrace && p.trace {
		echoRequest(w, req)
		return
	}
	for name, value := range p.headers {
		w.Header().Set(name, value)
	}
	p.allowOrigin(w, req)
	if req.Method != http.MethodGet && req.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	a, ok := p.paths[req.URL.Path]
	if !ok {
		a = answer{status: http.StatusNotFound, kind: typeText, body: "not found\n"}
		if p.everywhere != nil {
			a = *p.everywhere
		}
	}
	a.write(w)
}

func (p pages) allowOrigin(w http.ResponseWriter, req *http.Request) {
	origin := req.Header.Get("Origin")
	if p.cors == corsNone || origin == "" {
		return
	}
	w.Header().Set("Access-Control-Allow-Origin", origin)
	w.Header().Set("Vary", "Origin")
	if p.cors == corsReflectWithCredentials {
		w.Header().Set("Access-Control-Allow-Credentials", "true")
	}
}

func (a answer) write(w http.ResponseWriter) {
	for name, value := range a.headers {
		w.Header().Set(name, value)
	}
	for _, c := range a.cookies {
		http.SetCookie(w, c)
	}
	kind := a.kind
	if kind == "" {
		kind = typeHTML
	}
	w.Header().Set("Content-Type", kind)
	if a.status != 0 {
		w.WriteHeader(a.status)
	}
	_, _ = io.WriteString(w, a.body)
}

// echoRequest answers TRACE as RFC 9110, section 9.3.8, describes it.
func echoRequest(w http.ResponseWriter, req *http.Request) {
	w.Header().Set("Content-Type", "message/http")
	var b strings.Builder
	b.WriteString("TRACE " + req.URL.RequestURI() + " HTTP/1.1\r\nHost: " + req.Host + "\r\n")
	_ = req.Header.Write(&b)
	b.WriteString("\r\n")
	_, _ = io.WriteString(w, b.String())
}

// merge returns the union of maps, later ones winning.
func merge[V any](all ...map[string]V) map[string]V {
	union := map[string]V{}
	for _, m := range all {
		maps.Copy(union, m)
	}
	return union
}

// redirectToTLS leads every request to the same host's TLS port.
func redirectToTLS(port int) site {
	return func(r *running, h host) http.Handler {
		target := "https://" + hostPort(h.name, r.plan.port(port))
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			http.Redirect(w, req, target+req.URL.RequestURI(), http.StatusMovedPermanently)
		})
	}
}

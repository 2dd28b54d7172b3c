package proxied

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/together"
)

// tunnel carries bytes between the engine and the target: what is in them is theirs, under TLS.
func (p *Proxy) tunnel(w http.ResponseWriter, r *http.Request) {
	up, err := p.dial(r.Context(), "tcp", r.Host)
	if err != nil {
		refuse(w, err)
		return
	}
	hijacker, ok := w.(http.Hijacker)
	if !ok {
		_ = up.Close()
		http.Error(w, "no tunnel here", http.StatusInternalServerError)
		return
	}
	down, buffered, err := hijacker.Hijack()
	if err != nil {
		_ = up.Close()
		return
	}
	p.tunnels.Add(1) // the server does not wait for what was hijacked
	defer p.tunnels.Done()
	stop := context.AfterFunc(r.Context(), func() { _, _ = up.Close(), down.Close() })
	defer stop()
	_ = down.SetDeadline(time.Now().Add(tunnelLife))
	if _, err := down.Write([]byte("HTTP/1.1 200 Connection established\r\n\r\n")); err != nil {
		_, _ = up.Close(), down.Close()
		return
	}
	var both together.Group
	both.Go(func() {
		_, _ = io.Copy(up, io.LimitReader(buffered, requestBytes))
		_, _ = up.Close(), down.Close()
	})
	_, err = io.Copy(down, p.counted(up))
	_, _ = up.Close(), down.Close()
	both.Wait()
	p.polite.Failed(r.Context(), err)
}

// forward sends one request without TLS and its answer back. Redirects are the engine's business, which comes here again.
func (p *Proxy) forward(w http.ResponseWriter, r *http.Request) {
	if r.URL.Scheme != "http" || r.URL.Host == "" {
		http.Error(w, "no address of the web", http.StatusBadRequest)
		return
	}
	out := r.Clone(r.Context())
	out.RequestURI = ""
	out.Body = http.MaxBytesReader(w, r.Body, requestBytes)
	for _, hop := range []string{"Proxy-Authorization", "Proxy-Connection", "Connection", "Keep-Alive", "Te", "Trailer", "Upgrade"} {
		out.Header.Del(hop)
	}
	answer, err := p.plain.RoundTrip(out)
	if err != nil {
		p.polite.Failed(r.Context(), err)
		refuse(w, err)
		return
	}
	defer func() { _ = answer.Body.Close() }()
	p.polite.Answered(r.Context(), answer.StatusCode, answer.Header.Get("Retry-After"))
	for name, values := range answer.Header {
		w.Header()[name] = values
	}
	w.WriteHeader(answer.StatusCode)
	_, err = io.Copy(w, p.counted(answer.Body))
	p.polite.Failed(r.Context(), err)
}

// counted reads within the bounds of one connection and of all.
func (p *Proxy) counted(from io.Reader) io.Reader {
	from = io.LimitReader(from, tunnelBytes)
	if p.options.Bytes == 0 {
		return from
	}
	return &meter{from: from, proxy: p}
}

// meter ends a connection when all of them have carried enough.
type meter struct {
	from  io.Reader
	proxy *Proxy
}

// Read counts.
func (m *meter) Read(b []byte) (int, error) {
	n, err := m.from.Read(b)
	if m.proxy.carried.Add(int64(n)) > m.proxy.options.Bytes {
		return 0, errFull
	}
	return n, err
}

// errFull says that the program has been sent enough.
var errFull = errors.New("the program was sent as much as it may be")

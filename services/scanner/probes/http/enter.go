package http

import (
	"context"
	"crypto/tls"
	"errors"
	nethttp "net/http"
	"net/url"
	"strings"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
)

// What the first bytes of a connection give away.
const (
	tlsAlert     = "\x15\x03"
	tlsHandshake = "\x16\x03"
	statusLine   = "HTTP/"
	// http2Settings is how every HTTP/2 server begins: a SETTINGS frame (RFC 9113 section 3.4), of less than 64 KiB, type 4.
	http2Settings = "\x04"
)

// alertNoProtocol is the alert of a server that speaks none of our protocols (RFC 7301 section 3.2).
const alertNoProtocol = tls.AlertError(120)

// enter finds out what is spoken on the port and returns the first answer. It tries what the target's tls flag says, then what
// the server's first bytes say, with HTTP/2 last: at most four requests.
func (s *site) enter(ctx context.Context, target *modelv1.Target) (*reply, error) {
	scheme := "http"
	if target.GetTls() {
		scheme = "https"
	}
	at := s.origin(scheme)
	if path := target.GetPath(); path != "" {
		parsed, err := at.Parse(path)
		if err != nil || !sameOrigin(parsed, at) {
			return nil, errors.New("the target's path cannot be read")
		}
		at = parsed
	}
	for tried := map[string]bool{}; ; {
		got, err := s.fetch(ctx, ask{url: at})
		if err == nil && !wantsTLS(got, at) {
			return got, nil
		}
		tried[s.way(at)] = true
		next, two := s.another(at, err)
		if next == nil || ctx.Err() != nil {
			return got, s.classify(err)
		}
		if s.useHTTP(two); tried[s.way(next)] {
			return got, s.classify(err)
		}
		at = next
	}
}

// way names scheme and protocol.
func (s *site) way(at *url.URL) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.http2 {
		return at.Scheme + "/2"
	}
	return at.Scheme
}

// another chooses what to try after an attempt that failed with err, or that was answered with the advice to use TLS (nil).
func (s *site) another(at *url.URL, err error) (next *url.URL, two bool) {
	moved := *at
	heard := s.firstBytes()
	secure := at.Scheme == "https"
	alert := tls.AlertError(0)
	switch {
	case err == nil, !secure && (strings.HasPrefix(heard, tlsAlert) || strings.HasPrefix(heard, tlsHandshake)):
		moved = *s.moved(at, "https")
	case len(heard) > 4 && !secure && heard[3:4] == http2Settings && heard[0] == 0:
		two = true
	case secure && errors.As(err, &alert) && alert == alertNoProtocol:
		two = true
	case closed(err) && (!secure || strings.HasPrefix(heard, tlsHandshake)):
		two = true // hangs up on HTTP/1.1
	case secure && strings.HasPrefix(heard, tlsHandshake) && strings.Contains(err.Error(), "malformed HTTP"):
		two = true // the handshake worked, and then came no HTTP/1.1
	case secure && heard == "" && closed(err):
		moved = *s.moved(at, "http") // hangs up on a ClientHello
	case secure && len(heard) > 0 && !strings.HasPrefix(heard, tlsAlert) && !strings.HasPrefix(heard, tlsHandshake):
		moved = *s.moved(at, "http")
	default:
		return nil, false
	}
	return &moved, two
}

// moved is at in another scheme, on the same port.
func (s *site) moved(at *url.URL, scheme string) *url.URL {
	out := s.origin(scheme)
	out.Path, out.RawPath, out.RawQuery = at.Path, at.RawPath, at.RawQuery
	return out
}

// classify says of an answer that is no HTTP that it is none.
func (s *site) classify(err error) error {
	heard := s.firstBytes()
	if err == nil || heard == "" || s.slow.Load() || timedOut(err) || strings.HasPrefix(heard, statusLine) {
		return err
	}
	if strings.HasPrefix(heard, tlsAlert) || strings.HasPrefix(heard, tlsHandshake) {
		return err
	}
	return errNotHTTP
}

// wantsTLS says that a server answered plain HTTP with the advice that its port speaks TLS: nginx, Apache and Go do so.
func wantsTLS(got *reply, at *url.URL) bool {
	if at.Scheme != "http" || got.status != nethttp.StatusBadRequest {
		return false
	}
	text := strings.ToLower(string(got.body[:min(len(got.body), 4096)]))
	for _, advice := range []string{"plain http request was sent to https port", "speaking plain http to an ssl-enabled server port", "sent an http request to an https server"} {
		if strings.Contains(text, advice) {
			return true
		}
	}
	return false
}

// visit is the chain of answers from the first one on.
type visit struct {
	start *reply
	// own is the last answer that came from the start's origin: what the facts are about.
	own *reply
	// last is the last answer within the scope.
	last      *reply
	redirects []*modelv1.Redirect
	// route are the addresses of the chain, the start first.
	route []*url.URL
	loop  bool
	// toTLS says that a plain start is led to https.
	toTLS bool
	// broken says why the chain could not be followed to its end.
	broken error
}

// follow follows the redirects of first inside its host. Where the chain leaves the host it is recorded up to there.
func (s *site) follow(ctx context.Context, first *reply) *visit {
	v := &visit{start: first, own: first, last: first, route: []*url.URL{first.url}}
	seen := map[string]bool{first.url.String(): true}
	for {
		next, text := target(v.last)
		if text == "" {
			return v
		}
		if len(v.redirects) == maxRedirects {
			v.loop = true
			return v
		}
		v.redirects = append(v.redirects, &modelv1.Redirect{Status: uint32(v.last.status), Location: probes.SafeString(text, maxURLText)})
		if next != nil {
			v.route = append(v.route, next)
		}
		if next == nil || s.env.Guard.CheckURL(next) != nil {
			return v
		}
		if first.url.Scheme == "http" && next.Scheme == "https" && len(v.redirects) == 1 {
			v.toTLS = true
		}
		if !strings.EqualFold(next.Hostname(), first.url.Hostname()) {
			return v
		}
		if seen[next.String()] {
			v.loop = true
			return v
		}
		seen[next.String()] = true
		got, err := s.fetch(ctx, ask{url: next})
		if err != nil {
			// Another port of the host that does not answer is that port's story.
			if sameOrigin(next, first.url) {
				v.broken = err
			}
			return v
		}
		v.last = got
		if sameOrigin(next, first.url) {
			v.own = got
		}
	}
}

// maxURLText bounds an address in a fact.
const maxURLText = 1024

// target reads where an answer redirects to: the address, and the Location header as it came; both empty without redirect.
func target(from *reply) (*url.URL, string) {
	switch from.status {
	case nethttp.StatusMovedPermanently, nethttp.StatusFound, nethttp.StatusSeeOther, nethttp.StatusTemporaryRedirect, nethttp.StatusPermanentRedirect:
	default:
		return nil, ""
	}
	text := from.header.Get("Location")
	if text == "" {
		return nil, ""
	}
	next, err := from.url.Parse(text)
	if err != nil || (next.Scheme != "http" && next.Scheme != "https") {
		return nil, text
	}
	next.Fragment, next.RawFragment = "", ""
	return next, text
}

// sameOrigin compares scheme, host and port (RFC 6454 section 4).
func sameOrigin(a, b *url.URL) bool {
	return a.Scheme == b.Scheme && strings.EqualFold(a.Hostname(), b.Hostname()) && portOf(a) == portOf(b)
}

func portOf(u *url.URL) string {
	if port := u.Port(); port != "" {
		return port
	}
	return map[string]string{"http": "80", "https": "443"}[u.Scheme]
}

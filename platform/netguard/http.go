package netguard

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Bounds of one HTTP request to a hostile server.
const (
	// MaxHeaderBytes is the largest response header block that is read.
	MaxHeaderBytes = 64 << 10
	// TLSHandshakeTimeout, ResponseHeaderTimeout and ClientTimeout bound the handshake, the wait
	// for the first byte of the answer, and a request with all its redirects and its body.
	TLSHandshakeTimeout   = 5 * time.Second
	ResponseHeaderTimeout = 5 * time.Second
	ClientTimeout         = 20 * time.Second
	// maxURL is the longest URL that is followed; servers commonly stop at 8 KiB.
	maxURL = 8 << 10
)

// keptHeaders are the request headers that go along with a redirect. All others stay behind, for a
// header we do not know may be a credential.
var keptHeaders = []string{"User-Agent", "From", "Accept", "Accept-Encoding", "Accept-Language"}

// HTTPTransport is a transport whose every connection is the session's (nil: a new session). No
// proxy from the environment, HTTP/1.1 only, no kept connections, at most [MaxHeaderBytes] of
// header, and no decompression: the body arrives as it was sent, and nothing bounds it but the reader.
//
// The caller may change the result before its first use: TLSClientConfig for a probe that collects
// bad certificates, Protocols.SetHTTP2(true) for the one that needs HTTP/2.
func (g *Guard) HTTPTransport(s *Session) *http.Transport {
	if s == nil {
		s = g.NewSession()
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Transport{
		DialContext:            s.DialContext,
		Proxy:                  nil,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    TLSHandshakeTimeout,
		ResponseHeaderTimeout:  ResponseHeaderTimeout,
		DisableKeepAlives:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: MaxHeaderBytes,
		Protocols:              protocols,
	}
}

// HTTPClient is a client over [Guard.HTTPTransport] that checks every URL with [Guard.CheckURL] and
// follows redirects by [Guard.CheckRedirect]. It has no cookies and ends after [ClientTimeout].
func (g *Guard) HTTPClient(s *Session, maxRedirects int, same func(*url.URL) error) *http.Client {
	return &http.Client{
		Transport:     checkedTransport{guard: g, next: g.HTTPTransport(s)},
		CheckRedirect: g.CheckRedirect(maxRedirects, same),
		Timeout:       ClientTimeout,
	}
}

// checkedTransport checks the URL of each request, the first one included.
type checkedTransport struct {
	guard *Guard
	next  http.RoundTripper
}

// RoundTrip sends the request if its URL is one that we request.
func (t checkedTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := t.guard.CheckURL(r.URL); err != nil {
		return nil, err
	}
	return t.next.RoundTrip(r)
}

// CheckURL says whether u is a URL that may be requested: absolute, http or https, no user
// information, a host in its one usual spelling, and not an address whose range is refused. Names
// are judged when they are dialled. The error is a [*RefusedError].
func (g *Guard) CheckURL(u *url.URL) error {
	if g.invalid != nil {
		return g.invalid
	}
	address, why := addressOf(u)
	if why != "" {
		return &RefusedError{Target: urlText(u), Rule: RuleURL, Source: why}
	}
	h, _, err := splitAddress(address)
	if err != nil || !h.addr.IsValid() {
		return err
	}
	return asked(address, g.judgeAnyPort(h.addr))
}

// addressOf is the host:port that net/http would dial for u, or why it may not.
func addressOf(u *url.URL) (address, why string) {
	switch {
	case u == nil || u.Host == "" || u.Opaque != "":
		return "", "no host"
	case u.Scheme != "http" && u.Scheme != "https":
		return "", "neither http nor https"
	case u.User != nil:
		return "", "user information"
	case len(u.String()) > maxURL:
		return "", fmt.Sprintf("longer than %d bytes", maxURL)
	}
	address = u.Host
	if u.Port() == "" {
		if strings.HasSuffix(u.Host, ":") {
			return "", "an empty port"
		}
		address += map[string]string{"http": ":80", "https": ":443"}[u.Scheme]
	}
	return address, ""
}

// urlText is a URL without the parts that may hold secrets.
func urlText(u *url.URL) string {
	if u == nil {
		return ""
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

// CheckRedirect is the redirect rule for [http.Client]: at most limit hops, each to a URL that
// passes [Guard.CheckURL] and then same (typically the scope; nil: every host that the guard
// permits). Only GET and HEAD are followed, so no body is sent on, and the request headers are
// reduced to User-Agent, From and Accept: no cookie, no authorization, no referer, no key under
// a name we do not know goes along, not even within one host. The address is judged again when it
// is dialled.
//
// The client must have no cookie jar, which adds cookies afterwards: use [Guard.HTTPClient].
func (g *Guard) CheckRedirect(limit int, same func(*url.URL) error) func(*http.Request, []*http.Request) error {
	return func(r *http.Request, via []*http.Request) error {
		if len(via) > limit {
			return &RefusedError{Target: urlText(r.URL), Rule: RuleRedirect, Source: fmt.Sprintf("more than %d", limit)}
		}
		if err := g.CheckURL(r.URL); err != nil {
			return err
		}
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			return &RefusedError{Target: urlText(r.URL), Rule: RuleRedirect, Source: "would repeat a " + quote(r.Method)}
		}
		if same != nil {
			if err := same(r.URL); err != nil {
				return &RefusedError{Target: urlText(r.URL), Rule: RuleScope, Cause: err}
			}
		}
		kept := make(http.Header, len(keptHeaders))
		for _, name := range keptHeaders {
			if values := r.Header.Values(name); len(values) > 0 {
				kept[name] = values
			}
		}
		r.Header = kept //nolint:gosec // G119: what is kept is a list without credentials
		return nil
	}
}

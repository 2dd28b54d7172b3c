package http

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	nethttp "net/http"
	"slices"
	"strings"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/http/observatory"
)

// Bounds of HttpFact.headers and cookies.
const (
	maxFactHeaders = 64
	maxHeaderText  = 1024
	maxCookies     = 64
)

// telling are the headers that checks ask for: they are kept where an answer has more than maxFactHeaders.
var telling = []string{
	"strict-transport-security", "content-security-policy", "content-security-policy-report-only", "x-frame-options",
	"x-content-type-options", "referrer-policy", "permissions-policy", "access-control-allow-origin", "access-control-allow-credentials",
	"cross-origin-opener-policy", "cross-origin-embedder-policy", "cross-origin-resource-policy", "server", "x-powered-by",
	"x-aspnet-version", "x-aspnetmvc-version", "www-authenticate", "content-type", "location", "cache-control", "alt-svc",
}

// factOf writes down what the visit saw.
func (s *site) factOf(v *visit) *modelv1.HttpFact {
	own := v.own
	sum := sha256.Sum256(own.body)
	out := &modelv1.HttpFact{
		Url: v.start.url.String(), Status: uint32(own.status), FinalUrl: probes.SafeString(v.last.url.String(), maxURLText),
		Redirects: v.redirects, Headers: headersOf(own.header), Cookies: cookiesOf(v),
		BodyBytes: uint64(len(own.body)), BodySha256: hex.EncodeToString(sum[:]), Truncated: own.truncated,
		Tls: own.url.Scheme == "https", RedirectsToHttps: v.toTLS, RedirectLoop: v.loop, DecompressionBomb: own.bomb,
		BasicAuth: asksBasic(own), Address: s.remote(), Port: s.port,
	}
	p := own.page()
	out.Title, out.PasswordForm, out.InsecureForm, out.MixedContent = p.title, p.password, p.insecureForm, p.mixed
	out.MixedPassive, out.PasswordInUrl, out.Http3 = p.passive, p.passwordInURL, http3(own)
	for _, host := range slices.Sorted(maps.Keys(p.foreign)) {
		out.ForeignResources = append(out.ForeignResources, p.foreign[host])
	}
	out.DefaultPage = recognise(pagesOf().Default, own, p.title)
	out.Panel = recognise(pagesOf().Panels, own, p.title)
	out.DebugPage = recognise(pagesOf().Debug, own, p.title)
	out.Technologies = technologies(own, p)
	return out
}

// graded is the grade of a page that the origin itself serves; an error, a redirect and data that is no page have none. Where plain
// http was asked, its redirects count; https knows nothing about what the host's port 80 does.
func graded(v *visit, found *findings) *modelv1.ObservatoryFact {
	own := v.own
	if own.status != nethttp.StatusOK || !own.isHTML() || v.toTLS {
		return nil
	}
	p := own.page()
	a := observatory.Answer{
		URL: own.url, Header: own.header, HTML: true, Equivalents: p.equivalents, Scripts: p.sources, ScriptElements: p.elements, CORS: found.cors,
	}
	if found.askedCORS && a.CORS == nil {
		a.CORS = &modelv1.CorsFact{}
	}
	if own.url.Scheme == "http" {
		a.Route = v.route
	}
	for _, meta := range p.metas {
		if meta[0] == "referrer" {
			a.Referrer = meta[1]
		}
	}
	return observatory.Grade(a)
}

// headersOf writes headers down by their lower-case names. Set-Cookie is left out: its values are secrets of a session.
func headersOf(header nethttp.Header) map[string]string {
	names := make([]string, 0, len(header))
	for name := range header {
		if name != "Set-Cookie" {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(a, b string) int {
		a, b = strings.ToLower(a), strings.ToLower(b)
		if ta, tb := slices.Contains(telling, a), slices.Contains(telling, b); ta != tb {
			if ta {
				return -1
			}
			return 1
		}
		return strings.Compare(a, b)
	})
	out := make(map[string]string)
	for _, name := range names[:min(len(names), maxFactHeaders)] {
		key := probes.SafeString(strings.ToLower(name), 128)
		out[key] = probes.SafeString(strings.Join(header.Values(name), ", "), maxHeaderText)
	}
	return out
}

// cookiesOf lists the cookies that the origin sets on the way to its own last answer, the last of each name.
func cookiesOf(v *visit) []*modelv1.Cookie {
	answers := []*reply{v.start}
	if v.own != v.start {
		answers = append(answers, v.own)
	}
	var out []*modelv1.Cookie
	for _, answer := range answers {
		for _, c := range (&nethttp.Response{Header: answer.header}).Cookies() {
			fact := &modelv1.Cookie{
				Name: probes.SafeString(c.Name, 128), Secure: c.Secure, HttpOnly: c.HttpOnly, SameSite: sameSite(c.SameSite), Session: sessionName(c.Name),
				Domain: probes.SafeString(strings.ToLower(strings.TrimPrefix(c.Domain, ".")), 253), Path: probes.SafeString(c.Path, 256),
			}
			at := slices.IndexFunc(out, func(known *modelv1.Cookie) bool { return known.GetName() == fact.GetName() })
			switch {
			case at >= 0:
				out[at] = fact
			case len(out) < maxCookies:
				out = append(out, fact)
			}
		}
	}
	return out
}

func sameSite(mode nethttp.SameSite) string {
	switch mode {
	case nethttp.SameSiteStrictMode:
		return "Strict"
	case nethttp.SameSiteLaxMode:
		return "Lax"
	case nethttp.SameSiteNoneMode:
		return "None"
	default:
		return ""
	}
}

// sessionWords are parts of the names that frameworks give to session and login cookies: PHPSESSID, JSESSIONID,
// ASP.NET_SessionId, connect.sid, laravel_session, sessionid, auth_token, remember_me, jwt ...
var sessionWords = []string{"sess", "auth", "token", "jwt", "login", "remember", ".sid", "_sid", "aspxauth", "cfid", "cftoken", "identity.application"}

// notSession are cookies that look like a session's and hold none: cross-site request forgery tokens are read by scripts on
// purpose, and analytics count sessions of visitors.
var notSession = []string{"csrf", "xsrf", "antiforgery", "analytics", "_ga", "_hjsession", "consent"}

func sessionName(name string) bool {
	name = strings.ToLower(name)
	has := func(word string) bool { return strings.Contains(name, word) }
	return (name == "sid" || slices.ContainsFunc(sessionWords, has)) && !slices.ContainsFunc(notSession, has)
}

// asksBasic says whether the answer asks for HTTP Basic credentials (RFC 7617).
func asksBasic(answer *reply) bool {
	if answer.status != nethttp.StatusUnauthorized {
		return false
	}
	for _, value := range answer.header.Values("Www-Authenticate") {
		for _, challenge := range strings.Split(strings.ToLower(value), ",") {
			scheme, _, _ := strings.Cut(strings.TrimSpace(challenge), " ")
			if scheme == "basic" {
				return true
			}
		}
	}
	return false
}

// maxHTTP3 bounds HttpFact.http3.
const maxHTTP3 = 128

// http3 is where Alt-Svc offers HTTP/3: the first alternative with the protocol "h3" (RFC 7838 section 3, RFC 9114 section 3.1).
func http3(answer *reply) string {
	for alternative := range strings.SplitSeq(strings.Join(answer.header.Values("Alt-Svc"), ","), ",") {
		alternative, _, _ = strings.Cut(alternative, ";")
		protocol, place, ok := strings.Cut(strings.TrimSpace(alternative), "=")
		if ok && protocol == "h3" {
			return probes.SafeString(strings.Trim(place, `" `), maxHTTP3)
		}
	}
	return ""
}

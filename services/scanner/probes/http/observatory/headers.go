package observatory

import (
	nethttp "net/http"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/publicsuffix"
)

// sixMonths is the least max-age of HSTS that counts, in seconds: 182.5 days, as the Observatory and SSL Labs ask.
const sixMonths = 15768000

// single is the value of a header that may stand once: trimmed, in lower case.
func single(a Answer, name string) string {
	value := a.Header.Get(name)
	if value == "" {
		values := a.Equivalents[strings.ToLower(name)]
		if len(values) > 0 {
			value = values[len(values)-1]
		}
	}
	return strings.ToLower(strings.TrimSpace(value))
}

// cookies: the worst of what holds for any cookie.
func cookies(a Answer, hsts bool) outcome {
	all := (&nethttp.Response{Header: a.Header}).Cookies()
	all = slices.DeleteFunc(all, func(c *nethttp.Cookie) bool { return c.Name == "heroku-session-affinity" }) // nobody can set its flags
	if len(all) == 0 {
		return outcome{"cookies-not-found", 0, true}
	}
	worst := outcome{"cookies-secure-with-httponly-sessions-and-samesite", 5, true}
	note := func(o outcome) {
		if o.modifier < worst.modifier {
			worst = o
		}
	}
	for _, c := range all {
		name := strings.ToLower(c.Name)
		session := strings.Contains(name, "login") || strings.Contains(name, "sess")
		if c.SameSite == nethttp.SameSiteDefaultMode || c.SameSite == 0 {
			note(outcome{"cookies-secure-with-httponly-sessions", 0, true})
		}
		switch {
		case !c.Secure && hsts:
			note(outcome{"cookies-without-secure-flag-but-protected-by-hsts", -5, false})
		case !c.Secure:
			note(outcome{"cookies-without-secure-flag", -20, false})
		}
		if !validSameSite(c) {
			note(outcome{"cookies-samesite-flag-invalid", -20, false})
		}
		if strings.Contains(name, "csrf") && c.SameSite == 0 {
			note(outcome{"cookies-anticsrf-without-samesite-flag", -20, false})
		}
		switch {
		case session && !c.Secure && hsts:
			note(outcome{"cookies-session-without-secure-flag-but-protected-by-hsts", -10, false})
		case session && !c.Secure:
			note(outcome{"cookies-session-without-secure-flag", -40, false})
		}
		if session && !c.HttpOnly {
			note(outcome{"cookies-session-without-httponly-flag", -30, false})
		}
	}
	return worst
}

// validSameSite: None needs Secure, and nothing but Strict, Lax and None is a value.
func validSameSite(c *nethttp.Cookie) bool {
	if c.SameSite == nethttp.SameSiteNoneMode && !c.Secure {
		return false
	}
	// net/http reads an unknown value as the default mode; a missing attribute leaves the mode 0.
	return c.SameSite != nethttp.SameSiteDefaultMode
}

func sharing(a Answer) outcome {
	switch c := a.CORS; {
	case c == nil:
		return outcome{"cross-origin-resource-sharing-not-tested", 0, true}
	case c.GetAllowOrigin() == "":
		return outcome{"cross-origin-resource-sharing-not-implemented", 0, true}
	case c.GetReflectsOrigin() && c.GetAllowsCredentials():
		return outcome{"cross-origin-resource-sharing-implemented-with-universal-access", -50, false}
	case c.GetAllowOrigin() == "*":
		return outcome{"cross-origin-resource-sharing-implemented-with-public-access", 0, true}
	}
	return outcome{"cross-origin-resource-sharing-implemented-with-restricted-access", 0, true}
}

// token is the first item of a structured field (RFC 9651), without its parameters.
func token(value string) string {
	value, _, _ = strings.Cut(value, ";")
	return strings.TrimSpace(value)
}

// named is a test of a header with a few values, none of which costs anything but a value that is none of them.
func named(a Answer, header, prefix string, values ...string) outcome {
	if len(a.Header.Values(header)) > 1 {
		return outcome{prefix + "-header-invalid", 0, false}
	}
	value := token(strings.ToLower(a.Header.Get(header)))
	switch {
	case value == "":
		return outcome{prefix + "-not-implemented", 0, true}
	case slices.Contains(values, value):
		return outcome{prefix + "-implemented-with-" + value, 0, true}
	}
	return outcome{prefix + "-header-invalid", 0, false}
}

func embedder(a Answer) outcome {
	return named(a, "Cross-Origin-Embedder-Policy", "coep", "require-corp", "credentialless", "unsafe-none")
}

func opener(a Answer) outcome {
	return named(a, "Cross-Origin-Opener-Policy", "coop", "same-origin", "same-origin-allow-popups", "noopener-allow-popups", "unsafe-none")
}

func resource(a Answer) outcome {
	switch value := single(a, "Cross-Origin-Resource-Policy"); value {
	case "":
		return outcome{"corp-not-implemented", 0, true}
	case "same-site", "same-origin":
		return outcome{"corp-implemented-with-" + value, 10, true}
	case "cross-origin":
		return outcome{"corp-implemented-with-cross-origin", 0, true}
	}
	return outcome{"corp-header-invalid", -5, false}
}

func redirection(a Answer) outcome {
	route := a.Route
	switch {
	case a.NoHTTP:
		return outcome{"redirection-not-needed-no-http", 0, true}
	case len(route) == 0:
		return outcome{"redirection-not-tested", 0, true}
	case len(route) == 1:
		return outcome{"redirection-missing", -20, false}
	case route[len(route)-1].Scheme != "https":
		return outcome{"redirection-not-to-https", -20, false}
	case route[1].Scheme == "http":
		return outcome{"redirection-not-to-https-on-initial-redirection", -10, false}
	case route[0].Hostname() != route[1].Hostname():
		return outcome{"redirection-off-host-from-http", -5, false}
	}
	return outcome{"redirection-to-https", 0, true}
}

// Referrer policies (W3C Referrer Policy section 3) that tell other sites no paths, and those that do.
var (
	privateReferrers = []string{"no-referrer", "same-origin", "strict-origin", "strict-origin-when-cross-origin"}
	unsafeReferrers  = []string{"origin", "origin-when-cross-origin", "unsafe-url", "no-referrer-when-downgrade"}
)

// referrer: of several values the last one that is known counts.
func referrer(a Answer) outcome {
	values := a.Header.Values("Referrer-Policy")
	if a.Referrer != "" {
		values = append(values, a.Referrer)
	}
	if len(values) == 0 {
		return outcome{"referrer-policy-not-implemented", 0, true}
	}
	known := ""
	for value := range strings.SplitSeq(strings.ToLower(strings.Join(values, ",")), ",") {
		if v := strings.TrimSpace(value); slices.Contains(privateReferrers, v) || slices.Contains(unsafeReferrers, v) {
			known = v
		}
	}
	switch {
	case known == "":
		return outcome{"referrer-policy-header-invalid", -5, false}
	case slices.Contains(unsafeReferrers, known):
		return outcome{"referrer-policy-unsafe", -5, false}
	}
	return outcome{"referrer-policy-private", 5, true}
}

func transportSecurity(a Answer) outcome {
	value := strings.ToLower(a.Header.Get("Strict-Transport-Security"))
	switch {
	case a.URL.Scheme != "https":
		return outcome{"hsts-not-implemented-no-https", -20, false}
	case a.Untrusted:
		return outcome{"hsts-invalid-cert", -20, false}
	case value == "":
		return outcome{"hsts-not-implemented", -20, false}
	}
	age := -1
	for directive := range strings.SplitSeq(value, ";") {
		name, text, _ := strings.Cut(strings.TrimSpace(directive), "=")
		if strings.TrimSpace(name) != "max-age" {
			continue
		}
		n, err := strconv.Atoi(strings.Trim(strings.TrimSpace(text), `"`))
		if err != nil || n < 0 || age >= 0 {
			return outcome{"hsts-header-invalid", -20, false}
		}
		age = n
	}
	switch {
	case age < 0:
		return outcome{"hsts-header-invalid", -20, false}
	case age < sixMonths:
		return outcome{"hsts-implemented-max-age-less-than-six-months", -10, false}
	}
	return outcome{"hsts-implemented-max-age-at-least-six-months", 0, true}
}

func sniffing(a Answer) outcome {
	switch single(a, "X-Content-Type-Options") {
	case "nosniff":
		return outcome{"x-content-type-options-nosniff", 0, true}
	case "":
		return outcome{"x-content-type-options-not-implemented", -5, false}
	}
	return outcome{"x-content-type-options-header-invalid", -5, false}
}

func framing(a Answer, p policy) outcome {
	if ancestors, ok := p.header["frame-ancestors"]; ok && !hasAny(ancestors, broad) {
		return outcome{"x-frame-options-implemented-via-csp", 5, true}
	}
	switch value := single(a, "X-Frame-Options"); {
	case value == "":
		return outcome{"x-frame-options-not-implemented", -20, false}
	case value == "deny" || value == "sameorigin":
		return outcome{"x-frame-options-sameorigin-or-deny", 0, true}
	case strings.HasPrefix(value, "allow-from "):
		return outcome{"x-frame-options-allow-from-origin", 0, true}
	}
	return outcome{"x-frame-options-header-invalid", -20, false}
}

// integrity: scripts of other sites need a hash and https.
func integrity(a Answer) outcome {
	switch {
	case !a.HTML:
		return outcome{"sri-not-implemented-response-not-html", 0, true}
	case a.ScriptElements == 0 && len(a.Scripts) == 0:
		return outcome{"sri-not-implemented-but-no-scripts-loaded", 0, true}
	}
	own := outcome{"sri-not-implemented-but-all-scripts-loaded-from-secure-origin", 0, true}
	foreign, worst := false, outcome{"sri-implemented-and-external-scripts-loaded-securely", 5, true}
	for _, s := range a.Scripts {
		where, secure := scriptPlace(a, s.Source)
		if where == ownSite {
			if s.Integrity && secure {
				own = outcome{"sri-implemented-and-all-scripts-loaded-securely", 5, true}
			}
			continue
		}
		foreign = true
		o := worst
		switch {
		case s.Integrity && !secure:
			o = outcome{"sri-implemented-but-external-scripts-not-loaded-securely", -20, false}
		case !s.Integrity && secure:
			o = outcome{"sri-not-implemented-but-external-scripts-loaded-securely", -5, false}
		case !s.Integrity:
			o = outcome{"sri-not-implemented-and-external-scripts-not-loaded-securely", -50, false}
		}
		if o.modifier < worst.modifier {
			worst = o
		}
	}
	if foreign {
		return worst
	}
	return own
}

const (
	ownSite = iota
	foreignSite
)

// scriptPlace says whether a script is of the same registrable domain, and whether it is loaded by https. An address without scheme
// ("//host/") takes that of the page and counts as foreign and not secure, as the Observatory counts it.
func scriptPlace(a Answer, source string) (where int, secure bool) {
	if strings.HasPrefix(source, "//") {
		return foreignSite, false
	}
	at, err := a.URL.Parse(source)
	if err != nil {
		return ownSite, false
	}
	if SameSite(at.Hostname(), a.URL.Hostname()) {
		return ownSite, at.Scheme == "https"
	}
	return foreignSite, at.Scheme == "https"
}

// SameSite says whether two hosts are of one registrable domain.
func SameSite(a, b string) bool { return strings.EqualFold(a, b) || site(a) == site(b) }

func site(host string) string {
	if domain, err := publicsuffix.EffectiveTLDPlusOne(host); err == nil {
		return domain
	}
	return host
}

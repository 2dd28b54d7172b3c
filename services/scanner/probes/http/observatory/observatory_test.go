package observatory

import (
	nethttp "net/http"
	"net/url"
	"strings"
	"testing"

	"pgregory.net/rapid"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

func at(t testing.TB, text string) *url.URL {
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// headers are pairs of "Name: value".
func headers(lines ...string) nethttp.Header {
	h := nethttp.Header{}
	for _, l := range lines {
		name, value, _ := strings.Cut(l, ":")
		h.Add(name, strings.TrimSpace(value))
	}
	return h
}

func result(t *testing.T, f *modelv1.ObservatoryFact, name string) *modelv1.ObservatoryTest {
	t.Helper()
	for _, test := range f.GetTests() {
		if test.GetName() == name {
			return test
		}
	}
	t.Fatalf("no test %s", name)
	return nil
}

func TestEach(t *testing.T) {
	const csp, xfo, hsts = "content-security-policy", "x-frame-options", "strict-transport-security"
	cases := []struct {
		test, want string
		modifier   int32
		header     []string
		change     func(*Answer)
	}{
		{test: csp, want: "csp-not-implemented", modifier: -25},
		{test: csp, want: "csp-not-implemented-but-reporting-enabled", modifier: -25, header: []string{"Content-Security-Policy-Report-Only: default-src 'self'"}},
		{test: csp, want: "csp-implemented-with-no-unsafe-default-src-none", modifier: 10, header: []string{"Content-Security-Policy: default-src 'none'; img-src 'self'"}},
		{test: csp, want: "csp-implemented-with-no-unsafe", modifier: 5, header: []string{"Content-Security-Policy: default-src 'self'"}},
		{test: csp, want: "csp-implemented-with-unsafe-inline-in-style-src-only", header: []string{"Content-Security-Policy: default-src 'self'; style-src 'self' 'unsafe-inline'"}},
		{test: csp, want: "csp-implemented-with-insecure-scheme-in-passive-content-only", modifier: -10, header: []string{"Content-Security-Policy: default-src 'self'; img-src http://img.example"}},
		{test: csp, want: "csp-implemented-with-unsafe-eval", modifier: -10, header: []string{"Content-Security-Policy: default-src 'self'; script-src 'self' 'unsafe-eval'"}},
		{test: csp, want: "csp-implemented-with-unsafe-inline", modifier: -20, header: []string{"Content-Security-Policy: default-src 'self' 'unsafe-inline'"}},
		{test: csp, want: "csp-implemented-with-unsafe-inline", modifier: -20, header: []string{"Content-Security-Policy: img-src 'self'"}},
		{test: csp, want: "csp-implemented-with-unsafe-inline", modifier: -20, header: []string{"Content-Security-Policy: script-src https:; object-src 'none'"}},
		{test: csp, want: "csp-implemented-with-insecure-scheme", modifier: -20, header: []string{"Content-Security-Policy: default-src 'self'; script-src http://cdn.example"}},
		{test: csp, want: "csp-implemented-with-no-unsafe", modifier: 5, header: []string{"Content-Security-Policy: default-src 'self'; script-src 'nonce-abc' 'strict-dynamic' https: 'unsafe-inline'"}},
		{test: csp, want: "csp-header-invalid", modifier: -25, header: []string{"Content-Security-Policy: script-src 'strict-dynamic'"}},
		{test: csp, want: "csp-header-invalid", modifier: -25, header: []string{"Content-Security-Policy: <script>"}},
		{test: csp, want: "csp-implemented-with-no-unsafe", modifier: 5, change: func(a *Answer) {
			a.Equivalents = map[string][]string{"content-security-policy": {"default-src 'self'"}}
		}},
		{test: csp, want: "csp-not-implemented", modifier: -25, change: func(a *Answer) {
			a.Equivalents = map[string][]string{"content-security-policy": {"frame-ancestors 'none'"}}
		}},

		{test: "cookies", want: "cookies-not-found"},
		{test: "cookies", want: "cookies-not-found", header: []string{"Set-Cookie: heroku-session-affinity=x"}},
		{test: "cookies", want: "cookies-secure-with-httponly-sessions-and-samesite", modifier: 5, header: []string{"Set-Cookie: sessionid=1; Secure; HttpOnly; SameSite=Lax"}},
		{test: "cookies", want: "cookies-secure-with-httponly-sessions", header: []string{"Set-Cookie: sessionid=1; Secure; HttpOnly"}},
		{test: "cookies", want: "cookies-without-secure-flag", modifier: -20, header: []string{"Set-Cookie: a=1; SameSite=Lax"}},
		{test: "cookies", want: "cookies-without-secure-flag-but-protected-by-hsts", modifier: -5, header: []string{"Set-Cookie: a=1; SameSite=Lax", "Strict-Transport-Security: max-age=31536000"}},
		{test: "cookies", want: "cookies-session-without-secure-flag", modifier: -40, header: []string{"Set-Cookie: PHPSESSID=1; HttpOnly"}},
		{test: "cookies", want: "cookies-session-without-secure-flag-but-protected-by-hsts", modifier: -10, header: []string{"Set-Cookie: PHPSESSID=1; HttpOnly", "Strict-Transport-Security: max-age=31536000"}},
		{test: "cookies", want: "cookies-session-without-httponly-flag", modifier: -30, header: []string{"Set-Cookie: PHPSESSID=1; Secure"}},
		{test: "cookies", want: "cookies-samesite-flag-invalid", modifier: -20, header: []string{"Set-Cookie: a=1; Secure; SameSite=Sometimes"}},
		{test: "cookies", want: "cookies-anticsrf-without-samesite-flag", modifier: -20, header: []string{"Set-Cookie: csrftoken=1; Secure"}},

		{test: "cross-origin-resource-sharing", want: "cross-origin-resource-sharing-not-tested"},
		{test: "cross-origin-resource-sharing", want: "cross-origin-resource-sharing-not-implemented", change: func(a *Answer) { a.CORS = &modelv1.CorsFact{} }},
		{test: "cross-origin-resource-sharing", want: "cross-origin-resource-sharing-implemented-with-public-access", change: func(a *Answer) { a.CORS = &modelv1.CorsFact{AllowOrigin: "*"} }},
		{test: "cross-origin-resource-sharing", want: "cross-origin-resource-sharing-implemented-with-restricted-access", change: func(a *Answer) { a.CORS = &modelv1.CorsFact{AllowOrigin: "https://a.example"} }},
		{test: "cross-origin-resource-sharing", want: "cross-origin-resource-sharing-implemented-with-universal-access", modifier: -50, change: func(a *Answer) {
			a.CORS = &modelv1.CorsFact{AllowOrigin: "https://evil.example", ReflectsOrigin: true, AllowsCredentials: true}
		}},

		{test: "cross-origin-embedder-policy", want: "coep-not-implemented"},
		{test: "cross-origin-embedder-policy", want: "coep-implemented-with-require-corp", header: []string{`Cross-Origin-Embedder-Policy: require-corp; report-to="x"`}},
		{test: "cross-origin-embedder-policy", want: "coep-header-invalid", header: []string{"Cross-Origin-Embedder-Policy: yes"}},
		{test: "cross-origin-opener-policy", want: "coop-implemented-with-same-origin", header: []string{"Cross-Origin-Opener-Policy: same-origin"}},
		{test: "cross-origin-opener-policy", want: "coop-header-invalid", header: []string{"Cross-Origin-Opener-Policy: same-origin", "Cross-Origin-Opener-Policy: unsafe-none"}},
		{test: "cross-origin-resource-policy", want: "corp-implemented-with-same-site", modifier: 10, header: []string{"Cross-Origin-Resource-Policy: same-site"}},
		{test: "cross-origin-resource-policy", want: "corp-implemented-with-cross-origin", header: []string{"Cross-Origin-Resource-Policy: cross-origin"}},
		{test: "cross-origin-resource-policy", want: "corp-header-invalid", modifier: -5, header: []string{"Cross-Origin-Resource-Policy: none"}},

		{test: "redirection", want: "redirection-not-tested"},
		{test: "redirection", want: "redirection-not-needed-no-http", change: func(a *Answer) { a.NoHTTP = true }},
		{test: "redirection", want: "redirection-missing", modifier: -20, change: route("http://a.example/")},
		{test: "redirection", want: "redirection-to-https", change: route("http://a.example/", "https://a.example/")},
		{test: "redirection", want: "redirection-not-to-https", modifier: -20, change: route("http://a.example/", "http://a.example/x")},
		{test: "redirection", want: "redirection-not-to-https-on-initial-redirection", modifier: -10, change: route("http://a.example/", "http://www.a.example/", "https://www.a.example/")},
		{test: "redirection", want: "redirection-off-host-from-http", modifier: -5, change: route("http://a.example/", "https://www.a.example/")},

		{test: "referrer-policy", want: "referrer-policy-not-implemented"},
		{test: "referrer-policy", want: "referrer-policy-private", modifier: 5, header: []string{"Referrer-Policy: unsafe-url, no-referrer"}},
		{test: "referrer-policy", want: "referrer-policy-private", modifier: 5, change: func(a *Answer) { a.Referrer = "same-origin" }},
		{test: "referrer-policy", want: "referrer-policy-unsafe", modifier: -5, header: []string{"Referrer-Policy: origin"}},
		{test: "referrer-policy", want: "referrer-policy-header-invalid", modifier: -5, header: []string{"Referrer-Policy: never"}},

		{test: hsts, want: "hsts-not-implemented", modifier: -20},
		{test: hsts, want: "hsts-not-implemented-no-https", modifier: -20, change: func(a *Answer) { a.URL.Scheme = "http" }},
		{test: hsts, want: "hsts-invalid-cert", modifier: -20, header: []string{"Strict-Transport-Security: max-age=31536000"}, change: func(a *Answer) { a.Untrusted = true }},
		{test: hsts, want: "hsts-implemented-max-age-at-least-six-months", header: []string{`Strict-Transport-Security: max-age="15768000"; includeSubDomains`}},
		{test: hsts, want: "hsts-implemented-max-age-less-than-six-months", modifier: -10, header: []string{"Strict-Transport-Security: max-age=15767999"}},
		{test: hsts, want: "hsts-header-invalid", modifier: -20, header: []string{"Strict-Transport-Security: includeSubDomains"}},
		{test: hsts, want: "hsts-header-invalid", modifier: -20, header: []string{"Strict-Transport-Security: max-age=1; max-age=31536000"}},

		{test: "subresource-integrity", want: "sri-not-implemented-but-no-scripts-loaded"},
		{test: "subresource-integrity", want: "sri-not-implemented-response-not-html", change: func(a *Answer) { a.HTML = false }},
		{test: "subresource-integrity", want: "sri-not-implemented-but-all-scripts-loaded-from-secure-origin", change: scripts(Script{"/a.js", false}, Script{"https://cdn.example.org/b.js", false})},
		{test: "subresource-integrity", want: "sri-implemented-and-all-scripts-loaded-securely", modifier: 5, change: scripts(Script{"/a.js", true})},
		{test: "subresource-integrity", want: "sri-implemented-and-external-scripts-loaded-securely", modifier: 5, change: scripts(Script{"https://other.example/a.js", true})},
		{test: "subresource-integrity", want: "sri-not-implemented-but-external-scripts-loaded-securely", modifier: -5, change: scripts(Script{"https://other.example/a.js", false})},
		{test: "subresource-integrity", want: "sri-implemented-but-external-scripts-not-loaded-securely", modifier: -20, change: scripts(Script{"//other.example/a.js", true})},
		{test: "subresource-integrity", want: "sri-not-implemented-and-external-scripts-not-loaded-securely", modifier: -50, change: scripts(Script{"http://other.example/a.js", false}, Script{"/b.js", true})},

		{test: "x-content-type-options", want: "x-content-type-options-not-implemented", modifier: -5},
		{test: "x-content-type-options", want: "x-content-type-options-nosniff", header: []string{"X-Content-Type-Options: NOSNIFF"}},
		{test: "x-content-type-options", want: "x-content-type-options-header-invalid", modifier: -5, header: []string{"X-Content-Type-Options: sniff"}},

		{test: xfo, want: "x-frame-options-not-implemented", modifier: -20},
		{test: xfo, want: "x-frame-options-sameorigin-or-deny", header: []string{"X-Frame-Options: DENY"}},
		{test: xfo, want: "x-frame-options-implemented-via-csp", modifier: 5, header: []string{"Content-Security-Policy: frame-ancestors 'self'"}},
		{test: xfo, want: "x-frame-options-not-implemented", modifier: -20, header: []string{"Content-Security-Policy: frame-ancestors *"}},
		{test: xfo, want: "x-frame-options-allow-from-origin", header: []string{"X-Frame-Options: ALLOW-FROM https://a.example"}},
		{test: xfo, want: "x-frame-options-header-invalid", modifier: -20, header: []string{"X-Frame-Options: DENY, SAMEORIGIN"}},
	}
	for _, c := range cases {
		a := Answer{URL: at(t, "https://www.example.org/"), Header: headers(c.header...), HTML: true}
		if c.change != nil {
			c.change(&a)
		}
		got := result(t, Grade(a), c.test)
		if got.GetResult() != c.want || got.GetModifier() != c.modifier {
			t.Errorf("%v: %s is %s %d, want %s %d", c.header, c.test, got.GetResult(), got.GetModifier(), c.want, c.modifier)
		}
	}
}

func route(texts ...string) func(*Answer) {
	return func(a *Answer) {
		for _, text := range texts {
			u, _ := url.Parse(text)
			a.Route = append(a.Route, u)
		}
	}
}

func scripts(all ...Script) func(*Answer) {
	return func(a *Answer) { a.Scripts, a.ScriptElements = all, len(all) }
}

// A page without any header, and one with all of them: the figures that the Observatory's own page gives for such sites.
func TestGrades(t *testing.T) {
	bare := Grade(Answer{URL: at(t, "https://www.example.org/"), Header: headers(), HTML: true})
	if bare.GetScore() != 30 || bare.GetGrade() != "D" || len(bare.GetTests()) != 12 {
		t.Errorf("without headers: %v", bare)
	}
	best := Grade(Answer{URL: at(t, "https://www.example.org/"), HTML: true, NoHTTP: true, CORS: &modelv1.CorsFact{}, ScriptElements: 1,
		Scripts: []Script{{"/a.js", true}}, Header: headers("Content-Security-Policy: default-src 'none'; script-src 'self'; frame-ancestors 'none'",
			"Strict-Transport-Security: max-age=63072000", "X-Content-Type-Options: nosniff", "Referrer-Policy: no-referrer",
			"Cross-Origin-Resource-Policy: same-origin", "Set-Cookie: sid=1; Secure; HttpOnly; SameSite=Strict")})
	if best.GetScore() != 140 || best.GetGrade() != "A+" {
		t.Errorf("with all: %v", best)
	}
	// Bonuses do not lift who is below 90 without them.
	middle := Grade(Answer{URL: at(t, "https://www.example.org/"), HTML: true, Header: headers("Content-Security-Policy: default-src 'none'; frame-ancestors 'none'",
		"Referrer-Policy: no-referrer", "X-Content-Type-Options: nosniff")})
	if middle.GetScore() != 80 || middle.GetGrade() != "B+" {
		t.Errorf("in the middle: %v", middle)
	}
}

// Whatever headers say: twelve tests, a score in bounds, a grade that belongs to it.
func TestGradeIsBounded(t *testing.T) {
	names := []string{"Content-Security-Policy", "Set-Cookie", "Strict-Transport-Security", "X-Frame-Options", "Referrer-Policy", "Cross-Origin-Resource-Policy", "Cross-Origin-Opener-Policy"}
	rapid.Check(t, func(t *rapid.T) {
		h := nethttp.Header{}
		for range rapid.IntRange(0, 8).Draw(t, "headers") {
			h.Add(rapid.SampledFrom(names).Draw(t, "name"), rapid.String().Draw(t, "value"))
		}
		f := Grade(Answer{URL: &url.URL{Scheme: "https", Host: "a.example"}, Header: h, HTML: true, ScriptElements: 1, Scripts: []Script{{rapid.String().Draw(t, "source"), rapid.Bool().Draw(t, "hash")}}})
		if len(f.GetTests()) != 12 || f.GetScore() > 145 || f.GetGrade() == "" {
			t.Fatalf("%v", f)
		}
	})
}

func FuzzPolicy(f *testing.F) {
	f.Add("default-src 'self'; script-src 'nonce-a' 'strict-dynamic'", "")
	f.Add("; ;;", "frame-ancestors *")
	f.Fuzz(func(t *testing.T, header, meta string) {
		a := Answer{URL: &url.URL{Scheme: "https", Host: "a.example"}, Header: nethttp.Header{"Content-Security-Policy": {header}}, Equivalents: map[string][]string{"content-security-policy": {meta}}}
		if p := parsePolicy(a); len(p.all) > maxDirectives {
			t.Fatalf("%d directives", len(p.all))
		}
		if got := Grade(a); len(got.GetTests()) != 12 {
			t.Fatal(got)
		}
	})
}

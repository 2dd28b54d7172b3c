package http

import (
	"fmt"
	"io"
	"net"
	nethttp "net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/netguard"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
)

const front = `<!DOCTYPE html><html><head><title> Sign in &amp; go </title>
<meta name="generator" content="WordPress 6.4.2">
<script src="/wp-includes/js/jquery-3.7.1.min.js"></script>
<script src="http://cdn.test/a.js"></script><link rel="stylesheet" href="http://cdn.test/a.css">
<link rel="shortcut icon" href="/icon.png"></head>
<body><img src="http://cdn.test/a.png"><form action="http://site.test/login" method="post"><input type="Password" name="p"></form></body></html>`

func TestFactsOfAnApplication(t *testing.T) {
	server := serve(t, true, func(w nethttp.ResponseWriter, r *nethttp.Request) {
		if r.Host != "site.test:"+portOfHost(r.Host) || !strings.HasPrefix(r.UserAgent(), "RiskProfiler/") || r.Header.Get("Accept-Encoding") != "identity" {
			t.Errorf("request for %q by %q with encoding %q", r.Host, r.UserAgent(), r.Header.Get("Accept-Encoding"))
		}
		switch {
		case r.Method == nethttp.MethodOptions:
			w.Header().Set("Allow", "PUT, get,OPTIONS, sc<ript")
			w.Header().Set("DAV", "1, 2") // but PROPFIND is not allowed
		case r.Method == nethttp.MethodTrace:
			w.Header().Set("Content-Type", "message/http")
			_ = r.Header.Write(w)
		case r.URL.Path == "/":
			if origin := r.Header.Get("Origin"); origin != "" {
				w.Header().Set("Access-Control-Allow-Origin", origin)
				w.Header().Set("Access-Control-Allow-Credentials", "true")
			}
			w.Header().Set("Server", "nginx/1.18.0")
			w.Header().Set("Alt-Svc", `h2=":8443", h3=":443"; ma=86400, h3-29=":443"`)
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			w.Header().Add("Vary", "Accept")
			w.Header().Add("Vary", "Cookie")
			w.Header().Add("Set-Cookie", "PHPSESSID=secret; path=/; HttpOnly; SameSite=Lax")
			w.Header().Add("Set-Cookie", "csrf_token=other; Secure")
			_, _ = io.WriteString(w, front)
		case r.URL.Path == "/icon.png":
			_, _ = w.Write([]byte("\x89PNG\r\n\x1a\nnot really"))
		case r.URL.Path == "/.well-known/security.txt":
			_, _ = io.WriteString(w, "# hello\nContact: mailto:security@site.test\nExpires: 2027-01-01T00:00:00Z\n")
		default:
			nethttp.NotFound(w, r)
		}
	})
	env := newLab().Env
	job := jobFor(server.Listener.Addr().String(), "site.test", true)
	result := scan(t, New(Options{}), env, job)
	if result.Outcome != modelv1.Outcome_OUTCOME_COMPLETE || len(result.Observations) != 1 {
		t.Fatalf("got %v (%s), %v", result.Outcome, result.Reason, result.Observations)
	}
	observation, fact := result.Observations[0], result.Observations[0].GetHttp()
	base := fmt.Sprintf("https://site.test:%d/", job.GetTarget().GetPort())
	want := &modelv1.HttpFact{
		Url: base, Status: 200, FinalUrl: base, Headers: fact.GetHeaders(), Title: "Sign in & go",
		Cookies: []*modelv1.Cookie{
			{Name: "PHPSESSID", HttpOnly: true, SameSite: "Lax", Session: true, Path: "/"}, {Name: "csrf_token", Secure: true},
		},
		Technologies: fact.GetTechnologies(), BodyBytes: uint64(len(front)), BodySha256: fact.GetBodySha256(), Tls: true, PasswordForm: true,
		InsecureForm: true, MixedContent: []string{"http://cdn.test/a.js", "http://cdn.test/a.css"},
		Cors:         &modelv1.CorsFact{AllowOrigin: foreignOrigin, ReflectsOrigin: true, AllowsCredentials: true},
		TraceEnabled: true, FaviconHash: fact.GetFaviconHash(), SecurityTxt: true, Address: "127.0.0.1", Port: job.GetTarget().GetPort(),
		Observatory: fact.GetObservatory(), MixedPassive: []string{"http://cdn.test/a.png"},
		ForeignResources: []*modelv1.ForeignResource{{Host: "cdn.test", Scripts: 1, Styles: 1, WithoutIntegrity: 1}},
		SecurityTxtFile: &modelv1.SecurityTxt{
			Url: base + ".well-known/security.txt", Contacts: []string{"mailto:security@site.test"},
			Expires: timestamppb.New(time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)),
		},
		Methods: []string{"GET", "OPTIONS", "PUT"}, Http3: ":443",
	}
	results := make(map[string]string)
	for _, test := range fact.GetObservatory().GetTests() {
		results[test.GetName()] = test.GetResult()
	}
	if fact.GetObservatory().GetGrade() != "F" || results["cross-origin-resource-sharing"] != "cross-origin-resource-sharing-implemented-with-universal-access" ||
		results["subresource-integrity"] != "sri-not-implemented-and-external-scripts-not-loaded-securely" || results["redirection"] != "redirection-not-tested" {
		t.Errorf("graded %v", fact.GetObservatory())
	}
	if diff := cmp.Diff(want.String(), fact.String()); diff != "" {
		t.Errorf("fact (-want +got):\n%s", diff)
	}
	if fact.GetFaviconHash() == 0 {
		t.Error("no favicon")
	}
	headers := fact.GetHeaders()
	if headers["server"] != "nginx/1.18.0" || headers["vary"] != "Accept, Cookie" || headers["set-cookie"] != "" {
		t.Errorf("headers %v", headers)
	}
	got := make(map[string]string)
	for _, technology := range fact.GetTechnologies() {
		got[technology.GetName()] = technology.GetVersion()
	}
	for name, version := range map[string]string{"WordPress": "6.4.2", "Nginx": "1.18.0", "jQuery": "3.7.1", "PHP": "", "MySQL": ""} {
		if found, ok := got[name]; !ok || found != version {
			t.Errorf("technology %s %q, want %q (%v)", name, found, version, got)
		}
	}
	blob := string(env.Blobs.(*memory).blobs[observation.GetEvidence().GetBlob()])
	if !strings.Contains(blob, "nginx/1.18.0") || !strings.HasSuffix(blob, front) {
		t.Errorf("evidence: %s", blob)
	}
	if strings.Contains(observation.GetEvidence().GetExcerpt(), "secret") || observation.GetKey() != "http:/" {
		t.Errorf("observation: %v", observation)
	}
}

func portOfHost(host string) string { _, port, _ := net.SplitHostPort(host); return port }

func TestSchemes(t *testing.T) {
	hello := func(w nethttp.ResponseWriter, _ *nethttp.Request) { _, _ = io.WriteString(w, "hello") }
	for name, test := range map[string]struct{ secure, hint bool }{
		"http": {false, false}, "https": {true, true}, "http said to be https": {false, true}, "https said to be http": {true, false},
	} {
		t.Run(name, func(t *testing.T) {
			server := serve(t, test.secure, hello)
			fact, _ := factsOf(t, jobFor(server.Listener.Addr().String(), "", test.hint))
			if fact.GetTls() != test.secure || fact.GetStatus() != 200 || !strings.HasPrefix(fact.GetUrl(), map[bool]string{false: "http://127", true: "https://127"}[test.secure]) {
				t.Errorf("got %v", fact)
			}
		})
	}
}

// A server that speaks HTTP/2 alone is looked at in HTTP/2, with TLS and without.
func TestOnlyHTTP2(t *testing.T) {
	for _, secure := range []bool{true, false} {
		t.Run(fmt.Sprintf("tls %t", secure), func(t *testing.T) {
			server := newHTTP2(t, secure, func(w nethttp.ResponseWriter, r *nethttp.Request) { _, _ = io.WriteString(w, r.Proto) })
			for _, hint := range []bool{true, false} {
				result := scan(t, New(Options{}), newLab().Env, jobFor(server, "", hint))
				if len(result.Observations) != 1 || result.Observations[0].GetHttp().GetBodyBytes() != uint64(len("HTTP/2.0")) || result.Observations[0].GetHttp().GetTls() != secure {
					t.Errorf("hint %t: %v (%s) %v", hint, result.Outcome, result.Reason, result.Observations)
				}
			}
		})
	}
}

func TestRedirects(t *testing.T) {
	var away atomic.Int32
	other := serve(t, false, func(nethttp.ResponseWriter, *nethttp.Request) { away.Add(1) })
	tls := serve(t, true, func(w nethttp.ResponseWriter, _ *nethttp.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, "<title>secure</title>")
	})
	to := func(place string) nethttp.HandlerFunc {
		return func(w nethttp.ResponseWriter, r *nethttp.Request) { nethttp.Redirect(w, r, place, nethttp.StatusFound) }
	}
	secure := "https://a.test:" + portOfHost(tls.Listener.Addr().String()) + "/"
	tests := []struct {
		name    string
		handler nethttp.HandlerFunc
		status  uint32
		hops    int
		final   string // end of final_url
		loop    bool
		toTLS   bool
	}{
		{"none", func(w nethttp.ResponseWriter, _ *nethttp.Request) { _, _ = io.WriteString(w, "x") }, 200, 0, "/", false, false},
		{"within", func(w nethttp.ResponseWriter, r *nethttp.Request) {
			if r.URL.Path == "/" {
				nethttp.Redirect(w, r, "/login?next=%2F", nethttp.StatusSeeOther)
			}
		}, 200, 1, "/login?next=%2F", false, false},
		{"to https of the same host", to(secure), 302, 1, secure, false, true},
		{"to https, but the start page alone", func(w nethttp.ResponseWriter, r *nethttp.Request) {
			if r.URL.Path == "/" {
				to(secure)(w, r)
			}
		}, 302, 1, secure, false, false},
		{"to another host", to("http://other.test:" + portOfHost(other.Listener.Addr().String()) + "/"), 302, 1, "/", false, false},
		{"to https of another host", to("https://www.other.test/"), 302, 1, "/", false, true},
		{"to itself", to("/"), 302, 1, "/", true, false},
		{"without end", func(w nethttp.ResponseWriter, r *nethttp.Request) {
			nethttp.Redirect(w, r, fmt.Sprintf("/%dx", len(r.URL.Path)), nethttp.StatusFound)
		}, 302, 3, "x", true, false},
		{"ever longer", func(w nethttp.ResponseWriter, r *nethttp.Request) {
			nethttp.Redirect(w, r, r.URL.Path+"x", nethttp.StatusFound)
		}, 302, 5, "/xxxxx", true, false},
		{"to no address", to("javascript:alert(1)"), 302, 1, "/", false, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			server := serve(t, false, test.handler)
			fact, _ := factsOf(t, jobFor(server.Listener.Addr().String(), "a.test", false))
			if fact.GetStatus() != test.status || len(fact.GetRedirects()) != test.hops || !strings.HasSuffix(fact.GetFinalUrl(), test.final) ||
				fact.GetRedirectLoop() != test.loop || fact.GetRedirectsToHttps() != test.toTLS || fact.GetTls() {
				t.Errorf("got %v", fact)
			}
			if fact.GetTitle() != "" {
				t.Error("the title of another origin")
			}
		})
	}
	if away.Load() != 0 {
		t.Errorf("%d requests to a host outside the scope", away.Load())
	}
}

// None of these places may be dialled, whatever a target writes into Location.
func TestRedirectsToForbiddenPlaces(t *testing.T) {
	places := []string{
		"http://169.254.169.254/latest/meta-data/", "http://2852039166/", "http://0xa9fea9fe/", "http://0251.0376.0251.0376/", "http://169.254.43518/",
		"http://[::ffff:169.254.169.254]/", "http://[::ffff:a9fe:a9fe]/", "http://[fd00:ec2::254]/", "http://[64:ff9b::a9fe:a9fe]/", "http://169.254.170.2/",
		"http://100.100.100.200/", "http://0.0.0.0/", "http://[::]/", "http://127.1/", "http://0/", "http://localhost/", "http://a.test@169.254.169.254/",
		"http://a.test%00.evil.test/", "http://a.test:80@evil.test/", "http://evil.test#@a.test/", "http://evil.test\\@a.test/", "//evil.test/", "///evil.test/",
		"\\\\evil.test\\", "http:/\\evil.test/", "https:evil.test", "http://\u24d0.test/", "http://xn--a-.test/", "file:///etc/passwd", "gopher://a.test:70/x", "ftp://a.test/",
		"http://a.test.:80/", "http://A.TEST.evil.test/", "http://[fe80::1%25eth0]/", "http://user:pw@a.test/", "http://a.test:0/", "http://a.test:99999/", "data:text/html,x", " http://evil.test/", "http://evil.test:80",
	}
	for _, place := range places {
		t.Run(place, func(t *testing.T) {
			address := listen(t, func(conn net.Conn) {
				for request(conn) {
					_, _ = fmt.Fprintf(conn, "HTTP/1.1 302 Found\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n", place)
				}
			})
			world := newLab()
			job := jobFor(address, "a.test", false)
			job.Options.Profile = modelv1.Profile_PROFILE_QUICK
			result := scan(t, New(Options{}), world.Env, job)
			if len(result.Observations) != 1 {
				t.Fatalf("got %v (%s), want the redirect recorded", result.Outcome, result.Reason)
			}
			for _, host := range world.dialed {
				if host != "a.test" {
					t.Errorf("dialled %q", host)
				}
			}
		})
	}
}

func TestQuickIsOneRequest(t *testing.T) {
	var requests atomic.Int32
	server := serve(t, false, func(w nethttp.ResponseWriter, r *nethttp.Request) {
		requests.Add(1)
		_, _ = io.WriteString(w, "ref: refs/heads/main\n")
	})
	job := jobFor(server.Listener.Addr().String(), "", false)
	job.Options.Profile = modelv1.Profile_PROFILE_QUICK
	result := scan(t, New(Options{}), newLab().Env, job)
	if requests.Load() != 1 || result.Outcome != modelv1.Outcome_OUTCOME_PARTIAL || !strings.Contains(result.Reason, "quick profile") || len(result.Observations) != 1 {
		t.Errorf("%d requests, %v (%s), %d observations; want 1, partial, and one", requests.Load(), result.Outcome, result.Reason, len(result.Observations))
	}
}

// The absence of security.txt is a finding over TLS, so a quick scan asks for it there.
func TestQuickAsksForSecurityTxt(t *testing.T) {
	var requests atomic.Int32
	server := serve(t, true, func(w nethttp.ResponseWriter, r *nethttp.Request) {
		requests.Add(1)
		if r.URL.Path == "/" {
			w.Header().Set("Content-Type", "text/html")
			return
		}
		_, _ = io.WriteString(w, "Contact: mailto:a@b.test\n")
	})
	result := scan(t, New(Options{}), newLab().Env, quick(jobFor(server.Listener.Addr().String(), "", true)))
	if requests.Load() != 2 || !result.Observations[0].GetHttp().GetSecurityTxt() {
		t.Errorf("%d requests, %v; want 2 and security.txt", requests.Load(), result.Observations)
	}
}

func TestNothingToSee(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	tests := map[string]string{
		"refused": closed.Addr().String(),
		"ssh": listen(t, func(conn net.Conn) {
			_, _ = io.WriteString(conn, "SSH-2.0-OpenSSH_9.9\r\n")
			_, _ = io.Copy(io.Discard, conn)
		}),
		"redis": listen(t, func(conn net.Conn) {
			for request(conn) {
				_, _ = io.WriteString(conn, "-ERR unknown command 'GET'\r\n")
			}
		}),
	}
	for name, address := range tests {
		for _, hint := range []bool{false, true} {
			if name == "redis" && hint {
				continue // it waits for the end of a line that no ClientHello has: it is silent, not another protocol
			}
			result := scan(t, New(Options{}).withLimits(time.Second), newLab().Env, jobFor(address, "", hint))
			if result.Outcome != modelv1.Outcome_OUTCOME_COMPLETE || len(result.Observations) != 0 {
				t.Errorf("%s (tls %t): %v (%s) with %d observations, want complete with none", name, hint, result.Outcome, result.Reason, len(result.Observations))
			}
		}
	}
}

func TestRefusedByTheGuard(t *testing.T) {
	env := probes.Env{Guard: netguard.New(netguard.Options{})}
	result := scan(t, New(Options{}), env, jobFor("127.0.0.1:80", "", false))
	if result.Outcome != modelv1.Outcome_OUTCOME_NOT_PERMITTED || !strings.Contains(result.Reason, "loopback") || strings.Contains(result.Reason, "127.") {
		t.Errorf("got %v (%s); want not permitted, by the rule's name and without the address", result.Outcome, result.Reason)
	}
	if result = scan(t, New(Options{}), newLab().Env, jobFor("169.254.169.254:80", "inside.test", false)); result.Outcome != modelv1.Outcome_OUTCOME_NOT_PERMITTED {
		t.Errorf("got %v (%s); want not permitted", result.Outcome, result.Reason)
	}
}

func TestPassiveSendsNothing(t *testing.T) {
	world := newLab()
	job := jobFor("127.0.0.1:80", "", false)
	job.Options.Profile = modelv1.Profile_PROFILE_PASSIVE
	if result := scan(t, New(Options{}), world.Env, job); result.Outcome != modelv1.Outcome_OUTCOME_NOT_PERMITTED || len(world.dialed) != 0 {
		t.Errorf("%v (%s), dialled %v", result.Outcome, result.Reason, world.dialed)
	}
}

func TestTargetsWithoutPlace(t *testing.T) {
	for name, target := range map[string]*modelv1.Target{"no port": {Host: "a.test"}, "no host": {Port: 80}, "none": nil} {
		if _, err := New(Options{}).Scan(t.Context(), newLab().Env, &modelv1.ScanJob{Target: target}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestBasicAuthentication(t *testing.T) {
	server := serve(t, false, func(w nethttp.ResponseWriter, _ *nethttp.Request) {
		w.Header().Add("WWW-Authenticate", `Digest realm="x"`)
		w.Header().Add("WWW-Authenticate", `Basic realm="Tomcat Manager Application"`)
		w.WriteHeader(nethttp.StatusUnauthorized)
	})
	fact, _ := factsOf(t, jobFor(server.Listener.Addr().String(), "", false))
	if !fact.GetBasicAuth() || fact.GetPanel() != "Tomcat Manager" || fact.GetStatus() != 401 {
		t.Errorf("got %v", fact)
	}
}

// The Django page for a missing path shows DEBUG, while the start page is fine.
func TestDebugPageOfAMissingPath(t *testing.T) {
	server := serve(t, false, func(w nethttp.ResponseWriter, r *nethttp.Request) {
		if r.URL.Path != "/" {
			w.WriteHeader(nethttp.StatusNotFound)
			_, _ = io.WriteString(w, "<p>You're seeing this error because you have <code>DEBUG = True</code> in your file</p>")
		}
	})
	if fact, _ := factsOf(t, jobFor(server.Listener.Addr().String(), "", false)); fact.GetDebugPage() != "django" {
		t.Errorf("debug page %q, want django", fact.GetDebugPage())
	}
}

func TestScannerIsToldToStop(t *testing.T) {
	var requests atomic.Int32
	server := serve(t, false, func(w nethttp.ResponseWriter, r *nethttp.Request) {
		if requests.Add(1) > 5 {
			w.WriteHeader(nethttp.StatusTooManyRequests)
		}
	})
	result := scan(t, New(Options{}), newLab().Env, jobFor(server.Listener.Addr().String(), "", false))
	if result.Outcome != modelv1.Outcome_OUTCOME_PARTIAL || !strings.Contains(result.Reason, "429") || requests.Load() > 5+maxRefusals+parallel {
		t.Errorf("%v (%s) after %d requests; want partial after few", result.Outcome, result.Reason, requests.Load())
	}
}

func TestPathOfAURL(t *testing.T) {
	server := serve(t, false, func(w nethttp.ResponseWriter, r *nethttp.Request) {
		if r.URL.Path == "/app/" && r.URL.RawQuery == "a=b" {
			_, _ = io.WriteString(w, "here")
			return
		}
		nethttp.NotFound(w, r)
	})
	job := jobFor(server.Listener.Addr().String(), "", false)
	job.Target.Path = "/app/?a=b"
	if fact, _ := factsOf(t, job); fact.GetStatus() != 200 || !strings.HasSuffix(fact.GetUrl(), "/app/?a=b") {
		t.Errorf("got %v", fact)
	}
	job.Target.Path = "http://evil.test/"
	world := newLab()
	if result := scan(t, New(Options{}), world.Env, job); result.Outcome != modelv1.Outcome_OUTCOME_FAILED || len(world.dialed) != 0 {
		t.Errorf("a path that leads elsewhere: %v, dialled %v", result.Outcome, world.dialed)
	}
}

func TestPermitsForEachRequest(t *testing.T) {
	var requests, permits atomic.Int32
	server := serve(t, false, func(nethttp.ResponseWriter, *nethttp.Request) { requests.Add(1) })
	world := newLab()
	world.Permit = permitCounter(t, &permits)
	scan(t, New(Options{}), world.Env, jobFor(server.Listener.Addr().String(), "", false))
	if most := int32(standardPaths + otherRequests + 1); requests.Load() != permits.Load() || requests.Load() < 80 || requests.Load() > most {
		t.Errorf("%d requests with %d permits, want one each and 80 to %d", requests.Load(), permits.Load(), most)
	}
	requests.Store(0)
	job := jobFor(server.Listener.Addr().String(), "", false)
	job.Options.Profile = modelv1.Profile_PROFILE_DEEP
	scan(t, New(Options{}), newLab().Env, job)
	if most := int32(deepPaths + otherRequests + 1); requests.Load() < 200 || requests.Load() > most {
		t.Errorf("%d requests of a deep scan, want 200 to %d", requests.Load(), most)
	}
}

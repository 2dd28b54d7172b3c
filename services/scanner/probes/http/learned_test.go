package http

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	nethttp "net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

// sharing answers Origin as a careless comparison would.
func sharing(allows func(origin string) bool, credentials bool) nethttp.HandlerFunc {
	return func(w nethttp.ResponseWriter, r *nethttp.Request) {
		if origin := r.Header.Get("Origin"); origin != "" && allows(origin) {
			w.Header().Set("Access-Control-Allow-Origin", origin)
			if credentials {
				w.Header().Set("Access-Control-Allow-Credentials", "true")
			}
		}
	}
}

func TestOriginsThatLookTrusted(t *testing.T) {
	null := &modelv1.CorsTrust{Kind: "null", Origin: "null", Credentials: true}
	suffix := &modelv1.CorsTrust{Kind: "suffix", Origin: "https://www.shop.test.riskprofiler-cors-check.example"}
	prefix := &modelv1.CorsTrust{Kind: "prefix", Origin: "https://riskprofiler-cors-checkshop.test", Credentials: true}
	tests := []struct {
		name        string
		host        string
		allows      func(string) bool
		credentials bool
		want        *modelv1.CorsFact
	}{
		{"nobody", "www.shop.test", func(string) bool { return false }, false, nil},
		{"everybody", "www.shop.test", func(string) bool { return true }, true, &modelv1.CorsFact{AllowOrigin: foreignOrigin, ReflectsOrigin: true, AllowsCredentials: true}},
		{"null", "www.shop.test", func(o string) bool { return o == "null" }, true, &modelv1.CorsFact{Trusts: []*modelv1.CorsTrust{null}}},
		{"a prefix compared", "www.shop.test", func(o string) bool { return strings.HasPrefix(o, "https://www.shop.test") }, false, &modelv1.CorsFact{Trusts: []*modelv1.CorsTrust{suffix}}},
		{"a suffix compared", "www.shop.test", func(o string) bool { return strings.HasSuffix(o, "shop.test") }, true, &modelv1.CorsFact{Trusts: []*modelv1.CorsTrust{prefix}}},
		{"a subdomain is its own", "www.shop.test", func(o string) bool { return strings.HasSuffix(o, ".shop.test") }, true, nil},
		{"an address has no domain", "", func(o string) bool { return strings.Contains(o, "127") }, true, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			server := serve(t, false, sharing(test.allows, test.credentials))
			fact, _ := factsOf(t, jobFor(server.Listener.Addr().String(), test.host, false))
			if diff := cmp.Diff(test.want, fact.GetCors(), protocmp.Transform()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// Who names one origin to everybody trusts that one alone.
func TestOneTrustedOrigin(t *testing.T) {
	server := serve(t, false, func(w nethttp.ResponseWriter, _ *nethttp.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "https://www.partner.test")
		w.Header().Set("Access-Control-Allow-Credentials", "true")
	})
	fact, _ := factsOf(t, jobFor(server.Listener.Addr().String(), "www.shop.test", false))
	want := &modelv1.CorsFact{AllowOrigin: "https://www.partner.test", AllowsCredentials: true}
	if diff := cmp.Diff(want, fact.GetCors(), protocmp.Transform()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestSecurityTxtFiles(t *testing.T) {
	const good = "Contact: mailto:security@a.test\nExpires: 2027-01-01T00:00:00Z\n"
	tests := []struct {
		name, body, kind string
		path             string
		found            bool // at its place
		legacy, signed   bool
		notCanonical     bool
		contacts         int
		faults           []string
	}{
		{name: "good", body: good, found: true, contacts: 1},
		{name: "in windows lines with a mark", body: "\ufeff# hi\r\ncontact: https://a.test/report\r\nEXPIRES: 2027-01-01T00:00:00+02:00\r\n", found: true, contacts: 1},
		{name: "at the old place", body: good, path: "/security.txt", legacy: true, contacts: 1},
		{name: "signed", body: "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n" + good + "-----BEGIN PGP SIGNATURE-----\nContact: mailto:evil@b.test\n", found: true, signed: true, contacts: 1},
		{name: "no Expires", body: "Contact: tel:+1-201-555-0123\n", found: true, contacts: 1, faults: []string{"no Expires"}},
		{name: "bad date", body: "Contact: mailto:a@b.test\nExpires: next year\n", found: true, contacts: 1, faults: []string{"Expires is no date of RFC 3339"}},
		{name: "two dates", body: good + "Expires: 2028-01-01T00:00:00Z\n", found: true, contacts: 1, faults: []string{"more than one Expires"}},
		{name: "contact that is none", body: "Contact: security@a.test\nExpires: 2027-01-01T00:00:00Z\n", found: true, contacts: 1, faults: []string{"Contact is no address of the web, mail or telephone"}},
		{name: "another's", body: good + "Canonical: https://b.test/.well-known/security.txt\n", found: true, contacts: 1, notCanonical: true},
		{name: "type", body: good, kind: "application/octet-stream", found: true, contacts: 1, faults: []string{"not text/plain"}},
		{name: "a page", body: good, kind: "text/html"},
		{name: "another text", body: "hello\n"},
		{name: "contacts without end", body: strings.Repeat("Contact: mailto:a@b.test\n", 1000), found: true, contacts: maxContacts, faults: []string{"no Expires"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			server := serve(t, false, func(w nethttp.ResponseWriter, r *nethttp.Request) {
				path, kind := test.path, test.kind
				if path == "" {
					path = "/.well-known/security.txt"
				}
				if kind == "" {
					kind = "text/plain; charset=utf-8"
				}
				if r.URL.Path != path {
					nethttp.NotFound(w, r)
					return
				}
				w.Header().Set("Content-Type", kind)
				_, _ = io.WriteString(w, test.body)
			})
			fact, _ := factsOf(t, jobFor(server.Listener.Addr().String(), "a.test", false))
			file := fact.GetSecurityTxtFile()
			if fact.GetSecurityTxt() != test.found || len(file.GetContacts()) != test.contacts || file.GetLegacyPlace() != test.legacy || file.GetSigned() != test.signed ||
				file.GetNotCanonical() != test.notCanonical || !slices.Equal(file.GetFaults(), test.faults) {
				t.Errorf("found %t, %v", fact.GetSecurityTxt(), file)
			}
		})
	}
}

func FuzzSecurityTxt(f *testing.F) {
	f.Add([]byte("Contact: mailto:a@b.test\nExpires: 2027-01-01T00:00:00Z\nCanonical: x"), "text/plain")
	at, _ := url.Parse("https://a.test/.well-known/security.txt")
	f.Fuzz(func(t *testing.T, body []byte, kind string) {
		file := readSecurityTxt(&reply{url: at, status: 200, header: nethttp.Header{"Content-Type": {kind}}, body: body})
		if len(file.GetContacts()) > maxContacts || len(file.GetFaults()) > maxFaults || strings.ContainsAny(strings.Join(file.GetContacts(), ""), "\x00\x1b\n\u202e") {
			t.Errorf("%v", file)
		}
	})
}

func TestMethods(t *testing.T) {
	for name, test := range map[string]struct {
		allow, dav string
		status     int
		methods    []string
		webdav     bool
	}{
		"webdav":          {"OPTIONS,GET,PROPFIND,PUT", "1,2", 200, []string{"GET", "OPTIONS", "PROPFIND", "PUT"}, true},
		"header alone":    {"GET,HEAD", "1", 200, []string{"GET", "HEAD"}, false},
		"none":            {"", "", 204, nil, false},
		"refused":         {"PROPFIND", "1", 405, nil, false},
		"what is no word": {"GET, \"x\", <script>, " + strings.Repeat("A", 100), "", 200, []string{"GET"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			server := serve(t, false, func(w nethttp.ResponseWriter, r *nethttp.Request) {
				if r.Method == nethttp.MethodOptions {
					w.Header().Set("Allow", test.allow)
					w.Header().Set("DAV", test.dav)
					w.WriteHeader(test.status)
				}
			})
			fact, _ := factsOf(t, jobFor(server.Listener.Addr().String(), "", false))
			if !slices.Equal(fact.GetMethods(), test.methods) || fact.GetWebdav() != test.webdav {
				t.Errorf("%q, %t", fact.GetMethods(), fact.GetWebdav())
			}
		})
	}
}

func TestCookieScope(t *testing.T) {
	server := serve(t, true, func(w nethttp.ResponseWriter, _ *nethttp.Request) {
		w.Header().Add("Set-Cookie", "sid=x; Domain=.Shop.test; Path=/app; Secure; HttpOnly; SameSite=None")
	})
	fact, _ := factsOf(t, jobFor(server.Listener.Addr().String(), "www.shop.test", true))
	want := &modelv1.Cookie{Name: "sid", Session: true, Secure: true, HttpOnly: true, SameSite: "None", Domain: "shop.test", Path: "/app"}
	if diff := cmp.Diff([]*modelv1.Cookie{want}, fact.GetCookies(), protocmp.Transform()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestFoldersOfThePage(t *testing.T) {
	got := folders([]string{"/a/b/1.js", "/a/b/2.js", "/c/1.png", "/", "/x.js", "/uploads/y", "/d/1", "/e/1", "/f/1", "/g/1"}, places(false, ""))
	var paths []string
	for _, p := range got {
		paths = append(paths, p.path)
	}
	if !slices.Equal(paths, []string{"/a/b/", "/c/", "/d/", "/e/"}) {
		t.Errorf("%q", paths)
	}
}

// pauses notes what a host asked for, and lets permits wait for it as the table of limits does.
type pauses struct {
	mu    sync.Mutex
	until []time.Time
}

func (p *pauses) pause(_ context.Context, host string, until time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if host != "127.0.0.1" {
		return errors.New("pause for " + host)
	}
	p.until = append(p.until, until)
	return nil
}

func (p *pauses) permit(ctx context.Context, _ string, _ int) error {
	p.mu.Lock()
	var wait time.Duration
	for _, until := range p.until {
		wait = max(wait, time.Until(until))
	}
	p.mu.Unlock()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

func (p *pauses) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.until)
}

// Who asks for a second of peace gets it: each request has a permit, which waits, and everything is asked in the end, what was refused
// a second time. The scan is complete.
func TestBackOffForAWhile(t *testing.T) {
	var requests, permits atomic.Int32
	var refused atomic.Value
	asked := map[string]int{}
	var mu sync.Mutex
	server := serve(t, false, func(w nethttp.ResponseWriter, r *nethttp.Request) {
		mu.Lock()
		asked[r.Method+r.URL.RequestURI()]++
		mu.Unlock()
		if requests.Add(1) == 20 {
			refused.Store(r.Method + r.URL.RequestURI())
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(nethttp.StatusTooManyRequests)
		}
	})
	world, told := newLab(), &pauses{}
	world.Pause = told.pause
	world.Permit = func(ctx context.Context, host string, cost int) error {
		permits.Add(int32(cost))
		return told.permit(ctx, host, cost)
	}
	result := scan(t, New(Options{}), world.Env, jobFor(server.Listener.Addr().String(), "", false))
	if result.Outcome != modelv1.Outcome_OUTCOME_COMPLETE || told.count() != 1 || requests.Load() != permits.Load() {
		t.Errorf("%v (%s) with %d pauses, %d requests with %d permits; want complete with one pause", result.Outcome, result.Reason, told.count(), requests.Load(), permits.Load())
	}
	if asked[fmt.Sprint(refused.Load())] < 2 {
		t.Errorf("%v was asked for once", refused.Load())
	}
}

// Who asks for an hour is left alone at once; who asks again and again is left alone soon.
func TestBackOffForLong(t *testing.T) {
	for name, test := range map[string]struct {
		after string
		most  int32
	}{"an hour": {"3600", 1 + 2*parallel}, "no time": {"0", 40}} {
		var refused atomic.Int32
		server := serve(t, false, func(w nethttp.ResponseWriter, r *nethttp.Request) {
			if r.URL.Path != "/" {
				refused.Add(1)
				w.Header().Set("Retry-After", test.after)
				w.WriteHeader(nethttp.StatusServiceUnavailable)
			}
		})
		world, asked := newLab(), &pauses{}
		world.Pause = asked.pause
		result := scan(t, New(Options{}), world.Env, jobFor(server.Listener.Addr().String(), "", false))
		if result.Outcome != modelv1.Outcome_OUTCOME_PARTIAL || refused.Load() > test.most || asked.count() == 0 {
			t.Errorf("%s: %v (%s) after %d refusals, %d pauses", name, result.Outcome, result.Reason, refused.Load(), asked.count())
		}
	}
}

// Connections that break off one after the other are a request for less, too; the ones by which we learn what is spoken are not.
func TestBackOffAfterResets(t *testing.T) {
	var answered atomic.Int32
	address := listen(t, func(conn net.Conn) {
		if !request(conn) {
			return
		}
		if answered.Add(1) > 1 {
			_ = conn.(*net.TCPConn).SetLinger(0)
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	})
	world, asked := newLab(), &pauses{}
	world.Pause = asked.pause
	result := scan(t, New(Options{}), world.Env, jobFor(address, "", false))
	if result.Outcome != modelv1.Outcome_OUTCOME_PARTIAL || asked.count() == 0 {
		t.Errorf("%v (%s), %d pauses", result.Outcome, result.Reason, asked.count())
	}
	silent, asked := newLab(), &pauses{}
	silent.Pause = asked.pause
	resets := listen(t, func(conn net.Conn) { _ = conn.(*net.TCPConn).SetLinger(0) })
	if scan(t, New(Options{}), silent.Env, jobFor(resets, "", true)); asked.count() != 0 {
		t.Errorf("%d pauses for a server that speaks something else", asked.count())
	}
}

// Requests name whoever the operator says.
func TestRequestsNameTheContact(t *testing.T) {
	var agent atomic.Value
	server := serve(t, false, func(_ nethttp.ResponseWriter, r *nethttp.Request) { agent.Store(r.UserAgent()) })
	world := newLab()
	world.Contact = "https://scanner.test/contact"
	scan(t, New(Options{}), world.Env, quick(jobFor(server.Listener.Addr().String(), "", false)))
	if got := fmt.Sprint(agent.Load()); got != "RiskProfiler/1 (+https://scanner.test/contact)" {
		t.Errorf("user agent %q", got)
	}
}

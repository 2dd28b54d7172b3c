package netguard_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/netguard"
)

// tricks are URLs that lead to a forbidden address, or try to. {S} is the port of the sentinel, which
// listens on 127.0.0.1, 127.0.0.2 and ::1; {H} is the start server's host:port.
var tricks = []string{
	// Plain.
	"http://127.0.0.1:{S}/", "http://127.0.0.2:{S}/", "https://127.0.0.1:{S}/", "//127.0.0.1:{S}/", "HTTP://127.0.0.1:{S}/",
	"http://localhost:{S}/", "http://LOCALHOST:{S}/", "http://localhost.:{S}/", "http://a.b.localhost:{S}/",
	// Numbers.
	"http://2130706433:{S}/", "http://0x7f000001:{S}/", "http://0X7F000001:{S}/", "http://017700000001:{S}/", "http://127.1:{S}/",
	"http://127.0.1:{S}/", "http://0x7f.0x0.0x0.0x1:{S}/", "http://0177.0.0.1:{S}/", "http://0x7f.1:{S}/", "http://127.0.0.01:{S}/",
	"http://127.000.000.001:{S}/", "http://127.0.0.1.:{S}/", "http://6425673729:{S}/", "http://0:{S}/", "http://0x0:{S}/", "http://00:{S}/",
	"http://0.0.0.0:{S}/", "http://127.0.0.257:{S}/",
	// IPv6.
	"http://[::1]:{S}/", "http://[0:0:0:0:0:0:0:1]:{S}/", "http://[::]:{S}/", "http://[::ffff:127.0.0.1]:{S}/", "http://[::ffff:7f00:1]:{S}/",
	"http://[0:0:0:0:0:ffff:127.0.0.1]:{S}/", "http://[::FFFF:0.0.0.0]:{S}/", "http://[::127.0.0.1]:{S}/", "http://[::7f00:1]:{S}/",
	"http://[64:ff9b::127.0.0.1]:{S}/", "http://[64:ff9b:1::7f00:1]:{S}/", "http://[2002:7f00:1::]:{S}/", "http://[2001:0:7f00:1::]:{S}/",
	"http://[::ffff:0:7f00:1]:{S}/", "http://[::1%25lo]:{S}/", "http://[fe80::1%25lo]:{S}/", "http://[127.0.0.1]:{S}/",
	// User information, ports and slashes.
	"http://start.test@127.0.0.1:{S}/", "http://{H}@127.0.0.1:{S}/", "http://start.test%40127.0.0.1:{S}/", "http://u:p@{H}/",
	"http://@127.0.0.1:{S}/", "http://127.0.0.1:{S}\\@start.test/", "http://start.test\\@127.0.0.1:{S}/", "http:///127.0.0.1:{S}/",
	"http:127.0.0.1:{S}", "http://127.0.0.1:+{S}/", "http://127.0.0.1:0{S}/", "http://127.0.0.1:{S}:80/", "http://127.0.0.1 :{S}/",
	"http://127.0.0.1%00:{S}/", "http://%31%32%37.0.0.1:{S}/", "http://127.0.0.1:/", "http://:{S}/", "http://.:{S}/",
	// Other alphabets, which net/http maps to ASCII before it dials.
	"http://127。0。0。1:{S}/", "http://127．0．0．1:{S}/", "http://127｡0｡0｡1:{S}/", "http://１２７.0.0.1:{S}/", "http://①②⑦.⓪.⓪.①:{S}/",
	"http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ:{S}/", "http://loc\u00adalhost:{S}/", "http://localhost\u200d:{S}/", "http://xn--localhost-:{S}/",
	// Names.
	"http://in4.test:{S}/", "http://in6.test:{S}/", "http://mapped.test:{S}/", "http://nat64.test:{S}/", "http://alias.test:{S}/",
	"http://zero.test:{S}/", "http://private.test:{S}/", "http://meta.test/", "http://start.test:{S}/", "http://127.0.0.1.nip.test:{S}/",
	// Cloud metadata.
	"http://169.254.169.254/latest/meta-data/", "http://2852039166/", "http://0xa9fea9fe/", "http://0251.0376.0251.0376/",
	"http://[::ffff:169.254.169.254]/", "http://[fd00:ec2::254]/", "http://[64:ff9b::a9fe:a9fe]/", "http://169.254.170.2/",
	"http://100.100.100.200/", "http://168.63.129.16/",
	// Other schemes.
	"ftp://127.0.0.1:{S}/", "gopher://127.0.0.1:{S}/_x", "file:///etc/passwd", "unix:///run/docker.sock", "dict://127.0.0.1:{S}/",
	"data:text/plain,x", "javascript:alert(1)", "jar:http://127.0.0.1:{S}!/", "ws://127.0.0.1:{S}/", "://127.0.0.1:{S}/",
	"http://127.0.0.1:{S}/" + strings.Repeat("a", 9000),
}

// maze is a start server that the guard may reach, which redirects to a trick, and the sentinel.
type maze struct {
	guard    *netguard.Guard
	resolver string
	start    string // host:port
	sentinel *sentinel

	mu   sync.Mutex
	hits map[string]int // requests by path
}

func newMaze(t *testing.T) *maze {
	t.Helper()
	m := &maze{hits: map[string]int{}, sentinel: newSentinel(t, 0, "127.0.0.1", "127.0.0.2", "::1")}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.mu.Lock()
		m.hits[r.URL.Path]++
		m.mu.Unlock()
		var trick int
		if _, err := fmt.Sscanf(r.URL.Path, "/go/%d", &trick); err == nil {
			w.Header()["Location"] = []string{m.fill(tricks[trick])}
			w.WriteHeader(http.StatusFound)
		}
	}))
	t.Cleanup(server.Close)
	addr := addrPort(t, server.Listener.Addr())
	m.start = fmt.Sprintf("start.test:%d", addr.Port())
	m.resolver = newNameServer(t, records(t,
		"start.test. 0 IN A 127.0.0.1", "in4.test. 0 IN A 127.0.0.2", "in6.test. 0 IN AAAA ::1",
		"mapped.test. 0 IN AAAA ::ffff:127.0.0.1", "nat64.test. 0 IN AAAA 64:ff9b::127.0.0.1",
		"alias.test. 0 IN CNAME in4.test.", "zero.test. 0 IN A 0.0.0.0", "private.test. 0 IN A 10.0.0.1",
		"meta.test. 0 IN A 169.254.169.254", "127.0.0.1.nip.test. 0 IN A 127.0.0.1",
		"127.1. 0 IN A 127.0.0.1", "2130706433. 0 IN A 127.0.0.1", // what a name server may say if asked
	)).addr
	m.guard = netguard.New(netguard.Options{Resolver: m.resolver, AllowExact: []netip.AddrPort{addr}})
	return m
}

func (m *maze) fill(trick string) string {
	return strings.NewReplacer("{S}", fmt.Sprint(m.sentinel.port), "{H}", m.start).Replace(trick)
}

// redirect is the URL of the start server that redirects to the trick of that number.
func (m *maze) redirect(trick int) string { return fmt.Sprintf("http://%s/go/%d", m.start, trick) }

func (m *maze) visits(path string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.hits[path]
}

// Each trick is followed from a server that may be reached, and must end there.
func TestRedirectTricks(t *testing.T) {
	m := newMaze(t)
	for i, trick := range tricks {
		to := m.fill(trick)
		client := m.guard.HTTPClient(m.guard.NewSession(), 5, nil)
		response, err := client.Get(m.redirect(i))
		if err == nil {
			response.Body.Close()
			t.Errorf("%.100q: followed to %.100s", to, response.Request.URL)
		}
		if m.visits(fmt.Sprintf("/go/%d", i)) != 1 {
			t.Errorf("%.100q: the redirect was not tried: %.200v", to, err)
		}
		if n := m.sentinel.count.Load(); n != 0 {
			t.Fatalf("%.100q: the sentinel was reached", to)
		}
	}
	t.Logf("%d redirects, 0 connections", len(tricks))
}

// The same as a tenant would give them, for a webhook.
func TestURLTricks(t *testing.T) {
	m := newMaze(t)
	for _, trick := range tricks {
		to := m.fill(trick)
		client := m.guard.HTTPClient(nil, 0, nil)
		if response, err := client.Get(to); err == nil {
			response.Body.Close()
			t.Errorf("%.100q: answered", to)
		}
		if n := m.sentinel.count.Load(); n != 0 {
			t.Fatalf("%.100q: the sentinel was reached", to)
		}
	}
	if m.visits("/") != 0 {
		t.Error("a URL with user information reached the start server")
	}
	t.Logf("%d URLs, 0 connections", len(tricks))
}

// The witness can see, and the tricks are real: without a guard they reach it.
func TestTricksReachTheSentinelWithoutGuard(t *testing.T) {
	m := newMaze(t)
	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, m.resolver)
	}}
	naive := &http.Client{Transport: &http.Transport{
		DialContext:       (&net.Dialer{Resolver: resolver, Control: onlyLoopback}).DialContext,
		DisableKeepAlives: true,
	}}
	fooled := 0
	for i := range tricks {
		before := m.sentinel.count.Load()
		response, err := naive.Get(m.redirect(i))
		if err == nil {
			response.Body.Close()
		}
		if m.sentinel.count.Load() > before {
			fooled++
		}
	}
	if fooled < 20 {
		t.Errorf("only %d of %d tricks reach the sentinel without the guard", fooled, len(tricks))
	}
	t.Logf("%d of %d tricks fool a plain client", fooled, len(tricks))
}

func TestRedirectsDropCredentials(t *testing.T) {
	var last http.Header
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		last = r.Header.Clone()
		if r.URL.Path == "/a" {
			w.Header().Set("Set-Cookie", "planted=1")
			http.Redirect(w, r, "/b?key=1", http.StatusMovedPermanently)
		}
		if r.URL.Path == "/b" {
			http.Redirect(w, r, "/c", http.StatusTemporaryRedirect)
		}
	}))
	defer server.Close()
	guard := netguard.New(netguard.Options{AllowPrivate: true})
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/a", nil)
	if err != nil {
		t.Fatal(err)
	}
	kept := http.Header{"User-Agent": {"RiskProfiler"}, "From": {"security@example.com"}, "Accept": {"*/*"},
		"Accept-Language": {"en"}, "Accept-Encoding": {"identity"}}
	request.Header = kept.Clone()
	for _, name := range []string{"Authorization", "Cookie", "Proxy-Authorization", "X-Api-Key", "Apikey", "Www-Authenticate"} {
		request.Header.Set(name, "secret")
	}
	response, err := guard.HTTPClient(nil, 2, nil).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	last.Del("Connection") // the transport's own
	if diff := cmp.Diff(kept, last); diff != "" || response.Request.URL.Path != "/c" {
		t.Errorf("at %s: %s", response.Request.URL, diff)
	}
}

func TestRedirectRules(t *testing.T) {
	outside := errors.New("outside the scope")
	var visited []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		visited = append(visited, r.URL.Path)
		var hop int
		if _, err := fmt.Sscanf(r.URL.Path, "/hop%d", &hop); err == nil && hop > 0 {
			http.Redirect(w, r, fmt.Sprintf("/hop%d", hop-1), http.StatusTemporaryRedirect)
		}
	}))
	defer server.Close()
	guard := netguard.New(netguard.Options{AllowPrivate: true})
	same := func(u *url.URL) error {
		if u.Path == "/hop1" {
			return outside
		}
		return nil
	}
	for name, c := range map[string]struct {
		method, path string
		limit        int
		same         func(*url.URL) error
		rule         string // "" : arrives
		requests     int
	}{
		"within":        {"GET", "/hop5", 5, nil, "", 6},
		"head":          {"HEAD", "/hop1", 5, nil, "", 2},
		"one too many":  {"GET", "/hop6", 5, nil, netguard.RuleRedirect, 6},
		"none allowed":  {"GET", "/hop1", 0, nil, netguard.RuleRedirect, 1},
		"none needed":   {"POST", "/hop0", 0, nil, "", 1},
		"body repeated": {"POST", "/hop1", 5, nil, netguard.RuleRedirect, 1},
		"leaves scope":  {"GET", "/hop3", 5, same, netguard.RuleScope, 2},
	} {
		visited = nil
		request, err := http.NewRequestWithContext(t.Context(), c.method, server.URL+c.path, strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		response, err := guard.HTTPClient(nil, c.limit, c.same).Do(request)
		if response != nil {
			response.Body.Close()
		}
		var refusal *netguard.RefusedError
		rule := ""
		if errors.As(err, &refusal) {
			rule = refusal.Rule
		}
		if rule != c.rule || (err != nil) != (c.rule != "") || len(visited) != c.requests {
			t.Errorf("%s: %d requests, %v, want %d and rule %q", name, len(visited), err, c.requests, c.rule)
		}
		if c.rule == netguard.RuleScope && !errors.Is(err, outside) {
			t.Errorf("%s: %v does not carry the caller's error", name, err)
		}
	}
}

func TestCheckURL(t *testing.T) {
	guard := netguard.New(netguard.Options{AllowExact: []netip.AddrPort{netip.MustParseAddrPort("10.0.0.1:80")}})
	for text, want := range map[string]fault.Code{
		"https://example.com/": fault.OK, "http://example.com:8080/a?b=c#d": fault.OK, "http://8.8.8.8": fault.OK,
		"http://[2a00::1]:80/": fault.OK, "http://10.0.0.1/": fault.OK, "http://xn--bcher-kva.ch/": fault.OK,
		"http://10.0.0.2/": fault.PermissionDenied, "http://[::1]/": fault.PermissionDenied,
		"https://user@example.com/": fault.Invalid, "https://bücher.ch/": fault.Invalid, "/relative": fault.Invalid,
		"ftp://example.com/": fault.Invalid, "mailto:a@example.com": fault.Invalid, "https://example.com:/": fault.Invalid,
	} {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if err := guard.CheckURL(u); fault.CodeOf(err) != want {
			t.Errorf("%s: %v, want %v", text, err, want)
		}
	}
	if err := guard.CheckURL(nil); !errors.Is(err, fault.Invalid) {
		t.Errorf("nil: %v", err)
	}
	secret := &url.URL{Scheme: "https", User: url.UserPassword("u", "hunter2"), Host: "a.test", RawQuery: "token=hunter2"}
	if err := guard.CheckURL(secret); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("error %v shows what the URL hides", err)
	}
}

// The transport is bounded, sends nothing to a proxy of the environment and decodes nothing.
func TestTransport(t *testing.T) {
	bomb := []byte("\x1f\x8b not really gzip")
	var encoding string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		encoding = r.Header.Get("Accept-Encoding")
		if r.URL.Path == "/big" {
			w.Header().Set("X-Big", strings.Repeat("a", netguard.MaxHeaderBytes))
		}
		if r.URL.Path == "/many" {
			for i := range 6000 {
				w.Header().Add("Set-Cookie", fmt.Sprintf("c%d=1", i))
			}
		}
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(bomb)
	}))
	defer server.Close()
	proxy := newSentinel(t, 0, "127.0.0.1")
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"} {
		t.Setenv(name, fmt.Sprintf("http://127.0.0.1:%d", proxy.port))
	}
	if os.Getenv("HTTP_PROXY") == "" {
		t.Fatal("the environment has no proxy to ignore")
	}
	guard := netguard.New(netguard.Options{AllowPrivate: true})
	transport := guard.HTTPTransport(nil)
	client := &http.Client{Transport: transport, CheckRedirect: guard.CheckRedirect(1, nil)}
	response, err := client.Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(response.Body)
	response.Body.Close()
	if err != nil || string(body) != string(bomb) || encoding != "" || !response.Close {
		t.Errorf("body %q %v, asked for encoding %q, close %v", body, err, encoding, response.Close)
	}
	for _, path := range []string{"/big", "/many"} {
		if response, err := client.Get(server.URL + path); err == nil {
			response.Body.Close()
			t.Errorf("%s: header was read", path)
		}
	}
	// net/http never takes loopback through a proxy of the environment, so look at the field too.
	if transport.Proxy != nil || proxy.count.Load() != 0 {
		t.Error("a proxy of the environment may be used")
	}
	if transport.Protocols.HTTP2() || transport.Protocols.UnencryptedHTTP2() || !transport.Protocols.HTTP1() {
		t.Errorf("protocols %v", transport.Protocols)
	}
}

func TestHTTP2OnlyWhenAsked(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.ProtoMajor)
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	for want, change := range map[string]func(*http.Transport){
		"1": func(*http.Transport) {},
		"2": func(tr *http.Transport) { tr.Protocols.SetHTTP2(true) },
	} {
		transport := netguard.New(netguard.Options{AllowPrivate: true}).HTTPTransport(nil)
		transport.TLSClientConfig.InsecureSkipVerify = true
		change(transport)
		response, err := (&http.Client{Transport: transport}).Get(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		got, _ := io.ReadAll(response.Body)
		response.Body.Close()
		transport.CloseIdleConnections()
		if string(got) != want {
			t.Errorf("HTTP/%s, want HTTP/%s", got, want)
		}
	}
}

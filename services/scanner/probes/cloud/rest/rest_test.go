package rest

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/netguard"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud"
)

const token = "canary-token-3f9"

// served is a server with a client for it, and what the client waited for.
func served(t *testing.T, h http.HandlerFunc) (*Client, string, *[]time.Duration) {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	var waits []time.Duration
	c := New(Options{
		Env: probes.Env{Guard: netguard.New(netguard.Options{AllowPrivate: true})}, Origins: []string{server.URL},
		Token: func(context.Context) (Secret, error) { return token, nil },
		Wait:  func(ctx context.Context, d time.Duration) error { waits = append(waits, d); return ctx.Err() },
	})
	t.Cleanup(c.Close)
	return c, server.URL, &waits
}

// However a provider answers, there is a problem with a kind, and no word of it but a code.
func TestAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		header map[string]string
		body   string
		kind   cloud.GapKind
		says   string
		waits  int
	}{
		"denied":      {403, nil, `{"error":{"code":"AuthorizationFailed","message":"canary-words"}}`, cloud.GapDenied, "AuthorizationFailed", 0},
		"no token":    {401, nil, `{"error":{"code":401,"status":"UNAUTHENTICATED"}}`, cloud.GapDenied, "UNAUTHENTICATED", 0},
		"not enabled": {403, nil, `{"error":{"code":403,"status":"PERMISSION_DENIED","details":[{"reason":"SERVICE_DISABLED"}]}}`, cloud.GapFailed, "not enabled", 0},
		"throttled":   {429, map[string]string{"Retry-After": "7"}, `{}`, cloud.GapThrottled, "fewer calls", 3},
		"no hurry":    {429, map[string]string{"Retry-After": "3600"}, `{}`, cloud.GapThrottled, "fewer calls", 0},
		"down":        {503, nil, `<html>canary-words</html>`, cloud.GapFailed, "it fails (503)", 3},
		"redirect":    {302, map[string]string{"Location": "http://127.0.0.1:1/canary-words"}, ``, cloud.GapFailed, "elsewhere", 0},
		"odd code":    {400, nil, `{"error":{"code":"canary words\n"}}`, cloud.GapFailed, "(400)", 0},
		"oauth":       {400, nil, `{"error":"invalid_client","error_description":"canary-words","error_codes":[7000215]}`, cloud.GapFailed, "invalid_client-AADSTS7000215", 0},
	} {
		t.Run(name, func(t *testing.T) {
			client, base, waits := served(t, func(w http.ResponseWriter, _ *http.Request) {
				for k, v := range c.header {
					w.Header().Set(k, v)
				}
				w.WriteHeader(c.status)
				_, _ = w.Write([]byte(c.body))
			})
			_, err := client.Get(t.Context(), base+"/x")
			var p *Problem
			if !errors.As(err, &p) || p.Kind != c.kind || !strings.Contains(p.Error(), c.says) || len(*waits) != c.waits {
				t.Fatalf("%v, waited %v", err, *waits)
			}
			if strings.Contains(err.Error(), "canary") {
				t.Errorf("the provider's words or the token: %v", err)
			}
		})
	}
}

// A provider that asks for patience once is asked again, after as long as it said.
func TestRetry(t *testing.T) {
	var calls atomic.Int32
	client, base, waits := served(t, func(w http.ResponseWriter, r *http.Request) {
		if calls.Add(1) == 1 {
			w.Header().Set("Retry-After", "3")
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		_, _ = w.Write([]byte(r.Header.Get("Authorization") + r.Header.Get("User-Agent")))
	})
	body, err := client.Get(t.Context(), base+"/x")
	if err != nil || !strings.HasPrefix(string(body), "Bearer "+token+"RiskProfiler/1") || len(*waits) != 1 || (*waits)[0] != 3*time.Second {
		t.Fatalf("%s %v %v", body, err, *waits)
	}
}

// A giant is not read to its end, and one that never ends is left at the scan's time.
func TestBodies(t *testing.T) {
	giant, base, _ := served(t, func(w http.ResponseWriter, _ *http.Request) {
		chunk := make([]byte, 1<<20)
		for range 64 {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	})
	if _, err := giant.Get(t.Context(), base+"/x"); Gap(err, "", "").Why != cloud.GapCut {
		t.Errorf("giant: %v", err)
	}
	hang := make(chan struct{})
	defer close(hang)
	silent, base, _ := served(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte("{"))
		_ = http.NewResponseController(w).Flush()
		select {
		case <-hang:
		case <-r.Context().Done():
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := silent.Get(ctx, base+"/x"); Gap(err, "", "").Why != cloud.GapTime {
		t.Errorf("silent: %v", err)
	}
}

// The token goes nowhere but where it is for: another host, another port, another scheme, a user before the host.
func TestForeign(t *testing.T) {
	var heard atomic.Int32
	foreign := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { heard.Add(1) }))
	defer foreign.Close()
	client, base, _ := served(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{}`)) })
	host := strings.TrimPrefix(base, "http://")
	for _, link := range []string{
		foreign.URL + "/x", "https://" + host + "/x", "http://x@" + host + "/x", "//" + host + "/x", "http://" + host + ".example/x", "/x", "file:///etc/passwd",
		"http://" + host + "@" + strings.TrimPrefix(foreign.URL, "http://") + "/",
	} {
		err := client.Pages(t.Context(), Request{Method: http.MethodGet, URL: base + "/first"}, func([]byte) (Request, error) {
			return Request{Method: http.MethodGet, URL: link}, nil
		})
		if Gap(err, "", "").Why != cloud.GapFailed || !strings.Contains(err.Error(), "not its own") {
			t.Errorf("%s: %v", link, err)
		}
	}
	if heard.Load() != 0 {
		t.Errorf("the foreign server was asked %d times", heard.Load())
	}
}

// A credential is not sent in clear text over a network.
func TestClearText(t *testing.T) {
	c := New(Options{Env: probes.Env{Guard: netguard.New(netguard.Options{AllowPrivate: true})}, Origins: []string{"http://10.1.2.3", "http://proxy.example"}})
	for _, base := range []string{"http://10.1.2.3/x", "http://proxy.example/x"} {
		if _, err := c.Get(t.Context(), base); err == nil || !strings.Contains(err.Error(), "clear text") {
			t.Errorf("%s: %v", base, err)
		}
	}
}

func TestPages(t *testing.T) {
	var asked atomic.Int32
	client, base, _ := served(t, func(w http.ResponseWriter, _ *http.Request) { asked.Add(1); _, _ = w.Write([]byte(`{}`)) })
	n := 0
	err := client.Pages(t.Context(), Request{URL: base + "/0"}, func([]byte) (Request, error) { n++; return Request{URL: fmt.Sprint(base, "/", n)}, nil })
	if Gap(err, "", "").Why != cloud.GapCut || asked.Load() != cloud.MaxPages {
		t.Errorf("without end: %v after %d", err, asked.Load())
	}
	asked.Store(0)
	err = client.Pages(t.Context(), Request{URL: base + "/a"}, func([]byte) (Request, error) { return Request{URL: base + "/a"}, nil })
	if err == nil || !strings.Contains(err.Error(), "circle") || asked.Load() != 1 {
		t.Errorf("a circle: %v after %d", err, asked.Load())
	}
}

// An account is worth so many calls and no more.
func TestCalls(t *testing.T) {
	client, base, _ := served(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{}`)) })
	client.calls = MaxCalls - 1
	if _, err := client.Get(t.Context(), base+"/x"); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Get(t.Context(), base+"/x"); Gap(err, "", "").Why != cloud.GapCut {
		t.Errorf("%v", err)
	}
}

func TestFault(t *testing.T) {
	if err := Fault(&Problem{Kind: cloud.GapDenied, Status: 403, text: "it refuses"}, "enter"); !errors.Is(err, fault.FailedPrecondition) {
		t.Error(err)
	}
	if err := Fault(&Problem{Down: true, text: "it cannot be reached"}, "enter"); !errors.Is(err, fault.Unavailable) {
		t.Error(err)
	}
}

func TestExchange(t *testing.T) {
	for body, ok := range map[string]bool{
		`{"access_token":"abc.def-_~+/=","token_type":"Bearer","expires_in":3599}`: true,
		`{"access_token":"two words"}`:                                             false,
		`{"access_token":"line\r\nX-Evil: 1"}`:                                     false,
		`{"access_token":""}`:                                                      false,
		`{"access_token":5}`:                                                       false,
		`<html>`:                                                                   false,
		`{"access_token":"` + strings.Repeat("a", maxToken+1) + `"}`:               false,
	} {
		client, base, _ := served(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(body)) })
		got, _, err := Exchange(t.Context(), client, base+"/token", url.Values{"a": {"b"}})
		if (err == nil) != ok || ok && got != "abc.def-_~+/=" {
			t.Errorf("%.60s: %v", body, err)
		}
	}
	calls := 0
	cached := Cached(func(context.Context) (Secret, time.Duration, error) { calls++; return "t", time.Hour, nil })
	for range 3 {
		if got, err := cached(t.Context()); err != nil || got != "t" {
			t.Fatal(err)
		}
	}
	if calls != 1 {
		t.Errorf("%d exchanges", calls)
	}
}

func TestSecretIsShownNowhere(t *testing.T) {
	s := Secret("canary-secret")
	if got := fmt.Sprintf("%s %v %#v %+v %q", s, s, s, struct{ S Secret }{s}, s); strings.Contains(got, "canary") {
		t.Error(got)
	}
}

func TestKey(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, leastKeyBits)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	_, curve, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	other, err := x509.MarshalPKCS8PrivateKey(curve)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		block pem.Block
		ok    bool
	}{
		"PKCS #8":     {pem.Block{Type: "PRIVATE KEY", Bytes: der}, true},
		"PKCS #1":     {pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}, true},
		"another":     {pem.Block{Type: "PRIVATE KEY", Bytes: other}, false},
		"cut":         {pem.Block{Type: "PRIVATE KEY", Bytes: der[:100]}, false},
		"certificate": {pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}, false},
	} {
		got, err := ParseKey(pem.EncodeToMemory(&c.block))
		if (err == nil) != c.ok || c.ok && !got.Equal(key) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWorld(t *testing.T) {
	for name, c := range map[string]struct {
		ranges []string
		want   bool
	}{
		"all":          {[]string{"0.0.0.0/0"}, true},
		"halves":       {[]string{"128.0.0.0/1", "0.0.0.0/1"}, true},
		"v6":           {[]string{"::/0"}, true},
		"word":         {[]string{"Internet"}, true},
		"half":         {[]string{"0.0.0.0/1"}, false},
		"nearly":       {[]string{"0.0.0.0/1", "128.0.0.0/2", "192.0.0.0/4", "208.0.0.0/5"}, false},
		"unicast":      {[]string{"1.0.0.0/8", "2.0.0.0/7", "4.0.0.0/6", "8.0.0.0/5", "16.0.0.0/4", "32.0.0.0/3", "64.0.0.0/2", "128.0.0.0/2", "192.0.0.0/3"}, true},
		"one":          {[]string{"203.0.113.7"}, false},
		"not a range":  {[]string{"VirtualNetwork", "0.0.0.0/33", ""}, false},
		"nothing":      {nil, false},
		"all in the v": {[]string{"10.0.0.0/8", "0.0.0.0/0"}, true},
	} {
		if got := World(c.ranges); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	var s Space
	s.AddRange(netip.MustParseAddr("0.0.0.0"), netip.MustParseAddr("255.255.255.255"))
	if !s.World() {
		t.Error("a range from first to last is not the world")
	}
}

// What is open by rules is what the first rule that fits says, port by port.
func TestOpen(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		span := rapid.Custom(func(t *rapid.T) Span {
			first := rapid.Uint32Range(0, 40).Draw(t, "first")
			return Span{Protocol: rapid.SampledFrom([]string{"tcp", "udp"}).Draw(t, "protocol"), First: first, Last: first + rapid.Uint32Range(0, 20).Draw(t, "more")}
		})
		rules := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Rule {
			return Rule{Priority: rapid.IntRange(0, 5).Draw(t, "priority"), Deny: rapid.Bool().Draw(t, "deny"), Spans: rapid.SliceOfN(span, 0, 3).Draw(t, "spans")}
		}), 0, 8).Draw(t, "rules")
		spans, all := Open(rules)
		if !all {
			t.Fatal("not all was weighed")
		}
		for _, protocol := range []string{"tcp", "udp"} {
			for port := range uint32(64) {
				hit := func(list []Span) bool {
					for _, s := range list {
						if s.Protocol == protocol && s.First <= port && port <= s.Last {
							return true
						}
					}
					return false
				}
				want, best := false, 1<<30
				for _, r := range rules {
					if hit(r.Spans) && (r.Priority < best || r.Priority == best && r.Deny) {
						best, want = r.Priority, !r.Deny
					}
				}
				if hit(spans) != want {
					t.Fatalf("%s %d: %v, want %v", protocol, port, hit(spans), want)
				}
			}
		}
	})
}

func TestDangling(t *testing.T) {
	var h Held
	h.Add([]string{"Mine.azurewebsites.net"}, []string{"20.50.2.1"})
	h.Add(nil, []string{"20.50.2.3"})
	h.Idle([]string{"20.50.2.3"})
	suffixes := []string{".azurewebsites.net"}
	for value, want := range map[string]string{
		"mine.azurewebsites.net.": "", "gone.azurewebsites.net": cloud.DanglingEnvironment, "a.b.gone.azurewebsites.net": "", "azurewebsites.net": "",
		"20.50.2.1": "", "20.50.2.3": cloud.DanglingIdleAddress, "20.50.2.2": cloud.DanglingAddress, "192.0.2.1": "", "example.com": "",
	} {
		if got, _ := h.Dangling("azure", []string{value}, suffixes); got != want {
			t.Errorf("%s: %q, want %q", value, got, want)
		}
	}
}

func FuzzAnswers(f *testing.F) {
	f.Add([]byte(`{"error":{"code":"A","status":"B","details":[{"reason":"C"}]},"error_codes":[1]}`))
	f.Add([]byte(`{"access_token":"a","expires_in":9223372036854775807}`))
	f.Add([]byte(`{"error":"x","error_codes":["y"]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		if code := codeOf(body); code != word(code) {
			t.Errorf("code %q", code)
		}
		if token, lasts, err := parseToken(body); err == nil && (!bearer(string(token)) || lasts < 0 || lasts > 24*time.Hour) {
			t.Errorf("token for %v", lasts)
		}
		_, _ = ParseKey(body)
	})
}

func FuzzTexts(f *testing.F) {
	f.Add("0.0.0.0/0", "1-65535")
	f.Add("::/0", "*")
	f.Fuzz(func(t *testing.T, a, b string) {
		World([]string{a, b})
		if first, last, ok := Ports(b); ok && (first > last || last > LastPort) {
			t.Errorf("%d-%d", first, last)
		}
		if d := retryAfter(a, time.Now()); d < 0 {
			t.Errorf("%v", d)
		}
		for _, h := range Hosts(a, b) {
			if h == "" {
				t.Error("an empty name")
			}
		}
		var held Held
		held.Dangling("azure", []string{a}, []string{b})
	})
}

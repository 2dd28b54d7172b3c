package netguard_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/netguard"
)

func guardAt(s *nameServer) *netguard.Guard {
	return netguard.New(netguard.Options{Resolver: s.addr})
}

func TestLookupNetIP(t *testing.T) {
	lines := []string{
		"a.test. 0 IN A 8.8.8.8", "a.test. 0 IN A 8.8.4.4", "a.test. 0 IN A 8.8.8.8", "a.test. 0 IN AAAA 2a00::1",
		"mapped.test. 0 IN AAAA ::ffff:1.1.1.1",
		"v6.test. 0 IN AAAA 2a00::2",
		"mixed.test. 0 IN A 10.0.0.1", "mixed.test. 0 IN A 1.1.1.1", "mixed.test. 0 IN AAAA ::1",
		"inner.test. 0 IN A 10.0.0.1", "inner.test. 0 IN AAAA fd00::1",
		"meta.test. 0 IN A 169.254.169.254",
		"empty.test. 0 IN TXT nothing",
		"alias.test. 0 IN CNAME deeper.test.", "deeper.test. 0 IN CNAME a.test.",
		"dangling.test. 0 IN CNAME nowhere.test.",
		"self.test. 0 IN CNAME self.test.",
		"ping.test. 0 IN CNAME pong.test.", "pong.test. 0 IN CNAME ping.test.",
		"numeric.test. 0 IN CNAME 127.0.0.1.",
		"odd.test. 0 IN CNAME a\\000b.test.",
		"c8.test. 0 IN CNAME c7.test.",
	}
	for i := range 12 {
		lines = append(lines, fmt.Sprintf("chain%d.test. 0 IN CNAME chain%d.test.", i+1, i))
	}
	lines = append(lines, "chain0.test. 0 IN A 8.8.8.8")
	for i := range 200 {
		lines = append(lines, fmt.Sprintf("many.test. 0 IN A 9.9.9.%d", i))
	}
	guard := guardAt(newNameServer(t, records(t, lines...)))
	var many []string
	for i := range netguard.MaxRecords {
		many = append(many, fmt.Sprintf("9.9.9.%d", i))
	}
	for name, want := range map[string][]string{
		"a.test": {"8.8.8.8", "8.8.4.4", "2a00::1"}, "A.TEST.": {"8.8.8.8", "8.8.4.4", "2a00::1"},
		"mapped.test": {"1.1.1.1"}, "v6.test": {"2a00::2"}, "mixed.test": {"1.1.1.1"},
		"alias.test":  {"8.8.8.8", "8.8.4.4", "2a00::1"},
		"chain8.test": {"8.8.8.8"}, // as deep as is followed
		"many.test":   many,        // too long for a datagram, so it came by TCP, and cut
		"8.8.8.8":     {"8.8.8.8"},
	} {
		got, err := guard.LookupNetIP(t.Context(), name)
		if diff := cmp.Diff(want, texts(got)); err != nil || diff != "" {
			t.Errorf("%s: %v %s", name, err, diff)
		}
	}
	for name, want := range map[string]fault.Code{
		"inner.test": fault.PermissionDenied, "meta.test": fault.PermissionDenied, "127.0.0.1": fault.PermissionDenied,
		"localhost": fault.PermissionDenied, "a.LOCALHOST.": fault.PermissionDenied,
		"nowhere.test": fault.NotFound, "empty.test": fault.NotFound, "dangling.test": fault.NotFound,
		"self.test": fault.Unavailable, "ping.test": fault.Unavailable, "chain9.test": fault.Unavailable,
		"numeric.test": fault.Unavailable, "odd.test": fault.Unavailable,
		"127.1": fault.Invalid, "a b.test": fault.Invalid,
	} {
		if got, err := guard.LookupNetIP(t.Context(), name); !errors.Is(err, want) {
			t.Errorf("%s: %v %v, want %v", name, got, err, want)
		}
	}
}

func TestRefusalNamesTheNameAndTheRule(t *testing.T) {
	guard := guardAt(newNameServer(t, records(t, "inner.test. 0 IN A 10.0.0.1")))
	_, err := guard.LookupNetIP(t.Context(), "inner.test")
	want := `refused "inner.test" at 10.0.0.1: private use (RFC 1918); ` +
		`the operator's AllowPrivate, or AllowExact for this address and port, would permit it`
	if err == nil || err.Error() != want {
		t.Errorf("error %q, want %q", err, want)
	}
}

func TestLocalhostNeedsNoServer(t *testing.T) {
	server := newNameServer(t, records(t))
	guard := netguard.New(netguard.Options{Resolver: server.addr, AllowPrivate: true})
	for _, name := range []string{"localhost", "LocalHost.", "app.localhost"} {
		got, err := guard.LookupNetIP(t.Context(), name)
		if diff := cmp.Diff([]string{"127.0.0.1", "::1"}, texts(got)); err != nil || diff != "" {
			t.Errorf("%s: %v %s", name, err, diff)
		}
	}
	if server.questions("localhost.", dns.TypeA) != 0 {
		t.Error("localhost was sent to the resolver (RFC 6761 6.3)")
	}
}

func TestLookupTXT(t *testing.T) {
	lines := []string{`proof.test. 0 IN TXT "one " "two"`, "proof.test. 0 IN TXT three", "alias.test. 0 IN CNAME proof.test."}
	for i := range 300 {
		lines = append(lines, fmt.Sprintf("many.test. 0 IN TXT %d", i))
	}
	guard := guardAt(newNameServer(t, records(t, lines...)))
	for _, name := range []string{"proof.test", "alias.test"} {
		got, err := guard.LookupTXT(t.Context(), name)
		if diff := cmp.Diff([]string{"one two", "three"}, got); err != nil || diff != "" {
			t.Errorf("%s: %v %s", name, err, diff)
		}
	}
	if got, err := guard.LookupTXT(t.Context(), "many.test"); err != nil || len(got) != netguard.MaxRecords {
		t.Errorf("many: %d texts, %v", len(got), err)
	}
	if _, err := guard.LookupTXT(t.Context(), "nowhere.test"); !errors.Is(err, fault.NotFound) {
		t.Errorf("nowhere: %v", err)
	}
}

// hostile is one way of a server to misbehave: the datagrams it sends, and what must come of it, an
// address or a code.
type hostile struct {
	datagrams func(q *dns.Msg) [][]byte
	want      string
}

func hostileAnswers(t *testing.T) map[string]hostile {
	good, evil := record(t, "x.test. 0 IN A 8.8.8.8"), record(t, "victim.test. 0 IN A 9.9.9.9")
	alias := record(t, "x.test. 0 IN CNAME x.test.")
	reply := func(q *dns.Msg, change func(*dns.Msg)) []byte {
		m := new(dns.Msg).SetReply(q)
		m.Answer = []dns.RR{good}
		change(m)
		packed, err := m.Pack()
		if err != nil {
			t.Error(err)
		}
		return packed
	}
	plain := func(q *dns.Msg) []byte { return reply(q, func(*dns.Msg) {}) }
	changed := func(change func(*dns.Msg)) func(*dns.Msg) [][]byte {
		return func(q *dns.Msg) [][]byte { return [][]byte{reply(q, change)} }
	}
	before := func(first func(*dns.Msg) [][]byte) func(*dns.Msg) [][]byte {
		return func(q *dns.Msg) [][]byte { return append(first(q), plain(q)) }
	}
	raw := func(change func(p []byte) []byte) func(*dns.Msg) [][]byte {
		return func(q *dns.Msg) [][]byte { return [][]byte{change(plain(q))} }
	}
	return map[string]hostile{
		"plain":          {changed(func(*dns.Msg) {}), "8.8.8.8"},
		"wrong id first": {before(changed(func(m *dns.Msg) { m.Id++; m.Answer = []dns.RR{evil} })), "8.8.8.8"},
		"no reply first": {before(changed(func(m *dns.Msg) { m.Response = false })), "8.8.8.8"},
		"other question": {before(changed(func(m *dns.Msg) { m.Question[0].Name = "y.test." })), "8.8.8.8"},
		"garbage first": {before(func(*dns.Msg) [][]byte {
			return [][]byte{{1}, {}, []byte(strings.Repeat("\xc0", 600))}
		}), "8.8.8.8"},
		"flood":           {func(*dns.Msg) [][]byte { return slices.Repeat([][]byte{{1}}, 32) }, "unavailable"},
		"other owner":     {changed(func(m *dns.Msg) { m.Answer = []dns.RR{evil} }), "not found"},
		"other owner too": {changed(func(m *dns.Msg) { m.Answer = []dns.RR{evil, good} }), "8.8.8.8"},
		"only additional": {changed(func(m *dns.Msg) { m.Extra, m.Answer = m.Answer, nil }), "not found"},
		"refused":         {changed(func(m *dns.Msg) { m.Rcode = dns.RcodeRefused }), "unavailable"},
		"server failure":  {changed(func(m *dns.Msg) { m.Rcode = dns.RcodeServerFailure }), "unavailable"},
		"cut record":      {raw(func(p []byte) []byte { return p[:len(p)-2] }), "unavailable"},
		"count too high":  {raw(func(p []byte) []byte { p[6], p[7] = 255, 255; return p }), "unavailable"},
		"pointer loop": {raw(func(p []byte) []byte {
			// The owner of the answer points at itself.
			at := 12 + len("\x01x\x04test\x00") + 4
			return append(p[:at:at], 0xc0, byte(at), 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 8, 8, 8, 8)
		}), "unavailable"},
		"many aliases": {changed(func(m *dns.Msg) { m.Compress, m.Answer = true, slices.Repeat([]dns.RR{alias}, 60) }), "unavailable"},
	}
}

// TestHostileAnswers lets the server misbehave message by message.
func TestHostileAnswers(t *testing.T) {
	for name, c := range hostileAnswers(t) {
		server := startNameServer(t, func(*nameServer) dns.Handler {
			return dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
				if q.Question[0].Qtype != dns.TypeA {
					_ = w.WriteMsg(new(dns.Msg).SetReply(q))
					return
				}
				for _, d := range c.datagrams(q) {
					_, _ = w.Write(d)
				}
			})
		})
		addrs, err := guardAt(server).LookupNetIP(t.Context(), "x.test")
		got := fault.CodeOf(err).String()
		if err == nil {
			got = fmt.Sprint(addrs[0])
		}
		if got != c.want || len(addrs) > 1 {
			t.Errorf("%s: %s %v (%v), want %s", name, got, addrs, err, c.want)
		}
	}
}

// A server that never answers costs the caller's patience and no more.
func TestSilentServer(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	server := startNameServer(t, func(*nameServer) dns.Handler {
		return dns.HandlerFunc(func(dns.ResponseWriter, *dns.Msg) { cancel() })
	})
	if _, err := guardAt(server).LookupNetIP(ctx, "x.test"); !errors.Is(err, fault.Cancelled) {
		t.Errorf("error %v, want cancelled", err)
	}
}

// One family's failure is not the name's.
func TestOneFamilyFails(t *testing.T) {
	v4 := records(t, "a.test. 0 IN A 8.8.8.8")
	guard := guardAt(newNameServer(t, func(name string, kind uint16, n int) (int, []dns.RR) {
		if kind == dns.TypeAAAA {
			return dns.RcodeServerFailure, nil
		}
		return v4(name, kind, n)
	}))
	if got, err := guard.LookupNetIP(t.Context(), "a.test"); err != nil || len(got) != 1 {
		t.Errorf("%v %v, want the IPv4 address", got, err)
	}
	if _, err := guard.LookupNetIP(t.Context(), "b.test"); !errors.Is(err, fault.Unavailable) {
		t.Errorf("%v, want unavailable: the other family may have an answer", err)
	}
}

func texts(addrs []netip.Addr) []string {
	var out []string
	for _, a := range addrs {
		out = append(out, a.String())
	}
	return out
}

func record(t *testing.T, line string) dns.RR {
	t.Helper()
	rr, err := dns.NewRR(line)
	if err != nil {
		t.Fatal(err)
	}
	return rr
}

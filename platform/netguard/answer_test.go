package netguard

import (
	"testing"

	"github.com/miekg/dns"
	"golang.org/x/net/dns/dnsmessage"
)

// No answer makes the reader panic, follow more aliases than it may, or keep more than it may.
func FuzzReadAnswer(f *testing.F) {
	kinds := []dnsmessage.Type{dnsmessage.TypeA, dnsmessage.TypeAAAA, dnsmessage.TypeTXT}
	for i, lines := range [][]string{
		{"a.test. 0 IN A 8.8.8.8"}, {"a.test. 0 IN AAAA 2a00::1"}, {`a.test. 0 IN TXT "x" "y"`},
		{"a.test. 0 IN CNAME b.test.", "b.test. 0 IN A 8.8.8.8"},
		{"a.test. 0 IN HTTPS 1 . alpn=h2 ipv4hint=8.8.8.8"}, {"a.test. 0 IN CNAME a.test."},
	} {
		m := new(dns.Msg).SetQuestion("a.test.", dns.TypeA)
		m.Response = true
		for _, line := range lines {
			rr, err := dns.NewRR(line)
			if err != nil {
				f.Fatal(err)
			}
			m.Answer = append(m.Answer, rr)
		}
		packed, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(packed, uint8(i))
	}
	f.Fuzz(func(t *testing.T, message []byte, kind uint8) {
		if len(message) > 65535 {
			return
		}
		isReply(message, 1, "a.test", kinds[int(kind)%len(kinds)])
		out, err := readAnswer(message, "a.test", kinds[int(kind)%len(kinds)], maxChain)
		if err != nil {
			return
		}
		if out.hops > maxChain || len(out.addrs) > MaxRecords || len(out.texts) > MaxRecords {
			t.Fatalf("%d hops, %d addresses, %d texts", out.hops, len(out.addrs), len(out.texts))
		}
		for _, addr := range out.addrs {
			if !addr.IsValid() {
				t.Fatal("an invalid address")
			}
		}
	})
}

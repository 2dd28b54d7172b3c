package subdomain

import (
	"testing"

	mdns "github.com/miekg/dns"

	"github.com/riskprofiler/riskprofiler/services/scanner/probes/dnswild"
)

// FuzzAnswer: no message that a resolver sends breaks the reading of it or passes its bounds.
func FuzzAnswer(f *testing.F) {
	m := new(mdns.Msg)
	m.SetQuestion("a.example.com.", mdns.TypeA)
	for _, text := range []string{"a.example.com. 1 IN CNAME b.example.com.", "b.example.com. 1 IN CNAME a.example.com.", "b.example.com. 1 IN A 192.0.2.1", "a.example.com. 1 IN AAAA 2001:db8::1"} {
		rr, err := mdns.NewRR(text)
		if err != nil {
			f.Fatal(err)
		}
		m.Answer = append(m.Answer, rr)
		raw, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		reply := new(mdns.Msg)
		if reply.Unpack(raw) != nil {
			return
		}
		var out dnswild.Answer
		read(reply, "a.example.com", &out)
		if len(out.Aliases) > 8 || len(out.Addresses) > maxRecords {
			t.Fatalf("%d aliases, %d addresses", len(out.Aliases), len(out.Addresses))
		}
	})
}

package dns

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	mdns "github.com/miekg/dns"
	"google.golang.org/protobuf/proto"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

// harmless fails for text that may not stand in a fact.
func harmless(t *testing.T, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !utf8.ValidString(text) || strings.ContainsAny(text, "\x00\x1b\n\r\u202e") || len(text) > 4*maxRecord {
			t.Errorf("text %q", text)
		}
	}
}

func FuzzDKIM(f *testing.F) {
	for _, seed := range []string{"v=DKIM1; k=rsa; t=y:s; h=sha1; p=AAAA", "p=", "v=DKIM1;;=;p", "k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		isDKIM(text)
		got := parseDKIM(text)
		harmless(t, got.GetKeyType(), got.GetError())
		if got.GetRevoked() && got.GetBits() > 0 {
			t.Errorf("%q: %v", text, got)
		}
	})
}

func FuzzPolicy(f *testing.F) {
	f.Add("text/plain", "version: STSv1\r\nmode: enforce\r\nmax_age: 86400\r\nmx: *.a.test\r\n", "mx.a.test")
	f.Add("text/html;x", "mode\nmx:\nmax_age: -1", "")
	f.Fuzz(func(t *testing.T, kind, body, host string) {
		out := &modelv1.MtaSts{}
		parsePolicy(kind, body, out)
		harmless(t, append(out.GetMx(), out.GetMode(), out.GetPolicyError())...)
		if len(out.GetMx()) > maxPolicyMX || out.GetMaxAge() > maxPolicyAge {
			t.Errorf("%v", out)
		}
		covers(out.GetMx(), host)
		id, problem := parseSTS(body)
		harmless(t, id, problem)
	})
}

func FuzzBIMI(f *testing.F) {
	f.Add("v=BIMI1; l=https://a.test/l.svg; a=https://a.test/m.pem")
	f.Add("v=BIMI1; l=; a=")
	f.Fuzz(func(t *testing.T, text string) {
		out := &modelv1.Bimi{}
		parseBIMI(text, out)
		harmless(t, out.GetLogo(), out.GetEvidence(), out.GetError())
	})
}

func FuzzTLSReports(f *testing.F) {
	f.Add("v=TLSRPTv1; rua=mailto:a@b.test,https://c.test/")
	f.Add("v=TLSRPTv1;;rua=%zz,,")
	f.Fuzz(func(t *testing.T, text string) {
		rua, problem := parseTLSReports(text)
		harmless(t, append(rua, problem)...)
		if len(rua) > maxReports {
			t.Errorf("%d addresses", len(rua))
		}
	})
}

func FuzzTLSA(f *testing.F) {
	f.Add(uint8(3), uint8(1), uint8(1), strings.Repeat("00", 32))
	f.Add(uint8(2), uint8(0), uint8(0), "3082")
	f.Fuzz(func(t *testing.T, usage, selector, matching uint8, data string) {
		record := &mdns.TLSA{Usage: usage, Selector: selector, MatchingType: matching, Certificate: data}
		got := tlsaFact(record)
		harmless(t, got.GetData(), got.GetError())
		if len(got.GetData()) > maxTLSAData {
			t.Errorf("%d digits", len(got.GetData()))
		}
	})
}

func FuzzServiceBinding(f *testing.F) {
	for _, text := range []string{"a. HTTPS 1 . alpn=h2 port=8443 ipv4hint=1.2.3.4 ech=AAAA", "a. HTTPS 0 b.", "a. SVCB 5 c. key667=\"x\\001y\"", "a. HTTPS 1 . mandatory=alpn alpn=h3"} {
		rr, err := mdns.NewRR(text)
		if err != nil {
			f.Fatal(err)
		}
		buffer := make([]byte, 512)
		n, err := mdns.PackRR(rr, buffer, 0, nil, false)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(buffer[:n])
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		rr, _, err := mdns.UnpackRR(raw, 0)
		if err != nil {
			return
		}
		got := bindingOf(rr)
		if got == nil {
			return
		}
		harmless(t, got.GetType(), got.GetTarget())
		for name, value := range got.GetParameters() {
			harmless(t, name, value)
		}
		if len(got.GetParameters()) > maxBindings {
			t.Errorf("%d parameters", len(got.GetParameters()))
		}
	})
}

func FuzzProviders(f *testing.F) {
	f.Add("x.s3.amazonaws.com", 404, "<Message>The specified bucket does not exist</Message><BucketName>x")
	f.Add("a.github.io", 404, "There isn't a GitHub Pages site here.")
	f.Add("", 0, "")
	f.Fuzz(func(t *testing.T, target string, status int, body string) {
		p, at := providerOf(loadProviders(), []string{target})
		if (p.Name == "") != (at == "") || at != "" && at != target {
			t.Errorf("%q at %q", p.Name, at)
		}
		nsProviderOf(loadProviders(), target)
		proof, certain := p.proof(status, body)
		if certain && (proof == "" || status < 400) {
			t.Errorf("certain of %q with status %d", proof, status)
		}
	})
}

func FuzzCAA(f *testing.F) {
	f.Add(uint32(128), "issue", "ca.test; a=b")
	f.Add(uint32(0), "iodef", "mailto:%zz")
	f.Fuzz(func(t *testing.T, flags uint32, tag, value string) {
		unknown, problem := judgeCAA([]*modelv1.Caa{{Flags: flags, Tag: safe(tag), Value: safe(value)}})
		harmless(t, append(unknown, problem)...)
	})
}

// FuzzMessage hands one answer to everything that reads answers: whatever a server sends, no part of the scan panics, runs for
// long, or keeps more than it may.
func FuzzMessage(f *testing.F) {
	add := func(kind uint16, answers, authority []string) {
		m := new(mdns.Msg).SetQuestion("z.test.", kind)
		m.Response = true
		for i, list := range [][]string{answers, authority} {
			for _, text := range list {
				rr, err := mdns.NewRR(text)
				if err != nil {
					f.Fatalf("%s: %v", text, err)
				}
				if i == 0 {
					m.Answer = append(m.Answer, rr)
				} else {
					m.Ns = append(m.Ns, rr)
				}
			}
		}
		packed, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(packed)
	}
	key := "z.test. DNSKEY 257 3 15 l02Woi0iS8Aa25FQkUd9RMzZHJpBoRQwAQEX1SxZJA4="
	sig := "z.test. RRSIG DNSKEY 15 2 60 20300101000000 20200101000000 3613 z.test. " + base64.StdEncoding.EncodeToString(make([]byte, 64))
	add(mdns.TypeDNSKEY, []string{key, sig, "z.test. DS 3613 15 2 " + strings.Repeat("00", 32)}, nil)
	add(mdns.TypeA, []string{"z.test. CNAME a.test.", "a.test. CNAME z.test."}, []string{"z.test. SOA a. b. 1 2 3 4 5"})
	add(mdns.TypeA, nil, []string{"z.test. NSEC a.z.test. A NS", "0p9mhaveqvm6t7vbl5lop2u3t2rp3tom.z.test. NSEC3 1 1 12 aabbccdd 2t7b4g4vsa5smi47k61mv5bv1a22bojr MX"})
	add(mdns.TypeSRV, []string{"z.test. SRV 1 2 3 .", "z.test. NAPTR 1 2 \"s\" \"x\" \"!^.*$!a!\" .", "z.test. HTTPS 1 . alpn=h2", "z.test. TLSA 3 1 1 " + strings.Repeat("ab", 32),
		"z.test. PTR a.test.", "z.test. CAA 128 issue \"a\"", "z.test. MX 1 .", "z.test. TXT \"v=spf1 -all\"", "z.test. NS a.test."}, nil)
	f.Fuzz(func(t *testing.T, raw []byte) {
		reply := new(mdns.Msg)
		if len(raw) > 65535 || reply.Unpack(raw) != nil {
			return
		}
		began := time.Now()
		s := &scan{fact: &modelv1.DnsFact{}, name: "z.test", resolver: &resolver{asked: map[questionKey]*question{}}, probe: New(Options{})}
		for _, section := range [][]mdns.RR{reply.Answer, reply.Ns} {
			s.exchangers(section)
			s.texts(section)
			for _, rr := range section {
				bindingOf(rr)
				if tlsa, ok := rr.(*mdns.TLSA); ok {
					tlsaFact(tlsa)
				}
			}
			for _, text := range textsOf(section) {
				_, _ = parseSPF(text)
				parseDMARC(text)
				parseDKIM(text)
			}
		}
		l := &link{fact: &modelv1.Dnssec{}, keys: ofType[*mdns.DNSKEY](reply.Answer, "z.test")}
		l.keys = l.keys[:min(len(l.keys), maxKeys)]
		digests := ofType[*mdns.DS](reply.Answer, "z.test")
		digests = digests[:min(len(digests), maxDigests)]
		l.describe(digests)
		l.judge("z.test", digests, reply, reply, time.Unix(1767225600, 0))
		if l.fact.GetState() == modelv1.Dnssec_STATE_SECURE {
			t.Errorf("a made-up chain is secure: %v", reply)
		}
		var got found
		for _, kind := range []uint16{mdns.TypeA, mdns.TypeSRV, mdns.TypeTXT, mdns.TypeHTTPS} {
			got = found{}
			if _, err := got.follow(reply, "z.test.", kind); err == nil && len(got.chain) > maxChain {
				t.Errorf("a chain of %d", len(got.chain))
			}
		}
		s.fact.Cname = safeNames(got.chain)
		s.learned([]string{"a.z.test"}, "NSEC record")
		if n := len(s.leads()); n > maxLeads {
			t.Errorf("%d leads", n)
		}
		if _, err := proto.Marshal(s.fact); err != nil { // text that is no UTF-8 cannot be sent
			t.Errorf("the fact cannot be sent: %v", err)
		}
		if _, err := proto.Marshal(l.fact); err != nil {
			t.Errorf("the fact cannot be sent: %v", err)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

package dns

import (
	"crypto"
	"encoding/base64"
	"slices"
	"strings"
	"testing"
	"time"

	mdns "github.com/miekg/dns"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

// zoneKey is a key of a zone of the test's world, and when its signatures are valid.
type zoneKey struct {
	public *mdns.DNSKEY
	signer crypto.Signer
	from   time.Time
	until  time.Time
}

// newKey makes a key for a zone, valid from yesterday for a week.
func newKey(t testing.TB, zone string) *zoneKey {
	t.Helper()
	public := &mdns.DNSKEY{
		Hdr:   mdns.RR_Header{Name: zone, Rrtype: mdns.TypeDNSKEY, Class: mdns.ClassINET, Ttl: 60},
		Flags: mdns.ZONE | mdns.SEP, Protocol: 3, Algorithm: mdns.ED25519,
	}
	private, err := public.Generate(256)
	if err != nil {
		t.Fatal(err)
	}
	return &zoneKey{public: public, signer: private.(crypto.Signer), from: time.Now().Add(-24 * time.Hour), until: time.Now().Add(6 * 24 * time.Hour)}
}

// sign adds signatures to what belongs to a signed zone. A DS record belongs to the zone above.
func (w *world) sign(reply *mdns.Msg) {
	for _, section := range []*[]mdns.RR{&reply.Answer, &reply.Ns} {
		sets := map[string][]mdns.RR{}
		var order []string
		for _, rr := range *section {
			at := rr.Header().Name + "/" + mdns.TypeToString[rr.Header().Rrtype]
			if sets[at] == nil {
				order = append(order, at)
			}
			sets[at] = append(sets[at], rr)
		}
		for _, at := range order {
			set := sets[at]
			key := w.keyOf(mdns.CanonicalName(set[0].Header().Name), set[0].Header().Rrtype)
			if key == nil {
				continue
			}
			sig := &mdns.RRSIG{
				Hdr: mdns.RR_Header{Ttl: 60}, Algorithm: key.public.Algorithm, SignerName: key.public.Hdr.Name, KeyTag: key.public.KeyTag(),
				Inception: uint32(key.from.Unix()), Expiration: uint32(key.until.Unix()),
			}
			if sig.Sign(key.signer, set) == nil {
				*section = append(*section, sig)
			}
		}
	}
}

func (w *world) keyOf(name string, kind uint16) *zoneKey {
	best := ""
	for zone := range w.keys {
		above := kind == mdns.TypeDS && zone == name
		if mdns.IsSubDomain(zone, name) && !above && len(zone) > len(best) {
			best = zone
		}
	}
	return w.keys[best]
}

// add puts a record into the world.
func (w *world) add(records ...mdns.RR) {
	for _, rr := range records {
		name := mdns.CanonicalName(rr.Header().Name)
		if w.names[name] == nil {
			w.names[name] = map[uint16][]mdns.RR{}
		}
		w.names[name][rr.Header().Rrtype] = append(w.names[name][rr.Header().Rrtype], rr)
	}
}

// signedWorld is a world of three zones in a chain, from the root's key down to z.test.
func signedWorld(t testing.TB) (*world, []*mdns.DS) {
	t.Helper()
	w := newWorld(t, `
. SOA ns.test. a.test. 1 1 1 1 1
test. SOA ns.test. a.test. 1 1 1 1 1
z.test. SOA ns.test. a.test. 1 1 1 1 1
z.test. NS ns.test.
ns.test. A 127.0.0.1
`)
	w.keys = map[string]*zoneKey{}
	for _, zone := range []string{".", "test.", "z.test."} {
		key := newKey(t, zone)
		w.keys[zone] = key
		w.add(key.public)
		if zone != "." {
			w.add(key.public.ToDS(mdns.SHA256))
		}
	}
	return w, []*mdns.DS{w.keys["."].public.ToDS(mdns.SHA256)}
}

func TestDNSSECChain(t *testing.T) {
	const insecure, secure, bogus = modelv1.Dnssec_STATE_INSECURE, modelv1.Dnssec_STATE_SECURE, modelv1.Dnssec_STATE_BOGUS
	dropSignatures := func(kind uint16) func(*mdns.Msg) {
		return func(reply *mdns.Msg) {
			reply.Answer = slices.DeleteFunc(reply.Answer, func(rr mdns.RR) bool {
				sig, ok := rr.(*mdns.RRSIG)
				return ok && sig.TypeCovered == kind && rr.Header().Name == "z.test."
			})
		}
	}
	tests := []struct {
		name     string
		change   func(t *testing.T, w *world)
		state    modelv1.Dnssec_State
		problem  string
		anchored bool
		ends     string
	}{
		{"to the root", func(*testing.T, *world) {}, secure, "", true, ""},
		{"the zone above is not signed", func(_ *testing.T, w *world) { delete(w.names["test."], mdns.TypeDS) }, secure, "", false, "test."},
		{"another root", func(t *testing.T, w *world) {
			w.names["."][mdns.TypeDNSKEY] = nil
			w.keys["."] = newKey(t, ".")
			w.add(w.keys["."].public)
		}, secure, "", false, "."},
		{"no DS", func(_ *testing.T, w *world) { delete(w.names["z.test."], mdns.TypeDS) }, insecure, "", false, ""},
		{"an algorithm that nobody knows", func(_ *testing.T, w *world) {
			w.names["z.test."][mdns.TypeDS][0].(*mdns.DS).Algorithm = 200
		}, insecure, "", false, ""},
		{"DS without keys", func(_ *testing.T, w *world) { delete(w.names["z.test."], mdns.TypeDNSKEY) }, bogus, "has no key", false, ""},
		{"DS of another key", func(t *testing.T, w *world) {
			w.names["z.test."][mdns.TypeDS] = []mdns.RR{newKey(t, "z.test.").public.ToDS(mdns.SHA256)}
		}, bogus, "no key of the zone fits", false, ""},
		{"keys are not signed", func(_ *testing.T, w *world) { w.alter = dropSignatures(mdns.TypeDNSKEY) }, bogus, "the keys: no signature", false, ""},
		{"the zone is not signed", func(_ *testing.T, w *world) { w.alter = dropSignatures(mdns.TypeSOA) }, bogus, "the start of authority: no signature", false, ""},
		{"expired", func(_ *testing.T, w *world) { w.keys["z.test."].until = time.Now().Add(-time.Hour) }, bogus, "the signature is valid until", false, ""},
		{"not yet valid", func(_ *testing.T, w *world) { w.keys["z.test."].from = time.Now().Add(time.Hour) }, bogus, "valid only from", false, ""},
		{"signed with another key", func(t *testing.T, w *world) { w.keys["z.test."].signer = newKey(t, "z.test.").signer }, bogus, "no key verifies", false, ""},
		{"changed on the way", func(_ *testing.T, w *world) {
			w.alter = func(reply *mdns.Msg) {
				for i, rr := range reply.Answer {
					if soa, ok := rr.(*mdns.SOA); ok && rr.Header().Name == "z.test." {
						forged := *soa
						forged.Ns = "evil.test."
						reply.Answer[i] = &forged
					}
				}
			}
		}, bogus, "the start of authority: no key verifies", false, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w, anchors := signedWorld(t)
			test.change(t, w)
			p := probeFor(t, w, nil)
			p.anchors = func() []*mdns.DS { return anchors }
			result := run(t, p, jobFor(host, "z.test"))
			dns, _, _ := facts(result)
			got := dns.GetDnssec()
			if got.GetState() != test.state || !strings.Contains(got.GetProblem(), test.problem) || got.GetAnchored() != test.anchored || got.GetChainEnds() != test.ends {
				t.Errorf("got %v (%v %s), want %+v", got, result.Outcome, result.Reason, test)
			}
			if (got.GetProblem() == "") != (test.state != bogus) {
				t.Errorf("problem %q of state %v", got.GetProblem(), got.GetState())
			}
		})
	}
}

func TestDNSSECFacts(t *testing.T) {
	w, anchors := signedWorld(t)
	p := probeFor(t, w, nil)
	p.anchors = func() []*mdns.DS { return anchors }
	dns, _, _ := facts(run(t, p, jobFor(host, "z.test")))
	got := dns.GetDnssec()
	if len(got.GetKeys()) != 1 || got.GetKeys()[0].GetBits() != 256 || got.GetKeys()[0].GetAlgorithm() != "ED25519" || !got.GetKeys()[0].GetEntryPoint() {
		t.Errorf("keys %v", got.GetKeys())
	}
	if len(got.GetDs()) != 1 || !got.GetDs()[0].GetMatches() || got.GetDs()[0].GetDigest() != "SHA256" {
		t.Errorf("DS %v", got.GetDs())
	}
	left := got.GetSignatureSecondsLeft()
	if got.GetSignatureSeconds() != 7*86400 || left < 6*86400-600 || left > 6*86400 || !got.GetSignatureExpires().IsValid() || !dns.GetDnssecSigned() {
		t.Errorf("signature %v", got)
	}
}

// Some resolvers leave the signatures out: the zone's own server is asked then, and nothing is accused.
func TestSignaturesFromTheZoneItself(t *testing.T) {
	w, anchors := signedWorld(t)
	w.alter = func(reply *mdns.Msg) {
		if reply.RecursionDesired {
			reply.Answer = slices.DeleteFunc(reply.Answer, func(rr mdns.RR) bool { return rr.Header().Rrtype == mdns.TypeRRSIG })
		}
	}
	p := probeFor(t, w, nil)
	p.anchors = func() []*mdns.DS { return anchors }
	dns, _, _ := facts(run(t, p, jobFor(host, "z.test")))
	if got := dns.GetDnssec(); got.GetState() != modelv1.Dnssec_STATE_SECURE {
		t.Errorf("got %v", got)
	}
}

func TestDenial(t *testing.T) {
	nsec := func(w *world, from, to string) {
		w.add(&mdns.NSEC{Hdr: mdns.RR_Header{Name: from, Rrtype: mdns.TypeNSEC, Class: mdns.ClassINET}, NextDomain: to, TypeBitMap: []uint16{mdns.TypeA}})
	}
	deny := func(proof mdns.RR) func(*mdns.Msg) {
		return func(reply *mdns.Msg) {
			if reply.Rcode == mdns.RcodeNameError {
				reply.Ns = append(reply.Ns, proof)
			}
		}
	}
	proof := &mdns.NSEC{Hdr: mdns.RR_Header{Name: "z.test.", Rrtype: mdns.TypeNSEC, Class: mdns.ClassINET}, NextDomain: "a.z.test."}
	tests := []struct {
		name  string
		set   func(w *world)
		want  *modelv1.Dnssec
		leads []string
	}{
		{"a chain", func(w *world) {
			nsec(w, "z.test.", "a.z.test.")
			nsec(w, "a.z.test.", "b.z.test.")
			nsec(w, "b.z.test.", "z.test.")
			w.alter = deny(proof)
		}, &modelv1.Dnssec{Denial: "nsec", Walkable: true}, []string{"a.z.test", "b.z.test"}},
		{"made for the question", func(w *world) {
			nsec(w, "z.test.", `\000.z.test.`)
			w.alter = deny(proof)
		}, &modelv1.Dnssec{Denial: "nsec"}, nil},
		{"a chain to itself", func(w *world) {
			nsec(w, "z.test.", "a.z.test.")
			nsec(w, "a.z.test.", "a.z.test.")
			w.alter = deny(proof)
		}, &modelv1.Dnssec{Denial: "nsec", Walkable: true}, []string{"a.z.test"}},
		{"to somebody else", func(w *world) {
			nsec(w, "z.test.", "www.example.com.")
			w.alter = deny(proof)
		}, &modelv1.Dnssec{Denial: "nsec"}, nil},
		{"NSEC3", func(w *world) {
			w.alter = deny(&mdns.NSEC3{
				Hdr: mdns.RR_Header{Name: "abc.z.test.", Rrtype: mdns.TypeNSEC3, Class: mdns.ClassINET}, Hash: 1, Flags: 1, Iterations: 12,
				SaltLength: 2, Salt: "AABB", HashLength: 20, NextDomain: strings.Repeat("0", 32),
			})
		}, &modelv1.Dnssec{Denial: "nsec3", Nsec3Iterations: 12, Nsec3Salt: 2, Nsec3OptOut: true}, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w, anchors := signedWorld(t)
			test.set(w)
			p := probeFor(t, w, nil)
			p.anchors = func() []*mdns.DS { return anchors }
			result := run(t, p, jobFor(host, "z.test"))
			dns, _, _ := facts(result)
			got := dns.GetDnssec()
			if got.GetDenial() != test.want.GetDenial() || got.GetWalkable() != test.want.GetWalkable() || got.GetNsec3Iterations() != test.want.GetNsec3Iterations() ||
				got.GetNsec3Salt() != test.want.GetNsec3Salt() || got.GetNsec3OptOut() != test.want.GetNsec3OptOut() {
				t.Errorf("got %v, want %v", got, test.want)
			}
			var leads []string
			for _, lead := range result.Leads {
				if lead.GetTarget().GetKind() == host {
					leads = append(leads, lead.GetTarget().GetValue())
				}
			}
			if !slices.Equal(leads, test.leads) {
				t.Errorf("leads %v, want %v", leads, test.leads)
			}
		})
	}
}

// A zone with many keys of one tag and many signatures costs a bounded number of computations (KeyTrap, CVE-2023-50387).
func TestKeyTrap(t *testing.T) {
	w, anchors := signedWorld(t)
	var many []mdns.RR
	for i := range 200 {
		key := mdns.Copy(w.keys["z.test."].public).(*mdns.DNSKEY)
		key.Hdr.Ttl = uint32(i)
		many = append(many, key)
	}
	w.names["z.test."][mdns.TypeDNSKEY] = many
	p := probeFor(t, w, nil)
	p.anchors = func() []*mdns.DS { return anchors }
	began := time.Now()
	dns, _, _ := facts(run(t, p, jobFor(host, "z.test")))
	if len(dns.GetDnssec().GetKeys()) > maxKeys || time.Since(began) > 10*time.Second {
		t.Errorf("%d keys in %v", len(dns.GetDnssec().GetKeys()), time.Since(began))
	}
	huge := &mdns.DNSKEY{Algorithm: mdns.RSASHA256, Protocol: 3, Flags: mdns.ZONE, PublicKey: "AwEAAQ" + strings.Repeat("//", 3000) + "=="}
	if computable(huge) {
		t.Errorf("computes with a key of %d bits", keyBits(huge))
	}
}

func TestKeyBits(t *testing.T) {
	for record, want := range map[string]int{
		"z. DNSKEY 257 3 15 l02Woi0iS8Aa25FQkUd9RMzZHJpBoRQwAQEX1SxZJA4=":                                             256,
		"z. DNSKEY 257 3 13 mdsswUyr3DPW132mOi8V9xESWE8jTo0dxCjjnopKl+GqJxpVXckHAeF+KkxLbxILfDLUT0rAK9iUzy1L53eKGQ==": 256,
		"z. DNSKEY 256 3 8 " + rsaKeyText(128):                                                                        1024,
		"z. DNSKEY 256 3 5 " + rsaKeyText(64):                                                                         512,
		"z. DNSKEY 256 3 8 " + rsaKeyText(256):                                                                        2048,
		"z. DNSKEY 256 3 8 AQ==":                                                                                      0,
		"z. DNSKEY 256 3 253 l02Woi0iS8Aa25FQkQ==":                                                                    104,
	} {
		rr, err := mdns.NewRR(record)
		if err != nil {
			t.Fatalf("%s: %v", record, err)
		}
		if got := keyBits(rr.(*mdns.DNSKEY)); got != want {
			t.Errorf("%.40s: %d bits, want %d", record, got, want)
		}
	}
}

func TestRootAnchors(t *testing.T) {
	anchors := rootAnchors()
	if len(anchors) != 2 || anchors[0].KeyTag != 20326 || anchors[1].KeyTag != 38696 || anchors[0].Hdr.Name != "." {
		t.Errorf("anchors %v", anchors)
	}
	for _, ds := range anchors {
		if len(ds.Digest) != 64 || ds.DigestType != mdns.SHA256 {
			t.Errorf("%v", ds)
		}
	}
	if !strings.Contains(anchorsFile, "2026-") {
		t.Error("the anchors have no date")
	}
}

// Times of signatures count modulo 2^32 (RFC 4034 section 3.1.5).
func TestTimesOfSignatures(t *testing.T) {
	for _, year := range []int{2026, 2105, 2107} {
		now := time.Date(year, 6, 1, 0, 0, 0, 0, time.UTC)
		for _, off := range []time.Duration{-30 * 24 * time.Hour, 0, 30 * 24 * time.Hour} {
			if got := timeOf(uint32(now.Add(off).Unix()), now); !got.Equal(now.Add(off)) {
				t.Errorf("%v: %v, want %v", now, got, now.Add(off))
			}
		}
	}
}

func rsaKeyText(bytes int) string {
	raw := append([]byte{3, 1, 0, 1}, slices.Repeat([]byte{0xC5}, bytes)...)
	return base64Text(raw)
}

func base64Text(raw []byte) string { return base64.StdEncoding.EncodeToString(raw) }

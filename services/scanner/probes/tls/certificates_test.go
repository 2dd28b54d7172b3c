package tls

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	stdtls "crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	mathrand "math/rand/v2"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ocsp"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

// sct writes a timestamp as a log does, without a signature that holds.
func sct(log byte, at time.Time) []byte {
	out := append([]byte{0}, bytes.Repeat([]byte{log}, 32)...)
	ms := uint64(at.UnixMilli())
	for shift := 56; shift >= 0; shift -= 8 {
		out = append(out, byte(ms>>shift))
	}
	return append(out, 0, 0, 4, 3, 0, 2, 1, 2)
}

func sctList(scts ...[]byte) []byte {
	var inner []byte
	for _, s := range scts {
		inner = appendBlock16(inner, s)
	}
	return appendBlock16(nil, inner)
}

func TestTransparencyAndStatus(t *testing.T) {
	root := newAuthority(t, "Known Root", nil)
	at := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	template := leafFor("ct.test")
	embedded, _ := asn1.Marshal(sctList(sct(1, at), sct(2, at)))
	template.ExtraExtensions = []pkix.Extension{pkixExtension(oidSCTList, embedded), pkixExtension(oidFeature, []byte{0x30, 3, 2, 1, 5})}
	template.OCSPServer = []string{"http://ocsp.test"}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	cert := root.issue(t, template, nil, root.cert)
	tests := []struct {
		name   string
		signer *authority
		status int
		serial *big.Int
		want   *modelv1.OcspStaple
	}{
		{"good", root, ocsp.Good, cert.Leaf.SerialNumber, &modelv1.OcspStaple{Status: "good", Verified: true}},
		{"revoked", root, ocsp.Revoked, cert.Leaf.SerialNumber, &modelv1.OcspStaple{Status: "revoked", RevokedAt: timestamppb.New(at), Verified: true}},
		{"unknown", root, ocsp.Unknown, cert.Leaf.SerialNumber, &modelv1.OcspStaple{Status: "unknown", Verified: true}},
		{"of a stranger", newAuthority(t, "Stranger", nil), ocsp.Revoked, cert.Leaf.SerialNumber, &modelv1.OcspStaple{Status: "unreadable"}},
		{"of another certificate", root, ocsp.Revoked, big.NewInt(4711), &modelv1.OcspStaple{Status: "unreadable"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			raw, err := ocsp.CreateResponse(test.signer.cert, test.signer.cert, ocsp.Response{
				Status: test.status, SerialNumber: test.serial, ThisUpdate: at, NextUpdate: at.Add(time.Hour), RevokedAt: at,
			}, test.signer.key)
			if err != nil {
				t.Fatal(err)
			}
			shown := cert
			shown.OCSPStaple, shown.SignedCertificateTimestamps = raw, [][]byte{sct(3, at)}
			fact := factOf(t, New(Options{ExtraRoots: []*x509.Certificate{root.cert}}), jobFor(serveTLS(t, &stdtls.Config{Certificates: []stdtls.Certificate{shown}}), "ct.test"))
			if test.want.GetStatus() != "unreadable" {
				test.want.ThisUpdate, test.want.NextUpdate = timestamppb.New(at), timestamppb.New(at.Add(time.Hour))
			}
			if diff := cmp.Diff(test.want, fact.GetOcsp(), protocmp.Transform()); diff != "" {
				t.Errorf("status (-want +got):\n%s", diff)
			}
			var sources []string
			for _, s := range fact.GetScts() {
				sources = append(sources, s.GetSource()+" "+s.GetLogId()[:2])
				if !s.GetTime().AsTime().Equal(at) {
					t.Errorf("time %v", s.GetTime().AsTime())
				}
			}
			if !slices.Equal(sources, []string{"certificate 01", "certificate 02", "tls 03"}) || fact.GetSctCount() != 3 {
				t.Errorf("timestamps %v, count %d", sources, fact.GetSctCount())
			}
			leaf := fact.GetChain()[0]
			if !leaf.GetMustStaple() || !leaf.GetRevocationPointer() || len(leaf.GetSpkiSha256()) != 64 || !slices.Equal(leaf.GetKeyUsages(), []string{"digitalSignature"}) {
				t.Errorf("leaf %v", leaf)
			}
		})
	}
}

func TestUsages(t *testing.T) {
	template := leafFor("usage.test")
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	template.UnknownExtKeyUsage = []asn1.ObjectIdentifier{{1, 3, 6, 1, 4, 1, 99999, 7}}
	ev, err := x509.OIDFromInts([]uint64{2, 23, 140, 1, 1})
	if err != nil {
		t.Fatal(err)
	}
	template.Policies = []x509.OID{ev}
	template.DNSNames, template.IPAddresses = nil, nil
	c, err := readCertificate(selfSign(t, template, newKey(t)).Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	fact := c.fact()
	if !slices.Equal(fact.GetExtendedKeyUsages(), []string{"clientAuth", "1.3.6.1.4.1.99999.7"}) || !fact.GetExtendedValidation() ||
		!slices.Equal(fact.GetPolicies(), []string{policyEV}) || !fact.GetCommonNameOnly() || fact.GetNameCount() != 0 || fact.GetVersion() != 3 {
		t.Errorf("got %v", fact)
	}
}

// A modulus that is a power of 65537 modulo every small prime has the mark; ones by chance do not.
func TestRoca(t *testing.T) {
	product := big.NewInt(2)
	for _, p := range rocaPrimes {
		product.Mul(product, big.NewInt(p))
	}
	for range 50 {
		exponent, err := rand.Int(rand.Reader, product)
		if err != nil {
			t.Fatal(err)
		}
		n := new(big.Int).Lsh(big.NewInt(1), 2047)
		n.Sub(n, new(big.Int).Mod(n, product))
		n.Add(n, new(big.Int).Exp(big.NewInt(65537), exponent, product))
		if !rocaKey(n) {
			t.Fatalf("%x has no mark", n)
		}
		if other, _ := rand.Int(rand.Reader, n); rocaKey(other) {
			t.Errorf("%x has the mark", other)
		}
	}
	if rocaKey(big.NewInt(65537)) {
		t.Error("a small number has the mark")
	}
}

func TestChainFaults(t *testing.T) {
	root := newAuthority(t, "Root", nil)
	middle := newAuthority(t, "Issuer", root)
	stranger := newAuthority(t, "Stranger", nil)
	leaf := middle.issue(t, leafFor("chain.test"), nil).Leaf
	tests := map[string]struct {
		chain []*x509.Certificate
		want  []string
	}{
		"as it should be": {[]*x509.Certificate{leaf, middle.cert}, nil},
		"alone":           {[]*x509.Certificate{leaf}, nil},
		"with the root":   {[]*x509.Certificate{leaf, middle.cert, root.cert}, []string{chainRootSent}},
		"out of order":    {[]*x509.Certificate{leaf, root.cert, middle.cert}, []string{chainDisordered, chainRootSent}},
		"twice":           {[]*x509.Certificate{leaf, middle.cert, middle.cert}, []string{chainDuplicate}},
		"a stranger":      {[]*x509.Certificate{leaf, middle.cert, stranger.cert}, []string{chainUnrelated}},
	}
	for name, test := range tests {
		var chain []certificate
		for _, c := range test.chain {
			chain = append(chain, certificate{der: c.Raw, parsed: c})
		}
		if got := chainFaults(chain); !slices.Equal(got, test.want) {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
}

// The bounds of threat C1: what one certificate may cost in time and memory.
const (
	certificateTime   = 100 * time.Millisecond
	certificateMemory = 8 << 20
)

// 2,000 malformed chains, each made by damage to good ones: no panic, and for each certificate no more than its bounds. The time
// is that of the processor, so a busy machine changes nothing.
func TestMalformedChains(t *testing.T) {
	seeds := chainSeeds(t)
	roots := trustStores([]*x509.Certificate{newAuthority(t, "Known Root", nil).cert})
	random := mathrand.New(mathrand.NewPCG(1, 2))
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	judgeChain(seeds[:1], roots, false) // loads what is loaded once
	var worst time.Duration
	for i := range 2000 {
		var chain [][]byte
		for range 1 + random.IntN(4) {
			chain = append(chain, damage(random, seeds[random.IntN(len(seeds))]))
		}
		if i < len(seeds) {
			chain = [][]byte{seeds[i], seeds[i]} // as they are, too
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		began := processorTime(t)
		judgeChain(chain, roots, true)
		took := processorTime(t) - began
		runtime.ReadMemStats(&after)
		worst = max(worst, took)
		if bound := certificateTime * time.Duration(len(chain)); took > bound {
			t.Errorf("chain %d of %d certificates took %v", i, len(chain), took)
		}
		if used := after.TotalAlloc - before.TotalAlloc; used > certificateMemory*uint64(len(chain)) {
			t.Errorf("chain %d of %d certificates took %d bytes", i, len(chain), used)
		}
	}
	t.Logf("the dearest chain took %v of processor time", worst)
}

// judgeChain does all that a scan does with a chain.
func judgeChain(ders [][]byte, roots stores, now bool) {
	var chain []certificate
	for _, der := range ders {
		c, err := readCertificate(der)
		if err != nil {
			continue
		}
		c.fact()
		c.matches("www.example.com")
		chain = append(chain, c)
	}
	if len(chain) == 0 {
		return
	}
	at := time.Unix(1<<31, 0)
	if now {
		at = time.Now()
	}
	v := judge(chain, roots, at)
	chainFaults(chain)
	for _, raw := range chain[0].embeddedSCTs() {
		readSCT(raw, sctCertificate)
	}
	if chain[0].parsed != nil {
		readStaple(ders[0], chain[0].parsed, v.issuer)
	}
}

func processorTime(t testing.TB) time.Duration {
	t.Helper()
	var usage syscall.Rusage
	const thread = 1 // RUSAGE_THREAD (getrusage(2))
	if err := syscall.Getrusage(thread, &usage); err != nil {
		t.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// chainSeeds are good certificates of all kinds, and some that are as dear as their form allows.
func chainSeeds(t testing.TB) [][]byte {
	t.Helper()
	root := newAuthority(t, "Known Root", nil)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	plain := leafFor("seed.test")
	many := leafFor("many.test")
	for i := range 2500 {
		many.DNSNames = append(many.DNSNames, fmt.Sprintf("name-%d.many.test", i))
	}
	constrained := leafFor("constrained.test")
	constrained.IsCA, constrained.BasicConstraintsValid, constrained.PermittedDNSDomainsCritical = true, true, true
	for i := range 1000 {
		constrained.PermittedDNSDomains = append(constrained.PermittedDNSDomains, fmt.Sprintf("d%d.test", i))
	}
	policies := leafFor("policies.test")
	for i := range 500 {
		id, err := x509.OIDFromInts([]uint64{1, 3, 6, 1, 4, 1, uint64(i), 1 << 40})
		if err != nil {
			t.Fatal(err)
		}
		policies.Policies = append(policies.Policies, id)
	}
	out := [][]byte{
		root.cert.Raw, root.issue(t, plain, key).Certificate[0], root.issue(t, plain, nil).Certificate[0], selfSign(t, plain, key).Certificate[0],
		selfSign(t, many, newKey(t)).Certificate[0], selfSign(t, constrained, newKey(t)).Certificate[0], selfSign(t, policies, newKey(t)).Certificate[0],
	}
	return append(out, hugeCertificate(t, key))
}

// hugeCertificate says that it signed itself with a key of 240,000 bits: nobody should check that.
func hugeCertificate(t testing.TB, key *rsa.PrivateKey) []byte {
	t.Helper()
	huge := new(big.Int).Lsh(big.NewInt(1), 240000)
	template := leafFor("huge.test")
	template.SignatureAlgorithm = x509.SHA256WithRSA
	der := create(t, template, template, &rsa.PublicKey{N: huge.Sub(huge, big.NewInt(1)), E: 1<<31 - 1}, key).Raw
	var parts struct {
		TBS       asn1.RawValue
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}
	if _, err := asn1.Unmarshal(der, &parts); err != nil {
		t.Fatal(err)
	}
	parts.Signature = asn1.BitString{Bytes: bytes.Repeat([]byte{0x5a}, 30000), BitLength: 240000}
	out, err := asn1.Marshal(parts)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// damage changes a certificate: bytes, lengths, cuts, pieces said twice, nests.
func damage(random *mathrand.Rand, der []byte) []byte {
	out := slices.Clone(der)
	for range 1 + random.IntN(4) {
		at := random.IntN(len(out))
		switch random.IntN(7) {
		case 0:
			out[at] ^= byte(1 << random.IntN(8))
		case 1:
			out[at] = byte(random.IntN(256))
		case 2:
			out = out[:at+1]
		case 3:
			end := min(len(out), at+random.IntN(200))
			out = slices.Concat(out[:end], out[at:end], out[end:])
		case 4: // a length that says more than there is
			out = slices.Concat(out[:at], []byte{0x30, 0x84, byte(random.IntN(256)), 0xff, 0xff, 0xff}, out[at:])
		case 5: // a nest
			depth := 1 + random.IntN(2000)
			out = slices.Concat(out[:at], bytes.Repeat([]byte{0x30, 0x80}, depth), out[at:])
		default:
			out = slices.Concat(out[:at], []byte{0x06, 0x83, 0, 0xff, 0xff}, bytes.Repeat([]byte{0xff}, random.IntN(1000)), out[at:])
		}
	}
	return out
}

func FuzzStaple(f *testing.F) {
	root := newAuthority(f, "Fuzz Root", nil)
	leaf := root.issue(f, leafFor("fuzz.test"), nil).Leaf
	raw, err := ocsp.CreateResponse(root.cert, root.cert, ocsp.Response{Status: ocsp.Revoked, SerialNumber: leaf.SerialNumber, ThisUpdate: time.Now(), RevokedAt: time.Now()}, root.key)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, issuer := range []*x509.Certificate{root.cert, nil} {
			fact, scts := readStaple(data, leaf, issuer)
			if fact.GetStatus() == "" || len(scts) > maxSCTs {
				t.Errorf("got %v and %d timestamps", fact, len(scts))
			}
		}
	})
}

func FuzzSCT(f *testing.F) {
	f.Add(sctList(sct(1, time.Unix(1, 0)), sct(2, time.Unix(1<<40, 0))))
	f.Fuzz(func(t *testing.T, data []byte) {
		list := splitSCTs(data)
		if len(list) > maxSCTs {
			t.Errorf("%d timestamps", len(list))
		}
		for _, raw := range list {
			if s := readSCT(raw, sctTLS); s != nil && (len(s.GetLogId()) != 64 || s.GetTime() != nil && !s.GetTime().IsValid()) {
				t.Errorf("got %v", s)
			}
		}
	})
}

package lab

import (
	"cmp"
	"crypto"
	"encoding/base64"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// signatureLife is how long a signature is valid; half of it is over.
const signatureLife = 14 * day

// zoneKey is the key of a signed zone and how it signs.
type zoneKey struct {
	public  *dns.DNSKEY
	signer  crypto.Signer
	signing signing
}

// newZoneKey makes the key that all zones share which want no other.
func newZoneKey() (zoneKey, error) {
	public := &dns.DNSKEY{
		Hdr:      dns.RR_Header{Name: ".", Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET, Ttl: recordTTL},
		Flags:    dns.ZONE | dns.SEP,
		Protocol: 3,
		// RFC 8624 recommends it.
		Algorithm: dns.ED25519,
	}
	private, err := public.Generate(256)
	if err != nil {
		return zoneKey{}, fmt.Errorf("generate zone key: %w", err)
	}
	signer, ok := private.(crypto.Signer)
	if !ok {
		return zoneKey{}, fmt.Errorf("generate zone key: %T cannot sign", private)
	}
	return zoneKey{public: public, signer: signer}, nil
}

// rsaZoneKey is one of the ready RSA keys as a zone's key (RFC 3110, section 2).
func rsaZoneKey(algorithm uint8, text string) (zoneKey, error) {
	key, err := parseKey(text)
	if err != nil {
		return zoneKey{}, err
	}
	exponent := big.NewInt(int64(key.E)).Bytes()
	raw := slices.Concat([]byte{byte(len(exponent))}, exponent, key.N.Bytes())
	return zoneKey{signer: key, public: &dns.DNSKEY{
		Hdr:   dns.RR_Header{Name: ".", Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET, Ttl: recordTTL},
		Flags: dns.ZONE | dns.SEP, Protocol: 3, Algorithm: algorithm, PublicKey: base64.StdEncoding.EncodeToString(raw),
	}}, nil
}

// addKey publishes the key at the apex and its digest above.
func (z *records) addKey(apex string, how signing) error {
	key := z.own
	if how.rsa != "" {
		var err error
		if key, err = rsaZoneKey(how.algorithm, how.rsa); err != nil {
			return err
		}
	}
	key.signing = how
	public, ok := dns.Copy(key.public).(*dns.DNSKEY)
	if !ok {
		return fmt.Errorf("%T is no key", key.public)
	}
	public.Hdr.Name = apex
	key.public = public
	z.keys[apex] = key
	z.addRecord(public)
	if how.noDS {
		return nil
	}
	ds := public.ToDS(cmp.Or(how.digest, dns.SHA256))
	ds.Hdr.Ttl = recordTTL
	if how.brokenDS {
		ds.KeyTag++
	}
	z.addRecord(ds)
	return nil
}

// sign adds the signatures of signed zones to an answer.
func (z *records) sign(reply *dns.Msg) {
	now := time.Now()
	for _, section := range []*[]dns.RR{&reply.Answer, &reply.Ns} {
		var signatures []dns.RR
		for _, set := range recordSets(*section) {
			head := set[0].Header()
			apex := z.zoneOf(dns.CanonicalName(head.Name), head.Rrtype)
			key, ok := z.keys[apex]
			if !ok {
				continue
			}
			life := cmp.Or(key.signing.life, signatureLife)
			left := cmp.Or(key.signing.left, life/2)
			signature := &dns.RRSIG{
				Hdr:        dns.RR_Header{Ttl: recordTTL},
				Algorithm:  key.public.Algorithm,
				SignerName: apex,
				KeyTag:     key.public.KeyTag(),
				Inception:  uint32(now.Add(left - life).Unix()),
				Expiration: uint32(now.Add(left).Unix()),
			}
			if signature.Sign(key.signer, set) == nil {
				signatures = append(signatures, signature)
			}
		}
		*section = append(*section, signatures...)
	}
}

// addChain links the names of a zone by NSEC records (RFC 4034, section 4). It is called when the zone is complete.
func (z *records) addChain(apex string) {
	var names []string
	for name := range z.byName {
		if dns.IsSubDomain(apex, name) {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, canonicalOrder)
	for i, name := range names {
		kinds := []uint16{dns.TypeRRSIG, dns.TypeNSEC}
		for kind := range z.byName[name] {
			if kind != dns.TypeDS || name != apex {
				kinds = append(kinds, kind)
			}
		}
		slices.Sort(kinds)
		z.addRecord(&dns.NSEC{
			Hdr:        dns.RR_Header{Name: name, Rrtype: dns.TypeNSEC, Class: dns.ClassINET, Ttl: recordTTL},
			NextDomain: names[(i+1)%len(names)], TypeBitMap: kinds,
		})
	}
}

// canonicalOrder compares names label by label from the end (RFC 4034, section 6.1).
func canonicalOrder(a, b string) int {
	x, y := dns.SplitDomainName(a), dns.SplitDomainName(b)
	slices.Reverse(x)
	slices.Reverse(y)
	return slices.Compare(x, y)
}

// deny adds the proof that a name or type does not exist. Of NSEC3 it gives the record of the apex alone: what a scanner reads
// from it are the parameters.
func (z *records) deny(reply *dns.Msg, name string, kind uint16) {
	apex := z.zoneOf(name, kind)
	switch how := z.keys[apex].signing; how.denial {
	case "nsec":
		if proof := z.covering(apex, name); proof != nil {
			reply.Ns = append(reply.Ns, proof)
		}
	case "nsec3":
		hash := dns.HashName(apex, dns.SHA1, how.iterations, "")
		reply.Ns = append(reply.Ns, &dns.NSEC3{
			Hdr:  dns.RR_Header{Name: strings.ToLower(hash) + "." + apex, Rrtype: dns.TypeNSEC3, Class: dns.ClassINET, Ttl: recordTTL},
			Hash: dns.SHA1, Iterations: how.iterations, HashLength: 20, NextDomain: hash, TypeBitMap: []uint16{dns.TypeNS, dns.TypeSOA},
		})
	}
}

// covering finds the NSEC record of the name, or of the one right before it.
func (z *records) covering(apex, name string) dns.RR {
	var best dns.RR
	for other, sets := range z.byName {
		if nsec := sets[dns.TypeNSEC]; len(nsec) > 0 && dns.IsSubDomain(apex, other) && canonicalOrder(other, name) <= 0 {
			if best == nil || canonicalOrder(best.Header().Name, other) < 0 {
				best = nsec[0]
			}
		}
	}
	return best
}

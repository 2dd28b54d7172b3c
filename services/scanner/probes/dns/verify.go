package dns

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	mdns "github.com/miekg/dns"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

func algorithmName(number uint8) string {
	if name, ok := mdns.AlgorithmToString[number]; ok {
		return name
	}
	return fmt.Sprintf("ALGORITHM%d", number)
}

func digestName(number uint8) string {
	if name, ok := mdns.HashToString[number]; ok {
		return name
	}
	return fmt.Sprintf("DIGEST%d", number)
}

// keyBits is the length of a key as people say it: of the modulus (RFC 3110 section 2) or the curve.
func keyBits(key *mdns.DNSKEY) int {
	raw, err := base64.StdEncoding.DecodeString(key.PublicKey)
	if err != nil || len(raw) < 3 {
		return 0
	}
	switch key.Algorithm {
	case mdns.RSAMD5, mdns.RSASHA1, mdns.RSASHA1NSEC3SHA1, mdns.RSASHA256, mdns.RSASHA512:
		exponent, start := int(raw[0]), 1
		if exponent == 0 {
			exponent, start = int(raw[1])<<8|int(raw[2]), 3
		}
		modulus := raw[min(start+exponent, len(raw)):]
		for len(modulus) > 0 && modulus[0] == 0 {
			modulus = modulus[1:]
		}
		return len(modulus) * 8
	case mdns.ECDSAP256SHA256, mdns.ECDSAP384SHA384:
		return len(raw) * 4
	default:
		return len(raw) * 8
	}
}

// computable says that we can check signatures with a key.
func computable(key *mdns.DNSKEY) bool {
	switch key.Algorithm {
	case mdns.RSASHA1, mdns.RSASHA1NSEC3SHA1, mdns.RSASHA256, mdns.RSASHA512, mdns.ECDSAP256SHA256, mdns.ECDSAP384SHA384, mdns.ED25519:
		return keyBits(key) <= maxKeyBits && key.Protocol == 3 && key.Flags&mdns.ZONE != 0 && key.Flags&mdns.REVOKE == 0
	default:
		return false
	}
}

func asSet[T mdns.RR](records []T) []mdns.RR {
	var out []mdns.RR
	for _, rr := range records {
		out = append(out, rr)
	}
	return out
}

// timeOf reads a time of a signature, which counts modulo 2^32 around now (RFC 4034 section 3.1.5).
func timeOf(stamp uint32, now time.Time) time.Time {
	return now.Add(time.Duration(int32(stamp-uint32(now.Unix()))) * time.Second)
}

// later says that a signature ends after another one.
func later(a, b *mdns.RRSIG) bool { return int32(a.Expiration-b.Expiration) > 0 }

// Why a set of records is not proven.
var (
	errNoRecords   = errors.New("no record")
	errNoSignature = errors.New("no signature")
)

// verifySet finds the signature of a set that holds, and returns it; where none does, the error says why and the signature that
// failed only by its time comes along. The work is bounded: only keys of the signature's tag are tried.
func verifySet(zone string, set []mdns.RR, signatures []*mdns.RRSIG, keys []*mdns.DNSKEY, now time.Time) (*mdns.RRSIG, error) {
	if len(set) == 0 {
		return nil, errNoRecords
	}
	kind := set[0].Header().Rrtype
	var best *mdns.RRSIG
	failure := errNoSignature
	tried := 0
	for _, sig := range signatures {
		if sig.TypeCovered != kind || plain(sig.SignerName) != zone {
			continue
		}
		if tried++; tried > maxSignatures {
			break
		}
		switch err := verifyOne(sig, set, keys, now); {
		case err == nil:
			return sig, nil
		case errors.As(err, new(expiredError)):
			best, failure = sig, err
		case best == nil:
			failure = err
		}
	}
	return best, failure
}

// expiredError is a signature that fits and whose time is not now.
type expiredError struct{ at time.Time }

// Error says since when.
func (e expiredError) Error() string {
	return "the signature is valid until " + e.at.UTC().Format("2006-01-02 15:04") + " UTC"
}

func verifyOne(sig *mdns.RRSIG, set []mdns.RR, keys []*mdns.DNSKEY, now time.Time) error {
	for _, key := range keys {
		if key.KeyTag() != sig.KeyTag || key.Algorithm != sig.Algorithm || !computable(key) {
			continue
		}
		if sig.Verify(key, set) != nil {
			continue
		}
		begins, ends := timeOf(sig.Inception, now), timeOf(sig.Expiration, now)
		if now.Before(begins) {
			return fmt.Errorf("the signature is valid only from %s UTC", begins.UTC().Format("2006-01-02 15:04"))
		}
		if now.After(ends) {
			return expiredError{ends}
		}
		return nil
	}
	return errors.New("no key verifies the signature")
}

// secured says whether the records of an answer are signed by a zone whose link is secure.
func (s *scan) secured(ctx context.Context, reply *mdns.Msg, name string, kind uint16) bool {
	var set []mdns.RR
	for _, rr := range reply.Answer {
		if rr.Header().Rrtype == kind && plain(rr.Header().Name) == name {
			set = append(set, rr)
		}
	}
	signatures := ofType[*mdns.RRSIG](reply.Answer, name)
	if len(set) == 0 || len(signatures) == 0 {
		return false
	}
	zone := plain(signatures[0].SignerName)
	if !under(name, zone) {
		return false
	}
	l := s.linkOf(ctx, zone)
	if l.err != nil || l.fact.GetState() != modelv1.Dnssec_STATE_SECURE {
		return false
	}
	_, err := verifySet(zone, set, signatures, l.keys, time.Now())
	return err == nil
}

package tls

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"sync"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

// oidFeature is the extension that asks servers to staple (RFC 7633), policyEV the policy of extended validation (CA/Browser
// Forum object registry, https://cabforum.org/resources/object-registry/).
var oidFeature = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 24}

const (
	policyEV = "2.23.140.1.1"
	// featureStatus is the number of the extension status_request, as a feature.
	featureStatus = 5
	// maxPolicies and maxUsages bound the lists of one certificate.
	maxPolicies = 8
	maxUsages   = 16
)

// keyUsages are the words of RFC 5280 section 4.2.1.3.
var keyUsages = []struct {
	usage x509.KeyUsage
	word  string
}{
	{x509.KeyUsageDigitalSignature, "digitalSignature"}, {x509.KeyUsageContentCommitment, "nonRepudiation"},
	{x509.KeyUsageKeyEncipherment, "keyEncipherment"}, {x509.KeyUsageDataEncipherment, "dataEncipherment"},
	{x509.KeyUsageKeyAgreement, "keyAgreement"}, {x509.KeyUsageCertSign, "keyCertSign"}, {x509.KeyUsageCRLSign, "cRLSign"},
	{x509.KeyUsageEncipherOnly, "encipherOnly"}, {x509.KeyUsageDecipherOnly, "decipherOnly"},
}

// extendedUsages are the words of RFC 5280 section 4.2.1.12.
var extendedUsages = map[x509.ExtKeyUsage]string{
	x509.ExtKeyUsageAny: "any", x509.ExtKeyUsageServerAuth: "serverAuth", x509.ExtKeyUsageClientAuth: "clientAuth",
	x509.ExtKeyUsageCodeSigning: "codeSigning", x509.ExtKeyUsageEmailProtection: "emailProtection",
	x509.ExtKeyUsageTimeStamping: "timeStamping", x509.ExtKeyUsageOCSPSigning: "OCSPSigning",
	x509.ExtKeyUsageMicrosoftServerGatedCrypto: "msSGC", x509.ExtKeyUsageNetscapeServerGatedCrypto: "nsSGC",
}

// usageFact writes down what the certificate says it is for, and how its revocation can be asked for.
func (c certificate) usageFact(out *modelv1.Certificate) {
	p := c.parsed
	for _, known := range keyUsages {
		if p.KeyUsage&known.usage != 0 {
			out.KeyUsages = append(out.KeyUsages, known.word)
		}
	}
	for _, usage := range p.ExtKeyUsage {
		if word, known := extendedUsages[usage]; known && len(out.ExtendedKeyUsages) < maxUsages {
			out.ExtendedKeyUsages = append(out.ExtendedKeyUsages, word)
		}
	}
	for _, id := range p.UnknownExtKeyUsage {
		if len(out.ExtendedKeyUsages) < maxUsages {
			out.ExtendedKeyUsages = append(out.ExtendedKeyUsages, id.String())
		}
	}
	for _, policy := range p.Policies {
		text := policy.String()
		out.ExtendedValidation = out.ExtendedValidation || text == policyEV
		if len(out.Policies) < maxPolicies && len(text) <= maxText {
			out.Policies = append(out.Policies, text)
		}
	}
	out.MustStaple = mustStaple(p.Extensions)
	out.RevocationPointer = len(p.OCSPServer) > 0 || len(p.CRLDistributionPoints) > 0
}

func hasNames(extensions []pkix.Extension) bool {
	for _, e := range extensions {
		if e.Id.Equal(oidNames) {
			return true
		}
	}
	return false
}

func mustStaple(extensions []pkix.Extension) bool {
	for _, e := range extensions {
		var features []int
		if !e.Id.Equal(oidFeature) {
			continue
		}
		if _, err := asn1.Unmarshal(e.Value, &features); err != nil {
			continue
		}
		for _, f := range features {
			if f == featureStatus {
				return true
			}
		}
	}
	return false
}

// rocaPrimes are the primes by which keys of the broken generator are told: modulo each, such a key lies in the group that
// 65537 generates (Nemec et al., "The Return of Coppersmith's Attack", CCS 2017, section 2.2).
var rocaPrimes = []int64{
	3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107, 109, 113, 127,
	131, 137, 139, 149, 151, 157, 163, 167,
}

// rocaMarks are those groups, by prime.
var rocaMarks = sync.OnceValue(func() []map[int64]bool {
	out := make([]map[int64]bool, len(rocaPrimes))
	for i, p := range rocaPrimes {
		out[i] = map[int64]bool{1: true}
		for power := int64(65537) % p; power != 1; power = power * 65537 % p {
			out[i][power] = true
		}
	}
	return out
})

// rocaKey says that n has the mark of CVE-2017-15361.
func rocaKey(n *big.Int) bool {
	if n.BitLen() < 512 {
		return false
	}
	var prime, rest big.Int
	for i, marks := range rocaMarks() {
		if !marks[rest.Mod(n, prime.SetInt64(rocaPrimes[i])).Int64()] {
			return false
		}
	}
	return true
}

package tls

import (
	"crypto/x509"
	"time"
)

// The words of TlsFact.trust_error.
const (
	trustSelfSigned = "self-signed"
	trustUnknown    = "unknown-authority"
	trustIncomplete = "incomplete-chain"
	trustExpired    = "expired"
	trustOther      = "other"
)

// trustStore returns the roots that chains are judged by: those of the system and the extra ones; nil where there is none at
// all, so that nothing can be said about trust.
func trustStore(extra []*x509.Certificate) *x509.CertPool {
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	for _, root := range extra {
		roots.AddCert(root)
	}
	if roots.Equal(x509.NewCertPool()) {
		return nil
	}
	return roots
}

// judge says whether chain leads to one of roots at the time now, and if not, why, in a word of TlsFact.trust_error. What name
// the leaf is for is another question. The work is bounded by crypto/x509 (at most 100 signature checks) and by maxChain.
func judge(chain []certificate, roots *x509.CertPool, now time.Time) (trusted bool, problem string) {
	leaf := chain[0].parsed
	if leaf == nil {
		return false, trustOther
	}
	options := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool(), CurrentTime: now}
	for _, c := range chain[1:] {
		if c.parsed != nil {
			options.Intermediates.AddCert(c.parsed)
		}
	}
	verifies := func(at time.Time) bool {
		options.CurrentTime = at
		_, err := leaf.Verify(options)
		return err == nil
	}
	switch {
	case verifies(now):
		return true, ""
	case chain[0].selfSigned():
		return false, trustSelfSigned
	case now.Before(leaf.NotBefore) && verifies(leaf.NotBefore.Add(time.Second)):
		return false, trustOther // not valid yet, which has a check of its own
	case verifies(leaf.NotAfter.Add(-time.Second)), verifies(leaf.NotBefore.Add(time.Second)):
		return false, trustExpired
	case missingLink(chain):
		return false, trustIncomplete
	}
	return false, trustUnknown
}

// missingLink guesses whether a chain that leads to no known root lacks an intermediate certificate, as opposed to coming from
// an authority nobody knows; the root itself need not be sent. Embedded SCTs come from public authorities only, and a lone leaf
// that says where its issuer's certificate can be had (RFC 5280 section 4.2.2.1) was not sent with it.
func missingLink(chain []certificate) bool {
	top := chain[0]
	for range chain {
		issuer, ok := issuerOf(top, chain)
		if !ok {
			break
		}
		top = issuer
	}
	if top.selfSigned() {
		return false
	}
	if chain[0].embeddedSCTs() > 0 {
		return true
	}
	return string(top.der) == string(chain[0].der) && len(chain[0].parsed.IssuingCertificateURL) > 0
}

// issuerOf finds the certificate of c's issuer among those sent.
func issuerOf(c certificate, chain []certificate) (certificate, bool) {
	for _, other := range chain {
		if c.parsed != nil && other.parsed != nil && !c.selfSigned() && string(c.parsed.RawIssuer) == string(other.parsed.RawSubject) {
			return other, true
		}
	}
	return certificate{}, false
}

package tls

import (
	"crypto/x509"
	"slices"
	"time"

	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// The words of TlsFact.trust_error.
const (
	trustSelfSigned = "self-signed"
	trustUnknown    = "unknown-authority"
	trustIncomplete = "incomplete-chain"
	trustExpired    = "expired"
	trustOther      = "other"
)

// Words of TlsFact.trust_store.
const (
	storeMozilla = "mozilla"
	storeExtra   = "extra"
)

// stores are the roots that chains are judged by.
type stores struct{ mozilla, extra *x509.CertPool }

// trustStores returns Mozilla's roots, as NSS trusts them for servers with its distrust-after dates, and the extra ones. The
// machine's own store has no say: the same chain must mean the same wherever the scanner runs.
//
// The roots come with the module golang.org/x/crypto/x509roots/fallback, whose version is the date of the list.
func trustStores(extra []*x509.Certificate) stores {
	out := stores{mozilla: x509.NewCertPool(), extra: x509.NewCertPool()}
	for root := range bundle.Roots() {
		parsed, err := x509.ParseCertificate(root.Certificate)
		switch {
		case err != nil: // one that this Go release no longer reads is trusted by no client of it either
		case root.Constraint == nil:
			out.mozilla.AddCert(parsed)
		default:
			out.mozilla.AddCertWithConstraint(parsed, root.Constraint)
		}
	}
	for _, root := range extra {
		out.extra.AddCert(root)
	}
	return out
}

// verdict is what is said about a chain.
type verdict struct {
	store, problem string
	// issuer is the certificate that signed the leaf, nil if it was not sent.
	issuer *x509.Certificate
}

// judge says whether chain leads to one of the roots at the time now, and if not, why, in a word of TlsFact.trust_error. What
// name the leaf is for is another question. The work is bounded by crypto/x509 (at most 100 signature checks) and by maxChain.
func judge(chain []certificate, roots stores, now time.Time) verdict {
	leaf := chain[0].parsed
	if leaf == nil {
		return verdict{problem: trustOther}
	}
	var out verdict
	if issuer, ok := issuerOf(chain[0], chain); ok {
		out.issuer = issuer.parsed
	}
	options := x509.VerifyOptions{Intermediates: x509.NewCertPool()}
	for _, c := range chain[1:] {
		if c.parsed != nil && !c.heavy() {
			options.Intermediates.AddCert(c.parsed)
		}
	}
	verifies := func(at time.Time) string {
		options.CurrentTime = at
		for _, store := range []struct {
			name string
			pool *x509.CertPool
		}{{storeMozilla, roots.mozilla}, {storeExtra, roots.extra}} {
			options.Roots = store.pool
			if _, err := leaf.Verify(options); err == nil {
				return store.name
			}
		}
		return ""
	}
	if out.store = verifies(now); out.store != "" {
		return out
	}
	switch {
	case chain[0].selfSigned():
		out.problem = trustSelfSigned
	case now.Before(leaf.NotBefore) && verifies(leaf.NotBefore.Add(time.Second)) != "":
		out.problem = trustOther // not valid yet, which has a check of its own
	case verifies(leaf.NotAfter.Add(-time.Second)) != "", verifies(leaf.NotBefore.Add(time.Second)) != "":
		out.problem = trustExpired
	case missingLink(chain):
		out.problem = trustIncomplete
	default:
		out.problem = trustUnknown
	}
	return out
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
	if len(chain[0].embeddedSCTs()) > 0 {
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

// Words of TlsFact.chain_faults.
const (
	chainDuplicate  = "duplicate"
	chainDisordered = "disordered"
	chainUnrelated  = "unrelated"
	chainRootSent   = "root-sent"
)

// chainFaults says what is wrong with a chain as sent. TLS 1.2 wants each certificate to certify the one before it (RFC 5246
// section 7.4.2); a root that is sent is no fault but a waste.
func chainFaults(chain []certificate) []string {
	seen := make(map[string]bool)
	found := make(map[string]bool)
	onPath := map[string]bool{string(chain[0].der): true}
	for at := chain[0]; ; {
		issuer, ok := issuerOf(at, chain)
		if !ok || onPath[string(issuer.der)] {
			break
		}
		onPath[string(issuer.der)] = true
		at = issuer
	}
	before := chain[0]
	for i, c := range chain {
		key := string(c.der)
		switch {
		case seen[key]:
			found[chainDuplicate] = true
		case c.parsed == nil || chain[0].parsed == nil: // nothing can be said
		case !onPath[key]:
			found[chainUnrelated] = true
		case i > 0 && c.selfSigned():
			found[chainRootSent] = true
		}
		seen[key] = true
		both := c.parsed != nil && before.parsed != nil && onPath[key] && onPath[string(before.der)]
		if i > 0 && both && !found[chainDuplicate] && string(before.parsed.RawIssuer) != string(c.parsed.RawSubject) {
			found[chainDisordered] = true
		}
		before = c
	}
	var out []string
	for _, word := range []string{chainDuplicate, chainDisordered, chainUnrelated, chainRootSent} {
		if found[word] {
			out = append(out, word)
		}
	}
	return slices.Clip(out)
}

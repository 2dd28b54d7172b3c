// Package mtls is how services prove to each other who they are: TLS 1.3 with a certificate on both sides.
//
// A certificate names the services it speaks for as URIs, spiffe://riskprofiler/<service>, among its subject alternative
// names. [Source] reads certificate, key and authorities from files and reads them again when they change, so that
// certificates are replaced without a restart. [Source.ServerCredentials] takes only clients that show such a
// certificate, and [Source.ClientCredentials] talks only to a server that is the service it means to call.
// [Identities] tells a server which services a call's connection belongs to. [NewAuthority] and [WriteDir] make
// certificates for one machine and for tests.
//
// SPIFFE (X.509-SVID, section 2) allows one URI in a certificate. More than one is allowed here, because a process may
// hold several services: the scheduler's holds the workflow too.
//
// The package refuses TLS below 1.3, connections without a client certificate, certificates that name no service,
// resumed sessions (they would outlive a certificate), and key files that others may read.
package mtls

import (
	"crypto/x509"
	"net/url"
	"slices"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

const (
	// TrustDomain is whose identities these are: the host of the URI.
	TrustDomain = "riskprofiler"
	scheme      = "spiffe"
	// maxServices bounds what one certificate may speak for; there are fewer services than that.
	maxServices = 16
)

// URI is the identity of a service as it stands in a certificate.
func URI(service string) *url.URL {
	return &url.URL{Scheme: scheme, Host: TrustDomain, Path: "/" + service}
}

// Services are the services that a certificate speaks for. A certificate with any other URI, or with none, is refused:
// what it was made for is not known.
func Services(cert *x509.Certificate) ([]string, error) {
	if len(cert.URIs) == 0 || len(cert.URIs) > maxServices {
		return nil, fault.New(fault.Unauthenticated, "the certificate names %d services, not 1 to %d", len(cert.URIs), maxServices)
	}
	var out []string
	for _, u := range cert.URIs {
		service, ok := serviceOf(u)
		if !ok {
			return nil, fault.New(fault.Unauthenticated, "the certificate names %.100q, not %s and a service", u, URI(""))
		}
		if !slices.Contains(out, service) {
			out = append(out, service)
		}
	}
	return out, nil
}

// serviceOf reads one identity. The comparison with what [URI] makes refuses user, port, query, escapes and the like.
func serviceOf(u *url.URL) (string, bool) {
	if len(u.Path) < 2 || !ValidService(u.Path[1:]) || u.String() != URI(u.Path[1:]).String() {
		return "", false
	}
	return u.Path[1:], true
}

// ValidService reports whether a name can be a service's: a lower-case DNS label (RFC 1035, section 2.3.1).
func ValidService(name string) bool {
	if name == "" || len(name) > 63 || name[0] < 'a' || name[0] > 'z' {
		return false
	}
	for i := range len(name) {
		c := name[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

package lab

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Finding is one check that holds in the lab.
type Finding struct {
	// Asset is the canonical value: a domain, a host name or an address.
	Asset string `json:"asset"`
	// Kind is the kind of the asset: "domain", "host" or "ip".
	Kind string `json:"kind"`
	// Location is "" for the asset as a whole, else "host-or-address:port/tcp".
	Location string `json:"location"`
	// Check is the check's id.
	Check string `json:"check"`
	// Note says what stands there.
	Note string `json:"note"`
}

// Truth is the list of findings, each once, ordered by asset, location and check.
//
// Whose finding it is follows one rule: a port and the service on it belong to the address; TLS and what a web application
// says belong to the name that leads to the address, and to the address where there is none; DNS belongs to the name, and
// mail to the domain.
type Truth []Finding

// String returns the truth as indented JSON, the same for the same lab.
func (t Truth) String() string {
	text, err := json.MarshalIndent(t, "", "  ")
	if err != nil {
		// Five strings cannot fail to marshal.
		return fmt.Sprintf("[]Finding: %v", err)
	}
	return string(text)
}

// Kinds of asset in the truth.
const (
	kindDomain = "domain"
	kindHost   = "host"
	kindIP     = "ip"
)

// Checks that come together.
var (
	// page: an HTML page that sets no security header at all.
	page = []string{"http-csp-missing", "http-frame-options-missing", "http-nosniff-missing", "http-referrer-policy-missing"}
	// plainPage: such a page served without TLS.
	plainPage = with(page, "http-cleartext")
	// tlsPage: such a page served over TLS, on a host without security.txt.
	tlsPage = with(page, "http-hsts-missing", "http-security-txt-missing")
	// plainData: an answer without TLS that is no HTML and sets no security header.
	plainData = []string{"http-cleartext", "http-nosniff-missing"}
	// privateCA: what the lab's certification authority means to a scanner that does not know it.
	privateCA = []string{"tls-certificate-untrusted"}
)

// with returns base and more as a new list.
func with(base []string, more ...string) []string {
	return slices.Concat(base, more)
}

// truth collects what the tables declare.
func (p *plan) truth() Truth {
	truth := Truth{}
	for _, z := range p.zones {
		for _, check := range z.checks {
			truth = append(truth, Finding{Asset: z.name, Kind: kindDomain, Check: check, Note: z.note})
		}
	}
	for _, h := range p.hosts {
		truth = append(truth, p.truthOf(h)...)
	}
	slices.SortFunc(truth, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Asset, b.Asset), cmp.Compare(a.Location, b.Location), cmp.Compare(a.Check, b.Check))
	})
	return truth
}

func (p *plan) truthOf(h host) []Finding {
	var found []Finding
	if h.name != "" && h.number != 0 && h.discoverable() {
		found = append(found, Finding{Asset: h.name, Kind: kindHost, Check: "dns-private-address", Note: "the lab lies on loopback"})
	}
	for _, check := range h.checks {
		f := p.attribute(h, check)
		f.Note = h.note
		found = append(found, f)
	}
	for _, s := range h.servers {
		for _, check := range s.checks {
			f := p.attribute(h, check)
			f.Note = s.note
			if f.Location = ""; !strings.HasPrefix(check, "port-") {
				f.Location = hostPort(f.Asset, p.port(s.port)) + "/" + s.transport()
			}
			found = append(found, f)
		}
	}
	return found
}

// attribute says whose finding a check on h is.
func (p *plan) attribute(h host, check string) Finding {
	area, _, _ := strings.Cut(check, "-")
	if h.name == "" || area == "service" || area == "port" {
		return Finding{Asset: p.address(h.number).String(), Kind: kindIP, Check: check}
	}
	return Finding{Asset: h.name, Kind: kindHost, Check: check}
}

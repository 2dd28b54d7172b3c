package providers

import (
	"net/url"
	"strings"
)

// CrtShQuestion asks the logs of Certificate Transparency for names below a domain that unexpired certificates have.
func CrtShQuestion(domain string) Question[*DomainNames] {
	query := url.Values{"q": {"%." + domain}, "output": {"json"}, "exclude": {"expired"}, "deduplicate": {"Y"}}
	return Question[*DomainNames]{
		Provider: CrtSh, operation: "names", subject: domain, path: "/?" + query.Encode(), parse: parseCrtSh,
	}
}

// crtShEntry is one certificate; name_value has one name a line.
type crtShEntry struct {
	Common text    `json:"common_name"`
	Names  clipped `json:"name_value"`
}

func parseCrtSh(body []byte) (*DomainNames, error) {
	in, err := decode[list[crtShEntry]](body)
	if err != nil {
		return nil, err
	}
	out := &DomainNames{More: in.cut}
	seen := map[string]bool{}
	for _, entry := range in.items {
		for name := range strings.SplitSeq(string(entry.Names)+"\n"+string(entry.Common), "\n") {
			out.add(seen, name)
		}
	}
	return out, nil
}

// add notes a name once.
func (d *DomainNames) add(seen map[string]bool, name string) {
	if name = strings.ToLower(strings.TrimSpace(name)); name == "" || seen[name] {
		return
	}
	if len(d.Names) == maxList {
		d.More = true
		return
	}
	seen[name] = true
	d.Names = append(d.Names, name)
}

// CertSpotterQuestion asks Cert Spotter for the same; one page, which is of the oldest certificates.
func CertSpotterQuestion(domain string) Question[*DomainNames] {
	query := url.Values{"domain": {domain}, "include_subdomains": {"true"}, "expand": {"dns_names"}}
	return Question[*DomainNames]{
		Provider: CertSpotter, operation: "names", subject: domain, path: "/issuances?" + query.Encode(), parse: parseCertSpotter,
	}
}

// certSpotterIssuance is one element of the answer (https://sslmate.com/help/reference/ct_search_api_v1).
type certSpotterIssuance struct {
	ID    text       `json:"id"`
	Names list[text] `json:"dns_names"`
}

// certSpotterPage is as many issuances as Cert Spotter puts on a page; a full one may have a successor.
const certSpotterPage = 100

func parseCertSpotter(body []byte) (*DomainNames, error) {
	in, err := decode[list[certSpotterIssuance]](body)
	if err != nil {
		return nil, err
	}
	out := &DomainNames{More: in.cut || len(in.items) >= certSpotterPage}
	seen := map[string]bool{}
	for _, issuance := range in.items {
		if issuance.ID == "" {
			return nil, errShape
		}
		for _, name := range issuance.Names.items {
			out.add(seen, string(name))
		}
	}
	return out, nil
}

// SecurityTrailsQuestion asks SecurityTrails for names below a domain.
func SecurityTrailsQuestion(domain string) Question[*DomainNames] {
	query := url.Values{"children_only": {"false"}, "include_inactive": {"false"}}
	return Question[*DomainNames]{
		Provider: SecurityTrails, operation: "names", subject: domain, path: "/domain/" + url.PathEscape(domain) + "/subdomains?" + query.Encode(),
		parse: func(body []byte) (*DomainNames, error) { return parseSecurityTrails(body, domain) },
	}
}

// securityTrails is the answer; subdomains are what stands left of the domain. It is a pointer, to tell a list that is empty from
// an answer that has none.
type securityTrails struct {
	Subdomains *list[text] `json:"subdomains"`
	Meta       struct {
		LimitReached bool `json:"limit_reached"`
	} `json:"meta"`
}

func parseSecurityTrails(body []byte, domain string) (*DomainNames, error) {
	in, err := decode[securityTrails](body)
	if err != nil {
		return nil, err
	}
	if in.Subdomains == nil {
		return nil, errShape
	}
	return &DomainNames{Names: below(domain, in.Subdomains.texts(same)), More: in.Subdomains.cut || in.Meta.LimitReached}, nil
}

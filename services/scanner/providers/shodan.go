package providers

import (
	"encoding/json"
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"time"
)

// Host is what Shodan or InternetDB know of one address.
type Host struct {
	Hostnames, Domains, Tags, CPEs []string
	Ports                          []uint16
	Vulnerabilities                []Vulnerability
	Services                       []HostService
	Organisation, Network          string
	ASN                            uint32
	Country                        string
	// Seen is when the provider last looked, zero if it does not say.
	Seen time.Time
}

// HostService is one service as Shodan saw it.
type HostService struct {
	Port                   uint16
	Transport              string
	Product, Version, Data string
	CPEs                   []string
	Seen                   time.Time
}

// Vulnerability is one that the provider concluded, or says that it tested.
type Vulnerability struct {
	ID       string
	Verified bool
}

// shodanHost is the answer of /shodan/host/{ip} (https://developer.shodan.io/api).
type shodanHost struct {
	IP         text               `json:"ip_str"`
	Hostnames  list[text]         `json:"hostnames"`
	Domains    list[text]         `json:"domains"`
	Tags       list[text]         `json:"tags"`
	Ports      list[uint16]       `json:"ports"`
	Vulns      list[text]         `json:"vulns"`
	Org        text               `json:"org"`
	ISP        text               `json:"isp"`
	ASN        text               `json:"asn"`
	Country    text               `json:"country_code"`
	LastUpdate text               `json:"last_update"`
	Data       list[shodanBanner] `json:"data"`
	Error      json.RawMessage    `json:"error"`
}

// shodanBanner is one element of its data (https://datapedia.shodan.io).
type shodanBanner struct {
	Port      uint16                `json:"port"`
	Transport text                  `json:"transport"`
	Product   text                  `json:"product"`
	Version   text                  `json:"version"`
	CPE23     list[text]            `json:"cpe23"`
	Data      clipped               `json:"data"`
	Timestamp text                  `json:"timestamp"`
	Vulns     map[string]shodanVuln `json:"vulns"`
}

type shodanVuln struct {
	Verified bool `json:"verified"`
}

// clipped is a text that may be long, of which the beginning is kept.
type clipped string

// UnmarshalJSON keeps the beginning.
func (c *clipped) UnmarshalJSON(raw []byte) error {
	var s *string
	if err := json.Unmarshal(raw, &s); err != nil || s == nil {
		return err
	}
	*c = clipped((*s)[:min(len(*s), maxText)])
	return nil
}

// HostQuestion asks Shodan about an address. It costs no credit.
func HostQuestion(addr netip.Addr) Question[*Host] {
	return hostQuestion(Shodan, "/shodan/host/", addr, parseShodanHost)
}

// hostQuestion asks about an address, which ends the path.
func hostQuestion(p *Provider, path string, addr netip.Addr, parse func([]byte, netip.Addr) (*Host, error)) Question[*Host] {
	return Question[*Host]{
		Provider: p, operation: "host", subject: addr.String(), path: path + url.PathEscape(addr.String()),
		parse: func(body []byte) (*Host, error) { return parse(body, addr) },
	}
}

// parseShodanHost refuses an answer about another address.
func parseShodanHost(body []byte, about netip.Addr) (*Host, error) {
	in, err := decode[shodanHost](body)
	if err != nil {
		return nil, err
	}
	if addr, err := netip.ParseAddr(string(in.IP)); err != nil || addr != about || in.Error != nil {
		return nil, errShape
	}
	out := &Host{
		Hostnames: in.Hostnames.texts(same), Domains: in.Domains.texts(same), Tags: in.Tags.texts(same), Ports: in.Ports.items,
		Organisation: string(in.Org), Network: string(in.ISP), ASN: asn(in.ASN), Country: string(in.Country), Seen: stamp(in.LastUpdate),
	}
	verified := map[string]bool{}
	for _, v := range in.Vulns.texts(same) {
		verified[v] = false
	}
	for _, b := range in.Data.items {
		s := HostService{
			Port: b.Port, Transport: string(b.Transport), Product: string(b.Product), Version: string(b.Version), Data: string(b.Data),
			CPEs: b.CPE23.texts(same), Seen: stamp(b.Timestamp),
		}
		out.Services = append(out.Services, s)
		out.CPEs = append(out.CPEs, s.CPEs...)
		for id, v := range b.Vulns {
			verified[id] = verified[id] || v.Verified
		}
	}
	slices.Sort(out.CPEs)
	out.CPEs = slices.Compact(out.CPEs)
	for _, id := range slices.Sorted(maps.Keys(verified)) {
		out.Vulnerabilities = append(out.Vulnerabilities, Vulnerability{id, verified[id]})
	}
	return out, nil
}

// DomainNames are names that a provider knows below a domain.
type DomainNames struct {
	Names []string
	Tags  []string
	// More says that the provider knows more than it sent.
	More bool
}

// shodanDomain is the answer of /dns/domain/{domain} (https://developer.shodan.io/api).
type shodanDomain struct {
	Domain     text               `json:"domain"`
	Tags       list[text]         `json:"tags"`
	Subdomains list[text]         `json:"subdomains"`
	Data       list[shodanRecord] `json:"data"`
	More       bool               `json:"more"`
}

type shodanRecord struct {
	Subdomain text `json:"subdomain"`
}

// ShodanDomainQuestion asks Shodan for names below a domain. It costs one query credit.
func ShodanDomainQuestion(domain string) Question[*DomainNames] {
	return Question[*DomainNames]{
		Provider: Shodan, operation: "domain", subject: domain, path: "/dns/domain/" + url.PathEscape(domain), credits: 1,
		parse: func(body []byte) (*DomainNames, error) { return parseShodanDomain(body, domain) },
	}
}

func parseShodanDomain(body []byte, domain string) (*DomainNames, error) {
	in, err := decode[shodanDomain](body)
	if err != nil {
		return nil, err
	}
	if string(in.Domain) != domain {
		return nil, errShape
	}
	labels := append(in.Subdomains.texts(same), in.Data.texts(func(r shodanRecord) text { return r.Subdomain })...)
	return &DomainNames{Names: below(domain, labels), Tags: in.Tags.texts(same), More: in.More || in.Subdomains.cut || in.Data.cut}, nil
}

// below makes whole names of what stands left of the domain.
func below(domain string, labels []string) []string {
	out := make([]string, 0, len(labels))
	for _, label := range labels {
		if label != "" {
			out = append(out, label+"."+domain)
		}
	}
	return out
}

// internetDB is the answer of https://internetdb.shodan.io/{ip}.
type internetDB struct {
	IP        text         `json:"ip"`
	Ports     list[uint16] `json:"ports"`
	CPEs      list[text]   `json:"cpes"`
	Hostnames list[text]   `json:"hostnames"`
	Tags      list[text]   `json:"tags"`
	Vulns     list[text]   `json:"vulns"`
}

// InternetDBQuestion asks InternetDB about an address.
func InternetDBQuestion(addr netip.Addr) Question[*Host] {
	return hostQuestion(InternetDB, "/", addr, parseInternetDB)
}

func parseInternetDB(body []byte, about netip.Addr) (*Host, error) {
	in, err := decode[internetDB](body)
	if err != nil {
		return nil, err
	}
	if addr, err := netip.ParseAddr(string(in.IP)); err != nil || addr != about {
		return nil, errShape
	}
	out := &Host{Hostnames: in.Hostnames.texts(same), Tags: in.Tags.texts(same), CPEs: in.CPEs.texts(same), Ports: in.Ports.items}
	for _, id := range in.Vulns.texts(same) {
		out.Vulnerabilities = append(out.Vulnerabilities, Vulnerability{ID: id})
	}
	return out, nil
}

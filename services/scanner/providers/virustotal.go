package providers

import (
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Verdict is what VirusTotal knows of a domain or an address.
type Verdict struct {
	Malicious, Suspicious, Harmless, Undetected uint32
	Reputation                                  int32
	Categories, Tags                            []string
	// Analysed is when the engines looked last.
	Analysed time.Time
	// Of a domain.
	Registrar, JARM  string
	Created, Expires time.Time
	// RegistryAt is when the registry was asked for these two.
	RegistryAt time.Time
	// Of an address.
	Owner, Network, Country string
	ASN                     uint32
}

// vtObject is an object of version 3 (https://docs.virustotal.com/reference/objects).
type vtObject struct {
	Data struct {
		ID         text         `json:"id"`
		Type       text         `json:"type"`
		Attributes vtAttributes `json:"attributes"`
	} `json:"data"`
}

// vtAttributes are those of https://docs.virustotal.com/reference/domains-object and .../ip-object that we use.
type vtAttributes struct {
	Stats *struct {
		Malicious  uint32 `json:"malicious"`
		Suspicious uint32 `json:"suspicious"`
		Harmless   uint32 `json:"harmless"`
		Undetected uint32 `json:"undetected"`
	} `json:"last_analysis_stats"`
	Analysed   int64           `json:"last_analysis_date"`
	Reputation int32           `json:"reputation"`
	Categories map[string]text `json:"categories"`
	Tags       list[text]      `json:"tags"`
	Registrar  text            `json:"registrar"`
	JARM       text            `json:"jarm"`
	Created    int64           `json:"creation_date"`
	Whois      clipped         `json:"whois"`
	WhoisDate  int64           `json:"whois_date"`
	Owner      text            `json:"as_owner"`
	ASN        uint32          `json:"asn"`
	Network    text            `json:"network"`
	Country    text            `json:"country"`
}

// VirusTotalDomainQuestion asks for the verdict about a domain.
func VirusTotalDomainQuestion(domain string) Question[*Verdict] {
	return Question[*Verdict]{
		Provider: VirusTotal, operation: "domain", subject: domain, path: "/domains/" + url.PathEscape(domain),
		parse: func(body []byte) (*Verdict, error) { return parseVerdict(body, "domain", domain) },
	}
}

// VirusTotalAddressQuestion asks for the verdict about an address.
func VirusTotalAddressQuestion(addr netip.Addr) Question[*Verdict] {
	return Question[*Verdict]{
		Provider: VirusTotal, operation: "address", subject: addr.String(), path: "/ip_addresses/" + url.PathEscape(addr.String()),
		parse: func(body []byte) (*Verdict, error) { return parseVerdict(body, "ip_address", addr.String()) },
	}
}

// parseVerdict refuses an answer about another object.
func parseVerdict(body []byte, kind, id string) (*Verdict, error) {
	in, err := decode[vtObject](body)
	if err != nil {
		return nil, err
	}
	if string(in.Data.Type) != kind || string(in.Data.ID) != id {
		return nil, errShape
	}
	a := in.Data.Attributes
	out := &Verdict{
		Reputation: a.Reputation, Tags: a.Tags.texts(same), Analysed: unix(a.Analysed), Registrar: string(a.Registrar), JARM: string(a.JARM),
		Created: unix(a.Created), Expires: expiry(string(a.Whois)), RegistryAt: unix(a.WhoisDate), Owner: string(a.Owner), ASN: a.ASN, Network: string(a.Network), Country: string(a.Country),
	}
	if s := a.Stats; s != nil {
		out.Malicious, out.Suspicious, out.Harmless, out.Undetected = s.Malicious, s.Suspicious, s.Harmless, s.Undetected
	}
	for _, engine := range slices.Sorted(maps.Keys(a.Categories)) {
		if c := string(a.Categories[engine]); !slices.Contains(out.Categories, c) {
			out.Categories = append(out.Categories, c)
		}
	}
	return out, nil
}

// expiryLines are how registries name the end of a registration in WHOIS; the first is ICANN's
// (https://www.icann.org/en/contracted-parties/registry-operators/resources/registry-agreement, Specification 4).
var expiryLines = []string{"registry expiry date", "registrar registration expiration date", "expiry date", "expiration date", "expires", "paid-till"}

// expiry reads when a registration ends, zero if the text does not say.
func expiry(whois string) time.Time {
	found := map[string]time.Time{}
	for line := range strings.Lines(whois) {
		name, value, ok := strings.Cut(line, ":")
		if name = strings.ToLower(strings.TrimSpace(name)); !ok || !slices.Contains(expiryLines, name) {
			continue
		}
		if t := stamp(text(strings.TrimSpace(value))); !t.IsZero() && found[name].IsZero() {
			found[name] = t
		}
	}
	for _, name := range expiryLines {
		if t := found[name]; !t.IsZero() {
			return t
		}
	}
	return time.Time{}
}

// vtList is a page of objects (https://docs.virustotal.com/reference/collections).
type vtList struct {
	Data list[struct {
		ID   text `json:"id"`
		Type text `json:"type"`
	}] `json:"data"`
	Meta struct {
		Cursor text `json:"cursor"`
	} `json:"meta"`
}

// VirusTotalNamesQuestion asks for names below a domain: one page of 40, the most that it gives
// (https://docs.virustotal.com/reference/domains-relationships). cursor is that of the page before.
func VirusTotalNamesQuestion(domain, cursor string) Question[*NamesPage] {
	query := url.Values{"limit": {"40"}}
	if cursor != "" {
		query.Set("cursor", cursor)
	}
	return Question[*NamesPage]{
		Provider: VirusTotal, operation: "names", subject: domain, path: "/domains/" + url.PathEscape(domain) + "/subdomains?" + query.Encode(),
		page: cursor, parse: parseVirusTotalNames,
	}
}

// NamesPage is one page of names.
type NamesPage struct {
	Names []string
	// Cursor asks for the next page, empty after the last.
	Cursor string
}

func parseVirusTotalNames(body []byte) (*NamesPage, error) {
	in, err := decode[vtList](body)
	if err != nil {
		return nil, err
	}
	out := &NamesPage{Cursor: string(in.Meta.Cursor)}
	for _, d := range in.Data.items {
		if d.Type != "domain" {
			return nil, errShape
		}
		out.Names = append(out.Names, string(d.ID))
	}
	return out, nil
}

package providers

import (
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/publicsuffix"
)

// Registries are the services that registries of domains answer at, by top-level domain: the bootstrap file of RFC 9224.
type Registries struct {
	byTop map[string]string
}

// For is the address before "domain/..." of the registry that a domain is in; "" if it has no service.
func (r *Registries) For(domain string) string {
	if r == nil {
		return ""
	}
	return r.byTop[domain[strings.LastIndexByte(domain, '.')+1:]]
}

// Registration is what the registry of a domain says about its registration (RFC 9083).
type Registration struct {
	Registrar        string
	Created, Expires time.Time
	// Read is when the registry's service last read the registry's own database; zero if it does not say.
	Read time.Time
	// Status are the words of RFC 8056 and RFC 9083 section 10.2.2: "active", "client transfer prohibited", "redemption period", ...
	Status []string
}

// Registrable says whether a name is a domain as registries hand them out: one label below a public suffix that ICANN delegated.
func Registrable(name string) bool {
	suffix, icann := publicsuffix.PublicSuffix(name)
	below, found := strings.CutSuffix(name, "."+suffix)
	return icann && found && below != "" && !strings.Contains(below, ".")
}

// RegistriesQuestion asks IANA which registry has a service at which address.
func RegistriesQuestion() Question[*Registries] {
	return Question[*Registries]{Provider: RDAP, operation: "registries", subject: "iana.org", path: "/dns.json", parse: parseRegistries}
}

// rdapBootstrap is the file of RFC 9224 section 3: each service has the domains it is for, and its addresses.
type rdapBootstrap struct {
	Services *list[list[list[text]]] `json:"services"`
}

func parseRegistries(body []byte) (*Registries, error) {
	in, err := decode[rdapBootstrap](body)
	if err != nil {
		return nil, err
	}
	if in.Services == nil {
		return nil, errShape
	}
	out := &Registries{byTop: map[string]string{}}
	for _, s := range in.Services.items {
		if len(s.items) != 2 {
			return nil, errShape
		}
		i := slices.IndexFunc(s.items[1].items, func(base text) bool { return checkRegistry(string(base)) == nil })
		if i < 0 {
			continue // RFC 9224 section 3: where there are several, https is to be preferred; we take no other
		}
		for _, top := range s.items[0].items {
			if len(out.byTop) < maxList {
				out.byTop[strings.ToLower(string(top))] = string(s.items[1].items[i])
			}
		}
	}
	return out, nil
}

var errRegistry = errors.New("no https address without user, query and fragment")

// checkRegistry says what is wrong with the address of a registry. Only this machine may be spoken to in clear text.
func checkRegistry(base string) error {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())) {
		return errRegistry
	}
	return nil
}

// RegistrationQuestion asks the registry at an address of Registries for a domain (RFC 9082 section 3.1.3).
func RegistrationQuestion(registry, domain string) Question[*Registration] {
	return Question[*Registration]{
		Provider: RDAP, operation: "registration", subject: domain, at: strings.TrimSuffix(registry, "/"), path: "/domain/" + url.PathEscape(domain),
		parse: func(body []byte) (*Registration, error) { return parseRegistration(body, domain) },
	}
}

// rdapDomain are the members of RFC 9083 sections 5.3 and 5.1 that we use.
type rdapDomain struct {
	Class  text       `json:"objectClassName"`
	Name   text       `json:"ldhName"`
	Status list[text] `json:"status"`
	Events list[struct {
		Action text `json:"eventAction"`
		Date   text `json:"eventDate"`
	}] `json:"events"`
	Entities list[struct {
		Handle text       `json:"handle"`
		Roles  list[text] `json:"roles"`
		Card   list[any]  `json:"vcardArray"`
	}] `json:"entities"`
}

// parseRegistration refuses an answer about another object.
func parseRegistration(body []byte, domain string) (*Registration, error) {
	in, err := decode[rdapDomain](body)
	if err != nil {
		return nil, err
	}
	if in.Class != "domain" || strings.TrimSuffix(strings.ToLower(string(in.Name)), ".") != domain {
		return nil, errShape
	}
	out := &Registration{Status: in.Status.texts(func(t text) text { return text(strings.ToLower(string(t))) })}
	for _, e := range in.Events.items {
		at := stamp(e.Date)
		switch strings.ToLower(string(e.Action)) { // RFC 9083 section 10.2.3
		case "registration":
			out.Created = at
		case "expiration":
			out.Expires = at
		case "last update of rdap database":
			out.Read = at
		}
	}
	for _, e := range in.Entities.items {
		if slices.Contains(e.Roles.texts(same), "registrar") && out.Registrar == "" {
			out.Registrar = cardName(e.Card.items, string(e.Handle))
		}
	}
	return out, nil
}

// cardName is the formatted name of a jCard (RFC 7095 section 3.3: ["vcard", [["fn", {}, "text", "Name"], ...]]), else the handle.
func cardName(card []any, handle string) string {
	if len(card) != 2 {
		return handle
	}
	properties, _ := card[1].([]any)
	for _, p := range properties {
		if property, _ := p.([]any); len(property) >= 4 && property[0] == "fn" {
			if name, ok := property[3].(string); ok && name != "" && len(name) <= maxText {
				return name
			}
		}
	}
	return handle
}

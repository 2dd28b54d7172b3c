package rest

import (
	"cmp"
	"net/netip"
	"net/url"
	"strings"

	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/ranges"
)

// ProofLabel is the tag of a subscription and the label of a project that prove who has control of it. Its value is the external id,
// which is bound to tenant and account: reading needs a credential, but only who may change the account can write it there.
const ProofLabel = "riskprofiler"

// Held is what an account has: names and addresses that records may lead to.
type Held struct{ names, addresses, idle map[string]bool }

// Add notes the names and addresses of a resource.
func (h *Held) Add(names, addresses []string) {
	if h.names == nil {
		h.names, h.addresses = map[string]bool{}, map[string]bool{}
	}
	for _, n := range names {
		h.names[Name(n)] = true
	}
	for _, a := range addresses {
		h.addresses[a] = true
	}
}

// Idle notes addresses that the account has and nothing uses.
func (h *Held) Idle(addresses []string) {
	if h.idle == nil {
		h.idle = map[string]bool{}
	}
	for _, a := range addresses {
		h.idle[a] = true
	}
}

// Dangling says why a record with these values leads to nothing of the account's, in a value of [cloud.SettingDangling]; "" if nothing
// says so. lost are the places that another account of the same owner may hold. suffixes are of the names that the provider gives out,
// each with its dot; provider is its name in the table of ranges.
func (h *Held) Dangling(provider string, values, suffixes []string) (why string, lost []string) {
	for _, v := range values {
		one := h.dangling(provider, v, suffixes)
		if one == cloud.DanglingIdleAddress {
			return one, nil // certain, whatever else there is
		}
		if one != "" {
			why = cmp.Or(why, one)
			lost = append(lost, Name(v))
		}
	}
	return why, lost
}

func (h *Held) dangling(provider, value string, suffixes []string) string {
	if addr, err := netip.ParseAddr(value); err == nil {
		switch {
		case h.idle[value]:
			return cloud.DanglingIdleAddress
		case !h.addresses[value] && ranges.Of(addr).Cloud == provider:
			return cloud.DanglingAddress
		}
		return ""
	}
	name := Name(value)
	for _, suffix := range suffixes {
		own, given := strings.CutSuffix(name, suffix)
		if given && !h.names[name] && strings.Count(own, ".") <= 1 { // deeper ones are of parts of resources
			return cloud.DanglingEnvironment
		}
	}
	return ""
}

// At is where an interface is reached: where the operator says, else at its own address.
func At(env probes.Env, name, own string) string {
	if base := env.Cloud.URLs[name]; base != "" {
		return strings.TrimSuffix(base, "/")
	}
	return own
}

// Origin is what a base begins with: scheme and host.
func Origin(base string) string {
	u, err := url.Parse(base)
	if err != nil {
		return ""
	}
	return u.Scheme + "://" + u.Host
}

// Name is a host name in the spelling that is compared.
func Name(text string) string { return strings.ToLower(strings.TrimSuffix(text, ".")) }

// HostOf is the host of a URL such as "https://name.vault.azure.net/"; "" for what has none.
func HostOf(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	return Name(u.Hostname())
}

// Hosts are the names in a list of names and URLs, without empty ones.
func Hosts(texts ...string) []string {
	var out []string
	for _, t := range texts {
		if strings.Contains(t, "://") {
			t = HostOf(t)
		}
		if t = Name(t); t != "" {
			out = append(out, t)
		}
	}
	return out
}

// YesNo is a setting's value.
func YesNo(b bool) string {
	if b {
		return cloud.Yes
	}
	return cloud.No
}

package dns

import (
	_ "embed"
	"encoding/json"
	"strconv"
	"strings"
	"sync"
)

//go:embed providers.json
var providersFile []byte

// What is known about claiming a resource that nobody has at a provider.
const (
	stateVulnerable = "vulnerable" // anybody can
	stateEdge       = "edge"       // some can be claimed, and its answer does not tell which
	stateNot        = "not"        // the provider proves control first
)

// provider is one service whose resources go by names that customers point to: see providers.json, which also says where each
// fact is from and of which date.
type provider struct {
	Name  string `json:"name"`
	State string `json:"state"`
	// CNAME are suffixes of the names that its customers' aliases point to.
	CNAME []string `json:"cname"`
	// NS are its name servers or suffixes of their names; a final "*" in the first label stands for any digits.
	NS []string `json:"ns"`
	// NXDomain: a resource that can be claimed does not exist in the provider's zone.
	NXDomain bool `json:"nxdomain"`
	// Text that all stands in its page for a resource that nobody has, with Status if that is told, else any error status.
	Text   []string `json:"text"`
	Status int      `json:"status"`
	// Except ends the first label of names that cannot be claimed.
	Except string `json:"except"`

	Source []string `json:"source"`
	Date   string   `json:"date"`
	Note   string   `json:"note"`
}

// loadProviders reads the table, once, when the first alias asks for it.
var loadProviders = sync.OnceValue(func() []provider {
	var file struct {
		Providers []provider `json:"providers"`
	}
	_ = json.Unmarshal(providersFile, &file) // compiled in, and tested
	return file.Providers
})

// providerOf finds the provider of the first name of an alias chain that is one's, the longest suffix first.
func providerOf(list []provider, chain []string) (provider, string) {
	for _, target := range chain {
		best, length := provider{}, 0
		for _, p := range list {
			for _, suffix := range p.CNAME {
				if len(suffix) > length && under(target, suffix) && !p.excepts(target) {
					best, length = p, len(suffix)
				}
			}
		}
		if length > 0 {
			return best, target
		}
	}
	return provider{}, ""
}

// excepts says that a name of the provider cannot be claimed whoever has it.
func (p provider) excepts(target string) bool {
	label, _, _ := strings.Cut(target, ".")
	return p.Except != "" && strings.HasSuffix(label, p.Except)
}

// under says whether name is suffix or lies below it.
func under(name, suffix string) bool {
	return name == suffix || strings.HasSuffix(name, "."+suffix)
}

// nsProviderOf finds the DNS host that a name server belongs to.
func nsProviderOf(list []provider, server string) provider {
	for _, p := range list {
		for _, pattern := range p.NS {
			if prefix, ok := strings.CutSuffix(pattern, "*"); ok {
				if strings.Contains("."+server, "."+prefix) {
					return p
				}
			} else if under(server, pattern) {
				return p
			}
		}
	}
	return provider{}
}

// proof says what in an answer is the provider's for a resource that nobody has, and "" if nothing is. certain says that the
// status is the one that belongs to it.
func (p provider) proof(status int, body string) (text string, certain bool) {
	if len(p.Text) == 0 {
		return "", false
	}
	for _, text := range p.Text {
		if !strings.Contains(body, text) {
			return "", false
		}
	}
	certain = status == p.Status || (p.Status == 0 && status >= 400)
	return p.Name + " answers " + strconv.Itoa(status) + ": " + strings.Join(p.Text, " ... "), certain
}

package providers

import (
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/net/publicsuffix"

	"github.com/riskprofiler/riskprofiler/platform/netguard"
)

// reserved are names that are never anybody's on the internet, though the public suffix list knows some of them: RFC 6761,
// RFC 6762 (local), RFC 7686 (onion), RFC 8375 (home.arpa, and all else below arpa is infrastructure), RFC 9476 (alt), and
// ICANN's resolution 2024.07.29.06 (internal).
var reserved = []string{"test", "example", "localhost", "invalid", "local", "onion", "arpa", "alt", "internal"}

// strict permits the public internet only.
var strict = netguard.New(netguard.Options{})

// Public says whether third parties may be asked about a name or an address: a public address, or a name below a suffix that is
// in the root zone. What only this network knows is nobody else's business, and a laboratory causes no request outside.
func Public(subject string) bool {
	if addr, err := netip.ParseAddr(subject); err == nil {
		return strict.Judge(addr) == nil
	}
	name := strings.ToLower(strings.TrimSuffix(subject, "."))
	top := name[strings.LastIndexByte(name, '.')+1:]
	if top == name || slices.Contains(reserved, top) {
		return false
	}
	_, known := publicsuffix.PublicSuffix(top)
	return known
}

func loopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

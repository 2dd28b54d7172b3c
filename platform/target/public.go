package target

import (
	"slices"
	"strings"

	"golang.org/x/net/publicsuffix"
)

// special are names that mean something to a local network or to nobody, with all below them. Whoever is asked about them on the
// public internet learns the names of somebody's inside and knows nothing: RFC 6761 (test, localhost, invalid, example and the
// example domains), RFC 6762 (local), RFC 7686 (onion), RFC 8375 (home.arpa), RFC 9476 (alt), ICANN Board resolution 2024.07.29.06
// (internal), and the reverse trees, which are no names of hosts.
var special = []string{
	"test", "localhost", "invalid", "example", "example.com", "example.net", "example.org", "local", "onion", "home.arpa", "arpa", "alt",
	"internal",
}

// IsPublicName says whether a canonical name is one of the public internet: it lies below a suffix that is delegated
// (publicsuffix.org: of ICANN, or of a registry below one) and is not special. Third parties are asked about no other names.
func IsPublicName(name string) bool {
	if slices.ContainsFunc(special, func(s string) bool { return name == s || strings.HasSuffix(name, "."+s) }) {
		return false
	}
	suffix, icann := publicsuffix.PublicSuffix(name)
	// A suffix of one label that is not ICANN's is the list's default rule: nobody has delegated it.
	return suffix != name && (icann || strings.Contains(suffix, "."))
}

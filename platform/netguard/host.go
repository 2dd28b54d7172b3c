package netguard

import (
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// The limits of a DNS name in text form without the final dot (RFC 1035 2.3.4).
const (
	maxName  = 253
	maxLabel = 63
)

// host is a parsed host: an address, or a name in lower case without final dot.
type host struct {
	addr netip.Addr
	name string
}

// splitAddress takes a host:port apart. The port is a plain decimal from 1 to 65535: service names
// would be looked up in a file, and +80, 080 and 0 mean different things to different readers.
func splitAddress(address string) (host, uint16, error) {
	text, portText, err := net.SplitHostPort(address)
	if err != nil {
		return host{}, 0, misspelt(address, "no host:port")
	}
	port, err := parsePort(portText)
	if err != nil {
		return host{}, 0, misspelt(address, "port is no number from 1 to 65535")
	}
	h, err := parseHost(text)
	if err != nil {
		return host{}, 0, err
	}
	if h.addr.Is6() != strings.HasPrefix(address, "[") {
		return host{}, 0, misspelt(address, "brackets are for IPv6 addresses")
	}
	return h, port, nil
}

func parsePort(text string) (uint16, error) {
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil || port == 0 || text[0] == '0' || text[0] == '+' {
		return 0, strconv.ErrSyntax
	}
	return uint16(port), nil
}

// parseHost accepts an address in its usual form or an ASCII name, and nothing in between. What
// other software would read as an address (2130706433, 0x7f.1, 0177.0.0.1, 127.1, by the rules of
// inet_aton and of the WHATWG URL standard, "ends in a number") must not pass as a name, for
// somebody behind us may read it that way.
func parseHost(text string) (host, error) {
	if addr, err := netip.ParseAddr(text); err == nil {
		switch {
		case addr.Zone() != "":
			return host{}, misspelt(text, "address with a zone")
		case addr.Is4In6():
			return host{}, misspelt(text, "IPv4 address written as IPv6")
		case addr.Is4() && addr.String() != text:
			return host{}, misspelt(text, "IPv4 address not in its usual form")
		}
		return host{addr: addr}, nil
	}
	name, err := parseName(text)
	return host{name: name}, err
}

// parseName checks a DNS name: letters, digits, hyphens and underscores (hosts found in the wild
// use both at odd places), no internationalised text. A-labels (xn--) pass as they are, except
// those that decode to plain ASCII (CVE-2026-39821).
func parseName(text string) (string, error) {
	name := strings.TrimSuffix(text, ".")
	if name == "" || len(name) > maxName {
		return "", misspelt(text, "empty or longer than %d bytes", maxName)
	}
	label := ""
	for rest, more := name, true; more; {
		label, rest, more = strings.Cut(rest, ".")
		if label == "" || len(label) > maxLabel {
			return "", misspelt(text, "a label is empty or longer than %d bytes", maxLabel)
		}
		for i := range len(label) {
			if !nameByte(label[i]) {
				return "", misspelt(text, "a character that no host name has")
			}
		}
		if len(label) > 3 && strings.EqualFold(label[:4], "xn--") && label[len(label)-1] == '-' {
			return "", misspelt(text, "an A-label that hides plain ASCII")
		}
	}
	if isNumber(label) { // the last one
		return "", misspelt(text, "a number in place of a top-level domain")
	}
	return strings.ToLower(name), nil
}

func nameByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_'
}

// isNumber is the WHATWG URL standard's test of a last label: digits only, or 0x and hex digits.
func isNumber(label string) bool {
	digits := "0123456789"
	if len(label) > 1 && label[0] == '0' && label[1]|0x20 == 'x' {
		label, digits = label[2:], "0123456789abcdefABCDEF"
	}
	return strings.Trim(label, digits) == ""
}

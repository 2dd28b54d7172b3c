// Package target reads what people type to name something on the network: a name, an address, a range, host:port, a URL or a
// cloud account.
// It decides what is meant and gives it one canonical spelling. It resolves nothing and knows nothing about scope.
package target

import (
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/net/publicsuffix"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// Kind is what a target is.
type Kind int

// The kinds. The numbers are those of riskprofiler.model.v1.AssetKind.
const (
	// Domain is the apex of a zone: a registrable domain such as example.com.
	Domain Kind = 1
	// Host is any other name.
	Host Kind = 2
	// IP is one address.
	IP Kind = 3
	// CIDR is a range of addresses.
	CIDR Kind = 4
	// CloudAccount is an account at a cloud provider: see [CloudParts].
	CloudAccount Kind = 6
)

const (
	// MaxNameBytes is the longest host name (RFC 1035 section 2.3.4, without the trailing dot).
	MaxNameBytes = 253
	// MaxLabelBytes is the longest label (RFC 1035 section 2.3.4).
	MaxLabelBytes = 63
	// MaxTargetBytes bounds the text that is read at all; ours.
	MaxTargetBytes = 2048
	// MaxRangeBits is the size of the largest range: 2^12, 4,096 addresses. Ours: a larger range is several targets.
	MaxRangeBits = 12
)

// Target is one parsed target.
type Target struct {
	Kind Kind
	// Value is the canonical text: a lower-case A-label name without trailing dot, an address as RFC 5952 writes it, or a
	// range with the host bits cleared, or provider:account.
	Value string
	// Port is set if the text named one port, as host:port and URLs with a port do, or if a URL's scheme implies one.
	Port uint16
	// URL is set if the text was a URL: scheme://host[:port]/path, without user, query and fragment.
	URL string
}

// profile maps names as browsers do and checks them (UTS 46, RFC 5891).
var profile = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.Transitional(false), idna.StrictDomainName(false))

// Parse reads one target. The error is one line that names the text and says what is accepted; it matches fault.Invalid.
func Parse(text string) (Target, error) {
	t := strings.TrimSpace(text)
	switch {
	case !utf8.ValidString(t):
		return Target{}, bad(text, "it is not UTF-8 text")
	case t == "":
		return Target{}, bad(text, "it is empty")
	case len(t) > MaxTargetBytes:
		return Target{}, fault.New(fault.Invalid, "read target: it is %d bytes long, the limit is %d", len(t), MaxTargetBytes)
	case strings.Contains(t, "://"):
		return parseURL(t)
	case strings.Contains(t, "/"):
		return parseRange(t)
	}
	if addr, err := netip.ParseAddr(t); err == nil {
		return parseAddr(t, addr, 0)
	}
	if account, ok := parseCloud(t); ok {
		return account, nil
	}
	host, port, err := splitPort(t)
	if err != nil {
		return Target{}, err
	}
	return parseHost(t, host, port)
}

func bad(text, why string) error {
	return fault.New(fault.Invalid, "read target %s: %s; give a name, an address, a range such as 192.0.2.0/24, host:port, a URL or a cloud account such as aws:123456789012", strconv.Quote(clip(text)), why)
}

func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "..."
	}
	return s
}

func splitPort(t string) (host string, port uint16, err error) {
	i := strings.LastIndexByte(t, ':')
	if i < 0 {
		return t, 0, nil
	}
	host, digits := t[:i], t[i+1:]
	n, perr := strconv.ParseUint(digits, 10, 16)
	if perr != nil || n == 0 || strconv.FormatUint(n, 10) != digits {
		return "", 0, bad(t, "what follows the last colon is not a port from 1 to 65535")
	}
	if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		host = host[1 : len(host)-1]
	} else if strings.Contains(host, ":") {
		return "", 0, bad(t, "an IPv6 address with a port is written [2001:db8::1]:443")
	}
	return host, uint16(n), nil
}

func parseHost(text, host string, port uint16) (Target, error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return parseAddr(text, addr, port)
	}
	name, err := canonicalName(text, host)
	if err != nil {
		return Target{}, err
	}
	kind := Host
	if apex, err := publicsuffix.EffectiveTLDPlusOne(name); err == nil && apex == name {
		kind = Domain
	}
	return Target{Kind: kind, Value: name, Port: port}, nil
}

func parseAddr(text string, addr netip.Addr, port uint16) (Target, error) {
	if addr.Zone() != "" {
		return Target{}, bad(text, "an address with a zone means something on one machine only")
	}
	return Target{Kind: IP, Value: addr.Unmap().String(), Port: port}, nil
}

func parseRange(text string) (Target, error) {
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return Target{}, bad(text, "it is not a range such as 192.0.2.0/24 (a path needs a scheme: https://host/path)")
	}
	if p.Addr().Is4In6() {
		return Target{}, bad(text, "write an IPv4 range without ::ffff:")
	}
	p = p.Masked()
	if bits := p.Addr().BitLen() - p.Bits(); bits > MaxRangeBits {
		return Target{}, bad(text, "the range has 2^"+strconv.Itoa(bits)+" addresses and the limit is 2^"+strconv.Itoa(MaxRangeBits)+", split it")
	}
	if p.IsSingleIP() {
		return parseAddr(text, p.Addr(), 0)
	}
	return Target{Kind: CIDR, Value: p.String()}, nil
}

func parseURL(text string) (Target, error) {
	u, err := url.Parse(text)
	if err != nil {
		return Target{}, bad(text, "it is not a URL")
	}
	scheme := strings.ToLower(u.Scheme)
	switch {
	case scheme != "http" && scheme != "https":
		return Target{}, bad(text, "only http and https URLs are scanned")
	case u.User != nil:
		return Target{}, bad(scheme+"://...@"+u.Host, "a URL with a user name or password is refused, so that no secret is stored")
	case u.Hostname() == "":
		return Target{}, bad(text, "the URL has no host")
	}
	port := uint16(443)
	if scheme == "http" {
		port = 80
	}
	if p := u.Port(); p != "" {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil || n == 0 {
			return Target{}, bad(text, "the port is not from 1 to 65535")
		}
		port = uint16(n)
	}
	t, err := parseHost(text, u.Hostname(), port)
	if err != nil {
		return Target{}, err
	}
	path := u.EscapedPath()
	if path == "" {
		path = "/"
	}
	t.URL = scheme + "://" + hostPort(t.Value, port) + path
	return t, nil
}

func hostPort(value string, port uint16) string {
	if strings.Contains(value, ":") {
		value = "[" + value + "]"
	}
	return value + ":" + strconv.Itoa(int(port))
}

// canonicalName checks a name label by label. An underscore may begin a label, as in service names (RFC 8552). A name whose
// last label is all digits is a misspelt address and refused (WHATWG URL, "ends in a number").
func canonicalName(text, host string) (string, error) {
	name, err := profile.ToASCII(strings.TrimSuffix(host, "."))
	if err != nil {
		return "", bad(text, "it is not a valid name")
	}
	name = strings.ToLower(name)
	// What was mapped must itself be a name: U+FFFD and the like have an A-label that nothing accepts.
	if again, err := profile.ToASCII(name); err != nil || again != name {
		return "", bad(text, "it is not a valid name")
	}
	if name == "" || len(name) > MaxNameBytes {
		return "", bad(text, "a name has 1 to 253 characters")
	}
	labels := strings.Split(name, ".")
	for _, l := range labels {
		if problem := checkLabel(l); problem != "" {
			return "", bad(text, problem)
		}
	}
	last := labels[len(labels)-1]
	if strings.Trim(last, "0123456789") == "" || strings.HasPrefix(last, "0x") {
		return "", bad(text, "it looks like a number but is not an address in its usual spelling")
	}
	return name, nil
}

func checkLabel(l string) string {
	switch {
	case l == "":
		return "a label of the name is empty"
	case len(l) > MaxLabelBytes:
		return "a label of the name has more than 63 characters"
	case l[0] == '-' || l[len(l)-1] == '-':
		return "a label of a name neither begins nor ends with a hyphen"
	}
	for i := range len(l) {
		c := l[i]
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_' {
			continue
		}
		return "a name consists of letters, digits, hyphens and dots"
	}
	return ""
}

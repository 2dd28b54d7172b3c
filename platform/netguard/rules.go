package netguard

import (
	"fmt"
	"net/netip"
)

// level is what it takes to permit an address.
type level int

const (
	withPrivate level = iota + 1 // Options.AllowPrivate, or Options.AllowExact
	withExact                    // only Options.AllowExact
	never                        // nothing
)

func (l level) remedy() string {
	switch l {
	case withPrivate:
		return "the operator's AllowPrivate, or AllowExact for this address and port, would permit it"
	case withExact:
		return "only the operator's AllowExact for this address and port would permit it"
	default:
		return "nothing permits it"
	}
}

// rule is one range that is not simply the public internet.
type rule struct {
	prefix netip.Prefix
	name   string
	source string
	level  level
}

func at(prefix, name, source string, l level) rule {
	return rule{netip.MustParsePrefix(prefix), name, source, l}
}

// rules4 and rules6 follow the IANA IPv4 and IPv6 Special-Purpose Address Registries (RFC 6890,
// updates to October 2025) and the two multicast registries. The first match decides, so single
// addresses stand before the ranges that hold them.
//
// The IPv6 transition ranges can carry any IPv4 address, metadata included, in ways that only the
// gateway knows, and no asset lives in them: nothing opens them. The one in use, 64:ff9b::/96, is
// judged by the address inside.
//
// Permitted on purpose, because the registry calls them globally reachable and they are served by
// strangers: AS112 (192.31.196.0/24, 192.175.48.0/24, 2620:4f:8000::/48) and AMT (192.52.193.0/24).
// Refused although globally reachable: the anycast addresses inside 192.0.0.0/24 and 2001::/23
// (PCP, TURN, DNS-SD), which reach whatever stands nearest, that is, our own network.
var rules4 = []rule{
	at("169.254.169.254/32", "cloud metadata", "AWS EC2, Google, Azure, Oracle, DigitalOcean instance metadata", never),
	at("169.254.170.2/32", "cloud metadata", "AWS ECS task credentials", never),
	at("169.254.170.23/32", "cloud metadata", "AWS EKS Pod Identity", never),
	at("169.254.169.253/32", "cloud metadata", "AWS VPC resolver", never),
	at("169.254.169.123/32", "cloud metadata", "AWS time service", never),
	at("169.254.42.42/32", "cloud metadata", "Scaleway instance metadata", never),
	at("169.254.0.23/32", "cloud metadata", "Tencent Cloud instance metadata", never),
	at("100.100.100.200/32", "cloud metadata", "Alibaba Cloud instance metadata", never),
	at("168.63.129.16/32", "cloud metadata", "Azure WireServer", never),
	at("192.0.0.192/32", "cloud metadata", "Oracle Cloud classic instance metadata", never),
	at("0.0.0.0/8", "this network", "RFC 791 3.2, RFC 1122 3.2.1.3", never),
	at("255.255.255.255/32", "limited broadcast", "RFC 8190, RFC 919", never),
	at("224.0.0.0/4", "multicast", "RFC 5771", never),
	at("127.0.0.0/8", "loopback", "RFC 1122 3.2.1.3", withPrivate),
	at("10.0.0.0/8", "private use", "RFC 1918", withPrivate),
	at("172.16.0.0/12", "private use", "RFC 1918", withPrivate),
	at("192.168.0.0/16", "private use", "RFC 1918", withPrivate),
	at("100.64.0.0/10", "shared address space", "RFC 6598", withPrivate),
	at("169.254.0.0/16", "link local", "RFC 3927", withExact),
	at("192.0.0.0/24", "IETF protocol assignments", "RFC 6890 2.1", withExact),
	at("192.0.2.0/24", "documentation", "RFC 5737", withExact),
	at("198.51.100.0/24", "documentation", "RFC 5737", withExact),
	at("203.0.113.0/24", "documentation", "RFC 5737", withExact),
	at("192.88.99.0/24", "6to4 relay anycast", "RFC 7526, RFC 6751", withExact),
	at("198.18.0.0/15", "benchmarking", "RFC 2544", withExact),
	at("240.0.0.0/4", "reserved", "RFC 1112 4", withExact),
}

var rules6 = []rule{
	at("fd00:ec2::/32", "cloud metadata", "AWS instance metadata, Pod Identity, resolver and time over IPv6", never),
	at("fd20:ce::254/128", "cloud metadata", "Google Compute Engine metadata over IPv6", never),
	at("fd00:42::42/128", "cloud metadata", "Scaleway instance metadata over IPv6", never),
	at("::/128", "unspecified", "RFC 4291 2.5.2", never),
	at("ff00::/8", "multicast", "RFC 4291 2.7", never),
	at("::1/128", "loopback", "RFC 4291 2.5.3", withPrivate),
	at("fc00::/7", "unique local", "RFC 4193", withPrivate),
	at("fe80::/10", "link local", "RFC 4291 2.5.6", withExact),
	at("fec0::/10", "site local", "RFC 3879", withExact),
	at("::ffff:0:0:0/96", "IPv4-translated", "RFC 2765 2.1", never),
	at("::/96", "IPv4-compatible", "RFC 4291 2.5.5.1", never),
	at("64:ff9b:1::/48", "local-use NAT64", "RFC 8215", never),
	at("100::/64", "discard only", "RFC 6666", withExact),
	at("100:0:0:1::/64", "dummy prefix", "RFC 9780", withExact),
	at("2001::/32", "Teredo", "RFC 4380", never),
	at("2001::/23", "IETF protocol assignments", "RFC 2928", withExact),
	at("2001:db8::/32", "documentation", "RFC 3849", withExact),
	at("2002::/16", "6to4", "RFC 3056, RFC 7526", never),
	at("3fff::/20", "documentation", "RFC 9637", withExact),
	at("5f00::/16", "segment routing", "RFC 9602", withExact),
}

var (
	// nat64 is the well-known prefix behind which a NAT64 gateway reaches the IPv4 internet
	// (RFC 6052 2.1). The IPv4 address inside is what counts.
	nat64 = netip.MustParsePrefix("64:ff9b::/96")
	// allocated is the only range from which IANA assigns global unicast addresses (RFC 4291 2.4).
	allocated    = netip.MustParsePrefix("2000::/3")
	notAllocated = rule{name: "not allocated", source: "RFC 4291 2.4", level: withExact}
)

// classify finds the rule that stands against addr, or nil for the public internet. The address
// must be unmapped and without zone.
func classify(addr netip.Addr) *rule {
	if addr.Is4() {
		return match(rules4, addr)
	}
	raw := addr.As16()
	inner := netip.AddrFrom4([4]byte(raw[12:]))
	if nat64.Contains(addr) {
		return inside(addr, classify(inner))
	}
	if own := match(rules6, addr); own != nil {
		return own
	}
	if !allocated.Contains(addr) {
		return &notAllocated
	}
	// ISATAP may stand below any prefix: an interface identifier with the IPv4 address at its end
	// (RFC 5214 6.1).
	if raw[8]&^2 == 0 && raw[9] == 0 && raw[10] == 0x5e && raw[11] == 0xfe {
		return inside(addr, classify(inner))
	}
	return nil
}

func match(rules []rule, addr netip.Addr) *rule {
	for i := range rules {
		if rules[i].prefix.Contains(addr) {
			return &rules[i]
		}
	}
	return nil
}

// inside notes that the judged IPv4 address was wrapped.
func inside(outer netip.Addr, r *rule) *rule {
	if r == nil {
		return nil
	}
	wrapped := *r
	wrapped.source = fmt.Sprintf("%s, carried inside the IPv6 address %s", r.source, outer)
	return &wrapped
}

package netguard_test

import (
	"errors"
	"net/netip"
	"testing"

	"pgregory.net/rapid"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/netguard"
)

// What the three guards say: public (all permit), private (AllowPrivate and AllowExact permit),
// exact (only AllowExact permits), never.
const (
	public  = "public"
	private = "private"
	exact   = "exact"
	never   = "never"
)

// registry4 is the IANA IPv4 Special-Purpose Address Registry
// (https://www.iana.org/assignments/iana-ipv4-special-registry, RFC 6890), every row, with the
// registry's own "globally reachable" (N/A counts as false), and what we make of it.
var registry4 = []struct {
	block, name string
	reachable   bool
	want        string
}{
	{"0.0.0.0/8", "This network", false, never},
	{"0.0.0.0/32", "This host on this network", false, never},
	{"10.0.0.0/8", "Private-Use", false, private},
	{"100.64.0.0/10", "Shared Address Space", false, private},
	{"127.0.0.0/8", "Loopback", false, private},
	{"169.254.0.0/16", "Link Local", false, exact},
	{"172.16.0.0/12", "Private-Use", false, private},
	{"192.0.0.0/24", "IETF Protocol Assignments", false, exact},
	{"192.0.0.0/29", "IPv4 Service Continuity Prefix", false, exact},
	{"192.0.0.8/32", "IPv4 dummy address", false, exact},
	{"192.0.0.9/32", "Port Control Protocol Anycast", true, exact}, // reaches our own network's
	{"192.0.0.10/32", "TURN Anycast", true, exact},                 // reaches our own network's
	{"192.0.0.170/32", "NAT64/DNS64 Discovery", false, exact},
	{"192.0.0.171/32", "NAT64/DNS64 Discovery", false, exact},
	{"192.0.2.0/24", "Documentation (TEST-NET-1)", false, exact},
	{"192.31.196.0/24", "AS112-v4", true, public},
	{"192.52.193.0/24", "AMT", true, public},
	{"192.88.99.0/24", "Deprecated (6to4 Relay Anycast)", false, exact},
	{"192.88.99.2/32", "6a44-relay anycast address", false, exact},
	{"192.168.0.0/16", "Private-Use", false, private},
	{"192.175.48.0/24", "Direct Delegation AS112 Service", true, public},
	{"198.18.0.0/15", "Benchmarking", false, exact},
	{"198.51.100.0/24", "Documentation (TEST-NET-2)", false, exact},
	{"203.0.113.0/24", "Documentation (TEST-NET-3)", false, exact},
	{"240.0.0.0/4", "Reserved", false, exact},
	{"255.255.255.255/32", "Limited Broadcast", false, never},
	// IANA IPv4 Multicast Address Space Registry (RFC 5771).
	{"224.0.0.0/4", "Multicast", false, never},
}

// registry6 is the IANA IPv6 Special-Purpose Address Registry
// (https://www.iana.org/assignments/iana-ipv6-special-registry, RFC 6890), every row as of
// October 2025.
var registry6 = []struct {
	block, name string
	reachable   bool
	want        string
}{
	{"::1/128", "Loopback Address", false, private},
	{"::/128", "Unspecified Address", false, never},
	{"64:ff9b:1::/48", "IPv4-IPv6 Translat.", false, never},
	{"100::/64", "Discard-Only Address Block", false, exact},
	{"100:0:0:1::/64", "Dummy IPv6 Prefix", false, exact},
	{"2001:1::/32", "IETF Protocol Assignments (2001::/23 beyond Teredo)", false, exact},
	{"2001::/32", "TEREDO", false, never},
	{"2001:1::1/128", "Port Control Protocol Anycast", true, exact}, // reaches our own network's
	{"2001:1::2/128", "TURN Anycast", true, exact},                  // reaches our own network's
	{"2001:1::3/128", "DNS-SD SRP Anycast", true, exact},            // reaches our own network's
	{"2001:2::/48", "Benchmarking", false, exact},
	{"2001:3::/32", "AMT", true, exact},          // no host has such an address
	{"2001:4:112::/48", "AS112-v6", true, exact}, // a sink, not a host
	{"2001:10::/28", "Deprecated (previously ORCHID)", false, exact},
	{"2001:20::/28", "ORCHIDv2", true, exact},        // hashes, not routed
	{"2001:30::/28", "Drone Remote ID", true, exact}, // hashes, not routed
	{"2001:db8::/32", "Documentation", false, exact},
	{"2002::/16", "6to4", false, never},
	{"2620:4f:8000::/48", "Direct Delegation AS112 Service", true, public},
	{"3fff::/20", "Documentation", false, exact},
	{"5f00::/16", "Segment Routing (SRv6) SIDs", false, exact},
	{"fc00::/7", "Unique-Local", false, private},
	{"fe80::/10", "Link-Local Unicast", false, exact},
	// IANA IPv6 Multicast Address Space Registry (RFC 4291), and RFC 3879.
	{"ff00::/8", "Multicast", false, never},
	{"fec0::/10", "Site-Local, deprecated", false, exact},
}

// single are addresses that no registry row settles.
var single = map[string]string{
	// The public internet, also at the edges of the ranges.
	"1.0.0.0": public, "1.1.1.1": public, "8.8.8.8": public, "9.255.255.255": public, "11.0.0.0": public,
	"100.63.255.255": public, "100.128.0.0": public, "126.255.255.255": public, "128.0.0.0": public,
	"169.253.255.255": public, "169.255.0.0": public, "172.15.255.255": public, "172.32.0.0": public,
	"192.0.1.0": public, "192.167.255.255": public, "192.169.0.0": public, "198.17.255.255": public,
	"198.20.0.0": public, "223.255.255.255": public, "2000::1": public, "2001:200::1": public,
	"2606:4700::1111": public, "2a00:1450::8": public, "3fff:1000::1": public, "64:ff9b::8.8.8.8": public,
	// Cloud metadata, always refused.
	"169.254.169.254": never, "169.254.170.2": never, "169.254.170.23": never, "169.254.169.253": never,
	"169.254.169.123": never, "169.254.42.42": never, "169.254.0.23": never, "100.100.100.200": never,
	"168.63.129.16": never, "192.0.0.192": never, "fd00:ec2::254": never, "fd00:ec2::23": never,
	"fd20:ce::254": never, "fd00:42::42": never,
	// The same and others in IPv6 wraps.
	"::ffff:127.0.0.1": private, "::ffff:10.1.2.3": private, "::ffff:8.8.8.8": public, "::ffff:0.0.0.0": never,
	"::ffff:169.254.169.254": never, "::169.254.169.254": never, "::127.0.0.1": never, "::8.8.8.8": never,
	"64:ff9b::127.0.0.1": private, "64:ff9b::10.0.0.1": private, "64:ff9b::169.254.169.254": never,
	"64:ff9b::192.0.2.1": exact, "64:ff9b::224.0.0.1": never, "64:ff9b:1::8.8.8.8": never,
	"64:ff9b:1::10.0.0.1": never, "64:ff9b:1::169.254.169.254": never, "64:ff9b:1:a9fe:a9:fe00::": never,
	"2002:7f00:1::1": never, "2002:a9fe:a9fe::1": never, "2002:808:808::1": never,
	"2001:0:a9fe:a9fe::1": never, "2001:0:808:808:0:0:5601:5601": never, "2001:0:808:808::1": never,
	"::ffff:0:127.0.0.1": never, "::ffff:0:169.254.169.254": never,
	"2a00:1:2:3:0:5efe:10.0.0.1": private, "2a00:1:2:3:200:5efe:169.254.169.254": never,
	"2a00:1:2:3:0:5efe:8.8.8.8": public,
	// Outside 2000::/3, from which alone addresses are assigned.
	"1000::1": exact, "4000::1": exact, "6000::1": exact, "8000::1": exact, "e000::1": exact, "200::1": exact,
	"4000::5efe:10.0.0.1": exact,
}

// check asks the three guards about addr.
func check(t *testing.T, addr netip.Addr, want, what string) {
	t.Helper()
	const port = 443
	plain := netguard.New(netguard.Options{})
	open := netguard.New(netguard.Options{AllowPrivate: true})
	options := netguard.Options{AllowExact: []netip.AddrPort{netip.AddrPortFrom(addr, port)}}
	got := never
	switch {
	case plain.Judge(addr) == nil:
		got = public
	case open.Judge(addr) == nil:
		got = private
	case netguard.New(options).JudgeAddrPort(netip.AddrPortFrom(addr, port)) == nil:
		got = exact
	}
	if got != want {
		t.Errorf("%s (%s): %s, want %s", addr, what, got, want)
	}
	if err := options.Validate(); (err != nil) != (want == never) {
		t.Errorf("%s (%s): AllowExact is valid: %v, want %v", addr, what, err == nil, want != never)
	}
	if want == public {
		return
	}
	var refusal *netguard.RefusedError
	err := plain.Judge(addr)
	if !errors.As(err, &refusal) || !errors.Is(err, fault.PermissionDenied) || refusal.Rule == "" ||
		refusal.Source == "" || refusal.Remedy == "" || refusal.Addr != addr.Unmap() {
		t.Errorf("%s (%s): refusal %#v does not say why", addr, what, err)
	}
}

func TestJudgeFollowsIANARegistries(t *testing.T) {
	for _, row := range append(registry4, registry6...) {
		block := netip.MustParsePrefix(row.block)
		check(t, block.Addr(), row.want, row.name)
		// The last address of 240.0.0.0/4 has a row of its own.
		if lastAddr := last(block); lastAddr != netip.MustParseAddr("255.255.255.255") {
			check(t, lastAddr, row.want, row.name)
		}
		if !row.reachable && row.want == public {
			t.Errorf("%s (%s): not globally reachable, yet permitted", row.block, row.name)
		}
	}
}

func TestJudgeSingleAddresses(t *testing.T) {
	for text, want := range single {
		check(t, netip.MustParseAddr(text), want, "single")
	}
}

// Every address inside a registry block that is not globally reachable is refused, and so are its
// IPv6 wraps.
func TestJudgeWholeBlocks(t *testing.T) {
	guard := netguard.New(netguard.Options{})
	all := append(registry4, registry6...)
	rapid.Check(t, func(t *rapid.T) {
		row := rapid.SampledFrom(all).Draw(t, "row")
		if row.want == public {
			return
		}
		block := netip.MustParsePrefix(row.block)
		addr := within(block, rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "bits"))
		for _, wrapped := range append(wraps(addr), addr) {
			if guard.Judge(wrapped) == nil {
				t.Fatalf("%s, %s in %s (%s), is permitted", wrapped, addr, row.block, row.name)
			}
		}
	})
}

func TestJudgeRefusesWhatIsNoAddress(t *testing.T) {
	guard := netguard.New(netguard.Options{AllowPrivate: true})
	for _, addr := range []netip.Addr{{}, netip.MustParseAddr("fe80::1%eth0"), netip.MustParseAddr("2a00::1%1")} {
		if err := guard.Judge(addr); !errors.Is(err, fault.Invalid) {
			t.Errorf("%s: %v, want invalid", addr, err)
		}
	}
	if err := guard.JudgeAddrPort(netip.MustParseAddrPort("8.8.8.8:0")); !errors.Is(err, fault.Invalid) {
		t.Errorf("port 0: %v, want invalid", err)
	}
}

func TestPermitIsAskedLast(t *testing.T) {
	outside := errors.New("outside the scope")
	var asked []netip.AddrPort
	guard := netguard.New(netguard.Options{
		AllowExact: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:80")},
		Permit:     func(a netip.AddrPort) error { asked = append(asked, a); return outside },
	})
	for _, target := range []string{"10.0.0.1:80", "127.0.0.1:81", "8.8.8.8:80", "[::ffff:8.8.4.4]:53", "127.0.0.1:80"} {
		err := guard.JudgeAddrPort(netip.MustParseAddrPort(target))
		if !errors.Is(err, fault.PermissionDenied) {
			t.Errorf("%s: %v, want a refusal", target, err)
		}
		wantAsked := target == "8.8.8.8:80" || target == "127.0.0.1:80" || target == "[::ffff:8.8.4.4]:53"
		if errors.Is(err, outside) != wantAsked {
			t.Errorf("%s: cause %v, Permit asked want %v", target, err, wantAsked)
		}
	}
	if len(asked) != 3 || asked[1] != netip.MustParseAddrPort("8.8.4.4:53") {
		t.Errorf("Permit was asked %v, want plain addresses, three times", asked)
	}
}

func TestInvalidOptionsRefuseEverything(t *testing.T) {
	for name, o := range map[string]netguard.Options{
		"resolver name":    {Resolver: "dns.example:53"},
		"resolver port":    {Resolver: "127.0.0.1:0"},
		"exact metadata":   {AllowExact: []netip.AddrPort{netip.MustParseAddrPort("169.254.169.254:80")}},
		"exact wrapped":    {AllowExact: []netip.AddrPort{netip.MustParseAddrPort("[::ffff:169.254.169.254]:80")}},
		"exact port":       {AllowExact: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}},
		"exact empty":      {AllowExact: []netip.AddrPort{{}}},
		"exact zone":       {AllowExact: []netip.AddrPort{netip.MustParseAddrPort("[fe80::1%lo]:80")}},
		"negative timeout": {ConnectTimeout: -1},
	} {
		guard := netguard.New(o)
		if o.Validate() == nil || guard.Judge(netip.MustParseAddr("8.8.8.8")) == nil {
			t.Errorf("%s: permitted", name)
		}
		if _, err := guard.DialContext(t.Context(), "tcp", "8.8.8.8:53"); !errors.Is(err, fault.Invalid) {
			t.Errorf("%s: dial %v, want invalid", name, err)
		}
		if _, err := guard.LookupTXT(t.Context(), "a.test"); !errors.Is(err, fault.Invalid) {
			t.Errorf("%s: lookup %v, want invalid", name, err)
		}
	}
}

// last is the highest address of block.
func last(block netip.Prefix) netip.Addr {
	return within(block, []byte{255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255})
}

// within is block with its free bits taken from bits.
func within(block netip.Prefix, bits []byte) netip.Addr {
	raw := block.Addr().AsSlice()
	for i := block.Bits(); i < len(raw)*8; i++ {
		mask := byte(128 >> (i % 8))
		raw[i/8] = raw[i/8]&^mask | bits[i/8]&mask
	}
	addr, _ := netip.AddrFromSlice(raw)
	return addr
}

// wraps are the ways in which an IPv4 address hides in an IPv6 one.
func wraps(addr netip.Addr) []netip.Addr {
	if !addr.Is4() {
		return nil
	}
	a := addr.As4()
	put := func(prefix string, at int) netip.Addr {
		raw := netip.MustParseAddr(prefix).As16()
		copy(raw[at:], a[:])
		return netip.AddrFrom16(raw)
	}
	inverted := netip.AddrFrom4([4]byte{^a[0], ^a[1], ^a[2], ^a[3]}).As4()
	teredo := netip.MustParseAddr("2001:0:808:808::").As16()
	copy(teredo[12:], inverted[:])
	return []netip.Addr{
		put("::ffff:0:0", 12), put("::", 12), put("::ffff:0:0:0", 12), put("64:ff9b::", 12), put("64:ff9b:1::", 12),
		put("2002::", 2), put("2001::", 4), netip.AddrFrom16(teredo), put("2a00:1:2:3:0:5efe::", 12),
	}
}

// A scanner asks for each address and port: the yes must cost no garbage.
func TestJudgeAllocatesNothing(t *testing.T) {
	guard := netguard.New(netguard.Options{AllowExact: []netip.AddrPort{netip.MustParseAddrPort("10.0.0.1:80")}})
	for _, text := range []string{"8.8.8.8:443", "[2a00::1]:443", "[64:ff9b::8.8.8.8]:443", "10.0.0.1:80"} {
		target := netip.MustParseAddrPort(text)
		if n := testing.AllocsPerRun(100, func() { _ = guard.JudgeAddrPort(target) }); n != 0 {
			t.Errorf("%s: %v allocations", text, n)
		}
	}
}

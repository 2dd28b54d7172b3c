// Package netguard is the only way in which this system opens a connection to an address that a
// tenant or a target chose.
//
// A [Guard] resolves a name itself, judges every address after resolution and again in the socket's
// control hook right before connect(2), and connects to the address it judged, never to the name
// again. A [Session] does the same for the length of one probe: each name is resolved once and stays
// where it is, so that a DNS server which changes its mind (DNS rebinding) changes nothing.
//
// It refuses: everything the IANA special-purpose registries keep off the public internet, cloud
// metadata under any flag, the IPv6 transition wraps of all of these, spellings of addresses that
// software reads in two ways, other networks than TCP and UDP, and proxies from the environment.
//
// It does not hide: a target on the public internet that is somebody else's is for [Options.Permit].
// A raw scanner that makes its own sockets asks [Guard.JudgeAddrPort] before each connect; so does
// whoever sends on an unconnected UDP socket, of which the guard hears nothing.
package netguard

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// DefaultConnectTimeout bounds one connect(2): long enough for three lost SYNs (1 s + 2 s, RFC 6298).
const DefaultConnectTimeout = 5 * time.Second

// Options make a [Guard]. The zero value permits the public internet and resolves as the system does.
type Options struct {
	// AllowPrivate permits loopback (RFC 1122, RFC 4291), private use (RFC 1918), shared address
	// space (RFC 6598) and unique local addresses (RFC 4193). Metadata addresses, multicast,
	// broadcast and the unspecified address stay refused. On AWS Lambda it would open the runtime
	// API on loopback: it is for one machine and for containers.
	AllowPrivate bool
	// AllowExact are addresses with ports that the operator lists explicitly. They are permitted
	// though their range is not, except where nothing permits it (metadata, multicast, broadcast,
	// unspecified). Permit is still asked.
	AllowExact []netip.AddrPort
	// Resolver is the DNS server to ask, as address:port. Empty: as the system is configured
	// (resolv.conf and hosts file), in pure Go. The way to the resolver itself is not judged.
	Resolver string
	// Permit is the caller's further rule, typically the scope of an assessment. It is asked last,
	// twice for each connection, from many goroutines; nil permits all. Its error is the cause
	// of the [RefusedError].
	Permit func(netip.AddrPort) error
	// ConnectTimeout bounds one connect(2). 0: [DefaultConnectTimeout].
	ConnectTimeout time.Duration
	// OnDial hears of every connection that was tried or refused; for counters. nil: nobody.
	OnDial func(ctx context.Context, d Dial)
}

// Validate says what is wrong with the options, as [fault.Invalid]. A guard with such options
// refuses every connection, so a service calls it at start for a better message.
func (o Options) Validate() error {
	if o.Resolver != "" {
		if server, err := netip.ParseAddrPort(o.Resolver); err != nil || server.Port() == 0 {
			return fault.New(fault.Invalid, "read netguard options: resolver %s is no address:port", quote(o.Resolver))
		}
	}
	for _, exact := range o.AllowExact {
		if !exact.IsValid() || exact.Port() == 0 || exact.Addr().Zone() != "" {
			return fault.New(fault.Invalid, "read netguard options: allow exact %s: no address and port", exact)
		}
		if r := classify(exact.Addr().Unmap()); r != nil && r.level == never {
			return fault.New(fault.Invalid, "read netguard options: allow exact %s: %s is always refused", exact, r.name)
		}
	}
	if o.ConnectTimeout < 0 {
		return fault.New(fault.Invalid, "read netguard options: connect timeout %s is negative", o.ConnectTimeout)
	}
	return nil
}

// Within is a guard that permits what g permits and permit, too: a narrower scope for one piece of work.
func (g *Guard) Within(permit func(netip.AddrPort) error) *Guard {
	narrow := *g
	if outer := g.options.Permit; outer != nil {
		narrow.options.Permit = func(to netip.AddrPort) error { return errors.Join(outer(to), permit(to)) }
	} else {
		narrow.options.Permit = permit
	}
	return &narrow
}

// Dial is one connection that was tried or refused.
type Dial struct {
	Network string
	// Host is the host as asked for: a name or an address.
	Host string
	// Addr is the judged address with its port, invalid where the refusal came before there was one.
	Addr netip.AddrPort
	// Took is the time connect(2) took, 0 for a refusal.
	Took time.Duration
	// Err is nil for a connection, a [*RefusedError] for a refusal, else why connecting failed.
	Err error
}

// Guard judges addresses and connects to those it permits. It is safe for many goroutines, holds
// no connection and needs no closing.
type Guard struct {
	options Options
	invalid error // of the options; refuses everything
	exact   []netip.AddrPort
	dns     lookuper
}

// New makes a guard. It opens nothing.
func New(o Options) *Guard {
	g := &Guard{options: o, invalid: o.Validate()}
	if g.options.ConnectTimeout <= 0 {
		g.options.ConnectTimeout = DefaultConnectTimeout
	}
	for _, exact := range o.AllowExact {
		g.exact = append(g.exact, netip.AddrPortFrom(exact.Addr().Unmap(), exact.Port()))
	}
	g.dns = newLookuper(o.Resolver)
	return g
}

// Judge says whether the range of addr may be connected to: nil, or a [*RefusedError] that names
// the rule and what would permit it. AllowExact and Permit need a port: see [Guard.JudgeAddrPort].
func (g *Guard) Judge(addr netip.Addr) error {
	return g.judge(addr, func(netip.AddrPort) bool { return false })
}

// JudgeAddrPort says whether addr and port may be connected to, by all the rules there are. It is
// what a scanner with its own sockets asks right before each connect; it allocates nothing when
// the answer is yes.
func (g *Guard) JudgeAddrPort(target netip.AddrPort) error {
	target = netip.AddrPortFrom(target.Addr().Unmap(), target.Port())
	if err := g.judge(target.Addr(), func(exact netip.AddrPort) bool { return exact == target }); err != nil {
		return err
	}
	if target.Port() == 0 {
		return misspelt(target.String(), "port 0")
	}
	if g.options.Permit == nil {
		return nil
	}
	if err := g.options.Permit(target); err != nil {
		return &RefusedError{Addr: target.Addr(), Rule: RuleScope, Cause: err}
	}
	return nil
}

// judgeAnyPort is Judge, but an address that is listed for some port passes.
func (g *Guard) judgeAnyPort(addr netip.Addr) error {
	plain := addr.Unmap()
	return g.judge(addr, func(exact netip.AddrPort) bool { return exact.Addr() == plain })
}

func (g *Guard) judge(addr netip.Addr, listed func(netip.AddrPort) bool) error {
	if g.invalid != nil {
		return g.invalid
	}
	if !addr.IsValid() || addr.Zone() != "" {
		return misspelt(addr.String(), "no address, or one with a zone")
	}
	addr = addr.Unmap()
	r := classify(addr)
	if r == nil || r.level == withPrivate && g.options.AllowPrivate ||
		r.level != never && slices.ContainsFunc(g.exact, listed) {
		return nil
	}
	return &RefusedError{Addr: addr, Rule: r.name, Source: r.source, Remedy: r.level.remedy()}
}

// Control is the hook for [net.Dialer]: it judges the address that is about to be given to
// connect(2). Every connection of this package passes through it.
func (g *Guard) Control(network, address string, _ syscall.RawConn) error {
	if err := checkNetwork(network); err != nil {
		return err
	}
	target, err := netip.ParseAddrPort(address)
	if err != nil {
		return misspelt(address, "no address and port")
	}
	return g.JudgeAddrPort(target)
}

// DialContext connects to host:port over tcp, tcp4, tcp6, udp, udp4 or udp6. A name is resolved
// once, each of its addresses is judged, and the first permitted one is connected to; the next one
// is tried only if this machine has no route to it (an IPv6 address on an IPv4 machine). Each call
// resolves again: a probe that connects more than once uses a [Session].
//
// Errors: [*RefusedError]; [fault.NotFound] for a name without address; else the dialer's.
func (g *Guard) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	return g.NewSession().DialContext(ctx, network, address)
}

// LookupNetIP resolves name once and gives those of its addresses whose range is permitted, IPv4
// first. If there are addresses but none is permitted, the error is the first one's [*RefusedError].
func (g *Guard) LookupNetIP(ctx context.Context, name string) ([]netip.Addr, error) {
	return g.NewSession().LookupNetIP(ctx, name)
}

// LookupTXT gives the TXT records of name, each with its strings joined, at most [MaxRecords]. It
// connects to nothing but the resolver; the records are hostile text.
func (g *Guard) LookupTXT(ctx context.Context, name string) ([]string, error) {
	if g.invalid != nil {
		return nil, g.invalid
	}
	clean, err := parseName(name)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	return g.dns.lookupTXT(ctx, clean)
}

// connect opens the socket. The control hook repeats the judgement on what the kernel is given.
func (g *Guard) connect(ctx context.Context, network, name string, target netip.AddrPort) (net.Conn, error) {
	started := time.Now()
	dialer := net.Dialer{Timeout: g.options.ConnectTimeout, Control: g.Control}
	conn, err := dialer.DialContext(ctx, network, target.String())
	if refusal := (*RefusedError)(nil); errors.As(err, &refusal) {
		err = refusal // without the dialer's words around it
	}
	g.heard(ctx, Dial{Network: network, Host: name, Addr: target, Took: time.Since(started), Err: err})
	return conn, err
}

func (g *Guard) heard(ctx context.Context, d Dial) {
	if g.options.OnDial != nil {
		g.options.OnDial(ctx, d)
	}
}

func checkNetwork(network string) error {
	switch network {
	case "tcp", "tcp4", "tcp6", "udp", "udp4", "udp6":
		return nil
	default:
		return &RefusedError{Target: network, Rule: RuleNetwork}
	}
}

// sameFamily says whether network can carry addr.
func sameFamily(network string, addr netip.Addr) bool {
	return !strings.HasSuffix(network, "4") && addr.Is6() || !strings.HasSuffix(network, "6") && addr.Is4()
}

// noRoute says that the failure is this machine's: it has no way to addresses of that kind. (EINVAL
// is connect(2)'s answer to a link-local address without a zone.)
func noRoute(err error) bool {
	return errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENETUNREACH) || errors.Is(err, syscall.EHOSTUNREACH) ||
		errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EAFNOSUPPORT)
}

// Resolver is the DNS server of the options, "" for the system's: for probes that ask questions of their own.
func (g *Guard) Resolver() string { return g.options.Resolver }

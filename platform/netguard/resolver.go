package netguard

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// MaxRecords bounds the addresses or texts taken from one lookup; more are dropped. Load balancers
// publish up to 8 addresses, DNS round robin a few dozen.
const MaxRecords = 64

// lookupTimeout bounds one lookup with all its questions, repeats and fallbacks.
const lookupTimeout = 5 * time.Second

// lookuper resolves clean names (see parseName). No such name and no record of the kind are
// fault.NotFound, a resolver that fails is fault.Unavailable.
type lookuper interface {
	lookupAddrs(ctx context.Context, name string) ([]netip.Addr, error)
	lookupTXT(ctx context.Context, name string) ([]string, error)
}

func newLookuper(resolver string) lookuper {
	server, err := netip.ParseAddrPort(resolver)
	if err != nil { // empty, or invalid and then never asked: see Options.Validate
		return systemResolver{resolver: &net.Resolver{PreferGo: true}}
	}
	return dnsClient{server: server}
}

// loopbackNames answers localhost and the names below it, which must not be sent to DNS servers
// and always mean loopback (RFC 6761 6.3). Judging them is not the resolver's business.
func loopbackNames(name string) []netip.Addr {
	if name != "localhost" && !strings.HasSuffix(name, ".localhost") {
		return nil
	}
	return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}
}

// systemResolver asks the system's DNS servers and hosts file through Go's own resolver, which
// reads one answer of at most 64 KiB a question and never calls the C library (CVE-2026-33811).
type systemResolver struct{ resolver *net.Resolver }

func (r systemResolver) lookupAddrs(ctx context.Context, name string) ([]netip.Addr, error) {
	if addrs := loopbackNames(name); addrs != nil {
		return addrs, nil
	}
	// The final dot keeps resolv.conf's search list from being tried: evil.com must not become
	// evil.com.corp.internal.
	addrs, err := r.resolver.LookupNetIP(ctx, "ip", name+".")
	if err != nil {
		return nil, lookupFault(name, err)
	}
	return addrs, nil
}

func (r systemResolver) lookupTXT(ctx context.Context, name string) ([]string, error) {
	texts, err := r.resolver.LookupTXT(ctx, name+".")
	if err != nil {
		return nil, lookupFault(name, err)
	}
	return texts[:min(len(texts), MaxRecords)], nil
}

func lookupFault(name string, err error) error {
	var failed *net.DNSError
	switch {
	case errors.As(err, &failed) && failed.IsNotFound:
		return notFound(name)
	case errors.Is(err, context.Canceled):
		return fault.Wrap(fault.Cancelled, err, "resolve %s", name)
	default:
		return fault.Wrap(fault.Unavailable, err, "resolve %s", name)
	}
}

func notFound(name string) error {
	return fault.New(fault.NotFound, "resolve %s: no such name or no record of the kind", name)
}

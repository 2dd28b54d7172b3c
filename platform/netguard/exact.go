package netguard

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// LookupTXTExact gives the TXT records that stand at name itself: an alias (CNAME, or one made of a DNAME) is not followed but
// named. It is for proofs: whoever holds the end of an alias is not whoever holds the name.
//
// Errors: [fault.NotFound] for no such name or no TXT record, [fault.Unavailable] for a resolver that failed.
func (g *Guard) LookupTXTExact(ctx context.Context, name string) (texts []string, alias string, err error) {
	if g.invalid != nil {
		return nil, "", g.invalid
	}
	clean, err := parseName(name)
	if err != nil {
		return nil, "", err
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	servers := []dnsClient{}
	if one, ok := g.dns.(dnsClient); ok {
		servers = append(servers, one)
	} else if servers, err = systemServers(ctx, clean); err != nil {
		return nil, "", err
	}
	err = fault.New(fault.Unavailable, "resolve %s: the system has no DNS server", clean)
	for _, server := range servers {
		texts, alias, err = server.exactTXT(ctx, clean)
		if err == nil || errors.Is(err, fault.NotFound) || ctx.Err() != nil {
			break
		}
	}
	return texts, alias, err
}

func (c dnsClient) exactTXT(ctx context.Context, name string) ([]string, string, error) {
	message, err := c.exchange(ctx, name, dnsmessage.TypeTXT)
	if err != nil {
		return nil, "", dnsFault(name, err)
	}
	found, err := readAnswer(message, name, dnsmessage.TypeTXT, maxChain)
	switch {
	case err != nil:
		return nil, "", dnsFault(name, err)
	case found.final != name:
		return nil, found.final, nil
	case len(found.texts) == 0:
		return nil, "", notFound(name)
	}
	return found.texts, "", nil
}

// systemServers are the DNS servers of the system, as Go's resolver reads them: it is asked with a dialer that only listens where
// it would connect to.
func systemServers(ctx context.Context, name string) ([]dnsClient, error) {
	var out []dnsClient
	heard := errors.New("heard")
	resolver := net.Resolver{PreferGo: true, Dial: func(_ context.Context, _, address string) (net.Conn, error) {
		if at, err := netip.ParseAddrPort(address); err == nil && !slices.Contains(out, dnsClient{server: at}) {
			out = append(out, dnsClient{server: at})
		}
		return nil, heard
	}}
	_, err := resolver.LookupTXT(ctx, name+".")
	if len(out) == 0 {
		return nil, lookupFault(name, err)
	}
	return out, nil
}

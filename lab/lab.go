package lab

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"
)

// DefaultNetwork is where a lab lies if Options name no network.
var DefaultNetwork = netip.PrefixFrom(netip.AddrFrom4([4]byte{127, 0, 0, 0}), 24)

// Options of a lab. The zero value is the exposed network, without the hostile servers, on DefaultNetwork.
type Options struct {
	// Network holds the lab's addresses. It must lie in 127.0.0.0/8 and be a /24 or wider. Labs on different networks do
	// not meet, so tests run them side by side, such as on 127.1.0.0/24 and 127.2.0.0/24.
	Network netip.Prefix
	// Clean leaves out everything with a fault.
	Clean bool
	// Hostile adds servers that try to hold, flood, mislead or break a scanner.
	Hostile bool
	// PortOffset is added to every port, for machines where another program holds one of them on all addresses.
	PortOffset int
	// Logger takes one line for the start and one for each trespass; nil discards them.
	Logger *slog.Logger
}

// Lab is a running network. Its methods are safe for concurrent use.
type Lab struct {
	plan  *plan
	run   *running
	close func()
}

// Start binds every address of the lab and serves until Close, or until ctx ends. When it returns without an error, every
// server answers. An address or port that cannot be had is an error that names it, and nothing stays open.
func Start(ctx context.Context, o Options) (*Lab, error) {
	return start(ctx, o, hostsFor(o), zonesFor(o))
}

// StartFarm starts n cheap, ordinary targets, each one address with two or three services and without any fault worse than
// what its truth says, to see how a scan of many targets behaves. It has no DNS server. Clean and Hostile mean nothing here.
func StartFarm(ctx context.Context, n int, o Options) (*Lab, error) {
	if n < 1 {
		return nil, fmt.Errorf("start farm: %d targets: want at least one", n)
	}
	return start(ctx, o, farmHosts(n), nil)
}

func start(ctx context.Context, o Options, hosts []host, zones []zone) (*Lab, error) {
	p, err := newPlan(o, hosts, zones)
	if err != nil {
		return nil, fmt.Errorf("start lab: %w", err)
	}
	logger := o.Logger
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	run, err := startServers(ctx, p, logger)
	if err != nil {
		return nil, fmt.Errorf("start lab: %w", err)
	}
	lab := &Lab{plan: p, run: run, close: sync.OnceFunc(run.close)}
	stop := context.AfterFunc(ctx, lab.close)
	run.onClose(func() { stop() })
	logger.InfoContext(ctx, "lab started", "network", p.network.String(), "hosts", len(p.hosts), "resolver", lab.Resolver())
	return lab, nil
}

// Close ends every connection, frees every port and waits for the servers. A second call does nothing.
func (l *Lab) Close() { l.close() }

// Targets returns what to hand to an assessment, in a stable order: domains, names, addresses, an address with a port, a
// URL. Some hosts are left out because the records of their zone lead to them.
func (l *Lab) Targets() []string { return l.plan.targets() }

// ResolverRate is how many questions a second the lab's DNS server takes: it is in the same process and recurses to nobody.
const ResolverRate = 4_000

// Resolver returns "address:port" of the lab's DNS server, which speaks UDP and TCP, answers recursively for its zones and
// with authority, says NXDOMAIN for every other name below .test and REFUSED for the rest. All name servers of the zones
// listen on this port, because port 53 needs privileges: a scanner that asks them directly has to use it too.
// A farm has none; the answer is then empty.
func (l *Lab) Resolver() string { return l.plan.resolver() }

// Ports returns the list of ports that a scan needs to see everything, such as "2121,8080-8082".
func (l *Lab) Ports() string { return l.plan.portList() }

// Truth returns every finding that a correct scan of the Targets has, with the Resolver and the Ports of the lab and
// without trust in its certification authority.
func (l *Lab) Truth() Truth { return l.plan.truth() }

// CAPEM returns the certificate of the lab's certification authority. Whoever trusts it will find
// tls-certificate-untrusted no more, but perhaps where the certificate has another fault that a verifier counts so: a SHA-1
// signature, or a validity that has not begun. All else in the Truth stays.
func (l *Lab) CAPEM() []byte { return slices.Clone(l.run.authority.rootPEM) }

// Trespasses returns who connected to an address that only a redirect of a hostile server names, as "address:port" of the
// connecting side. A scanner that keeps to its scope leaves it empty. Only a hostile lab watches.
func (l *Lab) Trespasses() []string { return l.run.trespasses.list() }

// register is a list that several connections write to.
type register struct {
	mu      sync.Mutex
	entries []string
}

// maxRegister bounds a register: after that many, more of the same say nothing new.
const maxRegister = 1000

func (r *register) add(entry string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.entries) < maxRegister {
		r.entries = append(r.entries, entry)
	}
}

func (r *register) list() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.entries)
}

// hostPort joins an address and a port.
func hostPort(address string, port int) string {
	return net.JoinHostPort(address, strconv.Itoa(port))
}

// connectionLife ends a connection that nobody closes: longer than any scan waits, and an end all the same.
const connectionLife = 5 * time.Minute

package port

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/netguard"
)

// Figures of the scan engine.
const (
	// DefaultRate is the number of connects a second to one host that is not this machine: the 1,000 ports of the standard
	// profile take a second, and it is a tenth of what a small firewall's state table is built for.
	DefaultRate = 1000
	// DefaultTimeout is how long an answer is waited for. The kernel sends the SYN again after one second (RFC 6298
	// section 2.1), so that one lost packet is no lost port.
	DefaultTimeout = 2 * time.Second
	// MaxInFlight bounds the sockets of one scan: what DefaultRate needs where every answer is waited for in vain.
	MaxInFlight = 2048
	// permitBatch is how many connects are asked for at once.
	permitBatch = 256
)

// Options tune one scan.
type Options struct {
	// Guard judges each address and port before a packet is sent. Required.
	Guard *netguard.Guard
	// Permit takes cost permits for connects to host and may wait; nil: nothing limits but Rate.
	Permit func(ctx context.Context, host string, cost int) error
	// PermitBatch is how many permits are asked for at once; 0 is permitBatch. It is less for a host whose rate is so low that
	// as many in one go would break it.
	PermitBatch int
	// Rate is the highest number of connects a second to one host; 0 is DefaultRate. Loopback addresses are this machine
	// and have no limit but Permit.
	Rate float64
	// Timeout is how long an answer is waited for; 0 is DefaultTimeout.
	Timeout time.Duration
	// InFlight bounds the sockets of this scan; 0 is half of the descriptors that this process may open (AWS Lambda gives
	// 1,024), at most MaxInFlight.
	InFlight int
}

func (o Options) withDefaults() Options {
	if o.Rate <= 0 {
		o.Rate = DefaultRate
	}
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	if o.PermitBatch <= 0 || o.PermitBatch > permitBatch {
		o.PermitBatch = permitBatch
	}
	if o.InFlight <= 0 {
		o.InFlight = min(descriptorLimit()/2, MaxInFlight)
	}
	return o
}

// HostResult is what the scan of one address saw.
type HostResult struct {
	Addr netip.Addr
	// Open are the ports that took a connection, lowest first.
	Open []uint16
	// Closed is the number of ports that refused.
	Closed int
	// Filtered is the number of ports that gave no answer, or an unreachable one, also when asked again.
	Filtered int
	// Denied is the number of ports that the guard does not permit; nothing was sent to them.
	Denied int
	// Unscanned is the number of ports that the scan did not come to, because the context or Err ended it.
	Unscanned int
	// Slowdowns is how often the scan was slowed down because the host dropped what it answers otherwise.
	Slowdowns int
	// Lossy says that it still dropped such in the end: among the filtered ports may be open ones.
	Lossy bool
	// Err is why this host was given up: a refusal of the guard, of the permits, or no route.
	Err error
}

// Answered says whether the host gave any sign of life.
func (r *HostResult) Answered() bool { return len(r.Open)+r.Closed > 0 }

// merge adds what another lane of the same host saw.
func (r *HostResult) merge(l *lane) {
	r.Open = append(r.Open, l.open...)
	r.Closed += l.closed
	r.Filtered += len(l.silent)
	r.Denied += l.denied
	r.Slowdowns += l.pace.slowdowns
	r.Lossy = r.Lossy || len(l.silent) > 0 && l.lossy()
	if r.Err == nil {
		r.Err = l.err
	}
}

// Scanner scans addresses for open TCP ports by connecting to them. It needs no privileges. One scanner may run many scans
// at once; it remembers which source ports are its own, so that two of its sockets that meet on this machine are not taken
// for a service.
type Scanner struct {
	sources sources
}

// NewScanner returns a scanner.
func NewScanner() *Scanner { return &Scanner{} }

// Scan connects to each of ports, in that order, on each of addrs, and returns one result for each address, in their order.
// A port must not be named twice. When ctx ends, it returns soon, with what it has. The error is only for a machine that
// gives no sockets at all.
func (s *Scanner) Scan(ctx context.Context, o Options, addrs []netip.Addr, ports []uint16) ([]HostResult, error) {
	return s.scanWith(ctx, o, addrs, ports, s.connectAll)
}

// engine runs lanes to their end or the context's. The Linux one makes its own sockets, the portable one uses the dialer.
type engine func(ctx context.Context, o Options, lanes []*lane) error

func (s *Scanner) scanWith(ctx context.Context, o Options, addrs []netip.Addr, ports []uint16, run engine) ([]HostResult, error) {
	o = o.withDefaults()
	results := make([]HostResult, len(addrs))
	var lanes []*lane
	for i, addr := range addrs {
		results[i].Addr = addr.Unmap()
		if err := o.Guard.Judge(addr); err != nil && !permitsAny(o.Guard, addr, ports) {
			results[i].Err, results[i].Denied = err, len(ports)
			continue
		}
		lanes = append(lanes, newLanes(o, i, addr.Unmap(), ports)...)
	}
	if err := run(ctx, o, lanes); err != nil {
		return nil, err
	}
	for _, l := range lanes {
		results[l.host].merge(l)
	}
	for i := range results {
		r := &results[i]
		slices.Sort(r.Open)
		r.Unscanned = len(ports) - len(r.Open) - r.Closed - r.Filtered - r.Denied
	}
	return results, nil
}

// permitsAny says whether the guard permits one of the ports though it does not permit the address: an operator may have
// listed single ports.
func permitsAny(guard *netguard.Guard, addr netip.Addr, ports []uint16) bool {
	return slices.ContainsFunc(ports, func(port uint16) bool {
		return guard.JudgeAddrPort(netip.AddrPortFrom(addr, port)) == nil
	})
}

package scanner

import (
	"context"
	"errors"
	"math"
	"net/netip"
	"time"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/ratelimit"
)

// Rates are permits a second, held over all workers through the table. What they mean for a target is in docs/politeness.md.
type Rates struct {
	// Host is for connections to one address, of all scan types together.
	Host float64
	// Request is for connections to one address by all scan types but the port scan: they ask a service to do something. 0:
	// no rate of its own.
	Request float64
	// Network is for connections to one network: a /24 (IPv4) or a /48 (IPv6). 0: no rate of its own.
	Network float64
	// Tenant and Global are for connections on behalf of one tenant, and all. Where more tenants have jobs than Global has
	// room for, each has an equal part of it.
	Tenant, Global float64
	// Loopback limits loopback addresses too. They are this machine, and usually have no limit.
	Loopback bool
}

// Figures of the permits. In any w seconds a target sees at most burst + rate*(w + life + skew) connections, where skew is how
// far the clocks of the workers are apart: 1.3 times its rate in one second, by the figures below and without skew.
const (
	// hostBurst is how many seconds' worth of the rate of a host or network an idle one may see at once.
	hostBurst = 0.2
	// sharedBurst is the same for a tenant and for everything: many targets share it.
	sharedBurst = 1.0
	// blockTime is how many seconds' worth of its rate a job takes in one write to the table.
	blockTime = 0.1
	// blockLife is how long what was taken may be used: a job that goes on later takes anew.
	blockLife = 100 * time.Millisecond
	// maxWait bounds one wait for permits, after which they are asked for again; the scan's own time usually ends first.
	maxWait = 5 * time.Second
	// tableRetry is the wait before a table that failed is asked again. Nothing is sent meanwhile.
	tableRetry = 200 * time.Millisecond
	// networkBits4 and networkBits6 are the network that shares a limit: what one site usually has (RFC 6177 for IPv6).
	networkBits4, networkBits6 = 24, 48
)

// limit is one of the buckets that every connection needs.
type limit struct {
	key   string
	rate  float64
	burst float64 // seconds' worth
}

func (l limit) size() int { return max(1, int(l.rate*l.burst)) }

func (l limit) bucket(cost int) ratelimit.Bucket {
	return ratelimit.Bucket{Key: l.key, Rate: l.rate, Burst: l.size(), Cost: cost}
}

// limits are the buckets of a connection to host: all of them are held before a packet is sent.
func (r Rates) limits(tenant string, t modelv1.ScanType, host string, tenants int) []limit {
	out := []limit{r.hostLimit(host)}
	if r.Request > 0 && t != modelv1.ScanType_SCAN_TYPE_PORT {
		out = append(out, limit{"request#" + host, r.Request, hostBurst})
	}
	if network, ok := networkOf(host); ok && r.Network > 0 {
		out = append(out, limit{"network#" + network, r.Network, hostBurst})
	}
	share := min(r.Tenant, r.Global/float64(max(tenants, 1)))
	return append(out, limit{"tenant#" + tenant, share, sharedBurst}, limit{"global", r.Global, sharedBurst})
}

func (r Rates) hostLimit(host string) limit { return limit{"host#" + host, r.Host, hostBurst} }

// exempt says whether host has no limit: an address of this machine.
func (r Rates) exempt(host string) bool {
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback() && !r.Loopback
}

// networkOf is the network that the address host lies in; a name has none.
func networkOf(host string) (string, bool) {
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return "", false
	}
	bits := networkBits6
	if addr = addr.Unmap().WithZone(""); addr.Is4() {
		bits = networkBits4
	}
	prefix, err := addr.Prefix(bits)
	return prefix.String(), err == nil
}

// blockOf is how many permits are taken in one write: what the slowest bucket gives in blockTime, and no more than any holds.
func blockOf(limits []limit) int {
	block := math.MaxInt
	for _, l := range limits {
		block = min(block, max(1, int(l.rate*blockTime)), l.size())
	}
	return block
}

// takeBlock waits until all buckets give n permits at once. A table that fails is asked again: nothing is sent without it.
func (s *Service) takeBlock(ctx context.Context, host string, limits []limit, n int) error {
	buckets := make([]ratelimit.Bucket, len(limits))
	for i, l := range limits {
		buckets[i] = l.bucket(n)
	}
	for {
		d, err := s.limiter.Take(ctx, buckets)
		wait := d.RetryAfter
		switch {
		case err == nil && d.OK:
			return nil
		case errors.Is(err, fault.Unavailable) && ctx.Err() == nil:
			wait = tableRetry
		case err != nil:
			return err
		}
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < wait {
			return fault.New(fault.ResourceExhausted, "wait for permits for %s: the next one comes in %v, after the time of this scan", host, wait.Round(time.Second))
		}
		t := time.NewTimer(min(max(wait, time.Millisecond), maxWait))
		select {
		case <-ctx.Done():
			t.Stop()
			return fault.Wrap(fault.CodeOf(ctx.Err()), ctx.Err(), "wait for permits for %s", host)
		case <-t.C:
		}
	}
}

// hold keeps every worker from sending to host until then.
func (s *Service) hold(ctx context.Context, host string, until time.Time) error {
	if s.rates.exempt(host) {
		return nil
	}
	return s.limiter.Hold(ctx, s.rates.hostLimit(host).bucket(1), until)
}

package scanner

import (
	"context"
	"math"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
)

// permits is what one job may send, taken from the table in small blocks. What is not used soon is void, so that a target sees
// its rate and never more.
type permits struct {
	service *Service
	job     *modelv1.ScanJob

	mu    sync.Mutex
	hosts map[string]*purse
	// waits is how long the job waited for permits.
	waits probes.Waits
}

// purse is the block of one host. Who holds the turn takes from it; a host that waits keeps no other waiting.
type purse struct {
	turn  chan struct{}
	left  int
	until time.Time
	void  atomic.Bool // what is left must not be used: the host asked for less
}

// permits is the permission of one job.
func (s *Service) permits(job *modelv1.ScanJob) *permits {
	return &permits{service: s, job: job, hosts: map[string]*purse{}}
}

// take waits for cost permits for host. More than a block is taken in portions.
func (p *permits) take(ctx context.Context, host string, cost int) error {
	host = p.machine(host)
	if p.service.rates.exempt(host) {
		return ctx.Err()
	}
	end := p.waits.Begin()
	defer end()
	h := p.purse(host)
	select {
	case h.turn <- struct{}{}:
		defer func() { <-h.turn }()
	case <-ctx.Done():
		return fault.Wrap(fault.CodeOf(ctx.Err()), ctx.Err(), "wait for permits for %s", host)
	}
	for cost > 0 {
		if h.void.Swap(false) || h.left == 0 || time.Now().After(h.until) {
			p.service.tenants.refresh(ctx)
			limits := p.limits(host)
			n := blockOf(limits)
			h.left = 0
			if err := p.service.takeBlock(ctx, host, limits, n); err != nil {
				return err
			}
			h.left, h.until = n, time.Now().Add(blockLife)
		}
		used := min(cost, h.left)
		cost -= used
		h.left -= used
	}
	return ctx.Err()
}

// batch is how many permits for host may be used in one go.
func (p *permits) batch(host string) int {
	if host = p.machine(host); p.service.rates.exempt(host) {
		return math.MaxInt
	}
	return blockOf(p.limits(host))
}

// rate is the slowest of the rates that a connection to host needs.
func (p *permits) rate(host string) float64 {
	rate := math.Inf(1)
	if host = p.machine(host); p.service.rates.exempt(host) {
		return rate
	}
	for _, l := range p.limits(host) {
		rate = min(rate, l.rate)
	}
	return rate
}

// pause keeps all workers from host.
func (p *permits) pause(ctx context.Context, host string, until time.Time) error {
	host = p.machine(host)
	p.purse(host).void.Store(true)
	return p.service.hold(ctx, host, until)
}

func (p *permits) limits(host string) []limit {
	return p.service.rates.limits(p.job.GetTenant(), p.job.GetScanType(), host, p.service.tenants.count())
}

func (p *permits) purse(host string) *purse {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := p.hosts[host]
	if h == nil {
		h = &purse{turn: make(chan struct{}, 1)}
		p.hosts[host] = h
	}
	return h
}

// machine is the address behind host where the job names it: what counts is the machine that sees the packets.
func (p *permits) machine(host string) string {
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.Unmap().String()
	}
	t := p.job.GetTarget()
	if t.GetAddress() != "" && (host == t.GetHost() || host == t.GetValue()) {
		return t.GetAddress()
	}
	return host
}

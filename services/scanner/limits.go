package scanner

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/ratelimit"
)

// Rates are permits a second.
type Rates struct{ Host, Tenant, Global float64 }

const (
	// block is how many permits are taken at a time: one write to the table for many packets. What a job does not use of its
	// last block is lost, so a target sees less than its rate and never more.
	block = 16
	// burstSeconds is how many seconds' worth of a rate may come at once.
	burstSeconds = 2
	// maxWait bounds one wait for permits; the scan's own budget usually ends first.
	maxWait = 5 * time.Second
)

// permits is the permission of one job: host, tenant and global buckets are taken together, in blocks.
func (s *Service) permits(tenant string) func(ctx context.Context, host string, cost int) error {
	var mu sync.Mutex
	left := map[string]int{}
	return func(ctx context.Context, host string, cost int) error {
		if addr, err := netip.ParseAddr(host); err == nil && addr.IsLoopback() {
			return ctx.Err()
		}
		mu.Lock()
		defer mu.Unlock()
		for left[host] < cost {
			taken := max(cost-left[host], block)
			if err := s.takeBlock(ctx, tenant, host, taken); err != nil {
				return err
			}
			left[host] += taken
		}
		left[host] -= cost
		return nil
	}
}

// takeBlock waits until all three buckets give n permits at once.
func (s *Service) takeBlock(ctx context.Context, tenant, host string, n int) error {
	bucket := func(key string, rate float64) ratelimit.Bucket {
		return ratelimit.Bucket{Key: key, Rate: rate, Burst: max(int(rate*burstSeconds), n), Cost: n}
	}
	buckets := []ratelimit.Bucket{
		bucket("host#"+host, s.rates.Host), bucket("tenant#"+tenant, s.rates.Tenant), bucket("global", s.rates.Global),
	}
	for {
		d, err := s.limiter.Take(ctx, buckets)
		if err != nil {
			return err
		}
		if d.OK {
			return nil
		}
		t := time.NewTimer(min(max(d.RetryAfter, time.Millisecond), maxWait))
		select {
		case <-ctx.Done():
			t.Stop()
			return fault.Wrap(fault.DeadlineExceeded, ctx.Err(), "wait for permits for %s", host)
		case <-t.C:
		}
	}
}

package port

import (
	"context"
	"time"

	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
)

// withBudget returns a context that ends when the scan has worked for that long. What it waits for permits does not count: see
// [probes.WithPatience].
func (s *scan) withBudget(ctx context.Context, budget time.Duration) (context.Context, context.CancelFunc) {
	permit := s.env.Permit
	if permit == nil {
		return context.WithTimeout(ctx, budget)
	}
	waits := &probes.Waits{}
	s.env.Permit = func(ctx context.Context, host string, cost int) error {
		end := waits.Begin()
		defer end()
		return permit(ctx, host, cost)
	}
	return probes.WithPatience(ctx, budget, waits)
}

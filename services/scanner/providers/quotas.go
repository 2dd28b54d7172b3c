package providers

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	scannerv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/scanner/v1"
	"github.com/riskprofiler/riskprofiler/platform/table"
	"github.com/riskprofiler/riskprofiler/platform/table/protoitem"
)

// Quotas shows the ledgers of the keys that a tenant has used, by provider.
func (c *Client) Quotas(ctx context.Context, tenant string) ([]*scannerv1.Quota, error) {
	page, err := c.ledgers.table.Query(ctx, table.Query{Partition: quotasOf(tenant)})
	if err != nil {
		return nil, err
	}
	out := make([]*scannerv1.Quota, 0, len(page.Items))
	for _, item := range page.Items { // there are a handful of providers
		pointer, err := protoitem.Decode(item, &scannerv1.QuotaPointer{})
		if err != nil {
			return nil, err
		}
		l, _, err := c.ledgers.load(ctx, pointer.GetLedger())
		if err != nil {
			return nil, err
		}
		if l.GetProvider() != "" {
			out = append(out, quota(l, time.Now()))
		}
	}
	return out, nil
}

// quota is a ledger as people read it.
func quota(l *scannerv1.QuotaLedger, now time.Time) *scannerv1.Quota {
	limits := l.GetLimits()
	out := &scannerv1.Quota{Provider: l.GetProvider(), LastRequestTime: l.GetLastRequestTime()}
	add := func(name, unit string, used, limit uint32, reset time.Time) {
		if limit == 0 {
			return
		}
		p := &scannerv1.QuotaPeriod{Period: name, Unit: unit, Used: used, Limit: limit}
		if !reset.IsZero() {
			p.ResetTime = timestamppb.New(reset)
		}
		out.Periods = append(out.Periods, p)
	}
	add(windowName(limits), "requests", uint32(len(prune(l, limits, now))), limits.GetWindowRequests(), time.Time{})
	for _, p := range periodsOf(now, 0) {
		count := l.GetPeriods()[p.name]
		switch {
		case p.name == now.UTC().Format(dayForm):
			add("day", "requests", count.GetRequests(), limits.GetRequestsPerDay(), p.reset)
		case p.name == now.UTC().Format(monthForm):
			add("month", "requests", count.GetRequests(), limits.GetRequestsPerMonth(), p.reset)
			add("month", "credits", count.GetCredits(), limits.GetCreditsPerMonth(), p.reset)
		}
	}
	if problem := standstill(l, limits, now); problem != nil {
		out.Problem, out.AvailableTime = problem.Text, timestamppb.New(problem.Until)
	}
	return out
}

// standstill is why nothing could be asked now. A window that is full for a moment is no news.
func standstill(l *scannerv1.QuotaLedger, limits *scannerv1.QuotaLimits, now time.Time) *Problem {
	calm := &scannerv1.QuotaLedger{BlockedUntil: l.GetBlockedUntil(), Breaker: l.GetBreaker(), Periods: l.GetPeriods()}
	if b := calm.GetBreaker(); b.GetOpenUntil() != nil {
		calm.Breaker = &scannerv1.QuotaBreaker{OpenUntil: b.GetOpenUntil(), Problem: b.GetProblem()}
	}
	_, problem := reserve(calm, limits, now, 0, 0)
	return problem
}

func windowName(limits *scannerv1.QuotaLimits) string {
	switch limits.GetWindowSeconds() {
	case 60:
		return "minute"
	case 3600:
		return "hour"
	}
	return (time.Duration(limits.GetWindowSeconds()) * time.Second).String()
}

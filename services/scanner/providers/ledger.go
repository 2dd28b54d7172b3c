package providers

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	scannerv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/scanner/v1"
	"github.com/riskprofiler/riskprofiler/platform/ratelimit"
)

// How a provider is left alone.
const (
	// breakAfter failures in a row open the breaker; or half of breakCalls calls within breakWindow.
	breakAfter  = 5
	breakCalls  = 20
	breakWindow = time.Minute
	// firstPause is the pause after the first opening or the first "too many requests" without a time; it doubles up to
	// lastPause.
	firstPause = 30 * time.Second
	lastPause  = 15 * time.Minute
	// maxRetryAfter bounds what Retry-After may ask for (RFC 9110 section 10.2.3).
	maxRetryAfter = 24 * time.Hour
)

// claim is one place in a ledger, held while a request is under way.
type claim struct {
	// token finds the claim again.
	token int64
	// trial says that this request decides whether the breaker closes.
	trial bool
}

// reserve takes a place in the ledger for a request that will be over by now+hold, or says why there is none. It changes the
// ledger only if it gives a place.
//
// What it promises, whatever happens between the workers and the provider: let a request count from its start until window after
// its end. In any window of the provider's clock the requests that arrive are all either under way or ended within the window
// before the last of them starts, so they all count at that moment, and it found fewer than the limit.
func reserve(l *scannerv1.QuotaLedger, limits *scannerv1.QuotaLimits, now time.Time, hold time.Duration, credits int) (claim, *Problem) {
	if ahead := l.GetLastRequestTime().AsTime().Sub(now); ahead > ratelimit.MaxSkew {
		return claim{}, &Problem{State: unavailable, Text: "the clock of this worker is behind another's", Until: now.Add(ahead)}
	}
	if until := l.GetBlockedUntil().AsTime(); until.After(now) {
		return claim{}, &Problem{State: limited, Text: "it asked not to be asked before " + clock(until), Until: until}
	}
	if p := l.GetBreaker(); p.GetOpenUntil().AsTime().After(now) || p.GetTrialUntil().AsTime().After(now) {
		until := p.GetOpenUntil().AsTime()
		if t := p.GetTrialUntil().AsTime(); t.After(until) {
			until = t
		}
		return claim{}, &Problem{State: unavailable, Text: "it is not asked before " + clock(until) + ", because it failed: " + p.GetProblem(), Until: until}
	}
	open := prune(l, limits, now)
	if n := int(limits.GetWindowRequests()); n > 0 && len(open) >= n {
		until := time.Unix(0, open[len(open)-n]).Add(window(limits))
		return claim{}, &Problem{State: limited, Text: fmt.Sprintf("its limit of %s is used up until %s", rate(limits), clock(until)), Until: until}
	}
	periods := periodsOf(now, hold)
	for _, p := range periods {
		if problem := p.room(l.GetPeriods()[p.name], limits, credits); problem != nil {
			return claim{}, problem
		}
	}
	return take(l, limits, open, periods, now, hold, credits), nil
}

// take writes the request into the ledger.
func take(l *scannerv1.QuotaLedger, limits *scannerv1.QuotaLimits, open []int64, periods []period, now time.Time, hold time.Duration, credits int) claim {
	c := claim{token: now.Add(hold).UnixNano()}
	for slices.Contains(open, c.token) {
		c.token++
	}
	l.Requests = append(open, c.token)
	old := l.GetPeriods()
	l.Periods = map[string]*scannerv1.QuotaCount{}
	for _, p := range periods {
		count := old[p.name]
		l.Periods[p.name] = &scannerv1.QuotaCount{Requests: count.GetRequests() + 1, Credits: count.GetCredits() + uint32(credits)}
	}
	keepPeriods(l, old, now)
	if l.GetBreaker().GetOpenUntil() != nil { // it was open, or this would not be the first request since
		l.Breaker.TrialUntil, c.trial = timestamppb.New(now.Add(hold)), true
	}
	l.LastRequestTime, l.Limits = timestamppb.New(now), limits
	return c
}

// prune gives the requests that still count, oldest end first.
func prune(l *scannerv1.QuotaLedger, limits *scannerv1.QuotaLimits, now time.Time) []int64 {
	from := now.Add(-window(limits)).UnixNano()
	open := make([]int64, 0, len(l.GetRequests())+1)
	for _, end := range l.GetRequests() {
		if end > from {
			open = append(open, end)
		}
	}
	slices.Sort(open)
	return open
}

// window is the sliding window with a little more, for clocks of workers that are apart: NTP keeps those of cloud hosts within
// milliseconds.
func window(limits *scannerv1.QuotaLimits) time.Duration {
	w := time.Duration(limits.GetWindowSeconds()) * time.Second
	return w + min(w/20, ratelimit.MaxSkew)
}

func rate(limits *scannerv1.QuotaLimits) string {
	return fmt.Sprintf("%d requests in %s", limits.GetWindowRequests(), span(int(limits.GetWindowSeconds())))
}

func span(seconds int) string {
	switch seconds {
	case 1:
		return "a second"
	case 60:
		return "a minute"
	case 3600:
		return "an hour"
	}
	return fmt.Sprintf("%d seconds", seconds)
}

// clock shows a time; the day is said too, because a quota may end tomorrow.
func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// period is a calendar period in UTC.
type period struct {
	name  string
	day   bool
	reset time.Time
}

const (
	dayForm   = "2006-01-02"
	monthForm = "2006-01"
)

// periodsOf are the days and months that a request of that time may be counted in by the provider: its clock and ours are not
// the same, and the request may arrive after midnight.
func periodsOf(now time.Time, hold time.Duration) []period {
	var out []period
	for _, t := range []time.Time{now.Add(-ratelimit.MaxSkew), now, now.Add(hold + ratelimit.MaxSkew)} {
		t = t.UTC()
		for _, p := range []period{
			{t.Format(dayForm), true, time.Date(t.Year(), t.Month(), t.Day()+1, 0, 0, 0, 0, time.UTC)},
			{t.Format(monthForm), false, time.Date(t.Year(), t.Month()+1, 1, 0, 0, 0, 0, time.UTC)},
		} {
			if !slices.ContainsFunc(out, func(o period) bool { return o.name == p.name }) {
				out = append(out, p)
			}
		}
	}
	return out
}

// room says why one more request has no place in a period, nil if it has.
func (p period) room(used *scannerv1.QuotaCount, limits *scannerv1.QuotaLimits, credits int) *Problem {
	full := func(what string, used, cost, limit uint32) *Problem {
		if limit == 0 || used+cost <= limit {
			return nil
		}
		return &Problem{State: limited, Text: fmt.Sprintf("its quota of %d %s is used up until %s", limit, what, clock(p.reset)), Until: p.reset}
	}
	if p.day {
		return full("requests a day", used.GetRequests(), 1, limits.GetRequestsPerDay())
	}
	if problem := full("requests a month", used.GetRequests(), 1, limits.GetRequestsPerMonth()); problem != nil {
		return problem
	}
	if credits == 0 {
		return nil
	}
	return full("credits a month", used.GetCredits(), uint32(credits), limits.GetCreditsPerMonth())
}

// keepPeriods keeps what is not over for anybody's clock.
func keepPeriods(l *scannerv1.QuotaLedger, old map[string]*scannerv1.QuotaCount, now time.Time) {
	for name, count := range old {
		form := dayForm
		if len(name) == len(monthForm) {
			form = monthForm
		}
		began, err := time.Parse(form, name)
		if err != nil || l.Periods[name] != nil {
			continue
		}
		over := began.AddDate(0, 0, 2)
		if form == monthForm {
			over = began.AddDate(0, 1, 1)
		}
		if now.Before(over) {
			l.Periods[name] = count
		}
	}
}

// ending is how a request ended.
type ending struct {
	// problem is nil if it was answered.
	problem *Problem
	// tooMany says that the provider answered "too many requests"; wait is what it asked for, 0 if it did not say.
	tooMany bool
	wait    time.Duration
	// refused says that the key is wrong: asking again with it is useless.
	refused bool
	// neutral endings say nothing about the provider's health: our own time was over.
	neutral bool
}

// settle notes how a request ended.
func settle(l *scannerv1.QuotaLedger, limits *scannerv1.QuotaLimits, c claim, e ending, now time.Time) {
	if i := slices.Index(l.GetRequests(), c.token); i >= 0 {
		l.Requests[i] = min(now.UnixNano(), c.token)
	}
	l.Requests = prune(l, limits, now)
	if l.Breaker == nil {
		l.Breaker = &scannerv1.QuotaBreaker{}
	}
	if c.trial {
		l.Breaker.TrialUntil = nil
	}
	switch {
	case e.tooMany:
		if e.wait <= 0 {
			e.wait = halfFixed(pause(l.GetBlocks()))
			l.Blocks++
		}
		if until := now.Add(min(e.wait, maxRetryAfter)); until.After(l.GetBlockedUntil().AsTime()) {
			l.BlockedUntil = timestamppb.New(until)
		}
	case e.problem == nil:
		l.Blocks, l.BlockedUntil = 0, nil
		count(l.Breaker, false, now)
		if c.trial || l.Breaker.GetOpenUntil() == nil {
			l.Breaker.Failures, l.Breaker.Openings, l.Breaker.OpenUntil, l.Breaker.Problem = 0, 0, nil, ""
		}
	case !e.neutral:
		fail(l.Breaker, c, e, now)
	}
}

// fail counts a failure and opens the breaker if it was one too many.
func fail(b *scannerv1.QuotaBreaker, c claim, e ending, now time.Time) {
	count(b, true, now)
	b.Failures++
	b.Problem = e.problem.Text
	many := b.GetWindowCalls() >= breakCalls && 2*b.GetWindowFailures() >= b.GetWindowCalls()
	if !e.refused && !c.trial && b.GetFailures() < breakAfter && !many {
		return
	}
	length := pause(b.GetOpenings())
	if e.refused {
		length = lastPause
	}
	if until := now.Add(length); until.After(b.GetOpenUntil().AsTime()) {
		b.OpenUntil = timestamppb.New(until)
		b.Openings++
	}
}

func count(b *scannerv1.QuotaBreaker, failure bool, now time.Time) {
	if now.Sub(b.GetWindowStart().AsTime()) > breakWindow {
		b.WindowStart, b.WindowCalls, b.WindowFailures = timestamppb.New(now), 0, 0
	}
	b.WindowCalls++
	if failure {
		b.WindowFailures++
	}
}

// pause doubles with each one in a row.
func pause(before uint32) time.Duration {
	return min(firstPause<<min(before, 5), lastPause)
}

// halfFixed spreads workers that wait for the same thing, and never shrinks a pause to nothing.
func halfFixed(d time.Duration) time.Duration {
	return d/2 + time.Duration(rand.Int64N(int64(d/2)+1)) //nolint:gosec // spreads load, hides nothing
}

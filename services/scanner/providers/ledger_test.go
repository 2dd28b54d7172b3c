package providers

import (
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	scannerv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/scanner/v1"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

const hold = 20 * time.Second

func at(seconds float64) time.Time { return noon.Add(time.Duration(seconds * float64(time.Second))) }

// mustReserve takes a place that must be there.
func mustReserve(t *testing.T, l *scannerv1.QuotaLedger, limits *scannerv1.QuotaLimits, now time.Time) claim {
	t.Helper()
	c, problem := reserve(l, limits, now, hold, 0)
	if problem != nil {
		t.Fatalf("at %v: %v", now, problem)
	}
	return c
}

// A request counts from its start until a window after its end.
func TestWindow(t *testing.T) {
	limits := &scannerv1.QuotaLimits{WindowRequests: 2, WindowSeconds: 60}
	l := &scannerv1.QuotaLedger{}
	one := mustReserve(t, l, limits, at(0))
	mustReserve(t, l, limits, at(1)) // never heard of again
	if _, p := reserve(l, limits, at(2), hold, 0); p == nil || p.State != limited {
		t.Fatalf("a third place: %v", p)
	}
	settle(l, limits, one, ending{}, at(5))
	if _, p := reserve(l, limits, at(64.9), hold, 0); p == nil || !p.Until.Equal(at(5+62)) {
		t.Fatalf("within a window of its end: %v", p)
	}
	mustReserve(t, l, limits, at(68)) // the window, and 2 s for clocks
	if _, p := reserve(l, limits, at(80), hold, 0); p == nil || !p.Until.Equal(at(1+20+62)) {
		t.Fatalf("the lost one counts until it was to be given up, and a window: %v", p)
	}
}

func TestPeriods(t *testing.T) {
	evening := time.Date(2026, 11, 30, 23, 59, 50, 0, time.UTC)
	limits := &scannerv1.QuotaLimits{RequestsPerDay: 3, RequestsPerMonth: 5, CreditsPerMonth: 2}
	day := &scannerv1.QuotaLedger{}
	for range 3 {
		mustReserve(t, day, limits, noon)
	}
	_, p := reserve(day, limits, noon, hold, 0)
	if p == nil || p.State != limited || !p.Until.Equal(time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)) || !strings.Contains(p.Text, "3 requests a day") {
		t.Fatalf("a fourth in a day: %v", p)
	}
	mustReserve(t, day, limits, noon.AddDate(0, 0, 1))
	mustReserve(t, day, limits, noon.AddDate(0, 0, 1))
	if _, p = reserve(day, limits, noon.AddDate(0, 0, 1), hold, 0); p == nil || !strings.Contains(p.Text, "5 requests a month") {
		t.Fatalf("a sixth in a month: %v", p)
	}
	mustReserve(t, day, limits, noon.AddDate(0, 1, 0))

	credits := &scannerv1.QuotaLedger{}
	for range 2 {
		if _, p := reserve(credits, limits, noon, hold, 1); p != nil {
			t.Fatal(p)
		}
	}
	if _, p := reserve(credits, limits, noon, hold, 1); p == nil || !strings.Contains(p.Text, "2 credits a month") {
		t.Fatalf("a third credit: %v", p)
	}
	mustReserve(t, credits, limits, noon) // what costs none goes on

	// Ten seconds before midnight it may arrive today or tomorrow: it needs a place in both, and takes one in both.
	midnight := &scannerv1.QuotaLedger{}
	for range 3 {
		mustReserve(t, midnight, limits, evening)
	}
	for _, now := range []time.Time{evening, evening.Add(15 * time.Second)} {
		if _, p := reserve(midnight, limits, now, hold, 0); p == nil {
			t.Errorf("a fourth at %v", now)
		}
	}
	if got := midnight.GetPeriods()["2026-12-01"].GetRequests(); got != 3 {
		t.Errorf("counted %d times for tomorrow", got)
	}
}

func TestBlocked(t *testing.T) {
	limits := &scannerv1.QuotaLimits{}
	l := &scannerv1.QuotaLedger{}
	tooMany := func(wait time.Duration) ending {
		return ending{problem: &Problem{State: limited}, tooMany: true, wait: wait}
	}
	settle(l, limits, mustReserve(t, l, limits, at(0)), tooMany(2*time.Minute), at(1))
	if _, p := reserve(l, limits, at(120), hold, 0); p == nil || p.State != limited || !p.Until.Equal(at(121)) {
		t.Fatalf("before the time it asked for: %v", p)
	}
	// Without a time: 30 s, doubling, half of it fixed, up to a quarter of an hour.
	now := at(121)
	for i := range 8 {
		settle(l, limits, mustReserve(t, l, limits, now), tooMany(0), now)
		wait := l.GetBlockedUntil().AsTime().Sub(now)
		most := min(30*time.Second<<i, 15*time.Minute)
		if wait < most/2 || wait > most {
			t.Fatalf("pause %d is %v, want %v to %v", i, wait, most/2, most)
		}
		now = l.GetBlockedUntil().AsTime()
	}
	settle(l, limits, mustReserve(t, l, limits, now), ending{}, now)
	if l.GetBlockedUntil() != nil || l.GetBlocks() != 0 {
		t.Errorf("an answer did not end it: %v", l)
	}
	// What it asks for is believed for a day at most, and a shorter wish does not shorten an earlier one.
	a, b := mustReserve(t, l, limits, now), mustReserve(t, l, limits, now)
	settle(l, limits, a, tooMany(1000*time.Hour), now)
	settle(l, limits, b, tooMany(time.Second), now)
	if got := l.GetBlockedUntil().AsTime().Sub(now); got != maxRetryAfter {
		t.Errorf("blocked for %v", got)
	}
}

func TestBreakerStates(t *testing.T) {
	limits := &scannerv1.QuotaLimits{}
	broke := ending{problem: &Problem{State: failed, Text: "it fails (500)"}}
	l := &scannerv1.QuotaLedger{}
	now := noon
	for range breakAfter {
		settle(l, limits, mustReserve(t, l, limits, now), broke, now)
	}
	for i, want := range []time.Duration{30 * time.Second, time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute, 15 * time.Minute, 15 * time.Minute} {
		_, p := reserve(l, limits, now, hold, 0)
		if p == nil || p.State != unavailable || p.Until.Sub(now) != want || !strings.Contains(p.Text, "it fails (500)") {
			t.Fatalf("opening %d: %+v", i, p)
		}
		now = p.Until
		trial := mustReserve(t, l, limits, now)
		if !trial.trial {
			t.Fatal("the first one after an opening is no trial")
		}
		if _, p := reserve(l, limits, now.Add(time.Second), hold, 0); p == nil || p.State != unavailable {
			t.Fatalf("two trials at a time: %v", p)
		}
		settle(l, limits, trial, broke, now)
	}
	// A trial that nobody ends does not bar the way for ever.
	now = l.GetBreaker().GetOpenUntil().AsTime()
	mustReserve(t, l, limits, now)
	now = now.Add(hold)
	trial := mustReserve(t, l, limits, now)
	settle(l, limits, trial, ending{}, now)
	if b := l.GetBreaker(); b.GetOpenUntil() != nil || b.GetOpenings() != 0 || b.GetFailures() != 0 {
		t.Fatalf("a trial that went well: %v", b)
	}
	if c := mustReserve(t, l, limits, now); c.trial {
		t.Error("still on trial")
	}
	// A key that is refused opens it at once; our own lack of time never does.
	own := &scannerv1.QuotaLedger{}
	for range 3 * breakAfter {
		settle(own, limits, mustReserve(t, own, limits, now), ending{problem: &Problem{State: failed}, neutral: true}, now)
	}
	settle(own, limits, mustReserve(t, own, limits, now), ending{problem: &Problem{State: failed}, refused: true}, now)
	if got := own.GetBreaker().GetOpenUntil().AsTime().Sub(now); got != lastPause {
		t.Errorf("refused: open for %v", got)
	}
	// Half of many calls is enough, though never five in a row.
	mixed := &scannerv1.QuotaLedger{}
	for i := range breakCalls {
		e := ending{}
		if i%2 == 1 {
			e = broke
		}
		settle(mixed, limits, mustReserve(t, mixed, limits, now), e, now)
	}
	if mixed.GetBreaker().GetOpenUntil() == nil {
		t.Errorf("half of %d failed: %v", breakCalls, mixed.GetBreaker())
	}
}

func TestClockBehind(t *testing.T) {
	limits := &scannerv1.QuotaLimits{WindowRequests: 1, WindowSeconds: 1}
	l := &scannerv1.QuotaLedger{}
	mustReserve(t, l, limits, at(100))
	if _, p := reserve(l, limits, at(90), hold, 0); p == nil || p.State != unavailable || !strings.Contains(p.Text, "clock") {
		t.Errorf("%v", p)
	}
}

// refusal leaves the ledger as it is: nothing is written for a place that is not there.
func TestRefusalChangesNothing(t *testing.T) {
	limits := &scannerv1.QuotaLimits{WindowRequests: 1, WindowSeconds: 60, RequestsPerDay: 1}
	l := &scannerv1.QuotaLedger{}
	mustReserve(t, l, limits, at(0))
	before := proto.Clone(l)
	if _, p := reserve(l, limits, at(1), hold, 1); p == nil || !proto.Equal(before, l) {
		t.Errorf("%v: %v became %v", p, before, l)
	}
}

// Whatever the workers do and however late packets come, the provider counts no more than its limits: requests arrive at any
// time between the place and the end, workers die, clocks are apart by less than the window's slack.
func TestLimitsHoldAtTheProvider(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limits := &scannerv1.QuotaLimits{
			WindowRequests: uint32(rapid.IntRange(1, 5).Draw(t, "requests")), WindowSeconds: uint32(rapid.SampledFrom([]int{1, 10, 60}).Draw(t, "seconds")),
			RequestsPerDay: uint32(rapid.IntRange(0, 30).Draw(t, "day")),
		}
		l := &scannerv1.QuotaLedger{}
		now := time.Date(2026, 12, 31, 23, 58, 0, 0, time.UTC)
		skew := (window(limits) - time.Duration(limits.GetWindowSeconds())*time.Second) / 2
		var arrivals []time.Time
		type flight struct {
			claim
			from time.Time
		}
		var flights []flight
		for range 120 {
			now = now.Add(time.Duration(rapid.Int64Range(0, int64(3*time.Second)).Draw(t, "later")))
			own := now.Add(time.Duration(rapid.Int64Range(-int64(skew)/2, int64(skew)/2).Draw(t, "skew")))
			if len(flights) > 0 && rapid.Bool().Draw(t, "ends") {
				i := rapid.IntRange(0, len(flights)-1).Draw(t, "which")
				f := flights[i]
				flights = slices.Delete(flights, i, i+1)
				over := time.Unix(0, f.token).Add(-settleTime)
				if end := min(now.UnixNano(), over.UnixNano()); end >= f.from.UnixNano() {
					arrivals = append(arrivals, time.Unix(0, rapid.Int64Range(f.from.UnixNano(), end).Draw(t, "arrives")))
				}
				if rapid.IntRange(0, 9).Draw(t, "dies") > 0 && own.UnixNano() >= f.from.UnixNano() {
					settle(l, limits, f.claim, ending{}, own)
				}
				continue
			}
			c, problem := reserve(l, limits, own, hold, 0)
			if problem == nil {
				flights = append(flights, flight{c, now})
			}
		}
		slices.SortFunc(arrivals, time.Time.Compare)
		checkArrivals(t, arrivals, limits)
	})
}

func checkArrivals(t *rapid.T, arrivals []time.Time, limits *scannerv1.QuotaLimits) {
	days := map[string]int{}
	for i, a := range arrivals {
		in := 0
		for _, b := range arrivals[i:] {
			if b.Sub(a) < time.Duration(limits.GetWindowSeconds())*time.Second {
				in++
			}
		}
		if in > int(limits.GetWindowRequests()) {
			t.Fatalf("%d requests in %d seconds from %v on, the limit is %d", in, limits.GetWindowSeconds(), a, limits.GetWindowRequests())
		}
		day := a.UTC().Format(dayForm)
		if days[day]++; limits.GetRequestsPerDay() > 0 && days[day] > int(limits.GetRequestsPerDay()) {
			t.Fatalf("%d requests on %s", days[day], day)
		}
	}
}

func TestLimitsWith(t *testing.T) {
	got := VirusTotal.limitsWith(nil)
	if got.GetWindowRequests() != 4 || got.GetWindowSeconds() != 60 || got.GetRequestsPerDay() != 500 {
		t.Errorf("the public plan: %v", got)
	}
	got = Shodan.limitsWith(&modelv1.ProviderLimits{RequestsPerMinute: 1 << 20, CreditsPerMonth: 10_000})
	if got.GetWindowRequests() != maxWindow || got.GetWindowSeconds() != 60 || got.GetCreditsPerMonth() != 10_000 {
		t.Errorf("a large plan: %v", got)
	}
}

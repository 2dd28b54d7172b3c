package gateway

import (
	"strconv"
	"testing"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/authn"
)

// TestLimits: over ten seconds a key gets its burst and its rate, and no key of a tenant gets what another has used up.
func TestLimits(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	l := newLimits(10, 15)
	taken := map[string]int{}
	for ms := range 10000 {
		for _, key := range []string{"a", "b", "c"} {
			p := authn.Principal{Tenant: "acme", Subject: key}
			if key == "c" {
				p.Tenant = "exemplary"
			}
			if _, ok := l.take(p, start.Add(time.Duration(ms)*time.Millisecond)); ok {
				taken[key]++
			}
		}
	}
	// Burst twice the rate, then the rate.
	if got := taken["c"]; got < 119 || got > 121 {
		t.Errorf("a key alone got %d requests in 10 s at 10/s with a burst of 20", got)
	}
	if got := taken["a"] + taken["b"]; got < 178 || got > 181 {
		t.Errorf("two keys of one tenant got %d requests in 10 s at 15/s with a burst of 30", got)
	}
}

func TestLimitSaysHowLongToWait(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	l := newLimits(2, 100)
	p := authn.Principal{Tenant: "acme", Subject: "a"}
	for range 4 {
		if _, ok := l.take(p, now); !ok {
			t.Fatal("the burst is refused")
		}
	}
	wait, ok := l.take(p, now)
	if ok || wait != 500*time.Millisecond {
		t.Fatalf("wait %v, %v; want 500 ms", wait, ok)
	}
	if _, ok := l.take(p, now.Add(wait)); !ok {
		t.Error("refused after the wait that was asked for")
	}
}

func TestLimitersAreBounded(t *testing.T) {
	l := newLimits(1, 1)
	for n := range maxLimited + 10 {
		l.limiter(strconv.Itoa(n), 1)
	}
	if len(l.byID) > maxLimited {
		t.Errorf("%d limiters are kept", len(l.byID))
	}
}

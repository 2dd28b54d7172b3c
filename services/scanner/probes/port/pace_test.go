package port

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

var started = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

func testPace(rate float64) pace {
	return newPace(Options{Rate: rate}.withDefaults(), false)
}

// However the clock moves, no second sees more connects than the rate and one burst.
func TestPaceKeepsTheRate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rate := rapid.Float64Range(1, 5000).Draw(t, "rate")
		p := testPace(rate)
		now, sent := started, 0
		for range rapid.IntRange(1, 400).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 50_000).Draw(t, "µs")) * time.Microsecond)
			n := p.allowed(now, 0)
			p.started(n)
			sent += n
			if limit := rate*now.Sub(started).Seconds() + p.burst() + 1; float64(sent) > limit {
				t.Fatalf("%d connects in %v at %v/s, limit %v", sent, now.Sub(started), rate, limit)
			}
		}
	})
}

func TestPaceUsesTheRate(t *testing.T) {
	p := testPace(1000)
	now, sent := started, 0
	for now.Sub(started) < time.Second {
		n := p.allowed(now, 0)
		p.started(n)
		sent += n
		now = now.Add(max(p.wait(), time.Millisecond))
	}
	if sent < 900 {
		t.Errorf("%d connects in a second that allows 1000", sent)
	}
}

func TestPaceWindow(t *testing.T) {
	p := testPace(1e6)
	p.allowed(started, 0)
	if n := p.allowed(started.Add(time.Second), firstWindow-3); n != 3 {
		t.Errorf("%d more connects, want 3 below the window", n)
	}
	if n := p.allowed(started.Add(2*time.Second), firstWindow+3); n != 0 {
		t.Errorf("%d more connects above the window", n)
	}
	near := newPace(Options{}.withDefaults(), true)
	if n := near.allowed(started, 24); n != maxWindow-24 {
		t.Errorf("loopback: %d more connects", n)
	}
}

// A host that answered and stops (a limit of RST, a full state table) is asked more slowly, down to an eighth; when it
// answers again the rate returns, never above what is permitted.
func TestPaceBacksOff(t *testing.T) {
	p := testPace(1000)
	answer := func(n int) {
		for range n {
			p.reply(10 * time.Millisecond)
		}
	}
	answer(epoch)
	window := p.window
	for i, want := range []float64{500, 250, 125, 125} {
		for range epoch {
			p.silence()
		}
		if p.rate != want {
			t.Fatalf("after %d silent epochs: %v/s, want %v", i+1, p.rate, want)
		}
	}
	if p.window >= window {
		t.Errorf("window %v, was %v", p.window, window)
	}
	answer(20 * epoch)
	if p.rate != 1000 {
		t.Errorf("%v/s after it answered again, want 1000", p.rate)
	}
}

// A host that drops most ports from the start has a filter; slowing down would change nothing.
func TestPaceIsNotFooledByAFilter(t *testing.T) {
	p := testPace(1000)
	for range 10 * epoch / 10 {
		p.reply(10 * time.Millisecond)
		for range 9 {
			p.silence()
		}
	}
	for range 5 * epoch {
		p.silence()
	}
	if p.rate != 1000 {
		t.Errorf("%v/s for a filtered host, want 1000", p.rate)
	}
}

func TestPaceTimeoutFollowsTheHost(t *testing.T) {
	p := testPace(1000)
	if p.timeout != DefaultTimeout {
		t.Fatalf("first wait %v", p.timeout)
	}
	for range 50 {
		p.reply(20 * time.Millisecond)
	}
	if p.timeout != minTimeout {
		t.Errorf("wait for a near host %v, want %v", p.timeout, minTimeout)
	}
	for range 50 {
		p.reply(900 * time.Millisecond)
	}
	if p.timeout < 900*time.Millisecond || p.timeout > DefaultTimeout {
		t.Errorf("wait for a far host %v", p.timeout)
	}
	p.patient(false)
	for range 50 {
		p.reply(time.Millisecond)
	}
	if p.timeout != DefaultTimeout {
		t.Errorf("wait when asking again %v, want the full %v", p.timeout, DefaultTimeout)
	}
}

func TestPaceOfAskingAgain(t *testing.T) {
	dropping, filtered := testPace(1000), testPace(1000)
	for range epoch {
		dropping.reply(time.Millisecond)
		filtered.silence()
	}
	dropping.patient(false)
	filtered.patient(false)
	if dropping.rate != 500 || filtered.rate != 1000 {
		t.Errorf("asks a host that drops at %v/s, one with a filter at %v/s", dropping.rate, filtered.rate)
	}
}

func TestLaneAsksAgainOnlyWhereItHelps(t *testing.T) {
	lost := func(answered bool, recovered int) int {
		l := &lane{pass: 1, ports: make([]uint16, 100), next: 100, pace: testPace(1000)}
		if answered {
			l.reply(1, false, time.Millisecond)
		}
		for port := range 100 {
			l.silence(uint16(port))
		}
		passes := 1
		for !l.finished() {
			passes++
			n := recovered
			l.next = len(l.ports)
			for _, port := range l.ports {
				if n--; n >= 0 {
					l.reply(port, true, time.Millisecond)
				} else {
					l.silence(port)
				}
			}
		}
		return passes
	}
	if n := lost(false, 0); n != 1 {
		t.Errorf("a silent host was asked %d times", n)
	}
	if n := lost(true, 0); n != 2 {
		t.Errorf("a filtered host was asked %d times, want 2", n)
	}
	if n := lost(true, 30); n != 5 {
		t.Errorf("a host that drops was asked %d times, want 5", n)
	}
}

package port

import (
	"math"
	"time"
)

// Figures of the pace of one host.
const (
	// firstWindow connects may be in flight before anything is known of the host, maxWindow at any time.
	firstWindow, minWindow, maxWindow = 128, 16, MaxInFlight
	// minTimeout is the shortest wait for an answer of a host that answered quickly before (RFC 6298 asks for one second
	// before sending again; nothing is sent again here, the port is asked once more in the next pass).
	minTimeout = 300 * time.Millisecond
	// epoch is the number of outcomes that are judged together.
	epoch = 100
	// cuts bounds how far the rate falls: to an eighth.
	cuts = 3
	// tick is the shortest wait between two bursts, so that a slow pace costs few wake-ups.
	tick = 5 * time.Millisecond
)

// pace decides how fast one host is asked. It knows no sockets and no clock: it is told what happened when.
//
// The rate is a token bucket. The window bounds what is in flight. The wait for an answer follows the round trips as TCP's
// does (RFC 6298). A host that had answered most connects and then stops doing so is dropping what it cannot take (BSD
// kernels send 200 RST a second, firewalls limit SYN): rate and window are halved, and rise again when it answers.
type pace struct {
	near   bool
	rate   float64 // now; 0: unlimited
	top    float64 // as permitted
	tokens float64
	filled time.Time

	window  float64
	timeout time.Duration // now
	full    time.Duration // as asked for

	answered     bool
	srtt, rttvar time.Duration
	outcomes     int // in this epoch
	answers      int
	best         float64 // share of answers in the best epoch
	cut          int     // how often the rate was halved
	patience     bool    // asks again: always waits the full time

	sent      int       // since sentFrom
	sentFrom  time.Time // when the rate was set last
	steady    int       // canaries in a row that answered
	gone      int       // canaries that did not, in this pass
	slowdowns int       // how often the rate was halved, in all
}

func newPace(o Options, near bool) pace {
	p := pace{near: near, window: firstWindow, timeout: o.Timeout, full: o.Timeout}
	if near {
		p.window = maxWindow
	} else {
		p.rate, p.top = o.Rate, o.Rate
	}
	return p
}

// allowed returns how many connects may start at now with inFlight under way.
func (p *pace) allowed(now time.Time, inFlight int) int {
	room := int(p.window) - inFlight
	if p.rate == 0 || room <= 0 {
		return max(room, 0)
	}
	if p.filled.IsZero() {
		p.filled, p.tokens, p.sentFrom = now, 1, now
	}
	p.tokens = min(p.tokens+now.Sub(p.filled).Seconds()*p.rate, p.burst())
	p.filled = now
	return min(room, int(p.tokens))
}

// burst is what may be sent at once: 20 ms worth.
func (p *pace) burst() float64 { return max(p.rate*0.02, 1) }

// started notes n connects.
func (p *pace) started(n int) {
	p.tokens -= float64(n)
	p.sent += n
}

// wait returns how long from now the next connect may start, if the window lets it.
func (p *pace) wait() time.Duration {
	if p.rate == 0 || p.tokens >= 1 {
		return 0
	}
	return max(tick, time.Duration((1-p.tokens)/p.rate*float64(time.Second)))
}

// reply notes an answer that took so long.
func (p *pace) reply(took time.Duration) {
	p.answered = true
	if p.near {
		return
	}
	if p.srtt == 0 {
		p.srtt, p.rttvar = took, took/2
	} else {
		p.rttvar += (time.Duration(math.Abs(float64(p.srtt-took))) - p.rttvar) / 4
		p.srtt += (took - p.srtt) / 8
	}
	if !p.patience {
		p.timeout = min(max(p.srtt+4*p.rttvar, minTimeout), p.full)
	}
	p.answers++
	p.outcome()
}

// silence notes a connect without an answer.
func (p *pace) silence() {
	if !p.near {
		p.outcome()
	}
}

func (p *pace) outcome() {
	p.window = min(p.window+1, maxWindow)
	if p.outcomes++; p.outcomes < epoch {
		return
	}
	share := float64(p.answers) / float64(p.outcomes)
	p.outcomes, p.answers = 0, 0
	p.best = max(p.best, share)
	switch {
	case p.best < 0.5 || p.steady > 0 && p.gone == 0:
		// Most ports were silent from the start, or those that answered still do: a filter by port, which no patience changes.
	case share < p.best/2 && p.cut < cuts:
		p.cut++
		p.rate /= 2
		p.window = max(p.window/2, minWindow)
	case share > p.best*0.9 && p.rate < p.top && p.gone == 0:
		p.rate = min(p.rate*1.25, p.top)
		if p.rate == p.top {
			p.cut = 0
		}
	}
}

// patient prepares for asking again: the full wait, and half of the rate where the host dropped or seems to have. A host that was
// mostly silent from the start has a filter, which does not mind.
func (p *pace) patient(dropped bool) {
	if (dropped || p.best >= 0.5) && !p.near {
		p.window = max(p.window/2, minWindow)
		p.rate = max(p.rate/2, min(p.top/8, p.rate))
	}
	p.patience, p.timeout = true, p.full
	p.outcomes, p.answers, p.best = 0, 0, 0
	p.gone = 0
}

// slowest is the rate below which no loss slows a scan down: slower than this it would not end.
const slowest = 5

// steadyCanaries in a row raise the rate again, by a quarter.
const steadyCanaries = 8

// lost notes that a port which answers gave no answer: what is sent gets lost, whatever filters there are. The rate falls to half
// of what was really sent, which permits may have kept below the rate.
func (p *pace) lost() {
	p.gone++
	p.steady = 0
	if p.near || p.rate <= slowest {
		return
	}
	now := p.rate
	if took := p.filled.Sub(p.sentFrom).Seconds(); took > 0.5 {
		now = min(now, float64(p.sent)/took)
	}
	p.rate = max(now/2, slowest)
	p.window = max(p.window/2, minWindow)
	p.sent, p.sentFrom = 0, p.filled
	p.slowdowns++
}

// kept notes that a port which answers did so again.
func (p *pace) kept() {
	if p.steady++; p.steady < steadyCanaries || p.near || p.rate >= p.top {
		return
	}
	p.steady = 0
	p.rate = min(p.rate*1.25, p.top)
	p.sent, p.sentFrom = 0, p.filled
}

// lossy says whether in this pass something got lost that would have been answered, so that silence proves no filter.
func (p *pace) lossy() bool { return p.gone > 0 }

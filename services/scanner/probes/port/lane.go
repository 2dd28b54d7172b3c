package port

import (
	"context"
	"math"
	"net/netip"
	"sync"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/netguard"
	"github.com/riskprofiler/riskprofiler/platform/together"
)

// maxPasses bounds how often a silent port is asked: once, again when the host is known to answer, and further where asking again
// found that the host had been dropping.
const maxPasses = 5

// lane is a part of one host's ports with its own pace: all of them for a host on the network, one share for each processor
// of a host on loopback. One goroutine owns it while it runs.
type lane struct {
	host  int // index of the result
	addr  netip.Addr
	guard *netguard.Guard
	near  bool // loopback: answers come before connect returns
	ports []uint16
	next  int // index in ports of the next port to start

	pass     int
	retried  int // ports asked again in this pass
	returned []uint16
	troubles int
	inFlight int
	pace     pace
	permits  permits
	canary   canary

	open   []uint16
	closed int
	silent []uint16 // no answer in this pass
	denied int
	err    error

	// Sockets in flight, oldest first, for the engine.
	oldest, newest *slot
}

// nearShare is about how many ports of a loopback address make one lane: a few milliseconds of work.
const nearShare = 2048

// newLanes divides the ports of one host. Loopback is divided so that all processors have work to the end, because there the
// work is the kernel's, on the processor that connects; each share takes every nth port, so that likely ports come first.
func newLanes(o Options, host int, addr netip.Addr, ports []uint16) []*lane {
	near := addr.IsLoopback()
	shares := 1
	if near {
		shares = (len(ports) + nearShare - 1) / nearShare
	}
	lanes := make([]*lane, shares)
	for i := range lanes {
		l := &lane{host: host, addr: addr, guard: o.Guard, near: near, ports: ports, pass: 1}
		if shares > 1 {
			l.ports = every(ports, i, shares)
		}
		l.pace = newPace(o, near)
		l.permits = permits{take: o.Permit, host: addr.String(), batch: o.PermitBatch}
		lanes[i] = l
	}
	return lanes
}

func every(ports []uint16, first, step int) []uint16 {
	share := make([]uint16, 0, len(ports)/step+1)
	for i := first; i < len(ports); i += step {
		share = append(share, ports[i])
	}
	return share
}

// take returns the next port to connect to, now and then one that answered before. Ports that the guard denies are counted and
// left out.
func (l *lane) take() (uint16, bool) {
	if !l.near && l.remaining() > 0 {
		if port, due := l.canary.next(); due {
			return port, true
		}
	}
	for {
		port, ok := l.pop()
		if !ok || l.guard.JudgeAddrPort(netip.AddrPortFrom(l.addr, port)) == nil {
			return port, ok
		}
		l.denied++
	}
}

func (l *lane) pop() (uint16, bool) {
	if n := len(l.returned); n > 0 {
		port := l.returned[n-1]
		l.returned = l.returned[:n-1]
		return port, true
	}
	if l.next == len(l.ports) {
		return 0, false
	}
	l.next++
	return l.ports[l.next-1], true
}

// maxTroubles bounds how often a lane may give a port back.
const maxTroubles = 1000

// giveBack returns a port that could not be asked for a reason of this machine's. It says no where that goes on and on.
func (l *lane) giveBack(port uint16) bool {
	if l.canary.is(port) {
		l.canary.back()
		return true
	}
	l.returned = append(l.returned, port)
	l.troubles++
	return l.troubles < maxTroubles
}

func (l *lane) remaining() int { return len(l.ports) - l.next + len(l.returned) }

// reply notes an answer: the port is open or closed.
func (l *lane) reply(port uint16, open bool, took time.Duration) {
	if l.canary.is(port) {
		l.canary.back()
		l.pace.kept()
		return
	}
	l.canary.learn(port, open)
	if open {
		l.open = append(l.open, port)
	} else {
		l.closed++
	}
	l.pace.reply(took)
}

// silence notes that a port gave no answer.
func (l *lane) silence(port uint16) {
	if l.canary.is(port) {
		l.canary.back()
		l.pace.lost()
		return
	}
	l.silent = append(l.silent, port)
	l.pace.silence()
}

// fail gives the host up.
func (l *lane) fail(err error) {
	if l.err == nil {
		l.err = err
	}
	l.next, l.returned = len(l.ports), nil
}

// finished says whether nothing is left to do; it starts the next pass where one is worth it. A host that never answered
// was waited for long enough the first time.
func (l *lane) finished() bool {
	if l.remaining() > 0 || l.inFlight > 0 {
		return false
	}
	again := l.pass == 1 && l.pace.answered || l.lossy()
	if l.err != nil || len(l.silent) == 0 || l.pass == maxPasses || !again {
		return true
	}
	l.pace.patient(l.lossy())
	l.pass++
	l.retried = len(l.silent)
	l.ports, l.silent, l.next = l.silent, nil, 0
	l.canary.again(l.retried)
	return false
}

// lossy says whether in this pass something got lost that would have been answered: a port that answers was silent, or many that
// were silent before answered now. Silence then proves no filter.
func (l *lane) lossy() bool {
	return l.pace.lossy() || l.pass > 1 && (l.retried-len(l.silent))*10 >= l.retried
}

// permits is the balance of connects that may be sent. Taking them may wait, so that it happens beside the lane.
type permits struct {
	take  func(ctx context.Context, host string, cost int) error
	host  string
	batch int

	mu      sync.Mutex
	balance int
	granted time.Time
	asking  bool
	err     error
}

// permitLife is how long permits of a limited host may lie here before they are sent: what gathered would be a burst.
const permitLife = 100 * time.Millisecond

// available returns how many connects may be sent now, and asks for more, for as many as are needed and at most a batch at a
// time, where the balance runs low; ready is called when the answer has come.
func (p *permits) available(ctx context.Context, needed int, asks *together.Group, ready func()) (int, error) {
	if p.take == nil {
		return math.MaxInt, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.batch < permitBatch && p.balance > 0 && time.Since(p.granted) > permitLife {
		p.balance = 0
	}
	if cost := min(needed-p.balance, p.batch); cost > 0 && p.balance < max(p.batch/2, 1) && !p.asking && p.err == nil {
		p.asking = true
		asks.Go(func() {
			err := p.take(ctx, p.host, cost)
			p.mu.Lock()
			p.asking, p.err = false, err
			if err == nil {
				p.balance += cost
				p.granted = time.Now()
			}
			p.mu.Unlock()
			ready()
		})
	}
	return p.balance, p.err
}

// spend uses n permits up.
func (p *permits) spend(n int) {
	if p.take == nil || n == 0 {
		return
	}
	p.mu.Lock()
	p.balance -= n
	p.mu.Unlock()
}

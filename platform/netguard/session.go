package netguard

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// MaxSessionNames bounds the different names one session resolves. A probe needs its target and a
// few redirects; more is a target that leads us around.
const MaxSessionNames = 64

// Session is the guard for the length of one probe. The first use of a name resolves it and pins
// the first permitted address; every later connection to that name goes to that address, whatever
// DNS says by then. It is safe for the goroutines of the probe and needs no closing.
type Session struct {
	guard *Guard

	mu    sync.Mutex
	names map[string]*pin
}

// pin is what a session knows of one name. The turn (a semaphore of one) serialises resolving, so
// that goroutines which need the name at once send one question; waiting ends with the context.
type pin struct {
	turn     chan struct{}
	resolved bool
	answer   []netip.Addr // as resolved, not judged: judging may need the port
	missing  error        // NotFound, which stays as well

	mu    sync.Mutex
	fixed netip.Addr
}

// NewSession starts a probe's session with nothing resolved.
func (g *Guard) NewSession() *Session {
	return &Session{guard: g, names: make(map[string]*pin)}
}

// Guard is the guard that the session belongs to.
func (s *Session) Guard() *Guard { return s.guard }

// Pin fixes name to addr without asking DNS, as a probe does that was sent to one address of a
// host. The range of addr must be permitted (for some port at least); a name that is already pinned
// to another address stays where it is and gives a [*RefusedError] with [RulePin].
func (s *Session) Pin(name string, addr netip.Addr) error {
	clean, err := parseName(name)
	if err != nil {
		return err
	}
	if err := s.guard.judgeAnyPort(addr); err != nil {
		return err
	}
	p, err := s.pinOf(clean)
	if err != nil {
		return err
	}
	return p.fix(clean, addr.Unmap())
}

// Addr is the address that host stands for in this session: host itself if it is an address, else
// the pinned one; a name without pin is resolved and pinned. The range of the result is permitted;
// a scanner with its own sockets still asks [Guard.JudgeAddrPort] for each port.
func (s *Session) Addr(ctx context.Context, hostname string) (netip.Addr, error) {
	addrs, p, err := s.candidates(ctx, hostname)
	if err != nil {
		return netip.Addr{}, err
	}
	permitted, err := s.permitted(hostname, addrs)
	if err != nil || p == nil {
		return first(permitted), err
	}
	return p.fixFirst(permitted[0]), nil
}

// LookupNetIP resolves name, or takes the session's earlier answer, and gives those of its
// addresses whose range is permitted, IPv4 first: the pinned one alone once there is one.
func (s *Session) LookupNetIP(ctx context.Context, name string) ([]netip.Addr, error) {
	addrs, _, err := s.candidates(ctx, name)
	if err != nil {
		return nil, err
	}
	return s.permitted(name, addrs)
}

// DialContext is [Guard.DialContext] with the session's pins.
func (s *Session) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if err := checkNetwork(network); err != nil {
		return nil, s.refused(ctx, network, address, err)
	}
	h, port, err := splitAddress(address)
	if err != nil {
		return nil, s.refused(ctx, network, address, err)
	}
	if h.addr.IsValid() {
		conn, _, err := s.dial(ctx, network, h.addr.String(), []netip.Addr{h.addr}, port)
		return conn, err
	}
	addrs, p, err := s.candidates(ctx, h.name)
	if err != nil {
		return nil, s.refused(ctx, network, h.name, err)
	}
	conn, used, err := s.dial(ctx, network, h.name, addrs, port)
	if !used.IsValid() {
		return nil, err
	}
	if now := p.fixFirst(used); now != used {
		// Another goroutine of the probe pinned another address in the meantime.
		if err == nil {
			_ = conn.Close()
		}
		conn, _, err = s.dial(ctx, network, h.name, []netip.Addr{now}, port)
	}
	return conn, err
}

// dial goes through the candidates. It stops at the first address that connects or fails for a
// reason of the target's, and reports that address; with no such address the first error counts.
func (s *Session) dial(
	ctx context.Context, network, name string, addrs []netip.Addr, port uint16,
) (conn net.Conn, used netip.Addr, err error) {
	for _, addr := range addrs {
		if !sameFamily(network, addr) {
			continue
		}
		target := netip.AddrPortFrom(addr, port)
		failed := s.guard.JudgeAddrPort(target)
		if failed != nil {
			s.guard.heard(ctx, Dial{Network: network, Host: name, Addr: target, Err: failed})
		} else {
			conn, failed = s.guard.connect(ctx, network, name, target)
			if failed == nil || !noRoute(failed) {
				return conn, usedUnlessRefused(addr, failed), asked(name, failed)
			}
		}
		if err == nil {
			err = asked(name, failed)
		}
	}
	if err == nil {
		err = fault.New(fault.NotFound, "dial %s: no address for %s", name, network)
	}
	return nil, netip.Addr{}, err
}

// usedUnlessRefused keeps a refusal by the control hook from becoming the pin.
func usedUnlessRefused(addr netip.Addr, err error) netip.Addr {
	if refusal := (*RefusedError)(nil); errors.As(err, &refusal) {
		return netip.Addr{}
	}
	return addr
}

// candidates are the addresses host may mean in this session, pinned, resolved or literal. The pin
// is nil for a literal address.
func (s *Session) candidates(ctx context.Context, hostname string) ([]netip.Addr, *pin, error) {
	if s.guard.invalid != nil {
		return nil, nil, s.guard.invalid
	}
	h, err := parseHost(hostname)
	if err != nil {
		return nil, nil, err
	}
	if h.addr.IsValid() {
		return []netip.Addr{h.addr}, nil, nil
	}
	p, err := s.pinOf(h.name)
	if err != nil {
		return nil, nil, err
	}
	if fixed := p.pinned(); fixed.IsValid() {
		return []netip.Addr{fixed}, p, nil
	}
	addrs, err := p.resolve(ctx, s.guard.dns, h.name)
	return addrs, p, err
}

// permitted filters by range; with none left the first refusal is the error.
func (s *Session) permitted(name string, addrs []netip.Addr) ([]netip.Addr, error) {
	var out []netip.Addr
	var refusal error
	for _, addr := range addrs {
		switch err := s.guard.judgeAnyPort(addr); {
		case err == nil:
			out = append(out, addr)
		case refusal == nil:
			refusal = asked(name, err)
		}
	}
	if len(out) == 0 {
		return nil, refusal
	}
	return out, nil
}

func (s *Session) refused(ctx context.Context, network, target string, err error) error {
	s.guard.heard(ctx, Dial{Network: network, Host: target, Err: err})
	return err
}

func (s *Session) pinOf(name string) (*pin, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.names[name]
	if p == nil {
		if len(s.names) == MaxSessionNames {
			return nil, &RefusedError{Target: name, Rule: RulePin, Source: "more names than one probe may resolve"}
		}
		p = &pin{turn: make(chan struct{}, 1)}
		s.names[name] = p
	}
	return p, nil
}

// resolve asks DNS once. A definite answer stays, also a definite no; a failure of the resolver or
// of the caller's time does not, and the next caller asks again.
func (p *pin) resolve(ctx context.Context, dns lookuper, name string) ([]netip.Addr, error) {
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	case <-ctx.Done():
		return nil, fault.Wrap(fault.CodeOf(ctx.Err()), ctx.Err(), "resolve %s", name)
	}
	if p.resolved {
		return p.answer, p.missing
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	addrs, err := dns.lookupAddrs(ctx, name)
	if err != nil && !errors.Is(err, fault.NotFound) {
		return nil, err
	}
	p.resolved, p.answer, p.missing = true, arrange(addrs), err
	return p.answer, p.missing
}

func (p *pin) pinned() netip.Addr {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fixed
}

// fixFirst pins addr if nothing is pinned, and gives what is pinned.
func (p *pin) fixFirst(addr netip.Addr) netip.Addr {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.fixed.IsValid() {
		p.fixed = addr
	}
	return p.fixed
}

func (p *pin) fix(name string, addr netip.Addr) error {
	if now := p.fixFirst(addr); now != addr {
		return &RefusedError{Target: name, Addr: addr, Rule: RulePin, Source: "already pinned to " + now.String()}
	}
	return nil
}

// arrange puts IPv4 first (most networks and scopes have it), without repeats, at most MaxRecords.
func arrange(addrs []netip.Addr) []netip.Addr {
	out := make([]netip.Addr, 0, min(len(addrs), MaxRecords))
	for _, family := range []func(netip.Addr) bool{netip.Addr.Is4, netip.Addr.Is6} {
		for _, addr := range addrs {
			addr = addr.Unmap()
			if family(addr) && len(out) < MaxRecords && !slices.Contains(out, addr) {
				out = append(out, addr)
			}
		}
	}
	return out
}

// asked notes in a refusal which name led to the address.
func asked(name string, err error) error {
	var refusal *RefusedError
	if !errors.As(err, &refusal) || refusal.Target != "" {
		return err
	}
	named := *refusal
	named.Target = name
	return &named
}

func first(addrs []netip.Addr) netip.Addr {
	if len(addrs) == 0 {
		return netip.Addr{}
	}
	return addrs[0]
}

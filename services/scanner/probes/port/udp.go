package port

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/portlist"
	"github.com/riskprofiler/riskprofiler/platform/together"
)

// Bounds of asking over UDP.
const (
	// udpWait is the wait for an answer, after which the request is sent once more: one lost datagram is no lost service, and a
	// host that limits its "port unreachable" (Linux: one a second, icmp_ratelimit) has another one by then.
	udpWait = 1200 * time.Millisecond
	// udpTries is how often the first request of a port is sent.
	udpTries = 2
	// udpMore is the wait for further datagrams of one answer.
	udpMore = 250 * time.Millisecond
	// udpMost bounds what is read of the answer to one request.
	udpMostBytes, udpMostDatagrams = 128 << 10, 256
)

// udpState is what asking a port over UDP showed.
type udpState int

const (
	udpUnasked udpState = iota
	udpSilent           // open, or filtered: UDP does not tell
	udpClosed           // ICMP port unreachable
	udpOpen             // something came back
)

// udpResult is what was seen of all ports.
type udpResult struct {
	asked   []uint16
	state   []udpState
	answers []*modelv1.UdpAnswer
	err     error // why not all were asked
}

func (r *udpResult) count(state udpState) (n int) {
	for _, s := range r.state {
		if s == state {
			n++
		}
	}
	return n
}

// udpWanted are the protocols whose ports the job asks for. A job that lists its ports gets no others.
func (s *scan) udpWanted() []udpProtocol {
	wanted := s.probe.udp()
	if s.listed {
		wanted = slices.DeleteFunc(wanted, func(p udpProtocol) bool { return !s.ports.Contains(p.port) })
	}
	return slices.DeleteFunc(wanted, func(p udpProtocol) bool {
		return s.env.Guard.JudgeAddrPort(netip.AddrPortFrom(s.addr, p.port)) != nil
	})
}

// lookUDP asks all protocols at once; each has a port of its own.
func (s *scan) lookUDP(ctx context.Context) *udpResult {
	wanted := s.udpWanted()
	r := &udpResult{state: make([]udpState, len(wanted)), answers: make([]*modelv1.UdpAnswer, len(wanted))}
	errs := make([]error, len(wanted))
	var group together.Group
	for i, p := range wanted {
		r.asked = append(r.asked, p.port)
		group.Go(func() { r.state[i], r.answers[i], errs[i] = s.askUDP(ctx, p) })
	}
	group.Wait()
	r.err = errors.Join(errs...)
	r.answers = slices.DeleteFunc(r.answers, func(a *modelv1.UdpAnswer) bool { return a == nil })
	return r
}

// askUDP sends the requests of one protocol, one after the other, and keeps the answer with the greatest gain.
func (s *scan) askUDP(ctx context.Context, p udpProtocol) (udpState, *modelv1.UdpAnswer, error) {
	state := udpUnasked
	var best *modelv1.UdpAnswer
	for i, request := range p.requests {
		tries := 1
		if i == 0 {
			tries = udpTries
		}
		for range tries {
			got, answer, err := s.exchange(ctx, p, request)
			if err != nil {
				return state, best, err
			}
			state = max(state, got)
			if answer != nil && (best == nil || answer.GetAmplification() > best.GetAmplification()) {
				answer.Recognized = answer.GetRecognized() || best.GetRecognized()
				best = answer
			}
			if got != udpSilent {
				break
			}
		}
		if state == udpClosed {
			break
		}
	}
	return state, best, nil
}

// exchange sends one request and reads what comes back.
func (s *scan) exchange(ctx context.Context, p udpProtocol, r udpRequest) (udpState, *modelv1.UdpAnswer, error) {
	if err := s.takePermits(ctx, 1); err != nil {
		return udpUnasked, nil, err
	}
	conn, err := s.openUDP(ctx, p)
	if err != nil {
		return udpUnasked, nil, err
	}
	defer func() { _ = conn.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	_ = conn.SetReadDeadline(time.Now().Add(s.udpWait()))
	request := r.make(s.env)
	if _, err := conn.Write(request); err != nil {
		return refusedOr(err, udpSilent), nil, nil // a filter on this machine or on the way: as good as silent
	}
	answer := &modelv1.UdpAnswer{Port: uint32(p.port), Protocol: p.name, RequestBytes: uint32(len(request))}
	pooled, _ := udpBuffers.Get().(*[64 << 10]byte)
	defer udpBuffers.Put(pooled)
	buffer := pooled[:]
	for answer.Datagrams < udpMostDatagrams && answer.ResponseBytes < udpMostBytes {
		n, err := conn.Read(buffer)
		if err != nil {
			if answer.Datagrams == 0 {
				return refusedOr(err, udpSilent), nil, ctx.Err()
			}
			break
		}
		answer.Datagrams++
		answer.ResponseBytes += uint32(n)
		answer.Recognized = answer.GetRecognized() || r.recognizes(request, buffer[:n])
		_ = conn.SetReadDeadline(time.Now().Add(udpMore))
		if ctx.Err() != nil {
			break
		}
	}
	answer.Amplification = float64(answer.GetResponseBytes()) / float64(len(request))
	return udpOpen, answer, nil
}

// udpBuffers hold one datagram each, however large.
var udpBuffers = sync.Pool{New: func() any { return new([64 << 10]byte) }}

func (s *scan) udpWait() time.Duration {
	if s.addr.IsLoopback() {
		return udpWait / 4
	}
	return udpWait
}

// refusedOr tells an ICMP "port unreachable", which the kernel gives as a refused connection, from other errors.
func refusedOr(err error, otherwise udpState) udpState {
	if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, wsaConnReset) {
		return udpClosed
	}
	return otherwise
}

// wsaConnReset is how Windows says it (WSAECONNRESET, winsock error codes).
const wsaConnReset = syscall.Errno(10054)

// openUDP opens a socket for one request. Where the answer may come from another port it is not connected, and hears all ports of
// the target's address and of no other.
func (s *scan) openUDP(ctx context.Context, p udpProtocol) (net.Conn, error) {
	to := netip.AddrPortFrom(s.addr, p.port)
	if !p.elsewhere {
		return s.env.Guard.DialContext(ctx, "udp", to.String())
	}
	if err := s.env.Guard.JudgeAddrPort(to); err != nil {
		return nil, err
	}
	network := "udp4"
	if s.addr.Is6() {
		network = "udp6"
	}
	socket, err := (&net.ListenConfig{Control: hearErrors}).ListenPacket(ctx, network, ":0")
	if err != nil {
		return nil, fmt.Errorf("open socket: %w", err)
	}
	udp, ok := socket.(*net.UDPConn)
	if !ok {
		_ = socket.Close()
		return nil, errors.New("open socket: no UDP")
	}
	return &wideConn{UDPConn: udp, to: to}, nil
}

// wideConn talks to one port and hears all ports of its address.
type wideConn struct {
	*net.UDPConn
	to netip.AddrPort
}

// Write sends to the one port.
func (c *wideConn) Write(b []byte) (int, error) { return c.WriteToUDPAddrPort(b, c.to) }

// Read reads from the one address; what others send is dropped, and does not count as time.
func (c *wideConn) Read(b []byte) (int, error) {
	for {
		n, from, err := c.ReadFromUDPAddrPort(b)
		if err != nil || from.Addr().Unmap() == c.to.Addr() {
			return n, err
		}
	}
}

// udpFact is what was seen over UDP.
func (s *scan) udpFact(r *udpResult) *modelv1.PortsFact {
	fact := s.fact(modelv1.Transport_TRANSPORT_UDP)
	fact.Ports, fact.Udp = portlist.Of(r.asked...).String(), r.answers
	fact.Scanned = uint32(len(r.asked) - r.count(udpUnasked))
	fact.Closed, fact.Filtered = uint32(r.count(udpClosed)), uint32(r.count(udpSilent))
	for i, port := range r.asked {
		if r.state[i] == udpOpen {
			fact.Open = append(fact.Open, uint32(port))
		}
	}
	return fact
}

// udpEvidence writes down what came back: the bytes themselves may hold what is none of our business.
func udpEvidence(fact *modelv1.PortsFact) []byte {
	var text strings.Builder
	fmt.Fprintf(&text, "udp requests to %s ports %s\nscanned %d, closed %d, silent (open or filtered) %d\n",
		fact.GetAddress(), fact.GetPorts(), fact.GetScanned(), fact.GetClosed(), fact.GetFiltered())
	for _, a := range fact.GetUdp() {
		fmt.Fprintf(&text, "%d %s: %d bytes brought %d in %d datagrams (x%.1f), recognized %v\n",
			a.GetPort(), a.GetProtocol(), a.GetRequestBytes(), a.GetResponseBytes(), a.GetDatagrams(), a.GetAmplification(), a.GetRecognized())
	}
	return []byte(text.String())
}

// takePermits takes n permits for the host of the scan.
func (s *scan) takePermits(ctx context.Context, n int) error {
	return s.env.TakePermits(ctx, s.addr.String(), n)
}

package port

import (
	"context"
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/portlist"
	"github.com/riskprofiler/riskprofiler/platform/together"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
)

// Some hosts take a connection on every port: load balancers and SYN proxies that answer for a host behind them, and traps
// that want to look like thousands of services. There a connection proves nothing, and a port counts as open only if
// something speaks. If even ports that nobody uses speak, speech proves little too, and only the likeliest ports are kept.
const (
	// controlPorts are asked beside the scan, chosen at random so that nobody can prepare for them.
	controlPorts = 16
	// controlsOpen of them open mean a host that answers everywhere. Some services listen on high ports; not on twelve.
	controlsOpen = 12
	// fewPorts is a list so short that asking other ports than those would be most of the scan.
	fewPorts = 50
	// manyOpen ports, and half of those asked, mean the same where the controls did not show it.
	manyOpen = 200
	// maxSpeech bounds the ports that are asked to speak, likeliest first.
	maxSpeech = 256
	// speechAtOnce bounds how many ports of a host are asked to speak at a time.
	speechAtOnce = 48
	// speechTimeout is the wait for a first byte, of connections that are open already.
	speechTimeout = 1500 * time.Millisecond
	// babbleKept is the number of ports kept of a host that speaks on ports that nobody uses.
	babbleKept = 20
)

// answersEverywhere asks random ports that nobody uses.
func (s *scan) answersEverywhere(ctx context.Context) (bool, error) {
	found, err := s.probe.scanner.Scan(ctx, s.o, []netip.Addr{s.addr}, s.probe.controls())
	if err != nil {
		return false, err
	}
	return len(found[0].Open) >= controlsOpen, nil
}

// randomPorts are high ports outside of the likely ones.
func randomPorts() []uint16 {
	likely := portlist.Top1000()
	var ports []uint16
	for len(ports) < controlPorts {
		port := uint16(10000 + rand.IntN(portlist.MaxPort-10000)) //nolint:gosec // G404: no secret; ChaCha8 is hard enough to foresee.
		if !likely.Contains(port) && !slices.Contains(ports, port) {
			ports = append(ports, port)
		}
	}
	return ports
}

// tooManyOpen says whether a host that passed the controls still has more open ports than a host has services.
func tooManyOpen(host *HostResult) bool {
	asked := len(host.Open) + host.Closed + host.Filtered
	return len(host.Open) > maxLeads || len(host.Open) >= manyOpen && len(host.Open)*2 >= asked
}

// collapse makes the fact of a host that answers everywhere: candidates (likeliest first) count if they speak.
func (s *scan) collapse(ctx context.Context, candidates []uint16) (*probes.Result, error) {
	asked := candidates[:min(len(candidates), maxSpeech)]
	spoke := s.speaking(ctx, asked)
	if babble := s.probe.controls()[:4]; len(spoke) > babbleKept && len(s.speaking(ctx, babble))*2 >= len(babble) {
		spoke = spoke[:babbleKept]
	}
	result := outcome(modelv1.Outcome_OUTCOME_COMPLETE, "")
	switch {
	case ctx.Err() != nil:
		result = outcome(modelv1.Outcome_OUTCOME_PARTIAL, "time was up while ports were asked to speak: the host takes a connection on every port")
	case len(asked) < s.ports.Len():
		result = outcome(modelv1.Outcome_OUTCOME_PARTIAL, fmt.Sprintf(
			"the host takes a connection on every port: only the %d likeliest of %d ports were asked to speak", len(asked), s.ports.Len()))
	}
	slices.Sort(spoke)
	fact := s.fact(modelv1.Transport_TRANSPORT_TCP)
	fact.Open, fact.Scanned, fact.AllOpen = widen(spoke), uint32(len(asked)), true
	return result, s.report(ctx, result, fact, evidenceText(fact))
}

// speaking returns those of ports where something speaks, in their order.
func (s *scan) speaking(ctx context.Context, ports []uint16) []uint16 {
	spoke := make([]bool, len(ports))
	group := together.Limit(speechAtOnce)
	for i, port := range ports {
		group.Go(func() { spoke[i] = s.speaks(ctx, port) })
	}
	group.Wait()
	var kept []uint16
	for i, port := range ports {
		if spoke[i] {
			kept = append(kept, port)
		}
	}
	return kept
}

// stimuli make a service say something: waiting for one that speaks first, a TLS handshake, and a line that every text
// protocol answers at least with an error. All are sent at once on connections of their own, so that silence costs one wait.
var stimuli = []func(ctx context.Context, conn net.Conn){
	func(context.Context, net.Conn) {},
	func(ctx context.Context, conn net.Conn) {
		client := tls.Client(&noReader{Conn: conn}, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // G402: only a byte is wanted.
		_ = client.HandshakeContext(ctx)
	},
	func(_ context.Context, conn net.Conn) { _, _ = conn.Write([]byte("GET / HTTP/1.0\r\n\r\n")) },
}

// noReader lets TLS send its hello and ends the handshake there: the answer is read by speaks.
type noReader struct{ net.Conn }

func (*noReader) Read([]byte) (int, error) { return 0, net.ErrClosed }

// speaks says whether any stimulus brings a byte back.
func (s *scan) speaks(ctx context.Context, port uint16) bool {
	ctx, cancel := context.WithTimeout(ctx, probes.QuickDialTimeout+speechTimeout)
	defer cancel()
	answers := make(chan bool, len(stimuli))
	for _, stimulus := range stimuli {
		go func() {
			if s.takePermits(ctx, 1) != nil {
				answers <- false
				return
			}
			conn, err := s.env.Guard.DialContext(ctx, "tcp", net.JoinHostPort(s.addr.String(), strconv.Itoa(int(port))))
			if err != nil {
				answers <- false
				return
			}
			defer func() { _ = conn.Close() }()
			stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
			defer stop()
			_ = conn.SetDeadline(time.Now().Add(speechTimeout))
			stimulus(ctx, conn)
			n, _ := conn.Read(make([]byte, 1))
			answers <- n > 0
		}()
	}
	spoke := false
	for range stimuli {
		if <-answers && !spoke {
			spoke = true
			cancel()
		}
	}
	return spoke
}

package port

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/portlist"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
)

// answerer gives the datagrams that answer a request; nil: silence.
type answerer func(request []byte) [][]byte

// serveUDP answers on a new port of address; elsewhere: from another port than it was asked at, as TFTP does.
func serveUDP(t testing.TB, address string, elsewhere bool, answer answerer) uint16 {
	t.Helper()
	socket, err := net.ListenPacket("udp", net.JoinHostPort(address, "0"))
	if err != nil {
		t.Fatal(err)
	}
	from := socket
	if elsewhere {
		if from, err = net.ListenPacket("udp", net.JoinHostPort(address, "0")); err != nil {
			t.Fatal(err)
		}
	}
	var group sync.WaitGroup
	group.Go(func() {
		buffer := make([]byte, 64<<10)
		for {
			n, to, err := socket.ReadFrom(buffer)
			if err != nil {
				return
			}
			for _, datagram := range answer(slices.Clone(buffer[:n])) {
				_, _ = from.WriteTo(datagram, to)
			}
		}
	})
	t.Cleanup(func() { _ = socket.Close(); _ = from.Close(); group.Wait() })
	return socket.LocalAddr().(*net.UDPAddr).AddrPort().Port()
}

// closedUDP is a port that nobody listens on.
func closedUDP(t testing.TB, address string) uint16 {
	t.Helper()
	socket, err := net.ListenPacket("udp", net.JoinHostPort(address, "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = socket.Close() }()
	return socket.LocalAddr().(*net.UDPAddr).AddrPort().Port()
}

// players answer as servers of the protocols do.
var players = map[string]answerer{
	"dns": func(q []byte) [][]byte {
		a := append([]byte{q[0], q[1], 0x81, 0x80}, q[4:17]...)
		return [][]byte{append(a, make([]byte, 800-len(a))...)}
	},
	"tftp": func([]byte) [][]byte { return [][]byte{[]byte("\x00\x05\x00\x01File not found\x00")} },
	"ntp": func(q []byte) [][]byte {
		switch q[0] & 7 {
		case 3:
			a := make([]byte, 48)
			a[0] = 0x24
			copy(a[24:], q[40:48])
			return [][]byte{a}
		case 6:
			return [][]byte{append([]byte{0x16, 0x82, q[2], q[3]}, make([]byte, 400)...)}
		default: // the list of clients, in a hundred datagrams
			return slices.Repeat([][]byte{append([]byte{0xd7, 0, 3, 0x2a}, make([]byte, 436)...)}, 100)
		}
	},
	"snmp": func(q []byte) [][]byte {
		if !bytes.Contains(q, []byte("public")) {
			return nil // an agent of version 2 alone
		}
		return [][]byte{ber(berSequence, ber(berInteger, []byte{1}), ber(berOctets, []byte("public")), ber(0xa2, make([]byte, 300)))}
	},
	"cldap": func([]byte) [][]byte {
		return [][]byte{ber(berSequence, ber(berInteger, []byte{1}), ber(0x64, make([]byte, 2900))), ber(berSequence, ber(berInteger, []byte{1}), ber(0x65, make([]byte, 7)))}
	},
	"quic": func(q []byte) [][]byte {
		if len(q) < 1200 {
			return nil
		}
		a := append([]byte{0x80, 0, 0, 0, 0, 8}, q[15:23]...)
		return [][]byte{append(append(append(a, 8), q[6:14]...), 0, 0, 0, 1)}
	},
	"ike": func(q []byte) [][]byte {
		a := append(slices.Clone(q[:8]), 1, 2, 3, 4, 5, 6, 7, 8, 41, 0x20, 34, 0x20, 0, 0, 0, 0, 0, 0, 0, 36, 0, 0, 0, 8, 0, 0, 0, 14)
		return [][]byte{a}
	},
	"ssdp": func([]byte) [][]byte {
		return slices.Repeat([][]byte{[]byte("HTTP/1.1 200 OK\r\nST: upnp:rootdevice\r\nUSN: uuid:1\r\nLOCATION: http://192.0.2.1/" + strings.Repeat("x", 200) + "\r\n\r\n")}, 6)
	},
	"mdns": func([]byte) [][]byte { return [][]byte{append([]byte{0, 0, 0x84, 0, 0, 0, 0, 1}, make([]byte, 60)...)} },
	"memcached": func(q []byte) [][]byte {
		return [][]byte{append(slices.Clone(q[:8]), []byte(strings.Repeat("STAT x 1\r\n", 120))...)}
	},
	"wireguard": func([]byte) [][]byte { return nil },
}

// udpProbe asks the given protocols at the ports of the test.
func udpProbe(list []udpProtocol) *Probe {
	p := New()
	p.udp = func() []udpProtocol { return slices.Clone(list) }
	return p
}

// at is the protocol of that name at another port.
func at(name string, port uint16) udpProtocol {
	all := udpProtocols()
	p := all[slices.IndexFunc(all, func(p udpProtocol) bool { return p.name == name })]
	p.port = port
	return p
}

func udpFactOf(t *testing.T, r *probes.Result) *modelv1.PortsFact {
	t.Helper()
	for _, o := range r.Observations {
		if o.GetKey() == "ports/udp" {
			return o.GetPorts()
		}
	}
	t.Fatalf("no fact about UDP in %+v", r)
	return nil
}

// Every protocol is asked so that its servers answer, on both families; silence is never open, and a closed port is closed.
func TestUDP(t *testing.T) {
	addresses := []string{"127.0.6.1"}
	if socket, err := net.ListenPacket("udp", "[::1]:0"); err == nil {
		_ = socket.Close()
		addresses = append(addresses, "::1")
	}
	for _, address := range addresses {
		t.Run(address, func(t *testing.T) {
			var list []udpProtocol
			var open, all []uint16
			for _, p := range udpProtocols() {
				port := serveUDP(t, address, p.elsewhere, players[p.name])
				list, all = append(list, at(p.name, port)), append(all, port)
				if p.name != "wireguard" {
					open = append(open, port)
				}
			}
			closed := []uint16{closedUDP(t, address), closedUDP(t, address)}
			list = append(list, at("dns", closed[0]), at("tftp", closed[1]))
			all = append(all, closed...)
			listener, _ := listen(t, net.JoinHostPort(address, "0"))
			blobs := new(shelf)
			result, err := udpProbe(list).Scan(t.Context(), probes.Env{Guard: private(), Blobs: blobs}, portJob(address, append(all, listener)...))
			if err != nil {
				t.Fatal(err)
			}
			fact := udpFactOf(t, result)
			slices.Sort(open)
			got := slices.Sorted(slices.Values(fact.GetOpen()))
			if !slices.Equal(got, widen(open)) || fact.GetTransport() != modelv1.Transport_TRANSPORT_UDP {
				t.Errorf("open %v, want %v", got, open)
			}
			if fact.GetClosed() != 2 || fact.GetFiltered() != 1 || int(fact.GetScanned()) != len(all) || fact.GetPorts() != portlist.Of(all...).String() {
				t.Errorf("%v", fact)
			}
			for _, a := range fact.GetUdp() {
				if !a.GetRecognized() || a.GetDatagrams() == 0 || a.GetAmplification() != float64(a.GetResponseBytes())/float64(a.GetRequestBytes()) {
					t.Errorf("%v", a)
				}
				least := map[string]float64{"ntp": 5000, "dns": 28, "cldap": 50, "memcached": 70, "ssdp": 5, "snmp": 5}[a.GetProtocol()]
				if a.GetAmplification() < least || least == 0 && a.GetAmplification() > 3 {
					t.Errorf("%s: x%.1f, want %v or more", a.GetProtocol(), a.GetAmplification(), least)
				}
			}
			leads := 0
			for _, l := range result.Leads {
				if l.GetTarget().GetTransport() == modelv1.Transport_TRANSPORT_UDP {
					leads++
				}
			}
			if leads != len(open) || len(result.Observations) != 2 || result.Outcome != modelv1.Outcome_OUTCOME_COMPLETE {
				t.Errorf("%d leads over UDP, %d facts, %v %q", leads, len(result.Observations), result.Outcome, result.Reason)
			}
		})
	}
}

// What is sent without end is read within bounds, and what another address sends is not heard.
func TestUDPBounds(t *testing.T) {
	stop := make(chan struct{})
	var socket net.PacketConn
	flood := func([]byte) [][]byte { return slices.Repeat([][]byte{make([]byte, 60000)}, 50) }
	port := serveUDP(t, "127.0.6.2", false, flood)
	stranger := func() uint16 {
		var err error
		if socket, err = net.ListenPacket("udp", "127.0.6.2:0"); err != nil {
			t.Fatal(err)
		}
		other, err := net.ListenPacket("udp", "127.0.6.9:0")
		if err != nil {
			t.Fatal(err)
		}
		var group sync.WaitGroup
		group.Go(func() {
			defer close(stop)
			buffer := make([]byte, 2048)
			for {
				_, to, err := socket.ReadFrom(buffer)
				if err != nil {
					return
				}
				_, _ = other.WriteTo([]byte("\x00\x05\x00\x01no\x00"), to)
			}
		})
		t.Cleanup(func() { _ = socket.Close(); _ = other.Close(); group.Wait() })
		return socket.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	}()
	result, err := udpProbe([]udpProtocol{at("dns", port), at("tftp", stranger)}).
		Scan(t.Context(), probes.Env{Guard: private()}, portJob("127.0.6.2", port, stranger))
	if err != nil {
		t.Fatal(err)
	}
	fact := udpFactOf(t, result)
	if len(fact.GetOpen()) != 1 || fact.GetFiltered() != 1 {
		t.Errorf("%v, want the stranger's answer not heard", fact)
	}
	if n := fact.GetUdp()[0].GetResponseBytes(); n > udpMostBytes+64<<10 {
		t.Errorf("%d bytes were read", n)
	}
}

// A list of ports is kept to, permits are taken for every datagram, and without permits nothing is sent.
func TestUDPKeepsToWhatIsPermitted(t *testing.T) {
	var mu sync.Mutex
	asked := 0
	count := func([]byte) [][]byte {
		mu.Lock()
		defer mu.Unlock()
		asked++
		return nil
	}
	wanted, unwanted := serveUDP(t, "127.0.6.3", false, count), serveUDP(t, "127.0.6.3", false, count)
	probe := udpProbe([]udpProtocol{at("dns", wanted), at("dns", unwanted)})
	taken := 0
	env := probes.Env{Guard: private(), Permit: func(_ context.Context, host string, cost int) error {
		mu.Lock()
		defer mu.Unlock()
		if host != "127.0.6.3" {
			t.Errorf("permit for %q", host)
		}
		taken += cost
		return nil
	}}
	s := &scan{probe: probe, env: env, addr: netip.MustParseAddr("127.0.6.3"), ports: portlist.Of(wanted), listed: true}
	if r := s.lookUDP(t.Context()); r.count(udpSilent) != 1 || len(r.asked) != 1 {
		t.Errorf("%+v", r)
	}
	mu.Lock()
	if asked != udpTries || taken != udpTries {
		t.Errorf("%d datagrams with %d permits, want %d", asked, taken, udpTries)
	}
	asked = 0
	mu.Unlock()
	s.env.Permit = func(context.Context, string, int) error { return context.DeadlineExceeded }
	if r := s.lookUDP(t.Context()); r.err == nil || r.count(udpUnasked) != 1 {
		t.Errorf("%+v, want nothing asked", r)
	}
	mu.Lock()
	defer mu.Unlock()
	if asked != 0 {
		t.Error("sent without a permit")
	}
}

// Any answer is read without harm by every protocol.
func FuzzUDPAnswer(f *testing.F) {
	for _, p := range udpProtocols() {
		for _, r := range p.requests {
			for _, datagram := range players[p.name](r.make(probes.Env{})) {
				f.Add(datagram)
				break
			}
		}
	}
	var requests [][]byte
	var list []udpRequest
	for _, p := range udpProtocols() {
		for _, r := range p.requests {
			list, requests = append(list, r), append(requests, r.make(probes.Env{}))
		}
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		for i, r := range list {
			if r.recognizes(requests[i], answer) && len(answer) == 0 {
				t.Error("nothing was recognized as something")
			}
		}
	})
}

func TestUDPRequestsAreSmallAndDiffer(t *testing.T) {
	for _, p := range udpProtocols() {
		for _, r := range p.requests {
			request := r.make(probes.Env{})
			if limit := map[string]int{"quic": 1200, "ike": 400}[p.name]; len(request) > max(limit, 250) {
				t.Errorf("%s: a request of %d bytes", p.name, len(request))
			}
			if r.recognizes(request, request) && p.name != "memcached" && p.name != "ike" && p.name != "snmp" {
				t.Errorf("%s: a host that echoes counts as recognized", p.name)
			}
		}
	}
}

// BenchmarkUDP asks closed ports, whose refusal comes at once (an answer would be waited for whether there is more of it), against
// a bare loop of the same datagrams by as many goroutines.
func BenchmarkUDP(b *testing.B) {
	const address = "127.0.6.4"
	var list []udpProtocol
	for _, p := range udpProtocols() {
		list = append(list, at(p.name, closedUDP(b, address)))
	}
	s := &scan{probe: udpProbe(list), env: probes.Env{Guard: private()}, addr: netip.MustParseAddr(address)}
	b.Run("floor", func(b *testing.B) {
		for b.Loop() {
			var group sync.WaitGroup
			for _, p := range list {
				group.Go(func() {
					conn, err := net.Dial("udp", netip.AddrPortFrom(s.addr, p.port).String())
					if err != nil {
						b.Error(err)
						return
					}
					_, _ = conn.Write(p.requests[0].make(s.env))
					_, _ = conn.Read(make([]byte, 4096))
					_ = conn.Close()
				})
			}
			group.Wait()
		}
		b.ReportMetric(float64(b.N*len(list))/b.Elapsed().Seconds(), "ports/s")
	})
	b.Run("scan", func(b *testing.B) {
		for b.Loop() {
			if r := s.lookUDP(b.Context()); r.count(udpClosed) != len(list) {
				b.Fatalf("%+v", r)
			}
		}
		b.ReportMetric(float64(b.N*len(list))/b.Elapsed().Seconds(), "ports/s")
	})
}

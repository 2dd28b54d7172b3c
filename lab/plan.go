package lab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// host is one address of the lab with what runs on it, or one name that leads nowhere.
type host struct {
	// number of the address in the network; 0 for a name without an address.
	number int
	// name that leads to the address, empty for none. Its zone must be in the plan.
	name string
	// cname makes the name an alias of a name outside the lab.
	cname string
	// seed says how an assessment is told of the host.
	seed seed
	// note and checks: what is found on the host as a whole.
	note   string
	checks []string
	// servers: what listens there.
	servers []server
}

// seed is a way to name a target.
type seed int

const (
	// seedHost is the name, or the address of a host without one. The usual case.
	seedHost seed = iota
	// seedPort is the address with the port of the first server.
	seedPort
	// seedURL is the name, and the web address of the first server as well.
	seedURL
	// seedNone leaves it to discovery: a record of the host's own zone leads there.
	seedNone
	// seedHidden is a host that no scan may find or touch.
	seedHidden
)

// discoverable says whether a scan reaches the host.
func (h host) discoverable() bool { return h.seed != seedHidden }

// server is one listening port.
type server struct {
	port int
	// udp opens the port for UDP too.
	udp bool
	// udpOnly opens the port for UDP alone.
	udpOnly bool
	// run serves; see the constructors in web.go, services*.go, hostile.go and dns.go.
	run starter
	// note says in a few words what it is.
	note string
	// checks that hold there.
	checks []string
}

// transport is where findings of the server lie.
func (s server) transport() string {
	if s.udpOnly {
		return "udp"
	}
	return "tcp"
}

// plan is the lab before anything is opened: plain data.
type plan struct {
	network netip.Prefix
	offset  int
	hosts   []host
	zones   []zone
}

// firstHostile is the number from which on hosts are hostile.
const firstHostile = 100

// Bounds of a lab.
const (
	minPort = 1024
	maxPort = 65535
	// widestNetwork in bits: 127.0.0.0/8 is all of loopback (RFC 1122, section 3.2.1.3).
	widestNetwork = 8
	// narrowestNetwork in bits: the tables use numbers up to 254.
	narrowestNetwork = 24
)

func newPlan(o Options, hosts []host, zones []zone) (*plan, error) {
	network := o.Network
	if !network.IsValid() {
		network = DefaultNetwork
	}
	network = network.Masked()
	loopback := netip.PrefixFrom(DefaultNetwork.Addr(), widestNetwork)
	if !loopback.Overlaps(network) || network.Bits() < widestNetwork {
		return nil, fmt.Errorf("network %v: a lab lies inside %v, where nobody else can reach it", network, loopback)
	}
	if network.Bits() > narrowestNetwork {
		return nil, fmt.Errorf("network %v: too small, want a /%d or wider", network, narrowestNetwork)
	}
	p := &plan{network: network, offset: o.PortOffset, hosts: hosts, zones: zones}
	return p, p.check()
}

// check finds what cannot be opened, before anything is.
func (p *plan) check() error {
	room := 1<<(32-p.network.Bits()) - 2
	for _, h := range p.hosts {
		if h.number > room {
			return fmt.Errorf("network %v: room for %d addresses, number %d is wanted", p.network, room, h.number)
		}
		for _, s := range h.servers {
			if port := p.port(s.port); port <= minPort || port > maxPort {
				return fmt.Errorf("port offset %d: makes port %d of %d, want %d to %d", p.offset, port, s.port, minPort+1, maxPort)
			}
		}
	}
	if len(p.hosts) == 0 {
		return errors.New("no hosts")
	}
	return nil
}

// address returns the address of the given number in the network.
func (p *plan) address(number int) netip.Addr {
	base := p.network.Addr().As4()
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], binary.BigEndian.Uint32(base[:])+uint32(number))
	return netip.AddrFrom4(b)
}

// port returns where a port of the tables really lies.
func (p *plan) port(declared int) int { return declared + p.offset }

// resolver returns where the DNS server listens, "" without zones.
func (p *plan) resolver() string {
	if len(p.zones) == 0 {
		return ""
	}
	return hostPort(p.address(numberDNS).String(), p.port(portDNS))
}

func (p *plan) targets() []string {
	var targets []string
	for _, z := range p.zones {
		targets = append(targets, z.name)
	}
	for _, h := range p.hosts {
		targets = append(targets, p.targetsOf(h)...)
	}
	return targets
}

func (p *plan) targetsOf(h host) []string {
	owner := h.name
	if owner == "" {
		owner = p.address(h.number).String()
	}
	switch h.seed {
	case seedHost:
	case seedPort:
		return []string{hostPort(owner, p.port(h.servers[0].port))}
	case seedURL:
		return []string{owner, "http://" + hostPort(owner, p.port(h.servers[0].port)) + "/"}
	case seedNone, seedHidden:
		return nil
	}
	return []string{owner}
}

// portList returns all ports as text, ranges drawn together.
func (p *plan) portList() string {
	var ports []int
	for _, h := range p.hosts {
		if h.seed == seedHidden && h.number < firstHostile {
			continue // nobody looks for it
		}
		for _, s := range h.servers {
			ports = append(ports, p.port(s.port))
		}
	}
	slices.Sort(ports)
	ports = slices.Compact(ports)
	var parts []string
	for i := 0; i < len(ports); {
		j := i
		for j+1 < len(ports) && ports[j+1] == ports[j]+1 {
			j++
		}
		part := strconv.Itoa(ports[i])
		if j > i {
			part += "-" + strconv.Itoa(ports[j])
		}
		parts = append(parts, part)
		i = j + 1
	}
	return strings.Join(parts, ",")
}

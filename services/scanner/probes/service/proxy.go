package service

import (
	"encoding/binary"
	"net/netip"
	"strings"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

// A proxy that forwards for strangers is proven by letting it connect to itself: to its own address, which is what is being
// scanned and so in scope. Nothing else is reached through it.

// isProxy knows web proxies by what they call themselves.
func isProxy(t *talk, root answer) bool {
	if root.header.Get("X-Squid-Error") != "" || root.header.Get("Proxy-Agent") != "" || root.header.Get("Proxy-Authenticate") != "" {
		return true
	}
	server := strings.ToLower(root.header.Get("Server"))
	for _, name := range []string{"squid", "tinyproxy", "privoxy", "ccproxy", "3proxy"} {
		if strings.HasPrefix(server, name) {
			return true
		}
	}
	return strings.Contains(strings.ToLower(string(root.body)), "tinyproxy") && t.prober.port == 8888
}

var proxyProducts = []product{
	{"squid", "Squid", "squid-cache", "squid", "squid/"},
	{"tinyproxy", "Tinyproxy", "tinyproxy", "tinyproxy", "tinyproxy/"},
	{"privoxy", "Privoxy", "privoxy", "privoxy", "privoxy "},
	{"3proxy", "3proxy", "3proxy", "3proxy", ""},
}

func lookProxy(t *talk, root answer, fact *modelv1.ServiceFact) bool {
	for _, text := range []string{root.header.Get("Server"), root.header.Get("Proxy-Agent"), root.header.Get("Via")} {
		if fact.GetProduct() == "" {
			nameProduct(fact, text, proxyProducts)
		}
	}
	if !t.prober.thorough {
		return true
	}
	// Many proxies connect to 443 only. That nothing listens there is told by an error of the proxy's own, after it tried.
	own := t.prober.hostHeader()
	for _, target := range []string{own, strings.TrimSuffix(own, portSuffix(own)) + ":443"} {
		if tunnel, err := t.connectThrough(target); err == nil && opensTunnel(tunnel) {
			if control, err := t.connectThrough(strings.TrimSuffix(own, portSuffix(own)) + ":1"); err == nil && !opensTunnel(control) {
				proven(fact, "CONNECT to itself at "+target+": "+tunnel.banner())
			}
			return true
		} else if err == nil && strings.HasPrefix(tunnel.header.Get("X-Squid-Error"), "ERR_CONNECT_FAIL") {
			proven(fact, "CONNECT to itself at "+target+": tried, "+tunnel.header.Get("X-Squid-Error"))
			return true
		}
	}
	return true
}

func portSuffix(hostPort string) string { return hostPort[strings.LastIndexByte(hostPort, ':'):] }

// connectThrough asks for a tunnel (RFC 9110 section 9.3.6), on a connection that is closed again before a word goes through it.
func (t *talk) connectThrough(target string) (answer, error) {
	other, err := t.another()
	if err != nil {
		return answer{}, err
	}
	defer t.done(other)
	if err := other.send([]byte("CONNECT " + target + " HTTP/1.1\r\nHost: " + target + "\r\nUser-Agent: " + userAgent + "\r\n\r\n")); err != nil {
		return answer{}, err
	}
	other.gather(other.patience.step, func(rest []byte) bool { return strings.Contains(string(rest), "\r\n\r\n") })
	return parseAnswer(other.rest())
}

// opensTunnel: a tunnel has no length and no body; servers that answer 200 to everything have.
func opensTunnel(a answer) bool {
	return a.status == 200 && a.header.Get("Content-Length") == "" && a.header.Get("Transfer-Encoding") == "" && a.header.Get("Content-Type") == "" && len(a.body) == 0
}

func (a answer) banner() string {
	if a.status == 200 {
		return "200, tunnel open"
	}
	return "refused"
}

// socks offers to connect without credentials (RFC 1928 section 3); where that is taken, it asks to be connected to the proxy
// itself, and leaves.
func socks(t *talk) *modelv1.ServiceFact {
	if t.send([]byte{5, 1, 0}) != nil {
		return nil
	}
	choice, err := t.take(2)
	if err != nil || choice[0] != 5 || choice[1] != 0 && choice[1] != 0xff || len(t.rest()) > 0 {
		return nil
	}
	fact := named("socks")
	if choice[1] != 0 {
		detail(fact, "socks.authentication", "required")
		return fact
	}
	detail(fact, "socks.authentication", "none")
	address, err := netip.ParseAddr(t.prober.reach)
	if err != nil || !t.prober.thorough {
		return fact
	}
	request := []byte{5, 1, 0, 1}
	if address.Is6() && !address.Is4In6() {
		request[3] = 4
	}
	request = binary.BigEndian.AppendUint16(append(request, address.Unmap().AsSlice()...), t.prober.port)
	if t.send(request) != nil {
		return fact
	}
	if reply, err := t.take(10); err == nil && reply[0] == 5 && reply[1] == 0 {
		proven(fact, "CONNECT to itself without credentials: succeeded")
	}
	return fact
}

package service

import (
	"encoding/binary"
	"strings"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

// dnsID is the id of our questions.
const dnsID = "\x72\x70"

// versionBind asks a name server for its version: TXT of version.bind in class CHAOS, behind its length as over TCP.
var versionBind = []byte("\x00\x1e" + dnsID + "\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x07version\x04bind\x00\x00\x10\x00\x03")

// rootServers asks for the name servers of the root with recursion wanted and room for 4,096 bytes: every resolver knows them, and
// who may not use it gets none.
var rootServers = []byte("\x00\x1c" + dnsID + "\x01\x00\x00\x01\x00\x00\x00\x00\x00\x01\x00\x00\x02\x00\x01" + "\x00\x00\x29\x10\x00\x00\x00\x80\x00\x00\x00")

// dnsProducts are what name servers call themselves.
var dnsProducts = []product{
	{"dnsmasq-", "dnsmasq", "thekelleys", "dnsmasq", "dnsmasq-"},
	{"unbound", "Unbound", "nlnetlabs", "unbound", "unbound "},
	{"powerdns authoritative", "PowerDNS Authoritative Server", "powerdns", "authoritative_server", "authoritative server "},
	{"powerdns recursor", "PowerDNS Recursor", "powerdns", "recursor", "recursor "},
	{"nsd ", "NSD", "nlnetlabs", "name_server_daemon", "nsd "},
	{"knot dns ", "Knot DNS", "nic", "knot_dns", "knot dns "},
	{"knot resolver", "Knot Resolver", "nic", "knot_resolver", "knot resolver "},
	{"coredns-", "CoreDNS", "linuxfoundation", "coredns", "coredns-"},
	{"microsoft dns", "Microsoft DNS", "microsoft", "windows_server", "microsoft dns "},
	{"bind ", "ISC BIND", "isc", "bind", "bind "},
}

func dnsOverTCP(t *talk) *modelv1.ServiceFact {
	version, err := t.dnsAsk(versionBind)
	if err != nil {
		return nil
	}
	fact := dnsFact(version)
	if t.prober.thorough {
		if other, err := t.another(); err == nil {
			if roots, err := other.dnsAsk(rootServers); err == nil {
				noteRecursion(fact, roots)
			}
			t.done(other)
		}
	}
	return fact
}

// dnsAsk sends a question behind its length and reads the answer.
func (t *talk) dnsAsk(question []byte) ([]byte, error) {
	if err := t.send(question); err != nil {
		return nil, err
	}
	head, err := t.take(2)
	if err != nil {
		return nil, err
	}
	message, err := t.take(int(binary.BigEndian.Uint16(head)))
	if err != nil {
		return nil, err
	}
	if !isDNSAnswer(message) {
		return nil, errNotIt
	}
	return message, nil
}

func dnsOverUDP(d *datagrams) *modelv1.ServiceFact {
	version, err := d.ask(versionBind[2:], isDNSAnswer)
	roots, refused := d.ask(rootServers[2:], isDNSAnswer)
	if err != nil && refused != nil {
		return nil
	}
	fact := dnsFact(version)
	if refused == nil {
		noteRecursion(fact, roots)
	}
	return fact
}

func isDNSAnswer(message []byte) bool {
	return len(message) >= 12 && string(message[:2]) == dnsID && message[2]&0x80 != 0
}

// dnsFact names the server by its answer to versionBind.
func dnsFact(message []byte) *modelv1.ServiceFact {
	fact := named("dns")
	version := chaosText(message)
	detail(fact, "dns.version", version)
	fact.Banner = safe(version, maxBanner)
	if version != "" && isDigit(version[0]) { // BIND says only the number
		number, revision, _ := strings.Cut(version, "-")
		setProduct(fact, "ISC BIND", "isc", "bind", number)
		// Debian and Ubuntu add their revision, then their name: 9.18.28-1~deb12u2-Debian; older ones the name alone.
		if before, family, found := cutLast(revision, "-"); found {
			setPackage(fact, "bind", family, before)
		} else {
			setPackage(fact, "bind", revision, "")
		}
		return fact
	}
	nameProduct(fact, version, dnsProducts)
	return fact
}

// cutLast divides at the last sep.
func cutLast(text, sep string) (before, after string, found bool) {
	i := strings.LastIndex(text, sep)
	if i < 0 {
		return text, "", false
	}
	return text[:i], text[i+len(sep):], true
}

// noteRecursion notes whether the server answers strangers about names that are not its own: it says that it does, no error,
// and there are answers.
func noteRecursion(fact *modelv1.ServiceFact, message []byte) {
	open := message[3]&0x80 != 0 && message[3]&0x0f == 0 && binary.BigEndian.Uint16(message[6:]) > 0
	if open {
		detail(fact, "dns.recursion", "open")
	} else {
		detail(fact, "dns.recursion", "refused")
	}
}

// chaosText reads the first text of the first answer.
func chaosText(message []byte) string {
	if len(message) < 12 || binary.BigEndian.Uint16(message[6:]) == 0 {
		return ""
	}
	// The question is ours, so that its length is known; the answer begins with a pointer to its name or the name itself.
	question := len(versionBind) - 2 - 12
	if len(message) < 12+question {
		return ""
	}
	answer := message[12+question:]
	for len(answer) > 0 && answer[0] != 0 && answer[0] < 0xc0 {
		label := int(answer[0]) + 1
		if label > len(answer) {
			return ""
		}
		answer = answer[label:]
	}
	skip := 1
	if len(answer) > 0 && answer[0] >= 0xc0 {
		skip = 2
	}
	// Type, class, TTL, length, then a text behind its length.
	if len(answer) < skip+11 || binary.BigEndian.Uint16(answer[skip:]) != 16 {
		return ""
	}
	text := answer[skip+10:]
	return string(text[1:min(1+int(text[0]), len(text))])
}

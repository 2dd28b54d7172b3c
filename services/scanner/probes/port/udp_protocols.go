package port

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"

	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
)

// udpProtocol is a service that is worth asking over UDP, at its port, by requests that every server of the protocol expects and
// that change nothing. A service over UDP answers only what it understands, so that a port cannot be asked without a protocol.
type udpProtocol struct {
	name string
	port uint16
	// elsewhere says that the answer may come from another port of the target.
	elsewhere bool
	requests  []udpRequest
}

// udpRequest is one kind of request.
type udpRequest struct {
	make func(env probes.Env) []byte
	// recognizes says whether the first bytes of answer are of this protocol, and of an answer to request where it tells.
	recognizes func(request, answer []byte) bool
}

// udpProtocols are the services whose exposure over UDP matters most: amplifiers, management, tunnels.
func udpProtocols() []udpProtocol {
	return []udpProtocol{
		{name: "dns", port: 53, requests: []udpRequest{{dnsQuestion, sameDNS}}},
		{name: "tftp", port: 69, elsewhere: true, requests: []udpRequest{{tftpRead, isTFTP}}},
		{name: "ntp", port: 123, requests: []udpRequest{{ntpTime, isNTPTime}, {ntpVariables, isNTPControl}, {ntpMonitor, isNTPPrivate}}},
		{name: "snmp", port: 161, requests: []udpRequest{{snmpDiscovery, isSNMP}, {snmpBulk, isSNMP}}},
		{name: "cldap", port: 389, requests: []udpRequest{{ldapRoot, isLDAP}}},
		{name: "quic", port: 443, requests: []udpRequest{{quicInitial, isVersionNegotiation}}},
		{name: "ike", port: 500, requests: []udpRequest{{ikeInit, isIKE}}},
		{name: "ssdp", port: 1900, elsewhere: true, requests: []udpRequest{{ssdpSearch, isSSDP}}},
		{name: "mdns", port: 5353, requests: []udpRequest{{mdnsServices, isDNS}}},
		{name: "memcached", port: 11211, requests: []udpRequest{{memcachedStats, isMemcached}}},
		{name: "wireguard", port: 51820, requests: []udpRequest{{wireguardInitiation, neverAnswered}}},
	}
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	return b
}

// dnsQuestion asks for the name servers of the root, recursion desired, with room for 1,232 bytes (RFC 6891; the size of DNS flag
// day 2020): a server that answers it to a stranger is an open resolver or sends referrals, and what it sends is its gain.
func dnsQuestion(probes.Env) []byte {
	return append(random(2), "\x01\x00\x00\x01\x00\x00\x00\x00\x00\x01"+"\x00\x00\x02\x00\x01"+"\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00"...)
}

func isDNS(_, answer []byte) bool { return len(answer) >= 12 && answer[2]&0x80 != 0 }

func sameDNS(request, answer []byte) bool {
	return isDNS(request, answer) && bytes.Equal(answer[:2], request[:2])
}

// tftpRead asks for a file that no server has (RFC 1350): the answer is an error.
func tftpRead(probes.Env) []byte { return []byte("\x00\x01riskprofiler-asks-for-no-file\x00octet\x00") }

func isTFTP(_, answer []byte) bool {
	// DATA, ERROR (RFC 1350) and OACK (RFC 2347).
	return len(answer) >= 4 && answer[0] == 0 && (answer[1] == 3 || answer[1] == 5 || answer[1] == 6)
}

// ntpTime asks for the time as a client (RFC 5905: version 4, mode 3). The transmit timestamp is random, as RFC 9109 and the
// data-minimisation draft advise, and comes back as the origin.
func ntpTime(probes.Env) []byte {
	return append(append([]byte{0x23}, make([]byte, 39)...), random(8)...)
}

func isNTPTime(request, answer []byte) bool {
	return len(answer) >= 48 && answer[0]&7 == 4 && bytes.Equal(answer[24:32], request[40:48])
}

// ntpVariables reads the system's variables (mode 6, opcode 2, RFC 9327): 12 bytes that bring some hundreds.
func ntpVariables(probes.Env) []byte {
	return append(append([]byte{0x16, 2}, random(2)...), make([]byte, 8)...)
}

func isNTPControl(request, answer []byte) bool {
	return len(answer) >= 12 && answer[0]&7 == 6 && answer[1]&0x80 != 0 && bytes.Equal(answer[2:4], request[2:4])
}

// ntpMonitor asks for the list of clients (mode 7, MON_GETLIST_1), which ntpd has refused since 4.2.7p26 (CVE-2013-5211).
func ntpMonitor(probes.Env) []byte { return []byte{0x17, 0, 3, 0x2a, 0, 0, 0, 0} }

func isNTPPrivate(_, answer []byte) bool {
	return len(answer) >= 8 && answer[0]&0x87 == 0x87 && answer[3] == 0x2a
}

// ber is one value of ASN.1 in BER with a definite length below 64 KiB.
func ber(tag byte, parts ...[]byte) []byte {
	body := bytes.Join(parts, nil)
	switch n := len(body); {
	case n < 0x80:
		return append([]byte{tag, byte(n)}, body...)
	default:
		return append([]byte{tag, 0x82, byte(n >> 8), byte(n)}, body...)
	}
}

const (
	berInteger, berOctets, berNull, berOID, berSequence = 0x02, 0x04, 0x05, 0x06, 0x30
)

// snmpDiscovery asks an SNMPv3 agent for its engine id, which needs no name and no key (RFC 3414 section 4).
func snmpDiscovery(probes.Env) []byte {
	id := ber(berInteger, []byte{0x11}, random(2))
	none := ber(berOctets)
	security := ber(berSequence, none, ber(berInteger, []byte{0}), ber(berInteger, []byte{0}), none, none, none)
	get := ber(0xa0, id, ber(berInteger, []byte{0}), ber(berInteger, []byte{0}), ber(berSequence))
	return ber(berSequence, ber(berInteger, []byte{3}),
		ber(berSequence, id, ber(berInteger, []byte{0, 0xff, 0xe3}), ber(berOctets, []byte{4}), ber(berInteger, []byte{3})),
		ber(berOctets, security), ber(berSequence, none, none, get))
}

// snmpBulk reads ten values from the system group as "public" (RFC 3416): the request with which such agents are abused.
func snmpBulk(probes.Env) []byte {
	system := ber(berSequence, ber(berOID, []byte{0x2b, 6, 1, 2, 1, 1}), ber(berNull))
	bulk := ber(0xa5, ber(berInteger, []byte{0x11}, random(2)), ber(berInteger, []byte{0}), ber(berInteger, []byte{10}), ber(berSequence, system))
	return ber(berSequence, ber(berInteger, []byte{1}), ber(berOctets, []byte("public")), bulk)
}

// inside gives what follows the tag and length of a BER sequence.
func inside(answer []byte) []byte {
	if len(answer) < 2 || answer[0] != berSequence {
		return nil
	}
	if long := int(answer[1]); long > 0x80 && long <= 0x84 && len(answer) > 2+long-0x80 {
		return answer[2+long-0x80:]
	}
	return answer[2:]
}

func isSNMP(_, answer []byte) bool {
	body := inside(answer)
	return len(body) > 4 && body[0] == berInteger && body[1] == 1 && (body[2] <= 1 || body[2] == 3) && (body[3] == berOctets || body[3] == berSequence)
}

// ldapRoot reads the root entry over UDP (CLDAP, RFC 1798; Active Directory uses it to find domain controllers).
func ldapRoot(probes.Env) []byte {
	search := ber(0x63, ber(berOctets), ber(0x0a, []byte{0}), ber(0x0a, []byte{0}), ber(berInteger, []byte{0}), ber(berInteger, []byte{0}),
		ber(0x01, []byte{0}), ber(0x87, []byte("objectClass")), ber(berSequence))
	return ber(berSequence, ber(berInteger, []byte{1}), search)
}

func isLDAP(_, answer []byte) bool {
	body := inside(answer)
	// The same message id, then an entry or the end of the result.
	return len(body) > 4 && bytes.HasPrefix(body, []byte{berInteger, 1, 1}) && (body[3] == 0x64 || body[3] == 0x65)
}

// quicInitial is a first packet of a version that does not exist: a server must answer with those it has (RFC 9000 section 6.1;
// versions of the form 0x?a?a?a?a are reserved for this). It has the 1,200 bytes that a server asks of a first packet.
func quicInitial(probes.Env) []byte {
	packet := make([]byte, 0, 1200)
	packet = append(packet, 0xc0, 0x1a, 0x2a, 0x3a, 0x4a, 8)
	packet = append(append(packet, random(8)...), 8)
	packet = append(packet, random(8)...)
	return packet[:cap(packet)]
}

func isVersionNegotiation(request, answer []byte) bool {
	// Its destination is the source that the request named.
	return len(answer) >= 14 && answer[0]&0x80 != 0 && binary.BigEndian.Uint32(answer[1:]) == 0 && answer[5] == 8 && bytes.Equal(answer[6:14], request[15:23])
}

// ikeInit begins an IKEv2 exchange (RFC 7296 section 1.2) with AES-CBC-256, HMAC-SHA2-256 and group 14: whether the responder
// takes it or says that it has no such proposal, it answers.
func ikeInit(probes.Env) []byte {
	payload := func(next byte, body ...[]byte) []byte {
		b := bytes.Join(body, nil)
		return append([]byte{next, 0, byte((len(b) + 4) >> 8), byte(len(b) + 4)}, b...)
	}
	transform := func(more, kind, id byte, attributes ...byte) []byte {
		return append([]byte{more, 0, 0, byte(8 + len(attributes)), kind, 0, 0, id}, attributes...)
	}
	transforms := bytes.Join([][]byte{
		transform(3, 1, 12, 0x80, 14, 1, 0), transform(3, 2, 5), transform(3, 3, 12), transform(0, 4, 14),
	}, nil)
	proposal := append([]byte{0, 0, byte((len(transforms) + 8) >> 8), byte(len(transforms) + 8), 1, 1, 0, 4}, transforms...)
	key := random(256)
	key[0] &= 0x7f // below the prime of group 14 (RFC 3526)
	body := bytes.Join([][]byte{payload(34, proposal), payload(40, []byte{0, 14, 0, 0}, key), payload(0, random(32))}, nil)
	header := append(random(8), make([]byte, 8)...)
	header = append(header, 33, 0x20, 34, 0x08, 0, 0, 0, 0)
	header = binary.BigEndian.AppendUint32(header, uint32(28+len(body)))
	return append(header, body...)
}

func isIKE(request, answer []byte) bool {
	return len(answer) >= 28 && bytes.Equal(answer[:8], request[:8])
}

// ssdpSearch asks for all devices and services (UPnP Device Architecture 2.0 section 1.3.2), sent to one host.
func ssdpSearch(env probes.Env) []byte {
	return []byte("M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: \"ssdp:discover\"\r\nMX: 1\r\nST: ssdp:all\r\nUSER-AGENT: " + probes.UserAgent(env) + "\r\n\r\n")
}

func isSSDP(_, answer []byte) bool {
	return bytes.HasPrefix(answer, []byte("HTTP/1.1 200")) || bytes.HasPrefix(answer, []byte("NOTIFY * HTTP/1.1"))
}

// mdnsServices asks which services there are, answer by unicast (RFC 6762 section 5.4, RFC 6763 section 9).
func mdnsServices(probes.Env) []byte {
	return []byte("\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00" + "\x09_services\x07_dns-sd\x04_udp\x05local\x00" + "\x00\x0c\x80\x01")
}

// memcachedStats reads the statistics in the frame of UDP (memcached protocol.txt, "UDP protocol"); the port is off by default
// since 1.5.6, because this request made the largest attacks of its time.
func memcachedStats(probes.Env) []byte {
	return append(random(2), "\x00\x00\x00\x01\x00\x00stats\r\n"...)
}

func isMemcached(request, answer []byte) bool {
	return len(answer) > 8 && bytes.Equal(answer[:2], request[:2])
}

// wireguardInitiation is a handshake of nobody that the peer knows: it is silent to that by design, and so its port is never
// seen open, only closed or silent.
func wireguardInitiation(probes.Env) []byte { return append([]byte{1, 0, 0, 0}, random(144)...) }

func neverAnswered(_, _ []byte) bool { return false }

package service

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"strings"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

// WireGuard is not here on purpose: it answers nobody who does not hold a key that it knows
// (https://www.wireguard.com/papers/wireguard.pdf, section 5.1), so that no scan can see it.

// cookie is the half of the key exchange's name that is ours.
const ikeCookie = "riskprof"

// Exchanges and payloads of IKE (RFC 2408, RFC 7296).
const (
	ikeMainMode   = 2
	ikeAggressive = 4
	ikeSAInit     = 34
	ikeVersion1   = 0x10
	ikeVersion2   = 0x20

	payloadSA1, payloadKE1, payloadID1, payloadNonce1, payloadVendor1 = 1, 4, 5, 10, 13
	payloadSA2, payloadKE2, payloadNonce2, payloadVendor2             = 33, 34, 40, 43
)

// ike begins a key exchange in both versions and never goes on; and in version 1 by aggressive mode, whose first answer holds
// a hash of the shared key that anybody can try passwords on (RFC 2409 section 5.4, CVE-2002-1623).
func ike(d *datagrams) *modelv1.ServiceFact {
	var versions, vendors []string
	first := ikeAsk(d, ikeMessage(ikeVersion1, ikeMainMode, 0, payload{payloadSA1, ikeProposal1()}))
	if len(first) > 0 && first[17]>>4 == 1 {
		versions = append(versions, "1")
		vendors = append(vendors, ikeVendors(first)...)
	}
	second := ikeAsk(d, ikeMessage(ikeVersion2, ikeSAInit, 8, payload{payloadSA2, ikeProposal2()},
		payload{payloadKE2, append([]byte{0, 14, 0, 0}, filler(256)...)}, payload{payloadNonce2, filler(32)}))
	if len(second) > 0 && second[17]>>4 == 2 {
		versions = append(versions, "2")
		vendors = append(vendors, ikeVendors(second)...)
	}
	if len(versions) == 0 {
		return nil
	}
	fact := named("ike")
	detail(fact, "ike.versions", strings.Join(versions, ","))
	if versions[0] == "1" {
		answer := ikeAsk(d, ikeMessage(ikeVersion1, ikeAggressive, 0, payload{payloadSA1, ikeProposal1()}, payload{payloadKE1, filler(128)},
			payload{payloadNonce1, filler(20)}, payload{payloadID1, append([]byte{3, 17, 1, 0xf4}, ownName...)})) // a name of a user, at UDP port 500
		// Only an answer of the same exchange that begins with the chosen proposal holds the hash.
		if len(answer) >= 28 && answer[16] == payloadSA1 && answer[18] == ikeAggressive {
			detail(fact, "ike.aggressive", "true")
		}
	}
	for _, vendor := range vendors {
		switch {
		case strings.HasPrefix(vendor, "882fe56d6fd20dbc2251613b2ebe5beb"):
			setProduct(fact, "strongSwan", "strongswan", "strongswan", "")
		case strings.HasPrefix(vendor, "12f5f28c457168a9702d9fe274cc"):
			setProduct(fact, "Cisco VPN", "", "", "")
		case strings.HasPrefix(vendor, "1e2b516905991c7d7c96fcbfb587e461"):
			setProduct(fact, "Microsoft Windows IKE", "", "", "")
			setSystem(fact, "Windows")
		}
	}
	detail(fact, "ike.vendor_ids", strings.Join(vendors, ","))
	return fact
}

func filler(n int) []byte { return bytes.Repeat([]byte{0x52}, n) }

// payload is one part of a message.
type payload struct {
	kind byte
	body []byte
}

func ikeMessage(version, exchange, flags byte, payloads ...payload) []byte {
	message := []byte(ikeCookie)
	message = append(message, make([]byte, 8)...)
	message = append(message, payloads[0].kind, version, exchange, flags, 0, 0, 0, 0, 0, 0, 0, 0)
	for i, p := range payloads {
		next := byte(0)
		if i+1 < len(payloads) {
			next = payloads[i+1].kind
		}
		message = binary.BigEndian.AppendUint16(append(message, next, 0), uint16(4+len(p.body)))
		message = append(message, p.body...)
	}
	binary.BigEndian.PutUint32(message[24:], uint32(len(message)))
	return message
}

// ikeProposal1 offers what most gateways take: AES or 3DES, SHA-1 or SHA-256, a shared key, 1024 bits (RFC 2409 appendix A).
func ikeProposal1() []byte {
	offers := [][]byte{
		{0x80, 1, 0, 7, 0x80, 14, 1, 0, 0x80, 2, 0, 4, 0x80, 3, 0, 1, 0x80, 4, 0, 2},
		{0x80, 1, 0, 7, 0x80, 14, 0, 128, 0x80, 2, 0, 2, 0x80, 3, 0, 1, 0x80, 4, 0, 2},
		{0x80, 1, 0, 5, 0x80, 2, 0, 2, 0x80, 3, 0, 1, 0x80, 4, 0, 2},
	}
	var transforms []byte
	for i, offer := range offers {
		next := byte(3)
		if i == len(offers)-1 {
			next = 0
		}
		transforms = binary.BigEndian.AppendUint16(append(transforms, next, 0), uint16(8+len(offer)))
		transforms = append(transforms, byte(i+1), 1, 0, 0)
		transforms = append(transforms, offer...)
	}
	proposal := binary.BigEndian.AppendUint16([]byte{0, 0}, uint16(8+len(transforms)))
	proposal = append(append(proposal, 1, 1, 0, byte(len(offers))), transforms...)
	return append([]byte{0, 0, 0, 1, 0, 0, 0, 1}, proposal...) // IPsec, identity only
}

// ikeProposal2 offers AES-256, SHA-256 and 2048 bits (RFC 7296 section 3.3).
func ikeProposal2() []byte {
	transforms := []byte{
		3, 0, 0, 12, 1, 0, 0, 12, 0x80, 14, 1, 0, // encryption: AES-CBC, key of 256 bits
		3, 0, 0, 8, 2, 0, 0, 5, // pseudo-random function: HMAC-SHA-256
		3, 0, 0, 8, 3, 0, 0, 12, // integrity: HMAC-SHA-256-128
		0, 0, 0, 8, 4, 0, 0, 14, // group 14
	}
	proposal := binary.BigEndian.AppendUint16([]byte{0, 0}, uint16(8+len(transforms)))
	return append(append(proposal, 1, 1, 0, 4), transforms...)
}

// ikeAsk sends a message; nil where no answer of its exchange came. On the port for NAT traversal four zeros come first (RFC
// 3948 section 2.2).
func ikeAsk(d *datagrams, message []byte) []byte {
	marker := ""
	if d.prober.port == 4500 {
		marker = "\x00\x00\x00\x00"
	}
	answer, err := d.ask(append([]byte(marker), message...), func(answer []byte) bool { return isIKE(bytes.TrimPrefix(answer, []byte(marker))) })
	if err != nil {
		return nil
	}
	return bytes.TrimPrefix(answer, []byte(marker))
}

// isIKE knows an answer by our cookie, a version that exists and the length.
func isIKE(answer []byte) bool {
	return len(answer) >= 28 && string(answer[:8]) == ikeCookie && (answer[17]>>4 == 1 || answer[17]>>4 == 2) &&
		uint64(binary.BigEndian.Uint32(answer[24:])) == uint64(len(answer))
}

// ikeVendors reads the vendor ids of a message in clear, in hexadecimal, at most eight.
func ikeVendors(message []byte) []string {
	var vendors []string
	next, rest := message[16], message[28:]
	for next != 0 && len(rest) >= 4 && len(vendors) < 8 {
		size := int(binary.BigEndian.Uint16(rest[2:]))
		if size < 4 || size > len(rest) {
			break
		}
		if next == payloadVendor1 || next == payloadVendor2 {
			vendors = append(vendors, hex.EncodeToString(rest[4:min(size, 36)]))
		}
		next, rest = rest[0], rest[size:]
	}
	return vendors
}

// openVPNReset is the first packet of a client: P_CONTROL_HARD_RESET_CLIENT_V2 with key 0, session, no acknowledgements, packet 0
// (https://openvpn.net/community-resources/openvpn-protocol/).
const openVPNReset = "\x38riskprof\x00\x00\x00\x00\x00"

// isOpenVPN knows the server's reset, which acknowledges our session. A server with tls-auth or tls-crypt stays silent.
func isOpenVPN(answer []byte) bool {
	return len(answer) >= 14 && answer[0]>>3 == 8 && bytes.Contains(answer[9:], []byte("riskprof"))
}

func openVPN(d *datagrams) *modelv1.ServiceFact {
	if _, err := d.ask([]byte(openVPNReset), isOpenVPN); err != nil {
		return nil
	}
	return named("openvpn")
}

// openVPNOverTCP is the same behind a length.
func openVPNOverTCP(t *talk) *modelv1.ServiceFact {
	if t.send(append([]byte{0, byte(len(openVPNReset))}, openVPNReset...)) != nil {
		return nil
	}
	head, err := t.take(2)
	if err != nil {
		return nil
	}
	if answer, err := t.take(int(binary.BigEndian.Uint16(head))); err != nil || !isOpenVPN(answer) {
		return nil
	}
	return named("openvpn")
}

// stun asks for our own address (RFC 8489 section 7.2.1).
func stun(d *datagrams) *modelv1.ServiceFact {
	const transaction = "riskprofiler"
	answer, err := d.ask([]byte("\x00\x01\x00\x00\x21\x12\xa4\x42"+transaction), func(answer []byte) bool {
		return len(answer) >= 20 && answer[0] == 1 && (answer[1] == 1 || answer[1] == 0x11) && string(answer[8:20]) == transaction
	})
	if err != nil {
		return nil
	}
	fact := named("stun")
	for rest := answer[20:]; len(rest) >= 4; {
		size := int(binary.BigEndian.Uint16(rest[2:]))
		if size > len(rest)-4 {
			break
		}
		if binary.BigEndian.Uint16(rest) == 0x8022 { // SOFTWARE
			software := string(rest[4 : 4+size])
			detail(fact, "stun.software", software)
			if version := versionAfter(strings.ToLower(software), "coturn-"); version != "" {
				setProduct(fact, "coturn", "coturn_project", "coturn", version)
			}
		}
		rest = rest[min(4+(size+3)&^3, len(rest)):]
	}
	return fact
}

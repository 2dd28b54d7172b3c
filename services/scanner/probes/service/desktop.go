package service

import (
	"encoding/binary"
	"fmt"
	"strings"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

// vnc agrees on a version and reads the kinds of security that are offered (RFC 6143 section 7.1). Kind 1 is none: it is
// chosen, and that the server agrees is the proof. No screen is asked for.
func vnc(t *talk) *modelv1.ServiceFact {
	banner, err := t.take(12)
	if err != nil || !isRFB(banner) {
		return nil
	}
	version := string(banner[:11])
	fact := named("vnc")
	fact.Banner = safe(version, 16)
	detail(fact, "vnc.protocol", strings.TrimPrefix(version, "RFB "))
	old := version < "RFB 003.007" // the server chooses, and says so in four bytes
	own := "RFB 003.008\n"
	if version < "RFB 003.008" {
		own = version + "\n"
	}
	if t.send([]byte(own)) != nil {
		return fact
	}
	if old {
		if kind, err := t.take(4); err == nil {
			vncKinds(fact, kind[3:])
			if binary.BigEndian.Uint32(kind) == 1 {
				proven(fact, "security type 1 (none) chosen by the server")
			}
		}
		return fact
	}
	count, err := t.take(1)
	if err != nil || count[0] == 0 {
		return fact // it gives a reason instead: too many failures, most often
	}
	kinds, err := t.take(int(count[0]))
	if err != nil {
		return fact
	}
	vncKinds(fact, kinds)
	if !strings.ContainsRune(string(kinds), 1) || t.send([]byte{1}) != nil {
		return fact
	}
	if version < "RFB 003.008" { // says nothing more for none
		proven(fact, "security type 1 (none) offered")
		return fact
	}
	if result, err := t.take(4); err == nil && binary.BigEndian.Uint32(result) == 0 {
		proven(fact, "security type 1 (none): SecurityResult OK")
	}
	return fact
}

func isRFB(banner []byte) bool {
	return len(banner) == 12 && string(banner[:4]) == "RFB " && banner[7] == '.' && banner[11] == '\n'
}

func vncKinds(fact *modelv1.ServiceFact, kinds []byte) {
	names := map[byte]string{0: "invalid", 1: "none", 2: "vnc", 5: "ra2", 16: "tight", 18: "tls", 19: "vencrypt", 30: "apple"}
	var list []string
	for _, kind := range kinds {
		name := names[kind]
		if name == "" {
			name = fmt.Sprint(kind)
		}
		list = append(list, name)
	}
	detail(fact, "vnc.security", strings.Join(list, ","))
}

// rdpRequest is an X.224 connection request that offers TLS and network level authentication ([MS-RDPBCGR] 2.2.1.1).
var rdpRequest = []byte{
	0x03, 0x00, 0x00, 0x13, // TPKT, 19 bytes
	0x0e, 0xe0, 0x00, 0x00, 0x00, 0x00, 0x00, // X.224 connection request
	0x01, 0x00, 0x08, 0x00, 0x03, 0x00, 0x00, 0x00, // negotiation request: TLS (1) and CredSSP (2)
}

func rdp(t *talk) *modelv1.ServiceFact {
	if t.send(rdpRequest) != nil {
		return nil
	}
	head, err := t.take(4)
	if err != nil || head[0] != 3 || head[1] != 0 {
		return nil
	}
	size := int(binary.BigEndian.Uint16(head[2:]))
	if size < 11 || size > 256 {
		return nil
	}
	body, err := t.take(size - 4)
	if err != nil || body[1] != 0xd0 {
		return nil
	}
	fact := named("rdp")
	protocol := "rdp" // no negotiation: its own old encryption
	if len(body) >= 15 {
		value := binary.LittleEndian.Uint32(body[11:])
		switch {
		case body[7] == 2 && value < 16:
			protocol = map[uint32]string{0: "rdp", 1: "tls", 2: "nla", 8: "nla-ex"}[value]
		case body[7] == 3:
			protocol = "refused"
		}
	}
	detail(fact, "rdp.protocol", protocol)
	return fact
}

// x11 asks for a connection without credentials (X Window System Protocol, chapter 8): that it is granted is the proof.
func x11(t *talk) *modelv1.ServiceFact {
	if t.send([]byte{'l', 0, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0}) != nil {
		return nil
	}
	head, err := t.take(8)
	if err != nil || head[0] > 2 {
		return nil
	}
	// Protocol 11.0, little-endian, and the length of the rest in words of four bytes.
	if binary.LittleEndian.Uint16(head[2:]) != 11 && head[0] != 2 || binary.LittleEndian.Uint16(head[4:]) != 0 {
		return nil
	}
	size := int(binary.LittleEndian.Uint16(head[6:])) * 4
	if size == 0 || size > 32<<10 {
		return nil
	}
	body, err := t.take(size)
	if err != nil {
		return nil
	}
	fact := named("x11")
	switch head[0] {
	case 0:
		detail(fact, "x11.refusal", string(body[:min(int(head[1]), len(body))]))
	case 2:
		detail(fact, "x11.refusal", "wants authentication")
	case 1:
		vendor := ""
		if len(body) >= 32 {
			if length := int(binary.LittleEndian.Uint16(body[16:])); length <= len(body)-32 {
				vendor = string(body[32 : 32+length])
			}
		}
		detail(fact, "x11.vendor", vendor)
		proven(fact, "connection setup without credentials: success, vendor "+vendor)
	}
	return fact
}

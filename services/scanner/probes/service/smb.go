package service

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"unicode/utf16"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

// smb negotiates a dialect of SMB 2 and 3 and, on another connection, asks for SMB 1 ([MS-SMB2] 2.2.3, [MS-CIFS] 2.2.4.52). It then
// begins to log in, as far as the challenge, which tells who the server is ([MS-NLMP] 2.2.1.2); no answer to that is ever sent.
func smb(t *talk) *modelv1.ServiceFact {
	if t.prober.port == 139 && !netbiosSession(t) {
		return nil
	}
	if t.send(smb2Negotiate()) != nil {
		return nil
	}
	body, err := t.netbios()
	if err != nil || len(body) < 64+8 || !bytes.HasPrefix(body, []byte("\xfeSMB")) {
		if bytes.HasPrefix(body, []byte("\xffSMB")) || smb1Offered(t) { // knows nothing newer
			fact := named("smb")
			detail(fact, "smb.v1", "true")
			return fact
		}
		return nil
	}
	fact := named("smb")
	detail(fact, "smb.dialect", fmt.Sprintf("%x", binary.LittleEndian.Uint16(body[68:])))
	signing := "off"
	switch mode := binary.LittleEndian.Uint16(body[66:]); {
	case mode&2 != 0:
		signing = "required"
	case mode&1 != 0:
		signing = "enabled"
	}
	detail(fact, "smb.signing", signing)
	if t.send(smb2SessionSetup()) == nil {
		if body, err := t.netbios(); err == nil {
			smbIdentity(fact, body)
		}
	}
	if smb1Offered(t) {
		detail(fact, "smb.v1", "true")
	}
	return fact
}

// netbiosSession asks for a session with any server on the machine (RFC 1002 section 4.3.2): "*SMBSERVER", and a name of ours.
func netbiosSession(t *talk) bool {
	request := []byte{0x81, 0, 0, 68}
	for _, name := range []string{"*SMBSERVER      ", "RISKPROFILER   \x00"} {
		request = append(request, 32)
		for i := range len(name) {
			request = append(request, 'A'+name[i]>>4, 'A'+name[i]&15)
		}
		request = append(request, 0)
	}
	if t.send(request) != nil {
		return false
	}
	answer, err := t.take(4)
	return err == nil && answer[0] == 0x82
}

func smb2Negotiate() []byte {
	packet := make([]byte, 64+36)
	copy(packet, "\xfeSMB\x40\x00")
	body := packet[64:]
	body[0], body[2], body[4] = 36, 4, 1 // size of the structure, four dialects, signing enabled
	copy(body[12:28], "riskprofiler-id.")
	for _, dialect := range []uint16{0x0202, 0x0210, 0x0300, 0x0302} {
		packet = binary.LittleEndian.AppendUint16(packet, dialect)
	}
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(packet))), packet...)
}

// smb2SessionSetup begins to log in with NTLM: its first message, which names nobody ([MS-SMB2] 2.2.5, [MS-NLMP] 2.2.1.1).
func smb2SessionSetup() []byte {
	token := []byte("NTLMSSP\x00\x01\x00\x00\x00\x07\x82\x08\xa2" + "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" + "\x0a\x00\x63\x45\x00\x00\x00\x0f")
	packet := make([]byte, 64+24)
	copy(packet, "\xfeSMB\x40\x00")
	packet[12], packet[14], packet[24] = 1, 1, 1 // SESSION_SETUP, one credit, message 1
	body := packet[64:]
	body[0], body[3] = 25, 1 // size of the structure, signing enabled
	binary.LittleEndian.PutUint16(body[12:], 64+24)
	binary.LittleEndian.PutUint16(body[14:], uint16(len(token)))
	packet = append(packet, token...)
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(packet))), packet...)
}

// smbIdentity reads the challenge: the names of the machine and its domain, and the version of the system. Samba gives the version of
// Windows 7 with a build of 0, which no Windows has.
func smbIdentity(fact *modelv1.ServiceFact, message []byte) {
	start := bytes.Index(message, []byte("NTLMSSP\x00\x02\x00\x00\x00"))
	if start < 0 || len(message)-start < 56 {
		return
	}
	challenge := message[start:]
	major, minor, build := challenge[48], challenge[49], binary.LittleEndian.Uint16(challenge[50:])
	switch {
	case build == 0 && major == 6 && minor == 1:
		setProduct(fact, "Samba", "samba", "samba", "")
	case build != 0:
		setSystem(fact, fmt.Sprintf("Windows %d.%d.%d", major, minor, build))
	}
	size, offset := int(binary.LittleEndian.Uint16(challenge[40:])), int(binary.LittleEndian.Uint32(challenge[44:]))
	if offset < 0 || offset > len(challenge) || size > len(challenge)-offset {
		return
	}
	names := map[uint16]string{1: "smb.computer", 2: "smb.workgroup", 3: "smb.host", 4: "smb.domain"}
	for info := challenge[offset : offset+size]; len(info) >= 4; {
		id, length := binary.LittleEndian.Uint16(info), int(binary.LittleEndian.Uint16(info[2:]))
		if id == 0 || length > len(info)-4 {
			return
		}
		if name := names[id]; name != "" {
			detail(fact, name, utf16Text(info[4:4+length]))
		}
		info = info[4+length:]
	}
}

func utf16Text(data []byte) string {
	units := make([]uint16, 0, len(data)/2)
	for ; len(data) >= 2; data = data[2:] {
		units = append(units, binary.LittleEndian.Uint16(data))
	}
	return string(utf16.Decode(units))
}

// smb1Offered asks for nothing but NT LM 0.12.
func smb1Offered(t *talk) bool {
	other, err := t.another()
	if err != nil {
		return false
	}
	defer t.done(other)
	if t.prober.port == 139 && !netbiosSession(other) {
		return false
	}
	packet := make([]byte, 32)
	copy(packet, "\xffSMB\x72")
	packet[9], packet[10], packet[11] = 0x18, 0x01, 0x28
	packet = append(packet, 0, 12, 0)
	packet = append(packet, "\x02NT LM 0.12\x00"...)
	if other.send(append(binary.BigEndian.AppendUint32(nil, uint32(len(packet))), packet...)) != nil {
		return false
	}
	body, err := other.netbios()
	// Words of the answer: the dialect, which is 0xffff where none was liked.
	return err == nil && len(body) >= 35 && bytes.HasPrefix(body, []byte("\xffSMB\x72")) && body[32] > 1 && binary.LittleEndian.Uint16(body[33:]) != 0xffff
}

// netbios reads one message of the session service over TCP ([MS-SMB2] 2.1).
func (t *talk) netbios() ([]byte, error) {
	head, err := t.take(4)
	if err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(head)
	if head[0] != 0 || size > 32<<10 {
		return nil, errNotIt
	}
	return t.take(int(size))
}

package service

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

// jdwp shakes hands and asks for the version of the virtual machine, which runs on (Java Debug Wire Protocol): whoever gets
// an answer may run any code, so the answer is the proof.
func jdwp(t *talk) *modelv1.ServiceFact {
	const handshake = "JDWP-Handshake"
	if t.send([]byte(handshake)) != nil {
		return nil
	}
	echo, err := t.take(len(handshake))
	if err != nil || string(echo) != handshake {
		return nil
	}
	fact := named("jdwp")
	fact.Banner = handshake
	// Length, id, flags, command set 1 (VirtualMachine), command 1 (Version).
	if t.send([]byte{0, 0, 0, 11, 0, 0, 0, 1, 0, 1, 1}) != nil {
		return fact
	}
	head, err := t.take(11)
	if err != nil {
		return fact
	}
	size := binary.BigEndian.Uint32(head)
	if size < 15 || size > 8<<10 || binary.BigEndian.Uint32(head[4:]) != 1 || head[8] != 0x80 || binary.BigEndian.Uint16(head[9:]) != 0 {
		return fact
	}
	body, err := t.take(int(size) - 11)
	if err != nil || uint64(binary.BigEndian.Uint32(body)) > uint64(len(body)-4) {
		return fact
	}
	description := string(body[4 : 4+binary.BigEndian.Uint32(body)])
	detail(fact, "jdwp.description", description)
	proven(fact, "VirtualMachine.Version: "+description)
	return fact
}

// rmi greets a Java RMI registry, which says what address it sees us from (Java RMI wire protocol); nothing is looked up.
func rmi(t *talk) *modelv1.ServiceFact {
	if t.send([]byte("JRMI\x00\x02\x4b")) != nil {
		return nil
	}
	head, err := t.take(3)
	if err != nil || head[0] != 0x4e {
		return nil
	}
	size := int(binary.BigEndian.Uint16(head[1:]))
	if size == 0 || size > 255 {
		return nil
	}
	if rest, err := t.take(size + 4); err != nil || rest[size] != 0 || rest[size+1] != 0 { // a port, in four bytes
		return nil
	}
	return named("rmi")
}

// rtsp asks for the options (RFC 2326 section 10.1).
func rtsp(t *talk) *modelv1.ServiceFact {
	if t.send([]byte("OPTIONS * RTSP/1.0\r\nCSeq: 1\r\nUser-Agent: "+userAgent+"\r\n\r\n")) != nil {
		return nil
	}
	t.gather(t.patience.step, func(rest []byte) bool { return bytes.Contains(rest, []byte("\r\n\r\n")) })
	if !bytes.HasPrefix(t.rest(), []byte("RTSP/1.0 ")) {
		return nil
	}
	fact := named("rtsp")
	for text := range bytes.Lines(t.rest()) {
		if name, value, found := strings.Cut(strings.TrimSpace(string(text)), ":"); found && strings.EqualFold(name, "server") {
			detail(fact, "rtsp.server", value)
		}
	}
	return fact
}

// modbus asks for the identity of the device (Modbus application protocol 1.1b3, function 43/14): a read that devices answer
// or refuse.
func modbus(t *talk) *modelv1.ServiceFact {
	if t.send([]byte{0x72, 0x70, 0, 0, 0, 5, 0, 0x2b, 0x0e, 1, 0}) != nil {
		return nil
	}
	head, err := t.take(8)
	if err != nil || head[0] != 0x72 || head[1] != 0x70 || head[2] != 0 || head[3] != 0 {
		return nil
	}
	size := int(binary.BigEndian.Uint16(head[4:]))
	if size < 3 || size > 254 || head[7] != 0x2b && head[7] != 0xab {
		return nil
	}
	fact := named("modbus")
	if body, err := t.take(size - 2); err == nil && head[7] == 0x2b {
		identity := modbusIdentity(body)
		detail(fact, "modbus.identity", strings.Join(identity, " "))
		fact.Product = safe(strings.Join(identity, " "), maxName)
	}
	return fact
}

// modbusIdentity reads the objects of an answer: code, conformity, more, next, count, then id, length and text of each.
func modbusIdentity(body []byte) []string {
	if len(body) < 6 {
		return nil
	}
	var identity []string
	for objects := body[6:]; len(objects) >= 2 && len(identity) < 8; {
		end := 2 + int(objects[1])
		if end > len(objects) {
			break
		}
		identity = append(identity, string(objects[2:end]))
		objects = objects[end:]
	}
	return identity
}

// s7comm connects as the transport layer below a Siemens S7 asks (ISO 8073 over RFC 1006) and negotiates a communication,
// without reading from or writing to the controller.
func s7comm(t *talk) *modelv1.ServiceFact {
	connect := []byte{3, 0, 0, 22, 17, 0xe0, 0, 0, 0, 1, 0, 0xc1, 2, 1, 0, 0xc2, 2, 1, 2, 0xc0, 1, 0x0a}
	if t.send(connect) != nil {
		return nil
	}
	confirm, err := t.tpkt()
	if err != nil || len(confirm) < 2 || confirm[1] != 0xd0 {
		return nil
	}
	setup := []byte{3, 0, 0, 25, 2, 0xf0, 0x80, 0x32, 1, 0, 0, 0, 1, 0, 8, 0, 0, 0xf0, 0, 0, 1, 0, 1, 1, 0xe0}
	if t.send(setup) != nil {
		return nil
	}
	answer, err := t.tpkt()
	if err != nil || len(answer) < 4 || answer[3] != 0x32 {
		return nil
	}
	fact := named("s7comm")
	fact.Banner = fmt.Sprintf("S7 setup answer of %d bytes", len(answer))
	return fact
}

// tpkt reads one packet of RFC 1006.
func (t *talk) tpkt() ([]byte, error) {
	head, err := t.take(4)
	if err != nil {
		return nil, err
	}
	size := int(binary.BigEndian.Uint16(head[2:]))
	if head[0] != 3 || size < 5 || size > 4096 {
		return nil, errNotIt
	}
	return t.take(size - 4)
}

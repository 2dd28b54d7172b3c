package service

import (
	"encoding/binary"
	"strconv"
	"strings"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

// db2 exchanges attributes (DRDA volume 3, EXCSAT), as clients do before they log in: the server tells its kind and release.
func db2(t *talk) *modelv1.ServiceFact {
	// A request of one object: length, "D0", chained to nothing, correlation 1; then length, EXCSAT, and our name in EBCDIC.
	name := []byte{0xd9, 0xc9, 0xe2, 0xd2} // RISK
	parameter := append(binary.BigEndian.AppendUint16(nil, uint16(4+len(name))), 0x11, 0x5e)
	parameter = append(parameter, name...)
	object := append(binary.BigEndian.AppendUint16(nil, uint16(4+len(parameter))), 0x10, 0x41)
	object = append(object, parameter...)
	request := append(binary.BigEndian.AppendUint16(nil, uint16(6+len(object))), 0xd0, 1, 0, 1)
	if t.send(append(request, object...)) != nil {
		return nil
	}
	head, err := t.take(10)
	if err != nil || head[2] != 0xd0 || head[8] != 0x14 || head[9] != 0x43 { // EXCSATRD
		return nil
	}
	size := int(binary.BigEndian.Uint16(head))
	if size < 10 {
		return nil
	}
	body, err := t.take(size - 10)
	if err != nil {
		return nil
	}
	attributes := parseDRDA(body)
	fact := named("drda")
	class, level := attributes[0x1147], attributes[0x115a]
	detail(fact, "drda.class", class)
	detail(fact, "drda.release", level)
	switch {
	case strings.Contains(class, "DB2"):
		fact.Name = "db2"
		setProduct(fact, "IBM Db2", "ibm", "db2", db2Version(level))
		if _, system, found := strings.Cut(class, "/"); found {
			setSystem(fact, system)
		}
	case strings.Contains(class, "Derby"):
		setProduct(fact, "Apache Derby", "apache", "derby", "")
	}
	return fact
}

// db2Version reads "SQL11055" as 11.5.5: version, release, and modification of one digit each but the first.
func db2Version(level string) string {
	digits, found := strings.CutPrefix(level, "SQL")
	if !found || len(digits) != 5 || strings.Trim(digits, "0123456789") != "" {
		return ""
	}
	return strings.TrimPrefix(digits[:2], "0") + "." + strings.TrimPrefix(digits[2:4], "0") + "." + digits[4:]
}

// parseDRDA reads the attributes of a reply, each behind its length and its code point, as text.
func parseDRDA(body []byte) map[uint16]string {
	attributes := make(map[uint16]string)
	for len(body) >= 4 && len(attributes) < 32 {
		size := int(binary.BigEndian.Uint16(body))
		if size < 4 || size > len(body) {
			break
		}
		attributes[binary.BigEndian.Uint16(body[2:])] = ebcdic(body[4:size])
		body = body[size:]
	}
	return attributes
}

// ebcdic reads letters, digits and a few marks of code page 500; text that is ASCII stays.
func ebcdic(data []byte) string {
	if len(data) > 0 && data[0] < 0x80 && data[0] >= 0x20 && data[0] != 0x40 && data[0] != 0x61 {
		return string(data)
	}
	var text strings.Builder
	for _, b := range data {
		switch {
		case b >= 0xf0 && b <= 0xf9:
			text.WriteByte('0' + b - 0xf0)
		case b >= 0xc1 && b <= 0xc9:
			text.WriteByte('A' + b - 0xc1)
		case b >= 0xd1 && b <= 0xd9:
			text.WriteByte('J' + b - 0xd1)
		case b >= 0xe2 && b <= 0xe9:
			text.WriteByte('S' + b - 0xe2)
		case b >= 0x81 && b <= 0x89:
			text.WriteByte('a' + b - 0x81)
		case b >= 0x91 && b <= 0x99:
			text.WriteByte('j' + b - 0x91)
		case b >= 0xa2 && b <= 0xa9:
			text.WriteByte('s' + b - 0xa2)
		case b == 0x61:
			text.WriteByte('/')
		case b == 0x4b:
			text.WriteByte('.')
		case b == 0x60:
			text.WriteByte('-')
		default:
			text.WriteByte(' ')
		}
	}
	return strings.TrimSpace(text.String())
}

// firebird offers its protocol to attach to a database that nobody has (remote protocol, op_connect); that it accepts or refuses
// in its own words tells it. Nobody logs in.
func firebird(t *talk) *modelv1.ServiceFact {
	const connect, attach, version, generic = 1, 19, 3, 1
	var request []byte
	word := func(values ...uint32) {
		for _, value := range values {
			request = binary.BigEndian.AppendUint32(request, value)
		}
	}
	text := func(value string) {
		word(uint32(len(value)))
		request = append(append(request, value...), make([]byte, -len(value)&3)...)
	}
	protocols := []uint32{10, 0x800b, 0x800c, 0x800d, 0x800f, 0x8010, 0x8011, 0x8012}
	word(connect, attach, version, generic)
	text("riskprofiler")
	word(uint32(len(protocols)))
	text("\x01\x0criskprofiler") // who asks: the name of a user, as text
	for i, protocol := range protocols {
		word(protocol, generic, 0, 5, uint32(2*i+2)) // kinds 0 to 5, and how much we like it
	}
	if t.send(request) != nil {
		return nil
	}
	head, err := t.take(4)
	if err != nil {
		return nil
	}
	fact := named("firebird")
	setProduct(fact, "Firebird", "firebirdsql", "firebird", "")
	switch binary.BigEndian.Uint32(head) {
	case 3, 94, 98: // accepted, with or without what is needed to log in
		chosen, err := t.take(12)
		if err != nil || binary.BigEndian.Uint32(chosen[4:]) != generic {
			return nil
		}
		detail(fact, "firebird.protocol", strconv.FormatUint(uint64(binary.BigEndian.Uint32(chosen)&0x7fff), 10))
		return fact
	case 4:
		if len(t.rest()) > 0 {
			return nil
		}
		return fact
	}
	return nil
}

package service

import (
	"bytes"
	"encoding/binary"
	"strconv"
	"strings"
)

// Tags of BER (X.690) that SNMP and LDAP use.
const (
	tagInteger  = 0x02
	tagOctets   = 0x04
	tagNull     = 0x05
	tagOID      = 0x06
	tagSequence = 0x30
)

// elements reads BER elements one after the other.
type elements struct{ rest []byte }

// next returns the tag and the content of the next element; false at the end, and where it is cut.
func (e *elements) next() (tag byte, content []byte, ok bool) {
	if len(e.rest) == 0 {
		return 0, nil, false
	}
	tag = e.rest[0]
	content, rest, err := berElement(e.rest)
	if err != nil {
		e.rest = nil
		return 0, nil, false
	}
	e.rest = rest
	return tag, content, true
}

// into enters the next element, which has to have that tag.
func (e *elements) into(tag byte) (*elements, bool) {
	got, content, ok := e.next()
	return &elements{content}, ok && got == tag
}

// skip passes over n elements.
func (e *elements) skip(n int) bool {
	for range n {
		if _, _, ok := e.next(); !ok {
			return false
		}
	}
	return true
}

// berInteger writes a small number that is not negative.
func berInteger(n uint32) []byte {
	body := bytes.TrimLeft(binary.BigEndian.AppendUint32(nil, n), "\x00")
	if len(body) == 0 || body[0] >= 0x80 {
		body = append([]byte{0}, body...)
	}
	return append([]byte{tagInteger, byte(len(body))}, body...)
}

// berOID writes an object identifier in dots.
func berOID(dotted string) []byte {
	var numbers []uint64
	for part := range strings.SplitSeq(dotted, ".") {
		n, err := strconv.ParseUint(part, 10, 32)
		if err != nil {
			return nil
		}
		numbers = append(numbers, n)
	}
	if len(numbers) < 2 {
		return nil
	}
	body := []byte{byte(numbers[0]*40 + numbers[1])}
	for _, n := range numbers[2:] {
		digits := []byte{byte(n & 0x7f)}
		for n >>= 7; n > 0; n >>= 7 {
			digits = append([]byte{byte(n&0x7f) | 0x80}, digits...)
		}
		body = append(body, digits...)
	}
	return append([]byte{tagOID, byte(len(body))}, body...)
}

// parseOID writes the content of an object identifier in dots, at most 32 numbers of it.
func parseOID(content []byte) string {
	if len(content) == 0 {
		return ""
	}
	parts := []string{strconv.Itoa(int(content[0]) / 40), strconv.Itoa(int(content[0]) % 40)}
	var n uint64
	for _, b := range content[1:] {
		n = n<<7 | uint64(b&0x7f)
		if b < 0x80 {
			parts = append(parts, strconv.FormatUint(n, 10))
			n = 0
		}
		if len(parts) == 32 {
			break
		}
	}
	return strings.Join(parts, ".")
}

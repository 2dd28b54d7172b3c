package tls

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Record and handshake message types (RFC 8446 section 5.1 and 4).
const (
	recordChangeCipher = 20
	recordAlert        = 21
	recordHandshake    = 22
	recordData         = 23

	typeClientHello       = 1
	typeServerHello       = 2
	typeCertificate       = 11
	typeServerHelloDone   = 14
	typeCertificateStatus = 22
)

// Bounds of one answer.
const (
	// maxRecord is the longest record: 2^14 bytes of text and 2,048 of expansion (RFC 5246 section 6.2.3).
	maxRecord = 1<<14 + 2048
	// maxAnswer bounds all handshake bytes read of one server: real chains rarely pass 16 KiB.
	maxAnswer = 128 << 10
	// maxChain bounds the certificates kept of one chain, and maxCertificate the bytes of each.
	maxChain       = 16
	maxCertificate = 64 << 10
)

// errNotTLS says that the peer answers, but not in TLS.
var errNotTLS = errors.New("the answer is not TLS")

// errCut says that the peer sent more than an answer may have.
var errCut = fmt.Errorf("the answer is longer than %d bytes", maxAnswer)

// alertError is a fatal alert: the server speaks TLS and refuses this hello.
type alertError struct{ description byte }

// alertNames are the refusals worth telling apart in a reason (RFC 8446 section 6).
var alertNames = map[byte]string{
	40: "handshake_failure", 47: "illegal_parameter", 49: "access_denied", 70: "protocol_version", 71: "insufficient_security",
	80: "internal_error", 86: "inappropriate_fallback", 112: "unrecognized_name", 116: "certificate_required",
	120: "no_application_protocol",
}

// Error names the alert.
func (e alertError) Error() string {
	if name, ok := alertNames[e.description]; ok {
		return "alert " + name
	}
	return fmt.Sprintf("alert %d", e.description)
}

// answer is what a server said to a hello, as far as it says so in the clear.
type answer struct {
	version, suite uint16
	// chain holds the certificates as sent; empty from TLS 1.3 on, which encrypts them.
	chain [][]byte
	// stapled says that an OCSP response came along; scts is the number of SCTs in the ServerHello (RFC 6962 section 3.3).
	stapled bool
	scts    int
}

// readAnswer reads the answer to a hello from r. With whole it reads on to the end of the server's flight, for the
// certificates; else the ServerHello is enough. Errors are errNotTLS, errCut, alertError, or the reader's.
func readAnswer(r io.Reader, whole bool) (answer, error) {
	in := &flight{reader: bufio.NewReader(r)}
	var out answer
	for {
		kind, body, err := in.message()
		if err != nil {
			if out.version != 0 {
				return out, nil // what came before the break still counts
			}
			return out, err
		}
		switch {
		case kind == typeServerHello && out.version == 0:
			if out.version, out.suite, err = readServerHello(body, &out); err != nil {
				return answer{}, err
			}
			if !whole || out.version >= versionTLS13 {
				return out, nil
			}
		case out.version == 0:
			return answer{}, errNotTLS
		case kind == typeCertificate:
			out.chain = readCertificates(body)
		case kind == typeCertificateStatus:
			out.stapled = len(body) > 4
		case kind == typeServerHelloDone:
			return out, nil
		}
	}
}

// flight takes handshake messages out of records.
type flight struct {
	reader *bufio.Reader
	buffer []byte
	total  int
}

// message returns the next handshake message, its type and its body. The body is valid until the next call.
func (f *flight) message() (byte, []byte, error) {
	for {
		if len(f.buffer) >= 4 {
			size := int(f.buffer[1])<<16 | int(f.buffer[2])<<8 | int(f.buffer[3])
			if size > maxAnswer {
				return 0, nil, errCut
			}
			if len(f.buffer) >= 4+size {
				kind, body := f.buffer[0], f.buffer[4:4+size]
				f.buffer = f.buffer[4+size:]
				return kind, body, nil
			}
		}
		if err := f.record(); err != nil {
			return 0, nil, err
		}
	}
}

// record reads one record and appends it to the buffer.
func (f *flight) record() error {
	var header [5]byte
	if n, err := io.ReadFull(f.reader, header[:]); err != nil {
		if n > 0 && f.total == 0 && (header[0] < recordChangeCipher || header[0] > recordData) {
			return errNotTLS // a short line of text, then the end
		}
		return err
	}
	size := int(binary.BigEndian.Uint16(header[3:]))
	if header[0] < recordChangeCipher || header[0] > recordData || header[1] != 3 || size > maxRecord {
		return errNotTLS
	}
	if f.total += size + len(header); f.total > maxAnswer {
		return errCut
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(f.reader, body); err != nil {
		return err
	}
	switch {
	case header[0] == recordAlert && size == 2 && body[0] == 1:
		return nil // a warning, such as unrecognized_name, goes on
	case header[0] == recordAlert && size == 2:
		return alertError{body[1]}
	case header[0] == recordHandshake:
		f.buffer = append(f.buffer, body...)
		return nil
	default:
		return errNotTLS // nothing else may come before the ServerHello in the clear
	}
}

// readServerHello reads version and suite, and what the extensions say about stapling and SCTs.
func readServerHello(body []byte, out *answer) (version, chosen uint16, err error) {
	in := cursor{rest: body}
	version = in.uint16()
	in.bytes(32)
	in.bytes(int(in.uint8()))
	chosen = in.uint16()
	in.uint8()
	if in.short || version>>8 != 3 {
		return 0, 0, errNotTLS
	}
	extensions := cursor{rest: in.block16()}
	for len(extensions.rest) > 0 && !extensions.short {
		number, data := extensions.uint16(), cursor{rest: extensions.block16()}
		switch number {
		case extSupportedVersions:
			if v := data.uint16(); !data.short {
				version = v
			}
		case extSCT:
			out.scts = countSCTs(data.rest)
		}
	}
	return version, chosen, nil
}

// readCertificates takes the certificates out of a Certificate message (RFC 5246 section 7.4.2).
func readCertificates(body []byte) [][]byte {
	var out [][]byte
	in := cursor{rest: body}
	list := cursor{rest: in.block24()}
	for len(list.rest) > 0 && len(out) < maxChain {
		der := list.block24()
		if list.short || len(der) == 0 || len(der) > maxCertificate {
			break
		}
		out = append(out, append([]byte(nil), der...))
	}
	return out
}

// countSCTs counts a SignedCertificateTimestampList (RFC 6962 section 3.3).
func countSCTs(list []byte) int {
	in := cursor{rest: list}
	in = cursor{rest: in.block16()}
	count := 0
	for len(in.rest) > 0 {
		if sct := in.block16(); in.short || len(sct) == 0 {
			break
		}
		count++
	}
	return count
}

// cursor reads numbers and blocks off the front of a slice. Reading past the end gives zeros and sets short.
type cursor struct {
	rest  []byte
	short bool
}

func (c *cursor) bytes(n int) []byte {
	if n > len(c.rest) {
		c.rest, c.short = nil, true
		return nil
	}
	out := c.rest[:n]
	c.rest = c.rest[n:]
	return out
}

func (c *cursor) uint8() byte {
	if b := c.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

func (c *cursor) uint16() uint16 {
	if b := c.bytes(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (c *cursor) block16() []byte {
	if len(c.rest) == 0 { // absent altogether, as extensions may be
		return nil
	}
	return c.bytes(int(c.uint16()))
}

func (c *cursor) block24() []byte {
	b := c.bytes(3)
	if b == nil {
		return nil
	}
	return c.bytes(int(b[0])<<16 | int(b[1])<<8 | int(b[2]))
}

package tls

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/big"
)

// Record and handshake message types (RFC 8446 section 5.1 and 4; RFC 6520 section 3).
const (
	recordChangeCipher = 20
	recordAlert        = 21
	recordHandshake    = 22
	recordData         = 23
	recordHeartbeat    = 24

	typeClientHello        = 1
	typeServerHello        = 2
	typeCertificate        = 11
	typeServerKeyExchange  = 12
	typeCertificateRequest = 13
	typeServerHelloDone    = 14
	typeCertificateStatus  = 22
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
	// maxStaple bounds an OCSP response: with a responder's certificate in it, it has some 2 KiB.
	maxStaple = 32 << 10
	// maxSCTs bounds the timestamps kept of one list.
	maxSCTs = 16
)

// errNotTLS says that the peer answers, but not in TLS.
var errNotTLS = errors.New("the answer is not TLS")

// errCut says that the peer sent more than an answer may have.
var errCut = fmt.Errorf("the answer is longer than %d bytes", maxAnswer)

// alertError is a fatal alert: the server speaks TLS and refuses this hello.
type alertError struct{ description byte }

// alertNames are the refusals worth telling apart in a reason (RFC 8446 section 6).
var alertNames = map[byte]string{
	10: "unexpected_message", 20: "bad_record_mac", 21: "decryption_failed",
	40: "handshake_failure", 47: "illegal_parameter", 49: "access_denied", 70: "protocol_version", 71: "insufficient_security",
	80: "internal_error", 86: "inappropriate_fallback", 112: "unrecognized_name", 116: "certificate_required",
	120: "no_application_protocol",
}

// Alerts that mean something to a test.
const (
	alertUnexpected = 10
	alertBadMAC     = 20
	alertDecryption = 21
	alertFallback   = 86
)

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
	sessionID      []byte
	// compressed says that the server chose a compression method.
	compressed bool
	// retry says that it is a HelloRetryRequest, which names the group that the server wants (RFC 8446 section 4.1.4).
	retry bool
	// group of the key exchange: of the retry, the key share or the ServerKeyExchange; 0 for none.
	group uint16
	// Extensions of the ServerHello.
	renegotiation, extendedMaster, heartbeat, willTicket bool
	// chain holds the certificates as sent; empty from TLS 1.3 on, which encrypts them. chainLength is how many there were.
	chain       [][]byte
	chainLength int
	// staple is the OCSP response that came along; scts the timestamps of the ServerHello (RFC 6962 section 3.3).
	staple []byte
	scts   [][]byte
	// wantsCertificate says that a CertificateRequest came along.
	wantsCertificate bool
	exchange         exchange
}

// exchange is what a ServerKeyExchange says.
type exchange struct {
	// prime of a finite-field exchange; nil for others.
	prime *big.Int
	// rsaBits is the length of a temporary RSA key, as export suites use it.
	rsaBits int
	// signature algorithm of TLS 1.2; 0 for none.
	signature uint16
}

// helloRetry is the random value that makes a ServerHello a HelloRetryRequest: SHA-256 of "HelloRetryRequest" (RFC 8446
// section 4.1.3).
var helloRetry = []byte{
	0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91,
	0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
}

// readAnswer reads the answer to a hello from r. With whole it reads on to the end of the server's flight, for the
// certificates; else the ServerHello is enough. Errors are errNotTLS, errCut, alertError, or the reader's.
func readAnswer(r io.Reader, whole bool) (answer, error) {
	return readFlight(&flight{reader: bufio.NewReader(r)}, whole)
}

func readFlight(in *flight, whole bool) (answer, error) {
	var out answer
	for {
		kind, body, err := in.message()
		if err != nil {
			if out.version != 0 {
				return out, nil // what came before the break still counts
			}
			return out, err
		}
		if out.version == 0 && kind != typeServerHello {
			return answer{}, errNotTLS
		}
		switch kind {
		case typeServerHello:
			if out.version != 0 {
				return out, nil // a second one means nothing
			}
			if err := out.readServerHello(body); err != nil {
				return answer{}, err
			}
			if !whole || out.version >= versionTLS13 {
				return out, nil
			}
		case typeCertificate:
			out.chain, out.chainLength = readCertificates(body)
		case typeCertificateStatus:
			out.staple = readStatus(body)
		case typeServerKeyExchange:
			out.readExchange(body)
		case typeCertificateRequest:
			out.wantsCertificate = true
		case typeServerHelloDone:
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
		kind, body, err := f.record()
		switch {
		case err != nil:
			return 0, nil, err
		case kind == recordAlert && len(body) == 2 && body[0] == 1:
			// a warning, such as unrecognized_name, goes on
		case kind == recordAlert && len(body) == 2:
			return 0, nil, alertError{body[1]}
		case kind == recordHandshake:
			f.buffer = append(f.buffer, body...)
		default:
			return 0, nil, errNotTLS // nothing else may come before the ServerHello in the clear
		}
	}
}

// record reads one record: its type and its body.
func (f *flight) record() (byte, []byte, error) {
	var header [5]byte
	if n, err := io.ReadFull(f.reader, header[:]); err != nil {
		if n > 0 && f.total == 0 && (header[0] < recordChangeCipher || header[0] > recordHeartbeat) {
			return 0, nil, errNotTLS // a short line of text, then the end
		}
		return 0, nil, err
	}
	size := int(binary.BigEndian.Uint16(header[3:]))
	if header[0] < recordChangeCipher || header[0] > recordHeartbeat || header[1] != 3 || size > maxRecord {
		return 0, nil, errNotTLS
	}
	if f.total += size + len(header); f.total > maxAnswer {
		return 0, nil, errCut
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(f.reader, body); err != nil {
		return 0, nil, err
	}
	return header[0], body, nil
}

// readServerHello reads what a ServerHello says.
func (a *answer) readServerHello(body []byte) error {
	in := cursor{rest: body}
	version := in.uint16()
	a.retry = bytes.Equal(in.bytes(32), helloRetry)
	a.sessionID = bytes.Clone(in.bytes(int(in.uint8())))
	a.suite = in.uint16()
	a.compressed = in.uint8() != 0
	if in.short || version>>8 != 3 {
		return errNotTLS
	}
	a.version = version
	extensions := cursor{rest: in.block16()}
	for len(extensions.rest) > 0 && !extensions.short {
		number, data := extensions.uint16(), cursor{rest: extensions.block16()}
		switch number {
		case extSupportedVersions:
			if v := data.uint16(); !data.short {
				a.version = v
			}
		case extKeyShare:
			a.group = data.uint16()
		case extSCT:
			a.scts = splitSCTs(data.rest)
		case extRenegotiation:
			a.renegotiation = true
		case extExtendedMaster:
			a.extendedMaster = true
		case extHeartbeat:
			a.heartbeat = true
		case extSessionTicket:
			a.willTicket = true
		}
	}
	return nil
}

// readCertificates takes the certificates out of a Certificate message (RFC 5246 section 7.4.2), and counts them.
func readCertificates(body []byte) (chain [][]byte, length int) {
	in := cursor{rest: body}
	list := cursor{rest: in.block24()}
	for len(list.rest) > 0 {
		der := list.block24()
		if list.short || len(der) == 0 || len(der) > maxCertificate {
			break
		}
		length++
		if len(chain) < maxChain {
			chain = append(chain, bytes.Clone(der))
		}
	}
	return chain, length
}

// readStatus takes the OCSP response out of a CertificateStatus message (RFC 6066 section 8).
func readStatus(body []byte) []byte {
	in := cursor{rest: body}
	kind := in.uint8()
	if out := in.block24(); kind == 1 && !in.short && len(out) <= maxStaple {
		return bytes.Clone(out)
	}
	return nil
}

// readExchange reads a ServerKeyExchange (RFC 5246 section 7.4.3, RFC 8422 section 5.4) as far as the suite tells its form.
func (a *answer) readExchange(body []byte) {
	chosen, _ := suiteOf(a.suite)
	in := cursor{rest: body}
	switch chosen.keyExchange() {
	case "dhe":
		p := in.block16()
		in.block16()
		in.block16()
		if !in.short && len(p) > 0 && len(p) <= 2048 {
			a.exchange.prime = new(big.Int).SetBytes(p)
		}
	case "ecdhe":
		if in.uint8() == 3 { // named_curve
			a.group = in.uint16()
		}
		in.bytes(int(in.uint8()))
	case "rsa":
		if n := in.block16(); !in.short && len(n) <= 2048 {
			a.exchange.rsaBits = new(big.Int).SetBytes(n).BitLen()
		}
		in.block16()
	default:
		return
	}
	if a.version == versionTLS12 && chosen.classes()&classAnon == 0 && !in.short && len(in.rest) >= 4 {
		a.exchange.signature = in.uint16()
	}
}

// splitSCTs takes a SignedCertificateTimestampList apart (RFC 6962 section 3.3).
func splitSCTs(list []byte) [][]byte {
	in := cursor{rest: list}
	in = cursor{rest: in.block16()}
	var out [][]byte
	for len(in.rest) > 0 && len(out) < maxSCTs {
		sct := in.block16()
		if in.short || len(sct) == 0 {
			break
		}
		out = append(out, bytes.Clone(sct))
	}
	return out
}

// cursor reads numbers and blocks off the front of a slice. Reading past the end gives zeros and sets short.
type cursor struct {
	rest  []byte
	short bool
}

func (c *cursor) bytes(n int) []byte {
	if n < 0 || n > len(c.rest) {
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

func (c *cursor) uint32() uint32 {
	if b := c.bytes(4); b != nil {
		return binary.BigEndian.Uint32(b)
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

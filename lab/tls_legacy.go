package lab

import (
	"bytes"
	"context"
	"crypto/rsa"
	"crypto/tls"
	"encoding/binary"
	"io"
	"math/big"
	"net"
	"slices"

	"golang.org/x/crypto/cryptobyte"
)

// legacyTLS answers hellos as servers did that no library can play any more. It says what it would speak, and refuses or leaks
// when the conversation goes on; no key is ever agreed on. For each version it picks the first of its own suites that the
// client offers.
type legacyTLS struct {
	certificate
	// suites by version; the highest version not above the client's is chosen.
	suites map[uint16][]uint16
	// ssl2 are the cipher kinds of SSLv2, if it speaks that.
	ssl2 []uint32
	// prime of finite-field Diffie-Hellman in bits: 512 or 1024.
	prime int
	// curve of ECDHE, and the signature algorithm that a key exchange of TLS 1.2 says it has.
	curve, signature uint16
	// compress and secure take the offer, as does scsv of a fallback.
	compress, secure, scsv bool
	// heartbleed, earlyChange and oracle are the flaws of those names; intolerant hangs up on unknown values.
	heartbleed, earlyChange, oracle, intolerant bool
	// chain replaces the certificates that are sent.
	chain func(*authority, host, net.IP) ([][]byte, error)
}

// Numbers of TLS that the legacy server uses (RFC 5246 section 6.2 and 7.4, RFC 6520, RFC 3749, RFC 7507).
const (
	recordChange    = 20
	recordAlert     = 21
	recordHandshake = 22
	recordHeartbeat = 24

	extensionHeartbeat     = 15
	extensionRenegotiation = 0xff01

	alertUnexpected = 10
	alertBadMAC     = 20
	alertRefused    = 40
	alertFallback   = 86

	suiteFallback = 0x5600
	suiteGREASE   = 0x3a3a
)

// oakley1 and oakley2 are the primes of RFC 2409 section 6.1 and 6.2, cut and whole: their first bits make the short one.
var oakley2, _ = new(big.Int).SetString("ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74020bbea63b139b22514a08798e3404dd"+
	"ef9519b3cd3a431b302b0a6df25f14374fe1356d6d51c245e485b576625e7ec6f44c42e9a637ed6b0bff5cb6f406b7edee386bfb5a899fa5ae9f24117c4b1fe6"+
	"49286651ece65381ffffffffffffffff", 16)

// legacy serves a legacyTLS.
func legacy(l legacyTLS) starter {
	return func(ctx context.Context, r *running, h host, s sockets) error {
		address := r.plan.address(h.number).AsSlice()
		chain := l.chain
		if chain == nil {
			chain = func(a *authority, h host, address net.IP) ([][]byte, error) {
				cert, err := a.issue(l.certificate, h, address)
				return cert.Certificate, err
			}
		}
		ders, err := chain(r.authority, h, address)
		if err != nil {
			return err
		}
		key, err := parseKey(rsa2048)
		if err != nil {
			return err
		}
		r.stream(ctx, s.tcp, func(_ context.Context, conn net.Conn) { l.talk(conn, ders, key) })
		return nil
	}
}

func (l legacyTLS) talk(conn net.Conn, chain [][]byte, key *rsa.PrivateKey) {
	first := make([]byte, 1)
	if _, err := io.ReadFull(conn, first); err != nil {
		return
	}
	if first[0]&0x80 != 0 {
		l.talk2(conn, first[0], chain[0])
		return
	}
	in := io.MultiReader(bytes.NewReader(first), conn)
	kind, body, ok := readTLSRecord(in)
	hello, good := parseClientHello(body)
	if !ok || !good || kind != recordHandshake || l.intolerant && slices.Contains(hello.suites, suiteGREASE) {
		return
	}
	version := uint16(0)
	newest := uint16(0)
	for v := range l.suites {
		newest = max(newest, v)
		if v <= hello.version {
			version = max(version, v)
		}
	}
	at := slices.IndexFunc(l.suites[version], func(id uint16) bool { return slices.Contains(hello.suites, id) })
	refusal := byte(0)
	switch {
	case l.scsv && slices.Contains(hello.suites, suiteFallback) && newest > hello.version:
		refusal = alertFallback
	case at < 0:
		refusal = alertRefused
	}
	if refusal != 0 {
		_, _ = conn.Write([]byte{recordAlert, 3, 1, 0, 2, 2, refusal})
		return
	}
	if _, err := conn.Write(l.flight(version, l.suites[version][at], hello, chain)); err == nil {
		l.after(conn, byte(version), key)
	}
}

// talk2 answers a hello of SSLv2 (draft-hickman-netscape-ssl-00).
func (l legacyTLS) talk2(conn net.Conn, first byte, certificate []byte) {
	var second [1]byte
	if _, err := io.ReadFull(conn, second[:]); err != nil || l.ssl2 == nil {
		return
	}
	_, _ = io.CopyN(io.Discard, conn, int64(first&0x7f)<<8|int64(second[0]))
	body := []byte{4, 0, 1, 0, 2}
	body = binary.BigEndian.AppendUint16(body, uint16(len(certificate)))
	body = binary.BigEndian.AppendUint16(body, uint16(3*len(l.ssl2)))
	body = append(binary.BigEndian.AppendUint16(body, 16), certificate...)
	for _, id := range l.ssl2 {
		body = append(body, byte(id>>16), byte(id>>8), byte(id))
	}
	body = append(body, make([]byte, 16)...)
	_, _ = conn.Write(append([]byte{0x80 | byte(len(body)>>8), byte(len(body))}, body...))
}

// clientHello is what matters of a hello.
type clientHello struct {
	version             uint16
	sessionID           []byte
	suites              []uint16
	compress, heartbeat bool
}

func parseClientHello(record []byte) (clientHello, bool) {
	in := cryptobyte.String(record)
	var out clientHello
	var id, suites, methods, extensions cryptobyte.String
	if !in.Skip(4) || !in.ReadUint16(&out.version) || !in.Skip(32) || !in.ReadUint8LengthPrefixed(&id) ||
		!in.ReadUint16LengthPrefixed(&suites) || !in.ReadUint8LengthPrefixed(&methods) {
		return out, false
	}
	out.sessionID = id
	for !suites.Empty() {
		var suite uint16
		if !suites.ReadUint16(&suite) {
			return out, false
		}
		out.suites = append(out.suites, suite)
	}
	out.compress = bytes.Contains(methods, []byte{1})
	if !in.ReadUint16LengthPrefixed(&extensions) {
		return out, true // none
	}
	for !extensions.Empty() {
		var number uint16
		var data cryptobyte.String
		if !extensions.ReadUint16(&number) || !extensions.ReadUint16LengthPrefixed(&data) {
			return out, false
		}
		out.heartbeat = out.heartbeat || number == extensionHeartbeat
	}
	return out, true
}

// flight is the server's first flight: ServerHello, Certificate, ServerKeyExchange where the suite has one, ServerHelloDone.
func (l legacyTLS) flight(version, suite uint16, hello clientHello, chain [][]byte) []byte {
	b := cryptobyte.NewBuilder(nil)
	message := func(kind uint8, body func(*cryptobyte.Builder)) {
		b.AddUint8(kind)
		b.AddUint24LengthPrefixed(body)
	}
	message(2, func(b *cryptobyte.Builder) {
		b.AddUint16(version)
		b.AddBytes(make([]byte, 32))
		b.AddUint8(0)
		b.AddUint16(suite)
		b.AddUint8(boolByte(l.compress && hello.compress))
		if version == tls.VersionSSL30 { //nolint:staticcheck // the point of it
			return
		}
		b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
			if l.secure {
				b.AddUint16(extensionRenegotiation)
				b.AddBytes([]byte{0, 1, 0})
			}
			if l.heartbleed && hello.heartbeat {
				b.AddUint16(extensionHeartbeat)
				b.AddBytes([]byte{0, 1, 1})
			}
		})
	})
	if !anonymousSuites[suite] {
		message(11, func(b *cryptobyte.Builder) {
			b.AddUint24LengthPrefixed(func(b *cryptobyte.Builder) {
				for _, der := range chain {
					b.AddUint24LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(der) })
				}
			})
		})
	}
	if exchange := l.exchange(version, suite); exchange != nil {
		message(12, func(b *cryptobyte.Builder) { b.AddBytes(exchange) })
	}
	message(14, func(*cryptobyte.Builder) {})
	var out []byte
	for part := range slices.Chunk(b.BytesOrPanic(), 1<<14) {
		out = append(out, recordHandshake, byte(version>>8), byte(version), byte(len(part)>>8), byte(len(part)))
		out = append(out, part...)
	}
	return out
}

// Suites with a ServerKeyExchange, and those without a certificate (IANA TLS Cipher Suites).
var (
	finiteSuites    = map[uint16]bool{0x0014: true, 0x0016: true, 0x0018: true, 0x0033: true, 0x009e: true}
	curveSuites     = map[uint16]bool{0xc013: true, 0xc02f: true}
	anonymousSuites = map[uint16]bool{0x0018: true}
)

func (l legacyTLS) exchange(version, suite uint16) []byte {
	var out []byte
	switch {
	case finiteSuites[suite]:
		prime := new(big.Int).Rsh(oakley2, uint(1024-max(l.prime, 512))).Bytes()
		for _, value := range [][]byte{prime, {2}, prime} {
			out = append(binary.BigEndian.AppendUint16(out, uint16(len(value))), value...)
		}
	case curveSuites[suite]:
		out = []byte{3, byte(l.curve >> 8), byte(l.curve), 2, 4, 4}
	default:
		return nil
	}
	if version == tls.VersionTLS12 && !anonymousSuites[suite] {
		out = binary.BigEndian.AppendUint16(out, l.signature)
	}
	return append(out, 0, 4, 1, 2, 3, 4)
}

// after hears what follows the flight, and refuses it or plays a flaw.
func (l legacyTLS) after(conn net.Conn, minor byte, key *rsa.PrivateKey) {
	changed, exchanged := false, false
	verdict := byte(alertUnexpected)
	for {
		kind, body, ok := readTLSRecord(conn)
		switch {
		case !ok:
			return
		case kind == recordHeartbeat && l.heartbleed:
			// One byte that was not sent, and the padding: made up, like all here.
			_, _ = conn.Write(append([]byte{recordHeartbeat, 3, minor, 0, 20, 2, 0, 1, 'x'}, make([]byte, 16)...))
			return
		case kind == recordChange && (l.earlyChange || exchanged):
			changed = true
			continue
		case kind == recordHandshake && len(body) > 6 && body[0] == 16 && !exchanged:
			exchanged, verdict = true, l.judge(body[6:], key)
			continue
		case kind == recordHandshake && changed && !exchanged:
			verdict = alertBadMAC
		}
		_, _ = conn.Write([]byte{recordAlert, 3, minor, 0, 2, 2, verdict})
		return
	}
}

// judge is the alert that follows an RSA key exchange: the same for all, or with the flaw another one for wrong paddings.
func (l legacyTLS) judge(sealed []byte, key *rsa.PrivateKey) byte {
	plain := new(big.Int).Exp(new(big.Int).SetBytes(sealed), key.D, key.N).FillBytes(make([]byte, key.Size()))
	if !l.oracle || plain[0] == 0 && plain[1] == 2 {
		return alertBadMAC
	}
	return alertRefused
}

func readTLSRecord(r io.Reader) (kind byte, body []byte, ok bool) {
	var header [5]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return 0, nil, false
	}
	body = make([]byte, min(int(binary.BigEndian.Uint16(header[3:])), 1<<14))
	_, err := io.ReadFull(r, body)
	return header[0], body, err == nil
}

func boolByte(b bool) byte {
	if b {
		return 1
	}
	return 0
}

package tls

import (
	"bytes"
	"crypto/rsa"
	"encoding/binary"
	"io"
	"math/big"
	"net"
	"slices"
	"testing"
)

// legacyServer answers hellos as servers did that no library can play any more: for each version it knows it picks the first
// of its own suites that the client offers, and sends ServerHello, Certificate, ServerKeyExchange and ServerHelloDone. What comes
// next it refuses, unless it plays a flaw.
type legacyServer struct {
	// suites by version, in the server's order; the highest version not above the client's is chosen.
	suites map[uint16][]uint16
	chain  [][]byte
	// hangUp closes the connection instead of sending an alert.
	hangUp bool
	// strict refuses hellos of versions above its own instead of choosing a lower one.
	strict bool
	// ssl2 are the cipher kinds of SSLv2, if it speaks that.
	ssl2 []uint32
	// prime of finite-field Diffie-Hellman; nil sends no ServerKeyExchange. curve is the one for ECDHE.
	prime *big.Int
	curve uint16
	// compress and heartbeat take the offer; secure announces secure renegotiation; scsv knows TLS_FALLBACK_SCSV.
	compress, heartbeat, secure, scsv bool
	// Flaws.
	heartbleed, earlyChange, ticketbleed bool
	// oracle answers wrong paddings with another alert than right ones; key opens them.
	oracle bool
	key    *rsa.PrivateKey
	// intolerant hangs up on unknown values.
	intolerant bool
}

func (l legacyServer) start(t testing.TB) net.Addr {
	t.Helper()
	return serve(t, l.handle)
}

func (l legacyServer) handle(conn net.Conn) {
	first := make([]byte, 1)
	if _, err := io.ReadFull(conn, first); err != nil {
		return
	}
	if first[0]&0x80 != 0 {
		l.handle2(conn, first[0])
		return
	}
	offered, ok := readHello(io.MultiReader(bytes.NewReader(first), conn))
	if !ok {
		return
	}
	version := uint16(0)
	for v := range l.suites {
		if v <= offered.version && v > version && (!l.strict || v == offered.version) {
			version = v
		}
	}
	at := slices.IndexFunc(l.suites[version], func(id uint16) bool { return slices.Contains(offered.suites, id) })
	switch {
	case l.intolerant && slices.Contains(offered.suites, grease):
		return
	case l.scsv && slices.Contains(offered.suites, scsvFallback) && l.newest() > offered.version:
		_, _ = conn.Write([]byte{recordAlert, 3, 1, 0, 2, 2, alertFallback})
		return
	case at < 0 && !l.hangUp:
		_, _ = conn.Write([]byte{recordAlert, 3, 1, 0, 2, 2, 40})
		return
	case at < 0:
		return
	}
	if _, err := conn.Write(l.flight(version, l.suites[version][at], offered)); err != nil {
		return
	}
	l.after(conn, version)
}

func (l legacyServer) newest() uint16 {
	out := uint16(0)
	for v := range l.suites {
		out = max(out, v)
	}
	return out
}

// after reads what follows the flight, and refuses it or plays a flaw.
func (l legacyServer) after(conn net.Conn, version uint16) {
	changed, exchanged := false, false
	verdict := byte(alertUnexpected)
	for {
		kind, body, ok := readRecord(conn)
		switch {
		case !ok:
			return
		case kind == recordHeartbeat && l.heartbleed:
			_, _ = conn.Write(appendBlock16([]byte{recordHeartbeat, 3, byte(version)}, append([]byte{2, 0, 1, 'x'}, make([]byte, 16)...)))
			return
		case kind == recordHeartbeat: // discarded
		case kind == recordChangeCipher && (l.earlyChange || exchanged):
			changed = true
			continue
		case kind == recordHandshake && len(body) > 4 && body[0] == 16 && !exchanged:
			exchanged = true
			verdict = l.judge(body[4:])
			continue
		case kind == recordHandshake && changed && !exchanged:
			verdict = alertBadMAC
		}
		_, _ = conn.Write([]byte{recordAlert, 3, byte(version), 0, 2, 2, verdict})
		return
	}
}

// judge is the alert for an RSA key exchange.
func (l legacyServer) judge(exchange []byte) byte {
	if !l.oracle || len(exchange) < 3 {
		return alertBadMAC
	}
	plain := new(big.Int).Exp(new(big.Int).SetBytes(exchange[2:]), l.key.D, l.key.N).FillBytes(make([]byte, l.key.Size()))
	if plain[0] == 0 && plain[1] == 2 {
		return alertBadMAC
	}
	return 40
}

func (l legacyServer) handle2(conn net.Conn, first byte) {
	var second [1]byte
	if _, err := io.ReadFull(conn, second[:]); err != nil {
		return
	}
	_, _ = io.CopyN(io.Discard, conn, int64(first&0x7f)<<8|int64(second[0]))
	if l.ssl2 == nil {
		return
	}
	certificate := []byte{}
	if len(l.chain) > 0 {
		certificate = l.chain[0]
	}
	body := []byte{ssl2ServerHello, 0, 1, 0, 2}
	body = binary.BigEndian.AppendUint16(body, uint16(len(certificate)))
	body = binary.BigEndian.AppendUint16(body, uint16(3*len(l.ssl2)))
	body = append(binary.BigEndian.AppendUint16(body, 16), certificate...)
	for _, id := range l.ssl2 {
		body = append(body, byte(id>>16), byte(id>>8), byte(id))
	}
	body = append(body, make([]byte, 16)...)
	_, _ = conn.Write(append([]byte{0x80 | byte(len(body)>>8), byte(len(body))}, body...))
}

// flight is the server's first flight.
func (l legacyServer) flight(version, chosen uint16, offered hello) []byte {
	body := binary.BigEndian.AppendUint16(nil, version)
	body = append(body, make([]byte, 32)...)
	id := offered.sessionID
	switch {
	case l.ticketbleed && len(offered.ticket) > 0:
		id = append(slices.Clone(id), make([]byte, 32-len(id))...)
	case len(offered.ticket) == 0:
		id = nil
	}
	body = append(append(body, byte(len(id))), id...)
	body = append(body, byte(chosen>>8), byte(chosen))
	method := byte(0)
	if l.compress && offered.compress {
		method = compressDeflate
	}
	body = append(body, method)
	var extensions []byte
	if l.secure {
		extensions = appendExtension(extensions, extRenegotiation, []byte{0})
	}
	if l.heartbeat && offered.heartbeat {
		extensions = appendExtension(extensions, extHeartbeat, []byte{1})
	}
	if len(extensions) > 0 {
		body = appendBlock16(body, extensions)
	}
	return flightOf(version, body, l.chain, l.exchange(chosen))
}

func (l legacyServer) exchange(chosen uint16) []byte {
	s, _ := suiteOf(chosen)
	switch {
	case s.keyExchange() == "dhe" && l.prime != nil:
		out := appendBlock16(nil, l.prime.Bytes())
		out = appendBlock16(out, []byte{2})
		return append(appendBlock16(out, l.prime.Bytes()), make([]byte, 8)...)
	case s.keyExchange() == "ecdhe" && l.curve != 0:
		return append([]byte{3, byte(l.curve >> 8), byte(l.curve), 2, 1, 2}, make([]byte, 8)...)
	}
	return nil
}

// helloOf is the body of a ServerHello without extensions.
func helloOf(version, chosen uint16) []byte {
	hello := binary.BigEndian.AppendUint16(nil, version)
	hello = append(hello, make([]byte, 32)...)
	return append(hello, 0, byte(chosen>>8), byte(chosen), 0)
}

// flightOf writes a server's first flight, split over two records in the middle of a message.
func flightOf(version uint16, hello []byte, chain [][]byte, exchange []byte) []byte {
	message := func(kind byte, body []byte) []byte {
		return append([]byte{kind, byte(len(body) >> 16), byte(len(body) >> 8), byte(len(body))}, body...)
	}
	flight := message(typeServerHello, hello)
	if len(chain) > 0 {
		var list []byte
		for _, der := range chain {
			list = append(append(list, byte(len(der)>>16), byte(len(der)>>8), byte(len(der))), der...)
		}
		flight = append(flight, message(typeCertificate, append([]byte{byte(len(list) >> 16), byte(len(list) >> 8), byte(len(list))}, list...))...)
	}
	if exchange != nil {
		flight = append(flight, message(typeServerKeyExchange, exchange)...)
	}
	flight = append(flight, message(typeServerHelloDone, nil)...)
	var out []byte
	for len(flight) > 0 {
		n := min(len(flight), max(len(flight)/2, 1), 1<<14)
		if len(flight) < 64 {
			n = len(flight)
		}
		out = append(out, appendBlock16([]byte{recordHandshake, byte(version >> 8), byte(version)}, flight[:n])...)
		flight = flight[n:]
	}
	return out
}

func readRecord(r io.Reader) (kind byte, body []byte, ok bool) {
	var header [5]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return 0, nil, false
	}
	body = make([]byte, binary.BigEndian.Uint16(header[3:]))
	_, err := io.ReadFull(r, body)
	return header[0], body, err == nil
}

// readHello reads a ClientHello with code that shares nothing with the code that wrote it but the cursor.
func readHello(r io.Reader) (hello, bool) {
	kind, body, ok := readRecord(r)
	if !ok || kind != recordHandshake {
		return hello{}, false
	}
	in := cursor{rest: body}
	in.bytes(4)
	out := hello{version: in.uint16()}
	in.bytes(32)
	out.sessionID = slices.Clone(in.bytes(int(in.uint8())))
	list := cursor{rest: in.block16()}
	for len(list.rest) > 0 {
		out.suites = append(out.suites, list.uint16())
	}
	out.compress = bytes.Contains(in.bytes(int(in.uint8())), []byte{compressDeflate})
	extensions := cursor{rest: in.block16()}
	for len(extensions.rest) > 0 && !extensions.short {
		number, data := extensions.uint16(), extensions.block16()
		switch number {
		case extHeartbeat:
			out.heartbeat = true
		case extSessionTicket:
			out.ticket = slices.Clone(data)
		}
	}
	return out, !in.short
}

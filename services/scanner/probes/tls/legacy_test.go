package tls

import (
	"encoding/binary"
	"io"
	"net"
	"slices"
	"testing"
)

// legacyServer answers hellos as servers did that no library can play any more: for each version it knows it picks the first
// of its own suites that the client offers, and sends ServerHello, Certificate and ServerHelloDone.
type legacyServer struct {
	// suites by version, in the server's order; the highest version not above the client's is chosen.
	suites map[uint16][]uint16
	chain  [][]byte
	// hangUp closes the connection instead of sending an alert.
	hangUp bool
	// strict refuses hellos of versions above its own instead of choosing a lower one.
	strict bool
}

func (l legacyServer) start(t testing.TB) net.Addr {
	t.Helper()
	return serve(t, l.handle)
}

func (l legacyServer) handle(conn net.Conn) {
	offered, ok := readHello(conn)
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
	if at < 0 {
		if !l.hangUp {
			_, _ = conn.Write([]byte{recordAlert, 3, 1, 0, 2, 2, 40})
		}
		return
	}
	_, _ = conn.Write(flightOf(version, l.suites[version][at], l.chain))
	_, _ = io.Copy(io.Discard, conn)
}

// flightOf writes a server's first flight, split over two records in the middle of a message.
func flightOf(version, chosen uint16, chain [][]byte) []byte {
	message := func(kind byte, body []byte) []byte {
		return append([]byte{kind, byte(len(body) >> 16), byte(len(body) >> 8), byte(len(body))}, body...)
	}
	hello := binary.BigEndian.AppendUint16(nil, version)
	hello = append(hello, make([]byte, 32)...)
	hello = append(hello, 0, byte(chosen>>8), byte(chosen), 0)
	flight := message(typeServerHello, hello)
	if len(chain) > 0 {
		var list []byte
		for _, der := range chain {
			list = append(append(list, byte(len(der)>>16), byte(len(der)>>8), byte(len(der))), der...)
		}
		flight = append(flight, message(typeCertificate, append([]byte{byte(len(list) >> 16), byte(len(list) >> 8), byte(len(list))}, list...))...)
	}
	flight = append(flight, message(typeServerHelloDone, nil)...)
	half := len(flight) / 2
	out := appendBlock16([]byte{recordHandshake, byte(version >> 8), byte(version)}, flight[:half])
	return append(out, appendBlock16([]byte{recordHandshake, byte(version >> 8), byte(version)}, flight[half:])...)
}

// readHello reads a ClientHello with code that shares nothing with the code that wrote it but the cursor.
func readHello(r io.Reader) (hello, bool) {
	var header [5]byte
	if _, err := io.ReadFull(r, header[:]); err != nil || header[0] != recordHandshake {
		return hello{}, false
	}
	body := make([]byte, binary.BigEndian.Uint16(header[3:]))
	if _, err := io.ReadFull(r, body); err != nil {
		return hello{}, false
	}
	in := cursor{rest: body}
	in.bytes(4)
	out := hello{version: in.uint16()}
	in.bytes(32)
	in.bytes(int(in.uint8()))
	list := cursor{rest: in.block16()}
	for len(list.rest) > 0 {
		out.suites = append(out.suites, list.uint16())
	}
	return out, !in.short
}

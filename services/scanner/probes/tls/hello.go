package tls

import (
	"crypto/rand"
	"encoding/binary"
	"net/netip"
)

// Protocol versions as they stand on the wire.
const (
	versionSSL3  uint16 = 0x0300
	versionTLS10 uint16 = 0x0301
	versionTLS11 uint16 = 0x0302
	versionTLS12 uint16 = 0x0303
	versionTLS13 uint16 = 0x0304
)

// versions are the words of TlsFact.versions, oldest first.
var versions = []struct {
	number uint16
	name   string
}{
	{versionSSL3, "SSLv3"}, {versionTLS10, "TLS1.0"}, {versionTLS11, "TLS1.1"}, {versionTLS12, "TLS1.2"}, {versionTLS13, "TLS1.3"},
}

// Extension numbers (IANA TLS ExtensionType Values).
const (
	extServerName        = 0
	extStatusRequest     = 5
	extSupportedGroups   = 10
	extPointFormats      = 11
	extSignatureAlgs     = 13
	extSCT               = 18
	extPadding           = 21
	extExtendedMaster    = 23
	extSupportedVersions = 43
	extKeyShare          = 51
	extRenegotiation     = 0xff01
)

// scsvRenegotiation is TLS_EMPTY_RENEGOTIATION_INFO_SCSV: the sign of secure renegotiation for SSLv3 servers, which know no
// extensions (RFC 5746 section 3.3). It is no suite.
const scsvRenegotiation uint16 = 0x00ff

// groups offered: X25519, the three NIST curves and X448, then the finite fields of RFC 7919; old servers with other DHE
// parameters ignore the latter.
var groups = []uint16{0x001d, 0x0017, 0x0018, 0x0019, 0x001e, 0x0100, 0x0101}

// signatureAlgorithms offered: everything that was ever common, down to MD5 and DSA, because the aim is to be answered.
var signatureAlgorithms = []uint16{
	0x0403, 0x0503, 0x0603, 0x0807, 0x0808, 0x0804, 0x0805, 0x0806, 0x0809, 0x080a, 0x080b,
	0x0401, 0x0501, 0x0601, 0x0303, 0x0301, 0x0203, 0x0201, 0x0402, 0x0202, 0x0101,
}

// hello is a ClientHello to be written. It offers to speak, and the probe leaves after hearing the answer: no key is ever
// agreed on, so suites can be offered that nobody should implement.
type hello struct {
	// version is the highest version offered.
	version uint16
	// suites offered, by number, in order of preference.
	suites []uint16
	// serverName for the SNI extension; an address is left out (RFC 6066 section 3).
	serverName string
}

// record writes the hello as one TLS record.
func (h hello) record() []byte {
	legacy := min(h.version, versionTLS12) // RFC 8446 section 4.1.2: legacy_version stays TLS 1.2
	body := binary.BigEndian.AppendUint16(nil, legacy)
	body = append(body, random(32)...)
	if h.version >= versionTLS13 {
		body = append(append(body, 32), random(32)...) // a session id, for middleboxes (RFC 8446 appendix D.4)
	} else {
		body = append(body, 0)
	}
	offered := h.suites
	if h.version < versionTLS13 {
		offered = append(append([]uint16{}, h.suites...), scsvRenegotiation)
	}
	body = appendNumbers16(body, offered)
	body = append(body, 1, 0) // compression: null
	if h.version > versionSSL3 {
		body = appendBlock16(body, h.extensions(4+len(body)))
	}
	message := []byte{typeClientHello, byte(len(body) >> 16), byte(len(body) >> 8), byte(len(body))}
	message = append(message, body...)
	out := []byte{recordHandshake}
	out = binary.BigEndian.AppendUint16(out, min(h.version, versionTLS10))
	return appendBlock16(out, message)
}

// extensions writes the extensions of a hello whose message has size bytes so far.
func (h hello) extensions(size int) []byte {
	var out []byte
	if _, err := netip.ParseAddr(h.serverName); err != nil && h.serverName != "" {
		name := appendBlock16([]byte{0}, []byte(h.serverName))
		out = appendExtension(out, extServerName, appendBlock16(nil, name))
	}
	out = appendExtension(out, extStatusRequest, []byte{1, 0, 0, 0, 0})
	out = appendExtension(out, extSupportedGroups, appendNumbers16(nil, groups))
	out = appendExtension(out, extPointFormats, []byte{1, 0})
	if h.version >= versionTLS12 {
		out = appendExtension(out, extSignatureAlgs, appendNumbers16(nil, signatureAlgorithms))
	}
	out = appendExtension(out, extSCT, nil)
	out = appendExtension(out, extExtendedMaster, nil)
	out = appendExtension(out, extRenegotiation, []byte{0})
	if h.version >= versionTLS13 {
		out = appendExtension(out, extSupportedVersions, []byte{8, 3, 4, 3, 3, 3, 2, 3, 1})
		// Any 32 bytes are an X25519 key (RFC 7748 section 5); nobody will need its secret.
		share := appendBlock16([]byte{0x00, 0x1d}, random(32))
		out = appendExtension(out, extKeyShare, appendBlock16(nil, share))
	}
	// Some load balancers hang on hellos of 256 to 511 bytes (RFC 7685).
	if total := size + 2 + len(out); total > 255 && total < 512 {
		out = appendExtension(out, extPadding, make([]byte, max(0, 512-total-4)))
	}
	return out
}

func appendExtension(out []byte, number uint16, data []byte) []byte {
	return appendBlock16(binary.BigEndian.AppendUint16(out, number), data)
}

// appendBlock16 appends data behind its length in two bytes.
func appendBlock16(out, data []byte) []byte {
	return append(binary.BigEndian.AppendUint16(out, uint16(len(data))), data...)
}

func appendNumbers16(out []byte, numbers []uint16) []byte {
	out = binary.BigEndian.AppendUint16(out, uint16(2*len(numbers)))
	for _, n := range numbers {
		out = binary.BigEndian.AppendUint16(out, n)
	}
	return out
}

func random(n int) []byte {
	out := make([]byte, n)
	_, _ = rand.Read(out) // never fails: crypto/rand ends the process instead
	return out
}

package tls

import (
	"crypto/rand"
	"encoding/binary"
	"net/netip"
)

// Protocol versions as they stand on the wire.
const (
	versionSSL2  uint16 = 0x0002
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
	{versionSSL2, "SSLv2"}, {versionSSL3, "SSLv3"}, {versionTLS10, "TLS1.0"}, {versionTLS11, "TLS1.1"}, {versionTLS12, "TLS1.2"},
	{versionTLS13, "TLS1.3"},
}

// Extension numbers (IANA TLS ExtensionType Values).
const (
	extServerName        = 0
	extStatusRequest     = 5
	extSupportedGroups   = 10
	extPointFormats      = 11
	extSignatureAlgs     = 13
	extHeartbeat         = 15
	extALPN              = 16
	extSCT               = 18
	extPadding           = 21
	extExtendedMaster    = 23
	extSessionTicket     = 35
	extSupportedVersions = 43
	extPSKModes          = 45
	extKeyShare          = 51
	extRenegotiation     = 0xff01
)

// Suites that are signs and no suites.
const (
	// scsvRenegotiation is TLS_EMPTY_RENEGOTIATION_INFO_SCSV: the sign of secure renegotiation for SSLv3 servers, which know no
	// extensions (RFC 5746 section 3.3).
	scsvRenegotiation uint16 = 0x00ff
	// scsvFallback is TLS_FALLBACK_SCSV: the sign of a client that tries again with an older version (RFC 7507).
	scsvFallback uint16 = 0x5600
)

// grease is a value that stands for something unknown (RFC 8701 section 2).
const grease uint16 = 0x3a3a

// signatureAlgorithms offered: everything that was ever common, down to MD5 and DSA, because the aim is to be answered.
var signatureAlgorithms = []uint16{
	0x0403, 0x0503, 0x0603, 0x0807, 0x0808, 0x0804, 0x0805, 0x0806, 0x0809, 0x080a, 0x080b,
	0x0401, 0x0501, 0x0601, 0x0303, 0x0301, 0x0203, 0x0201, 0x0402, 0x0202, 0x0101, 0x0103,
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
	// groups offered; nil for all.
	groups []uint16
	// noShare sends no key for TLS 1.3, so that the server has to name the group it wants (RFC 8446 section 4.2.8).
	noShare bool
	// signatures offered; nil for all.
	signatures []uint16
	// sessionID to be resumed; nil for none.
	sessionID []byte
	// ticket to be resumed; nil for none. An empty one asks for a ticket.
	ticket []byte
	// renegotiation is the client's Finished value of the handshake before (RFC 5746 section 3.5); nil for a first handshake.
	renegotiation []byte
	// Extras that some servers stumble over, so that they are sent on purpose only.
	compress, heartbeat, grease, fallback bool
}

// record writes the hello as one TLS record.
func (h hello) record() []byte {
	legacy := min(h.version, versionTLS12) // RFC 8446 section 4.1.2: legacy_version stays TLS 1.2
	body := binary.BigEndian.AppendUint16(nil, legacy)
	body = append(body, random(32)...)
	switch {
	case h.sessionID != nil:
		body = append(append(body, byte(len(h.sessionID))), h.sessionID...)
	case h.version >= versionTLS13:
		body = append(append(body, 32), random(32)...) // for middleboxes (RFC 8446 appendix D.4)
	default:
		body = append(body, 0)
	}
	body = appendNumbers16(body, h.offered())
	if h.compress && h.version < versionTLS13 {
		body = append(body, 2, compressDeflate, 0)
	} else {
		body = append(body, 1, 0) // compression: null
	}
	if h.version > versionSSL3 {
		body = appendBlock16(body, h.extensions(4+len(body)))
	}
	message := []byte{typeClientHello, byte(len(body) >> 16), byte(len(body) >> 8), byte(len(body))}
	message = append(message, body...)
	out := []byte{recordHandshake}
	out = binary.BigEndian.AppendUint16(out, min(h.version, versionTLS10))
	return appendBlock16(out, message)
}

// compressDeflate is the compression method of RFC 3749.
const compressDeflate = 1

// offered is the list of suites with the signs among them.
func (h hello) offered() []uint16 {
	var out []uint16
	if h.grease {
		out = append(out, grease)
	}
	out = append(out, h.suites...)
	if h.version < versionTLS13 && h.renegotiation == nil { // never in a renegotiation (RFC 5746 section 3.5)
		out = append(out, scsvRenegotiation)
	}
	if h.fallback {
		out = append(out, scsvFallback)
	}
	return out
}

// extensions writes the extensions of a hello whose message has size bytes so far.
func (h hello) extensions(size int) []byte {
	var out []byte
	if h.grease {
		out = appendExtension(out, grease, nil)
	}
	if _, err := netip.ParseAddr(h.serverName); err != nil && h.serverName != "" {
		name := appendBlock16([]byte{0}, []byte(h.serverName))
		out = appendExtension(out, extServerName, appendBlock16(nil, name))
	}
	out = appendExtension(out, extStatusRequest, []byte{1, 0, 0, 0, 0})
	out = appendExtension(out, extSupportedGroups, appendNumbers16(nil, h.groupsOffered()))
	out = appendExtension(out, extPointFormats, []byte{1, 0})
	if h.version >= versionTLS12 {
		signatures := h.signatures
		if signatures == nil {
			signatures = signatureAlgorithms
		}
		out = appendExtension(out, extSignatureAlgs, appendNumbers16(nil, signatures))
	}
	if h.heartbeat {
		out = appendExtension(out, extHeartbeat, []byte{1}) // peer_allowed_to_send
	}
	out = appendExtension(out, extSCT, nil)
	out = appendExtension(out, extExtendedMaster, nil)
	if h.ticket != nil {
		out = appendExtension(out, extSessionTicket, h.ticket)
	}
	out = appendExtension(out, extRenegotiation, append([]byte{byte(len(h.renegotiation))}, h.renegotiation...))
	if h.version >= versionTLS13 {
		out = append(out, h.extensions13()...)
	}
	// Some load balancers hang on hellos of 256 to 511 bytes (RFC 7685).
	if total := size + 2 + len(out); total > 255 && total < 512 {
		out = appendExtension(out, extPadding, make([]byte, max(0, 512-total-4)))
	}
	return out
}

// extensions13 are those of TLS 1.3.
func (h hello) extensions13() []byte {
	offered := []byte{3, 4, 3, 3, 3, 2, 3, 1}
	var shares []byte
	if h.grease {
		offered = append(binary.BigEndian.AppendUint16(nil, grease), offered...)
		shares = appendBlock16(binary.BigEndian.AppendUint16(nil, grease), []byte{0})
	}
	if !h.noShare {
		// Any 32 bytes are an X25519 key (RFC 7748 section 5); nobody will need its secret.
		shares = append(shares, appendBlock16(binary.BigEndian.AppendUint16(nil, groupX25519), random(32))...)
	}
	out := appendExtension(nil, extSupportedVersions, append([]byte{byte(len(offered))}, offered...))
	out = appendExtension(out, extPSKModes, []byte{1, 1})
	return appendExtension(out, extKeyShare, appendBlock16(nil, shares))
}

func (h hello) groupsOffered() []uint16 {
	out := h.groups
	if out == nil {
		out = allGroups(h.version)
	}
	if h.grease {
		out = append([]uint16{grease}, out...)
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

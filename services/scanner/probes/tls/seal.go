package tls

import (
	"bufio"
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/sha512"
	stdtls "crypto/tls"
	"encoding/binary"
	"hash"
	"net"
	"time"

	"golang.org/x/crypto/chacha20poly1305"
)

// ticket13 is what a ticket of TLS 1.3 says.
type ticket13 struct{ seconds, earlyData uint32 }

// typeNewSessionTicket is the handshake message with a ticket, extEarlyData its extension (RFC 8446 section 4.6.1).
const (
	typeNewSessionTicket = 4
	extEarlyData         = 42
	// maxTickets bounds the tickets looked at.
	maxTickets = 16
)

// tickets13 reads the tickets behind a handshake of TLS 1.3 out of what was recorded of it, with the server's traffic secret:
// crypto/tls does not say how much early data they allow.
func tickets13(recorded, secret []byte, suiteID uint16) []ticket13 {
	open := opener13(secret, suiteID)
	if open == nil {
		return nil
	}
	in := flight{reader: bufio.NewReader(bytes.NewReader(recorded))}
	var messages []byte
	sequence := uint64(0)
	for {
		kind, body, err := in.record()
		if err != nil {
			return readTickets13(messages)
		}
		if kind != recordData {
			continue
		}
		header := []byte{recordData, 3, 3, byte(len(body) >> 8), byte(len(body))}
		plain, err := open(sequence, body, header)
		if err != nil {
			continue // of the handshake, which has another key
		}
		sequence++
		plain = bytes.TrimRight(plain, "\x00")
		if len(plain) > 0 && plain[len(plain)-1] == recordHandshake {
			messages = append(messages, plain[:len(plain)-1]...)
		}
	}
}

// readTickets13 reads the NewSessionTicket messages among messages.
func readTickets13(messages []byte) []ticket13 {
	var out []ticket13
	in := cursor{rest: messages}
	for len(in.rest) > 0 && len(out) < maxTickets {
		kind := in.uint8()
		body := cursor{rest: in.block24()}
		if in.short {
			break
		}
		if kind != typeNewSessionTicket {
			continue
		}
		t := ticket13{seconds: body.uint32()}
		body.uint32()
		body.bytes(int(body.uint8()))
		body.block16()
		extensions := cursor{rest: body.block16()}
		for len(extensions.rest) > 0 && !extensions.short {
			if number, data := extensions.uint16(), (cursor{rest: extensions.block16()}); number == extEarlyData {
				t.earlyData = data.uint32()
			}
		}
		out = append(out, t)
	}
	return out
}

// opener13 returns how records of TLS 1.3 under secret are opened (RFC 8446 section 5.2); nil for a suite that is not known.
func opener13(secret []byte, suiteID uint16) func(sequence uint64, sealed, header []byte) ([]byte, error) {
	h, size := sha256.New, 16
	switch suiteID {
	case stdtls.TLS_AES_128_GCM_SHA256:
	case stdtls.TLS_CHACHA20_POLY1305_SHA256:
		size = 32
	case stdtls.TLS_AES_256_GCM_SHA384:
		h, size = sha512.New384, 32
	default:
		return nil
	}
	key, err := expandLabel(h, secret, "key", size)
	if err != nil {
		return nil
	}
	iv, err := expandLabel(h, secret, "iv", 12)
	if err != nil {
		return nil
	}
	aead, err := chacha20poly1305.New(key[:min(len(key), 32)])
	if suiteID != stdtls.TLS_CHACHA20_POLY1305_SHA256 {
		aead, err = newGCM(key)
	}
	if err != nil {
		return nil
	}
	return func(sequence uint64, sealed, header []byte) ([]byte, error) {
		return aead.Open(nil, nonceOf(iv, sequence), sealed, header)
	}
}

// expandLabel is HKDF-Expand-Label with an empty context (RFC 8446 section 7.1).
func expandLabel(h func() hash.Hash, secret []byte, label string, size int) ([]byte, error) {
	label = "tls13 " + label
	info := binary.BigEndian.AppendUint16(nil, uint16(size))
	info = append(append(append(info, byte(len(label))), label...), 0)
	return hkdf.Expand(h, secret, string(info), size)
}

func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// nonceOf is iv with the sequence number drawn into its end.
func nonceOf(iv []byte, sequence uint64) []byte {
	nonce := bytes.Clone(iv)
	tail := nonce[len(nonce)-8:]
	binary.BigEndian.PutUint64(tail, binary.BigEndian.Uint64(tail)^sequence)
	return nonce
}

// ticketSeconds is how long the ticket in a recorded handshake of TLS 1.2 is said to live (RFC 5077 section 3.3).
func ticketSeconds(recorded []byte) uint32 {
	in := flight{reader: bufio.NewReader(bytes.NewReader(recorded))}
	for {
		kind, body, err := in.message()
		if err != nil {
			return 0 // from the ChangeCipherSpec on nothing can be read
		}
		if kind == typeNewSessionTicket {
			c := cursor{rest: body}
			return c.uint32()
		}
	}
}

// sealing is how the client's records are sealed under a suite below TLS 1.3.
type sealing struct {
	prf  func() hash.Hash
	key  int
	iv   int // of the key block: the part of the nonce that is not sent
	mac  int
	aead func(key []byte) (cipher.AEAD, error)
}

// sealings are the suites in which the probe can go on after crypto/tls made the handshake. In TLS 1.0 the CBC suites chain
// their records, which is not done here.
var sealings = map[uint16]sealing{
	stdtls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256:         {sha256.New, 16, 4, 0, newGCM},
	stdtls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256:       {sha256.New, 16, 4, 0, newGCM},
	stdtls.TLS_RSA_WITH_AES_128_GCM_SHA256:               {sha256.New, 16, 4, 0, newGCM},
	stdtls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384:         {sha512.New384, 32, 4, 0, newGCM},
	stdtls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384:       {sha512.New384, 32, 4, 0, newGCM},
	stdtls.TLS_RSA_WITH_AES_256_GCM_SHA384:               {sha512.New384, 32, 4, 0, newGCM},
	stdtls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256:   {sha256.New, 32, 12, 0, chacha20poly1305.New},
	stdtls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256: {sha256.New, 32, 12, 0, chacha20poly1305.New},
	stdtls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA:            {sha256.New, 16, 0, 20, nil},
	stdtls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA:          {sha256.New, 16, 0, 20, nil},
	stdtls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA:            {sha256.New, 32, 0, 20, nil},
	stdtls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA:          {sha256.New, 32, 0, 20, nil},
	stdtls.TLS_RSA_WITH_AES_128_CBC_SHA:                  {sha256.New, 16, 0, 20, nil},
	stdtls.TLS_RSA_WITH_AES_256_CBC_SHA:                  {sha256.New, 32, 0, 20, nil},
}

func canSeal(version, suiteID uint16) bool {
	s, known := sealings[suiteID]
	return known && (version == versionTLS12 || (version == versionTLS11 && s.mac > 0))
}

// renegotiate asks once for a new handshake inside of the one that is complete: one ClientHello, after whose answer the probe
// leaves. It is what a client may do at any time, so it harms nobody.
func (s *survey) renegotiate(conn *stdtls.Conn, got *shaken) {
	state := conn.ConnectionState()
	if !canSeal(state.Version, state.CipherSuite) || state.DidResume {
		return
	}
	mine, theirs, master := clientRandom(got), serverRandom(got.conn.read), got.secrets["CLIENT_RANDOM"]
	if mine == nil || theirs == nil || len(master) == 0 {
		return
	}
	h := hello{version: state.Version, suites: []uint16{state.CipherSuite}, serverName: s.end.name, renegotiation: state.TLSUnique}
	record := h.record()
	sealed, err := seal(sealings[state.CipherSuite], state.Version, master, mine, theirs, record[5:])
	if err != nil {
		return
	}
	raw := got.conn.Conn
	_ = raw.SetDeadline(time.Now().Add(s.end.settle))
	if _, err := raw.Write(sealed); err != nil {
		return
	}
	word := renegotiated(raw)
	s.mu.Lock()
	s.behaviour.ClientRenegotiation = word
	s.mu.Unlock()
}

// renegotiated tells from the types of the records that follow, which stay in the clear: a handshake is a ServerHello, an alert
// a refusal, data goes by.
func renegotiated(raw net.Conn) string {
	in := flight{reader: bufio.NewReader(raw)}
	for {
		kind, _, err := in.record()
		switch {
		case err != nil, kind == recordAlert: // silence and hanging up are refusals too (RFC 5246 section 7.4.1.1)
			return wordNo
		case kind == recordHandshake:
			return wordYes
		}
	}
}

package tls

import (
	"bytes"
	"encoding/binary"
	"io"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

// ssl2Suites are the cipher kinds of SSLv2 (draft-hickman-netscape-ssl-00 section C.4; 0x080080 is Microsoft's).
var ssl2Suites = []struct {
	id            uint32
	name, openssl string
	bits          uint32
	classes       class
}{
	{0x010080, "SSL_CK_RC4_128_WITH_MD5", "RC4-MD5", 128, classRC4},
	{0x020080, "SSL_CK_RC4_128_EXPORT40_WITH_MD5", "EXP-RC4-MD5", 40, classRC4 | classExport},
	{0x030080, "SSL_CK_RC2_128_CBC_WITH_MD5", "RC2-CBC-MD5", 128, classOld64 | classCBC},
	{0x040080, "SSL_CK_RC2_128_CBC_EXPORT40_WITH_MD5", "EXP-RC2-CBC-MD5", 40, classOld64 | classExport | classCBC},
	{0x050080, "SSL_CK_IDEA_128_CBC_WITH_MD5", "IDEA-CBC-MD5", 128, classOld64 | classCBC},
	{0x060040, "SSL_CK_DES_64_CBC_WITH_MD5", "DES-CBC-MD5", 56, classDES | classCBC},
	{0x0700c0, "SSL_CK_DES_192_EDE3_CBC_WITH_MD5", "DES-CBC3-MD5", 112, class3DES | classCBC},
	{0x080080, "SSL_CK_RC4_64_WITH_MD5", "RC4-64-MD5", 64, classRC4},
}

// Messages of SSLv2.
const (
	ssl2ClientHello = 1
	ssl2ServerHello = 4
	// maxSSL2 is the longest message with a header of two bytes.
	maxSSL2 = 1<<15 - 1
)

// hello2 writes the CLIENT-HELLO of SSLv2 with every cipher kind. Nothing follows it: the server says all it has in its answer.
func hello2() []byte {
	body := []byte{ssl2ClientHello, 0, 2}
	body = binary.BigEndian.AppendUint16(body, uint16(3*len(ssl2Suites)))
	body = append(body, 0, 0, 0, 16) // no session id; a challenge of 16 bytes
	for _, s := range ssl2Suites {
		body = append(body, byte(s.id>>16), byte(s.id>>8), byte(s.id))
	}
	body = append(body, random(16)...)
	return append([]byte{0x80 | byte(len(body)>>8), byte(len(body))}, body...)
}

// answer2 is a SERVER-HELLO of SSLv2.
type answer2 struct {
	ciphers     []uint32
	certificate []byte
}

// readAnswer2 reads a SERVER-HELLO. Errors are errNotTLS or the reader's.
func readAnswer2(r io.Reader) (answer2, error) {
	var header [2]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return answer2{}, err
	}
	if header[0]&0x80 == 0 {
		return answer2{}, errNotTLS
	}
	body := make([]byte, int(binary.BigEndian.Uint16(header[:])&maxSSL2))
	if _, err := io.ReadFull(r, body); err != nil {
		return answer2{}, err
	}
	in := cursor{rest: body}
	kind := in.uint8()
	in.bytes(2) // session id hit, certificate type
	version := in.uint16()
	certificateLength, cipherLength := int(in.uint16()), int(in.uint16())
	in.uint16()
	certificate := in.bytes(certificateLength)
	list := cursor{rest: in.bytes(cipherLength)}
	if in.short || kind != ssl2ServerHello || version != versionSSL2 {
		return answer2{}, errNotTLS
	}
	out := answer2{certificate: bytes.Clone(certificate)}
	for len(list.rest) >= 3 && len(out.ciphers) < 64 {
		b := list.bytes(3)
		out.ciphers = append(out.ciphers, uint32(b[0])<<16|uint32(b[1])<<8|uint32(b[2]))
	}
	return out, nil
}

// fact2 writes the cipher kinds of SSLv2 down, with their classes.
func (a answer2) fact() (*modelv1.TlsProtocol, class) {
	out := &modelv1.TlsProtocol{Version: "SSLv2", Complete: true}
	var all class
	for _, id := range a.ciphers {
		for _, s := range ssl2Suites {
			if s.id != id {
				continue
			}
			all |= s.classes
			out.Ciphers = append(out.Ciphers, &modelv1.TlsCipher{
				Id: s.id, Name: s.name, OpensslName: s.openssl, Bits: s.bits, KeyExchange: "rsa", Classes: s.classes.names(),
			})
		}
	}
	return out, all
}

package tls

import (
	"encoding/binary"
	"io"
)

// ldapStartTLS is the extended request of RFC 4511 section 4.14.1, as message 1.
var ldapStartTLS = append([]byte{0x30, 0x1d, 0x02, 0x01, 0x01, 0x77, 0x18, 0x80, 0x16}, "1.3.6.1.4.1.1466.20037"...)

// upgradeLDAP asks for TLS and reads the result code of the answer.
func upgradeLDAP(d *dialogue) error {
	if err := d.write(ldapStartTLS); err != nil {
		return err
	}
	message, err := d.element(0x30)
	if err != nil {
		return err
	}
	in := cursor{rest: message}
	if kind, _ := in.element(); kind != 0x02 { // messageID
		return errNotTLS
	}
	kind, response := in.element()
	if kind != 0x78 { // extendedResp
		return errNotTLS
	}
	in = cursor{rest: response}
	kind, code := in.element()
	if kind != 0x0a || len(code) != 1 { // resultCode
		return errNotTLS
	}
	if code[0] != 0 {
		return errNoUpgrade
	}
	return nil
}

// element reads one BER element of the wanted kind from the connection, at most maxLine bytes.
func (d *dialogue) element(wanted byte) ([]byte, error) {
	kind, err := d.reader.ReadByte()
	if err != nil {
		return nil, err
	}
	length, err := d.reader.ReadByte()
	if err != nil {
		return nil, err
	}
	size := int(length)
	if length&0x80 != 0 {
		var long [4]byte
		count := int(length & 0x7f)
		if count == 0 || count > 4 {
			return nil, errNotTLS
		}
		if _, err := io.ReadFull(d.reader, long[4-count:]); err != nil {
			return nil, err
		}
		size = int(binary.BigEndian.Uint32(long[:]))
	}
	if kind != wanted || size > maxLine {
		return nil, errNotTLS
	}
	body := make([]byte, size)
	_, err = io.ReadFull(d.reader, body)
	return body, err
}

// element takes one BER element of definite length off the front.
func (c *cursor) element() (kind byte, body []byte) {
	kind = c.uint8()
	size := int(c.uint8())
	if size&0x80 != 0 {
		count := size & 0x7f
		size = 0
		if count > 4 {
			c.rest, c.short = nil, true
			return 0, nil
		}
		for range count {
			size = size<<8 | int(c.uint8())
		}
	}
	return kind, c.bytes(size)
}

// upgradePostgres is the SSLRequest of PostgreSQL (https://www.postgresql.org/docs/current/protocol-message-formats.html).
func upgradePostgres(d *dialogue) error {
	if err := d.write([]byte{0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f}); err != nil {
		return err
	}
	answer, err := d.reader.ReadByte()
	switch {
	case err != nil:
		return err
	case answer == 'S':
		return nil
	case answer == 'N', answer == 'E':
		return errNoUpgrade
	}
	return errNotTLS
}

// Capabilities of MySQL's handshake (https://dev.mysql.com/doc/dev/mysql-server/latest/group__group__cs__capabilities__flags.html).
const (
	mysqlProtocol41       = 0x0200
	mysqlSSL              = 0x0800
	mysqlSecureConnection = 0x8000
)

// upgradeMySQL reads the greeting of the server and answers with an SSLRequest, if it can do TLS.
func upgradeMySQL(d *dialogue) error {
	var header [4]byte
	if _, err := io.ReadFull(d.reader, header[:]); err != nil {
		return err
	}
	size := int(header[0]) | int(header[1])<<8 | int(header[2])<<16
	if size == 0 || size > maxLine {
		return errNotTLS
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(d.reader, body); err != nil {
		return err
	}
	capabilities, ok := mysqlCapabilities(body)
	switch {
	case !ok && body[0] == 0xff: // an error, such as 'host is not allowed'
		return errNoUpgrade
	case !ok:
		return errNotTLS
	case capabilities&mysqlSSL == 0:
		return errNoUpgrade
	}
	request := []byte{32, 0, 0, header[3] + 1}
	request = binary.LittleEndian.AppendUint32(request, mysqlProtocol41|mysqlSSL|mysqlSecureConnection)
	request = binary.LittleEndian.AppendUint32(request, 1<<24)
	request = append(request, 33) // utf8
	request = append(request, make([]byte, 23)...)
	return d.write(request)
}

// mysqlCapabilities reads the lower half of the capabilities out of a greeting of protocol 10.
func mysqlCapabilities(body []byte) (uint16, bool) {
	in := cursor{rest: body}
	if in.uint8() != 10 {
		return 0, false
	}
	for in.uint8() != 0 { // version, ended by a zero byte
		if in.short {
			return 0, false
		}
	}
	in.bytes(4 + 8 + 1) // connection id, scramble, filler
	low := in.bytes(2)
	if low == nil {
		return 0, false
	}
	return binary.LittleEndian.Uint16(low), true
}

package lab

import (
	"context"
	"encoding/binary"
	"io"
	"net"
)

// Sizes of the protocols here.
const (
	maxTPKT     = 4 << 10
	maxLDAP     = 64 << 10
	ldapMessage = 0x30
)

// rdpOpen confirms a connection request for the old security of Remote Desktop, without TLS ([MS-RDPBCGR] 2.2.1.2).
func rdpOpen(_ context.Context, conn net.Conn) {
	for {
		head := make([]byte, 4)
		if _, err := io.ReadFull(conn, head); err != nil || head[0] != 3 {
			return
		}
		size := binary.BigEndian.Uint16(head[2:])
		if size < 11 || size > maxTPKT {
			return
		}
		body := make([]byte, size-4)
		if _, err := io.ReadFull(conn, body); err != nil {
			return
		}
		// A TPDU of code "connection request" (X.224, section 13.3).
		if body[1] != 0xe0 {
			return
		}
		confirm := []byte{3, 0, 0, 19, 14, 0xd0, 0, 0, 0x12, 0x34, 0, 2, 0, 8, 0, 0, 0, 0, 0}
		if _, err := conn.Write(confirm); err != nil {
			return
		}
	}
}

// ldapOpen takes an anonymous bind and finds nothing (RFC 4511). It knows no StartTLS.
func ldapOpen(_ context.Context, conn net.Conn) {
	for {
		id, operation, ok := ldapRead(conn)
		if !ok {
			return
		}
		var response byte
		result := byte(0)
		switch operation {
		case 0x60: // bind
			response = 0x61
		case 0x63: // search
			response = 0x65
		case 0x77: // extended: protocolError, as for every operation a server does not know
			response, result = 0x78, 2
		default:
			return
		}
		// Result code, empty matched name, empty message.
		body := append(id, response, 7, 0x0a, 1, result, 4, 0, 4, 0)
		if _, err := conn.Write(append([]byte{ldapMessage, byte(len(body))}, body...)); err != nil {
			return
		}
	}
}

// ldapRead reads a message and returns its id as it was encoded, and the operation's tag.
func ldapRead(conn net.Conn) (id []byte, operation byte, ok bool) {
	size, ok := berLength(conn, ldapMessage)
	if !ok || size > maxLDAP {
		return nil, 0, false
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(conn, body); err != nil {
		return nil, 0, false
	}
	// An INTEGER of one to four bytes, and then the operation.
	if size < 4 || body[0] != 2 || body[1] < 1 || body[1] > 4 || size < int(body[1])+3 {
		return nil, 0, false
	}
	end := 2 + int(body[1])
	return body[:end:end], body[end], true
}

// berLength reads a tag, which has to be the one given, and the length behind it (X.690, section 8.1.3).
func berLength(conn net.Conn, tag byte) (int, bool) {
	head := make([]byte, 2)
	if _, err := io.ReadFull(conn, head); err != nil || head[0] != tag {
		return 0, false
	}
	if head[1] < 0x80 {
		return int(head[1]), true
	}
	long := make([]byte, head[1]&0x7f)
	if len(long) == 0 || len(long) > 4 {
		return 0, false
	}
	if _, err := io.ReadFull(conn, long); err != nil {
		return 0, false
	}
	size := 0
	for _, b := range long {
		size = size<<8 | int(b)
	}
	return size, true
}

// kubelet answers as one that allows anonymous requests.
var kubelet = jsonSite(nil, map[string]string{
	"/healthz": `"ok"`,
	"/pods":    `{"kind":"PodList","apiVersion":"v1","metadata":{},"items":[{"metadata":{"name":"web-0","namespace":"default"},"spec":{"nodeName":"node-1","containers":[{"name":"web","image":"acme/web:1.2"}]},"status":{"phase":"Running"}}]}`,
})

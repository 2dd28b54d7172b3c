package lab

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"strings"
)

// smb1File speaks SMB 1 and 2 as an old file server does: signatures are possible and not required ([MS-CIFS] 2.2.4.52, [MS-SMB2] 2.2.4).
func smb1File(_ context.Context, conn net.Conn) {
	for {
		head := make([]byte, 4)
		if _, err := io.ReadFull(conn, head); err != nil || head[0] != 0 {
			return
		}
		size := binary.BigEndian.Uint32(head)
		if size < 32 || size > maxStartup {
			return
		}
		body := make([]byte, size)
		if _, err := io.ReadFull(conn, body); err != nil {
			return
		}
		var answer string
		switch {
		case strings.HasPrefix(string(body), "\xffSMB\x72"): // NEGOTIATE: the first dialect
			answer = "\xffSMB\x72" + strings.Repeat("\x00", 27) + "\x11\x00\x00" + strings.Repeat("\x00", 34)
		case strings.HasPrefix(string(body), "\xfeSMB") && len(body) >= 64 && body[12] == 0: // NEGOTIATE: 2.1, signing enabled
			answer = "\xfeSMB" + strings.Repeat("\x00", 60) + "\x41\x00\x01\x00\x10\x02" + strings.Repeat("\x00", 59)
		default:
			return
		}
		if _, err := io.WriteString(conn, be32(len(answer))+answer); err != nil {
			return
		}
	}
}

// Binary protocols whose first answer is all that there is to play.
var (
	// activeMQ greets with its wire format (OpenWire), which names its version.
	activeMQ = func() talk {
		properties := "\x01ActiveMQ\x00\x00\x00\x0c\x01\x00\x00\x00\x26\x00\x00\x00\x01\x00\x0fProviderVersion\x09\x00\x075.15.15"
		return dialogue(be32(len(properties)) + properties)
	}()
	// zabbixAgent tells its version to everybody.
	zabbixAgent = dialogue("", turn{begins: "ZBXD\x01\x0d\x00\x00\x00\x00\x00\x00\x00agent.version", answer: "ZBXD\x01\x05\x00\x00\x00\x00\x00\x00\x005.0.2"})
	// ajpConnector answers a CPing with a CPong (AJP 1.3).
	ajpConnector = dialogue("", turn{begins: "\x12\x34\x00\x01\x0a", answer: "AB\x00\x01\x09"})
	// smartInstall answers as a client of Cisco's Smart Install does.
	smartInstall = dialogue("", turn{
		begins: be32(1) + be32(1) + be32(4) + be32(8) + be32(1) + be32(0),
		answer: be32(4) + be32(0) + be32(3) + be32(8) + be32(1) + be32(0),
	})
	// pptpGateway starts a control connection (RFC 2637).
	pptpGateway = dialogue("", turn{begins: be16(156) + be16(1) + be32(0x1a2b3c4d) + be16(1), size: 156, answer: be16(156) + be16(1) + be32(0x1a2b3c4d) +
		be16(2) + be16(0) + be16(0x100) + "\x01\x00" + be32(1) + be32(1) + be16(1) + be16(1) + "gateway" + strings.Repeat("\x00", 57) + "lab" + strings.Repeat("\x00", 61)})
	// epmdNames tells the names of Erlang's nodes; the port it names is its own.
	epmdNames = dialogue("", turn{begins: "\x00\x01n", answer: be32(4369) + "name rabbit at port 25672\n"})
	// iec104Station answers the test frame (IEC 60870-5-104).
	iec104Station = dialogue("", turn{begins: "\x68\x04\x43\x00\x00\x00", answer: "\x68\x04\x83\x00\x00\x00"})
	// x11Open grants a connection without credentials (X Window System Protocol, chapter 8).
	x11Open = dialogue("", turn{begins: "l\x00\x0b\x00\x00\x00", size: 12, answer: "\x01\x00\x0b\x00\x00\x00\x0a\x00" + strings.Repeat("\x00", 16) +
		"\x08\x00" + strings.Repeat("\x00", 14) + "X.Org Fd"})
	// rmiRegistry acknowledges the stream protocol (Java RMI wire protocol).
	rmiRegistry = dialogue("", turn{begins: "JRMI\x00\x02\x4b", answer: "\x4e\x00\x09127.0.0.1\x00\x00\x00\x00"})
	// nfsServer answers the procedure that does nothing (RFC 1813).
	nfsServer = func(_ context.Context, conn net.Conn) {
		call := make([]byte, 44)
		for {
			if _, err := io.ReadFull(conn, call); err != nil {
				return
			}
			_, _ = io.WriteString(conn, "\x80\x00\x00\x18"+string(call[4:8])+be32(1)+be32(0)+be32(0)+be32(0)+be32(0))
		}
	}
	// xmppCleartext offers passwords and no TLS (RFC 6120).
	xmppCleartext = func(_ context.Context, conn net.Conn) {
		heard := make([]byte, maxLine)
		n, err := conn.Read(heard)
		if err != nil || !strings.Contains(string(heard[:n]), "<stream:stream") {
			return
		}
		_, _ = io.WriteString(conn, "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' id='1' from='acme.test' version='1.0'>"+
			"<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism></mechanisms></stream:features>")
		_, _ = io.Copy(io.Discard, conn)
	}
)

// ldapAnonymous shows its root and an entry below it to everybody, without a bind (RFC 4511); it knows no StartTLS.
func ldapAnonymous(_ context.Context, conn net.Conn) {
	element := func(tag byte, parts ...string) string {
		body := strings.Join(parts, "")
		return string([]byte{tag, byte(len(body))}) + body // all of them are shorter than 128 bytes
	}
	for {
		id, operation, ok := ldapRead(conn)
		if !ok || operation != 0x63 {
			return
		}
		entry := element(0x64, element(4), element(0x30, element(0x30, element(4, "namingContexts"), element(0x31, element(4, "dc=acme,dc=test")))))
		if id[len(id)-1] != 1 {
			entry = element(0x64, element(4, "ou=people,dc=acme,dc=test"), element(0x30))
		}
		done := element(0x65, "\x0a\x01\x00", element(4), element(4))
		if _, err := io.WriteString(conn, element(ldapMessage, string(id), entry)+element(ldapMessage, string(id), done)); err != nil {
			return
		}
	}
}

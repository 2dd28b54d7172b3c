package lab

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"

	"golang.org/x/crypto/ssh"
)

// postgresTrust lets everybody in (PostgreSQL manual, "Trust authentication"), tells its version and is ready. It has no tables.
func postgresTrust(_ context.Context, conn net.Conn) {
	for {
		head := make([]byte, 8)
		if _, err := io.ReadFull(conn, head); err != nil {
			return
		}
		size, code := binary.BigEndian.Uint32(head), binary.BigEndian.Uint32(head[4:])
		if size < 8 || size > maxStartup {
			return
		}
		if _, err := io.CopyN(io.Discard, conn, int64(size)-8); err != nil {
			return
		}
		if code != postgresSSLRequest && code != postgresGSSENCRequest {
			break
		}
		_, _ = conn.Write([]byte{'N'})
	}
	status := "server_version\x0013.4\x00"
	_, _ = io.WriteString(conn, "R"+be32(8)+be32(0)+"S"+be32(4+len(status))+status+"Z"+be32(5)+"I")
	_, _ = io.CopyN(io.Discard, conn, 5) // Terminate
}

// natsOpen wants no credentials (NATS client protocol).
func natsOpen(_ context.Context, conn net.Conn) {
	say(conn, `INFO {"server_id":"NLAB","server_name":"NLAB","version":"2.9.15","proto":1,"headers":true,"max_payload":1048576}`)
	in := readLines(conn)
	for {
		line, ok := in.next()
		if !ok {
			return
		}
		switch verb, _ := command(line); verb {
		case "CONNECT", "PONG":
		case "PING":
			say(conn, "PONG")
		default:
			say(conn, "-ERR 'Unknown Protocol Operation'")
			return
		}
	}
}

// kafkaOpen answers the first two questions of every client: which versions it speaks, and which brokers there are.
func kafkaOpen(_ context.Context, conn net.Conn) {
	for {
		head := make([]byte, 12)
		if _, err := io.ReadFull(conn, head); err != nil {
			return
		}
		size := binary.BigEndian.Uint32(head)
		if size < 8 || size > maxStartup {
			return
		}
		if _, err := io.CopyN(io.Discard, conn, int64(size)-8); err != nil {
			return
		}
		var body string
		switch key := binary.BigEndian.Uint16(head[4:]); key {
		case 18: // ApiVersions: these two
			body = be16(0) + be32(2) + be16(3) + be16(0) + be16(1) + be16(18) + be16(0) + be16(0)
		case 3: // Metadata: one broker, which is the controller, and no topics
			body = be32(1) + be32(1) + be16(9) + "kafka.lab" + be32(9092) + "\xff\xff" + be32(1) + be32(0)
		default:
			return
		}
		_, _ = io.WriteString(conn, be32(4+len(body))+string(head[8:12])+body)
	}
}

// cassandraOpen speaks version 4 of the native protocol without passwords, and knows one query: its own version.
func cassandraOpen(_ context.Context, conn net.Conn) {
	for {
		head := make([]byte, 9)
		if _, err := io.ReadFull(conn, head); err != nil {
			return
		}
		size := binary.BigEndian.Uint32(head[5:])
		if head[0] != 4 || size > maxStartup {
			return
		}
		body := make([]byte, size)
		if _, err := io.ReadFull(conn, body); err != nil {
			return
		}
		opcode, answer := byte(0), be32(0x000a)+be16(14)+"protocol error" // ERROR
		switch {
		case head[4] == 5: // OPTIONS: SUPPORTED
			opcode, answer = 6, be16(1)+be16(11)+"CQL_VERSION"+be16(1)+be16(5)+"3.4.4"
		case head[4] == 1: // STARTUP: READY
			opcode, answer = 2, ""
		case head[4] == 7 && strings.Contains(string(body), "release_version FROM system.local"): // QUERY: RESULT
			opcode = 8
			answer = be32(2) + be32(1) + be32(1) + be16(6) + "system" + be16(5) + "local" + be16(15) + "release_version" + be16(13) + be32(1) + be32(6) + "3.11.4"
		}
		_, _ = io.WriteString(conn, "\x84\x00"+string(head[2:4])+string([]byte{opcode})+be32(len(answer))+answer)
	}
}

// smtpRelay takes mail of everybody for everybody, up to the point where there would be some.
func smtpRelay(_ context.Context, conn net.Conn) {
	in := readLines(conn)
	say(conn, "220 relay.acme.test ESMTP")
	for {
		line, ok := in.next()
		if !ok {
			return
		}
		switch verb, _ := command(line); verb {
		case "EHLO":
			say(conn, "250-relay.acme.test")
			say(conn, "250 8BITMIME")
		case "HELO", "MAIL", "RCPT", "RSET", "NOOP":
			say(conn, "250 Ok")
		case "QUIT":
			say(conn, "221 Bye")
			return
		default:
			say(conn, "502 Error: command not recognized")
		}
	}
}

// socksOpen connects everybody (RFC 1928), though nowhere but to itself: the lab reaches nobody outside.
func socksOpen(_ context.Context, conn net.Conn) {
	in := bufio.NewReaderSize(conn, maxLine)
	head := make([]byte, 2)
	if _, err := io.ReadFull(in, head); err != nil || head[0] != 5 {
		return
	}
	if _, err := in.Discard(int(head[1])); err != nil {
		return
	}
	_, _ = conn.Write([]byte{5, 0})
	request := make([]byte, 10)
	if _, err := io.ReadFull(in, request); err != nil || request[1] != 1 || request[3] != 1 {
		return
	}
	own, ok := conn.LocalAddr().(*net.TCPAddr)
	reply := byte(2) // not allowed
	if ok && net.IP(request[4:8]).Equal(own.IP) && int(binary.BigEndian.Uint16(request[8:])) == own.Port {
		reply = 0
	}
	_, _ = conn.Write([]byte{5, reply, 0, 1, 0, 0, 0, 0, 0, 0})
}

// proxyOpen is a web proxy that connects everybody, though nowhere but to itself. What is asked of it as of a web server is an error.
func proxyOpen(_ context.Context, conn net.Conn) {
	request, err := http.ReadRequest(bufio.NewReaderSize(io.LimitReader(conn, maxStartup), maxLine))
	if err != nil {
		return
	}
	if request.Method == http.MethodConnect {
		status := "503 Service Unavailable\r\nServer: squid/4.6\r\nX-Squid-Error: ERR_CONNECT_FAIL 111\r\nContent-Length: 0"
		if request.Host == conn.LocalAddr().String() {
			status = "200 Connection established"
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 "+status+"\r\n\r\n")
		return
	}
	_, _ = io.WriteString(conn, "HTTP/1.1 400 Bad Request\r\nServer: squid/4.6\r\nX-Squid-Error: ERR_INVALID_URL 0\r\nContent-Type: text/plain\r\nContent-Length: 11\r\nConnection: close\r\n\r\nInvalid URL")
}

// sshReal is a real SSH server, which lets in whom change says. Nothing can be done on it.
func sshReal(change func(*ssh.ServerConfig)) starter {
	return func(ctx context.Context, r *running, _ host, s sockets) error {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return err
		}
		signer, err := ssh.NewSignerFromKey(key)
		if err != nil {
			return err
		}
		config := &ssh.ServerConfig{ServerVersion: "SSH-2.0-Gateway"}
		config.KeyExchanges, config.Ciphers, config.MACs = []string{ssh.KeyExchangeCurve25519}, []string{ssh.CipherAES256GCM}, []string{ssh.HMACSHA256ETM}
		config.AddHostKey(signer)
		change(config)
		r.stream(ctx, s.tcp, func(_ context.Context, conn net.Conn) {
			server, channels, requests, err := ssh.NewServerConn(conn, config)
			if err != nil {
				return
			}
			defer func() { _ = server.Close() }()
			go ssh.DiscardRequests(requests)
			for channel := range channels {
				_ = channel.Reject(ssh.Prohibited, "there is nothing to do here")
			}
		})
		return nil
	}
}

// sshPasswords takes passwords, none of which is right.
func sshPasswords(c *ssh.ServerConfig) {
	c.PasswordCallback = func(ssh.ConnMetadata, []byte) (*ssh.Permissions, error) { return nil, errors.New("no such password") }
}

// sshNobody asks nobody who they are.
func sshNobody(c *ssh.ServerConfig) { c.NoClientAuth = true }

package lab

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
)

// Bounds of the Redis protocol here.
const (
	maxArguments     = 16
	maxArgumentBytes = 4 << 10
)

// redis speaks RESP2 like Redis 5. With a password it refuses everything else first.
func redis(password bool) talk {
	return func(_ context.Context, conn net.Conn) {
		in := bufio.NewReaderSize(conn, maxLine)
		for {
			args, err := redisCommand(in)
			if err != nil {
				return
			}
			if len(args) > 0 && !redisAnswer(conn, args, password) {
				return
			}
		}
	}
}

// redisAnswer answers one command; false ends the connection.
func redisAnswer(w io.Writer, args []string, password bool) bool {
	verb := strings.ToUpper(args[0])
	switch {
	case verb == "POST" || verb == "HOST:":
		// Redis hangs up on what looks like a request smuggled through a browser.
		return false
	case verb == "QUIT":
		say(w, "+OK")
		return false
	case verb == "AUTH" && password:
		say(w, "-ERR invalid password")
	case verb == "AUTH":
		say(w, "-ERR Client sent AUTH, but no password is set")
	case password:
		say(w, "-NOAUTH Authentication required.")
	case verb == "PING":
		say(w, "+PONG")
	case verb == "INFO":
		const info = "# Server\r\nredis_version:5.0.14\r\nredis_mode:standalone\r\nos:Linux 4.15.0 x86_64\r\ntcp_port:6379\r\n# Keyspace\r\ndb0:keys=42,expires=0,avg_ttl=0\r\n"
		say(w, "$%d\r\n%s", len(info), info)
	case verb == "DBSIZE":
		say(w, ":42")
	case verb == "GET":
		say(w, "-ERR wrong number of arguments for 'get' command")
	default:
		say(w, "-ERR unknown command `%.64s`, with args beginning with: ", args[0])
	}
	return true
}

// redisCommand reads an array of bulk strings, or an inline command.
func redisCommand(in *bufio.Reader) ([]string, error) {
	line, err := in.ReadSlice('\n')
	if err != nil {
		return nil, err
	}
	text := strings.TrimRight(string(line), "\r\n")
	if !strings.HasPrefix(text, "*") {
		return strings.Fields(text), nil
	}
	count, err := strconv.Atoi(text[1:])
	if err != nil || count < 0 || count > maxArguments {
		return nil, fmt.Errorf("read command: %q arguments", text)
	}
	args := make([]string, count)
	for i := range args {
		if line, err = in.ReadSlice('\n'); err != nil {
			return nil, err
		}
		size, err := strconv.Atoi(strings.Trim(string(line), "$\r\n"))
		if err != nil || size < 0 || size > maxArgumentBytes {
			return nil, fmt.Errorf("read argument: bad length %q", line)
		}
		value := make([]byte, size+2)
		if _, err := io.ReadFull(in, value); err != nil {
			return nil, err
		}
		args[i] = string(value[:size])
	}
	return args, nil
}

// mysql greets as MySQL 5.7 (protocol version 10) and turns every login down.
func mysql(_ context.Context, conn net.Conn) {
	var greeting bytes.Buffer
	greeting.WriteByte(10)
	greeting.WriteString("5.7.29-log\x00")
	greeting.Write([]byte{8, 0, 0, 0})
	greeting.WriteString("saltsalt\x00")
	// Capabilities without CLIENT_SSL (0x0800), character set utf8, autocommit, upper capabilities, length of the salt.
	greeting.Write([]byte{0xff, 0xf7, 33, 2, 0, 0xff, 0x81, 21})
	greeting.Write(make([]byte, 10))
	greeting.WriteString("saltsaltsalt\x00mysql_native_password\x00")
	if mysqlPacket(conn, 0, greeting.Bytes()) != nil {
		return
	}
	header := make([]byte, 4)
	if _, err := io.ReadFull(conn, header); err != nil {
		return
	}
	size := int64(header[0]) | int64(header[1])<<8 | int64(header[2])<<16
	if _, err := io.CopyN(io.Discard, conn, size); err != nil {
		return
	}
	_ = mysqlPacket(conn, header[3]+1, []byte("\xff\x15\x04#28000Access denied for user 'lab'@'localhost' (using password: YES)"))
}

func mysqlPacket(w io.Writer, sequence byte, body []byte) error {
	n := len(body)
	_, err := w.Write(append([]byte{byte(n), byte(n >> 8), byte(n >> 16), sequence}, body...))
	return err
}

// Codes of the PostgreSQL start-up (PostgreSQL manual, message formats).
const (
	postgresSSLRequest    = 80877103
	postgresGSSENCRequest = 80877104
	maxStartup            = 10000
)

// postgres asks for a password and knows no TLS.
func postgres(_ context.Context, conn net.Conn) {
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
		if code == postgresSSLRequest || code == postgresGSSENCRequest {
			_, _ = conn.Write([]byte{'N'})
			continue
		}
		break
	}
	// AuthenticationMD5Password with its salt; then whatever comes is wrong.
	_, _ = conn.Write([]byte{'R', 0, 0, 0, 12, 0, 0, 0, 5, 's', 'a', 'l', 't'})
	answer := make([]byte, 5)
	if _, err := io.ReadFull(conn, answer); err != nil {
		return
	}
	failure := []byte("SFATAL\x00VFATAL\x00C28P01\x00Mpassword authentication failed for user \"lab\"\x00\x00")
	_, _ = conn.Write(append(binary.BigEndian.AppendUint32([]byte{'E'}, uint32(len(failure)+4)), failure...))
}

// MQTT packet types, in the upper half of the first byte (MQTT 5.0, section 2.1.2).
const (
	mqttConnect    = 1
	mqttSubscribe  = 8
	mqttPing       = 12
	mqttDisconnect = 14
	mqttVersion5   = 5
	maxMQTT        = 64 << 10
)

// mqttOpen lets everybody connect and subscribe, and has nothing to say on any topic.
func mqttOpen(_ context.Context, conn net.Conn) {
	in := bufio.NewReaderSize(conn, maxLine)
	version := byte(0)
	for first := true; ; first = false {
		kind, body, err := mqttRead(in, first)
		if err != nil {
			return
		}
		var reply []byte
		switch kind {
		case mqttConnect:
			// Protocol name with its length, then the level.
			if !bytes.HasPrefix(body, []byte("\x00\x04MQTT")) && !bytes.HasPrefix(body, []byte("\x00\x06MQIsdp")) {
				return
			}
			level := 2 + int(body[1])
			if len(body) <= level {
				return
			}
			version = body[level]
			if reply = []byte{0x20, 2, 0, 0}; version == mqttVersion5 {
				reply = []byte{0x20, 3, 0, 0, 0}
			}
		case mqttSubscribe:
			if len(body) < 2 {
				return
			}
			if reply = []byte{0x90, 3, body[0], body[1], 0}; version == mqttVersion5 {
				reply = []byte{0x90, 4, body[0], body[1], 0, 0}
			}
		case mqttPing:
			reply = []byte{0xd0, 0}
		case mqttDisconnect:
			return
		}
		if _, err := conn.Write(reply); err != nil {
			return
		}
	}
}

// mqttRead reads a packet. The first one, and no other, has to be CONNECT (MQTT 5.0, section 3.1).
func mqttRead(in *bufio.Reader, first bool) (kind byte, body []byte, err error) {
	head, err := in.ReadByte()
	if err != nil {
		return 0, nil, err
	}
	if kind = head >> 4; first != (kind == mqttConnect) {
		return 0, nil, fmt.Errorf("read packet: type %d out of turn", kind)
	}
	size, err := binary.ReadUvarint(in)
	if err != nil {
		return 0, nil, err
	}
	if size > maxMQTT {
		return 0, nil, fmt.Errorf("read packet: %d bytes", size)
	}
	body = make([]byte, size)
	_, err = io.ReadFull(in, body)
	return kind, body, err
}

// vncOpen offers no authentication but none (RFC 6143, section 7.1).
func vncOpen(_ context.Context, conn net.Conn) {
	_, _ = io.WriteString(conn, "RFB 003.008\n")
	if _, err := io.CopyN(io.Discard, conn, 12); err != nil {
		return
	}
	_, _ = conn.Write([]byte{1, 1})
	if _, err := io.CopyN(io.Discard, conn, 1); err != nil {
		return
	}
	_, _ = conn.Write([]byte{0, 0, 0, 0})
	if _, err := io.CopyN(io.Discard, conn, 1); err != nil {
		return
	}
	// 640x480 pixels of 32 bits and a name.
	_, _ = conn.Write(append([]byte{2, 128, 1, 224, 32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0, 0, 0, 0, 0, 0, 0, 7}, "acme-ws"...))
	_, _ = io.Copy(io.Discard, conn)
}

// jdwpOpen shakes hands as a Java debugger port does (Java Debug Wire Protocol), then waits.
func jdwpOpen(_ context.Context, conn net.Conn) {
	const handshake = "JDWP-Handshake"
	said := make([]byte, len(handshake))
	if _, err := io.ReadFull(conn, said); err != nil || string(said) != handshake {
		return
	}
	_, _ = io.WriteString(conn, handshake)
	_, _ = io.Copy(io.Discard, conn)
}

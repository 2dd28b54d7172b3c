package service

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
)

// canned is a connection to a service that says data, whatever it is told, and then hangs up or goes silent.
type canned struct {
	reader *bytes.Reader
	silent bool
}

func (c *canned) Read(b []byte) (int, error) {
	n, err := c.reader.Read(b)
	if err == io.EOF && c.silent {
		err = os.ErrDeadlineExceeded
	}
	return n, err
}
func (*canned) Write(b []byte) (int, error)      { return len(b), nil }
func (*canned) Close() error                     { return nil }
func (*canned) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (*canned) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (*canned) SetDeadline(time.Time) error      { return nil }
func (*canned) SetReadDeadline(time.Time) error  { return nil }
func (*canned) SetWriteDeadline(time.Time) error { return nil }

// cannedTalk is an exchange with a service that says first, and on further connections says next.
func cannedTalk(ctx context.Context, first, next []byte, port uint16) *talk {
	p := &prober{
		connect: func(context.Context, string, string) (net.Conn, error) {
			return &canned{reader: bytes.NewReader(next), silent: true}, nil
		},
		reach: "192.0.2.1", port: port, patience: patienceOf(false),
	}
	return &talk{line: newLine(ctx, &canned{reader: bytes.NewReader(first), silent: true}, p.patience), prober: p}
}

// FuzzProtocols lets a service say anything to the words of each protocol, and as a greeting.
func FuzzProtocols(f *testing.F) {
	seeds := []string{
		"+PONG\r\n$5\r\nredis\r\n", "VERSION 1.6\r\nSTAT pid 1\r\n", "SSH-2.0-OpenSSH_9.0\r\n\x00\x00\x01\x00\x06\x14", "RFB 003.008\n\x01\x01\x00\x00\x00\x00",
		"@RSYNCD: 31.0\nx\ty\n@RSYNCD: EXIT\n", "220 ftp\r\n211-x\r\n211 y\r\n230 a\r\n257 b\r\n", "220 mail\r\n250-x\r\n250 STARTTLS\r\n", "* OK x\r\n* CAPABILITY STARTTLS\r\na1 OK\r\n",
		"+OK\r\n+OK\r\nSTLS\r\n.\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 27\r\n\r\n{\"cluster_name\":\"x\",\"a\":{}}", "\xff\xfd\x18\xff\xfa\x00\xff\xf0login: ",
		"\x20\x02\x00\x00", "\x04\x01\x00\x1a\x00\x00\x01\x00", "\x84\x00\x00\x00\x06\x00\x00\x00\x02\x00\x01", "\x01\x00\x0b\x00\x00\x00\x0a\x00",
		"\x30\x0c\x02\x01\x01\x65\x07\x0a\x01\x00\x04\x00\x04\x00", "\x05\x00", "S", "\x00\x00\x00\x24", "JDWP-Handshake\x00\x00\x00\x10\x00\x00\x00\x01\x80\x00\x00\xff\xff\xff\xff\x00",
		"200 news\r\n101 x\r\nSTARTTLS\r\n.\r\n", "\"IMPLEMENTATION\" \"Dovecot\"\r\n\"STARTTLS\"\r\nOK\r\n",
		"INFO {\"server_id\":\"a\"}\r\n", "\x00\x00\x00\x48\xfeSMB", "\x00\x00\x00\x48\xffSMB\x72", "\x4a\x00\x00\x00\x0a8.0\x00",
	}
	for i, seed := range seeds {
		f.Add([]byte(seed), []byte(seeds[len(seeds)-1-i]), uint8(i), uint16(10250+i))
	}
	all := protocols()
	f.Fuzz(func(t *testing.T, first, next []byte, which uint8, port uint16) {
		if len(first) > 1<<17 || len(next) > 1<<17 {
			return
		}
		for _, exchange := range []func(*talk) found{
			func(t *talk) found { return t.found(all[int(which)%len(all)].speak(t)) },
			func(t *talk) found { return t.found(web(t)) },
			func(t *talk) found {
				t.gather(t.patience.banner, greetingComplete)
				if len(t.raw) == 0 {
					return found{}
				}
				return t.found(greet(t))
			},
		} {
			talk := cannedTalk(t.Context(), first, next, port)
			result := exchange(talk)
			talk.close()
			if len(result.raw) > probes.MaxBannerBytes {
				t.Fatalf("%d bytes kept", len(result.raw))
			}
			if result.fact == nil {
				continue
			}
			checkSafe(t, result.fact)
			if result.fact.GetName() == "" || result.fact.GetUnauthenticated() != (result.fact.GetProof() != "") {
				t.Fatalf("%v", result.fact)
			}
		}
	})
}

func FuzzKexInit(f *testing.F) {
	f.Add(append(append([]byte{msgKexInit}, make([]byte, 16)...), "\x00\x00\x00\x03a,b\x00\x00\x00\x00"...))
	f.Fuzz(func(t *testing.T, data []byte) {
		offer, err := parseKexInit(data)
		if err != nil {
			return
		}
		for _, list := range [][]string{offer.kex, offer.hostKey, offer.ciphers, offer.macs, offer.weak()} {
			if len(list) > 2*maxAlgorithms {
				t.Fatalf("%d algorithms", len(list))
			}
			for _, name := range list {
				if !isSafe(name) {
					t.Fatalf("%q", name)
				}
			}
		}
	})
}

func FuzzMySQLGreeting(f *testing.F) {
	f.Add([]byte("\x4a\x00\x00\x00\x0a8.0.34\x00\x08\x00\x00\x00abcdefgh\x00\xff\xff"))
	f.Add([]byte("\x45\x00\x00\x00\xff\x6a\x04Host"))
	f.Fuzz(func(t *testing.T, data []byte) {
		greeting, err := parseMySQL(data)
		if err == nil && greeting.version == "" && greeting.refusal == "" && data[4] != 0xff {
			t.Fatalf("%q read as an empty greeting", data)
		}
	})
}

func FuzzBSON(f *testing.F) {
	f.Add([]byte(bson("\x08ismaster\x00\x01", "\x03d\x00"+bson("\x10n\x00"+le32(1)), "\x02s\x00"+le32(2)+"x\x00")))
	f.Fuzz(func(t *testing.T, data []byte) {
		fields, err := parseBSON(data, 0)
		if err == nil && len(fields) > len(data) {
			t.Fatalf("%d fields of %d bytes", len(fields), len(data))
		}
	})
}

// FuzzBinary reads the other parsers of server bytes.
func FuzzBinary(f *testing.F) {
	f.Add([]byte("\x00\x00\x0b\x00\x06\x01\x00\x11\x00\x01\xff\x0f\x00\x07\xd0\x00\x00\x03"))
	f.Add([]byte("\x00\x0a\x00\x0a\x00\x09\x00\x00\x00\x0d\x07productS\x00\x00\x00\x00"))
	f.Add([]byte("\x00\x01\x00\x0bCQL_VERSION\x00\x01\x00\x053.4.4"))
	f.Add([]byte("\x30\x0c\x04\x0avendorName\x31\x03\x04\x01x"))
	f.Add(append(make([]byte, 12), versionBind[14:]...))
	f.Add([]byte("(VSNNUM=318767104)"))
	f.Fuzz(func(t *testing.T, data []byte) {
		_, _, _ = parsePrelogin(data)
		_, _ = parseAMQPStart(data)
		if options, err := parseStringMultimap(data); err == nil && len(options) > len(data)+1 {
			t.Fatalf("%d options of %d bytes", len(options), len(data))
		}
		if content, rest, err := berElement(data); err == nil && len(content)+len(rest)+2 > len(data) {
			t.Fatalf("%d and %d of %d bytes", len(content), len(rest), len(data))
		}
		_ = ldapValue(data, "vendorName")
		_ = chaosText(data)
		_ = tnsVersion(data)
		_ = pgMessage(data)
		_ = rpcPrograms(data)
		if identity := modbusIdentity(data); len(identity) > 8 {
			t.Fatalf("%d objects", len(identity))
		}
		if text, refusal := splitTelnet(data); len(text)+len(refusal) > len(data) {
			t.Fatalf("%d and %d of %d bytes", len(text), len(refusal), len(data))
		}
		_ = greetingComplete(data)
	})
}

func FuzzHTTPAnswer(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"))
	f.Add([]byte("HTTP/1.0 401 no\r\nContent-Length: 99999999999\r\n\r\nx"))
	f.Fuzz(func(t *testing.T, data []byte) {
		_ = httpComplete(data)
		_ = soundsLike(data)
		if a, err := parseAnswer(data); err == nil && len(a.body) > probes.MaxBannerBytes {
			t.Fatalf("body of %d bytes", len(a.body))
		}
	})
}

package tls

import (
	"bufio"
	"context"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"slices"
	"strings"
	"time"
)

// oddities asks what well-made servers refuse. Each question is one that a broken client might ask by mistake, none carries on
// after the answer, and no byte of an answer is kept.
//
// Not tested, because it cannot be told without sending what may end the server or another's connection: Winshock
// (CVE-2014-6321), padding oracles of the record layer (Lucky 13, POODLE against TLS, GOLDENDOODLE), renegotiation in a loop.
func (s *survey) oddities(ctx context.Context) {
	version := s.newestClear()
	if version == 0 {
		return
	}
	suites := s.accepted(version, anySuite)
	if s.behaviourOf().GetHeartbeat() == wordYes {
		s.heartbleed(ctx, version, suites)
	}
	run(ctx, []func(context.Context){
		func(ctx context.Context) { s.earlyChange(ctx, version, suites) },
		func(ctx context.Context) { s.oracle(ctx, version) },
	})
}

// afterFlight sends h on a new connection, reads the whole answer of the server, and hands the connection to talk.
func (s *survey) afterFlight(ctx context.Context, h hello, talk func(net.Conn, *flight, answer) error) error {
	return s.end.converse(ctx, func(conn net.Conn) error {
		h.serverName = s.end.name
		if _, err := conn.Write(h.record()); err != nil {
			return err
		}
		in := &flight{reader: bufio.NewReader(conn)}
		got, err := readFlight(in, true)
		if err != nil {
			return err
		}
		if got.version != h.version {
			return errNotTLS
		}
		_ = conn.SetDeadline(time.Now().Add(s.end.settle))
		return talk(conn, in, got)
	})
}

// heartbleed sends a heartbeat that says it has one byte and has none (CVE-2014-0160). RFC 6520 section 4 wants it discarded;
// who answers read one byte behind it. Only the length of the answer is looked at.
func (s *survey) heartbleed(ctx context.Context, version uint16, suites []uint16) {
	word := ""
	_ = s.afterFlight(ctx, hello{version: version, suites: suites, heartbeat: true}, func(conn net.Conn, in *flight, _ answer) error {
		request := []byte{1, 0, 1} // heartbeat_request, payload_length 1, and no payload
		if _, err := conn.Write(appendBlock16([]byte{recordHeartbeat, byte(version >> 8), byte(version)}, request)); err != nil {
			return err
		}
		kind, body, err := in.record()
		word = yesNo(err == nil && kind == recordHeartbeat && len(body) >= 4)
		return nil
	})
	s.setBehaviour(func(b *behaviour) { b.HeartbeatOverread = word })
}

// earlyChange sends a ChangeCipherSpec before any key was agreed on, and a record as it would follow. A server with
// CVE-2014-0224 takes it and finds the record's checksum wrong; every other one finds the message unexpected. Who finds checksums
// wrong without it as well says nothing.
func (s *survey) earlyChange(ctx context.Context, version uint16, suites []uint16) {
	ask := func(change bool) (byte, error) {
		var alert alertError
		err := s.afterFlight(ctx, hello{version: version, suites: suites}, func(conn net.Conn, in *flight, _ answer) error {
			head := []byte{byte(version >> 8), byte(version)}
			var out []byte
			if change {
				out = appendBlock16(append([]byte{recordChangeCipher}, head...), []byte{1})
			}
			out = append(out, appendBlock16(append([]byte{recordHandshake}, head...), random(64))...)
			if _, err := conn.Write(out); err != nil {
				return err
			}
			_, _, err := in.message()
			return err
		})
		if errors.As(err, &alert) {
			return alert.description, nil
		}
		return 0, err
	}
	wrong := func(alert byte) bool { return alert == alertBadMAC || alert == alertDecryption }
	alert, err := ask(true)
	word := ""
	switch {
	case wrong(alert):
		if control, _ := ask(false); !wrong(control) {
			word = wordYes
		}
	case alert != 0, closed(err):
		word = wordNo
	}
	s.setBehaviour(func(b *behaviour) { b.EarlyChangeCipher = word })
}

// oracle sends RSA key exchanges with five paddings, of which one is right, and a Finished message that is wrong in any case. A
// server that answers them differently can be asked for what a recorded key exchange says (Böck, Somorovsky, Young: "Return Of
// Bleichenbacher's Oracle Threat", USENIX Security 2018). Only how the answers differ is looked at; no secret is approached.
func (s *survey) oracle(ctx context.Context, version uint16) {
	suites := s.accepted(version, func(c suite) bool { return c.classes()&classStaticRSA != 0 })
	leaf := s.leaf()
	if leaf == nil || len(suites) == 0 {
		return
	}
	key, ok := leaf.PublicKey.(*rsa.PublicKey)
	if !ok || key.N.BitLen() < 512 {
		return
	}
	first := s.paddings(ctx, version, suites, key)
	word, answers := "", len(uniq(first))
	switch {
	case slices.Contains(first, ""):
	case answers == 1:
		word = wordNo
	case slices.Equal(first, s.paddings(ctx, version, suites, key)): // the same twice: not by chance
		word = wordYes
	}
	s.setBehaviour(func(b *behaviour) { b.RsaOracle, b.RsaOracleAnswers = word, uint32(answers) })
}

// paddings returns how the server answers each padding, "" where it could not be asked.
func (s *survey) paddings(ctx context.Context, version uint16, suites []uint16, key *rsa.PublicKey) []string {
	forms := wrongPaddings(key.Size(), version)
	out := make([]string, len(forms))
	var tasks []func(context.Context)
	for i, padded := range forms {
		sealed := new(big.Int).Exp(new(big.Int).SetBytes(padded), big.NewInt(int64(key.E)), key.N).FillBytes(make([]byte, key.Size()))
		tasks = append(tasks, func(ctx context.Context) { out[i] = s.padding(ctx, version, suites, sealed) })
	}
	run(ctx, tasks)
	return out
}

// padding returns how the server answers one key exchange.
func (s *survey) padding(ctx context.Context, version uint16, suites []uint16, sealed []byte) string {
	said := ""
	err := s.afterFlight(ctx, hello{version: version, suites: suites}, func(conn net.Conn, in *flight, got answer) error {
		if chosen, _ := suiteOf(got.suite); chosen.classes()&classStaticRSA == 0 {
			return errNotTLS
		}
		if _, err := conn.Write(keyExchangeFlight(version, sealed)); err != nil {
			return err
		}
		said = describe(in)
		return nil
	})
	if err != nil {
		return ""
	}
	return said
}

// wrongPaddings are the plain texts of the key exchanges, each as long as the key: right, wrong first bytes, a zero byte where
// none may be, none where one must be, and a wrong version.
func wrongPaddings(size int, version uint16) [][]byte {
	form := func(change func([]byte)) []byte {
		out := make([]byte, size)
		out[1] = 2
		for i := 2; i < size-49; i++ {
			out[i] = 0x5a
		}
		secret := out[size-48:]
		copy(secret, random(48))
		for i, b := range secret {
			secret[i] = b | 1 // no zero byte by chance
		}
		secret[0], secret[1] = byte(version>>8), byte(version)
		change(out)
		return out
	}
	return [][]byte{
		form(func([]byte) {}),
		form(func(b []byte) { b[0], b[1] = 0x00, 0x17 }),
		form(func(b []byte) { b[size-49], b[size-30] = 0x5a, 0 }),
		form(func(b []byte) { b[size-49] = 0x5a }),
		form(func(b []byte) { b[size-48], b[size-47] = 2, 2 }),
	}
}

// keyExchangeFlight is ClientKeyExchange, ChangeCipherSpec, and a Finished message that no key made.
func keyExchangeFlight(version uint16, sealed []byte) []byte {
	const typeClientKeyExchange = 16
	body := sealed
	if version > versionSSL3 {
		body = appendBlock16(nil, sealed)
	}
	head := []byte{byte(version >> 8), byte(version)}
	message := append([]byte{typeClientKeyExchange, byte(len(body) >> 16), byte(len(body) >> 8), byte(len(body))}, body...)
	out := appendBlock16(append([]byte{recordHandshake}, head...), message)
	out = append(out, appendBlock16(append([]byte{recordChangeCipher}, head...), []byte{1})...)
	return append(out, appendBlock16(append([]byte{recordHandshake}, head...), random(64))...)
}

// describe says in a word how the server ends the connection.
func describe(in *flight) string {
	for {
		_, _, err := in.message()
		alert := alertError{}
		switch {
		case err == nil:
			continue
		case errors.As(err, &alert):
			return fmt.Sprintf("alert %d", alert.description)
		case timedOut(err):
			return "silence"
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return "close"
		default:
			return "reset"
		}
	}
}

func uniq(words []string) []string {
	sorted := slices.Sorted(slices.Values(words))
	return slices.Compact(sorted)
}

// smuggled is a command that changes nothing, the one that ends a session, and how the answer to the first is told.
var smuggled = map[string]struct {
	command, quit string
	answered      func(lines []string) bool
}{
	"smtp": {"NOOP", "QUIT", secondReply("221")},
	"ftp":  {"NOOP", "QUIT", secondReply("221")},
	"nntp": {"DATE", "QUIT", secondReply("205")},
	"pop3": {"CAPA", "QUIT", func(lines []string) bool { return len(lines) > 1 && strings.HasPrefix(lines[0], "+OK") }},
	"imap": {"a2 NOOP", "a3 LOGOUT", func(lines []string) bool {
		return slices.ContainsFunc(lines, func(line string) bool { return strings.HasPrefix(line, "a2 ") })
	}},
}

// secondReply says that a reply came before the one with the given code.
func secondReply(quit string) func([]string) bool {
	return func(lines []string) bool {
		return len(lines) > 1 && !strings.HasPrefix(lines[0], quit) && strings.HasPrefix(lines[len(lines)-1], quit)
	}
}

// smuggle sends a harmless command in one packet with the one that asks for TLS. Whoever carries it out inside of TLS keeps what
// an attacker in the middle put there (CVE-2011-0411). The session is then ended in order.
func (s *survey) smuggle(ctx context.Context) {
	how, known := smuggled[s.end.protocol]
	if !known {
		return
	}
	lines, err := s.end.smuggle(ctx, how.command, how.quit)
	word := ""
	switch {
	case err == nil:
		word = yesNo(how.answered(lines))
	case errors.Is(err, errNoUpgrade), errors.Is(err, errNotTLS), closed(err): // refused as pipelining
		word = wordNo
	}
	s.setBehaviour(func(b *behaviour) { b.StarttlsInjection = word })
}

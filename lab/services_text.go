package lab

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
)

// maxLine bounds one line that a client sends.
const maxLine = 4 << 10

// lines reads CRLF or LF lines of at most maxLine bytes.
type lines struct{ r *bufio.Reader }

func readLines(conn io.Reader) lines { return lines{bufio.NewReaderSize(conn, maxLine)} }

// next returns a line without its end; false when the client is gone or the line too long.
func (l lines) next() (string, bool) {
	line, err := l.r.ReadSlice('\n')
	if err != nil {
		return "", false
	}
	return strings.TrimRight(string(line), "\r\n"), true
}

// command splits a line into its upper-case verb and the rest.
func command(line string) (verb, rest string) {
	verb, rest, _ = strings.Cut(line, " ")
	return strings.ToUpper(verb), strings.TrimSpace(rest)
}

// say writes a line with CRLF.
func say(w io.Writer, format string, args ...any) {
	_, _ = fmt.Fprintf(w, format+"\r\n", args...)
}

// ftpAnonymous lets everybody in, and knows no TLS (RFC 959, RFC 2389).
func ftpAnonymous(_ context.Context, conn net.Conn) {
	in := readLines(conn)
	say(conn, "220 (vsFTPd 3.0.2)")
	var user string
	var entered bool
	for {
		line, ok := in.next()
		if !ok {
			return
		}
		verb, rest := command(line)
		switch verb {
		case "USER":
			user, entered = strings.ToLower(rest), false
			say(conn, "331 Please specify the password.")
		case "PASS":
			if entered = user == "anonymous" || user == "ftp"; entered {
				say(conn, "230 Login successful.")
			} else {
				say(conn, "530 Login incorrect.")
			}
		case "FEAT":
			_, _ = io.WriteString(conn, "211-Features:\r\n EPSV\r\n PASV\r\n SIZE\r\n UTF8\r\n211 End\r\n")
		case "SYST":
			say(conn, "215 UNIX Type: L8")
		case "NOOP":
			say(conn, "200 NOOP ok.")
		case "QUIT":
			say(conn, "221 Goodbye.")
			return
		case "PWD", "TYPE", "PASV", "EPSV", "LIST", "CWD":
			ftpSession(conn, verb, entered)
		default:
			say(conn, "530 Please login with USER and PASS.")
		}
	}
}

// ftpSession answers what needs a login. There is no data channel: what there would be to list is not the point.
func ftpSession(conn net.Conn, verb string, loggedIn bool) {
	switch {
	case !loggedIn:
		say(conn, "530 Please login with USER and PASS.")
	case verb == "PWD":
		say(conn, `257 "/" is the current directory`)
	case verb == "TYPE":
		say(conn, "200 Switching to Binary mode.")
	case verb == "CWD":
		say(conn, "250 Directory successfully changed.")
	default:
		say(conn, "425 Failed to establish connection.")
	}
}

// smtp speaks RFC 5321. With a TLS configuration it offers STARTTLS (RFC 3207). It takes no mail.
func smtp(t *tlsServer) starter {
	return func(ctx context.Context, r *running, h host, s sockets) error {
		var config *tls.Config
		if t != nil {
			var err error
			if config, err = t.config(r, h); err != nil {
				return err
			}
			config.NextProtos = nil
		}
		r.stream(ctx, s.tcp, func(_ context.Context, conn net.Conn) { smtpSession(conn, h.name, config) })
		return nil
	}
}

func smtpSession(conn net.Conn, name string, config *tls.Config) {
	in := readLines(conn)
	say(conn, "220 %s ESMTP Postfix", name)
	for {
		line, ok := in.next()
		if !ok {
			return
		}
		verb, _ := command(line)
		switch verb {
		case "EHLO":
			say(conn, "250-%s", name)
			say(conn, "250-PIPELINING")
			if config != nil {
				say(conn, "250-STARTTLS")
			}
			say(conn, "250 8BITMIME")
		case "HELO":
			say(conn, "250 %s", name)
		case "STARTTLS":
			if config == nil {
				say(conn, "502 5.5.1 Error: command not implemented")
				continue
			}
			say(conn, "220 2.0.0 Ready to start TLS")
			// What came before the handshake in clear is dropped (RFC 3207, section 4.2).
			secure := tls.Server(conn, config)
			conn, config, in = secure, nil, readLines(secure)
		case "NOOP", "RSET":
			say(conn, "250 2.0.0 Ok")
		case "MAIL", "RCPT", "DATA":
			say(conn, "554 5.7.1 Error: this server takes no mail")
		case "QUIT":
			say(conn, "221 2.0.0 Bye")
			return
		default:
			say(conn, "502 5.5.2 Error: command not recognized")
		}
	}
}

// imapCleartext takes passwords in clear (RFC 9051).
func imapCleartext(_ context.Context, conn net.Conn) {
	in := readLines(conn)
	say(conn, "* OK [CAPABILITY IMAP4rev1 SASL-IR LITERAL+ ID IDLE AUTH=PLAIN] Mail server ready.")
	for {
		line, ok := in.next()
		if !ok {
			return
		}
		tag, rest, _ := strings.Cut(line, " ")
		verb, _ := command(rest)
		switch verb {
		case "CAPABILITY":
			say(conn, "* CAPABILITY IMAP4rev1 SASL-IR LITERAL+ ID IDLE AUTH=PLAIN")
			say(conn, "%s OK Capability completed.", tag)
		case "NOOP":
			say(conn, "%s OK NOOP completed.", tag)
		case "LOGIN", "AUTHENTICATE":
			say(conn, "%s NO [AUTHENTICATIONFAILED] Authentication failed.", tag)
		case "LOGOUT":
			say(conn, "* BYE Logging out")
			say(conn, "%s OK Logout completed.", tag)
			return
		default:
			say(conn, "%s BAD Unknown command.", tag)
		}
	}
}

// pop3Cleartext takes passwords in clear (RFC 1939, RFC 2449).
func pop3Cleartext(_ context.Context, conn net.Conn) {
	in := readLines(conn)
	say(conn, "+OK Mail server ready.")
	for {
		line, ok := in.next()
		if !ok {
			return
		}
		verb, _ := command(line)
		switch verb {
		case "CAPA":
			_, _ = io.WriteString(conn, "+OK\r\nCAPA\r\nTOP\r\nUIDL\r\nUSER\r\n.\r\n")
		case "USER":
			say(conn, "+OK")
		case "PASS":
			say(conn, "-ERR [AUTH] Authentication failed.")
		case "QUIT":
			say(conn, "+OK Logging out")
			return
		default:
			say(conn, "-ERR Unknown command.")
		}
	}
}

// telnetLogin negotiates (RFC 854) and asks for a login.
func telnetLogin(_ context.Context, conn net.Conn) {
	// IAC DO TERMINAL-TYPE, IAC DO NAWS, IAC WILL ECHO, IAC WILL SUPPRESS-GO-AHEAD.
	_, _ = conn.Write([]byte{255, 253, 24, 255, 253, 31, 255, 251, 1, 255, 251, 3})
	_, _ = io.WriteString(conn, "\r\nacme-gw login: ")
	in := readLines(conn)
	for {
		if _, ok := in.next(); !ok {
			return
		}
		_, _ = io.WriteString(conn, "Password: ")
		if _, ok := in.next(); !ok {
			return
		}
		_, _ = io.WriteString(conn, "\r\nLogin incorrect\r\nacme-gw login: ")
	}
}

// rsyncOpen lists its modules to everybody (rsync protocol, list request).
func rsyncOpen(_ context.Context, conn net.Conn) {
	sayLF(conn, "@RSYNCD: 31.0")
	in := readLines(conn)
	if hello, ok := in.next(); !ok || !strings.HasPrefix(hello, "@RSYNCD:") {
		sayLF(conn, "@ERROR: protocol startup error")
		return
	}
	module, ok := in.next()
	switch {
	case !ok:
	case module == "" || module == "#list":
		sayLF(conn, "backup         \tNightly backups")
		sayLF(conn, "www            \tWeb root")
		sayLF(conn, "@RSYNCD: EXIT")
	case module == "backup" || module == "www":
		sayLF(conn, "@RSYNCD: OK")
	default:
		sayLF(conn, "@ERROR: Unknown module '"+module+"'")
	}
}

// sayLF writes a line with LF.
func sayLF(w io.Writer, line string) { _, _ = io.WriteString(w, line+"\n") }

// memcachedOpen answers everybody (memcached protocol.txt).
func memcachedOpen(_ context.Context, conn net.Conn) {
	in := readLines(conn)
	for {
		line, ok := in.next()
		if !ok {
			return
		}
		switch verb, _ := command(line); verb {
		case "VERSION":
			say(conn, "VERSION 1.5.6")
		case "STATS":
			_, _ = io.WriteString(conn, "STAT pid 1\r\nSTAT uptime 345600\r\nSTAT version 1.5.6\r\nSTAT curr_items 42\r\nEND\r\n")
		case "GET", "GETS":
			say(conn, "END")
		case "QUIT":
			return
		default:
			say(conn, "ERROR")
		}
	}
}

// silent takes connections and never says a word, until the client leaves.
func silent(_ context.Context, conn net.Conn) {
	_, _ = io.Copy(io.Discard, conn)
}

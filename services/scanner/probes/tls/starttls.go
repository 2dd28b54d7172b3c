package tls

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"strings"
)

// Bounds of the clear text before the upgrade.
const (
	// maxLine is the longest line taken: SMTP allows 512 bytes of reply (RFC 5321 section 4.5.3.1.5), IMAP advises 8,192.
	maxLine = 8 << 10
	// maxLines bounds a multi-line reply.
	maxLines = 128
)

// errNoUpgrade says that the service speaks its protocol and does not offer TLS in it.
var errNoUpgrade = errors.New("the service does not offer STARTTLS")

// upgrades are the protocols that can be turned to TLS, each with its dialogue up to where the ClientHello comes.
var upgrades = map[string]func(*dialogue) error{
	// RFC 3207
	"smtp": func(d *dialogue) error {
		if _, err := d.reply("220"); err != nil {
			return err
		}
		features, err := d.ask("EHLO riskprofiler.example", "250")
		if err != nil {
			return err
		}
		if !strings.Contains(strings.ToUpper(features), "STARTTLS") {
			return errNoUpgrade
		}
		_, err = d.ask("STARTTLS", "220")
		return err
	},
	// RFC 3501 section 6.2.1
	"imap": func(d *dialogue) error {
		if err := d.line("* OK", "* PREAUTH"); err != nil {
			return err
		}
		if err := d.send("a1 STARTTLS"); err != nil {
			return err
		}
		return d.line("a1 OK")
	},
	// RFC 2595 section 4
	"pop3": func(d *dialogue) error {
		if err := d.line("+OK"); err != nil {
			return err
		}
		if err := d.send("STLS"); err != nil {
			return err
		}
		return d.line("+OK")
	},
	// RFC 4217 section 4
	"ftp": func(d *dialogue) error {
		if _, err := d.reply("220"); err != nil {
			return err
		}
		_, err := d.ask("AUTH TLS", "234")
		return err
	},
}

// upgrade leads conn through the dialogue of protocol to where TLS begins. It returns a connection that loses no byte read
// ahead. Errors: errNoUpgrade, errNotTLS for a peer of another protocol, or the connection's.
func upgrade(conn net.Conn, protocol string) (net.Conn, error) {
	d := &dialogue{conn: conn, reader: bufio.NewReaderSize(conn, maxLine)}
	if err := upgrades[protocol](d); err != nil {
		return nil, err
	}
	return &readAhead{Conn: conn, reader: d.reader}, nil
}

// readAhead is a connection some of whose bytes lie in a buffer.
type readAhead struct {
	net.Conn
	reader *bufio.Reader
}

// Read takes the buffered bytes first.
func (c *readAhead) Read(b []byte) (int, error) { return c.reader.Read(b) }

// dialogue speaks a line protocol.
type dialogue struct {
	conn   net.Conn
	reader *bufio.Reader
}

func (d *dialogue) send(line string) error {
	_, err := d.conn.Write([]byte(line + "\r\n"))
	return err
}

func (d *dialogue) ask(line, code string) (string, error) {
	if err := d.send(line); err != nil {
		return "", err
	}
	return d.reply(code)
}

// reply reads one reply of numbered lines and returns it whole; another code than the expected one is a refusal.
func (d *dialogue) reply(code string) (string, error) {
	var text strings.Builder
	for range maxLines {
		line, err := d.read()
		if err != nil {
			return "", err
		}
		if len(line) < 3 || !digits(line[:3]) {
			if text.Len() == 0 {
				return "", errNotTLS
			}
			continue // free text inside a multi-line reply (RFC 959 section 4.2)
		}
		text.WriteString(line)
		text.WriteByte('\n')
		if len(line) > 3 && line[3] == '-' {
			continue
		}
		if line[:3] != code {
			return "", errNoUpgrade
		}
		return text.String(), nil
	}
	return "", errNotTLS
}

// line reads up to the first line that starts with one of the wanted words. Untagged IMAP lines are passed over; any other
// answer is a refusal.
func (d *dialogue) line(wanted ...string) error {
	for range maxLines {
		line, err := d.read()
		if err != nil {
			return err
		}
		for _, word := range wanted {
			if len(line) >= len(word) && strings.EqualFold(line[:len(word)], word) {
				return nil
			}
		}
		if !strings.HasPrefix(line, "* ") {
			return errNoUpgrade
		}
	}
	return errNotTLS
}

func (d *dialogue) read() (string, error) {
	line, err := d.reader.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return "", fmt.Errorf("%w: a line longer than %d bytes", errNotTLS, maxLine)
	}
	if err != nil {
		return "", err
	}
	return strings.TrimRight(string(line), "\r\n"), nil
}

func digits(text string) bool {
	for i := range len(text) {
		if text[i] < '0' || text[i] > '9' {
			return false
		}
	}
	return true
}

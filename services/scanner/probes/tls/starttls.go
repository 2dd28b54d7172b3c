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

// upgrades are the protocols that can be turned to TLS, each with its dialogue up to where the ClientHello comes. The names are
// those of the service scan; the binary ones are in starttls_binary.go.
var upgrades = map[string]func(*dialogue) error{
	"smtp": upgradeSMTP, "imap": upgradeIMAP, "pop3": upgradePOP3, "ftp": upgradeFTP, "nntp": upgradeNNTP, "sieve": upgradeSieve,
	"managesieve": upgradeSieve, "xmpp": upgradeXMPP, "http": upgradeHTTP, "ipp": upgradeHTTP,
	"ldap": upgradeLDAP, "postgresql": upgradePostgres, "mysql": upgradeMySQL,
}

// upgradeSMTP is RFC 3207.
func upgradeSMTP(d *dialogue) error {
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
	_, err = d.ask("STARTTLS"+d.smuggled, "220")
	return err
}

// upgradeIMAP is RFC 3501 section 6.2.1.
func upgradeIMAP(d *dialogue) error {
	if err := d.line("* OK", "* PREAUTH"); err != nil {
		return err
	}
	if err := d.send("a1 STARTTLS" + d.smuggled); err != nil {
		return err
	}
	return d.line("a1 OK")
}

// upgradePOP3 is RFC 2595 section 4.
func upgradePOP3(d *dialogue) error {
	if err := d.line("+OK"); err != nil {
		return err
	}
	if err := d.send("STLS" + d.smuggled); err != nil {
		return err
	}
	return d.line("+OK")
}

// upgradeFTP is RFC 4217 section 4.
func upgradeFTP(d *dialogue) error {
	if _, err := d.reply("220"); err != nil {
		return err
	}
	_, err := d.ask("AUTH TLS"+d.smuggled, "234")
	return err
}

// upgradeNNTP is RFC 4642 section 2.2.
func upgradeNNTP(d *dialogue) error {
	if err := d.line("200", "201"); err != nil {
		return err
	}
	_, err := d.ask("STARTTLS"+d.smuggled, "382")
	return err
}

// upgradeSieve is RFC 5804 section 2.2: the greeting is a list of capabilities that ends with OK.
func upgradeSieve(d *dialogue) error {
	offered := false
	for range maxLines {
		line, err := d.read()
		if err != nil {
			return err
		}
		upper := strings.ToUpper(line)
		switch {
		case strings.HasPrefix(upper, `"STARTTLS"`):
			offered = true
		case strings.HasPrefix(upper, "OK") && offered:
			if err := d.send("STARTTLS" + d.smuggled); err != nil {
				return err
			}
			return d.line("OK")
		case strings.HasPrefix(upper, "OK"), strings.HasPrefix(upper, "NO"), strings.HasPrefix(upper, "BYE"):
			return errNoUpgrade
		case !strings.HasPrefix(line, `"`):
			return errNotTLS
		}
	}
	return errNotTLS
}

// upgradeHTTP is RFC 2817 section 3.2. It exists in few servers, and a server that has it lets an attacker in the middle turn
// a request over TLS into one over this (Opossum, CVE-2025-49812). Who hangs up on the question does not offer it. IPP is HTTP (RFC 8010).
func upgradeHTTP(d *dialogue) error {
	request := "OPTIONS * HTTP/1.1\r\nHost: " + d.domain + "\r\nUser-Agent: RiskProfiler\r\nUpgrade: TLS/1.0\r\nConnection: Upgrade\r\n"
	if err := d.send(request); err != nil {
		return err
	}
	for i := range maxLines {
		line, err := d.read()
		switch {
		case i == 0 && err != nil && closed(err):
			return errNoUpgrade
		case err != nil:
			return err
		case i == 0 && !strings.HasPrefix(line, "HTTP/1.1 101"):
			return errNoUpgrade
		case line == "":
			return nil
		}
	}
	return errNotTLS
}

// upgradeXMPP is RFC 6120 section 5.4: of a client's port first, then of a server's.
func upgradeXMPP(d *dialogue) error {
	open := "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='" +
		xmlSafe(d.domain) + "' version='1.0'>"
	if err := d.write([]byte(open)); err != nil {
		return err
	}
	features, err := d.until("</stream:features>", "</stream:stream>")
	if err != nil {
		return err
	}
	if !strings.Contains(features, "<starttls") {
		return errNoUpgrade
	}
	if err := d.write([]byte("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")); err != nil {
		return err
	}
	reply, err := d.until("/>", "</proceed>", "</stream:stream>")
	if err != nil {
		return err
	}
	if !strings.Contains(reply, "<proceed") {
		return errNoUpgrade
	}
	return nil
}

// xmlSafe keeps what a domain or an address has of characters.
func xmlSafe(domain string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune("<>&'\"", r) || r < ' ' {
			return -1
		}
		return r
	}, domain)
}

// upgrade leads conn through the dialogue of protocol to where TLS begins; domain is whom it asks for where the protocol wants
// to know. It returns a connection that loses no byte read ahead. Errors: errNoUpgrade, errNotTLS for a peer of another
// protocol, or the connection's.
func upgrade(conn net.Conn, protocol, domain string) (net.Conn, error) {
	return upgradeWith(conn, protocol, domain, "")
}

// upgradeWith is upgrade with a command smuggled into the same packet behind the one that asks for TLS.
func upgradeWith(conn net.Conn, protocol, domain, smuggled string) (net.Conn, error) {
	d := &dialogue{conn: conn, reader: bufio.NewReaderSize(conn, maxLine), domain: domain}
	if smuggled != "" {
		d.smuggled = "\r\n" + smuggled
	}
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

// dialogue speaks the protocol before the upgrade.
type dialogue struct {
	conn             net.Conn
	reader           *bufio.Reader
	domain, smuggled string
}

func (d *dialogue) write(data []byte) error {
	_, err := d.conn.Write(data)
	return err
}

func (d *dialogue) send(line string) error { return d.write([]byte(line + "\r\n")) }

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

// until reads up to the first of the given ends, at most maxLine bytes.
func (d *dialogue) until(ends ...string) (string, error) {
	var text []byte
	for len(text) < maxLine {
		b, err := d.reader.ReadByte()
		if err != nil {
			return "", err
		}
		text = append(text, b)
		if b != '>' {
			continue
		}
		for _, end := range ends {
			if strings.HasSuffix(string(text), end) {
				return string(text), nil
			}
		}
	}
	return "", errNotTLS
}

func digits(text string) bool {
	for i := range len(text) {
		if text[i] < '0' || text[i] > '9' {
			return false
		}
	}
	return true
}

package service

import (
	"bytes"
	"encoding/binary"
	"math"
	"strconv"
	"strings"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

func float64frombits(data []byte) float64 {
	return math.Float64frombits(binary.LittleEndian.Uint64(data))
}

// mysqlPacketSize is the size of the first packet with its head, where data looks like a MySQL greeting or refusal.
func mysqlPacketSize(data []byte) (int, bool) {
	if len(data) < 5 || data[3] != 0 || (data[4] != 10 && data[4] != 9 && data[4] != 0xff) {
		return 0, false
	}
	size := int(data[0]) | int(data[1])<<8 | int(data[2])<<16
	return 4 + size, size > 1 && size < 4096
}

// capabilitySSL is CLIENT_SSL (MySQL client/server protocol, capability flags).
const capabilitySSL = 0x0800

// mysqlGreeting is what a server says first.
type mysqlGreeting struct {
	version string
	refusal string // of a server that does not want this address
	tls     bool
}

// parseMySQL reads the first packet: protocol 10 or 9, or an error
// (https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_connection_phase_packets_protocol_handshake_v10.html).
func parseMySQL(data []byte) (mysqlGreeting, error) {
	size, ok := mysqlPacketSize(data)
	if !ok || len(data) < size {
		return mysqlGreeting{}, errNotIt
	}
	payload := data[4:size]
	if payload[0] == 0xff { // error code, then text
		if len(payload) < 4 {
			return mysqlGreeting{}, errNotIt
		}
		text := string(payload[3:])
		if code := binary.LittleEndian.Uint16(payload[1:]); code < 1000 || code > 5000 {
			return mysqlGreeting{}, errNotIt
		}
		return mysqlGreeting{refusal: text}, nil
	}
	version, rest, found := cutZero(payload[1:])
	if !found || version == "" || !isDigit(version[0]) {
		return mysqlGreeting{}, errNotIt
	}
	greeting := mysqlGreeting{version: version}
	// Thread id, eight bytes of challenge, a filler, then the lower half of the capabilities.
	if payload[0] == 10 && len(rest) >= 4+8+1+2 {
		greeting.tls = binary.LittleEndian.Uint16(rest[13:])&capabilitySSL != 0
	}
	return greeting, nil
}

// mysql reads the greeting; nobody logs in.
func mysql(t *talk) *modelv1.ServiceFact {
	greeting, err := parseMySQL(t.rest())
	if err != nil {
		return nil
	}
	fact := named("mysql")
	detail(fact, "mysql.refusal", greeting.refusal)
	fact.Starttls = greeting.tls
	detail(fact, "mysql.tls", strconv.FormatBool(greeting.tls))
	name, vendor, product := "MySQL", "oracle", "mysql"
	version := greeting.version
	if strings.Contains(version+greeting.refusal, "MariaDB") {
		name, vendor, product = "MariaDB", "mariadb", "mariadb"
		// MariaDB 10 and 11 called themselves 5.5.5 for the sake of old replicas.
		version = strings.TrimPrefix(version, "5.5.5-")
	}
	number, revision, _ := strings.Cut(version, "-")
	setProduct(fact, name, vendor, product, number)
	revision = strings.TrimPrefix(strings.TrimPrefix(revision, "MariaDB"), "-")
	revision, _, _ = strings.Cut(revision, "-log")
	setPackage(fact, product, revision, revision)
	fact.Banner = safe(greeting.version+greeting.refusal, maxBanner)
	return fact
}

// sslRequest asks a PostgreSQL server for TLS (https://www.postgresql.org/docs/current/protocol-message-formats.html).
var sslRequest = []byte{0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f}

// postgresql asks for TLS, which the server answers with one letter, and how it would let its first user in, whom every server has.
// No password is ever sent: a server that trusts whoever comes lets us in without.
func postgresql(t *talk) *modelv1.ServiceFact {
	if t.send(sslRequest) != nil {
		return nil
	}
	letter, err := t.take(1)
	if err != nil || letter[0] != 'S' && letter[0] != 'N' || len(t.rest()) > 0 {
		return nil
	}
	// One letter is little: a second connection makes sure.
	other, err := t.another()
	if err != nil {
		return nil
	}
	defer t.done(other)
	if other.send(pgStartup()) != nil {
		return nil
	}
	head, err := other.take(5)
	if err != nil {
		return nil
	}
	size := binary.BigEndian.Uint32(head[1:])
	if head[0] != 'R' && head[0] != 'E' || size < 8 || size > 8<<10 {
		return nil
	}
	body, err := other.take(int(size) - 4)
	if err != nil {
		return nil
	}
	fact := named("postgresql")
	setProduct(fact, "PostgreSQL", "postgresql", "postgresql", "")
	fact.Starttls = letter[0] == 'S'
	detail(fact, "postgresql.tls", strconv.FormatBool(fact.GetStarttls()))
	if head[0] == 'E' {
		detail(fact, "postgresql.refusal", pgMessage(body))
		return fact
	}
	kind := binary.BigEndian.Uint32(body)
	detail(fact, "postgresql.authentication", pgAuthentication(kind))
	if kind == 0 {
		pgEntered(other, fact)
	}
	_ = other.send([]byte{'X', 0, 0, 0, 4})
	return fact
}

// pgEntered reads what a server tells who is in: its settings, among them its version, until it is ready or refuses after all. That it
// is ready is the proof; no query is sent.
func pgEntered(t *talk, fact *modelv1.ServiceFact) {
	version := ""
	for range 64 {
		head, err := t.take(5)
		if err != nil {
			return
		}
		size := binary.BigEndian.Uint32(head[1:])
		if size < 4 || size > 8<<10 {
			return
		}
		body, err := t.take(int(size) - 4)
		if err != nil {
			return
		}
		switch head[0] {
		case 'S':
			if name, rest, _ := cutZero(body); name == "server_version" {
				version, _, _ = cutZero(rest)
			}
		case 'E':
			detail(fact, "postgresql.refusal", pgMessage(body))
			return
		case 'Z':
			number, distribution, _ := strings.Cut(version, " ")
			setProduct(fact, "PostgreSQL", "postgresql", "postgresql", number)
			setPackage(fact, "postgresql", distribution, pgRevision(distribution))
			proven(fact, "start as postgres without a password: ready, version "+version)
			return
		}
	}
}

// pgRevision reads "(Debian 15.8-0+deb12u1)".
func pgRevision(distribution string) string {
	_, version, _ := strings.Cut(strings.Trim(distribution, "()"), " ")
	_, revision, _ := strings.Cut(version, "-")
	return revision
}

func pgStartup() []byte {
	body := binary.BigEndian.AppendUint32(nil, 3<<16)
	body = append(body, "user\x00postgres\x00database\x00postgres\x00application_name\x00riskprofiler\x00\x00"...)
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(body)+4)), body...)
}

func pgAuthentication(kind uint32) string {
	names := map[uint32]string{0: "none", 2: "kerberos", 3: "cleartext", 5: "md5", 7: "gss", 9: "sspi", 10: "sasl"}
	if name := names[kind]; name != "" {
		return name
	}
	return strconv.FormatUint(uint64(kind), 10)
}

// pgMessage reads the text of an error: fields of a letter and a text that ends with zero.
func pgMessage(body []byte) string {
	for len(body) > 1 && body[0] != 0 {
		text, rest, found := cutZero(body[1:])
		if !found {
			return ""
		}
		if body[0] == 'M' {
			return text
		}
		body = rest
	}
	return ""
}

// tdsPrelogin asks for version and encryption ([MS-TDS] section 2.2.6.5).
var tdsPrelogin = []byte{
	0x12, 0x01, 0x00, 0x1a, 0, 0, 0, 0, // PRELOGIN, last packet, 26 bytes
	0x00, 0x00, 0x0b, 0x00, 0x06, // VERSION at 11, 6 bytes
	0x01, 0x00, 0x11, 0x00, 0x01, // ENCRYPTION at 17, 1 byte
	0xff,
	0x11, 0x09, 0x00, 0x01, 0x00, 0x00, // our version
	0x02, // encryption is not supported: the handshake ends here anyway
}

func mssql(t *talk) *modelv1.ServiceFact {
	if t.send(tdsPrelogin) != nil {
		return nil
	}
	head, err := t.take(8)
	if err != nil || head[0] != 0x04 {
		return nil
	}
	size := int(binary.BigEndian.Uint16(head[2:]))
	if size < 9 || size > 4096 {
		return nil
	}
	body, err := t.take(size - 8)
	if err != nil {
		return nil
	}
	version, encryption, err := parsePrelogin(body)
	if err != nil {
		return nil
	}
	fact := named("mssql")
	setProduct(fact, "Microsoft SQL Server", "microsoft", "sql_server", version)
	detail(fact, "mssql.encryption", encryption)
	return fact
}

// parsePrelogin reads the options of a PRELOGIN answer.
func parsePrelogin(body []byte) (version, encryption string, err error) {
	for options := body; len(options) >= 5 && options[0] != 0xff; options = options[5:] {
		offset, size := int(binary.BigEndian.Uint16(options[1:])), int(binary.BigEndian.Uint16(options[3:]))
		if offset+size > len(body) {
			return "", "", errNotIt
		}
		value := body[offset : offset+size]
		switch {
		case options[0] == 0 && size >= 4:
			version = strconv.Itoa(int(value[0])) + "." + strconv.Itoa(int(value[1])) + "." + strconv.Itoa(int(binary.BigEndian.Uint16(value[2:])))
		case options[0] == 1 && size >= 1:
			names := []string{"off", "on", "not-supported", "required"}
			if int(value[0]) < len(names) {
				encryption = names[value[0]]
			}
		}
	}
	if version == "" {
		return "", "", errNotIt
	}
	return version, encryption, nil
}

// tnsConnect asks an Oracle listener for its version: a CONNECT packet of version 1.54 whose data is the command.
func tnsConnect() []byte {
	data := "(DESCRIPTION=(CONNECT_DATA=(SERVICE_NAME=riskprofiler)(CID=(PROGRAM=riskprofiler)(HOST=)(USER=))))"
	head := []byte{
		0, 0, 0, 0, 1, 0, 0, 0, // length, checksum, CONNECT, reserved, header checksum
		0x01, 0x36, 0x01, 0x2c, 0x00, 0x00, 0x20, 0x00, 0x7f, 0xff, 0x7f, 0x08, 0x00, 0x00, 0x00, 0x01,
		0, 0, 0, 58, 0, 0, 0, 0, 0, 0, // data length, offset 58, no limit on the answer
		0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
	}
	binary.BigEndian.PutUint16(head, uint16(len(head)+len(data)))
	binary.BigEndian.PutUint16(head[24:], uint16(len(data)))
	return append(head, data...)
}

// oracledb asks the listener for a service that it does not have: its refusal tells its version.
func oracledb(t *talk) *modelv1.ServiceFact {
	if t.send(tnsConnect()) != nil {
		return nil
	}
	head, err := t.take(8)
	if err != nil {
		return nil
	}
	size, kind := int(binary.BigEndian.Uint16(head)), head[4]
	// ACCEPT, REFUSE, REDIRECT, RESEND.
	if size < 8 || size > 8192 || head[2] != 0 || head[3] != 0 || kind != 2 && kind != 4 && kind != 5 && kind != 11 {
		return nil
	}
	body, err := t.take(size - 8)
	if err != nil {
		return nil
	}
	if kind == 4 && !bytes.Contains(body, []byte("(ERR=")) {
		return nil
	}
	fact := named("oracledb")
	setProduct(fact, "Oracle TNS listener", "oracle", "database_server", tnsVersion(body))
	detail(fact, "oracledb.answer", string(body))
	return fact
}

// tnsVersion reads VSNNUM: a number whose hexadecimal digits are the parts of the version.
func tnsVersion(body []byte) string {
	_, text, found := strings.Cut(string(body), "(VSNNUM=")
	if !found {
		return ""
	}
	digits, _, _ := strings.Cut(text, ")")
	n, err := strconv.ParseUint(digits, 10, 32)
	if err != nil || n == 0 {
		return ""
	}
	parts := []uint64{n >> 24, n >> 20 & 0xf, n >> 12 & 0xff, n >> 8 & 0xf, n & 0xff}
	var version []string
	for _, part := range parts {
		version = append(version, strconv.FormatUint(part, 10))
	}
	return strings.Join(version, ".")
}

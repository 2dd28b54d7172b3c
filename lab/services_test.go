package lab

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/textproto"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

func expect(t *testing.T, text *textproto.Conn, code int) (got int, message string) {
	t.Helper()
	got, message, err := text.ReadResponse(code)
	if err != nil {
		t.Fatal(err)
	}
	return got, message
}

func send(t *testing.T, text *textproto.Conn, line string) {
	t.Helper()
	if err := text.PrintfLine("%s", line); err != nil {
		t.Fatal(err)
	}
}

// step is one turn of a exchange: what the client sends, and what the server's answer must hold before the next turn.
type step struct{ say, want string }

// exchange plays steps against a server and returns all that the server said.
func exchange(t *testing.T, address string, steps ...step) string {
	t.Helper()
	conn := dial(t, address)
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	buffer := make([]byte, 4096)
	for _, s := range steps {
		if _, err := io.WriteString(conn, s.say); err != nil {
			t.Fatal(err)
		}
		var turn strings.Builder
		for !strings.Contains(turn.String(), s.want) {
			n, err := conn.Read(buffer)
			turn.Write(buffer[:n])
			if err != nil {
				t.Fatalf("after %q: %q and %v, want %q", s.say, turn.String(), err, s.want)
			}
		}
		all.WriteString(turn.String())
	}
	return all.String()
}

// patience is how long a test waits for a server that may never answer: long, because only a failing test waits so long.
const patience = 20 * time.Second

// closes says whether the server hangs up after what the client says.
func closes(t *testing.T, address, say string) bool {
	t.Helper()
	conn := dial(t, address)
	if _, err := io.WriteString(conn, say); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	_, err := io.Copy(io.Discard, conn)
	return !errors.Is(err, os.ErrDeadlineExceeded)
}

func TestServicesSpeakTheirProtocol(t *testing.T) {
	l := startLab(t, Options{})
	for _, tt := range []struct {
		note         string
		number, port int
		steps        []step
	}{
		{"Redis 5 without password", 60, 6379, []step{
			{"PING\r\n", "+PONG\r\n"},
			{"*1\r\n$4\r\nPING\r\n", "+PONG\r\n"},
			{"*2\r\n$4\r\nINFO\r\n$6\r\nserver\r\n", "redis_version:5.0.14\r\n"},
			{"DBSIZE\r\n", ":42\r\n"},
			{"AUTH x\r\n", "no password is set"},
			{"NONSENSE\r\n", "-ERR unknown command `NONSENSE`"},
			{"QUIT\r\n", "+OK\r\n"},
		}},
		{"Redis with a password", 69, 6380, []step{
			{"PING\r\n", "-NOAUTH Authentication required.\r\n"},
			{"INFO\r\n", "-NOAUTH"},
			{"AUTH guess\r\n", "-ERR invalid password\r\n"},
		}},
		{"memcached 1.5.6", 60, 11211, []step{
			{"version\r\n", "VERSION 1.5.6\r\n"}, {"stats\r\n", "STAT version 1.5.6\r\n"}, {"get a\r\n", "END\r\n"}, {"x\r\n", "ERROR\r\n"},
		}},
		{"anonymous FTP, vsFTPd 3.0.2", 61, 2121, []step{
			{"", "220 (vsFTPd 3.0.2)\r\n"}, {"AUTH TLS\r\n", "530 "}, {"FEAT\r\n", "211 End\r\n"}, {"PWD\r\n", "530 "},
			{"USER anonymous\r\n", "331 "}, {"PASS a@b.test\r\n", "230 "}, {"PWD\r\n", `257 "/"`}, {"LIST\r\n", "425 "},
			{"USER root\r\n", "331 "}, {"PASS root\r\n", "530 "}, {"QUIT\r\n", "221 "},
		}},
		{"rsync that lists its modules", 61, 8873, []step{{"", "@RSYNCD: 31.0\n"}, {"@RSYNCD: 31.0\n\n", "@RSYNCD: EXIT\n"}}},
		{"SMTP without STARTTLS", 15, 2525, []step{
			{"", "220 mail.acme.test ESMTP Postfix\r\n"}, {"EHLO me\r\n", "250 8BITMIME\r\n"}, {"STARTTLS\r\n", "502 "},
			{"MAIL FROM:<a@b.test>\r\n", "554 "}, {"QUIT\r\n", "221 "},
		}},
		{"IMAP without TLS", 15, 1143, []step{
			{"", "* OK [CAPABILITY IMAP4rev1"}, {"a CAPABILITY\r\n", "a OK "}, {"b STARTTLS\r\n", "b BAD "}, {"c LOGIN u p\r\n", "c NO "}, {"d LOGOUT\r\n", "d OK "},
		}},
		{"POP3 without TLS", 15, 1110, []step{{"", "+OK "}, {"CAPA\r\n", "\r\n.\r\n"}, {"STLS\r\n", "-ERR"}, {"USER a\r\n", "+OK"}, {"PASS b\r\n", "-ERR"}, {"QUIT\r\n", "+OK"}}},
		{"telnet", 14, 2323, []step{{"", "acme-gw login: "}, {"root\r\n", "Password: "}, {"root\r\n", "Login incorrect"}}},
		{"MySQL 5.7.29", 63, 3306, []step{{"", "\x0a5.7.29-log\x00"}, {"\x01\x00\x00\x01\x00", "\xff\x15\x04#28000Access denied"}}},
		{"PostgreSQL", 63, 5432, []step{
			{"\x00\x00\x00\x08\x04\xd2\x16\x2f", "N"},
			{"\x00\x00\x00\x11\x00\x03\x00\x00user\x00lab\x00", "R\x00\x00\x00\x0c\x00\x00\x00\x05"},
			{"p\x00\x00\x00\x05\x00", "C28P01"},
		}},
		{"VNC without authentication", 66, 5900, []step{
			{"", "RFB 003.008\n"}, {"RFB 003.008\n", "\x01\x01"}, {"\x01", "\x00\x00\x00\x00"}, {"\x01", "acme-ws"},
		}},
		{"Java debugger", 65, 5005, []step{{"JDWP-Handshake", "JDWP-Handshake"}}},
		{"Remote Desktop", 66, 3389, []step{
			{"\x03\x00\x00\x13\x0e\xe0\x00\x00\x00\x00\x00\x01\x00\x08\x00\x03\x00\x00\x00", "\x03\x00\x00\x13\x0e\xd0\x00\x00\x12\x34\x00\x02\x00\x08\x00\x00\x00\x00\x00"},
		}},
		{"LDAP without TLS", 66, 1389, []step{
			{"\x30\x0c\x02\x01\x01\x60\x07\x02\x01\x03\x04\x00\x80\x00", "\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x00\x04\x00\x04\x00"},
			{"\x30\x81\x05\x02\x01\x02\x77\x00", "\x02\x01\x02\x78\x07\x0a\x01\x02"},
		}},
		{"ZooKeeper 3.4.6", 65, 2181, []step{{"srvr\n", "Zookeeper version: 3.4.6"}}},
		{"ZooKeeper 3.4.6", 65, 2181, []step{{"ruok", "imok"}}},
		{"ZooKeeper 3.4.6", 65, 2181, []step{
			{"\x00\x00\x00\x2c" + strings.Repeat("\x00", 14) + "\x0f\xa0" + strings.Repeat("\x00", 11) + "\x10" + strings.Repeat("\x00", 16),
				"\x00\x00\x00\x25\x00\x00\x00\x00\x00\x00\x0f\xa0"},
			{"\x00\x00\x00\x0e\x00\x00\x00\x01\x00\x00\x00\x08\x00\x00\x00\x01/\x00", "\x00\x00\x00\x02\x00\x00\x00\x06config\x00\x00\x00\x09zookeeper"},
			{"\x00\x00\x00\x08\xff\xff\xff\xfe\x00\x00\x00\x0b", "\x00\x00\x00\x10\xff\xff\xff\xfe"},
			{"\x00\x00\x00\x08\x00\x00\x00\x03\x00\x00\x00\x01", "\x00\x00\x00\x10\x00\x00\x00\x03\x00\x00\x00\x00\x00\x00\x00\x10\xff\xff\xff\xfa"},
		}},
		{"MQTT without authentication", 66, 1883, []step{
			{"\x10\x0f\x00\x04MQTT\x04\x02\x00\x3c\x00\x03lab", "\x20\x02\x00\x00"}, {"\xc0\x00", "\xd0\x00"},
			{"\x82\x06\x00\x01\x00\x01#\x00", "\x90\x03\x00\x01\x00"},
		}},
		{"MQTT without authentication", 66, 1883, []step{{"\x10\x10\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x03lab", "\x20\x03\x00\x00\x00"}}},
		{"MQTT without authentication", 66, 1883, []step{{"\x10\x11\x00\x06MQIsdp\x03\x02\x00\x3c\x00\x03lab", "\x20\x02\x00\x00"}}},
	} {
		if got := l.noteAt(tt.number, tt.port); got != tt.note {
			t.Errorf("%d:%d is %q, want %q", tt.number, tt.port, got, tt.note)
		}
		said := exchange(t, l.at(tt.number, tt.port), tt.steps...)
		if tt.number == 15 && strings.Contains(said, "250-STARTTLS") {
			t.Errorf("%s offers STARTTLS", tt.note)
		}
	}
}

func (l *Lab) noteAt(number, port int) string {
	for _, h := range l.plan.hosts {
		for _, s := range h.servers {
			if h.number == number && s.port == port {
				return s.note
			}
		}
	}
	return ""
}

func TestServicesHangUpOnNonsense(t *testing.T) {
	l := startLab(t, Options{})
	for _, tt := range []struct {
		number, port int
		say          string
	}{
		{60, 6379, "POST / HTTP/1.1\r\nHost: x\r\n\r\n"},
		{60, 6379, "*99999999\r\n"},
		{60, 6379, "*1\r\n$99999999\r\n"},
		{60, 11211, strings.Repeat("a", 2*maxLine)},
		{63, 27017, "GET / HTTP/1.1\r\n\r\n"},
		{63, 5432, "GET / HTTP/1.1\r\n\r\n"},
		{65, 5005, "GET / HTTP/1.1\r\n\r\n"},
		{66, 1883, "GET / HTTP/1.1\r\n\r\n"},
		{66, 1883, "\x10\x02\x00\x04"},
		{66, 1883, "\x10\x06\x00\x04MQTT"},
		{65, 2181, "GET / HTTP/1.1\r\n\r\n"},
		{65, 2181, "\x00\x00\x00\x03abc"},
		{65, 2181, "\x00\x00\x00\x2c" + strings.Repeat("\x00", 48) + "\x00\x00"},
		{63, 27017, "\x16\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\xd4\x07\x00\x00\x00\x00\x00\x00a\x00"},
		{63, 27017, "\x12\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\xd4\x07\x00\x00\x00\x00"},
		{63, 27017, "\x12\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\xdd\x07\x00\x00\x00\x00"},
	} {
		if !closes(t, l.at(tt.number, tt.port), tt.say) {
			t.Errorf("%d:%d stays open after %.20q", tt.number, tt.port, tt.say)
		}
	}
}

func TestSilentServerHoldsTheConnection(t *testing.T) {
	l := startLab(t, Options{})
	conn := dial(t, l.at(67, 9999))
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	answered := make(chan error, 1)
	go func() {
		_, err := conn.Read(make([]byte, 1))
		answered <- err
	}()
	// Another connection is served meanwhile, and the first one ends only because we end it.
	_ = dial(t, l.at(67, 9999)).Close()
	select {
	case err := <-answered:
		t.Fatalf("the silent server answered: %v", err)
	default:
	}
	_ = conn.Close()
	<-answered
}

// kexInit reads the identification line and the algorithms of an SSH server.
func kexInit(t *testing.T, address string) (identification string, lists [][]string) {
	t.Helper()
	conn := dial(t, address)
	in := bufio.NewReader(conn)
	identification, err := in.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	var size uint32
	if err := binary.Read(in, binary.BigEndian, &size); err != nil {
		t.Fatal(err)
	}
	packet := make([]byte, size)
	if _, err := io.ReadFull(in, packet); err != nil {
		t.Fatal(err)
	}
	padding := int(packet[0])
	if (int(size)+4)%8 != 0 || padding < 4 || packet[1] != 20 {
		t.Fatalf("packet of %d bytes, %d of padding, message %d", size, padding, packet[1])
	}
	rest := packet[1+1+16 : len(packet)-padding]
	for range 10 {
		n := binary.BigEndian.Uint32(rest)
		lists = append(lists, strings.Split(string(rest[4:4+n]), ","))
		rest = rest[4+n:]
	}
	if len(rest) != 5 {
		t.Errorf("%d bytes after the lists, want 5", len(rest))
	}
	return strings.TrimRight(identification, "\r\n"), lists
}

func TestSSHServers(t *testing.T) {
	l := startLab(t, Options{})
	for _, tt := range []struct {
		number, port int
		want         string
		weak         bool
	}{
		{62, 2222, "SSH-2.0-OpenSSH_7.2p2 Ubuntu-4ubuntu2.8", true},
		{62, 2223, "SSH-1.99-OpenSSH_3.9p1", true},
		{42, 2222, "SSH-2.0-OpenSSH_10.0", false},
		{68, firstOfMany, "SSH-2.0-Bastion", false},
		{68, firstOfMany + manyOpen - 1, "SSH-2.0-Bastion", false},
	} {
		identification, lists := kexInit(t, l.at(tt.number, tt.port))
		weak := slices.Contains(lists[0], "diffie-hellman-group1-sha1") && slices.Contains(lists[2], "arcfour") && slices.Contains(lists[4], "hmac-md5")
		if identification != tt.want || weak != tt.weak {
			t.Errorf("%d:%d: %q with weak algorithms %v, want %q and %v", tt.number, tt.port, identification, weak, tt.want, tt.weak)
		}
	}
}

func TestMongo(t *testing.T) {
	l := startLab(t, Options{})
	hello := bson(bsonInt("isMaster", 1))
	query := append([]byte("\x00\x00\x00\x00admin.$cmd\x00\x00\x00\x00\x00\xff\xff\xff\xff"), hello...)
	message := func(document []byte) []byte { return append(make([]byte, 5), document...) }
	for _, tt := range []struct {
		code uint32
		body []byte
		want string
	}{
		{mongoQuery, query, "maxWireVersion"},
		{mongoMessage, message(bson(bsonInt("buildInfo", 1), bsonString("$db", "admin"))), "3.6.8"},
		{mongoMessage, message(bson(bsonInt("listDatabases", 1), bsonString("$db", "admin"))), "databases\x00"},
		{mongoMessage, message(bson(bsonInt("dropDatabase", 1))), "no such command"},
	} {
		request := binary.LittleEndian.AppendUint32(nil, uint32(mongoHeader+len(tt.body)))
		request = append(request, "\x07\x00\x00\x00\x00\x00\x00\x00"...)
		request = append(binary.LittleEndian.AppendUint32(request, tt.code), tt.body...)
		conn := dial(t, l.at(63, 27017))
		if _, err := conn.Write(request); err != nil {
			t.Fatal(err)
		}
		head := make([]byte, mongoHeader)
		if _, err := io.ReadFull(conn, head); err != nil {
			t.Fatal(err)
		}
		body := make([]byte, binary.LittleEndian.Uint32(head)-mongoHeader)
		if _, err := io.ReadFull(conn, body); err != nil {
			t.Fatal(err)
		}
		if head[8] != 7 || !strings.Contains(string(body), tt.want) {
			t.Errorf("answer to request %d: %q, want %q", head[8], body, tt.want)
		}
	}
}

func TestJSONServices(t *testing.T) {
	l := startLab(t, Options{})
	for _, tt := range []struct {
		number, port int
		path, want   string
	}{
		{64, 9200, "/", `"number":"6.8.0"`},
		{64, 9200, "/_cat/indices", `"customers"`},
		{64, 5984, "/", `"couchdb":"Welcome"`},
		{64, 5984, "/_all_dbs", `"customers"`},
		{65, 2375, "/version", `"Version":"18.09.1"`},
		{65, 2375, "/containers/json", `"State":"running"`},
		{65, 2379, "/version", `"etcdserver":"3.3.8"`},
		{65, 2379, "/v2/keys", `"dir":true`},
		{65, 10250, "/pods", `"kind":"PodList"`},
	} {
		scheme := "http"
		if tt.port == 10250 {
			scheme = "https"
		}
		reply := get(t, http.MethodGet, scheme, l.at(tt.number, tt.port), tt.path, nil)
		if reply.StatusCode != http.StatusOK || !strings.Contains(reply.body, tt.want) || !json.Valid([]byte(reply.body)) {
			t.Errorf("%d:%d%s: %d %q", tt.number, tt.port, tt.path, reply.StatusCode, reply.body)
		}
	}
	for _, port := range []int{2375, 2379} {
		if reply := get(t, http.MethodGet, "http", l.at(65, port), "/", nil); reply.StatusCode != http.StatusNotFound {
			t.Errorf("%d: status %d at the root", port, reply.StatusCode)
		}
	}
}

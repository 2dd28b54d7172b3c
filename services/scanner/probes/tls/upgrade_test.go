package tls

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	stdtls "crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

// step is one turn of a server: it waits until what the client sent contains hear, then says say. Both may hold bytes.
type step struct{ hear, say string }

// mysqlGreeting is the greeting of MySQL 8 with and without CLIENT_SSL.
func mysqlGreeting(ssl bool) string {
	low := "\xff\xf7"
	if ssl {
		low = "\xff\xff"
	}
	body := "\x0a8.0.34\x00\x08\x00\x00\x00abcdefgh\x00" + low + "\xff\x02\x00\xff\xdf\x15" + strings.Repeat("\x00", 10) + "ijklmnopqrst\x00caching_sha2_password\x00"
	return string([]byte{byte(len(body)), 0, 0, 0}) + body
}

// upgradeScripts are the dialogues of the services that can be upgraded, and of those that cannot.
var upgradeScripts = []struct {
	service string
	offers  bool
	script  []step
}{
	{"smtp", true, []step{{"", "220-mail.test\r\n220 ready\r\n"}, {"EHLO", "250-mail.test\r\n250-PIPELINING\r\n250 STARTTLS\r\n"}, {"STARTTLS\r\n", "220 go on\r\n"}}},
	{"smtp", false, []step{{"", "220 ready\r\n"}, {"EHLO", "250 SIZE 1000\r\n"}}},
	{"imap", true, []step{{"", "* OK [CAPABILITY IMAP4rev1 STARTTLS] ready\r\n"}, {"STARTTLS\r\n", "* NOOP noise\r\na1 OK begin\r\n"}}},
	{"imap", false, []step{{"", "* OK ready\r\n"}, {"STARTTLS", "a1 BAD what?\r\n"}}},
	{"pop3", true, []step{{"", "+OK ready\r\n"}, {"STLS\r\n", "+OK begin\r\n"}}},
	{"pop3", false, []step{{"", "+OK ready\r\n"}, {"STLS", "-ERR what?\r\n"}}},
	{"ftp", true, []step{{"", "220-welcome\r\n to all\r\n220 ready\r\n"}, {"AUTH TLS\r\n", "234 go on\r\n"}}},
	{"ftp", false, []step{{"", "220 ready\r\n"}, {"AUTH TLS", "500 what?\r\n"}}},
	{"nntp", true, []step{{"", "200 news.test\r\n"}, {"STARTTLS\r\n", "382 go on\r\n"}}},
	{"nntp", false, []step{{"", "201 news.test\r\n"}, {"STARTTLS", "580 no\r\n"}}},
	{"sieve", true, []step{{"", "\"IMPLEMENTATION\" \"Dovecot\"\r\n\"STARTTLS\"\r\nOK \"ready\"\r\n"}, {"STARTTLS\r\n", "OK \"begin\"\r\n"}}},
	{"sieve", false, []step{{"", "\"IMPLEMENTATION\" \"Dovecot\"\r\nOK \"ready\"\r\n"}}},
	{"xmpp", true, []step{
		{"version='1.0'>", "<?xml version='1.0'?><stream:stream id='1'><stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:features>"},
		{"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"},
	}},
	{"xmpp", false, []step{{"version='1.0'>", "<stream:stream id='1'><stream:features></stream:features>"}}},
	{"ldap", true, []step{{"1.3.6.1.4.1.1466.20037", "\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00"}}},
	{"ldap", false, []step{{"1.3.6.1.4.1.1466.20037", "\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x02\x04\x00\x04\x00"}}},
	{"postgresql", true, []step{{"\x04\xd2\x16\x2f", "S"}}},
	{"postgresql", false, []step{{"\x04\xd2\x16\x2f", "N"}}},
	{"mysql", true, []step{{"", mysqlGreeting(true)}, {"\x21" + strings.Repeat("\x00", 23), ""}}},
	{"mysql", false, []step{{"", mysqlGreeting(false)}}},
	{"http", true, []step{{"Upgrade: TLS/1.0\r\nConnection: Upgrade\r\n\r\n", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: TLS/1.0\r\nConnection: Upgrade\r\n\r\n"}}},
	{"ipp", false, []step{{"\r\n\r\n", ""}}}, // hangs up
	{"http", false, []step{{"\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"}}},
}

// perform plays a script. It reads byte by byte, so that nothing of what follows is lost.
func perform(conn net.Conn, script []step) bool {
	for _, s := range script {
		var heard []byte
		one := make([]byte, 1)
		for !strings.Contains(string(heard), s.hear) {
			if _, err := io.ReadFull(conn, one); err != nil {
				return false
			}
			heard = append(heard, one[0])
		}
		if _, err := conn.Write([]byte(s.say)); err != nil {
			return false
		}
	}
	return true
}

func TestUpgrades(t *testing.T) {
	root := newAuthority(t, "Test Root", nil)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	config := &stdtls.Config{Certificates: []stdtls.Certificate{root.issue(t, leafFor("mail.test"), key)}, MinVersion: stdtls.VersionTLS12}
	for _, test := range upgradeScripts {
		t.Run(test.service, func(t *testing.T) {
			job := jobFor(serve(t, func(conn net.Conn) {
				if perform(conn, test.script) && test.offers {
					answerTLS(conn, config)
				}
			}), "mail.test")
			job.Target.Service, job.Target.Tls = test.service, false
			if !test.offers {
				if result := scan(t, New(Options{}), job); result.Outcome != modelv1.Outcome_OUTCOME_COMPLETE || len(result.Observations) != 0 {
					t.Errorf("got %+v, want complete without observation", result)
				}
				return
			}
			fact := factOf(t, New(Options{ExtraRoots: []*x509.Certificate{root.cert}}), job)
			if fact.GetStarttls() != test.service || !slices.Equal(fact.GetVersions(), []string{"TLS1.2", "TLS1.3"}) || !fact.GetTrusted() {
				t.Errorf("got %v", fact)
			}
			if len(fact.GetProtocols()[0].GetCiphers()) < 5 || fact.GetJarm() != "" {
				t.Errorf("ciphers %v, JARM %q", fact.GetProtocols()[0], fact.GetJarm())
			}
		})
	}
}

// smtpServer is SMTP with STARTTLS. With keep, it carries out inside of TLS what came in clear behind STARTTLS.
func smtpServer(config *stdtls.Config, keep bool) func(net.Conn) {
	return func(conn net.Conn) {
		in := bufio.NewReader(conn)
		_, _ = io.WriteString(conn, "220 ready\r\n")
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				return
			}
			if !strings.HasPrefix(line, "STARTTLS") {
				_, _ = io.WriteString(conn, "250-mail.test\r\n250 STARTTLS\r\n")
				continue
			}
			_, _ = io.WriteString(conn, "220 go on\r\n")
			break
		}
		kept, _ := in.Peek(in.Buffered())
		server := stdtls.Server(conn, config)
		if server.Handshake() != nil {
			return
		}
		inside := io.Reader(server)
		if keep {
			inside = io.MultiReader(bytes.NewReader(kept), server)
		}
		for lines := bufio.NewScanner(inside); lines.Scan(); {
			if strings.HasPrefix(lines.Text(), "QUIT") {
				_, _ = io.WriteString(server, "221 bye\r\n")
				return
			}
			_, _ = io.WriteString(server, "250 ok\r\n")
		}
	}
}

func TestSmuggledCommands(t *testing.T) {
	config := &stdtls.Config{Certificates: []stdtls.Certificate{selfSign(t, leafFor("mail.test"), newKey(t))}}
	for keep, want := range map[bool]string{true: wordYes, false: wordNo} {
		job := jobFor(serve(t, smtpServer(config, keep)), "mail.test")
		job.Target.Service, job.Target.Tls = "smtp", false
		if got := factOf(t, New(Options{}), job).GetBehaviour().GetStarttlsInjection(); got != want {
			t.Errorf("keeps %t: %q, want %q", keep, got, want)
		}
	}
}

func FuzzUpgrade(f *testing.F) {
	names := make([]string, 0, len(upgrades))
	for name := range upgrades {
		names = append(names, name)
	}
	slices.Sort(names)
	for i, name := range names {
		for _, s := range upgradeScripts {
			if s.service == name {
				var all strings.Builder
				for _, st := range s.script {
					all.WriteString(st.say)
				}
				f.Add(byte(i), []byte(all.String()))
			}
		}
	}
	f.Fuzz(func(t *testing.T, which byte, said []byte) {
		conn := &scripted{in: bytes.NewReader(said)}
		upgraded, err := upgradeWith(conn, names[int(which)%len(names)], "a.test", "NOOP")
		if err == nil && upgraded == nil {
			t.Error("neither a connection nor an error")
		}
		if conn.out > 4<<10 {
			t.Errorf("%d bytes were sent", conn.out)
		}
	})
}

// scripted is a connection that says what it has and counts what it hears.
type scripted struct {
	net.Conn
	in  *bytes.Reader
	out int
}

func (s *scripted) Read(b []byte) (int, error)  { return s.in.Read(b) }
func (s *scripted) Write(b []byte) (int, error) { s.out += len(b); return len(b), nil }

func FuzzVersion2(f *testing.F) {
	f.Add([]byte{0x80, 14, 4, 0, 1, 0, 2, 0, 0, 0, 3, 0, 0, 1, 0, 0x80})
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := readAnswer2(bytes.NewReader(data))
		if err == nil {
			got.fact()
		}
		if len(got.ciphers) > 64 || len(got.certificate) > maxSSL2 {
			t.Errorf("unbounded: %d ciphers, %d bytes", len(got.ciphers), len(got.certificate))
		}
	})
}

func FuzzTickets(f *testing.F) {
	f.Add([]byte{4, 0, 0, 22, 0, 0, 0, 9, 0, 0, 0, 1, 1, 7, 0, 1, 9, 0, 8, 0, 42, 0, 4, 0, 0, 4, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		if got := readTickets13(data); len(got) > maxTickets {
			t.Errorf("%d tickets", len(got))
		}
		tickets13(data, make([]byte, 32), stdtls.TLS_AES_128_GCM_SHA256)
		ticketSeconds(data)
		randomOf(data, typeServerHello)
	})
}

// The vectors of github.com/hdm/jarm-go (jarm_test.go), an implementation that was compared with the original.
func TestJARM(t *testing.T) {
	const h11 = "c02f|0303|http/1.1|0000-ff01-000b-0023-0010"
	const plain = "c02f|0303||0000-ff01-000b-0023"
	raw := []string{h11, h11, jarmNothing, plain, plain, jarmNothing, h11, h11, h11, h11}
	if got, want := jarmHash(raw), "29d29d00029d29d00029d29d29d29d8c9dac4e97f99c7a0e93e9d4d790df0a"; got != want {
		t.Errorf("hash %s, want %s", got, want)
	}
	if got := jarmHash(slices.Repeat([]string{jarmNothing}, 10)); got != strings.Repeat("0", 62) {
		t.Errorf("hash of nothing: %s", got)
	}
	answer, err := hex.DecodeString("160303005002" + "00004c0303331f11323d4cb22e196c9661a2a8643cb48be65615220cd3bb3e198e06a906b100c02f0000" +
		"2400000000ff01000100000b00040300010200230000" + "0010000b000908687474702f312e31" + "16030312f10b0012ed")
	if err != nil {
		t.Fatal(err)
	}
	if got := jarmAnswer(answer); got != h11 {
		t.Errorf("answer %q, want %q", got, h11)
	}
	for order, want := range map[string][]int{
		"forward": {1, 2, 3, 4, 5}, "reverse": {5, 4, 3, 2, 1}, "top": {3, 2, 1}, "bottom": {4, 5}, "middle": {3, 4, 2, 5, 1},
	} {
		if got := jarmOrder([]int{1, 2, 3, 4, 5}, order); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", order, got, want)
		}
	}
}

func FuzzJARM(f *testing.F) {
	f.Add([]byte("\x16\x03\x03\x00\x50\x02\x00\x00\x4c\x03\x03"))
	f.Fuzz(func(t *testing.T, data []byte) {
		said := jarmAnswer(data)
		if hash := jarmHash([]string{said, said, said, said, said, said, said, said, said, said}); len(hash) != 62 {
			t.Errorf("hash %q of %q", hash, said)
		}
	})
}

func TestRegistryOfSuites(t *testing.T) {
	lines := 0
	for line := range strings.Lines(suiteData) {
		if !strings.HasPrefix(line, "#") {
			lines++
		}
	}
	table := registry()
	if len(table.all) != lines || len(table.byID) != lines || lines < 360 {
		t.Errorf("%d lines, %d suites, %d numbers", lines, len(table.all), len(table.byID))
	}
	names := make(map[string]bool)
	for _, s := range table.all {
		if names[s.name] || s.openssl != "" && names["openssl "+s.openssl] {
			t.Errorf("%s twice", s.name)
		}
		names[s.name], names["openssl "+s.openssl] = true, s.openssl != ""
		if s.keyExchange() == "" {
			t.Errorf("%s: no key exchange", s.name)
		}
		if s.bits() == 0 && s.classes()&classNull == 0 {
			t.Errorf("%s: no strength", s.name)
		}
		if s.classes()&^(classStaticRSA|classForwardSecret|classAnon|classExport) == 0 && !strings.Contains(s.name, "_OMAC") {
			t.Errorf("%s: no class", s.name)
		}
	}
	for id, want := range map[uint16]uint32{0x0003: 40, 0x0009: 56, 0x000a: 112, 0x0005: 128, 0xc030: 256, 0x1303: 256, 0x0001: 0, 0x0062: 56} {
		if s, _ := suiteOf(id); s.bits() != want {
			t.Errorf("%s: %d bits, want %d", s.name, s.bits(), want)
		}
	}
	for _, version := range []uint16{versionSSL3, versionTLS12} {
		if common := suitesFor(version)[0]; len(common) > 127 {
			t.Errorf("%d common suites for %s, want at most 127", len(common), versionName(version))
		}
	}
}

func TestGrade(t *testing.T) {
	cipher := func(bits uint32, classes ...string) *modelv1.TlsProtocol {
		return &modelv1.TlsProtocol{Version: "TLS1.2", Ciphers: []*modelv1.TlsCipher{{Bits: 256}, {Bits: bits, Classes: classes}}}
	}
	good := func(change func(*modelv1.TlsFact)) *modelv1.TlsFact {
		f := &modelv1.TlsFact{
			Versions: []string{"TLS1.2", "TLS1.3"}, CipherClasses: []string{"aead"}, ForwardSecrecy: true, Trusted: true, NameMatches: true,
			Chain:     []*modelv1.Certificate{{KeyType: "ecdsa", KeyBits: 256}},
			Protocols: []*modelv1.TlsProtocol{cipher(128)},
			Behaviour: &modelv1.TlsBehaviour{SecureRenegotiation: wordYes}, KeyExchange: &modelv1.TlsKeyExchange{},
		}
		change(f)
		return f
	}
	tests := []struct {
		name   string
		fact   *modelv1.TlsFact
		letter string
		score  uint32
	}{
		{"good", good(func(*modelv1.TlsFact) {}), "A", 93},
		{"best", good(func(f *modelv1.TlsFact) { f.Protocols, f.Chain[0].KeyBits = []*modelv1.TlsProtocol{cipher(256)}, 384 }), "A", 100},
		{"no TLS 1.3", good(func(f *modelv1.TlsFact) { f.Versions = []string{"TLS1.2"} }), "A-", 93},
		{"TLS 1.0", good(func(f *modelv1.TlsFact) { f.Versions = []string{"TLS1.0", "TLS1.2", "TLS1.3"} }), "B", 92},
		{"SSL 3.0", good(func(f *modelv1.TlsFact) { f.Versions = []string{"SSLv3", "TLS1.3"} }), "C", 90},
		{"SSL 2.0", good(func(f *modelv1.TlsFact) { f.Versions = []string{"SSLv2", "TLS1.3"} }), "F", 78},
		{"3DES in TLS 1.2", good(func(f *modelv1.TlsFact) { f.Protocols = []*modelv1.TlsProtocol{cipher(112, "3des")} }), "C", 81},
		{"Diffie-Hellman of 1,024 bits", good(func(f *modelv1.TlsFact) { f.KeyExchange.DhBits = 1024 }), "B", 90},
		{"anonymous", good(func(f *modelv1.TlsFact) { f.CipherClasses = append(f.CipherClasses, "anon") }), "F", 0},
		{"Heartbleed", good(func(f *modelv1.TlsFact) { f.Behaviour.HeartbeatOverread = wordYes }), "F", 93},
		{"not trusted", good(func(f *modelv1.TlsFact) { f.Trusted = false }), "T", 93},
		{"another name", good(func(f *modelv1.TlsFact) { f.NameMatches = false }), "M", 93},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := grade(test.fact); got.GetLetter() != test.letter || got.GetScore() != test.score {
				t.Errorf("got %v; want %s with %d", got, test.letter, test.score)
			}
		})
	}
	if grade(&modelv1.TlsFact{}) != nil {
		t.Error("a grade for nothing")
	}
}

// A drip inside of the survey ends with the budget, and what was seen is kept.
func TestDripAfterTheFirstAnswer(t *testing.T) {
	cert := selfSign(t, leafFor("drip.test"), newKey(t)).Certificate
	first := make(chan bool, 1)
	first <- true
	addr := serve(t, func(conn net.Conn) {
		if _, ok := readHello(conn); !ok {
			return
		}
		out := flightOf(versionTLS12, helloOf(versionTLS12, 0xc02f), cert, nil)
		select {
		case <-first:
			_, _ = conn.Write(out)
			return
		default:
		}
		ticks := time.NewTicker(10 * time.Millisecond)
		defer ticks.Stop()
		for _, b := range out {
			<-ticks.C
			if _, err := conn.Write([]byte{b}); err != nil {
				return
			}
		}
	})
	result := scan(t, New(Options{}).withLimits(100*time.Millisecond), jobFor(addr, "drip.test"))
	if result.Outcome != modelv1.Outcome_OUTCOME_PARTIAL || len(result.Observations) != 1 || len(result.Observations[0].GetTls().GetChain()) != 1 {
		t.Errorf("got %+v, want a partial result with the chain", result)
	}
}

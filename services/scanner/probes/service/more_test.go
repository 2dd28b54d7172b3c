package service

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"

	sshserver "golang.org/x/crypto/ssh"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/netguard"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
)

// speakOn has one protocol's words with a service that is taken to be on another port, thoroughly.
func speakOn(t testing.TB, name string, port uint16, server handler) *modelv1.ServiceFact {
	t.Helper()
	served := serve(t, "127.0.0.1:0", server)
	guard := netguard.New(netguard.Options{AllowPrivate: true})
	p := &prober{
		env: probes.Env{Guard: guard}, reach: "127.0.0.1", port: port, patience: hurried(false), thorough: true, transport: modelv1.Transport_TRANSPORT_TCP,
	}
	p.connect = toPort(served)
	l, err := p.open(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	for _, protocol := range protocols() {
		if protocol.name == name {
			talk := &talk{line: l, prober: p}
			return talk.found(protocol.speak(talk)).fact
		}
	}
	t.Fatalf("no protocol %q", name)
	return nil
}

// toPort connects to that port of this machine, whatever was asked for.
func toPort(port uint16) func(context.Context, string, string) (net.Conn, error) {
	guard := netguard.New(netguard.Options{AllowPrivate: true})
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		return guard.DialContext(ctx, network, net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port))))
	}
}

// db2Answer is EXCSATRD with class and release in EBCDIC.
func db2Answer() string {
	class := "\x11\x47" + "\xd8\xc4\xc2\xf2\x61\xd3\xc9\xd5\xe4\xe7\xe7\xf8\xf6\xf6\xf4"
	level := "\x11\x5a" + "\xe2\xd8\xd3\xf1\xf1\xf0\xf5\xf5"
	body := be16(len(class)+2) + class + be16(len(level)+2) + level
	return be16(10+len(body)) + "\xd0\x02\x00\x01" + be16(4+len(body)) + "\x14\x43" + body
}

func rpcAnswer(body string) string {
	return "\x80" + be32(24 + len(body))[1:] + "risp" + be32(1) + be32(0) + be32(0) + be32(0) + be32(0) + body
}

func xdr(text string) string { return be32(len(text)) + text + strings.Repeat("\x00", -len(text)&3) }

func TestProtocolsOfOneService(t *testing.T) {
	program := func(number, version, protocol, port int) string {
		return be32(1) + be32(number) + be32(version) + be32(protocol) + be32(port)
	}
	zabbix := func(text string) string { return "ZBXD\x01" + le32(len(text)) + le32(0) + text }
	kafkaReply := func(body string) string { return be32(4+len(body)) + "risp" + body }
	pptpAnswer := be16(156) + be16(1) + be32(pptpMagic) + "\x00\x02\x00\x00\x01\x00\x01\x00" + be32(1) + be32(1) + be16(1) + be16(1680) + "router" + strings.Repeat("\x00", 58) + "linux" + strings.Repeat("\x00", 59)
	link := []byte{5, 0x64, 5, 0x0b, 0, 0, 10, 0}
	crc := dnp3CRC(link)
	tests := map[string]struct {
		protocol string
		port     uint16
		server   handler
		want     want
	}{
		"kafka": {"kafka", 9092, conversation([]exchange{
			{begins: "\x00\x00\x00\x16\x00\x12", size: 26, answer: kafkaReply("\x00\x00\x00\x00\x00\x00")},
			{begins: "\x00\x00\x00\x1a\x00\x03\x00\x01", size: 30, answer: kafkaReply(be32(1) + be32(7) + be16(5) + "node1" + be32(9092) + "\xff\xff" + be32(7) + be32(0))},
		}), want{name: "kafka", product: "Apache Kafka", unauthenticated: true, details: map[string]string{"kafka.broker": "node1:9092"}}},
		"kafka with credentials": {"kafka", 9092, conversation([]exchange{{begins: "\x00\x00\x00\x16\x00\x12", size: 26, answer: kafkaReply("\x00\x00\x00\x00\x00\x00")}}), want{name: "kafka", product: "Apache Kafka"}},
		"exports": {"rpcbind", 111, conversation(
			[]exchange{{begins: "\x80\x00\x00\x28risp" + be32(0) + be32(2) + be32(rpcPortmapper), size: 44, answer: rpcAnswer(program(rpcPortmapper, 2, 6, 111) + program(rpcMount, 3, 6, 635) + be32(0))}},
			[]exchange{{begins: "\x80\x00\x00\x28risp" + be32(0) + be32(2) + be32(rpcMount), size: 44, answer: rpcAnswer(be32(1) + xdr("/home") + be32(1) + xdr("10.0.0.0/8") + be32(0) + be32(1) + xdr("/srv") + be32(0) + be32(0))}},
		), want{name: "rpcbind", unauthenticated: true, details: map[string]string{"rpcbind.exports": "/home(10.0.0.0/8) /srv(everybody)"}}},
		"exports to some": {"rpcbind", 111, conversation(
			[]exchange{{begins: "\x80\x00\x00\x28risp" + be32(0) + be32(2) + be32(rpcPortmapper), size: 44, answer: rpcAnswer(program(rpcMount, 3, 6, 635) + be32(0))}},
			[]exchange{{begins: "\x80\x00\x00\x28risp" + be32(0) + be32(2) + be32(rpcMount), size: 44, answer: rpcAnswer(be32(1) + xdr("/home") + be32(1) + xdr("10.0.0.0/8") + be32(0) + be32(0))}},
		), want{name: "rpcbind", details: map[string]string{"rpcbind.exports": "/home(10.0.0.0/8)"}}},
		"nfs": {"nfs", 2049, conversation([]exchange{{begins: "\x80\x00\x00\x28risp", size: 44, answer: rpcAnswer("")}}), want{name: "nfs", details: map[string]string{"nfs.version": "3"}}},
		"stomp": {"stomp", 61613, conversation([]exchange{{begins: "CONNECT\n", size: 45, answer: "CONNECTED\nserver:ActiveMQ/5.15.9\nversion:1.2\n\n\x00\n"}}),
			want{name: "stomp", product: "Apache ActiveMQ", version: "5.15.9", cpe: "cpe:2.3:a:apache:activemq:5.15.9:*:*:*:*:*:*:*", unauthenticated: true}},
		"stomp with credentials": {"stomp", 61613, conversation([]exchange{{begins: "CONNECT\n", size: 45, answer: "ERROR\nmessage:User name [null] or password is invalid.\n\n\x00\n"}}), want{name: "stomp"}},
		"sip":                    {"sip", 5060, script("", map[string]string{"OPTIONS": "SIP/2.0 200 OK\r\nUser-Agent: FPBX-16.0.40(18.13.0)\r\nContent-Length: 0\r\n\r\n", "": ""}), want{name: "sip", product: "FreePBX", version: "16.0.40"}},
		"xmpp": {"xmpp", 5222, conversation([]exchange{{begins: "<?xml version='1.0'?><stream:stream", size: 146, answer: "<?xml version='1.0'?><stream:stream xmlns:stream='http://etherx.jabber.org/streams' from='x'>" +
			"<stream:features><mechanisms><mechanism>PLAIN</mechanism></mechanisms></stream:features>"}}), want{name: "xmpp", details: map[string]string{"xmpp.mechanisms": "PLAIN"}}},
		"zabbix agent":  {"zabbix-agent", 10050, conversation([]exchange{{begins: "ZBXD\x01\x0d", size: 26, answer: zabbix("6.0.13")}}), want{name: "zabbix-agent", product: "Zabbix agent", version: "6.0.13", unauthenticated: true}},
		"zabbix server": {"zabbix-agent", 10051, conversation([]exchange{{begins: "ZBXD\x01\x0d", size: 26, answer: zabbix(`{"response":"failed"}`)}}), want{name: "zabbix-server", product: "Zabbix server"}},
		"ajp":           {"ajp", 8009, conversation([]exchange{{begins: "\x12\x34\x00\x01\x0a", answer: "AB\x00\x01\x09"}}), want{name: "ajp"}},
		"smart install": {"smart-install", 4786, conversation([]exchange{{begins: be32(1) + be32(1) + be32(4) + be32(8) + be32(1) + be32(0), answer: be32(4) + be32(0) + be32(3) + be32(8) + be32(1) + be32(0)}}), want{name: "smart-install", product: "Cisco Smart Install client"}},
		"pptp":          {"pptp", 1723, conversation([]exchange{{begins: "\x00\x9c\x00\x01", size: 156, answer: pptpAnswer}}), want{name: "pptp", details: map[string]string{"pptp.name": "router", "pptp.vendor": "linux", "pptp.firmware": "1680"}}},
		"openvpn":       {"openvpn", 1194, conversation([]exchange{{begins: "\x00\x0e" + openVPNReset, answer: "\x00\x1a\x40serversi\x01\x00\x00\x00\x00riskprof\x00\x00\x00\x00"}}), want{name: "openvpn"}},
		"epmd": {"epmd", 4369, func(conn net.Conn) {
			conversation([]exchange{{begins: "\x00\x01n", answer: be32(4369) + "name rabbit at port 25672\n"}})(conn)
		}, want{name: "epmd", product: "Erlang port mapper", details: map[string]string{"epmd.nodes": "rabbit at port 25672"}}},
		"git":                 {"git", 9418, conversation([]exchange{{begins: "00", size: 4, answer: "0035ERR access denied or repository not exported: /x\n"}}), want{name: "git", product: "Git daemon"}},
		"db2":                 {"db2", 50000, conversation([]exchange{{begins: "\x00", size: 18, answer: db2Answer()}}), want{name: "db2", product: "IBM Db2", version: "11.5.5", os: "LINUXX8664"}},
		"firebird":            {"firebird", 3050, conversation([]exchange{{begins: be32(1), size: 60, answer: be32(3) + "\x00\x00\x80\x0d" + be32(1) + be32(3)}}), want{name: "firebird", product: "Firebird", details: map[string]string{"firebird.protocol": "13"}}},
		"ethernetip":          {"ethernetip", 44818, conversation([]exchange{{begins: string(listIdentity), answer: string(identityAnswer())}}), want{name: "ethernetip", product: "1756-ENBT/A", version: "5.28"}},
		"dnp3":                {"dnp3", 20000, conversation([]exchange{{begins: "\x05\x64\x05\xc9", size: 90, answer: string(link) + string([]byte{byte(crc), byte(crc >> 8)})}}), want{name: "dnp3", details: map[string]string{"dnp3.station": "10"}}},
		"dnp3 of wrong sums":  {"dnp3", 20000, conversation([]exchange{{begins: "\x05\x64\x05\xc9", size: 90, answer: string(link) + "xx"}}), want{}},
		"iec 104":             {"iec104", 2404, conversation([]exchange{{begins: "\x68\x04\x43\x00\x00\x00", answer: "\x68\x04\x83\x00\x00\x00"}}), want{name: "iec104"}},
		"opc ua":              {"opcua", 4840, conversation([]exchange{{begins: "HELF", size: 32, answer: "ACKF" + le32(28) + strings.Repeat("\x00", 20)}}), want{name: "opcua"}},
		"fox":                 {"fox", 1911, conversation([]exchange{{begins: "fox a 1 -1 fox hello", size: 52, answer: "fox a 0 -1 fox hello\n{\nfox.version=s:1.0\nhostName=s:bms\napp.name=s:Station\napp.version=s:4.4.73\nos.name=s:QNX\nos.version=s:6.5\nstation.name=s:Plant\n};;\n"}}), want{name: "fox", product: "Tridium Niagara", version: "4.4.73", os: "QNX 6.5"}},
		"postgresql trust":    {"postgresql", 5432, conversation([]exchange{{begins: string(sslRequest), answer: "N"}}, []exchange{{begins: string(pgStartup()), answer: pgIn("15.8 (Debian 15.8-0+deb12u1)")}}), want{name: "postgresql", product: "PostgreSQL", version: "15.8", unauthenticated: true, distribution: "Debian:12", packageVersion: "15.8-0+deb12u1"}},
		"postgresql no trust": {"postgresql", 5432, conversation([]exchange{{begins: string(sslRequest), answer: "N"}}, []exchange{{begins: string(pgStartup()), answer: "R" + be32(8) + be32(0) + "E" + be32(4+22) + "SFATAL\x00Mno such role\x00\x00\x00"}}), want{name: "postgresql", product: "PostgreSQL", details: map[string]string{"postgresql.refusal": "no such role"}}},
		"cassandra open": {"cassandra", 9042, conversation([]exchange{
			{begins: "\x04\x00\x00\x00\x05\x00\x00\x00\x00", answer: "\x84\x00\x00\x00\x06" + be32(24) + be16(1) + be16(11) + "CQL_VERSION" + be16(1) + be16(5) + "3.4.4"},
			{begins: "\x04\x00\x00\x01\x01", size: 31, answer: "\x84\x00\x00\x01\x02" + be32(0)},
			{begins: "\x04\x00\x00\x02\x07", size: 56, answer: cqlRows("3.11.4")},
		}), want{name: "cassandra", product: "Apache Cassandra", version: "3.11.4", unauthenticated: true}},
		"broker with a version": {"mqtt", 1883, conversation([]exchange{
			{begins: string(mqttConnect), answer: "\x20\x02\x00\x00"},
			{begins: string(mqttVersion), answer: "\x90\x03\x00\x01\x00" + "\x31\x2f\x00\x13$SYS/broker/versionmosquitto version 2.0.11\x00\x00\x00\x00"},
		}), want{name: "mqtt", unauthenticated: true, product: "Eclipse Mosquitto", version: "2.0.11"}},
		"socks": {"socks", 1080, conversation([]exchange{{begins: "\x05\x01\x00", answer: "\x05\x00"}, {begins: "\x05\x01\x00\x01\x7f\x00\x00\x01\x04\x38", answer: "\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"}}), want{name: "socks", unauthenticated: true}},
		"ldap": {"ldap", 389, conversation([]exchange{
			{begins: string(ldapRootDSE()), answer: string(berLong(tagSequence, []byte{2, 1, 1}, berLong(0x64, berText(4, ""), berLong(0x30, berLong(0x30, berText(4, "namingContexts"), berLong(0x31, berText(4, "dc=acme"))), berLong(0x30, berText(4, "objectClass"), berLong(0x31, berText(4, "OpenLDAProotDSE")))))))},
			{begins: string(ldapBelow("dc=acme")), answer: string(berLong(tagSequence, []byte{2, 1, 2}, berLong(0x64, berText(4, "ou=people,dc=acme"), berLong(0x30))))},
		}), want{name: "ldap", product: "OpenLDAP", unauthenticated: true, details: map[string]string{"ldap.base": "dc=acme"}}},
		"ldap with rights": {"ldap", 389, conversation([]exchange{
			{begins: string(ldapRootDSE()), answer: string(berLong(tagSequence, []byte{2, 1, 1}, berLong(0x64, berText(4, ""), berLong(0x30, berLong(0x30, berText(4, "namingContexts"), berLong(0x31, berText(4, "dc=acme")))))))},
			{begins: string(ldapBelow("dc=acme")), answer: "\x30\x0c\x02\x01\x02\x65\x07\x0a\x01\x20\x04\x00\x04\x00"},
		}), want{name: "ldap"}},
		"windows": {"smb", 445, conversation([]exchange{
			{begins: be32(108) + "\xfeSMB", size: 112, answer: be32(132) + "\xfeSMB" + strings.Repeat("\x00", 60) + "\x41\x00\x01\x00\x10\x02" + strings.Repeat("\x00", 62)},
			{begins: string(smb2SessionSetup()), answer: ntlmAnswer(10, 0, 17763)},
		}), want{name: "smb", os: "Windows 10.0.17763", details: map[string]string{"smb.signing": "enabled", "smb.computer": "DC1"}}},
		"samba": {"smb", 445, conversation([]exchange{
			{begins: be32(108) + "\xfeSMB", size: 112, answer: be32(132) + "\xfeSMB" + strings.Repeat("\x00", 60) + "\x41\x00\x01\x00\x10\x02" + strings.Repeat("\x00", 62)},
			{begins: string(smb2SessionSetup()), answer: ntlmAnswer(6, 1, 0)},
		}), want{name: "smb", product: "Samba", details: map[string]string{"smb.computer": "DC1"}}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fact := speakOn(t, tt.protocol, tt.port, tt.server)
			if fact == nil {
				if tt.want.name != "" {
					t.Fatal("not told")
				}
				return
			}
			tt.want.check(t, fact)
			checkSafe(t, fact)
		})
	}
}

func pgIn(version string) string {
	status := "server_version\x00" + version + "\x00"
	return "R" + be32(8) + be32(0) + "S" + be32(4+len(status)) + status + "Z" + be32(5) + "I"
}

func cqlRows(version string) string {
	body := be32(2) + be32(1) + be32(1) + be16(6) + "system" + be16(5) + "local" + be16(15) + "release_version" + be16(13) + be32(1) + be32(len(version)) + version
	return "\x84\x00\x00\x02\x08" + be32(len(body)) + body
}

func ntlmAnswer(major, minor byte, build int) string {
	token := "NTLMSSP\x00\x02\x00\x00\x00" + strings.Repeat("\x00", 8) + le32(0) + "challeng" + strings.Repeat("\x00", 8) + "\x0e\x00\x0e\x00" + le32(56) + string([]byte{major, minor, byte(build), byte(build >> 8)}) + "\x00\x00\x00\x0f" +
		"\x01\x00\x06\x00D\x00C\x001\x00" + le32(0)
	body := "\xfeSMB" + strings.Repeat("\x00", 60) + "\x09\x00\x00\x00\x48\x00" + string([]byte{byte(len(token)), byte(len(token) >> 8)}) + token
	return be32(len(body)) + body
}

// What greets: told by a whole scan.
func TestMoreThatSpeakFirst(t *testing.T) {
	properties := "\x01ActiveMQ\x00\x00\x00\x0c\x01\x00\x00\x00\x40\x00\x00\x00\x02\x00\x0fProviderVersion\x09\x00\x066.1.28\x00\x0cProviderName\x09\x00\x08ActiveMQ"
	tests := map[string]struct {
		server handler
		want   want
	}{
		"activemq": {func(conn net.Conn) {
			_, _ = io.WriteString(conn, be32(len(properties))+properties)
			_, _ = io.Copy(io.Discard, conn)
		},
			want{name: "openwire", product: "Apache ActiveMQ", version: "6.1.28", cpe: "cpe:2.3:a:apache:activemq:6.1.28:*:*:*:*:*:*:*"}},
		"vmware": {script("220 VMware Authentication Daemon Version 1.10: SSL Required, ServerDaemonProtocol:SOAP\r\n", nil), want{name: "vmware-auth", product: "VMware Authentication Daemon"}},
		"nats":   {script("INFO {\"server_id\":\"NA\",\"version\":\"2.10.7\"}\r\n", map[string]string{"CONNECT": "", "PING": "PONG\r\n", "": hangUp}), want{name: "nats", product: "NATS", version: "2.10.7", unauthenticated: true}},
		"open relay": {
			script("220 mail ESMTP Postfix (Debian/GNU)\r\n", map[string]string{"EHLO": "250-mail\r\n250 PIPELINING\r\n", "MAIL": "250 Ok\r\n", "RCPT": "250 2.1.5 Ok\r\n", "RSET": "250 Ok\r\n", "": hangUp}),
			want{name: "smtp", product: "Postfix", unauthenticated: true, distribution: "Debian", details: map[string]string{"smtp.relay": "open"}},
		},
		"no relay": {
			script("220 mail ESMTP Postfix\r\n", map[string]string{"EHLO": "250-mail\r\n250 PIPELINING\r\n", "MAIL": "250 Ok\r\n", "RCPT": "554 5.7.1 Relay access denied\r\n", "RSET": "250 Ok\r\n", "": hangUp}),
			want{name: "smtp", product: "Postfix", details: map[string]string{"smtp.relay": "refused"}},
		},
		"mariadb of debian": {
			script("\x5e\x00\x00\x00\x0a5.5.5-10.11.6-MariaDB-0+deb12u1\x00\x08\x00\x00\x00abcdefgh\x00\xff\xf7\xff\x02\x00\xff\xc1\x15\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00ijklmnopqrst\x00mysql_native_passwor", nil),
			want{name: "mysql", product: "MariaDB", version: "10.11.6", distribution: "Debian:12", packageVersion: "1:10.11.6-0+deb12u1"},
		},
		"openssh of ubuntu": {sshServer("SSH-2.0-OpenSSH_8.9p1 Ubuntu-3ubuntu0.10", "curve25519-sha256", "ssh-ed25519"), want{name: "ssh", product: "OpenSSH", version: "8.9p1", os: "Linux", distribution: "Ubuntu:22.04:LTS", packageVersion: "1:8.9p1-3ubuntu0.10"}},
		"openssh of bsd":    {sshServer("SSH-2.0-OpenSSH_9.3 FreeBSD-20230316", "curve25519-sha256", "ssh-ed25519"), want{name: "ssh", product: "OpenSSH", version: "9.3", os: "FreeBSD"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tt.want.check(t, factOf(t, scan(t, "127.0.0.1", serve(t, "127.0.0.1:0", tt.server))))
		})
	}
}

// sshLogin is a real SSH server that offers the given ways in.
func sshLogin(t testing.TB, change func(*sshserver.ServerConfig)) handler {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := sshserver.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	config := &sshserver.ServerConfig{ServerVersion: "SSH-2.0-Real"}
	config.AddHostKey(signer)
	change(config)
	return func(conn net.Conn) {
		if server, channels, requests, err := sshserver.NewServerConn(conn, config); err == nil {
			go sshserver.DiscardRequests(requests)
			go func() {
				for channel := range channels {
					_ = channel.Reject(sshserver.Prohibited, "")
				}
			}()
			_ = server.Wait()
		}
	}
}

func TestSSHAuthentication(t *testing.T) {
	no := errors.New("no")
	password := func(c *sshserver.ServerConfig) {
		c.PasswordCallback = func(m sshserver.ConnMetadata, p []byte) (*sshserver.Permissions, error) {
			t.Errorf("%s typed %q", m.User(), p)
			return nil, no
		}
	}
	keys := func(c *sshserver.ServerConfig) {
		c.PublicKeyCallback = func(sshserver.ConnMetadata, sshserver.PublicKey) (*sshserver.Permissions, error) { return nil, no }
	}
	tests := map[string]struct {
		config func(*sshserver.ServerConfig)
		want   want
	}{
		"passwords": {password, want{name: "ssh", details: map[string]string{"ssh.authentication": "password"}}},
		"questions": {func(c *sshserver.ServerConfig) {
			keys(c)
			c.KeyboardInteractiveCallback = func(_ sshserver.ConnMetadata, ask sshserver.KeyboardInteractiveChallenge) (*sshserver.Permissions, error) {
				if typed, err := ask("", "", []string{"Password: "}, []bool{false}); err == nil {
					t.Errorf("typed %q", typed)
				}
				return nil, no
			}
		}, want{name: "ssh", details: map[string]string{"ssh.authentication": "keyboard-interactive"}}},
		"keys":           {keys, want{name: "ssh", details: map[string]string{"ssh.authentication": "other"}}},
		"nothing at all": {func(c *sshserver.ServerConfig) { c.NoClientAuth = true }, want{name: "ssh", unauthenticated: true, details: map[string]string{"ssh.authentication": "none"}}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tt.want.check(t, factOf(t, scan(t, "127.0.0.1", serve(t, "127.0.0.1:0", sshLogin(t, tt.config)))))
		})
	}
}

// openProxy is a web proxy; connects says which targets it connects to, without doing it.
func openProxy(connects func(target string) bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Server", "squid/5.7")
		if r.Method != http.MethodConnect {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		if !connects(r.Host) {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 200 Connection established\r\n\r\n")
		_ = conn.Close()
	})
}

func TestProxies(t *testing.T) {
	var asked []string
	tests := map[string]struct {
		server          http.Handler
		unauthenticated bool
	}{
		"open":              {openProxy(func(target string) bool { asked = append(asked, target); return !strings.HasSuffix(target, ":1") }), true},
		"closed":            {openProxy(func(string) bool { return false }), false},
		"yes to everything": {openProxy(func(string) bool { return true }), false},
		"200 with a page": {http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Server", "squid/5.7")
			_, _ = io.WriteString(w, "hello")
		}), false},
		"tries and fails": {http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Server", "squid/5.7")
			w.Header().Set("X-Squid-Error", "ERR_INVALID_REQ 0")
			if r.Method == http.MethodConnect {
				w.Header().Set("X-Squid-Error", "ERR_ACCESS_DENIED 0")
				if strings.HasSuffix(r.Host, ":443") {
					w.Header().Set("X-Squid-Error", "ERR_CONNECT_FAIL 111")
				}
			}
			w.WriteHeader(http.StatusServiceUnavailable)
		}), true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			fact := factOf(t, scan(t, "127.0.0.1", serveWeb(t, "127.0.0.1:0", false, tt.server)))
			if fact.GetName() != "http-proxy" || fact.GetProduct() != "Squid" || fact.GetVersion() != "5.7" || fact.GetUnauthenticated() != tt.unauthenticated {
				t.Errorf("%v", fact)
			}
		})
	}
	for _, target := range asked {
		if host, _, err := net.SplitHostPort(target); err != nil || host != "127.0.0.1" {
			t.Errorf("the proxy was asked for %q, which is not itself", target)
		}
	}
}

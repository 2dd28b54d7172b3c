package service

import (
	"encoding/binary"
	"io"
	"log"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

func quietLog() *log.Logger { return log.New(io.Discard, "", 0) }

// want is what a test says of a fact; what it leaves out is not looked at.
type want struct {
	name, product, version, cpe string
	unauthenticated             bool
	starttls                    bool
	distribution                string // empty: not looked at, like packageVersion and os
	packageVersion, os          string
	details                     map[string]string
	weak                        []string
}

func (w want) check(t *testing.T, fact *modelv1.ServiceFact) {
	t.Helper()
	got := want{name: fact.GetName(), product: fact.GetProduct(), version: fact.GetVersion(), unauthenticated: fact.GetUnauthenticated(), starttls: fact.GetStarttls()}
	if w.cpe != "" {
		got.cpe = strings.Join(fact.GetCpe(), " ")
	}
	if w.distribution != "" {
		got.distribution = fact.GetDistribution()
	}
	if w.packageVersion != "" {
		got.packageVersion = fact.GetPackageVersion()
	}
	if w.os != "" {
		got.os = fact.GetOs()
	}
	if w.weak != nil {
		got.weak = fact.GetWeakAlgorithms()
	}
	if w.details != nil {
		got.details = make(map[string]string)
		for name := range w.details {
			got.details[name] = fact.GetDetails()[name]
		}
	}
	if diff := cmp.Diff(w, got, cmp.AllowUnexported(want{})); diff != "" {
		t.Errorf("(-want +got):\n%s\nfact: %v", diff, fact)
	}
	if fact.GetUnauthenticated() != (fact.GetProof() != "") {
		t.Errorf("unauthenticated %v, proof %q", fact.GetUnauthenticated(), fact.GetProof())
	}
}

func be32(n int) string { return string(binary.BigEndian.AppendUint32(nil, uint32(n))) }
func be16(n int) string { return string(binary.BigEndian.AppendUint16(nil, uint16(n))) }
func le32(n int) string { return string(binary.LittleEndian.AppendUint32(nil, uint32(n))) }

// sshServer sends its banner and its algorithms once it was greeted.
func sshServer(banner string, lists ...string) handler {
	payload := "\x14" + strings.Repeat("c", 16)
	for _, list := range append(slices.Clone(lists), make([]string, 10-len(lists))...) {
		payload += be32(len(list)) + list
	}
	payload += "\x00" + be32(0)
	const padding = 7
	packet := be32(len(payload)+1+padding) + string(rune(padding)) + payload + strings.Repeat("\x00", padding)
	return script(banner+"\r\n", map[string]string{"SSH-2.0-": packet, "": hangUp})
}

func bson(fields ...string) string {
	body := strings.Join(fields, "") + "\x00"
	return le32(len(body)+4) + body
}

func mongoReply(opcode int, document string) string {
	before := strings.Repeat("\x00", 20)
	if opcode == opMsg {
		before = strings.Repeat("\x00", 5)
	}
	return le32(16+len(before)+len(document)) + le32(7) + le32(1) + le32(opcode) + before + document
}

func mongoServer(list string) handler {
	hello := bson("\x08ismaster\x00\x01", "\x10maxWireVersion\x00"+le32(17), "\x01ok\x00\x00\x00\x00\x00\x00\x00\xf0\x3f")
	build := bson("\x02version\x00"+le32(6)+"6.0.5\x00", "\x01ok\x00\x00\x00\x00\x00\x00\x00\xf0\x3f")
	first := string(mongoQuery("isMaster", 1))
	return conversation([]exchange{
		{begins: first, answer: mongoReply(opReply, hello)},
		{begins: string(mongoMessage("buildInfo")), answer: mongoReply(opMsg, build)},
		{begins: string(mongoMessage("listDatabases")), answer: mongoReply(opMsg, list)},
	})
}

// greeters speak first: what they are is told by a whole scan of a port that means nothing.
func TestServicesThatSpeakFirst(t *testing.T) {
	tests := map[string]struct {
		server handler
		want   want
	}{
		"openssh": {
			sshServer("SSH-2.0-OpenSSH_8.9p1 Ubuntu-3ubuntu0.10", "curve25519-sha256,diffie-hellman-group1-sha1", "ssh-ed25519,ssh-rsa", "aes128-ctr", "aes128-ctr,3des-cbc", "hmac-sha2-256", "hmac-md5"),
			want{name: "ssh", product: "OpenSSH", version: "8.9p1", cpe: "cpe:2.3:a:openbsd:openssh:8.9:p1:*:*:*:*:*:*",
				weak:    []string{"3des-cbc", "diffie-hellman-group1-sha1", "hmac-md5", "ssh-rsa"},
				details: map[string]string{"ssh.protocol": "2.0", "ssh.kex": "curve25519-sha256,diffie-hellman-group1-sha1", "ssh.host_key": "ssh-ed25519,ssh-rsa", "ssh.ciphers": "aes128-ctr,3des-cbc"}},
		},
		"dropbear":  {sshServer("SSH-2.0-dropbear_2020.81", "curve25519-sha256", "ssh-ed25519"), want{name: "ssh", product: "Dropbear SSH", version: "2020.81", cpe: "cpe:2.3:a:dropbear_ssh_project:dropbear_ssh:2020.81:*:*:*:*:*:*:*"}},
		"ssh 1":     {script("SSH-1.5-OpenSSH_3.4\n", nil), want{name: "ssh", product: "OpenSSH", version: "3.4", details: map[string]string{"ssh.protocol": "1.5"}}},
		"ssh alone": {script("SSH-2.0-Strange\r\n", map[string]string{"": hangUp}), want{name: "ssh"}},
		"vsftpd anonymous": {
			script("220 (vsFTPd 3.0.3)\r\n", map[string]string{
				"FEAT": "211-Features:\r\n EPRT\r\n AUTH TLS\r\n UTF8\r\n211 End\r\n", "USER": "331 Please specify the password.\r\n",
				"PASS": "230 Login successful.\r\n", "PWD": "257 \"/\" is the current directory\r\n", "QUIT": hangUp}),
			want{name: "ftp", product: "vsftpd", version: "3.0.3", cpe: "cpe:2.3:a:vsftpd_project:vsftpd:3.0.3:*:*:*:*:*:*:*", unauthenticated: true, starttls: true},
		},
		"ftp closed": {
			script("220-Welcome\r\n220 ProFTPD 1.3.5e Server (Debian) [::ffff:10.0.0.1]\r\n", map[string]string{
				"FEAT": "500 what\r\n", "USER": "331 Password required\r\n", "PASS": "530 Login incorrect.\r\n", "PWD": "257 \"/\"\r\n", "AUTH TLS": "234 AUTH TLS successful\r\n"}),
			want{name: "ftp", product: "ProFTPD", version: "1.3.5e", starttls: true},
		},
		"ftp without name": {
			script("220 ready\r\n", map[string]string{"EHLO": "500 what\r\n", "FEAT": "500 what\r\n", "USER": "530 no\r\n", "AUTH": "500 what\r\n"}),
			want{name: "ftp"},
		},
		"postfix": {
			script("220 mail.example.com ESMTP Postfix (Ubuntu)\r\n", map[string]string{"EHLO": "250-mail.example.com\r\n250-PIPELINING\r\n250-STARTTLS\r\n250 SMTPUTF8\r\n"}),
			want{name: "smtp", product: "Postfix", starttls: true, details: map[string]string{"smtp.extensions": "PIPELINING,STARTTLS,SMTPUTF8"}},
		},
		"smtp without name": {
			script("220 hello there\r\n", map[string]string{"EHLO": "250-hello\r\n250 SIZE 1000\r\n"}),
			want{name: "smtp", details: map[string]string{"smtp.extensions": "SIZE 1000"}},
		},
		"exim": {
			script("220 host ESMTP Exim 4.94.2 Tue, 03 Nov\r\n", map[string]string{"EHLO": "250 host\r\n"}),
			want{name: "smtp", product: "Exim", version: "4.94.2", cpe: "cpe:2.3:a:exim:exim:4.94.2:*:*:*:*:*:*:*"},
		},
		"smtp that refuses": {script("554 mail.example.com no service for you\r\n", nil), want{name: "smtp"}},
		"dovecot pop3": {
			script("+OK Dovecot ready.\r\n", map[string]string{"CAPA": "+OK\r\nUIDL\r\nSTLS\r\n.\r\n"}),
			want{name: "pop3", product: "Dovecot", starttls: true},
		},
		"pop3 in the clear": {script("+OK ready\r\n", map[string]string{"CAPA": "-ERR\r\n"}), want{name: "pop3"}},
		"imap": {
			script("* OK [CAPABILITY IMAP4rev1] Dovecot (Ubuntu) ready.\r\n", map[string]string{"a1": "* CAPABILITY IMAP4rev1 LOGINDISABLED STARTTLS\r\na1 OK done\r\n"}),
			want{name: "imap", product: "Dovecot", starttls: true, details: map[string]string{"imap.capabilities": "IMAP4REV1 LOGINDISABLED STARTTLS"}},
		},
		"telnet": {
			func(conn net.Conn) {
				_, _ = io.WriteString(conn, "\xff\xfd\x18\xff\xfb\x01")
				refusal := make([]byte, 6)
				if _, err := io.ReadFull(conn, refusal); err == nil && string(refusal) == "\xff\xfc\x18\xff\xfe\x01" {
					_, _ = io.WriteString(conn, "Debian GNU/Linux 12\r\nrouter login: ")
				}
				_, _ = io.Copy(io.Discard, conn)
			},
			want{name: "telnet"},
		},
		"mysql": {
			script("\x4a\x00\x00\x00\x0a8.0.34-0ubuntu0.22.04.1\x00\x08\x00\x00\x00abcdefgh\x00\xff\xff\xff\x02\x00\xff\xc1\x15\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00ijklmnopqrst\x00caching_\x00", nil),
			want{name: "mysql", product: "MySQL", version: "8.0.34", starttls: true, distribution: "Ubuntu:22.04:LTS", packageVersion: "8.0.34-0ubuntu0.22.04.1", cpe: "cpe:2.3:a:oracle:mysql:8.0.34:*:*:*:*:*:*:*", details: map[string]string{"mysql.tls": "true"}},
		},
		"mariadb that refuses": {
			script("\x45\x00\x00\x00\xff\x6a\x04Host '10.1.2.3' is not allowed to connect to this MariaDB server\x00\x00", nil),
			want{name: "mysql", product: "MariaDB"},
		},
		"vnc without password": {
			func(conn net.Conn) {
				conversation([]exchange{{begins: "RFB 003.008\n", answer: "\x02\x01\x02"}, {begins: "\x01", answer: "\x00\x00\x00\x00"}})(greeting(conn, "RFB 003.008\n"))
			},
			want{name: "vnc", unauthenticated: true, details: map[string]string{"vnc.security": "none,vnc", "vnc.protocol": "003.008"}},
		},
		"vnc with password": {
			func(conn net.Conn) {
				conversation([]exchange{{begins: "RFB 003.008\n", answer: "\x01\x02"}})(greeting(conn, "RFB 003.008\n"))
			},
			want{name: "vnc", details: map[string]string{"vnc.security": "vnc"}},
		},
		"old vnc": {
			func(conn net.Conn) {
				conversation([]exchange{{begins: "RFB 003.003\n", answer: "\x00\x00\x00\x01"}})(greeting(conn, "RFB 003.003\n"))
			},
			want{name: "vnc", unauthenticated: true},
		},
		"rsync": {
			script("@RSYNCD: 31.0\n", map[string]string{"#list": "Welcome\nprivate        \tour secrets\nbackup         \tthe backups\n@RSYNCD: EXIT\n",
				"private": "@RSYNCD: AUTHREQD abc\n", "backup": "Welcome\n@RSYNCD: OK\n", "@RSYNCD": ""}),
			want{name: "rsync", product: "rsync", unauthenticated: true, details: map[string]string{"rsync.modules": "private,backup", "rsync.protocol": "31.0"}},
		},
		"rsync that asks": {
			script("@RSYNCD: 31.0\n", map[string]string{"#list": "private        \tours\n@RSYNCD: EXIT\n", "private": "@RSYNCD: AUTHREQD abc\n@RSYNCD: OK\n", "@RSYNCD": ""}),
			want{name: "rsync", product: "rsync"},
		},
		"redis in protected mode": {script("-DENIED Redis is running in protected mode because ...\r\n", map[string]string{"": hangUp}), want{name: "redis", product: "Redis"}},
		"nats":                    {script("INFO {\"server_id\":\"NA\",\"version\":\"2.10.7\",\"auth_required\":true}\r\n", nil), want{name: "nats", product: "NATS", version: "2.10.7"}},
		"nntp":                    {script("200 news.example.com InterNetNews NNRP server\r\n", nil), want{name: "nntp"}},
		"irc":                     {script(":irc.example.com NOTICE * :*** Looking up your hostname\r\n", nil), want{name: "irc"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			port := serve(t, "127.0.0.1:0", tt.server)
			result := scan(t, "127.0.0.1", port)
			if result.Outcome != modelv1.Outcome_OUTCOME_COMPLETE || result.Reason != "" {
				t.Errorf("%v %q", result.Outcome, result.Reason)
			}
			tt.want.check(t, factOf(t, result))
		})
	}
}

// greeting says something and goes on with the connection.
func greeting(conn net.Conn, text string) net.Conn {
	_, _ = io.WriteString(conn, text)
	return conn
}

// servers whose clients speak first, on a port that means nothing: told by a whole scan.
func TestServicesThatWait(t *testing.T) {
	zkAnswer := func(children string) handler {
		connect := string(zkFrame(zkConnect()))
		return conversation(
			[]exchange{{begins: connect, answer: be32(37) + be32(0) + be32(4000) + "sessione" + be32(16) + strings.Repeat("p", 16) + "\x00"},
				{begins: string(zkFrame(zkChildren())), answer: be32(len(children)) + children}},
			[]exchange{{begins: "srvr", answer: "Zookeeper version: 3.4.13-2d71af4dbe22557fda74f9a9b4309b15a7487f03, built on 06/29/2018\nLatency\n"}})
	}
	tests := map[string]struct {
		server handler
		want   want
	}{
		"redis": {
			script("", map[string]string{"*1": "", "$4": "", "*2": "", "$6": "", "PING": "+PONG\r\n", "INFO": "",
				"server": "$59\r\n# Server\r\nredis_version:6.2.6\r\nos:Linux 5.15\r\nredis_mode:s\r\n\r\n", "": hangUp}),
			want{name: "redis", product: "Redis", version: "6.2.6", cpe: "cpe:2.3:a:redis:redis:6.2.6:*:*:*:*:*:*:*", unauthenticated: true},
		},
		"redis with password": {
			script("", map[string]string{"*1": "", "$4": "", "PING": "-NOAUTH Authentication required.\r\n", "": hangUp}),
			want{name: "redis", product: "Redis"},
		},
		"memcached": {
			script("", map[string]string{"version": "VERSION 1.6.9\r\n", "stats": "STAT pid 1\r\nEND\r\n", "quit": hangUp, "": "ERROR\r\n"}),
			want{name: "memcached", product: "memcached", version: "1.6.9", unauthenticated: true},
		},
		"mongodb": {
			mongoServer(bson("\x04databases\x00"+bson("\x030\x00"+bson("\x02name\x00"+le32(6)+"admin\x00")), "\x01ok\x00\x00\x00\x00\x00\x00\x00\xf0\x3f")),
			want{name: "mongodb", product: "MongoDB", version: "6.0.5", unauthenticated: true},
		},
		"mongodb with password": {
			mongoServer(bson("\x01ok\x00\x00\x00\x00\x00\x00\x00\x00\x00", "\x10code\x00"+le32(13))),
			want{name: "mongodb", product: "MongoDB", version: "6.0.5"},
		},
		"postgresql": {
			conversation([]exchange{{begins: string(sslRequest), answer: "S"}}, []exchange{{begins: string(pgStartup()), answer: "R" + be32(23) + be32(10) + "SCRAM-SHA-256\x00\x00"}}),
			want{name: "postgresql", product: "PostgreSQL", starttls: true, details: map[string]string{"postgresql.tls": "true", "postgresql.authentication": "sasl"}},
		},
		"postgresql that refuses": {
			conversation([]exchange{{begins: string(sslRequest), answer: "N"}}, []exchange{{begins: string(pgStartup()), answer: "E" + be32(4+37) + "SFATAL\x00C28000\x00Mno pg_hba.conf entry\x00\x00"}}),
			want{name: "postgresql", product: "PostgreSQL", details: map[string]string{"postgresql.tls": "false", "postgresql.refusal": "no pg_hba.conf entry"}},
		},
		"rdp": {
			conversation([]exchange{{begins: string(rdpRequest), answer: "\x03\x00\x00\x13\x0e\xd0\x00\x00\x12\x34\x00\x02\x1f\x08\x00\x02\x00\x00\x00"}}),
			want{name: "rdp", details: map[string]string{"rdp.protocol": "nla"}},
		},
		"smb": {
			conversation([]exchange{{begins: be32(108)[:4] + "\xfeSMB", size: 112, answer: be32(132) + "\xfeSMB" + strings.Repeat("\x00", 60) + "\x41\x00\x03\x00\x02\x03" + strings.Repeat("\x00", 62)}}),
			want{name: "smb", details: map[string]string{"smb.dialect": "302", "smb.signing": "required", "smb.v1": ""}},
		},
		"smb 1": {
			conversation([]exchange{{begins: be32(47) + "\xffSMB\x72", size: 51, answer: be32(72) + "\xffSMB\x72" + strings.Repeat("\x00", 27) + "\x11\x00\x00" + strings.Repeat("\x00", 37)}}),
			want{name: "smb", details: map[string]string{"smb.v1": "true"}},
		},
		"mqtt":               {conversation([]exchange{{begins: string(mqttConnect), answer: "\x20\x02\x00\x00"}}), want{name: "mqtt", unauthenticated: true}},
		"mqtt with password": {conversation([]exchange{{begins: string(mqttConnect), answer: "\x20\x02\x00\x05"}}), want{name: "mqtt", details: map[string]string{"mqtt.return_code": "5"}}},
		"rabbitmq": {
			func(conn net.Conn) {
				table := "\x0ccapabilitiesF" + be32(0) + "\x07productS" + be32(8) + "RabbitMQ" + "\x07versionS" + be32(6) + "3.12.1" + "\x04copyt\x01"
				payload := "\x00\x0a\x00\x0a\x00\x09" + be32(len(table)) + table + be32(5) + "PLAIN" + be32(5) + "en_US"
				conversation([]exchange{{begins: "AMQP\x00\x00\x09\x01", answer: "\x01\x00\x00" + be32(len(payload)) + payload + "\xce"}})(conn)
			},
			want{name: "amqp", product: "RabbitMQ", version: "3.12.1", details: map[string]string{"amqp.mechanisms": "PLAIN"}},
		},
		"ldap": {
			conversation([]exchange{{begins: string(ldapRootDSE()), answer: "\x30\x46\x02\x01\x01\x64\x41\x04\x00\x30\x3d" +
				"\x30\x2c\x04\x12supportedExtension\x31\x16\x04\x16" + startTLS[:22] + "\x30\x0d\x04\x07vendorX\x31\x02\x04\x00" + "\x30\x0c\x02\x01\x01\x65\x07\x0a\x01\x00\x04\x00\x04\x00"}}),
			want{name: "ldap", starttls: true},
		},
		"zookeeper": {
			zkAnswer(be32(1) + strings.Repeat("\x00", 8) + be32(0) + be32(1) + be32(9) + "zookeeper"),
			want{name: "zookeeper", product: "Apache ZooKeeper", version: "3.4.13", unauthenticated: true},
		},
		"zookeeper with rights": {
			zkAnswer(be32(1) + strings.Repeat("\x00", 8) + "\xff\xff\xff\x9a"),
			want{name: "zookeeper", product: "Apache ZooKeeper", version: "3.4.13"},
		},
		"cassandra that lies about lengths": {
			conversation([]exchange{
				{begins: "\x04\x00\x00\x00\x05\x00\x00\x00\x00", answer: "\x84\x00\x00\x00\x06" + be32(22) + be16(1) + be16(11) + "CQL_VERSION" + be16(1) + be16(500) + "3.4"},
			}),
			want{name: "unknown"},
		},
		"cassandra with password": {
			conversation([]exchange{
				{begins: "\x04\x00\x00\x00\x05\x00\x00\x00\x00", answer: "\x84\x00\x00\x00\x06" + be32(24) + be16(1) + be16(11) + "CQL_VERSION" + be16(1) + be16(5) + "3.4.4"},
				{begins: "\x04\x00\x00\x01\x01", size: 31, answer: "\x84\x00\x00\x01\x03" + be32(0)},
			}),
			want{name: "cassandra", product: "Apache Cassandra", details: map[string]string{"cassandra.cql_version": "3.4.4", "cassandra.authentication": "required"}},
		},
		"mssql": {
			conversation([]exchange{{begins: string(tdsPrelogin), answer: "\x04\x01\x00\x1a\x00\x00\x01\x00" + "\x00\x00\x0b\x00\x06\x01\x00\x11\x00\x01\xff" + "\x0f\x00\x07\xd0\x00\x00" + "\x03"}}),
			want{name: "mssql", product: "Microsoft SQL Server", version: "15.0.2000", details: map[string]string{"mssql.encryption": "required"}},
		},
		"oracle": {
			func(conn net.Conn) {
				text := "(DESCRIPTION=(TMP=)(VSNNUM=318767104)(ERR=12514)(ERROR_STACK=(ERROR=(CODE=12514)(EMFI=4))))"
				conversation([]exchange{{begins: string(tnsConnect()), answer: be16(12+len(text)) + "\x00\x00\x04\x00\x00\x00" + "\x01\x00" + be16(len(text)) + text}})(conn)
			},
			want{name: "oracledb", product: "Oracle TNS listener", version: "19.0.0.0.0"},
		},
		"jdwp": {
			conversation([]exchange{{begins: "JDWP-Handshake", answer: "JDWP-Handshake"},
				{begins: "\x00\x00\x00\x0b\x00\x00\x00\x01\x00\x01\x01", answer: be32(11+4+7) + be32(1) + "\x80\x00\x00" + be32(7) + "OpenJDK"}}),
			want{name: "jdwp", unauthenticated: true, details: map[string]string{"jdwp.description": "OpenJDK"}},
		},
		"rmi":   {conversation([]exchange{{begins: "JRMI\x00\x02\x4b", answer: "\x4e\x00\x09127.0.0.1\x00\x00\xc3\x50"}}), want{name: "rmi"}},
		"neo4j": {conversation([]exchange{{begins: "\x60\x60\xb0\x17", size: 20, answer: "\x00\x00\x04\x05"}}), want{name: "neo4j", product: "Neo4j", details: map[string]string{"neo4j.bolt": "5.4"}}},
		"socks": {conversation([]exchange{{begins: "\x05\x01\x00", answer: "\x05\x00"}}), want{name: "socks", details: map[string]string{"socks.authentication": "none"}}},
		"x11": {
			conversation([]exchange{{begins: "l\x00\x0b\x00", size: 12, answer: "\x01\x00\x0b\x00\x00\x00\x0a\x00" + strings.Repeat("\x00", 16) + "\x08\x00" + strings.Repeat("\x00", 14) + "X.Org Fd"}}),
			want{name: "x11", unauthenticated: true, details: map[string]string{"x11.vendor": "X.Org Fd"}},
		},
		"x11 that refuses": {
			conversation([]exchange{{begins: "l\x00\x0b\x00", size: 12, answer: "\x00\x15\x0b\x00\x00\x00\x06\x00" + "No protocol specified\n\x00\x00"}}),
			want{name: "x11", details: map[string]string{"x11.refusal": "No protocol specified"}},
		},
		"rtsp": {
			script("", map[string]string{"OPTIONS": "RTSP/1.0 200 OK\r\nCSeq: 1\r\nServer: Hipcam RealServer/V1.0\r\n\r\n", "": ""}),
			want{name: "rtsp", details: map[string]string{"rtsp.server": "Hipcam RealServer/V1.0"}},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			port := serve(t, "127.0.0.1:0", tt.server)
			result := scan(t, "127.0.0.1", port)
			if result.Outcome != modelv1.Outcome_OUTCOME_COMPLETE {
				t.Errorf("%v %q", result.Outcome, result.Reason)
			}
			tt.want.check(t, factOf(t, result))
		})
	}
}

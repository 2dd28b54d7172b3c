package lab

import (
	"context"
	"io"
	"net"
	"testing"

	"pgregory.net/rapid"
)

// TestNothingBreaksAServer sends every stream server bytes that nobody expects: it may hang up, and it must not panic and
// must end with its connection.
func TestNothingBreaksAServer(t *testing.T) {
	talks := map[string]talk{
		"redis": redis(false), "redis with password": redis(true), "memcached": memcachedOpen, "ftp": ftpAnonymous, "rsync": rsyncOpen,
		"imap": imapCleartext, "pop3": pop3Cleartext, "telnet": telnetLogin, "zookeeper": zookeeperOpen, "mysql": mysql, "postgres": postgres,
		"rdp": rdpOpen, "ldap": ldapOpen, "mongo": mongoOpen, "mqtt": mqttOpen, "vnc": vncOpen, "jdwp": jdwpOpen, "ssh": sshStrong("SSH-2.0-x"), "silent": silent,
		"smtp": func(_ context.Context, conn net.Conn) { smtpSession(conn, "x.test", nil) },
	}
	// Beginnings that get past the first checks.
	starts := []string{"", "*2\r\n$4\r\n", "\x10\x0f\x00\x04MQTT", "\x10\x0f\x00\x06MQIsdp", "SSH-2.0-a\r\n", "\x00\x00\x00\x08\x04\xd2\x16\x2f",
		"\x30\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\xd4\x07\x00\x00", "\x30\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\xdd\x07\x00\x00", "@RSYNCD: 31\n",
		"\x03\x00\x00\x0b", "\x30\x20\x02", "\x30\x84\x00\x00\x00", "\x00\x00\x00\x0c\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x08"}
	for name, talk := range talks {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				input := rapid.SampledFrom(starts).Draw(t, "start") + string(rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(t, "rest"))
				inside, outside := net.Pipe()
				done := make(chan struct{})
				go func() {
					defer close(done)
					defer func() { _ = inside.Close() }()
					talk(context.Background(), inside)
				}()
				drained := make(chan struct{})
				go func() {
					defer close(drained)
					_, _ = io.Copy(io.Discard, outside)
				}()
				_, _ = io.WriteString(outside, input)
				_ = outside.Close()
				<-done
				<-drained
			})
		})
	}
}

// startTalk runs a talk at the other end of the connection that it returns.
func startTalk(t *testing.T, talk talk) net.Conn {
	t.Helper()
	inside, outside := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { _ = inside.Close() }()
		talk(t.Context(), inside)
	}()
	t.Cleanup(func() {
		_ = outside.Close()
		<-done
	})
	return outside
}

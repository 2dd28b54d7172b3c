//go:build realservers

package real

import (
	"fmt"
	"testing"
)

func postfix() kind {
	const noVersion = "the banner that Debian configures names Postfix and leaves $mail_version out"
	return kind{
		pkg: "postfix",
		ports: []Port{
			{Number: 25, StartTLS: "smtp", Service: "smtp", Product: "Postfix", NoVersion: noVersion},
			{Number: 587, StartTLS: "smtp", Service: "smtp", Product: "Postfix", NoVersion: noVersion},
			{Number: 465, TLS: true, Service: "smtp", Product: "Postfix", NoVersion: noVersion},
		},
		start: func(t testing.TB, s *Server) {
			Do(t, "mkdir", "-p", s.Dir+"/queue/pid", s.Dir+"/data", s.Dir+"/etc")
			Do(t, "chown", "postfix", s.Dir+"/data")
			File(t, s.Dir, "etc/main.cf", fmt.Sprintf(`compatibility_level = 3.6
queue_directory = %[1]s/queue
data_directory = %[1]s/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = mail.real.test
mydestination = real.test
mynetworks = 192.0.2.1/32
smtpd_banner = $myhostname ESMTP $mail_name (Debian/GNU)
smtpd_tls_cert_file = %[2]s
smtpd_tls_key_file = %[3]s
smtpd_tls_security_level = may
smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination
maillog_file = /dev/stdout
alias_maps =
alias_database =
local_recipient_maps =
`, s.Dir, s.Certificate.CertFile, s.Certificate.KeyFile))
			File(t, s.Dir, "etc/master.cf", fmt.Sprintf(`%[1]s:25 inet n - n - - smtpd
%[1]s:587 inet n - n - - smtpd
%[1]s:465 inet n - n - - smtpd -o smtpd_tls_wrappermode=yes
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
proxymap unix - - n - - proxymap
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
error unix - - n - - error
local unix - n n - - local
postlog unix-dgram n - n - 1 postlogd
`, s.Address))
			Do(t, "postfix", "-c", s.Dir+"/etc", "check") // makes the folders of the queue
			// The master itself, because the command would give it a process group of its own.
			Run(t, s.Dir, s.listens(), "/usr/lib/postfix/sbin/master", "-c", s.Dir+"/etc", "-d")
		},
	}
}

func dovecot() kind {
	const noVersion = "the greeting of Dovecot holds its name only"
	return kind{
		pkg: "dovecot-imapd",
		ports: []Port{
			{Number: 143, StartTLS: "imap", Service: "imap", Product: "Dovecot", NoVersion: noVersion},
			{Number: 993, TLS: true, Service: "imap", Product: "Dovecot", NoVersion: noVersion},
			{Number: 110, StartTLS: "pop3", Service: "pop3", Product: "Dovecot", NoVersion: noVersion},
			{Number: 995, TLS: true, Service: "pop3", Product: "Dovecot", NoVersion: noVersion},
		},
		start: func(t testing.TB, s *Server) {
			File(t, s.Dir, "users", "nobody:{PLAIN}unused:65534:65534::/nonexistent\n")
			config := File(t, s.Dir, "dovecot.conf", fmt.Sprintf(`base_dir = %[1]s/run
state_dir = %[1]s/state
log_path = /dev/stderr
listen = %[2]s
protocols = imap pop3
ssl = yes
ssl_cert = <%[3]s
ssl_key = <%[4]s
disable_plaintext_auth = yes
auth_mechanisms = plain
passdb {
  driver = passwd-file
  args = %[1]s/users
}
userdb {
  driver = passwd-file
  args = %[1]s/users
}
mail_location = maildir:%[1]s/mail
service imap-login {
  chroot =
}
service pop3-login {
  chroot =
}
service anvil {
  chroot =
}
`, s.Dir, s.Address, s.Certificate.CertFile, s.Certificate.KeyFile))
			Run(t, s.Dir, s.listens(), "dovecot", "-F", "-c", config)
		},
	}
}

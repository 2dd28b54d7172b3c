//go:build realservers

package real

import (
	"fmt"
	"testing"
)

func openssh() kind {
	return kind{
		pkg:   "openssh-server",
		ports: []Port{{Number: 22, Service: "ssh", Product: "OpenSSH", Revision: true}},
		start: func(t testing.TB, s *Server) {
			for _, key := range []string{"ed25519", "rsa", "ecdsa"} {
				Do(t, "ssh-keygen", "-q", "-t", key, "-N", "", "-f", s.Dir+"/"+key)
			}
			Do(t, "mkdir", "-p", "/run/sshd") // where it locks itself up; the package makes it when the service starts
			config := File(t, s.Dir, "sshd.conf", fmt.Sprintf(`
ListenAddress %[2]s:22
HostKey %[1]s/ed25519
HostKey %[1]s/rsa
HostKey %[1]s/ecdsa
PidFile none
UsePAM yes
PasswordAuthentication yes
`, s.Dir, s.Address))
			Run(t, s.Dir, s.listens(), "/usr/sbin/sshd", "-D", "-e", "-f", config)
		},
	}
}

func vsftpd() kind {
	return kind{
		pkg:   "vsftpd",
		ports: []Port{{Number: 21, StartTLS: "ftp", Service: "ftp", Product: "vsftpd"}},
		start: func(t testing.TB, s *Server) {
			File(t, s.Dir, "ftp/welcome.txt", "real\n")
			Do(t, "mkdir", "-p", s.Dir+"/empty")
			config := File(t, s.Dir, "vsftpd.conf", fmt.Sprintf(`listen=YES
listen_address=%[2]s
background=NO
anonymous_enable=YES
local_enable=NO
write_enable=NO
anon_root=%[1]s/ftp
secure_chroot_dir=%[1]s/empty
ssl_enable=YES
allow_anon_ssl=YES
force_anon_logins_ssl=NO
force_anon_data_ssl=NO
rsa_cert_file=%[3]s
rsa_private_key_file=%[4]s
seccomp_sandbox=NO
xferlog_enable=NO
`, s.Dir, s.Address, s.Certificate.CertFile, s.Certificate.KeyFile))
			Run(t, s.Dir, s.listens(), "vsftpd", config)
		},
	}
}

func rsync() kind {
	return kind{
		pkg: "rsync",
		ports: []Port{{
			Number: 873, Service: "rsync", Product: "rsync",
			NoVersion: "the greeting of an rsync daemon holds the version of the protocol only",
		}},
		start: func(t testing.TB, s *Server) {
			File(t, s.Dir, "files/readme.txt", "real\n")
			config := File(t, s.Dir, "rsyncd.conf", fmt.Sprintf(`use chroot = no
lock file = %[1]s/lock
log file = /dev/stderr
[files]
	path = %[1]s/files
	comment = real files
	read only = yes
`, s.Dir))
			Run(t, s.Dir, s.listens(), "rsync", "--daemon", "--no-detach", "--config="+config, "--address="+s.Address, "--port=873")
		},
	}
}

func samba() kind {
	const noVersion = "SMB 2 and 3 have no field for the version of the server, and SMB 1, which has one, is off"
	return kind{
		pkg: "samba",
		ports: []Port{
			{Number: 445, Service: "smb", Product: "Samba", NoVersion: noVersion},
			{Number: 139, Service: "smb", Product: "Samba", NoVersion: noVersion},
		},
		start: func(t testing.TB, s *Server) {
			for _, dir := range []string{"private", "state", "cache", "lock", "pid", "ncalrpc", "share"} {
				Do(t, "mkdir", "-p", s.Dir+"/"+dir)
			}
			config := File(t, s.Dir, "smb.conf", fmt.Sprintf(`[global]
	workgroup = REALGROUP
	netbios name = REALSERVER
	server role = standalone server
	interfaces = %[2]s/8
	bind interfaces only = yes
	smb ports = 445 139
	private dir = %[1]s/private
	state directory = %[1]s/state
	cache directory = %[1]s/cache
	lock directory = %[1]s/lock
	pid directory = %[1]s/pid
	ncalrpc dir = %[1]s/ncalrpc
	log file = %[1]s/smb.log
	map to guest = bad user
	disable spoolss = yes
	load printers = no
	printing = bsd
	printcap name = /dev/null
[share]
	path = %[1]s/share
	guest ok = yes
	read only = yes
`, s.Dir, s.Address))
			Run(t, s.Dir, s.listens(), "smbd", "--foreground", "--no-process-group", "--configfile="+config)
		},
	}
}

func snmpd() kind {
	return kind{
		pkg: "snmpd",
		ports: []Port{{
			Number: 161, UDP: true, Service: "snmp", Product: "Net-SNMP",
			NoVersion: "the system group tells the kernel; the agent's version is outside of the view that Debian gives to public",
		}},
		start: func(t testing.TB, s *Server) {
			config := File(t, s.Dir, "snmpd.conf", fmt.Sprintf(`agentaddress udp:%s:161
sysName real.test
sysLocation nowhere
view systemonly included .1.3.6.1.2.1.1
view systemonly included .1.3.6.1.2.1.25.1
rocommunity public default -V systemonly
`, s.Address))
			Run(t, s.Dir, s.listens(), "snmpd", "-f", "-Lo", "-C", "-c", config, "-p", s.Dir+"/snmpd.pid")
		},
	}
}

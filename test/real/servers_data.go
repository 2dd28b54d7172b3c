//go:build realservers

package real

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

func redis() kind {
	return kind{
		pkg: "redis-server",
		ports: []Port{
			{Number: 6379, Service: "redis", Product: "Redis"},
			{Number: 6380, TLS: true, Service: "redis", Product: "Redis"},
		},
		start: func(t testing.TB, s *Server) {
			config := File(t, s.Dir, "redis.conf", fmt.Sprintf(`bind %[2]s
port 6379
tls-port 6380
tls-cert-file %[3]s
tls-key-file %[4]s
tls-ca-cert-file %[3]s
tls-auth-clients no
protected-mode no
save ""
dir %[1]s
daemonize no
`, s.Dir, s.Address, s.Certificate.CertFile, s.Certificate.KeyFile))
			Run(t, s.Dir, s.listens(), "redis-server", config)
		},
	}
}

func postgresql() kind {
	return kind{
		pkg: "postgresql-15",
		ports: []Port{{
			Number: 5432, StartTLS: "postgres", Service: "postgresql", Product: "PostgreSQL",
			NoVersion: "the server tells its version after a login only",
		}},
		start: func(t testing.TB, s *Server) {
			bin := strings.TrimSpace(Do(t, "sh", "-c", "ls -d /usr/lib/postgresql/*/bin | tail -n1"))
			data := filepath.Join(s.Dir, "data")
			Do(t, "mkdir", "-p", data)
			Do(t, "chown", "-R", "postgres", data)
			Do(t, "runuser", "-u", "postgres", "--", bin+"/initdb", "-D", data, "-A", "scram-sha-256", "-U", "postgres", "--no-sync",
				"--pwfile="+File(t, s.Dir, "password", "for this test only\n"))
			for _, name := range []string{"cert.pem", "key.pem"} {
				Do(t, "cp", s.Dir+"/tls/"+name, data+"/"+name)
				Do(t, "chown", "postgres", data+"/"+name)
				Do(t, "chmod", "600", data+"/"+name)
			}
			Run(t, s.Dir, s.listens(), "setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "--pdeathsig", "INT", bin+"/postgres", "-D", data,
				"-c", "listen_addresses="+s.Address, "-c", "port=5432", "-c", "unix_socket_directories="+data, "-c", "fsync=off",
				"-c", "ssl=on", "-c", "ssl_cert_file=cert.pem", "-c", "ssl_key_file=key.pem", "-c", "hba_file="+File(t, s.Dir, "hba.conf", "host all all 0.0.0.0/0 scram-sha-256\n"))
		},
	}
}

func mariadb() kind {
	return kind{
		pkg:   "mariadb-server",
		ports: []Port{{Number: 3306, StartTLS: "mysql", Service: "mysql", Product: "MariaDB", Revision: true}},
		start: func(t testing.TB, s *Server) {
			data := s.Dir + "/data"
			Do(t, "mkdir", "-p", data)
			Do(t, "chown", "mysql", data, s.Dir)
			Do(t, "mariadb-install-db", "--no-defaults", "--user=mysql", "--datadir="+data, "--auth-root-authentication-method=socket", "--skip-test-db")
			Run(t, s.Dir, s.listens(), "mariadbd", "--no-defaults", "--user=mysql", "--datadir="+data, "--bind-address="+s.Address, "--port=3306",
				"--socket="+s.Dir+"/socket", "--pid-file="+s.Dir+"/pid", "--skip-name-resolve", "--init-file="+File(t, s.Dir, "init.sql", "CREATE USER IF NOT EXISTS 'someone'@'%' IDENTIFIED BY 'for this test only';\n"), "--ssl-cert="+s.Certificate.CertFile, "--ssl-key="+s.Certificate.KeyFile)
		},
	}
}

func mosquitto() kind {
	return kind{
		pkg: "mosquitto",
		ports: []Port{
			{Number: 1883, Service: "mqtt", Product: "Eclipse Mosquitto"},
			{Number: 8883, TLS: true, Service: "mqtt", Product: "Eclipse Mosquitto"},
		},
		start: func(t testing.TB, s *Server) {
			config := File(t, s.Dir, "mosquitto.conf", fmt.Sprintf(`allow_anonymous true
listener 1883 %[2]s
listener 8883 %[2]s
certfile %[3]s
keyfile %[4]s
log_dest stderr
`, s.Dir, s.Address, s.Certificate.CertFile, s.Certificate.KeyFile))
			Run(t, s.Dir, s.listens(), "mosquitto", "-c", config)
		},
	}
}

func memcached() kind {
	return kind{
		pkg: "memcached",
		ports: []Port{
			{Number: 11211, Service: "memcached", Product: "memcached"},
			{Number: 11211, UDP: true, Service: "memcached", Product: "memcached"},
		},
		start: func(t testing.TB, s *Server) {
			Run(t, s.Dir, s.listens(), "memcached", "-u", "nobody", "-l", s.Address, "-p", "11211", "-U", "11211", "-m", "16")
		},
	}
}

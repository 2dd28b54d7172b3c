//go:build realservers

package real

import (
	"fmt"
	"testing"
)

func bind() kind {
	return kind{
		pkg: "bind9",
		// BIND listens on addresses that an interface has, and loopback has this one.
		address: "127.0.0.1",
		ports: []Port{
			{Number: 53, Service: "dns", Product: "ISC BIND", Revision: true},
			{Number: 53, UDP: true, Service: "dns", Product: "ISC BIND", Revision: true},
		},
		start: func(t testing.TB, s *Server) {
			Do(t, "chown", "bind", s.Dir)
			File(t, s.Dir, "real.test.zone", `$TTL 300
@ SOA ns1 hostmaster 1 3600 600 86400 300
@ NS ns1
ns1 A 127.0.0.1
www A 127.0.0.1
`)
			config := File(t, s.Dir, "named.conf", fmt.Sprintf(`options {
	directory "%[1]s";
	listen-on port 53 { %[2]s; };
	listen-on-v6 { none; };
	pid-file none;
	session-keyfile "%[1]s/session.key";
	recursion no;
	empty-zones-enable no;
	dnssec-validation no;
	notify no;
};
controls {};
zone "real.test" { type primary; file "%[1]s/real.test.zone"; allow-transfer { none; }; };
`, s.Dir, s.Address))
			Run(t, s.Dir, s.listens(), "named", "-g", "-u", "bind", "-c", config)
			Say(t, s.Dir, "all zones loaded")
		},
	}
}

//go:build realservers

package real

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// Server is one real server that runs on an address of its own.
type Server struct {
	// Kind is its name in the table below, such as "nginx".
	Kind string
	// Package is the Debian package that holds the program, and PackageVersion that package's version.
	Package, PackageVersion string
	// Version is the version of the program itself: that of the package without what Debian adds.
	Version string
	// Address is the loopback address that nobody else uses.
	Address string
	// Ports are all that it listens on.
	Ports []Port
	// Dir holds its configuration, data and log.
	Dir string
	// Certificate is what it shows on ports that speak TLS.
	Certificate Certificate
}

// Port is one place where a server listens, and what a scan must say of it.
type Port struct {
	Number int
	UDP    bool
	// TLS: spoken from the first byte. StartTLS: the upgrade that is offered, empty for none.
	TLS      bool
	StartTLS string
	// Service is our name of the protocol, Product that of the software.
	Service, Product string
	// NoVersion and NoProduct say why a server does not tell; empty: it does, and a scan must know.
	NoVersion, NoProduct string
	// Revision: the server tells the version of its Debian package.
	Revision bool
}

// Listen is the address as Run wants it.
func (s *Server) Listen(p Port) string {
	listen := net.JoinHostPort(s.Address, strconv.Itoa(p.Number))
	if p.UDP {
		listen += "/udp"
	}
	return listen
}

// listens are all addresses.
func (s *Server) listens() []string {
	var all []string
	for _, p := range s.Ports {
		all = append(all, s.Listen(p))
	}
	return all
}

// Port returns the port of that number.
func (s *Server) Port(number int) Port {
	for _, p := range s.Ports {
		if p.Number == number {
			return p
		}
	}
	return Port{}
}

// kind is how one kind of server is started: start writes its configuration and calls Run.
type kind struct {
	pkg     string
	address string // empty: one that follows from its place in order
	ports   []Port
	start   func(t testing.TB, s *Server)
}

// order gives the addresses: a new kind goes to the end.
var order = []string{
	"nginx", "apache", "openssh", "vsftpd", "postfix", "dovecot", "redis", "postgresql", "mariadb", "mosquitto", "memcached",
	"samba", "bind", "squid", "snmpd", "rsync",
}

// kinds are all servers by name.
var kinds = sync.OnceValue(func() map[string]kind {
	return map[string]kind{
		"nginx": nginx(), "apache": apache(), "squid": squid(),
		"openssh": openssh(), "vsftpd": vsftpd(), "rsync": rsync(), "samba": samba(), "snmpd": snmpd(),
		"postfix": postfix(), "dovecot": dovecot(),
		"redis": redis(), "postgresql": postgresql(), "mariadb": mariadb(), "mosquitto": mosquitto(), "memcached": memcached(),
		"bind": bind(),
	}
})

// Kinds are the names of all servers.
func Kinds() []string { return order }

var started struct {
	sync.Mutex
	servers map[string]*Server
	turn    *os.File // held until the process ends
}

// takeTurn waits until no other process runs these servers: their addresses are the same in each.
func takeTurn(t testing.TB) *os.File {
	t.Helper()
	file, err := os.OpenFile(filepath.Join(os.TempDir(), "riskprofiler-realservers.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	return file
}

// Start returns the server of that kind, which it starts where no test did before. All tests of the package share it, so it
// is for reading only; Main ends it.
func Start(t testing.TB, name string) *Server {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("real servers need root: they give it up themselves")
	}
	k, known := kinds()[name]
	if !known {
		t.Fatalf("no server %q", name)
	}
	started.Lock()
	defer started.Unlock()
	if s := started.servers[name]; s != nil {
		return s
	}
	if started.servers == nil {
		started.servers = map[string]*Server{}
		started.turn = takeTurn(t)
	}
	s := &Server{Kind: name, Package: k.pkg, Ports: k.ports, Dir: Dir(t)}
	if s.Address = k.address; s.Address == "" {
		s.Address = fmt.Sprintf("127.80.0.%d", 10+slices.Index(order, name))
	}
	s.PackageVersion, s.Version = packageVersion(t, k.pkg)
	s.Certificate = NewCertificate(t, s.Dir, "real.test", s.Address)
	k.start(t, s)
	started.servers[name] = s
	return s
}

// Servers returns all servers, started.
func Servers(t testing.TB) []*Server {
	t.Helper()
	var all []*Server
	for _, name := range order {
		all = append(all, Start(t, name))
	}
	return all
}

// packageVersion asks dpkg: [epoch:]upstream[-revision] (deb-version(7)), where Debian marks sources it changed as "+dfsg" or
// "+ds", and rebuilds of a package as "+b1", which is no version of the source.
func packageVersion(t testing.TB, pkg string) (source, upstream string) {
	t.Helper()
	source = strings.TrimSpace(Do(t, "dpkg-query", "-W", "-f", "${source:Version}", pkg))
	_, upstream, found := strings.Cut(source, ":")
	if !found {
		upstream = source
	}
	if i := strings.LastIndexByte(upstream, '-'); i > 0 {
		upstream = upstream[:i]
	}
	upstream, _, _ = strings.Cut(upstream, "+")
	return source, upstream
}

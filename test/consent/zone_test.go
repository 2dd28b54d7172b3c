package consent

import (
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// zone is a name server whose records can be changed while it serves. A name that begins with an asterisk answers for all names
// below it that have no record of their own.
type zone struct {
	address string

	mu      sync.Mutex
	records map[string][]string // by name: "TXT text", "A 127.0.0.1", "CNAME other.", "RCODE 2"
}

func newZone(t *testing.T) *zone {
	t.Helper()
	conn, l := bothAt(t)
	z := &zone{address: conn.LocalAddr().String(), records: map[string][]string{}}
	for _, s := range []*dns.Server{{PacketConn: conn, Handler: z}, {Listener: l, Handler: z}} {
		started := make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		go func() { _ = s.ActivateAndServe() }()
		<-started
		t.Cleanup(func() { _ = s.Shutdown() })
	}
	return z
}

// bothAt listens at one port for datagrams and connections. One that is free for the first may be taken for the second.
func bothAt(t *testing.T) (net.PacketConn, net.Listener) {
	t.Helper()
	for {
		conn, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if l, err := net.Listen("tcp", conn.LocalAddr().String()); err == nil {
			return conn, l
		}
		_ = conn.Close()
	}
}

// set replaces the records of a name; none: the name is gone.
func (z *zone) set(name string, records ...string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.records[dns.Fqdn(name)] = records
}

func (z *zone) find(name string) (records []string, known bool) {
	if records = z.records[name]; len(records) > 0 {
		return records, true
	}
	for parent := name; parent != "."; {
		_, rest, _ := strings.Cut(parent, ".")
		if parent = rest; parent == "" {
			break
		}
		if records = z.records["*."+parent]; len(records) > 0 {
			return records, true
		}
		if len(z.records[parent]) > 0 { // the closest name that is there ends the search (RFC 4592)
			break
		}
	}
	for other, records := range z.records {
		known = known || len(records) > 0 && strings.HasSuffix(other, "."+name)
	}
	return nil, known
}

// ServeDNS answers as a recursive server does: with the alias and with what stands at its end.
func (z *zone) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	z.mu.Lock()
	defer z.mu.Unlock()
	m := new(dns.Msg).SetReply(q)
	m.RecursionAvailable = true
	name := strings.ToLower(q.Question[0].Name)
	for range 10 {
		records, known := z.find(name)
		if !known {
			m.Rcode = dns.RcodeNameError
		}
		next := ""
		for _, text := range records {
			kind, value, _ := strings.Cut(text, " ")
			switch kind {
			case "RCODE":
				m.Rcode = dns.RcodeServerFailure
			case "CNAME":
				next = strings.ToLower(value)
				fallthrough
			case dns.TypeToString[q.Question[0].Qtype]:
				if kind == "TXT" {
					value = `"` + value + `"`
				}
				r, err := dns.NewRR(name + " 1 IN " + kind + " " + value)
				if err != nil {
					panic(err) // the table is wrong
				}
				m.Answer = append(m.Answer, r)
			}
		}
		if next == "" {
			break
		}
		name = next
	}
	_ = w.WriteMsg(m) // who asked may be gone
}

// files serves one host's files at the port of proofs, and can be changed.
type files struct {
	mu      sync.Mutex
	handler http.HandlerFunc
}

func (f *files) set(h http.HandlerFunc) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.handler = h
}

func (f *files) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	h := f.handler
	f.mu.Unlock()
	if h == nil {
		http.NotFound(w, r)
		return
	}
	h(w, r)
}

// serve serves files at an address until the test ends.
func serve(t *testing.T, address string) *files {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	f := &files{}
	s := &http.Server{Handler: f, ReadHeaderTimeout: time.Minute}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close() })
	return f
}

// watch listens at the ports that scans would ask, and counts who comes.
func watch(t *testing.T, host string) *atomic.Int64 {
	t.Helper()
	var visits atomic.Int64
	for _, port := range watchedPorts {
		l, err := net.Listen("tcp", net.JoinHostPort(host, port))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				visits.Add(1)
				_ = conn.Close()
			}
		}()
	}
	return &visits
}

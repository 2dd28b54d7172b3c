package dns

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	mdns "github.com/miekg/dns"
	"go.uber.org/goleak"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/netguard"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memory keeps evidence for the length of one test.
type memory struct {
	mu    sync.Mutex
	blobs map[string][]byte
}

func (m *memory) Put(_ context.Context, kind string, data []byte) (*modelv1.Evidence, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.blobs == nil {
		m.blobs = make(map[string][]byte)
	}
	sum := sha256.Sum256(data)
	key := kind + "/" + hex.EncodeToString(sum[:])
	m.blobs[key] = slices.Clone(data)
	return &modelv1.Evidence{Blob: key}, nil
}

// world is a small DNS: one server that answers recursively and with authority for all its records.
type world struct {
	names map[string]map[uint16][]mdns.RR
	zones []string
	// fault answers instead, where it returns true.
	fault func(w mdns.ResponseWriter, q *mdns.Msg) bool
	// open are the zones that are handed out.
	open map[string]bool
	// keys of signed zones; alter changes what was signed, after it was.
	keys  map[string]*zoneKey
	alter func(reply *mdns.Msg)

	// quiet keeps no list of questions.
	quiet bool

	mu    sync.Mutex
	asked []string
}

// newWorld reads records in zone file form, one a line. A SOA record makes a zone.
func newWorld(t testing.TB, zone string) *world {
	t.Helper()
	w := &world{names: make(map[string]map[uint16][]mdns.RR), open: make(map[string]bool)}
	for line := range strings.Lines(zone) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		rr, err := mdns.NewRR(line)
		if err != nil || rr == nil {
			t.Fatalf("record %q: %v", line, err)
		}
		name := mdns.CanonicalName(rr.Header().Name)
		if w.names[name] == nil {
			w.names[name] = make(map[uint16][]mdns.RR)
		}
		kind := rr.Header().Rrtype
		w.names[name][kind] = append(w.names[name][kind], rr)
		if kind == mdns.TypeSOA {
			w.zones = append(w.zones, name)
		}
	}
	return w
}

// questions are those asked so far.
func (w *world) questions() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.asked)
}

// ServeDNS answers one question.
func (w *world) ServeDNS(out mdns.ResponseWriter, q *mdns.Msg) {
	if !w.quiet {
		w.mu.Lock()
		w.asked = append(w.asked, q.Question[0].Name+" "+mdns.TypeToString[q.Question[0].Qtype])
		w.mu.Unlock()
	}
	if w.fault != nil && w.fault(out, q) {
		return
	}
	reply := new(mdns.Msg).SetReply(q)
	reply.Authoritative, reply.RecursionAvailable = true, true
	question := q.Question[0]
	name := mdns.CanonicalName(question.Name)
	if question.Qtype == mdns.TypeAXFR {
		if reply.Rcode = mdns.RcodeRefused; w.open[name] {
			reply.Rcode = mdns.RcodeSuccess
			reply.Answer = append(append(append(reply.Answer, w.names[name][mdns.TypeSOA]...), w.names[name][mdns.TypeNS]...), w.names[name][mdns.TypeSOA]...)
		}
		_ = out.WriteMsg(reply)
		return
	}
	w.fill(reply, name, question.Qtype)
	if opt := q.IsEdns0(); opt != nil && opt.Do() {
		w.sign(reply)
	}
	if w.alter != nil {
		w.alter(reply)
	}
	if _, udp := out.LocalAddr().(*net.UDPAddr); udp {
		size := mdns.MinMsgSize
		if opt := q.IsEdns0(); opt != nil {
			size = int(opt.UDPSize())
		}
		reply.Truncate(size)
	}
	_ = out.WriteMsg(reply)
}

func (w *world) fill(reply *mdns.Msg, name string, kind uint16) {
	for range 20 {
		records, there := w.lookup(name)
		if alias := records[mdns.TypeCNAME]; len(alias) > 0 && kind != mdns.TypeCNAME {
			reply.Answer = append(reply.Answer, alias...)
			name = mdns.CanonicalName(alias[0].(*mdns.CNAME).Target)
			continue
		}
		reply.Answer = append(reply.Answer, records[kind]...)
		if !there {
			reply.Rcode = mdns.RcodeNameError
		}
		if len(records[kind]) == 0 {
			reply.Ns = w.soa(name)
		}
		return
	}
}

// lookup finds the records of a name, or of the wildcard that covers it (RFC 4592).
func (w *world) lookup(name string) (map[uint16][]mdns.RR, bool) {
	if records, ok := w.names[name]; ok {
		return records, true
	}
	for other := range w.names {
		if strings.HasSuffix(other, "."+name) {
			return nil, true // an empty name with others below it
		}
	}
	if _, parent, ok := strings.Cut(name, "."); ok && len(w.names["*."+parent]) > 0 {
		records := make(map[uint16][]mdns.RR)
		for kind, list := range w.names["*."+parent] {
			for _, rr := range list {
				made := mdns.Copy(rr)
				made.Header().Name = name
				records[kind] = append(records[kind], made)
			}
		}
		return records, true
	}
	return nil, false
}

func (w *world) soa(name string) []mdns.RR {
	best := ""
	for _, zone := range w.zones {
		if mdns.IsSubDomain(zone, name) && len(zone) > len(best) {
			best = zone
		}
	}
	return w.names[best][mdns.TypeSOA]
}

// start serves handler on the addresses, all on one free port, by UDP and TCP, and returns the port.
func start(t testing.TB, handlers map[string]mdns.Handler) uint16 {
	t.Helper()
	for range 20 {
		if port, ok := tryStart(t, handlers); ok {
			return port
		}
	}
	t.Fatal("no port is free on all the addresses")
	return 0
}

func tryStart(t testing.TB, handlers map[string]mdns.Handler) (uint16, bool) {
	t.Helper()
	port := uint16(0)
	var servers []*mdns.Server
	var all sync.WaitGroup
	stop := func() {
		for _, server := range servers {
			_ = server.Shutdown()
		}
		all.Wait()
	}
	for address, handler := range handlers {
		udp, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(address), port)))
		if err != nil {
			stop()
			return 0, false
		}
		port = netip.MustParseAddrPort(udp.LocalAddr().String()).Port()
		tcp, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(address), port)))
		if err != nil {
			_ = udp.Close()
			stop()
			return 0, false
		}
		for _, server := range []*mdns.Server{{PacketConn: udp, Handler: handler}, {Listener: tcp, Handler: handler}} {
			started := make(chan struct{})
			server.NotifyStartedFunc = func() { close(started) }
			all.Go(func() { _ = server.ActivateAndServe() })
			<-started
			servers = append(servers, server)
		}
	}
	t.Cleanup(stop)
	return port, true
}

// at is where the resolver of every test is.
const at = "127.0.0.1"

// probeFor starts w as the resolver, beside other name servers, and returns a probe that asks it.
func probeFor(t testing.TB, w mdns.Handler, others map[string]mdns.Handler) *Probe {
	t.Helper()
	handlers := map[string]mdns.Handler{at: w}
	for address, handler := range others {
		handlers[address] = handler
	}
	port := start(t, handlers)
	p := New(Options{Resolver: netip.AddrPortFrom(netip.MustParseAddr(at), port).String()})
	p.limits.try, p.limits.again, p.limits.failure = 300*time.Millisecond, time.Millisecond, time.Millisecond
	p.mailPort = 1 // nobody listens there
	return p
}

func lab() probes.Env {
	return probes.Env{Guard: netguard.New(netguard.Options{AllowPrivate: true}), Blobs: &memory{}}
}

// labOf is lab with a guard that asks the probe's own resolver: nothing of a test reaches the system's.
func labOf(p *Probe) probes.Env {
	env := lab()
	env.Guard = netguard.New(netguard.Options{AllowPrivate: true, Resolver: p.options.Resolver})
	return env
}

func jobFor(kind modelv1.AssetKind, name string) *modelv1.ScanJob {
	target := &modelv1.Target{Kind: kind, Value: name}
	if kind == modelv1.AssetKind_ASSET_KIND_HOST {
		target.Host = name
	}
	return &modelv1.ScanJob{ScanType: modelv1.ScanType_SCAN_TYPE_DNS, Target: target, Options: &modelv1.ScanOptions{Profile: modelv1.Profile_PROFILE_STANDARD}}
}

const (
	domain = modelv1.AssetKind_ASSET_KIND_DOMAIN
	host   = modelv1.AssetKind_ASSET_KIND_HOST
)

func run(t testing.TB, p *Probe, job *modelv1.ScanJob) *probes.Result {
	t.Helper()
	result, err := p.Scan(t.Context(), labOf(p), job)
	if err != nil {
		t.Fatalf("scan: %v", err)
	}
	return result
}

// facts takes the facts of a result apart.
func facts(result *probes.Result) (dns *modelv1.DnsFact, mail *modelv1.MailFact, dangling []*modelv1.DanglingFact) {
	for _, o := range result.Observations {
		switch {
		case o.GetDns() != nil:
			dns = o.GetDns()
		case o.GetMail() != nil:
			mail = o.GetMail()
		case o.GetDangling() != nil:
			dangling = append(dangling, o.GetDangling())
		}
	}
	return dns, mail, dangling
}

// refuse is a name server that knows nothing.
var refuse = mdns.HandlerFunc(func(w mdns.ResponseWriter, q *mdns.Msg) { _ = w.WriteMsg(new(mdns.Msg).SetRcode(q, mdns.RcodeRefused)) })

// mute is a name server that takes questions and says nothing.
var mute = mdns.HandlerFunc(func(mdns.ResponseWriter, *mdns.Msg) {})

// failing answers with rcode to questions of a type, for names with a prefix.
func failing(prefix string, kind uint16, rcode int) func(mdns.ResponseWriter, *mdns.Msg) bool {
	return func(w mdns.ResponseWriter, q *mdns.Msg) bool {
		if !strings.HasPrefix(q.Question[0].Name, prefix) || q.Question[0].Qtype != kind {
			return false
		}
		_ = w.WriteMsg(new(mdns.Msg).SetRcode(q, rcode))
		return true
	}
}

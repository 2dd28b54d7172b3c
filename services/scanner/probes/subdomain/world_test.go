package subdomain

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	mdns "github.com/miekg/dns"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/blob/fileblob"
	"github.com/riskprofiler/riskprofiler/platform/netguard"
	"github.com/riskprofiler/riskprofiler/platform/secret"
	"github.com/riskprofiler/riskprofiler/platform/table"
	"github.com/riskprofiler/riskprofiler/platform/table/sqlitetable"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
	"github.com/riskprofiler/riskprofiler/services/scanner/providers"
	"github.com/riskprofiler/riskprofiler/services/scanner/providers/providerstest"
)

// zone answers for names: an address, "@target" for an alias, "!" for SERVFAIL, "?" for silence. "*.x" is a wildcard (RFC 4592).
type zone struct {
	records map[string]string
	address string
	asked   atomic.Int64

	mu   sync.Mutex
	seen map[string]int
}

func newZone(t *testing.T, records map[string]string) *zone {
	t.Helper()
	conn, err := (&net.ListenConfig{}).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	z := &zone{records: records, address: conn.LocalAddr().String(), seen: map[string]int{}}
	server := &mdns.Server{PacketConn: conn, Handler: mdns.HandlerFunc(z.serve)}
	go func() { _ = server.ActivateAndServe() }()
	t.Cleanup(func() { _ = server.Shutdown() })
	return z
}

// find is the record for a name: its own, else that of the closest wildcard where nothing exists in between.
func (z *zone) find(name string) string {
	if r, ok := z.records[name]; ok {
		return r
	}
	for parent := name; strings.Contains(parent, "."); {
		_, parent, _ = strings.Cut(parent, ".")
		if r, ok := z.records["*."+parent]; ok {
			return r
		}
		for known := range z.records { // the closest encloser exists, and has no wildcard
			if known == parent || strings.HasSuffix(known, "."+parent) && known != "*."+parent {
				return ""
			}
		}
	}
	return ""
}

func (z *zone) serve(w mdns.ResponseWriter, m *mdns.Msg) {
	z.asked.Add(1)
	name := strings.TrimSuffix(strings.ToLower(m.Question[0].Name), ".")
	z.mu.Lock()
	z.seen[name]++
	z.mu.Unlock()
	out := new(mdns.Msg)
	out.SetReply(m)
	owner := m.Question[0].Name
	for range 5 {
		record := z.find(name)
		switch {
		case record == "?":
			return
		case record == "!":
			out.Rcode = mdns.RcodeServerFailure
		case record == "":
			out.Rcode = mdns.RcodeNameError
		case record[0] == '@':
			out.Answer = append(out.Answer, &mdns.CNAME{Hdr: mdns.RR_Header{Name: owner, Rrtype: mdns.TypeCNAME, Class: mdns.ClassINET}, Target: record[1:] + "."})
			name, owner = record[1:], record[1:]+"."
			continue
		default:
			addr := netip.MustParseAddr(record)
			if kind := m.Question[0].Qtype; addr.Is4() && kind == mdns.TypeA {
				out.Answer = append(out.Answer, &mdns.A{Hdr: mdns.RR_Header{Name: owner, Rrtype: kind, Class: mdns.ClassINET}, A: addr.AsSlice()})
			} else if addr.Is6() && kind == mdns.TypeAAAA {
				out.Answer = append(out.Answer, &mdns.AAAA{Hdr: mdns.RR_Header{Name: owner, Rrtype: kind, Class: mdns.ClassINET}, AAAA: addr.AsSlice()})
			}
		}
		break
	}
	_ = w.WriteMsg(out)
}

// env is what the probe gets, with third parties for tenant acme who has keys for these providers.
func env(t *testing.T, z *zone, server *providerstest.Server, keys ...string) probes.Env {
	t.Helper()
	guard := netguard.New(netguard.Options{AllowPrivate: true, Resolver: z.address})
	out := probes.Env{Guard: guard}
	if server == nil {
		return out
	}
	db, err := sqlitetable.Open(context.Background(), sqlitetable.Options{Path: t.TempDir() + "/tables.db"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	bucket, err := fileblob.Open(t.Context(), fileblob.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	secrets := &secret.Memory{}
	for _, provider := range keys {
		value, err := proto.Marshal(&modelv1.ProviderCredential{Key: providerstest.Key})
		if err == nil {
			err = secrets.Put(t.Context(), "acme", provider, value)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	out.Providers = providers.New(providers.Options{
		Table: table.New(db.Table("ratelimits"), table.Options{Name: "ratelimits"}), Secrets: secrets, Evidence: bucket, Guard: guard,
		UserAgent: probes.UserAgent(out), Bases: server.Bases(),
	}).For("acme", "assessments/1", 0)
	return out
}

func scanOf(t *testing.T, e probes.Env, domain string, profile modelv1.Profile, budget time.Duration) (*probes.Result, *modelv1.NamesFact) {
	t.Helper()
	p := New()
	p.try = 500 * time.Millisecond
	r, err := p.Scan(t.Context(), e, &modelv1.ScanJob{
		Tenant: "acme", ScanType: modelv1.ScanType_SCAN_TYPE_SUBDOMAIN, Target: &modelv1.Target{Kind: modelv1.AssetKind_ASSET_KIND_DOMAIN, Value: domain},
		Options: &modelv1.ScanOptions{Profile: profile, Budget: durationpb.New(budget)},
	})
	if err != nil {
		t.Fatal(err)
	}
	return r, r.Observations[0].GetNames()
}

// found are the names of the leads with how they were found.
func found(r *probes.Result) map[string]string {
	out := map[string]string{}
	for _, l := range r.Leads {
		out[l.GetTarget().GetValue()] = l.GetRelation()
	}
	return out
}

func report(f *modelv1.NamesFact, source string) *modelv1.SourceReport {
	for _, r := range f.GetSources() {
		if r.GetSource() == source {
			return r
		}
	}
	return nil
}

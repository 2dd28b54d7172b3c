//go:build realservers

package real

import (
	"slices"
	"strings"
	"sync"
	"testing"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/tls"
)

// tlsDifference is a difference that is understood: which program says otherwise than we do about which offers, and why.
type tlsDifference struct {
	program, endpoint, offer string // each a prefix; empty fits all
	// ours says that only we see it.
	ours bool
	why  string
}

// tlsDifferences are the differences that are explained. One that no comparison meets is an error too. There are none with nmap
// 7.93, sslscan 2.0.7 and testssl.sh 3.0.8 of Debian 12.
var tlsDifferences = []tlsDifference{}

// TestTLSAgainstOthers: the same protocols and ciphers as nmap, sslscan and testssl.sh say, for the servers as they come and in
// configurations of their own.
func TestTLSAgainstOthers(t *testing.T) {
	table := &tlsTable{met: make([]bool, len(tlsDifferences))}
	var all []endpoint
	for _, name := range []string{"nginx", "apache", "postfix", "dovecot", "vsftpd", "postgresql", "mariadb"} {
		s := Start(t, name)
		for _, p := range s.Ports {
			if !p.UDP && (p.TLS || p.StartTLS != "") {
				upgrade := p.Service
				if p.TLS {
					upgrade = ""
				}
				all = append(all, endpoint{
					name: name, address: s.Address, port: p.Number, service: p.Service, starttls: upgrade,
					slow: !slices.Contains([]int{443, 143, 5432}, p.Number), // the others are as these
				})
			}
		}
	}
	for i, c := range tlsConfigs {
		all = append(all, startTLSConfig(t, i, c))
	}
	t.Run("endpoints", func(t *testing.T) {
		for _, e := range all {
			t.Run(strings.ReplaceAll(e.name+" "+offerPort(e), "/", "-"), func(t *testing.T) {
				t.Parallel() // testssl.sh sleeps most of its time
				compareTLS(t, table, e)
			})
		}
	})
	for i, d := range tlsDifferences {
		if !table.met[i] {
			t.Errorf("nothing differs any more as the table says: %+v", d)
		}
	}
}

// tlsTable remembers which differences were met.
type tlsTable struct {
	sync.Mutex
	met []bool
}

// compareTLS scans one endpoint with everything and compares.
func compareTLS(t *testing.T, table *tlsTable, e endpoint) {
	t.Helper()
	fact := tlsFactAt(t, e)
	e.numbers = map[string]uint32{}
	ours := offers{}
	for _, p := range fact.GetProtocols() {
		for _, c := range p.GetCiphers() {
			e.numbers[c.GetName()] = c.GetId()
			ours[offerOf(p.GetVersion(), uint64(c.GetId()))] = true
		}
	}
	t.Logf("%d offers of %v in %d connections, grade %s", len(ours), fact.GetVersions(), fact.GetConnections(), fact.GetGrade().GetLetterWithoutTrust())
	for _, program := range programs {
		if _, knows := program.starttls[e.starttls]; e.starttls != "" && !knows || e.slow && program.name == "testssl" {
			continue
		}
		compareOffers(t, table, program.name, e, ours, program.ask(t, e))
	}
}

func offerPort(e endpoint) string {
	if e.starttls != "" {
		return e.starttls + " with STARTTLS"
	}
	return e.service
}

// tlsFactAt is what our scan says of an endpoint.
func tlsFactAt(t *testing.T, e endpoint) *modelv1.TlsFact {
	t.Helper()
	result := Scan(t, tls.New(tls.Options{}), &modelv1.Target{
		Kind: modelv1.AssetKind_ASSET_KIND_IP, Value: e.address, Address: e.address, Port: uint32(e.port), Service: e.service, Tls: e.starttls == "",
		Transport: modelv1.Transport_TRANSPORT_TCP,
	})
	if len(result.Observations) != 1 || result.Outcome != modelv1.Outcome_OUTCOME_COMPLETE {
		t.Fatalf("%v (%s) with %d observations", result.Outcome, result.Reason, len(result.Observations))
	}
	return result.Observations[0].GetTls()
}

func compareOffers(t *testing.T, table *tlsTable, program string, e endpoint, ours, theirs offers) {
	t.Helper()
	if len(theirs) == 0 {
		t.Errorf("%s saw nothing", program)
	}
	report := func(ours bool, list []offer) {
		for _, o := range list {
			if why := table.explained(program, e, o, ours); why != "" {
				t.Logf("%s: %s only by %s: %s", e.name, o, map[bool]string{true: "us", false: program}[ours], why)
			} else {
				t.Errorf("%s: %s only by %s", e.name, o, map[bool]string{true: "us", false: program}[ours])
			}
		}
	}
	report(true, without(ours, theirs))
	report(false, without(theirs, ours))
}

func without(from, other offers) []offer {
	var out []offer
	for o := range from {
		if !other[o] {
			out = append(out, o)
		}
	}
	slices.Sort(out)
	return out
}

// explained is why a difference is none to worry about; empty if nobody knows.
func (table *tlsTable) explained(program string, e endpoint, o offer, ours bool) string {
	table.Lock()
	defer table.Unlock()
	for i, d := range tlsDifferences {
		if d.ours == ours && strings.HasPrefix(program, d.program) && strings.HasPrefix(e.name, d.endpoint) && strings.HasPrefix(string(o), d.offer) {
			table.met[i] = true
			return d.why
		}
	}
	return ""
}

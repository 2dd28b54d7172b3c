//go:build realservers

package real

import (
	"fmt"
	"strings"
	"testing"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/service"
)

// name of a port in messages.
func (p Port) String() string {
	transport := "tcp"
	if p.UDP {
		transport = "udp"
	}
	return fmt.Sprintf("%d/%s", p.Number, transport)
}

// serviceAt scans one port and returns its fact.
func serviceAt(t *testing.T, s *Server, p Port) *modelv1.ServiceFact {
	t.Helper()
	result := Scan(t, service.New(), s.Target(p))
	if result.Outcome != modelv1.Outcome_OUTCOME_COMPLETE || len(result.Observations) != 1 {
		t.Fatalf("%s %v: %v %q with %d observations", s.Kind, p, result.Outcome, result.Reason, len(result.Observations))
	}
	return result.Observations[0].GetService()
}

// TestServices: product and version right for all that disclose them, and those that do not say why.
func TestServices(t *testing.T) {
	for _, name := range Kinds() {
		t.Run(name, func(t *testing.T) {
			s := Start(t, name)
			defer func() {
				if t.Failed() {
					t.Log(s.Log())
				}
			}()
			for _, p := range s.Ports {
				fact := serviceAt(t, s, p)
				checkService(t, s, p, fact)
				t.Logf("%-10s %-9v %s %q %q package %q of %q, open %v %s", s.Kind, p, fact.GetName(), fact.GetProduct(), fact.GetVersion(),
					fact.GetPackageVersion(), fact.GetDistribution(), fact.GetUnauthenticated(), fact.GetCpe())
			}
		})
	}
}

func checkService(t *testing.T, s *Server, p Port, fact *modelv1.ServiceFact) {
	t.Helper()
	report := func(what, got, want string) {
		if got != want {
			t.Errorf("%s %v: %s %q, want %q\n%v", s.Kind, p, what, got, want, fact)
		}
	}
	report("protocol", fact.GetName(), p.Service)
	report("TLS", fmt.Sprint(fact.GetTls()), fmt.Sprint(p.TLS))
	report("STARTTLS", fmt.Sprint(fact.GetStarttls()), fmt.Sprint(p.StartTLS != ""))
	if p.NoProduct == "" {
		report("product", fact.GetProduct(), p.Product)
	}
	version := s.Version
	if p.NoVersion != "" {
		version = ""
	}
	report("version", fact.GetVersion(), version)
	if version != "" && p.NoProduct == "" {
		if len(fact.GetCpe()) != 1 || !strings.Contains(strings.ReplaceAll(fact.GetCpe()[0], ":p", "p"), ":"+version+":") {
			t.Errorf("%s %v: CPE %q without version %q", s.Kind, p, fact.GetCpe(), version)
		}
	}
	if p.Revision {
		report("package", fact.GetPackageVersion(), s.PackageVersion)
		report("distribution", fact.GetDistribution(), "Debian:12")
	}
}

// Package all is the scanner with every scan type. It is apart, so that a scanner of one scan type links no other.
package all

import (
	"github.com/riskprofiler/riskprofiler/services/scanner"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud/clouds"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/dns"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/http"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/intel"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/port"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/service"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/subdomain"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/tls"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/vuln"
)

// Spec is the scanner with all its scan types in one process.
var Spec = scanner.SpecFor(Probes()...)

// Probes are the scan types, one line each.
func Probes() []probes.Probe {
	return []probes.Probe{
		dns.New(dns.Options{}),
		subdomain.New(),
		intel.New(),
		clouds.New(),
		port.New(),
		service.New(),
		tls.New(tls.Options{}),
		http.New(http.Options{}),
		vuln.New(),
	}
}

package scanner

import (
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/dns"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/http"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/port"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/service"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/tls"
)

// All are the scan types of this scanner, one line each.
func All() []probes.Probe {
	return []probes.Probe{
		dns.New(dns.Options{}),
		port.New(),
		service.New(),
		tls.New(tls.Options{}),
		http.New(http.Options{}),
	}
}

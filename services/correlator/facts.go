package correlator

import (
	"google.golang.org/protobuf/proto"

	correlatorv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/correlator/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

// factKind is a kind of fact that checks read: its message, the scan type it comes from, and where it lies in an observation.
type factKind struct {
	message  proto.Message
	scanType modelv1.ScanType
}

// facts by the name under which a condition reads them.
var facts = map[string]*factKind{
	"dns":           {&modelv1.DnsFact{}, modelv1.ScanType_SCAN_TYPE_DNS},
	"mail":          {&modelv1.MailFact{}, modelv1.ScanType_SCAN_TYPE_DNS},
	"dangling":      {&modelv1.DanglingFact{}, modelv1.ScanType_SCAN_TYPE_DNS},
	"ports":         {&modelv1.PortsFact{}, modelv1.ScanType_SCAN_TYPE_PORT},
	"service":       {&modelv1.ServiceFact{}, modelv1.ScanType_SCAN_TYPE_SERVICE},
	"tls":           {&modelv1.TlsFact{}, modelv1.ScanType_SCAN_TYPE_TLS},
	"http":          {&modelv1.HttpFact{}, modelv1.ScanType_SCAN_TYPE_HTTP},
	"exposure":      {&modelv1.ExposureFact{}, modelv1.ScanType_SCAN_TYPE_HTTP},
	"names":         {&modelv1.NamesFact{}, modelv1.ScanType_SCAN_TYPE_SUBDOMAIN},
	"vulnerability": {&modelv1.VulnerabilityFact{}, modelv1.ScanType_SCAN_TYPE_VULN},
	"cloud":         {&modelv1.CloudFact{}, modelv1.ScanType_SCAN_TYPE_CLOUD},
	"intel":         {&modelv1.IntelFact{}, modelv1.ScanType_SCAN_TYPE_INTEL},
	"reported":      {&modelv1.ReportedFact{}, modelv1.ScanType_SCAN_TYPE_IMPORT},
	// A known vulnerability of a product: no fact of a scan but what intel says about those of service and http.
	matchFact: {&correlatorv1.VulnerabilityMatch{}, modelv1.ScanType_SCAN_TYPE_UNSPECIFIED},
}

// matchFact is the name under which conditions read known vulnerabilities.
const matchFact = "match"

// factOf is the fact in an observation and its name.
func factOf(o *modelv1.Observation) (string, proto.Message) {
	switch f := o.GetFact().(type) {
	case *modelv1.Observation_Dns:
		return "dns", f.Dns
	case *modelv1.Observation_Mail:
		return "mail", f.Mail
	case *modelv1.Observation_Dangling:
		return "dangling", f.Dangling
	case *modelv1.Observation_Ports:
		return "ports", f.Ports
	case *modelv1.Observation_Service:
		return "service", f.Service
	case *modelv1.Observation_Tls:
		return "tls", f.Tls
	case *modelv1.Observation_Http:
		return "http", f.Http
	case *modelv1.Observation_Exposure:
		return "exposure", f.Exposure
	case *modelv1.Observation_Names:
		return "names", f.Names
	case *modelv1.Observation_Vulnerability:
		return "vulnerability", f.Vulnerability
	case *modelv1.Observation_Cloud:
		return "cloud", f.Cloud
	case *modelv1.Observation_Intel:
		return "intel", f.Intel
	case *modelv1.Observation_Reported:
		return "reported", f.Reported
	}
	return "", nil
}

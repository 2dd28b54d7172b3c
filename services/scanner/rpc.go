package scanner

import (
	"context"
	"strconv"
	"strings"

	"google.golang.org/protobuf/types/known/durationpb"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	scannerv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/scanner/v1"
	"github.com/riskprofiler/riskprofiler/platform/authn"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/portlist"
	"github.com/riskprofiler/riskprofiler/platform/target"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
)

// ListScanTypes lists what this scanner can do.
func (s *Service) ListScanTypes(context.Context, *scannerv1.ListScanTypesRequest) (*scannerv1.ListScanTypesResponse, error) {
	res := &scannerv1.ListScanTypesResponse{}
	for _, p := range s.order {
		res.ScanTypes = append(res.ScanTypes, &scannerv1.ScanTypeInfo{ScanType: p.ScanType(), Version: p.Version(), Description: descriptions[p.ScanType()]})
	}
	return res, nil
}

var descriptions = map[modelv1.ScanType]string{
	modelv1.ScanType_SCAN_TYPE_DNS:       "records, mail policies, zone health and dangling names",
	modelv1.ScanType_SCAN_TYPE_SUBDOMAIN: "names below a domain: certificates, third parties, words and variations",
	modelv1.ScanType_SCAN_TYPE_INTEL:     "what third parties know of a name or a public address",
	modelv1.ScanType_SCAN_TYPE_CLOUD:     "what a cloud account shows to the internet, by the provider's own interface and a role that reads",
	modelv1.ScanType_SCAN_TYPE_PORT:      "open TCP ports of an address, and a few of UDP",
	modelv1.ScanType_SCAN_TYPE_SERVICE:   "what speaks on a port, its version, and whether anybody may use it",
	modelv1.ScanType_SCAN_TYPE_TLS:       "protocols, ciphers and certificates of a TLS endpoint",
	modelv1.ScanType_SCAN_TYPE_HTTP:      "headers, technologies and exposed files of a web application",
	modelv1.ScanType_SCAN_TYPE_VULN:      "known weaknesses of a web application, by nuclei where the operator installed it",
}

// Scan runs one scan type on one target now, for internal tools. Nothing but the evidence is stored.
func (s *Service) Scan(ctx context.Context, req *scannerv1.ScanRequest) (*scannerv1.ScanResponse, error) {
	p, ok := authn.FromContext(ctx)
	if !ok || p.Tenant == "" {
		return nil, fault.New(fault.PermissionDenied, "the caller belongs to no tenant")
	}
	job, err := jobOf(p.Tenant, req)
	if err != nil {
		return nil, err
	}
	if s.probes[job.GetScanType()] == nil {
		return nil, fault.WithField(fault.New(fault.Invalid, "this scanner does not do %s", job.GetScanType()), "scan_type", "ask ListScanTypes")
	}
	permitted, err := s.inScope(ctx, job)
	if err != nil {
		return nil, err
	}
	if !permitted.allowed {
		return nil, fault.WithField(fault.New(fault.FailedPrecondition, "%s", permitted.reason), "target", permitted.reason)
	}
	result, err := s.scan(ctx, job)
	if err != nil {
		return nil, err
	}
	return &scannerv1.ScanResponse{Result: result}, nil
}

func jobOf(tenant string, req *scannerv1.ScanRequest) (*modelv1.ScanJob, error) {
	t, err := target.Parse(req.GetTarget())
	if err != nil {
		return nil, fault.WithField(err, "target", err.Error())
	}
	out := &modelv1.Target{Kind: modelv1.AssetKind(t.Kind), Value: t.Value, Port: uint32(t.Port)}
	switch t.Kind {
	case target.IP:
		out.Address = t.Value
	case target.CIDR:
		return nil, fault.WithField(fault.New(fault.Invalid, "scan %s: one scan has one target; start an assessment for a range", t.Value), "target", "name one host or address")
	default:
		out.Host = t.Value
	}
	if out.GetPort() != 0 {
		out.Transport = modelv1.Transport_TRANSPORT_TCP
	}
	out.Tls = strings.HasPrefix(t.URL, "https://") || out.GetPort() == 443
	ports := req.GetPorts()
	if ports != "" {
		if _, err := portlist.Parse(ports); err != nil {
			return nil, fault.WithField(err, "ports", err.Error())
		}
	} else if out.GetPort() != 0 {
		ports = strconv.Itoa(int(out.GetPort()))
	}
	return &modelv1.ScanJob{
		Id: "direct", Tenant: tenant, ScanType: req.GetScanType(), Target: out, Seed: t.Value,
		Options: &modelv1.ScanOptions{Profile: req.GetProfile(), Ports: ports, Budget: durationpb.New(probes.DefaultBudget)},
	}, nil
}

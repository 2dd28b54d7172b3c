package scheduler

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	scannerv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/scanner/v1"
	schedulerv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/scheduler/v1"
	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// The queues of the scan types.
var queues = map[modelv1.ScanType]string{
	modelv1.ScanType_SCAN_TYPE_DNS:       "scan-dns",
	modelv1.ScanType_SCAN_TYPE_SUBDOMAIN: "scan-subdomain",
	modelv1.ScanType_SCAN_TYPE_PORT:      "scan-port",
	modelv1.ScanType_SCAN_TYPE_SERVICE:   "scan-service",
	modelv1.ScanType_SCAN_TYPE_TLS:       "scan-tls",
	modelv1.ScanType_SCAN_TYPE_HTTP:      "scan-http",
	modelv1.ScanType_SCAN_TYPE_VULN:      "scan-vuln",
	modelv1.ScanType_SCAN_TYPE_CLOUD:     "scan-cloud",
	modelv1.ScanType_SCAN_TYPE_INTEL:     "scan-intel",
}

// scanQueues are the queues of all scan types.
func scanQueues() []string { return slices.Sorted(maps.Values(queues)) }

// typeSet is a set of scan types.
type typeSet map[modelv1.ScanType]bool

func setOf(types ...modelv1.ScanType) typeSet {
	out := typeSet{}
	for _, t := range types {
		out[t] = true
	}
	return out
}

func (s typeSet) list() []modelv1.ScanType { return slices.Sorted(maps.Keys(s)) }

// passiveTypes ask third parties, resolvers or the provider and send nothing to a target. cloud is among them: it asks the
// provider about an account whose owner gave us a role.
var passiveTypes = setOf(
	modelv1.ScanType_SCAN_TYPE_DNS, modelv1.ScanType_SCAN_TYPE_SUBDOMAIN, modelv1.ScanType_SCAN_TYPE_INTEL, modelv1.ScanType_SCAN_TYPE_CLOUD,
)

// quickTypes leave out what takes minutes: the search for names and the engine for known flaws.
var quickTypes = setOf(
	modelv1.ScanType_SCAN_TYPE_DNS, modelv1.ScanType_SCAN_TYPE_PORT, modelv1.ScanType_SCAN_TYPE_SERVICE, modelv1.ScanType_SCAN_TYPE_TLS,
	modelv1.ScanType_SCAN_TYPE_HTTP, modelv1.ScanType_SCAN_TYPE_INTEL, modelv1.ScanType_SCAN_TYPE_CLOUD,
)

// ofProfile says whether a profile runs a scan type.
func ofProfile(p modelv1.Profile, t modelv1.ScanType) bool {
	switch p {
	case modelv1.Profile_PROFILE_PASSIVE:
		return passiveTypes[t]
	case modelv1.Profile_PROFILE_QUICK:
		return quickTypes[t]
	}
	return true
}

// needAddresses are the scan types that look at addresses: a name has to be resolved for them.
var needAddresses = setOf(
	modelv1.ScanType_SCAN_TYPE_PORT, modelv1.ScanType_SCAN_TYPE_SERVICE, modelv1.ScanType_SCAN_TYPE_TLS, modelv1.ScanType_SCAN_TYPE_HTTP,
	modelv1.ScanType_SCAN_TYPE_VULN, modelv1.ScanType_SCAN_TYPE_INTEL,
)

// runTypes decides which scan types an assessment runs: those that were asked for, or of the profile, as far as there are
// scanners for them; and dns wherever addresses are needed. What was asked for by name and cannot be done is an error, because
// leaving it out would look like having found nothing.
func runTypes(p modelv1.Profile, asked []modelv1.ScanType, available typeSet) ([]modelv1.ScanType, error) {
	out := typeSet{}
	for t := range available {
		if len(asked) == 0 && ofProfile(p, t) {
			out[t] = true
		}
	}
	for _, t := range asked {
		switch {
		case !available[t]:
			return nil, fault.WithField(fault.New(fault.Invalid, "%s cannot run: %s", scanTypeText(t), missing(t, available)), "scan_types", "leave "+scanTypeText(t)+" out")
		case p == modelv1.Profile_PROFILE_PASSIVE && !passiveTypes[t]:
			return nil, fault.WithField(fault.New(fault.Invalid, "%s sends packets to the target, which the passive profile does not; choose quick or standard", scanTypeText(t)), "scan_types", "choose another profile")
		}
		out[t] = true
	}
	for t := range out {
		if needAddresses[t] && available[modelv1.ScanType_SCAN_TYPE_DNS] {
			out[modelv1.ScanType_SCAN_TYPE_DNS] = true
			break
		}
	}
	return out.list(), nil
}

func missing(t modelv1.ScanType, available typeSet) string {
	if t == modelv1.ScanType_SCAN_TYPE_VULN {
		return "the operator has not set RISKPROFILER_NUCLEI, or no scanner for it is installed"
	}
	var have []string
	for _, t := range available.list() {
		have = append(have, scanTypeText(t))
	}
	return "this platform has scanners for " + strings.Join(have, ", ")
}

// typesFor is how long an answer of the scanner counts: what it can do changes with a deployment.
const typesFor = time.Minute

// scanners remembers what the scanner can do.
type scanners struct {
	mu    sync.Mutex
	types typeSet
	until time.Time
}

// available are the scan types that have a scanner here, less vuln where the operator has not installed its engine. A job for
// any other type would wait in its queue until the step times out. While the scanner does not answer, what it said last counts.
func (s *Service) available(ctx context.Context) (typeSet, error) {
	known, fresh := s.scanners.get(time.Now())
	if fresh {
		return known, nil
	}
	res, err := s.scanner.ListScanTypes(ctx, &scannerv1.ListScanTypesRequest{})
	if err != nil && known != nil {
		return known, nil
	}
	if err != nil {
		return nil, err
	}
	types := typeSet{}
	for _, info := range res.GetScanTypes() {
		if t := info.GetScanType(); queues[t] != "" && (t != modelv1.ScanType_SCAN_TYPE_VULN || s.nuclei) {
			types[t] = true
		}
	}
	s.scanners.set(types, time.Now())
	return types, nil
}

func (s *scanners) get(now time.Time) (types typeSet, fresh bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.types, s.types != nil && now.Before(s.until)
}

func (s *scanners) set(types typeSet, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.types, s.until = types, now.Add(typesFor)
}

// typesOf are the scan types of an assessment.
func typesOf(a *schedulerv1.Assessment) typeSet { return setOf(a.GetRunTypes()...) }

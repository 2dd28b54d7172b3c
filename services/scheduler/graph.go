package scheduler

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"hash/fnv"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	schedulerv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/scheduler/v1"
	"github.com/riskprofiler/riskprofiler/platform/portlist"
)

// Bounds of what one seed can grow to, whatever its targets say.
const (
	maxJobs  = 20000
	maxHosts = 100
	// maxListedPorts is how many ports are looked at one by one when no port scan narrows them down.
	maxListedPorts = 100
	// lanes is how many jobs of one tenant and scan type run at a time: the groups of the queue.
	lanes = 64
)

// The queues of the scan types this scheduler knows.
var queues = map[modelv1.ScanType]string{
	modelv1.ScanType_SCAN_TYPE_DNS:     "scan-dns",
	modelv1.ScanType_SCAN_TYPE_PORT:    "scan-port",
	modelv1.ScanType_SCAN_TYPE_SERVICE: "scan-service",
	modelv1.ScanType_SCAN_TYPE_TLS:     "scan-tls",
	modelv1.ScanType_SCAN_TYPE_HTTP:    "scan-http",
}

func scanQueues() []string {
	out := make([]string, 0, len(queues))
	for _, q := range queues {
		out = append(out, q)
	}
	slices.Sort(out)
	return out
}

// location is a place where an earlier assessment saw something: it is looked at again even if nothing leads there now, so
// that what is gone is found to be gone.
type location struct {
	scanType modelv1.ScanType
	target   *modelv1.Target
}

// graph grows the jobs below one seed from what finished jobs found: to a fixpoint, because a job grows others only by its
// record, and bounded, because each kind of job grows only later kinds.
type graph struct {
	tenant     string
	assessment *schedulerv1.Assessment
	seed       *schedulerv1.Seed
	types      map[modelv1.ScanType]bool
	records    map[string]*modelv1.JobRecord
	jobs       []*modelv1.ScanJob
	seen       map[string]bool
	hosts      map[string]modelv1.AssetKind
}

// grow returns all jobs that are worth doing below a seed, given the records of those that are finished.
func grow(tenant string, a *schedulerv1.Assessment, seed *schedulerv1.Seed, records map[string]*modelv1.JobRecord, before []location) []*modelv1.ScanJob {
	g := &graph{
		tenant: tenant, assessment: a, seed: seed, types: scanTypes(a), records: records,
		seen: map[string]bool{}, hosts: map[string]modelv1.AssetKind{},
	}
	switch seed.GetKind() {
	case modelv1.AssetKind_ASSET_KIND_DOMAIN, modelv1.AssetKind_ASSET_KIND_HOST:
		g.growHost(seed.GetKind(), seed.GetValue(), nil)
	case modelv1.AssetKind_ASSET_KIND_IP:
		g.growAddress(seed.GetValue(), "", nil)
	case modelv1.AssetKind_ASSET_KIND_CIDR:
		g.growRange()
	}
	g.growBefore(before)
	return g.jobs
}

// scanTypes are the types to run: those asked for, or all of the profile.
func scanTypes(a *schedulerv1.Assessment) map[modelv1.ScanType]bool {
	out := map[modelv1.ScanType]bool{}
	for t := range queues {
		passive := a.GetProfile() == modelv1.Profile_PROFILE_PASSIVE && t != modelv1.ScanType_SCAN_TYPE_DNS
		asked := len(a.GetScanTypes()) == 0 || slices.Contains(a.GetScanTypes(), t)
		out[t] = asked && !passive
	}
	return out
}

func (g *graph) growHost(kind modelv1.AssetKind, host string, path []*modelv1.Discovery) {
	if _, known := g.hosts[host]; known || len(g.hosts) >= maxHosts {
		return
	}
	g.hosts[host] = kind
	// Everything about a name needs its addresses, so its DNS is looked at whenever anything is.
	record := g.job(modelv1.ScanType_SCAN_TYPE_DNS, &modelv1.Target{Kind: kind, Value: host, Host: host}, path)
	if record == nil {
		return
	}
	for _, lead := range record.GetLeads() {
		next := g.step(path, host, modelv1.ScanType_SCAN_TYPE_DNS, lead.GetRelation())
		switch t := lead.GetTarget(); t.GetKind() {
		case modelv1.AssetKind_ASSET_KIND_IP:
			g.growAddress(t.GetValue(), host, next)
		case modelv1.AssetKind_ASSET_KIND_DOMAIN, modelv1.AssetKind_ASSET_KIND_HOST:
			g.growHost(t.GetKind(), t.GetValue(), next)
		}
	}
}

func (g *graph) growRange() {
	p, err := netip.ParsePrefix(g.seed.GetValue())
	if err != nil {
		return
	}
	path := []*modelv1.Discovery{{From: g.seed.GetValue(), Relation: "range"}}
	for addr := p.Addr(); p.Contains(addr); addr = addr.Next() {
		g.growAddress(addr.String(), "", path)
	}
}

// growAddress looks at one address; host is the name that led to it, if one did: what speaks there is asked by that name.
func (g *graph) growAddress(address, host string, path []*modelv1.Discovery) {
	target := &modelv1.Target{Kind: modelv1.AssetKind_ASSET_KIND_IP, Value: address, Address: address}
	if !g.types[modelv1.ScanType_SCAN_TYPE_PORT] {
		for _, port := range g.listedPorts() {
			g.growPort(address, host, uint32(port), path)
		}
		return
	}
	record := g.job(modelv1.ScanType_SCAN_TYPE_PORT, target, path)
	next := g.step(path, address, modelv1.ScanType_SCAN_TYPE_PORT, "open port")
	for _, lead := range record.GetLeads() {
		if lead.GetTarget().GetPort() != 0 {
			g.growPort(address, host, lead.GetTarget().GetPort(), next)
		}
	}
}

// listedPorts are the ports to look at without a port scan.
func (g *graph) listedPorts() []uint16 {
	text := g.ports()
	if text == "" {
		return []uint16{80, 443}
	}
	set, err := portlist.Parse(text)
	if err != nil {
		return nil
	}
	all := set.Ports()
	return all[:min(len(all), maxListedPorts)]
}

func (g *graph) ports() string { return cmp.Or(g.seed.GetPorts(), g.assessment.GetPorts()) }

func (g *graph) growPort(address, host string, port uint32, path []*modelv1.Discovery) {
	at := &modelv1.Target{Kind: modelv1.AssetKind_ASSET_KIND_IP, Value: address, Address: address, Port: port, Transport: modelv1.Transport_TRANSPORT_TCP}
	if !g.types[modelv1.ScanType_SCAN_TYPE_SERVICE] {
		g.growWeb(host, at, []modelv1.ScanType{modelv1.ScanType_SCAN_TYPE_TLS, modelv1.ScanType_SCAN_TYPE_HTTP}, path)
		return
	}
	record := g.job(modelv1.ScanType_SCAN_TYPE_SERVICE, at, path)
	for _, lead := range record.GetLeads() {
		t := &modelv1.Target{
			Kind: at.GetKind(), Value: at.GetValue(), Address: address, Port: port, Transport: at.GetTransport(),
			Service: lead.GetTarget().GetService(), Tls: lead.GetTarget().GetTls(),
		}
		g.growWeb(host, t, lead.GetScanTypes(), path)
	}
}

// growWeb looks at TLS and HTTP of a port, by the host's name where there is one. Several addresses of a host show the same
// application: its first address is asked.
func (g *graph) growWeb(host string, t *modelv1.Target, types []modelv1.ScanType, path []*modelv1.Discovery) {
	if host != "" {
		t.Host, t.Value, t.Kind = host, host, g.hosts[host]
	}
	for _, scanType := range types {
		if scanType == modelv1.ScanType_SCAN_TYPE_TLS || scanType == modelv1.ScanType_SCAN_TYPE_HTTP {
			g.job(scanType, t, path)
		}
	}
}

func (g *graph) growBefore(before []location) {
	for _, l := range before {
		g.job(l.scanType, l.target, nil)
	}
}

// job adds a job unless one for the same place is there, and returns its record if it is finished.
func (g *graph) job(scanType modelv1.ScanType, t *modelv1.Target, path []*modelv1.Discovery) *modelv1.JobRecord {
	needed := scanType == modelv1.ScanType_SCAN_TYPE_DNS && len(g.types) > 0
	if !g.types[scanType] && !needed {
		return nil
	}
	place := scanType.String() + "|" + t.GetValue() + "|" + strconv.Itoa(int(t.GetPort()))
	jobID := jobID(g.assessment.GetName(), place)
	if !g.seen[place] && len(g.jobs) < maxJobs {
		g.seen[place] = true
		g.jobs = append(g.jobs, &modelv1.ScanJob{
			Id: jobID, Tenant: g.tenant, Assessment: g.assessment.GetName(), Seed: g.seed.GetValue(), ScanType: scanType, Target: t,
			Path: path, Options: &modelv1.ScanOptions{Profile: g.assessment.GetProfile(), Ports: g.ports(), Budget: budget(g.assessment.GetProfile(), scanType)},
		})
	}
	return g.records[jobID]
}

// jobID derives a job's id from the assessment and the place it looks at: 128 bits.
func jobID(assessment, place string) string {
	sum := sha256.Sum256([]byte(assessment + "|" + place))
	return hex.EncodeToString(sum[:16])
}

func (g *graph) step(path []*modelv1.Discovery, from string, t modelv1.ScanType, relation string) []*modelv1.Discovery {
	return append(slices.Clip(path), &modelv1.Discovery{From: from, ScanType: t, Relation: relation})
}

// budget bounds one job. A port scan may be of all ports of a host that answers slowly; what is bounded here ends with what
// it has.
func budget(p modelv1.Profile, t modelv1.ScanType) *durationpb.Duration {
	d := 20 * time.Second
	if t == modelv1.ScanType_SCAN_TYPE_PORT {
		d = time.Minute
		if p == modelv1.Profile_PROFILE_DEEP {
			d = 10 * time.Minute
		}
	} else if p == modelv1.Profile_PROFILE_DEEP {
		d = time.Minute
	}
	return durationpb.New(d)
}

// lane is the message group of a job: the tenant, and one of its lanes.
func lane(tenant, job string) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(job))
	return tenant + "#" + strconv.Itoa(int(h.Sum32()%lanes))
}

// placesBefore are the places of an asset where services, TLS or HTTP were seen before.
func placesBefore(asset *modelv1.Asset, sets []*modelv1.ObservationSet, address string) []location {
	var out []location
	for _, s := range sets {
		switch s.GetScanType() {
		case modelv1.ScanType_SCAN_TYPE_SERVICE, modelv1.ScanType_SCAN_TYPE_TLS, modelv1.ScanType_SCAN_TYPE_HTTP:
		default:
			continue
		}
		host, port, ok := splitLocation(s.GetLocation())
		if !ok || len(s.GetObservations()) == 0 {
			continue
		}
		t := &modelv1.Target{Kind: asset.GetKind(), Value: asset.GetValue(), Address: address, Port: port, Transport: modelv1.Transport_TRANSPORT_TCP}
		if asset.GetKind() != modelv1.AssetKind_ASSET_KIND_IP {
			t.Host = host
		}
		for _, o := range s.GetObservations() {
			t.Tls = t.Tls || o.GetHttp().GetTls() || o.GetTls() != nil
			t.Service = cmp.Or(o.GetTls().GetStarttls(), t.GetService())
		}
		out = append(out, location{s.GetScanType(), t})
	}
	return out
}

func splitLocation(text string) (host string, port uint32, ok bool) {
	hostPort, found := strings.CutSuffix(text, "/tcp")
	host, digits, err := net.SplitHostPort(hostPort)
	n, perr := strconv.ParseUint(digits, 10, 16)
	return host, uint32(n), found && err == nil && perr == nil
}

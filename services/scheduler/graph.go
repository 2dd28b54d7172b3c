package scheduler

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"hash/fnv"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	schedulerv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/scheduler/v1"
	"github.com/riskprofiler/riskprofiler/platform/netguard"
	"github.com/riskprofiler/riskprofiler/platform/portlist"
	"github.com/riskprofiler/riskprofiler/platform/target"
)

// Bounds of what one seed can grow to, whatever its targets say.
const (
	maxJobs = 20000
	// maxHosts is twice the leads that are kept of one result: what a search for names finds, and what its records name.
	maxHosts = 2000
	// maxListedPorts is how many ports are looked at one by one when no port scan narrows them down.
	maxListedPorts = 100
	// lanes is how many jobs of one tenant and scan type run at a time: the groups of the queue.
	lanes = 64
)

// graph grows the jobs below one seed from what finished jobs found: to a fixpoint, because a job grows others only by its
// record, and bounded, because each kind of job grows only later kinds.
type graph struct {
	tenant     string
	assessment *schedulerv1.Assessment
	seed       *schedulerv1.Seed
	types      typeSet
	records    map[string]*modelv1.JobRecord
	jobs       []*modelv1.ScanJob
	seen       map[string]bool
	hosts      map[string]modelv1.AssetKind
}

// grow returns all jobs that are worth doing below a seed, given the records of those that are finished.
func grow(tenant string, a *schedulerv1.Assessment, seed *schedulerv1.Seed, records map[string]*modelv1.JobRecord, before []location) []*modelv1.ScanJob {
	g := &graph{
		tenant: tenant, assessment: a, seed: seed, types: typesOf(a), records: records,
		seen: map[string]bool{}, hosts: map[string]modelv1.AssetKind{},
	}
	switch seed.GetKind() {
	case modelv1.AssetKind_ASSET_KIND_DOMAIN, modelv1.AssetKind_ASSET_KIND_HOST:
		g.growHost(seed.GetKind(), seed.GetValue(), nil)
	case modelv1.AssetKind_ASSET_KIND_IP:
		g.growAddress(seed.GetValue(), "", nil)
	case modelv1.AssetKind_ASSET_KIND_CIDR:
		g.growRange()
	case modelv1.AssetKind_ASSET_KIND_CLOUD_ACCOUNT:
		g.growCloud()
	}
	g.growBefore(before)
	return g.jobs
}

// growHost looks at a name: its records, what third parties know of a domain, and, of the domain that was asked for, the names
// below it. What these find grows on.
func (g *graph) growHost(kind modelv1.AssetKind, host string, path []*modelv1.Discovery) {
	if _, known := g.hosts[host]; known || len(g.hosts) >= maxHosts {
		return
	}
	g.hosts[host] = kind
	at := &modelv1.Target{Kind: kind, Value: host, Host: host}
	record := g.job(modelv1.ScanType_SCAN_TYPE_DNS, at, path)
	g.growLeads(modelv1.ScanType_SCAN_TYPE_DNS, host, record.GetLeads(), path)
	if kind != modelv1.AssetKind_ASSET_KIND_DOMAIN {
		return
	}
	if target.IsPublicName(host) {
		g.job(modelv1.ScanType_SCAN_TYPE_INTEL, at, path)
	}
	// After its records: the thousands of questions of a search would delay them.
	if host == g.seed.GetValue() && (record != nil || !g.types[modelv1.ScanType_SCAN_TYPE_DNS]) {
		leads := g.job(modelv1.ScanType_SCAN_TYPE_SUBDOMAIN, at, path).GetLeads()
		g.growLeads(modelv1.ScanType_SCAN_TYPE_SUBDOMAIN, host, leads, path)
	}
}

// growCloud looks at what a cloud account says that it exposes.
func (g *graph) growCloud() {
	account := g.seed.GetValue()
	leads := g.job(modelv1.ScanType_SCAN_TYPE_CLOUD, &modelv1.Target{Kind: g.seed.GetKind(), Value: account}, nil).GetLeads()
	g.growLeads(modelv1.ScanType_SCAN_TYPE_CLOUD, account, leads, nil)
}

// growLeads follows leads to names and addresses. An address that a name led to is looked at by that name.
func (g *graph) growLeads(t modelv1.ScanType, from string, leads []*modelv1.Lead, path []*modelv1.Discovery) {
	host := from
	if _, named := g.hosts[from]; !named {
		host = ""
	}
	for _, lead := range leads {
		next := g.step(path, from, t, lead.GetRelation())
		switch to := lead.GetTarget(); to.GetKind() {
		case modelv1.AssetKind_ASSET_KIND_IP:
			g.growAddress(to.GetValue(), host, next)
		case modelv1.AssetKind_ASSET_KIND_DOMAIN, modelv1.AssetKind_ASSET_KIND_HOST:
			g.growHost(to.GetKind(), to.GetValue(), next)
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

// public judges addresses as one that may only reach the public internet: what is private, reserved or for documentation (RFC
// 6890) means nothing to a third party.
var public = netguard.New(netguard.Options{})

// growAddress looks at one address; host is the name that led to it, if one did: what speaks there is asked by that name.
func (g *graph) growAddress(address, host string, path []*modelv1.Discovery) {
	at := &modelv1.Target{Kind: modelv1.AssetKind_ASSET_KIND_IP, Value: address, Address: address}
	if addr, err := netip.ParseAddr(address); err == nil && public.Judge(addr) == nil {
		g.job(modelv1.ScanType_SCAN_TYPE_INTEL, at, path)
	}
	if !g.types[modelv1.ScanType_SCAN_TYPE_PORT] {
		for _, port := range g.listedPorts() {
			g.growPort(address, host, uint32(port), modelv1.Transport_TRANSPORT_TCP, path)
		}
		return
	}
	record := g.job(modelv1.ScanType_SCAN_TYPE_PORT, at, path)
	next := g.step(path, address, modelv1.ScanType_SCAN_TYPE_PORT, "open port")
	for _, lead := range record.GetLeads() {
		if t := lead.GetTarget(); t.GetPort() != 0 {
			g.growPort(address, host, t.GetPort(), cmp.Or(t.GetTransport(), modelv1.Transport_TRANSPORT_TCP), next)
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

func (g *graph) growPort(address, host string, port uint32, transport modelv1.Transport, path []*modelv1.Discovery) {
	at := &modelv1.Target{Kind: modelv1.AssetKind_ASSET_KIND_IP, Value: address, Address: address, Port: port, Transport: transport}
	if !g.types[modelv1.ScanType_SCAN_TYPE_SERVICE] {
		g.growWeb(host, at, []modelv1.ScanType{modelv1.ScanType_SCAN_TYPE_TLS, modelv1.ScanType_SCAN_TYPE_HTTP}, path)
		return
	}
	record := g.job(modelv1.ScanType_SCAN_TYPE_SERVICE, at, path)
	for _, lead := range record.GetLeads() {
		t := &modelv1.Target{
			Kind: at.GetKind(), Value: at.GetValue(), Address: address, Port: port, Transport: transport,
			Service: lead.GetTarget().GetService(), Tls: lead.GetTarget().GetTls(),
		}
		g.growWeb(host, t, lead.GetScanTypes(), path)
	}
}

// growWeb looks at TLS and HTTP of a port, by the host's name where there is one. Several addresses of a host show the same
// application: its first address is asked. Both are asked over TCP only.
func (g *graph) growWeb(host string, t *modelv1.Target, types []modelv1.ScanType, path []*modelv1.Discovery) {
	if t.GetTransport() == modelv1.Transport_TRANSPORT_UDP {
		return
	}
	if host != "" {
		t.Host, t.Value, t.Kind = host, host, g.hosts[host]
	}
	for _, scanType := range types {
		switch scanType {
		case modelv1.ScanType_SCAN_TYPE_TLS:
			g.job(scanType, t, path)
		case modelv1.ScanType_SCAN_TYPE_HTTP:
			g.growFlaws(t, g.job(scanType, t, path), path)
		}
	}
}

// growFlaws looks for known flaws of a web application once it is known that there is one, with what http saw there.
func (g *graph) growFlaws(t *modelv1.Target, seen *modelv1.JobRecord, path []*modelv1.Discovery) {
	if seen.GetCoverage().GetObservationCount() == 0 {
		return
	}
	at := &modelv1.Target{
		Kind: t.GetKind(), Value: t.GetValue(), Host: t.GetHost(), Address: t.GetAddress(), Port: t.GetPort(), Transport: t.GetTransport(),
		Service: t.GetService(), Tls: t.GetTls(), Path: t.GetPath(),
	}
	for _, lead := range seen.GetLeads() {
		at.Technologies = append(at.Technologies, lead.GetTarget().GetTechnologies()...)
	}
	slices.Sort(at.Technologies)
	at.Technologies = slices.Compact(at.Technologies)
	at.Technologies = at.Technologies[:min(len(at.Technologies), maxTechnologies)]
	g.job(modelv1.ScanType_SCAN_TYPE_VULN, at, path)
}

// maxTechnologies is the limit of Target.technologies.
const maxTechnologies = 64

// job adds a job unless one for the same place is there, and returns its record if it is finished.
func (g *graph) job(scanType modelv1.ScanType, t *modelv1.Target, path []*modelv1.Discovery) *modelv1.JobRecord {
	if !g.types[scanType] {
		return nil
	}
	place := scanType.String() + "|" + t.GetValue() + "|" + strconv.Itoa(int(t.GetPort()))
	if t.GetTransport() == modelv1.Transport_TRANSPORT_UDP {
		place += "/udp"
	}
	id := jobID(g.assessment.GetName(), place)
	if !g.seen[place] && len(g.jobs) < maxJobs {
		g.seen[place] = true
		g.jobs = append(g.jobs, &modelv1.ScanJob{
			Id: id, Tenant: g.tenant, Assessment: g.assessment.GetName(), Seed: g.seed.GetValue(), ScanType: scanType, Target: t,
			Path: path, Options: &modelv1.ScanOptions{Profile: g.assessment.GetProfile(), Ports: g.ports(), Budget: budget(g.assessment.GetProfile(), scanType)},
		})
	}
	return g.records[id]
}

// jobID derives a job's id from the assessment and the place it looks at: 128 bits.
func jobID(assessment, place string) string {
	sum := sha256.Sum256([]byte(assessment + "|" + place))
	return hex.EncodeToString(sum[:16])
}

func (g *graph) step(path []*modelv1.Discovery, from string, t modelv1.ScanType, relation string) []*modelv1.Discovery {
	return append(slices.Clip(path), &modelv1.Discovery{From: from, ScanType: t, Relation: relation})
}

// budgets are how long one job may take, and in the deep profile: long enough for what a scan type waits for (a thousand ports
// of a host that drops, a word list at a resolver's pace, a provider that answers four times a minute), and short enough that
// the functions of the scanner end before they are ended. A job that is out of time ends with what it has.
var budgets = map[modelv1.ScanType][2]time.Duration{
	modelv1.ScanType_SCAN_TYPE_PORT:      {time.Minute, 10 * time.Minute},
	modelv1.ScanType_SCAN_TYPE_SUBDOMAIN: {2 * time.Minute, 4 * time.Minute},
	modelv1.ScanType_SCAN_TYPE_VULN:      {5 * time.Minute, 10 * time.Minute},
	modelv1.ScanType_SCAN_TYPE_CLOUD:     {10 * time.Minute, 10 * time.Minute},
	modelv1.ScanType_SCAN_TYPE_INTEL:     {2 * time.Minute, 2 * time.Minute},
}

func budget(p modelv1.Profile, t modelv1.ScanType) *durationpb.Duration {
	d, ok := budgets[t]
	if !ok {
		d = [2]time.Duration{20 * time.Second, time.Minute}
	}
	if p == modelv1.Profile_PROFILE_DEEP {
		return durationpb.New(d[1])
	}
	return durationpb.New(d[0])
}

// lane is the message group of a job: the tenant, and one of its lanes.
func lane(tenant, job string) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(job))
	return tenant + "#" + strconv.Itoa(int(h.Sum32()%lanes))
}

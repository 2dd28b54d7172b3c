package aws

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/together"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud/aws/query"
)

// parallelRegions is how many regions are read at a time.
const parallelRegions = 6

// inventory is what one reading of an account finds.
type inventory struct {
	*session

	mu    sync.Mutex
	found []cloud.Resource
	gaps  []cloud.Gap
	held  holdings
	// regions are those that are read.
	regions []string
}

// holdings are what the account has, for the judgements that need all of it. A kind of which a listing failed is in unread: nothing
// follows from absence there.
type holdings struct {
	addresses     map[netip.Addr]bool
	idle          map[netip.Addr]bool // reserved and attached to nothing
	balancers     map[string]bool     // by DNS name
	distributions map[string]bool
	buckets       map[string]bool
	unread        map[string]bool
	records       []record
	fronts        []front
}

// The kinds of holdings.
const (
	heldAddresses     = "addresses"
	heldBalancers     = "load balancers"
	heldDistributions = "distributions"
	heldBuckets       = "buckets"
)

func newInventory(s *session) *inventory {
	return &inventory{session: s, held: holdings{
		addresses: map[netip.Addr]bool{}, idle: map[netip.Addr]bool{}, balancers: map[string]bool{}, distributions: map[string]bool{}, buckets: map[string]bool{},
		unread: map[string]bool{},
	}}
}

// read reads everything: what has no region beside the regions.
func (in *inventory) read(ctx context.Context) {
	in.listRegions(ctx)
	var all together.Group
	for _, one := range global {
		all.Go(func() { one(ctx, in) })
	}
	turns := make(chan struct{}, parallelRegions)
	for _, region := range in.regions {
		all.Go(func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			r := &regional{inventory: in, region: region, config: in.in(region)}
			r.network(ctx) // first: the others ask it what is open
			var services together.Group
			for _, one := range regions {
				services.Go(func() { one(ctx, r) })
			}
			services.Wait()
		})
	}
	all.Wait()
}

// global are the readers of what has no region.
var global = []func(context.Context, *inventory){readRoute53, readRegistrations, readBuckets, readDistributions, readPublicRegistry}

// regions are the readers of one region.
var regions = []func(context.Context, *regional){
	readInstances, readAddresses, readNetworkACLs, readImages, readSnapshots, readBalancers, readClassicBalancers, readRestAPIs, readHTTPAPIs,
	readAPIDomains, readFunctions, readDatabases, readDatabaseCopies, readClusterCopies, readWarehouses, readSearch, readKubernetes, readRegistry,
	readQueues, readTopics, readSecrets, readLightsail, readBrokers, readKafka, readServices, readCertificates, readBuses,
}

// regional is the reading of one region.
type regional struct {
	*inventory

	region string
	config aws.Config
	groups map[string]*group
	faces  []face
}

func (r *regional) at(api string) place { return place{api, r.region} }

// anywhere is the place of a call that has no region.
func anywhere(api string) place { return place{api: api} }

// actionRegions lists the regions of the account.
const actionRegions = "ec2:DescribeRegions"

// listRegions are the regions that the account has enabled, or those of them that the operator wants.
func (in *inventory) listRegions(ctx context.Context) {
	p := anywhere(actionRegions)
	out, ok := ask(ctx, in, p, query.New(in.config, query.EC2), query.DescribeRegions, nil)
	if !ok {
		in.lacks(heldAddresses, heldBalancers)
		in.regions = in.env.Cloud.Regions
		if len(in.regions) == 0 {
			in.regions = []string{in.home}
		}
		return
	}
	for _, r := range out.Regions {
		name := r.RegionName
		if len(in.env.Cloud.Regions) > 0 && !slices.Contains(in.env.Cloud.Regions, name) {
			in.lacks(heldAddresses, heldBalancers)
			in.gap(cloud.Gap{API: p.api, Region: name, Why: cloud.GapUnwanted})
			continue
		}
		in.regions = append(in.regions, name)
	}
}

// add keeps one resource.
func (in *inventory) add(r cloud.Resource) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if len(in.found) <= cloud.MaxResources { // one more shows that there are more
		in.found = append(in.found, r)
	}
}

// hold changes the holdings.
func (in *inventory) hold(change func(*holdings)) {
	in.mu.Lock()
	defer in.mu.Unlock()
	change(&in.held)
}

func (in *inventory) lacks(kinds ...string) {
	in.hold(func(h *holdings) {
		for _, k := range kinds {
			h.unread[k] = true
		}
	})
}

func (in *inventory) gap(g cloud.Gap) {
	g.Kinds = kindsOf(g.API)
	in.mu.Lock()
	defer in.mu.Unlock()
	in.gaps = append(in.gaps, g)
}

// failed notes why a call failed. It is true where that is an answer: a region that does not have the service has nothing of it.
func (in *inventory) failed(p place, err error) bool {
	if p.region != "" && notOffered(err) {
		return true
	}
	g := cloud.Gap{API: p.api, Region: p.region, Why: gapOf(err)}
	if g.Why == failedGap {
		g.Detail = oneLine(err)
	}
	in.gap(g)
	return false
}

// arn writes the name of a resource (docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html).
func (in *inventory) arn(service, region, rest string) string {
	account := in.account
	if service == "s3" || service == "route53" {
		account = ""
	}
	return strings.Join([]string{"arn", in.name, service, region, account, rest}, ":")
}

// fact begins a fact.
func (r *regional) fact(kind, id, name string) *modelv1.CloudFact {
	return &modelv1.CloudFact{Type: kind, Id: id, Name: name, Region: r.region, Settings: map[string]string{}}
}

func yes(b bool) string {
	if b {
		return cloud.Yes
	}
	return cloud.No
}

package cloud

import (
	"context"
	"time"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
)

// Provider is one cloud. Its methods are safe for concurrent use, reach the network only through env.Guard, and keep credentials
// out of facts, gaps and errors. Nothing is read from the environment or a file before the first call.
type Provider interface {
	// Name is the word before the colon of an account: target.AWS, target.Azure or target.Google.
	Name() string
	// Inventory reads what an account (without the provider's name: "123456789012") shows to the outside and hands each resource
	// to emit, in any order but one at a time. access is how the owner lets us in; nil where an operator attested the account and
	// nobody made a role: the provider then goes in with the identity of this process alone, and refuses an account that is not its
	// own. What could not be read is a gap and never silence; the error is only for an account that could not be entered at all:
	// fault.FailedPrecondition where the provider refuses, fault.Unavailable where it does not answer. An error of emit ends the
	// reading and is returned. Inventory returns soon after ctx ends, with the gaps that this left.
	Inventory(ctx context.Context, env probes.Env, account string, access *modelv1.CloudAccess, emit func(Resource) error) ([]Gap, error)
	// ProveRole is [probes.RoleProver], with the account without the provider's name.
	ProveRole(ctx context.Context, env probes.Env, account string, access *modelv1.CloudAccess) error
}

// Resource is one resource as its provider describes it. The probe makes texts safe and bounds them: a provider hands over what it
// read.
type Resource struct {
	// Fact needs type, id and what is known of it; provider and account are filled in by the probe.
	Fact *modelv1.CloudFact
	// Dedicated says that fact.addresses are the account's own alone: of an instance, a reserved address. They become leads, and the
	// fact is filed under each of them. False for addresses that others share (a load balancer's, a content network's), which are
	// somebody else's in an hour.
	Dedicated bool
	// Names says that fact.hostnames lead to this resource from the internet. They become leads, and the fact is filed under each.
	// False for names of private zones and for those that lead elsewhere.
	Names bool
	// PlacesOnly says that the fact is filed under its addresses and names alone, such as a record's under its name. Where none of them
	// can be an asset it is filed as a resource all the same.
	PlacesOnly bool
	// Partly says that some of its settings could not be read: what was known of them stays.
	Partly bool
	// Lost are the addresses and names that a record leads to and the account does not hold, where [SettingDangling] says that. Where other
	// accounts of the tenant hold them, the probe takes the setting away.
	Lost []string
	// OfAccount says that the fact is about the account itself and is filed there, not under a resource.
	OfAccount bool
}

// Gap is one thing that could not be read: coverage is then partial, unless the operator did not want it read.
type Gap struct {
	// API is the call in the words in which the owner grants it: "cloudfront:ListDistributions",
	// "Microsoft.Network/publicIPAddresses/read", "compute.instances.list".
	API string
	// Region is where; empty for what has no region or lacks in all.
	Region string
	// Kinds are how the types of resources begin that may be missing for it, such as "ec2:". Empty: any may.
	Kinds []string
	// Why is why.
	Why GapKind
	// Detail is one clear line without secrets, for what Why does not say.
	Detail string
}

// GapKind is why something could not be read.
type GapKind int

// The reasons.
const (
	// GapFailed is any other failure: Detail says which.
	GapFailed GapKind = iota
	// GapDenied means that the role lacks the permission.
	GapDenied
	// GapThrottled means that the provider asked for fewer calls until the patience was over.
	GapThrottled
	// GapCut means that there is more than is read: a bound on pages or resources.
	GapCut
	// GapTime means that the job's time was over. Whatever was to be read then may be missing.
	GapTime
	// GapUnwanted means that the operator does not want it read. It lacks nothing, but nothing follows from absence there.
	GapUnwanted
)

// Bounds that every provider keeps. All are ours.
const (
	// MaxResources is how many resources of one account are kept.
	MaxResources = 10_000
	// MaxPages bounds the pages of one listing: with 100 to a page (the usual least) as much as MaxResources.
	MaxPages = 100
	// MaxAnswerBytes bounds one answer of a provider's API. The largest page seen in documentation (1,000 instances) is about 6 MB.
	MaxAnswerBytes = 16 << 20
	// CallTimeout bounds one call with its retries.
	CallTimeout = 45 * time.Second
	// CallsPerSecond is the pace of one job in one region: a fifth of the smallest bucket that AWS documents for listing calls of EC2
	// (docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html: 100 tokens, 10 to 20 a second), which the account's own people use too.
	CallsPerSecond = 4
)

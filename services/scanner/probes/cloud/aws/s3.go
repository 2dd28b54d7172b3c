package aws

import (
	"context"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/s3control"
	controltypes "github.com/aws/aws-sdk-go-v2/service/s3control/types"
	"google.golang.org/protobuf/types/known/timestamppb"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/together"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud/aws/policy"
)

// parallelBuckets is how many buckets are read at a time.
const parallelBuckets = 8

// block is "block public access" of a bucket or an account
// (docs.aws.amazon.com/AmazonS3/latest/userguide/access-control-block-public-access.html). Unknown where it could not be read.
type block struct {
	known                      bool
	acls, ignore, policy, keep bool
}

// state is how much of it is on.
func (b block) state() string {
	switch {
	case b.acls && b.ignore && b.policy && b.keep:
		return cloud.BlockAll
	case b.acls || b.ignore || b.policy || b.keep:
		return cloud.BlockSome
	}
	return cloud.BlockNone
}

func readBuckets(ctx context.Context, in *inventory) {
	whole := in.accountBlock(ctx)
	var buckets []types.Bucket
	client := s3.NewFromConfig(in.config)
	ok := pages(ctx, in, anywhere("s3:ListAllMyBuckets"), s3.NewListBucketsPaginator(s3ListBuckets(client.ListBuckets), &s3.ListBucketsInput{MaxBuckets: aws.Int32(1000)}),
		func(out *s3.ListBucketsOutput) { buckets = append(buckets, out.Buckets...) })
	if !ok {
		in.lacks(heldBuckets)
	}
	in.hold(func(h *holdings) {
		for _, b := range buckets {
			h.buckets[aws.ToString(b.Name)] = true
		}
	})
	all := together.Limit(parallelBuckets)
	for _, b := range buckets {
		all.Go(func() { in.bucket(ctx, b, whole) })
	}
	all.Wait()
}

// accountBlock files the account's own block.
func (in *inventory) accountBlock(ctx context.Context) block {
	out, ok := call(ctx, in, anywhere("s3:GetAccountPublicAccessBlock"), s3control.NewFromConfig(in.config).GetPublicAccessBlock,
		&s3control.GetPublicAccessBlockInput{AccountId: aws.String(in.account)}, "NoSuchPublicAccessBlockConfiguration")
	if !ok {
		return block{}
	}
	b := block{known: true}
	if out != nil && out.PublicAccessBlockConfiguration != nil {
		b = controlBlock(out.PublicAccessBlockConfiguration)
	}
	in.add(cloud.Resource{OfAccount: true, Fact: &modelv1.CloudFact{
		Type: cloud.TypeBucketAccount, Id: in.arn("s3", "", in.account), Settings: map[string]string{cloud.SettingAccessBlock: b.state()},
	}})
	return b
}

func controlBlock(c *controltypes.PublicAccessBlockConfiguration) block {
	return block{
		known: true, acls: aws.ToBool(c.BlockPublicAcls), ignore: aws.ToBool(c.IgnorePublicAcls), policy: aws.ToBool(c.BlockPublicPolicy), keep: aws.ToBool(c.RestrictPublicBuckets),
	}
}

// bucket reads one bucket in its own region.
func (in *inventory) bucket(ctx context.Context, b types.Bucket, account block) {
	name, region := aws.ToString(b.Name), aws.ToString(b.BucketRegion)
	if region == "" {
		region = in.home
	}
	client := s3.NewFromConfig(in.in(region))
	f := &modelv1.CloudFact{Type: cloud.TypeBucket, Id: in.arn("s3", "", name), Name: name, Region: region, Settings: map[string]string{}}
	if b.CreationDate != nil {
		f.Created = timestamppb.New(*b.CreationDate)
	}
	own := in.ownBlock(ctx, client, name)
	if own.known {
		f.Settings[cloud.SettingAccessBlock] = own.state()
	}
	judged, hasPolicy := in.bucketPolicy(ctx, client, name)
	if hasPolicy {
		judged.Fill(f.Settings)
	}
	grants, hasGrants := in.bucketGrants(ctx, client, name)
	website := in.website(ctx, client, name)
	f.Settings[cloud.SettingWebsite] = yes(website)
	if hasPolicy && hasGrants && own.known && account.known {
		judgeBucket(f, judged, grants, own, account)
	}
	f.Hostnames = []string{name + ".s3." + region + "." + in.suffix()}
	if website {
		f.Hostnames = append(f.Hostnames, name+"."+websiteHost(region, in.suffix()))
	}
	in.add(cloud.Resource{Fact: f, Names: f.GetPublic()})
}

// suffix is the domain of the partition's interfaces.
func (s *session) suffix() string {
	if s.partition == china {
		return "amazonaws.com.cn"
	}
	return "amazonaws.com"
}

// dashed are the regions whose website endpoints have a dash before the region, and not a dot
// (docs.aws.amazon.com/general/latest/gr/s3.html#s3_website_region_endpoints).
var dashed = []string{
	"us-east-1", "us-west-1", "us-west-2", "ap-southeast-1", "ap-southeast-2", "ap-northeast-1", "eu-west-1", "sa-east-1", "us-gov-west-1",
}

func websiteHost(region, suffix string) string {
	if slices.Contains(dashed, region) {
		return "s3-website-" + region + "." + suffix
	}
	return "s3-website." + region + "." + suffix
}

// judgeBucket says what anybody may do, after the blocks of bucket and account.
func judgeBucket(f *modelv1.CloudFact, judged policy.Verdict, g grants, own, account block) {
	if own.keep || account.keep {
		judged.Actions = nil
	}
	if own.ignore || account.ignore {
		g = grants{}
	}
	read := judged.Permits("s3:GetObject")
	list := judged.Permits("s3:ListBucket") || g.read
	write := judged.Permits("s3:PutObject") || judged.Permits("s3:DeleteObject") || judged.Permits("s3:PutBucketPolicy") || g.write
	f.Settings[cloud.SettingPublicRead], f.Settings[cloud.SettingPublicList], f.Settings[cloud.SettingPublicWrite] = yes(read), yes(list), yes(write)
	var may []string
	for _, one := range []struct {
		may  bool
		what string
	}{{write, "write"}, {list, "list"}, {read, "read"}} {
		if one.may {
			may = append(may, one.what)
		}
	}
	if f.Public = len(may) > 0 || len(judged.Actions) > 0; f.GetPublic() {
		f.PublicReason = "its policy or its access list lets anybody " + strings.Join(may, ", ")
		if len(may) == 0 {
			f.PublicReason = "its policy lets anybody do " + strings.Join(judged.Actions, ", ")
		}
	}
}

func (in *inventory) ownBlock(ctx context.Context, client *s3.Client, name string) block {
	out, ok := call(ctx, in, anywhere("s3:GetBucketPublicAccessBlock"), client.GetPublicAccessBlock, &s3.GetPublicAccessBlockInput{Bucket: aws.String(name)},
		"NoSuchPublicAccessBlockConfiguration")
	if !ok {
		return block{}
	}
	if out == nil || out.PublicAccessBlockConfiguration == nil {
		return block{known: true}
	}
	c := out.PublicAccessBlockConfiguration
	return block{
		known: true, acls: aws.ToBool(c.BlockPublicAcls), ignore: aws.ToBool(c.IgnorePublicAcls), policy: aws.ToBool(c.BlockPublicPolicy), keep: aws.ToBool(c.RestrictPublicBuckets),
	}
}

// bucketPolicy judges the bucket's policy; where it lets anybody in, S3's own word decides.
func (in *inventory) bucketPolicy(ctx context.Context, client *s3.Client, name string) (policy.Verdict, bool) {
	out, ok := call(ctx, in, anywhere("s3:GetBucketPolicy"), client.GetBucketPolicy, &s3.GetBucketPolicyInput{Bucket: aws.String(name)}, "NoSuchBucketPolicy")
	if !ok {
		return policy.Verdict{}, false
	}
	if out == nil {
		return policy.Verdict{State: cloud.PolicyNone}, true
	}
	v, err := policy.Judge(aws.ToString(out.Policy))
	if err != nil {
		in.gap(cloud.Gap{API: "s3:GetBucketPolicy", Why: failedGap, Detail: err.Error()})
		return policy.Verdict{}, false
	}
	if v.State != cloud.PolicyPublic {
		return v, true
	}
	status, ok := call(ctx, in, anywhere("s3:GetBucketPolicyStatus"), client.GetBucketPolicyStatus, &s3.GetBucketPolicyStatusInput{Bucket: aws.String(name)}, "NoSuchBucketPolicy")
	if ok && status != nil && status.PolicyStatus != nil && !aws.ToBool(status.PolicyStatus.IsPublic) {
		return policy.Verdict{State: cloud.PolicyRestricted}, true
	}
	return v, true
}

// grants are what an access list permits to anybody, or to anybody with an account of AWS.
type grants struct{ read, write bool }

// The groups that are anybody (docs.aws.amazon.com/AmazonS3/latest/userguide/acl-overview.html#specifying-grantee-predefined-groups).
const (
	allUsers           = "http://acs.amazonaws.com/groups/global/AllUsers"
	authenticatedUsers = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers"
)

func (in *inventory) bucketGrants(ctx context.Context, client *s3.Client, name string) (grants, bool) {
	out, ok := call(ctx, in, anywhere("s3:GetBucketAcl"), client.GetBucketAcl, &s3.GetBucketAclInput{Bucket: aws.String(name)})
	if !ok || out == nil {
		return grants{}, false
	}
	var g grants
	for _, one := range out.Grants {
		if one.Grantee == nil || aws.ToString(one.Grantee.URI) != allUsers && aws.ToString(one.Grantee.URI) != authenticatedUsers {
			continue
		}
		switch one.Permission {
		case types.PermissionFullControl:
			g.read, g.write = true, true
		case types.PermissionRead:
			g.read = true
		case types.PermissionWrite, types.PermissionWriteAcp:
			g.write = true
		}
	}
	return g, true
}

func (in *inventory) website(ctx context.Context, client *s3.Client, name string) bool {
	out, _ := call(ctx, in, anywhere("s3:GetBucketWebsite"), client.GetBucketWebsite, &s3.GetBucketWebsiteInput{Bucket: aws.String(name)}, "NoSuchWebsiteConfiguration")
	return out != nil
}

package aws

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/netip"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/ranges"
)

// front is a distribution with the buckets behind it.
type front struct {
	fact    *modelv1.CloudFact
	buckets []origin
}

// origin is a bucket behind a distribution, with the region in its name, if it has one.
type origin struct{ bucket, region string }

// join makes the judgements that take the whole account, once all of it was read.
func (in *inventory) join(ctx context.Context) {
	for _, d := range in.held.fronts {
		for _, o := range d.buckets {
			if in.ghost(ctx, o) {
				d.fact.Settings[cloud.SettingGhostOrigin] = o.bucket
			}
		}
		in.add(cloud.Resource{Fact: d.fact, Names: true})
	}
	for _, r := range in.held.records {
		f := &modelv1.CloudFact{
			Type: cloud.TypeRecord, Id: r.id, Name: r.name, PointsTo: r.values, Hostnames: []string{r.name},
			Settings: map[string]string{cloud.SettingKind: r.kind},
		}
		why, lost := in.held.dangling(r)
		if why == "" {
			why = in.danglingBucket(ctx, r)
		}
		if why != "" {
			f.Settings[cloud.SettingDangling] = why
		}
		in.add(cloud.Resource{Fact: f, Names: true, PlacesOnly: true, Lost: lost})
	}
}

// dangling says why what a record points to is not the account's, or "": it is, or it is somebody else's affair, or it is not known. lost
// are the places that another account may hold; that one of them is the account's own and idle is certain, and counts first.
func (h *holdings) dangling(r record) (why string, lost []string) {
	for _, v := range r.values {
		v = strings.TrimPrefix(v, dualStack)
		switch one := h.lost(v); one {
		case "":
		case cloud.DanglingIdleAddress:
			return one, nil
		default:
			why = cmp.Or(why, one)
			lost = append(lost, v)
		}
	}
	return why, lost
}

// dualStack is what the names of load balancers begin with in records that lead to both of their addresses.
const dualStack = "dualstack."

func (h *holdings) lost(value string) string {
	if addr, err := netip.ParseAddr(value); err == nil {
		if h.idle[addr] {
			return cloud.DanglingIdleAddress
		}
		// An address of a range that AWS hands out to its customers: whoever gets it next answers for this name.
		if !h.unread[heldAddresses] && ranges.Of(addr).Cloud == rangesName && ranges.Of(addr).CDN == "" && !h.addresses[addr] {
			return cloud.DanglingAddress
		}
		return ""
	}
	switch {
	case isBalancer(value):
		if !h.unread[heldBalancers] && !h.balancers[value] {
			return cloud.DanglingLoadBalancer
		}
	case strings.HasSuffix(value, ".cloudfront.net"):
		if !h.unread[heldDistributions] && !h.distributions[value] {
			return cloud.DanglingDistribution
		}
	}
	return ""
}

// danglingBucket says whether the website that a record points to is lost. The bucket of a website has the record's name
// (docs.aws.amazon.com/AmazonS3/latest/userguide/website-hosting-custom-domain-walkthrough.html).
func (in *inventory) danglingBucket(ctx context.Context, r record) string {
	for _, v := range r.values {
		region := websiteRegion(v)
		if region == "" || in.held.buckets[r.name] || in.held.unread[heldBuckets] {
			continue
		}
		switch in.bucketThere(ctx, origin{r.name, region}) {
		case bucketMissing:
			return cloud.DanglingBucket
		case bucketThere:
			return cloud.DanglingBucketElsewhere
		}
	}
	return ""
}

// ghost says whether a bucket does not exist at all: whoever makes it serves what it likes through the distribution. S3 is asked, since
// a bucket that the account has not may be somebody else's with whom it was agreed. What cannot be known is no ghost.
func (in *inventory) ghost(ctx context.Context, o origin) bool {
	return !in.held.buckets[o.bucket] && in.bucketThere(ctx, o) == bucketMissing
}

// presence is whether a bucket exists.
type presence int

const (
	bucketUnknown presence = iota
	bucketThere
	bucketMissing
)

// bucketThere asks S3 whether a bucket exists: 404 says that it does not, 403 that it is another's, 301 that it is elsewhere
// (docs.aws.amazon.com/AmazonS3/latest/API/API_HeadBucket.html).
func (in *inventory) bucketThere(ctx context.Context, o origin) presence {
	region := o.region
	if region == "" {
		region = in.home
	}
	ctx, cancel := context.WithTimeout(ctx, cloud.CallTimeout)
	defer cancel()
	_, err := s3.NewFromConfig(in.in(region)).HeadBucket(ctx, &s3.HeadBucketInput{Bucket: aws.String(o.bucket)})
	if err == nil {
		return bucketThere
	}
	var response *awshttp.ResponseError
	if errors.As(err, &response) {
		switch response.HTTPStatusCode() {
		case http.StatusNotFound:
			return bucketMissing
		case http.StatusForbidden, http.StatusMovedPermanently, http.StatusBadRequest:
			return bucketThere
		}
	}
	in.failed(anywhere("s3:ListBucket"), err)
	return bucketUnknown
}

// rangesName is what package ranges calls AWS.
const rangesName = "aws"

// isBalancer tells the names of load balancers: name-number.region.elb.amazonaws.com, and elb.region for those of type network.
func isBalancer(name string) bool {
	return strings.HasSuffix(name, ".elb.amazonaws.com") || strings.HasSuffix(name, ".amazonaws.com") && strings.Contains(name, ".elb.") ||
		strings.HasSuffix(name, ".elb.amazonaws.com.cn")
}

// websiteRegion is the region of a website endpoint of S3, "" for other names.
func websiteRegion(name string) string {
	for _, suffix := range []string{".amazonaws.com", ".amazonaws.com.cn"} {
		rest, ok := strings.CutSuffix(name, suffix)
		if !ok {
			continue
		}
		if at := strings.LastIndex(rest, "s3-website"); at >= 0 {
			return strings.TrimLeft(rest[at+len("s3-website"):], "-.")
		}
	}
	return ""
}

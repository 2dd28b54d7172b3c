package aws

import (
	"net/netip"
	"strings"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/ranges"
)

// origin is a bucket behind a distribution.
type origin struct{ distribution, bucket string }

// join makes the judgements that take the whole account, once all of it was read.
func (in *inventory) join() {
	for _, r := range in.held.records {
		f := &modelv1.CloudFact{
			Type: cloud.TypeRecord, Id: r.id, Name: r.name, PointsTo: r.values, Hostnames: []string{r.name},
			Settings: map[string]string{cloud.SettingKind: r.kind},
		}
		if why := in.held.dangling(r); why != "" {
			f.Settings[cloud.SettingDangling] = why
		}
		in.add(cloud.Resource{Fact: f, Names: true, PlacesOnly: true})
	}
}

// dangling says why what a record points to is not the account's, or "": it is, or it is somebody else's affair, or it is not known.
func (h *holdings) dangling(r record) string {
	for _, v := range r.values {
		if why := h.lost(r, v); why != "" {
			return why
		}
	}
	return ""
}

func (h *holdings) lost(r record, value string) string {
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
		if !h.unread[heldBalancers] && !h.balancers[strings.TrimPrefix(value, "dualstack.")] {
			return cloud.DanglingLoadBalancer
		}
	case strings.HasSuffix(value, ".cloudfront.net"):
		if !h.unread[heldDistributions] && !h.distributions[value] {
			return cloud.DanglingDistribution
		}
	case websiteRegion(value) != "":
		// The bucket of a website has the record's name: docs.aws.amazon.com/AmazonS3/latest/userguide/website-hosting-custom-domain-walkthrough.html
		if !h.unread[heldBuckets] && !h.buckets[r.name] {
			return cloud.DanglingBucket
		}
	}
	return ""
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

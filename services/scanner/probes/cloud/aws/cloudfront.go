package aws

import (
	"context"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudfront"
	"github.com/aws/aws-sdk-go-v2/service/cloudfront/types"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud"
)

// readDistributions reads the distributions of the content network. They are kept until the buckets are known.
func readDistributions(ctx context.Context, in *inventory) {
	client := cloudfront.NewFromConfig(in.config)
	whole := pages(ctx, in, anywhere("cloudfront:ListDistributions"), cloudfront.NewListDistributionsPaginator(cloudfrontListDistributions(client.ListDistributions), &cloudfront.ListDistributionsInput{}),
		func(out *cloudfront.ListDistributionsOutput) {
			if out.DistributionList == nil {
				return
			}
			for _, d := range out.DistributionList.Items {
				in.distribution(d)
			}
		})
	if !whole {
		in.lacks(heldDistributions)
	}
}

func (in *inventory) distribution(d types.DistributionSummary) {
	own := strings.ToLower(aws.ToString(d.DomainName))
	in.hold(func(h *holdings) { h.distributions[own] = true })
	f := &modelv1.CloudFact{
		Type: cloud.TypeDistribution, Id: aws.ToString(d.ARN), Name: aws.ToString(d.Id), Hostnames: []string{own},
		Settings: map[string]string{cloud.SettingWebACL: orNone(lastOf(aws.ToString(d.WebACLId)))},
	}
	if f.GetId() == "" {
		f.Id = in.arn("cloudfront", "", "distribution/"+f.GetName())
	}
	if d.Aliases != nil {
		for _, a := range d.Aliases.Items {
			f.Hostnames = append(f.Hostnames, strings.ToLower(a))
		}
	}
	if f.Public = aws.ToBool(d.Enabled); f.GetPublic() {
		f.PublicReason = "it is enabled"
	}
	f.Settings[cloud.SettingState] = map[bool]string{true: "enabled", false: "disabled"}[f.GetPublic()]
	plain := d.DefaultCacheBehavior != nil && d.DefaultCacheBehavior.ViewerProtocolPolicy == types.ViewerProtocolPolicyAllowAll
	if d.CacheBehaviors != nil {
		for _, b := range d.CacheBehaviors.Items {
			plain = plain || b.ViewerProtocolPolicy == types.ViewerProtocolPolicyAllowAll
		}
	}
	f.Settings[cloud.SettingPlainHTTP] = yes(plain)
	// Under the network's own certificate the oldest protocol cannot be chosen
	// (docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/DownloadDistValuesGeneral.html#DownloadDistValues-security-policy).
	if c := d.ViewerCertificate; c != nil && !aws.ToBool(c.CloudFrontDefaultCertificate) {
		if tls := distributionTLS(string(c.MinimumProtocolVersion)); tls != "" {
			f.Settings[cloud.SettingMinimumTLS] = tls
		}
	}
	var buckets []origin
	if d.Origins != nil {
		for _, o := range d.Origins.Items {
			name := strings.ToLower(aws.ToString(o.DomainName))
			f.PointsTo = append(f.PointsTo, name)
			if bucket := bucketOf(name); bucket != "" {
				buckets = append(buckets, origin{bucket, regionOfBucket(name)})
			}
		}
	}
	in.hold(func(h *holdings) { h.fronts = append(h.fronts, front{f, buckets}) })
}

// distributionTLS reads the name of a security policy of CloudFront: "TLSv1.2_2021".
func distributionTLS(policy string) string {
	version, _, _ := strings.Cut(policy, "_")
	return map[string]string{"SSLv3": cloud.TLSSSL3, "TLSv1": cloud.TLS10, "TLSv1.1": cloud.TLS11, "TLSv1.2": cloud.TLS12, "TLSv1.3": cloud.TLS13}[version]
}

// lastOf is the name of a web ACL in its ARN (".../global/webacl/NAME/ID") or its old id.
func lastOf(arn string) string {
	if parts := strings.Split(arn, "/"); len(parts) >= 4 {
		return parts[len(parts)-2]
	}
	return arn
}

// bucketOf is the bucket in the name of an interface or website of S3: bucket.s3.amazonaws.com, bucket.s3.REGION.amazonaws.com,
// bucket.s3-REGION.amazonaws.com, bucket.s3-website-REGION.amazonaws.com, bucket.s3-website.REGION.amazonaws.com; "" for other names
// (docs.aws.amazon.com/AmazonS3/latest/userguide/VirtualHosting.html). Names of access points are other names.
func bucketOf(name string) string {
	rest, ok := strings.CutSuffix(name, ".amazonaws.com")
	if !ok {
		if rest, ok = strings.CutSuffix(name, ".amazonaws.com.cn"); !ok {
			return ""
		}
	}
	at := strings.LastIndex(rest, ".s3")
	if at <= 0 {
		return ""
	}
	switch after := rest[at+len(".s3"):]; {
	case after == "", after[0] == '.', after[0] == '-' && !strings.HasPrefix(after, "-accesspoint") && !strings.HasPrefix(after, "-object-lambda"):
		return rest[:at]
	}
	return ""
}

// regionOfBucket is the region in such a name; "" where it has none.
func regionOfBucket(name string) string {
	rest := strings.TrimSuffix(strings.TrimSuffix(name, ".cn"), ".amazonaws.com")
	after := rest[strings.LastIndex(rest, ".s3")+len(".s3"):]
	after = strings.TrimPrefix(strings.TrimPrefix(after, "-website"), ".dualstack")
	region := strings.TrimLeft(after, ".-")
	if strings.Count(region, "-") < 2 || strings.Contains(region, ".") {
		return ""
	}
	return region
}

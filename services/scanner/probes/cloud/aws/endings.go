package aws

import (
	"context"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/acm"
	acmtypes "github.com/aws/aws-sdk-go-v2/service/acm/types"
	"github.com/aws/aws-sdk-go-v2/service/route53domains"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud"
)

// registrarRegion is the only one in which Route 53 Domains is asked (docs.aws.amazon.com/general/latest/gr/r53.html).
const registrarRegion = "us-east-1"

// readRegistrations reads the domains that are registered through the account.
func readRegistrations(ctx context.Context, in *inventory) {
	if in.partition != commercial {
		return
	}
	pages(ctx, in, place{"route53domains:ListDomains", registrarRegion},
		route53domains.NewListDomainsPaginator(route53domainsListDomains(route53domains.NewFromConfig(in.in(registrarRegion)).ListDomains), &route53domains.ListDomainsInput{MaxItems: aws.Int32(100)}),
		func(out *route53domains.ListDomainsOutput) {
			for _, d := range out.Domains {
				name := strings.ToLower(aws.ToString(d.DomainName))
				in.add(cloud.Resource{Names: true, Fact: &modelv1.CloudFact{
					Type: cloud.TypeRegistration, Id: in.arn("route53domains", "", "domain/"+name), Name: name, Hostnames: []string{name}, Expires: stamp(d.Expiry),
					Settings: map[string]string{cloud.SettingTransferLock: yes(aws.ToBool(d.TransferLock)), cloud.SettingAutoRenew: yes(aws.ToBool(d.AutoRenew))},
				}})
			}
		})
}

// readCertificates reads the certificates that were issued and may be in use.
func readCertificates(ctx context.Context, r *regional) {
	client := acm.NewFromConfig(r.config)
	input := &acm.ListCertificatesInput{
		MaxItems: aws.Int32(500), CertificateStatuses: []acmtypes.CertificateStatus{acmtypes.CertificateStatusIssued, acmtypes.CertificateStatusExpired},
		// Without a filter only RSA 2048 is listed (docs.aws.amazon.com/acm/latest/APIReference/API_Filters.html).
		Includes: &acmtypes.Filters{KeyTypes: acmtypes.KeyAlgorithm("").Values()},
	}
	var all []acmtypes.CertificateSummary
	pages(ctx, r.inventory, r.at("acm:ListCertificates"), acm.NewListCertificatesPaginator(acmListCertificates(client.ListCertificates), input),
		func(out *acm.ListCertificatesOutput) { all = append(all, out.CertificateSummaryList...) })
	each(all, func(c acmtypes.CertificateSummary) {
		if !aws.ToBool(c.InUse) {
			return
		}
		f := r.fact(cloud.TypeCertificate, aws.ToString(c.CertificateArn), strings.ToLower(aws.ToString(c.DomainName)))
		f.Created, f.Expires = stamp(c.CreatedAt), stamp(c.NotAfter)
		f.Settings[cloud.SettingInUse], f.Settings[cloud.SettingRenewal] = cloud.Yes, string(c.RenewalEligibility)
		out, ok := call(ctx, r.inventory, r.at("acm:DescribeCertificate"), client.DescribeCertificate, &acm.DescribeCertificateInput{CertificateArn: c.CertificateArn}, absent)
		if ok && out != nil && out.Certificate != nil && out.Certificate.RenewalSummary != nil {
			f.Settings[cloud.SettingRenewal] = string(out.Certificate.RenewalSummary.RenewalStatus)
		}
		r.add(cloud.Resource{Fact: f, Partly: !ok})
	})
}

// lastPart is what follows the last colon of an ARN.
func lastPart(arn string) string { return arn[strings.LastIndexByte(arn, ':')+1:] }

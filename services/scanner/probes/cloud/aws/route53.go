package aws

import (
	"context"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/route53/types"

	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud/aws/names"
)

// record is one record set of a public zone.
type record struct {
	zone, name, kind, id string
	values               []string
	alias                bool
}

// recordPage is the largest page (docs.aws.amazon.com/Route53/latest/APIReference/API_ListResourceRecordSets.html).
const recordPage = 300

// readRoute53 reads the public zones and their records of addresses and aliases.
func readRoute53(ctx context.Context, in *inventory) {
	client := route53.NewFromConfig(in.config)
	var zones []types.HostedZone
	pages(ctx, in, anywhere("route53:ListHostedZones"), route53.NewListHostedZonesPaginator(route53ListHostedZones(client.ListHostedZones), &route53.ListHostedZonesInput{}),
		func(out *route53.ListHostedZonesOutput) { zones = append(zones, out.HostedZones...) })
	for _, z := range zones {
		if z.Config != nil && z.Config.PrivateZone {
			continue
		}
		in.zone(ctx, client, z)
	}
}

func (in *inventory) zone(ctx context.Context, client *route53.Client, z types.HostedZone) {
	input := &route53.ListResourceRecordSetsInput{HostedZoneId: z.Id, MaxItems: aws.Int32(recordPage)}
	p := anywhere("route53:ListResourceRecordSets")
	for n := 0; ; n++ {
		if n == cloud.MaxPages {
			in.gap(cloud.Gap{API: p.api, Why: cloud.GapCut, Detail: names.Domain(aws.ToString(z.Name))})
			return
		}
		out, ok := call(ctx, in, p, client.ListResourceRecordSets, input)
		if !ok || out == nil {
			return
		}
		for _, set := range out.ResourceRecordSets {
			in.record(aws.ToString(z.Id), set)
		}
		if !out.IsTruncated {
			return
		}
		input.StartRecordName, input.StartRecordType, input.StartRecordIdentifier = out.NextRecordName, out.NextRecordType, out.NextRecordIdentifier
	}
}

// record keeps a record for the judgement at the end.
func (in *inventory) record(zone string, set types.ResourceRecordSet) {
	switch set.Type {
	case types.RRTypeA, types.RRTypeAaaa, types.RRTypeCname:
	default:
		return
	}
	r := record{zone: strings.TrimPrefix(zone, "/hostedzone/"), name: names.Domain(aws.ToString(set.Name)), kind: string(set.Type)}
	r.id = in.arn("route53", "", "hostedzone/"+r.zone+"/"+r.name+"/"+r.kind)
	if id := aws.ToString(set.SetIdentifier); id != "" {
		r.id += "/" + id
	}
	for _, v := range set.ResourceRecords {
		r.values = append(r.values, names.Domain(aws.ToString(v.Value)))
	}
	if set.AliasTarget != nil {
		r.alias = true
		r.values = append(r.values, names.Domain(aws.ToString(set.AliasTarget.DNSName)))
	}
	in.hold(func(h *holdings) {
		if len(h.records) <= cloud.MaxResources {
			h.records = append(h.records, r)
		}
	})
}

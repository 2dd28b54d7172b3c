package aws

import (
	"context"
	"fmt"
	"net/netip"
	"net/url"
	"slices"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud/aws/query"
)

// readImages reads the account's images that are for everybody.
func readImages(ctx context.Context, r *regional) {
	input := url.Values{"Owner.1": {"self"}, "Filter.1.Name": {"is-public"}, "Filter.1.Value.1": {"true"}, "MaxResults": {"500"}}
	list(ctx, r.inventory, r.at("ec2:DescribeImages"), query.List(query.New(r.config, query.EC2), query.DescribeImages, input), func(out *query.Images) {
		for _, i := range out.Images {
			if i.Public {
				r.copyForAll(cloud.TypeImage, r.arn("ec2", r.region, "image/"+i.ImageID), i.Name, "", false)
			}
		}
	})
}

// readSnapshots reads the account's snapshots of volumes that are for everybody.
func readSnapshots(ctx context.Context, r *regional) {
	input := url.Values{"Owner.1": {"self"}, "RestorableBy.1": {everybody}, "MaxResults": {"500"}}
	list(ctx, r.inventory, r.at("ec2:DescribeSnapshots"), query.List(query.New(r.config, query.EC2), query.DescribeSnapshots, input), func(out *query.Snapshots) {
		for _, s := range out.Snapshots {
			r.copyForAll(cloud.TypeSnapshot, r.arn("ec2", r.region, "snapshot/"+s.SnapshotID), ec2Tags(s.Tags)["Name"], "", bool(s.Encrypted))
		}
	})
}

// readNetworkACLs reads the access lists of networks that admit the internet to every port, where something with a public address is
// behind them.
func readNetworkACLs(ctx context.Context, r *regional) {
	exposed := map[string]int{}
	for _, f := range r.faces {
		exposed[f.subnet]++
	}
	list(ctx, r.inventory, r.at("ec2:DescribeNetworkAcls"), query.List(query.New(r.config, query.EC2), query.DescribeNetworkACLs, most), func(out *query.NetworkACLs) {
		for _, a := range out.NetworkACLs {
			r.networkACL(a, exposed)
		}
	})
}

func (r *regional) networkACL(a query.NetworkACL, exposed map[string]int) {
	behind := 0
	for _, s := range a.Associations {
		behind += exposed[s.SubnetID]
	}
	open := openEntries(a.NetworkACLID, a.Entries)
	if len(open) == 0 || behind == 0 {
		return
	}
	tags := ec2Tags(a.Tags)
	f := r.fact(cloud.TypeNetworkACL, r.arn("ec2", r.region, "network-acl/"+a.NetworkACLID), tags["Name"])
	f.Tags, f.Ingress = tags, open
	f.Settings[cloud.SettingAttachedPublic], f.Settings[cloud.SettingDefault] = cloud.Yes, yes(bool(a.IsDefault))
	f.Public, f.PublicReason = true, fmt.Sprintf("it admits the internet to every port, and %d interfaces with public addresses are behind it", behind)
	r.add(cloud.Resource{Fact: f})
}

// openEntries are the rules that admit the whole internet to every port, as far as no rule before them refuses it: the lowest number
// counts (docs.aws.amazon.com/vpc/latest/userguide/nacl-rules.html).
func openEntries(acl string, entries []query.NetworkACLEntry) []*modelv1.CloudIngress {
	entries = slices.DeleteFunc(slices.Clone(entries), func(e query.NetworkACLEntry) bool { return bool(e.Egress) })
	slices.SortFunc(entries, func(a, b query.NetworkACLEntry) int {
		return int(a.RuleNumber) - int(b.RuleNumber)
	})
	var out []*modelv1.CloudIngress
	refused := map[bool]bool{} // by whether it is IPv4
	for _, e := range entries {
		source := e.CidrBlock + e.IPv6CidrBlock
		p, err := netip.ParsePrefix(source)
		if err != nil || !wholeInternet(source) || refused[p.Addr().Is4()] {
			continue
		}
		rule := &modelv1.CloudIngress{Protocol: protocol(e.Protocol), Source: source, Rule: acl, ToPort: highestPort}
		if e.PortRange != nil {
			rule.FromPort, rule.ToPort = portsOf(rule.GetProtocol(), e.PortRange.From, e.PortRange.To)
		}
		every := rule.GetProtocol() == "all" || rule.GetProtocol() != "icmp" && rule.GetFromPort() <= 1 && rule.GetToPort() == highestPort
		switch {
		case e.RuleAction == query.ActionDeny && rule.GetProtocol() == "all":
			refused[p.Addr().Is4()] = true
		case e.RuleAction == query.ActionAllow && every:
			out = append(out, rule)
		}
	}
	return out
}

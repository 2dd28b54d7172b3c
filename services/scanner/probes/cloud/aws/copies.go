package aws

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud"
)

// readImages reads the account's images that are for everybody.
func readImages(ctx context.Context, r *regional) {
	pages(ctx, r.inventory, r.at("ec2:DescribeImages"), ec2.NewDescribeImagesPaginator(ec2DescribeImages(ec2.NewFromConfig(r.config).DescribeImages), &ec2.DescribeImagesInput{
		Owners: []string{"self"}, Filters: []types.Filter{{Name: aws.String("is-public"), Values: []string{"true"}}}, MaxResults: aws.Int32(500),
	}), func(out *ec2.DescribeImagesOutput) {
		for _, i := range out.Images {
			if aws.ToBool(i.Public) {
				r.copyForAll(cloud.TypeImage, r.arn("ec2", r.region, "image/"+aws.ToString(i.ImageId)), aws.ToString(i.Name), "", false)
			}
		}
	})
}

// readSnapshots reads the account's snapshots of volumes that are for everybody.
func readSnapshots(ctx context.Context, r *regional) {
	pages(ctx, r.inventory, r.at("ec2:DescribeSnapshots"), ec2.NewDescribeSnapshotsPaginator(ec2DescribeSnapshots(ec2.NewFromConfig(r.config).DescribeSnapshots), &ec2.DescribeSnapshotsInput{
		OwnerIds: []string{"self"}, RestorableByUserIds: []string{everybody}, MaxResults: aws.Int32(500),
	}), func(out *ec2.DescribeSnapshotsOutput) {
		for _, s := range out.Snapshots {
			r.copyForAll(cloud.TypeSnapshot, r.arn("ec2", r.region, "snapshot/"+aws.ToString(s.SnapshotId)), ec2Tags(s.Tags)["Name"], "", aws.ToBool(s.Encrypted))
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
	pages(ctx, r.inventory, r.at("ec2:DescribeNetworkAcls"), ec2.NewDescribeNetworkAclsPaginator(ec2DescribeNetworkAcls(ec2.NewFromConfig(r.config).DescribeNetworkAcls), &ec2.DescribeNetworkAclsInput{MaxResults: aws.Int32(500)}),
		func(out *ec2.DescribeNetworkAclsOutput) {
			for _, a := range out.NetworkAcls {
				r.networkACL(a, exposed)
			}
		})
}

func (r *regional) networkACL(a types.NetworkAcl, exposed map[string]int) {
	behind := 0
	for _, s := range a.Associations {
		behind += exposed[aws.ToString(s.SubnetId)]
	}
	open := openEntries(aws.ToString(a.NetworkAclId), a.Entries)
	if len(open) == 0 || behind == 0 {
		return
	}
	tags := ec2Tags(a.Tags)
	f := r.fact(cloud.TypeNetworkACL, r.arn("ec2", r.region, "network-acl/"+aws.ToString(a.NetworkAclId)), tags["Name"])
	f.Tags, f.Ingress = tags, open
	f.Settings[cloud.SettingAttachedPublic], f.Settings[cloud.SettingDefault] = cloud.Yes, yes(aws.ToBool(a.IsDefault))
	f.Public, f.PublicReason = true, fmt.Sprintf("it admits the internet to every port, and %d interfaces with public addresses are behind it", behind)
	r.add(cloud.Resource{Fact: f})
}

// openEntries are the rules that admit the whole internet to every port, as far as no rule before them refuses it: the lowest number
// counts (docs.aws.amazon.com/vpc/latest/userguide/nacl-rules.html).
func openEntries(acl string, entries []types.NetworkAclEntry) []*modelv1.CloudIngress {
	entries = slices.DeleteFunc(slices.Clone(entries), func(e types.NetworkAclEntry) bool { return aws.ToBool(e.Egress) })
	slices.SortFunc(entries, func(a, b types.NetworkAclEntry) int {
		return int(aws.ToInt32(a.RuleNumber)) - int(aws.ToInt32(b.RuleNumber))
	})
	var out []*modelv1.CloudIngress
	refused := map[bool]bool{} // by whether it is IPv4
	for _, e := range entries {
		source := aws.ToString(e.CidrBlock) + aws.ToString(e.Ipv6CidrBlock)
		p, err := netip.ParsePrefix(source)
		if err != nil || !wholeInternet(source) || refused[p.Addr().Is4()] {
			continue
		}
		rule := &modelv1.CloudIngress{Protocol: protocol(aws.ToString(e.Protocol)), Source: source, Rule: acl, ToPort: highestPort}
		if e.PortRange != nil {
			rule.FromPort, rule.ToPort = portsOf(rule.GetProtocol(), e.PortRange.From, e.PortRange.To)
		}
		every := rule.GetProtocol() == "all" || rule.GetProtocol() != "icmp" && rule.GetFromPort() <= 1 && rule.GetToPort() == highestPort
		switch {
		case e.RuleAction == types.RuleActionDeny && rule.GetProtocol() == "all":
			refused[p.Addr().Is4()] = true
		case e.RuleAction == types.RuleActionAllow && every:
			out = append(out, rule)
		}
	}
	return out
}

package aws

import (
	"context"
	"net/netip"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud"
)

// readInstances reads the machines that have an address of the internet, and files what else has one.
func readInstances(ctx context.Context, r *regional) {
	byInstance := map[string][]face{}
	for _, f := range r.faces {
		byInstance[f.instance] = append(byInstance[f.instance], f)
	}
	seen := map[string]bool{}
	pages(ctx, r.inventory, r.at("ec2:DescribeInstances"), ec2.NewDescribeInstancesPaginator(ec2DescribeInstances(ec2.NewFromConfig(r.config).DescribeInstances), &ec2.DescribeInstancesInput{MaxResults: aws.Int32(500)}),
		func(out *ec2.DescribeInstancesOutput) {
			for _, reservation := range out.Reservations {
				for _, i := range reservation.Instances {
					seen[aws.ToString(i.InstanceId)] = true
					r.instance(i, byInstance[aws.ToString(i.InstanceId)])
				}
			}
		})
	for instance, faces := range byInstance {
		for _, f := range faces {
			if instance == "" || !seen[instance] {
				r.lone(f)
			}
		}
	}
}

// instance files a machine, by its own word and that of its interfaces.
func (r *regional) instance(i types.Instance, faces []face) {
	var addresses []netip.Addr
	var groups []string
	add := func(text *string) {
		if addr, err := netip.ParseAddr(aws.ToString(text)); err == nil && !slices.Contains(addresses, addr) {
			addresses = append(addresses, addr)
		}
	}
	add(i.PublicIpAddress)
	add(i.Ipv6Address)
	for _, f := range faces {
		for _, a := range f.addresses {
			add(aws.String(a.String()))
		}
		groups = append(groups, f.groups...)
	}
	if len(addresses) == 0 {
		return
	}
	for _, g := range i.SecurityGroups {
		groups = append(groups, aws.ToString(g.GroupId))
	}
	slices.Sort(groups)
	tags := ec2Tags(i.Tags)
	f := r.fact(cloud.TypeInstance, r.arn("ec2", r.region, "instance/"+aws.ToString(i.InstanceId)), tags["Name"])
	f.Tags = tags
	for _, a := range addresses {
		f.Addresses = append(f.Addresses, a.String())
	}
	if name := aws.ToString(i.PublicDnsName); name != "" {
		f.Hostnames = []string{name}
	}
	if i.LaunchTime != nil {
		f.Created = timestamppb.New(*i.LaunchTime)
	}
	f.Settings[cloud.SettingState] = state(i.State)
	f.Settings[cloud.SettingInstanceProfile] = cloud.None
	if i.IamInstanceProfile != nil {
		f.Settings[cloud.SettingInstanceProfile] = aws.ToString(i.IamInstanceProfile.Arn)
	}
	if m := i.MetadataOptions; m != nil {
		f.Settings[cloud.SettingMetadata] = cloud.MetadataV1
		if m.HttpTokens == types.HttpTokensStateRequired || m.HttpEndpoint == types.InstanceMetadataEndpointStateDisabled {
			f.Settings[cloud.SettingMetadata] = cloud.MetadataV2
		}
	}
	if f.Public = r.judgeOpen(f, slices.Compact(groups)); f.GetPublic() {
		f.PublicReason = "it has a public address, and its security groups admit the internet to " + rules(f.GetIngress())
	}
	r.hold(func(h *holdings) {
		for _, a := range addresses {
			h.addresses[a] = true
		}
	})
	r.add(cloud.Resource{Fact: f, Dedicated: true})
}

func state(s *types.InstanceState) string {
	if s == nil {
		return ""
	}
	return string(s.Name)
}

// shared are kinds of interfaces, and those who asked for them, behind which stands a service with several customers or addresses of
// its own choosing: they are the account's now and not for long (docs.aws.amazon.com/AWSEC2/latest/UserGuide/requester-managed-eni.html).
func (f face) shared() bool {
	return f.requester != "" && f.kind != string(types.NetworkInterfaceTypeNatGateway)
}

// lone files an interface with an address of the internet that no machine has: a NAT gateway's, a database's, a container's, a load
// balancer's.
func (r *regional) lone(face face) {
	f := r.fact(cloud.TypeInterface, r.arn("ec2", r.region, "network-interface/"+face.id), face.about)
	for _, a := range face.addresses {
		f.Addresses = append(f.Addresses, a.String())
	}
	f.Settings[cloud.SettingKind] = face.kind
	if f.Public = r.judgeOpen(f, face.groups); f.GetPublic() {
		f.PublicReason = "it has a public address, and its security groups admit the internet to " + rules(f.GetIngress())
	}
	r.add(cloud.Resource{Fact: f, Dedicated: !face.shared()})
}

// readAddresses reads the addresses that the account reserved.
func readAddresses(ctx context.Context, r *regional) {
	out, ok := call(ctx, r.inventory, r.at("ec2:DescribeAddresses"), ec2.NewFromConfig(r.config).DescribeAddresses, &ec2.DescribeAddressesInput{})
	if !ok {
		r.lacks(heldAddresses)
	}
	if out == nil {
		return
	}
	for _, a := range out.Addresses {
		addr, err := netip.ParseAddr(aws.ToString(a.PublicIp))
		if err != nil {
			continue
		}
		r.hold(func(h *holdings) { h.addresses[addr] = true })
		tags := ec2Tags(a.Tags)
		f := r.fact(cloud.TypeElasticIP, r.arn("ec2", r.region, "elastic-ip/"+aws.ToString(a.AllocationId)), tags["Name"])
		f.Tags, f.Addresses = tags, []string{addr.String()}
		attached := aws.ToString(a.AssociationId)+aws.ToString(a.NetworkInterfaceId)+aws.ToString(a.InstanceId) != ""
		f.Settings[cloud.SettingAttached] = yes(attached)
		if !attached {
			r.hold(func(h *holdings) { h.idle[addr] = true })
		}
		for _, to := range []*string{a.InstanceId, a.NetworkInterfaceId} {
			if aws.ToString(to) != "" {
				f.PointsTo = append(f.PointsTo, *to)
			}
		}
		r.add(cloud.Resource{Fact: f, Dedicated: attached})
	}
}

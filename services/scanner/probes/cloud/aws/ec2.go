package aws

import (
	"context"
	"net/netip"
	"slices"

	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud/aws/query"
)

// readInstances reads the machines that have an address of the internet, and files what else has one.
func readInstances(ctx context.Context, r *regional) {
	byInstance := map[string][]face{}
	for _, f := range r.faces {
		byInstance[f.instance] = append(byInstance[f.instance], f)
	}
	seen := map[string]bool{}
	list(ctx, r.inventory, r.at("ec2:DescribeInstances"), query.List(query.New(r.config, query.EC2), query.DescribeInstances, most), func(out *query.Reservations) {
		for _, reservation := range out.Reservations {
			for _, i := range reservation.Instances {
				seen[i.InstanceID] = true
				r.instance(i, byInstance[i.InstanceID])
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
func (r *regional) instance(i query.Instance, faces []face) {
	var addresses []netip.Addr
	var groups []string
	add := func(text string) {
		if addr, err := netip.ParseAddr(text); err == nil && !slices.Contains(addresses, addr) {
			addresses = append(addresses, addr)
		}
	}
	add(i.PublicIPAddress)
	add(i.IPv6Address)
	for _, f := range faces {
		for _, a := range f.addresses {
			add(a.String())
		}
		groups = append(groups, f.groups...)
	}
	if len(addresses) == 0 {
		return
	}
	for _, g := range i.SecurityGroups {
		groups = append(groups, g.GroupID)
	}
	slices.Sort(groups)
	tags := ec2Tags(i.Tags)
	f := r.fact(cloud.TypeInstance, r.arn("ec2", r.region, "instance/"+i.InstanceID), tags["Name"])
	f.Tags = tags
	for _, a := range addresses {
		f.Addresses = append(f.Addresses, a.String())
	}
	if i.PublicDNSName != "" {
		f.Hostnames = []string{i.PublicDNSName}
	}
	f.Created = stamp(&i.LaunchTime.Time)
	f.Settings[cloud.SettingState] = i.State.Name
	f.Settings[cloud.SettingInstanceProfile] = cloud.None
	if i.IamInstanceProfile != nil {
		f.Settings[cloud.SettingInstanceProfile] = i.IamInstanceProfile.Arn
	}
	if m := i.MetadataOptions; m != nil {
		f.Settings[cloud.SettingMetadata] = cloud.MetadataV1
		if m.HTTPTokens == query.TokensRequired || m.HTTPEndpoint == query.EndpointDisabled {
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

// shared are kinds of interfaces, and those who asked for them, behind which stands a service with several customers or addresses of
// its own choosing: they are the account's now and not for long (docs.aws.amazon.com/AWSEC2/latest/UserGuide/requester-managed-eni.html).
func (f face) shared() bool {
	return f.requester != "" && f.kind != query.InterfaceOfGateway
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
	out, ok := ask(ctx, r.inventory, r.at("ec2:DescribeAddresses"), query.New(r.config, query.EC2), query.DescribeAddresses, nil)
	if !ok {
		r.lacks(heldAddresses)
	}
	if out == nil {
		return
	}
	for _, a := range out.Addresses {
		addr, err := netip.ParseAddr(a.PublicIP)
		if err != nil {
			continue
		}
		r.hold(func(h *holdings) { h.addresses[addr] = true })
		tags := ec2Tags(a.Tags)
		f := r.fact(cloud.TypeElasticIP, r.arn("ec2", r.region, "elastic-ip/"+a.AllocationID), tags["Name"])
		f.Tags, f.Addresses = tags, []string{addr.String()}
		attached := a.AssociationID+a.NetworkInterfaceID+a.InstanceID != ""
		f.Settings[cloud.SettingAttached] = yes(attached)
		if !attached {
			r.hold(func(h *holdings) { h.idle[addr] = true })
		}
		for _, to := range []string{a.InstanceID, a.NetworkInterfaceID} {
			if to != "" {
				f.PointsTo = append(f.PointsTo, to)
			}
		}
		r.add(cloud.Resource{Fact: f, Dedicated: attached})
	}
}

package aws

import (
	"context"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud/aws/query"
)

// group is one security group: what it admits from the whole internet.
type group struct {
	id, name, about, network string
	tags                     map[string]string
	open                     []*modelv1.CloudIngress
}

// face is one network interface with an address of the internet.
type face struct {
	id, instance, kind, about, requester, subnet string
	addresses                                    []netip.Addr
	groups                                       []string
}

// most is how much of a listing of EC2 is asked for at a time
// (docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeNetworkInterfaces.html, MaxResults).
var most = url.Values{"MaxResults": {"500"}}

// network reads the security groups and the interfaces of a region, by which the rest is judged.
func (r *regional) network(ctx context.Context) {
	client := query.New(r.config, query.EC2)
	r.groups = map[string]*group{}
	list(ctx, r.inventory, r.at("ec2:DescribeSecurityGroups"), query.List(client, query.DescribeSecurityGroups, most), func(out *query.SecurityGroups) {
		for _, g := range out.SecurityGroups {
			r.groups[g.GroupID] = &group{
				id: g.GroupID, name: g.GroupName, about: g.Description, network: g.VPCID, tags: ec2Tags(g.Tags), open: openRules(g.GroupID, g.IPPermissions),
			}
		}
	})
	whole := list(ctx, r.inventory, r.at("ec2:DescribeNetworkInterfaces"), query.List(client, query.DescribeNetworkInterfaces, most), func(out *query.NetworkInterfaces) {
		for _, n := range out.NetworkInterfaces {
			r.face(n)
		}
	})
	if !whole {
		r.lacks(heldAddresses)
	}
	r.openGroups()
}

// face keeps an interface if the internet can reach it.
func (r *regional) face(n query.NetworkInterface) {
	f := face{
		id: n.NetworkInterfaceID, kind: n.InterfaceType, about: n.Description, requester: n.RequesterID, subnet: n.SubnetID,
		instance: n.Attachment.InstanceID,
	}
	for _, g := range n.Groups {
		f.groups = append(f.groups, g.GroupID)
	}
	add := func(text string) {
		if addr, err := netip.ParseAddr(text); err == nil && !slices.Contains(f.addresses, addr) {
			f.addresses = append(f.addresses, addr)
		}
	}
	add(n.Association.PublicIP)
	for _, p := range n.PrivateIPAddresses {
		add(p.Association.PublicIP)
	}
	for _, p := range n.IPv6Addresses {
		add(p.IPv6Address)
	}
	if len(f.addresses) == 0 {
		return
	}
	r.faces = append(r.faces, f)
	r.hold(func(h *holdings) {
		for _, a := range f.addresses {
			h.addresses[a] = true
		}
	})
}

// openGroups files the security groups that admit the whole internet.
func (r *regional) openGroups() {
	for _, g := range r.groups {
		if len(g.open) == 0 {
			continue
		}
		f := r.fact(cloud.TypeSecurityGroup, r.arn("ec2", r.region, "security-group/"+g.id), g.name)
		f.Tags, f.Ingress = g.tags, g.open
		behind := 0
		for _, face := range r.faces {
			if slices.Contains(face.groups, g.id) {
				behind++
				f.PointsTo = append(f.PointsTo, face.id)
			}
		}
		f.Settings[cloud.SettingAttachedPublic] = yes(behind > 0)
		if f.Public = behind > 0; f.GetPublic() {
			f.PublicReason = fmt.Sprintf("it admits the internet to %s, and %d interfaces with public addresses have it", rules(g.open), behind)
		}
		r.add(cloud.Resource{Fact: f})
	}
}

// openTo are the rules by which the internet reaches something with these security groups. The answer is not known where the groups
// could not be read.
func (r *regional) openTo(groups []string) (rules []*modelv1.CloudIngress, known bool) {
	known = true
	for _, id := range groups {
		g := r.groups[id]
		if g == nil {
			known = false
			continue
		}
		rules = append(rules, g.open...)
	}
	return rules, known || len(rules) > 0
}

// judgeOpen fills in what the security groups say.
func (r *regional) judgeOpen(f *modelv1.CloudFact, groups []string) (open bool) {
	f.Ingress, _ = r.openTo(groups)
	_, known := r.openTo(groups)
	if known {
		f.Settings[cloud.SettingOpenToWorld] = yes(len(f.GetIngress()) > 0)
	}
	return len(f.GetIngress()) > 0
}

// openRules are the inbound rules that admit the whole internet.
func openRules(group string, permissions []query.IPPermission) []*modelv1.CloudIngress {
	var out []*modelv1.CloudIngress
	for _, p := range permissions {
		var sources []string
		for _, x := range p.IPRanges {
			sources = append(sources, x.CidrIP)
		}
		for _, x := range p.IPv6Ranges {
			sources = append(sources, x.CidrIPv6)
		}
		for _, s := range sources {
			if !wholeInternet(s) {
				continue
			}
			rule := &modelv1.CloudIngress{Protocol: protocol(p.IPProtocol), Source: s, Rule: group}
			rule.FromPort, rule.ToPort = portsOf(rule.GetProtocol(), p.FromPort, p.ToPort)
			out = append(out, rule)
		}
	}
	return out
}

// widest is the longest prefix that counts as the whole internet: halves are written to get around those who look for /0.
const widest = 1

// wholeInternet says whether a range is all of IPv4 or IPv6, or half.
func wholeInternet(cidr string) bool {
	p, err := netip.ParsePrefix(cidr)
	return err == nil && p.Bits() <= widest
}

// protocol writes a protocol as rules name it: a number, a name, or -1 for all
// (docs.aws.amazon.com/AWSEC2/latest/APIReference/API_IpPermission.html).
func protocol(text string) string {
	switch text {
	case "-1":
		return "all"
	case "1", "58", "icmpv6":
		return "icmp"
	case "6":
		return "tcp"
	case "17":
		return "udp"
	}
	return strings.ToLower(text)
}

const highestPort = 65535

// portsOf is the range of ports of a rule; all of them for protocols without ports, and none for ICMP, whose "ports" are types.
func portsOf[I ~int32](protocol string, from, to *I) (first, last uint32) {
	switch protocol {
	case "icmp":
		return 0, 0
	case "tcp", "udp":
		if from != nil && to != nil && *from >= 0 && *to >= *from && *to <= highestPort {
			return uint32(*from), uint32(*to)
		}
	}
	return 0, highestPort
}

// rules writes rules for people: "tcp 22, tcp 8000-8100 and 3 more".
func rules(list []*modelv1.CloudIngress) string {
	const shown = 3
	var out []string
	for _, r := range list {
		text := r.GetProtocol()
		switch {
		case r.GetProtocol() == "all" || r.GetFromPort() == 0 && r.GetToPort() == highestPort:
			text += " (every port)"
		case r.GetProtocol() == "icmp":
		case r.GetFromPort() == r.GetToPort():
			text += fmt.Sprintf(" %d", r.GetFromPort())
		default:
			text += fmt.Sprintf(" %d-%d", r.GetFromPort(), r.GetToPort())
		}
		if !slices.Contains(out, text) {
			out = append(out, text)
		}
	}
	if len(out) > shown {
		return fmt.Sprintf("%s and %d more", strings.Join(out[:shown], ", "), len(out)-shown)
	}
	return strings.Join(out, ", ")
}

func ec2Tags(tags []query.Tag) map[string]string {
	out := map[string]string{}
	for _, t := range tags {
		out[t.Key] = t.Value
	}
	return out
}

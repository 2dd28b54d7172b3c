package aws

import (
	"context"
	"net/netip"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lightsail"
	"github.com/aws/aws-sdk-go-v2/service/lightsail/types"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud"
)

// readLightsail reads Lightsail, which not every region has (its interface does not exist there).
func readLightsail(ctx context.Context, r *regional) {
	client := lightsail.NewFromConfig(r.config)
	whole := listing(ctx, r, "lightsail:GetInstances", client.GetInstances, &lightsail.GetInstancesInput{}, func(in *lightsail.GetInstancesInput, out *lightsail.GetInstancesOutput) bool {
		for _, i := range out.Instances {
			r.lightsailInstance(i)
		}
		in.PageToken = out.NextPageToken
		return aws.ToString(in.PageToken) != ""
	})
	addresses := listing(ctx, r, "lightsail:GetStaticIps", client.GetStaticIps, &lightsail.GetStaticIpsInput{}, func(in *lightsail.GetStaticIpsInput, out *lightsail.GetStaticIpsOutput) bool {
		for _, a := range out.StaticIps {
			r.holdText(aws.ToString(a.IpAddress))
		}
		in.PageToken = out.NextPageToken
		return aws.ToString(in.PageToken) != ""
	})
	if !whole || !addresses {
		r.lacks(heldAddresses)
	}
	listing(ctx, r, "lightsail:GetRelationalDatabases", client.GetRelationalDatabases, &lightsail.GetRelationalDatabasesInput{},
		func(in *lightsail.GetRelationalDatabasesInput, out *lightsail.GetRelationalDatabasesOutput) bool {
			for _, d := range out.RelationalDatabases {
				r.lightsailDatabase(d)
			}
			in.PageToken = out.NextPageToken
			return aws.ToString(in.PageToken) != ""
		})
	balancers := listing(ctx, r, "lightsail:GetLoadBalancers", client.GetLoadBalancers, &lightsail.GetLoadBalancersInput{},
		func(in *lightsail.GetLoadBalancersInput, out *lightsail.GetLoadBalancersOutput) bool {
			for _, b := range out.LoadBalancers {
				r.lightsailBalancer(b)
			}
			in.PageToken = out.NextPageToken
			return aws.ToString(in.PageToken) != ""
		})
	if !balancers {
		r.lacks(heldBalancers)
	}
}

// listing reads pages of calls that have no paginator; next takes one and says whether there is another.
func listing[I, O, F any](ctx context.Context, r *regional, api string, do func(context.Context, *I, ...F) (*O, error), input *I, next func(*I, *O) bool) bool {
	for range cloud.MaxPages {
		out, ok := call(ctx, r.inventory, r.at(api), do, input)
		if !ok || out == nil {
			return ok
		}
		if !next(input, out) {
			return true
		}
	}
	r.gap(cloud.Gap{API: api, Region: r.region, Why: cloud.GapCut})
	return false
}

// holdText notes an address that the account has.
func (r *regional) holdText(text string) {
	if addr, err := netip.ParseAddr(text); err == nil {
		r.hold(func(h *holdings) { h.addresses[addr] = true })
	}
}

func (r *regional) lightsailInstance(i types.Instance) {
	f := r.fact(cloud.TypeLightsail, aws.ToString(i.Arn), aws.ToString(i.Name))
	f.Created = stamp(i.CreatedAt)
	for _, a := range append([]string{aws.ToString(i.PublicIpAddress)}, i.Ipv6Addresses...) {
		if a != "" {
			f.Addresses = append(f.Addresses, a)
			r.holdText(a)
		}
	}
	if len(f.GetAddresses()) == 0 {
		return
	}
	if i.State != nil {
		f.Settings[cloud.SettingState] = aws.ToString(i.State.Name)
	}
	if i.Networking != nil {
		for _, p := range i.Networking.Ports {
			f.Ingress = append(f.Ingress, lightsailRules(p, aws.ToString(i.Name))...)
		}
		f.Settings[cloud.SettingOpenToWorld] = yes(len(f.GetIngress()) > 0)
	}
	if f.Public = len(f.GetIngress()) > 0; f.GetPublic() {
		f.PublicReason = "it has a public address, and its firewall admits the internet to " + rules(f.GetIngress())
	}
	r.add(cloud.Resource{Fact: f, Dedicated: true})
}

// lightsailRules are the rules of one opening of the firewall that admit the whole internet.
func lightsailRules(p types.InstancePortInfo, name string) []*modelv1.CloudIngress {
	var out []*modelv1.CloudIngress
	for _, source := range slices.Concat(p.Cidrs, p.Ipv6Cidrs) {
		if !wholeInternet(source) {
			continue
		}
		rule := &modelv1.CloudIngress{Protocol: protocol(strings.ToLower(string(p.Protocol))), Source: source, Rule: "firewall of " + name}
		rule.FromPort, rule.ToPort = portsOf(rule.GetProtocol(), aws.Int32(p.FromPort), aws.Int32(p.ToPort))
		out = append(out, rule)
	}
	return out
}

func (r *regional) lightsailDatabase(d types.RelationalDatabase) {
	f := r.fact(cloud.TypeLightsailData, aws.ToString(d.Arn), aws.ToString(d.Name))
	f.Created = stamp(d.CreatedAt)
	f.Settings[cloud.SettingEngine] = strings.TrimSpace(aws.ToString(d.Engine) + " " + aws.ToString(d.EngineVersion))
	open := aws.ToBool(d.PubliclyAccessible)
	f.Settings[cloud.SettingPubliclyAccessible] = yes(open)
	if d.MasterEndpoint != nil && aws.ToString(d.MasterEndpoint.Address) != "" {
		f.Hostnames = []string{strings.ToLower(*d.MasterEndpoint.Address)}
	}
	if f.Public = open; open { // such a database has no firewall of its own
		f.Settings[cloud.SettingOpenToWorld] = cloud.Yes
		f.PublicReason = "it is publicly accessible"
	}
	r.add(cloud.Resource{Fact: f, Names: open})
}

func (r *regional) lightsailBalancer(b types.LoadBalancer) {
	f := r.fact(cloud.TypeLightsailBalance, aws.ToString(b.Arn), aws.ToString(b.Name))
	name := strings.ToLower(aws.ToString(b.DnsName))
	r.hold(func(h *holdings) { h.balancers[name] = true })
	f.Created, f.Hostnames = stamp(b.CreatedAt), []string{name}
	f.Public, f.PublicReason = true, "it faces the internet"
	f.Settings[cloud.SettingPlainHTTP] = yes(!aws.ToBool(b.HttpsRedirectionEnabled))
	// "TLS-2016-08" and "TLS-FS-Res-1-2-2022-10" (docs.aws.amazon.com/lightsail/latest/userguide, TLS security policies).
	switch policy := aws.ToString(b.TlsPolicyName); {
	case strings.Contains(policy, "1-2"):
		f.Settings[cloud.SettingMinimumTLS] = cloud.TLS12
	case policy != "":
		f.Settings[cloud.SettingMinimumTLS] = cloud.TLS10
	}
	r.add(cloud.Resource{Fact: f, Names: true})
}

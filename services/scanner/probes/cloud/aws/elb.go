package aws

import (
	"context"
	"net/url"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/wafv2"
	waftypes "github.com/aws/aws-sdk-go-v2/service/wafv2/types"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud/aws/query"
)

// readBalancers reads the load balancers of types application, network and gateway.
func readBalancers(ctx context.Context, r *regional) {
	client := query.New(r.config, query.ELB)
	var all []query.LoadBalancer
	whole := list(ctx, r.inventory, r.at("elasticloadbalancing:DescribeLoadBalancers"),
		query.List(client, query.DescribeLoadBalancers, nil), func(out *query.LoadBalancers) { all = append(all, out.LoadBalancers...) })
	if !whole {
		r.lacks(heldBalancers)
	}
	r.hold(func(h *holdings) {
		for _, b := range all {
			h.balancers[strings.ToLower(b.DNSName)] = true
		}
	})
	all = slices.DeleteFunc(all, func(b query.LoadBalancer) bool { return b.Scheme != query.InternetFacing })
	var fronted map[string]string
	if slices.ContainsFunc(all, func(b query.LoadBalancer) bool { return b.Type == query.TypeApplication }) {
		fronted = r.webACLs(ctx)
	}
	each(all, func(b query.LoadBalancer) { r.balancer(ctx, client, b, fronted) })
}

func (r *regional) balancer(ctx context.Context, client *query.Client, b query.LoadBalancer, fronted map[string]string) {
	f := r.fact(cloud.TypeLoadBalancer, b.LoadBalancerArn, b.LoadBalancerName)
	f.Created, f.Hostnames = stamp(&b.CreatedTime.Time), []string{strings.ToLower(b.DNSName)}
	f.Settings[cloud.SettingScheme], f.Settings[cloud.SettingKind] = query.InternetFacing, b.Type
	open := r.judgeOpen(f, b.SecurityGroups)
	if f.Public = open || len(b.SecurityGroups) == 0; f.GetPublic() {
		f.PublicReason = "it faces the internet"
		if open {
			f.PublicReason += ", and its security groups admit it to " + rules(f.GetIngress())
		}
	}
	if b.Type == query.TypeApplication && fronted != nil {
		f.Settings[cloud.SettingWebACL] = orNone(fronted[b.LoadBalancerArn])
	}
	var listeners []query.Listener
	whole := list(ctx, r.inventory, r.at("elasticloadbalancing:DescribeListeners"),
		query.List(client, query.DescribeListeners, url.Values{"LoadBalancerArn": {b.LoadBalancerArn}}), func(out *query.Listeners) { listeners = append(listeners, out.Listeners...) })
	if whole {
		judgeListeners(f, listeners)
	}
	r.add(cloud.Resource{Fact: f, Names: true, Partly: !whole})
}

// judgeListeners says what the listeners speak: the oldest TLS of any, and whether one serves without it.
func judgeListeners(f *modelv1.CloudFact, listeners []query.Listener) {
	oldest, plain, quantum := "", false, true
	for _, l := range listeners {
		switch l.Protocol {
		case query.ProtocolHTTPS, query.ProtocolTLS:
			tls := balancerTLS(l.SslPolicy)
			if oldest == "" || tls != "" && tls < oldest {
				oldest = tls
			}
			quantum = quantum && strings.Contains(l.SslPolicy, "-PQ-")
		case query.ProtocolHTTP:
			plain = plain || !slices.ContainsFunc(l.DefaultActions, redirects)
		}
	}
	if oldest != "" {
		f.Settings[cloud.SettingMinimumTLS], f.Settings[cloud.SettingPostQuantum] = oldest, yes(quantum)
	}
	if f.GetSettings()[cloud.SettingKind] == query.TypeApplication {
		f.Settings[cloud.SettingPlainHTTP] = yes(plain)
	}
}

func redirects(a query.Action) bool {
	return a.Type == query.ActionRedirect && a.RedirectConfig.Protocol == query.ProtocolHTTPS ||
		a.Type == query.ActionFixedResponse
}

// balancerTLS is the oldest protocol of a security policy, by its name
// (docs.aws.amazon.com/elasticloadbalancing/latest/application/describe-ssl-policies.html, and .../classic/elb-security-policy-table.html);
// "" for one that is not known.
func balancerTLS(policy string) string {
	for _, one := range []struct{ part, oldest string }{
		{"TLS13-1-3", cloud.TLS13}, {"TLS13-1-2", cloud.TLS12}, {"TLS13-1-1", cloud.TLS11}, {"TLS13-1-0", cloud.TLS10}, {"TLS-1-2", cloud.TLS12}, {"FS-1-2", cloud.TLS12},
		{"TLS-1-1", cloud.TLS11}, {"FS-1-1", cloud.TLS11}, {"TLS-1-0", cloud.TLS10}, {"FS-2018", cloud.TLS10}, {"2016-08", cloud.TLS10}, {"2015-0", cloud.TLS10},
		{"2014-10", cloud.TLS10}, {"2014-01", cloud.TLSSSL3}, {"2011-08", cloud.TLSSSL3},
	} {
		if strings.HasPrefix(policy, "ELB") && strings.Contains(policy, one.part) {
			return one.oldest
		}
	}
	return ""
}

// webACLs are the rules of the web application firewall by the load balancers before which they stand; nil if that is not known.
func (r *regional) webACLs(ctx context.Context) map[string]string {
	client := wafv2.NewFromConfig(r.config)
	out := map[string]string{}
	input := &wafv2.ListWebACLsInput{Scope: waftypes.ScopeRegional, Limit: aws.Int32(100)}
	for n := 0; n < cloud.MaxPages; n++ {
		page, ok := call(ctx, r.inventory, r.at("wafv2:ListWebACLs"), client.ListWebACLs, input)
		if !ok {
			return nil
		}
		if page == nil {
			return out
		}
		for _, acl := range page.WebACLs {
			with, ok := call(ctx, r.inventory, r.at("wafv2:ListResourcesForWebACL"), client.ListResourcesForWebACL,
				&wafv2.ListResourcesForWebACLInput{WebACLArn: acl.ARN, ResourceType: waftypes.ResourceTypeApplicationLoadBalancer})
			if !ok || with == nil {
				return nil
			}
			for _, arn := range with.ResourceArns {
				out[arn] = aws.ToString(acl.Name)
			}
		}
		if input.NextMarker = page.NextMarker; aws.ToString(input.NextMarker) == "" || len(page.WebACLs) == 0 {
			return out
		}
	}
	return nil
}

// readClassicBalancers reads the load balancers of the previous generation.
func readClassicBalancers(ctx context.Context, r *regional) {
	client := query.New(r.config, query.ClassicELB)
	var all []query.ClassicBalancer
	whole := list(ctx, r.inventory, r.at("elasticloadbalancing:DescribeLoadBalancers"),
		query.List(client, query.DescribeClassicBalancers, nil), func(out *query.ClassicBalancers) { all = append(all, out.LoadBalancerDescriptions...) })
	if !whole {
		r.lacks(heldBalancers)
	}
	r.hold(func(h *holdings) {
		for _, b := range all {
			h.balancers[strings.ToLower(b.DNSName)] = true
		}
	})
	for _, b := range all {
		if b.Scheme == query.InternetFacing {
			r.classicBalancer(ctx, client, b)
		}
	}
}

func (r *regional) classicBalancer(ctx context.Context, client *query.Client, b query.ClassicBalancer) {
	name := b.LoadBalancerName
	f := r.fact(cloud.TypeClassicBalancer, r.arn("elasticloadbalancing", r.region, "loadbalancer/"+name), name)
	f.Created, f.Hostnames = stamp(&b.CreatedTime.Time), []string{strings.ToLower(b.DNSName)}
	f.Settings[cloud.SettingScheme] = query.InternetFacing
	if f.Public = r.judgeOpen(f, b.SecurityGroups); f.GetPublic() {
		f.PublicReason = "it faces the internet, and its security groups admit it to " + rules(f.GetIngress())
	}
	used := map[string]bool{}
	plain := false
	for _, l := range b.ListenerDescriptions {
		switch l.Listener.Protocol {
		case query.ProtocolHTTP:
			plain = true
		case query.ProtocolHTTPS, "SSL":
			for _, p := range l.PolicyNames {
				used[p] = true
			}
		}
	}
	f.Settings[cloud.SettingPlainHTTP] = yes(plain)
	if len(used) > 0 {
		out, ok := ask(ctx, r.inventory, r.at("elasticloadbalancing:DescribeLoadBalancerPolicies"), client, query.DescribeLoadBalancerPolicies,
			url.Values{"LoadBalancerName": {b.LoadBalancerName}})
		if ok && out != nil {
			if oldest := classicTLS(out.PolicyDescriptions, used); oldest != "" {
				f.Settings[cloud.SettingMinimumTLS] = oldest
			}
		}
	}
	r.add(cloud.Resource{Fact: f, Names: true})
}

// classicTLS is the oldest protocol that the policies in use switch on.
func classicTLS(policies []query.Policy, used map[string]bool) string {
	oldest := ""
	for _, p := range policies {
		if !used[p.PolicyName] || p.PolicyTypeName != "SSLNegotiationPolicyType" {
			continue
		}
		for _, a := range p.PolicyAttributeDescriptions {
			version := map[string]string{
				"Protocol-SSLv3": cloud.TLSSSL3, "Protocol-TLSv1": cloud.TLS10, "Protocol-TLSv1.1": cloud.TLS11, "Protocol-TLSv1.2": cloud.TLS12,
			}[a.AttributeName]
			if version != "" && a.AttributeValue == "true" && (oldest == "" || version < oldest) {
				oldest = version
			}
		}
	}
	return oldest
}

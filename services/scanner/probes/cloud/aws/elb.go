package aws

import (
	"context"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	classic "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancing"
	classictypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancing/types"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	"github.com/aws/aws-sdk-go-v2/service/wafv2"
	waftypes "github.com/aws/aws-sdk-go-v2/service/wafv2/types"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud"
)

const internetFacing = "internet-facing"

// readBalancers reads the load balancers of types application, network and gateway.
func readBalancers(ctx context.Context, r *regional) {
	client := elb.NewFromConfig(r.config)
	var all []types.LoadBalancer
	whole := pages(ctx, r.inventory, r.at("elasticloadbalancing:DescribeLoadBalancers"),
		elb.NewDescribeLoadBalancersPaginator(elbDescribeLoadBalancers(client.DescribeLoadBalancers), &elb.DescribeLoadBalancersInput{}),
		func(out *elb.DescribeLoadBalancersOutput) { all = append(all, out.LoadBalancers...) })
	if !whole {
		r.lacks(heldBalancers)
	}
	r.hold(func(h *holdings) {
		for _, b := range all {
			h.balancers[strings.ToLower(aws.ToString(b.DNSName))] = true
		}
	})
	all = slices.DeleteFunc(all, func(b types.LoadBalancer) bool { return b.Scheme != types.LoadBalancerSchemeEnumInternetFacing })
	var fronted map[string]string
	if slices.ContainsFunc(all, func(b types.LoadBalancer) bool { return b.Type == types.LoadBalancerTypeEnumApplication }) {
		fronted = r.webACLs(ctx)
	}
	each(all, func(b types.LoadBalancer) { r.balancer(ctx, client, b, fronted) })
}

func (r *regional) balancer(ctx context.Context, client *elb.Client, b types.LoadBalancer, fronted map[string]string) {
	f := r.fact(cloud.TypeLoadBalancer, aws.ToString(b.LoadBalancerArn), aws.ToString(b.LoadBalancerName))
	f.Created, f.Hostnames = stamp(b.CreatedTime), []string{strings.ToLower(aws.ToString(b.DNSName))}
	f.Settings[cloud.SettingScheme], f.Settings[cloud.SettingKind] = internetFacing, string(b.Type)
	open := r.judgeOpen(f, b.SecurityGroups)
	if f.Public = open || len(b.SecurityGroups) == 0; f.GetPublic() {
		f.PublicReason = "it faces the internet"
		if open {
			f.PublicReason += ", and its security groups admit it to " + rules(f.GetIngress())
		}
	}
	if b.Type == types.LoadBalancerTypeEnumApplication && fronted != nil {
		f.Settings[cloud.SettingWebACL] = orNone(fronted[aws.ToString(b.LoadBalancerArn)])
	}
	var listeners []types.Listener
	whole := pages(ctx, r.inventory, r.at("elasticloadbalancing:DescribeListeners"),
		elb.NewDescribeListenersPaginator(elbDescribeListeners(client.DescribeListeners), &elb.DescribeListenersInput{LoadBalancerArn: b.LoadBalancerArn}),
		func(out *elb.DescribeListenersOutput) { listeners = append(listeners, out.Listeners...) })
	if whole {
		judgeListeners(f, listeners)
	}
	r.add(cloud.Resource{Fact: f, Names: true, Partly: !whole})
}

// judgeListeners says what the listeners speak: the oldest TLS of any, and whether one serves without it.
func judgeListeners(f *modelv1.CloudFact, listeners []types.Listener) {
	oldest, plain, quantum := "", false, true
	for _, l := range listeners {
		switch l.Protocol {
		case types.ProtocolEnumHttps, types.ProtocolEnumTls:
			tls := balancerTLS(aws.ToString(l.SslPolicy))
			if oldest == "" || tls != "" && tls < oldest {
				oldest = tls
			}
			quantum = quantum && strings.Contains(aws.ToString(l.SslPolicy), "-PQ-")
		case types.ProtocolEnumHttp:
			plain = plain || !slices.ContainsFunc(l.DefaultActions, redirects)
		}
	}
	if oldest != "" {
		f.Settings[cloud.SettingMinimumTLS], f.Settings[cloud.SettingPostQuantum] = oldest, yes(quantum)
	}
	if f.GetSettings()[cloud.SettingKind] == string(types.LoadBalancerTypeEnumApplication) {
		f.Settings[cloud.SettingPlainHTTP] = yes(plain)
	}
}

func redirects(a types.Action) bool {
	return a.Type == types.ActionTypeEnumRedirect && a.RedirectConfig != nil && aws.ToString(a.RedirectConfig.Protocol) == "HTTPS" ||
		a.Type == types.ActionTypeEnumFixedResponse
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
	client := classic.NewFromConfig(r.config)
	var all []classictypes.LoadBalancerDescription
	whole := pages(ctx, r.inventory, r.at("elasticloadbalancing:DescribeLoadBalancers"),
		classic.NewDescribeLoadBalancersPaginator(classicDescribeLoadBalancers(client.DescribeLoadBalancers), &classic.DescribeLoadBalancersInput{}),
		func(out *classic.DescribeLoadBalancersOutput) { all = append(all, out.LoadBalancerDescriptions...) })
	if !whole {
		r.lacks(heldBalancers)
	}
	r.hold(func(h *holdings) {
		for _, b := range all {
			h.balancers[strings.ToLower(aws.ToString(b.DNSName))] = true
		}
	})
	for _, b := range all {
		if aws.ToString(b.Scheme) == internetFacing {
			r.classicBalancer(ctx, client, b)
		}
	}
}

func (r *regional) classicBalancer(ctx context.Context, client *classic.Client, b classictypes.LoadBalancerDescription) {
	name := aws.ToString(b.LoadBalancerName)
	f := r.fact(cloud.TypeClassicBalancer, r.arn("elasticloadbalancing", r.region, "loadbalancer/"+name), name)
	f.Created, f.Hostnames = stamp(b.CreatedTime), []string{strings.ToLower(aws.ToString(b.DNSName))}
	f.Settings[cloud.SettingScheme] = internetFacing
	if f.Public = r.judgeOpen(f, b.SecurityGroups); f.GetPublic() {
		f.PublicReason = "it faces the internet, and its security groups admit it to " + rules(f.GetIngress())
	}
	used := map[string]bool{}
	plain := false
	for _, l := range b.ListenerDescriptions {
		if l.Listener == nil {
			continue
		}
		switch aws.ToString(l.Listener.Protocol) {
		case "HTTP":
			plain = true
		case "HTTPS", "SSL":
			for _, p := range l.PolicyNames {
				used[p] = true
			}
		}
	}
	f.Settings[cloud.SettingPlainHTTP] = yes(plain)
	if len(used) > 0 {
		out, ok := call(ctx, r.inventory, r.at("elasticloadbalancing:DescribeLoadBalancerPolicies"), client.DescribeLoadBalancerPolicies,
			&classic.DescribeLoadBalancerPoliciesInput{LoadBalancerName: b.LoadBalancerName})
		if ok && out != nil {
			if oldest := classicTLS(out.PolicyDescriptions, used); oldest != "" {
				f.Settings[cloud.SettingMinimumTLS] = oldest
			}
		}
	}
	r.add(cloud.Resource{Fact: f, Names: true})
}

// classicTLS is the oldest protocol that the policies in use switch on.
func classicTLS(policies []classictypes.PolicyDescription, used map[string]bool) string {
	oldest := ""
	for _, p := range policies {
		if !used[aws.ToString(p.PolicyName)] || aws.ToString(p.PolicyTypeName) != "SSLNegotiationPolicyType" {
			continue
		}
		for _, a := range p.PolicyAttributeDescriptions {
			version := map[string]string{
				"Protocol-SSLv3": cloud.TLSSSL3, "Protocol-TLSv1": cloud.TLS10, "Protocol-TLSv1.1": cloud.TLS11, "Protocol-TLSv1.2": cloud.TLS12,
			}[aws.ToString(a.AttributeName)]
			if version != "" && aws.ToString(a.AttributeValue) == "true" && (oldest == "" || version < oldest) {
				oldest = version
			}
		}
	}
	return oldest
}

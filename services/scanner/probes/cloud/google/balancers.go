package google

import (
	"slices"
	"strings"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud/rest"
)

// forward is the front of a load balancer (compute v1, forwardingRules).
type forward struct {
	asset    *asset
	Address  string   `json:"IPAddress"`
	Protocol string   `json:"IPProtocol"`
	Range    string   `json:"portRange"`
	Ports    []string `json:"ports"`
	All      bool     `json:"allPorts"`
	Scheme   string   `json:"loadBalancingScheme"`
	Target   string   `json:"target"`
	Backend  string   `json:"backendService"`
}

func readForwarding(s *scan, a *asset) error {
	f := &forward{asset: a}
	if err := a.decode(f); err != nil {
		return err
	}
	a.Resource.Data = nil
	s.network.forwards = append(s.network.forwards, f)
	return nil
}

func (n *network) forward(f *forward) cloud.Resource {
	fact, public := f.asset.fact(), strings.HasPrefix(f.Scheme, "EXTERNAL")
	fact.Settings[cloud.SettingScheme] = "internal"
	for _, to := range []string{f.Target, f.Backend} {
		if to != "" {
			fact.PointsTo = append(fact.PointsTo, relative(to))
		}
	}
	if !public {
		return cloud.Resource{Fact: fact}
	}
	fact.Settings[cloud.SettingScheme] = "internet-facing"
	fact.Addresses = []string{f.Address}
	fact.Ingress = f.ingress()
	if p := n.proxies[relative(f.Target)]; p != nil {
		p.describe(n, fact)
	}
	open(fact, true, "its address is on the internet")
	return cloud.Resource{Fact: fact, Dedicated: true}
}

func (f *forward) ingress() []*modelv1.CloudIngress {
	protocols := []string{strings.ToLower(f.Protocol)}
	if protocols[0] == "l3_default" {
		protocols = []string{"tcp", "udp"}
	}
	texts := append(slices.Clone(f.Ports), f.Range)
	if f.All {
		texts = []string{"*"}
	}
	var spans []rest.Span
	for _, protocol := range protocols {
		for _, text := range texts {
			if first, last, ok := rest.Ports(text); ok {
				spans = append(spans, rest.Span{Protocol: protocol, First: first, Last: last, Rule: f.asset.Name})
			}
		}
	}
	return rest.Ingress(spans)
}

// proxy ends HTTP or TLS for a load balancer (compute v1, targetHttpProxies and targetHttpsProxies).
type proxy struct {
	secure bool
	Map    string `json:"urlMap"`
	Policy string `json:"sslPolicy"`
}

func readProxy(s *scan, a *asset) error {
	p := &proxy{secure: strings.HasSuffix(a.Type, "/TargetHttpsProxy")}
	if err := a.decode(p); err != nil {
		return err
	}
	if s.network.proxies == nil {
		s.network.proxies = map[string]*proxy{}
	}
	s.network.proxies[relative(a.Name)] = p
	return nil
}

// describe says how a proxy speaks. Without a policy it is TLS 1.0 and later (cloud.google.com/load-balancing/docs/ssl-policies-concepts).
func (p *proxy) describe(n *network, f *modelv1.CloudFact) {
	f.Settings[cloud.SettingPlainHTTP] = rest.YesNo(!p.secure && !n.redirects[relative(p.Map)])
	if !p.secure {
		return
	}
	if p.Policy == "" {
		f.Settings[cloud.SettingMinimumTLS] = cloud.TLS10
	} else if least := n.policies[relative(p.Policy)]; least != "" {
		f.Settings[cloud.SettingMinimumTLS] = least
	}
}

func readURLMap(s *scan, a *asset) error {
	var p struct {
		Redirect struct {
			HTTPS bool `json:"httpsRedirect"`
		} `json:"defaultUrlRedirect"`
		Rules []struct{} `json:"pathMatchers"`
	}
	if err := a.decode(&p); err != nil {
		return err
	}
	if s.network.redirects == nil {
		s.network.redirects = map[string]bool{}
	}
	s.network.redirects[relative(a.Name)] = p.Redirect.HTTPS && len(p.Rules) == 0
	return nil
}

func readPolicy(s *scan, a *asset) error {
	var p struct {
		Least string `json:"minTlsVersion"`
	}
	if err := a.decode(&p); err != nil {
		return err
	}
	if s.network.policies == nil {
		s.network.policies = map[string]string{}
	}
	s.network.policies[relative(a.Name)] = map[string]string{"TLS_1_0": cloud.TLS10, "TLS_1_1": cloud.TLS11, "TLS_1_2": cloud.TLS12, "TLS_1_3": cloud.TLS13}[p.Least]
	return nil
}

package google

import (
	"slices"
	"strings"

	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud/rest"
)

var networkKinds = []kind{
	{"compute.googleapis.com/Address", readAddress},
	{"compute.googleapis.com/GlobalAddress", readAddress},
	{"compute.googleapis.com/Instance", readInstance},
	{"compute.googleapis.com/Firewall", readFirewall},
	{"compute.googleapis.com/ForwardingRule", readForwarding},
	{"compute.googleapis.com/GlobalForwardingRule", readForwarding},
	{"compute.googleapis.com/TargetHttpProxy", readProxy},
	{"compute.googleapis.com/TargetHttpsProxy", readProxy},
	{"compute.googleapis.com/UrlMap", readURLMap},
	{"compute.googleapis.com/SslPolicy", readPolicy},
	{"dns.googleapis.com/ManagedZone", readZone},
	{"dns.googleapis.com/ResourceRecordSet", readRecord},
}

// network is what has to be put together.
type network struct {
	instances []*instance
	firewalls []*firewall
	forwards  []*forward
	proxies   map[string]*proxy
	redirects map[string]bool   // of maps of URLs: everything goes on to https
	policies  map[string]string // of TLS: the least protocol
}

// readAddress reads a reserved address (compute v1, addresses).
func readAddress(s *scan, a *asset) error {
	var p struct {
		Address string   `json:"address"`
		Status  string   `json:"status"`
		Kind    string   `json:"addressType"`
		Users   []string `json:"users"`
	}
	if err := a.decode(&p); err != nil || strings.EqualFold(p.Kind, "INTERNAL") {
		return err
	}
	f := a.fact()
	if p.Address != "" {
		f.Addresses = []string{p.Address}
	}
	for _, u := range p.Users {
		f.PointsTo = append(f.PointsTo, relative(u))
	}
	used := p.Status == "IN_USE" || len(p.Users) > 0
	if !used {
		s.Held.Idle([]string{p.Address})
	}
	f.Settings[cloud.SettingAttached] = rest.YesNo(used)
	return s.Emit(cloud.Resource{Fact: f, Dedicated: true})
}

// instance is a virtual machine (compute v1, instances).
type instance struct {
	asset  *asset
	Status string `json:"status"`
	Tags   struct {
		Items []string `json:"items"`
	} `json:"tags"`
	Labels   map[string]string `json:"labels"`
	Accounts []struct {
		Email string `json:"email"`
	} `json:"serviceAccounts"`
	Interfaces []struct {
		Network string `json:"network"`
		V4      []struct {
			IP   string `json:"natIP"`
			Name string `json:"publicPtrDomainName"`
		} `json:"accessConfigs"`
		V6 []struct {
			IP string `json:"externalIpv6"`
		} `json:"ipv6AccessConfigs"`
	} `json:"networkInterfaces"`
}

func readInstance(s *scan, a *asset) error {
	i := &instance{asset: a}
	if err := a.decode(i); err != nil {
		return err
	}
	a.Resource.Data = nil // it is kept until the end
	s.network.instances = append(s.network.instances, i)
	return nil
}

// networks are those that an instance has a public address in.
func (i *instance) networks() []string {
	var out []string
	for _, n := range i.Interfaces {
		if len(n.V4) > 0 && n.V4[0].IP != "" || len(n.V6) > 0 && n.V6[0].IP != "" {
			out = append(out, relative(n.Network))
		}
	}
	return out
}

// firewall is one rule (compute v1, firewalls).
type firewall struct {
	asset     *asset
	spans     []rest.Span
	Network   string   `json:"network"`
	Direction string   `json:"direction"`
	Priority  *int     `json:"priority"`
	Disabled  bool     `json:"disabled"`
	Sources   []string `json:"sourceRanges"`
	FromTags  []string `json:"sourceTags"`
	FromUsers []string `json:"sourceServiceAccounts"`
	Targets   []string `json:"targetTags"`
	Users     []string `json:"targetServiceAccounts"`
	Goals     []string `json:"destinationRanges"`
	Allowed   []ports  `json:"allowed"`
	Denied    []ports  `json:"denied"`
}

type ports struct {
	Protocol string   `json:"IPProtocol"`
	Ports    []string `json:"ports"`
}

// readFirewall keeps the rules about everybody. A rule without sources of any kind is about everybody as well.
func readFirewall(s *scan, a *asset) error {
	f := &firewall{asset: a}
	if err := a.decode(f); err != nil {
		return err
	}
	a.Resource.Data = nil
	world := rest.World(f.Sources) || len(f.Sources)+len(f.FromTags)+len(f.FromUsers) == 0
	if f.Disabled || strings.EqualFold(f.Direction, "EGRESS") || !world || len(f.Denied) > 0 && len(f.Goals) > 0 {
		return nil
	}
	for _, p := range append(slices.Clone(f.Allowed), f.Denied...) {
		f.spans = append(f.spans, spansOf(p, a.Name)...)
	}
	s.network.firewalls = append(s.network.firewalls, f)
	return nil
}

// spansOf are the ports of a rule: protocols by name or number, "all" for every one.
func spansOf(p ports, rule string) []rest.Span {
	protocol := strings.ToLower(p.Protocol)
	switch protocol {
	case "all":
		return rest.AnyPort(rule)
	case "1", "58", "ipv6-icmp":
		protocol = "icmp"
	case "6":
		protocol = "tcp"
	case "17":
		protocol = "udp"
	}
	if len(p.Ports) == 0 {
		return []rest.Span{{Protocol: protocol, Last: rest.LastPort, Rule: rule}}
	}
	var out []rest.Span
	for _, text := range p.Ports {
		if first, last, ok := rest.Ports(text); ok {
			out = append(out, rest.Span{Protocol: protocol, First: first, Last: last, Rule: rule})
		}
	}
	return out
}

// defaultPriority is that of a rule that names none (compute v1, firewalls.priority).
const defaultPriority = 1000

func (f *firewall) weighed() rest.Rule {
	priority := defaultPriority
	if f.Priority != nil {
		priority = *f.Priority
	}
	return rest.Rule{Priority: priority, Deny: len(f.Denied) > 0, Spans: f.spans}
}

// hits says whether a rule is about an instance.
func (f *firewall) hits(i *instance) bool {
	if !slices.Contains(i.networks(), relative(f.Network)) {
		return false
	}
	if len(f.Targets) == 0 && len(f.Users) == 0 {
		return true
	}
	tagged := slices.ContainsFunc(f.Targets, func(t string) bool { return slices.Contains(i.Tags.Items, t) })
	for _, a := range i.Accounts {
		tagged = tagged || slices.Contains(f.Users, a.Email)
	}
	return tagged
}

// joinNetwork puts the network together and hands it over.
func (s *scan) joinNetwork() error {
	n := &s.network
	for _, i := range n.instances {
		r, all := n.instance(i)
		if !all {
			_ = s.Gap(rest.Broken("a network has more rules than are weighed"), "compute.firewalls.list") // nil: nothing was emitted
		}
		if err := s.Emit(r); err != nil {
			return err
		}
	}
	for _, f := range n.firewalls {
		if len(f.Denied) > 0 {
			continue
		}
		fact := f.asset.fact()
		public := slices.ContainsFunc(n.instances, f.hits)
		fact.Ingress, fact.PointsTo = rest.Ingress(f.spans), append(slices.Clone(f.Targets), relative(f.Network))
		fact.Settings[cloud.SettingAttachedPublic] = rest.YesNo(public)
		open(fact, public, "it admits the internet to an instance with a public address")
		if err := s.Emit(cloud.Resource{Fact: fact}); err != nil {
			return err
		}
	}
	for _, f := range n.forwards {
		if err := s.Emit(n.forward(f)); err != nil {
			return err
		}
	}
	return nil
}

// instance is a machine with the rules that are about it. Policies of folders and organisations, which are weighed before these rules, are
// not read: they may close what is open here.
func (n *network) instance(i *instance) (cloud.Resource, bool) {
	f := i.asset.fact()
	f.Tags = i.Labels
	for _, at := range i.Interfaces {
		for _, c := range at.V4 {
			f.Addresses = append(f.Addresses, c.IP)
			f.Hostnames = append(f.Hostnames, rest.Hosts(c.Name)...)
		}
		for _, c := range at.V6 {
			f.Addresses = append(f.Addresses, c.IP)
		}
	}
	f.Addresses = slices.DeleteFunc(f.GetAddresses(), func(a string) bool { return a == "" })
	f.Settings[cloud.SettingInstanceProfile] = cloud.None
	if len(i.Accounts) > 0 && i.Accounts[0].Email != "" {
		f.Settings[cloud.SettingInstanceProfile] = i.Accounts[0].Email
	}
	if len(f.GetAddresses()) == 0 {
		return cloud.Resource{Fact: f}, true
	}
	var rules []rest.Rule
	for _, r := range n.firewalls {
		if r.hits(i) {
			rules = append(rules, r.weighed())
		}
	}
	spans, all := rest.Open(rules)
	f.Ingress = rest.Ingress(spans)
	f.Settings[cloud.SettingOpenToWorld] = rest.YesNo(len(spans) > 0)
	open(f, len(spans) > 0 && i.Status == "RUNNING", "it has a public address, and firewall rules admit the internet")
	return cloud.Resource{Fact: f, Dedicated: true, Names: true}, all
}

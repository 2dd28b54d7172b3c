package azure

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud/rest"
)

var networkKinds = []kind{
	{"Microsoft.Network/publicIPAddresses", readAddress},
	{"Microsoft.Network/networkInterfaces", readInterface},
	{"Microsoft.Network/networkSecurityGroups", readGroup},
	{"Microsoft.Compute/virtualMachines", readMachine},
	{"Microsoft.Network/loadBalancers", readBalancer},
	{"Microsoft.Network/applicationGateways", readGateway},
	{"Microsoft.Network/dnsZones", readZone},
}

// network is what has to be put together: addresses, interfaces, groups and machines name each other by their ids.
type network struct {
	addresses  map[string]*address
	interfaces map[string]*nic
	groups     map[string]*group
	subnets    map[string]string // to the key of the group before it
	machines   []*machine
	balancers  []*balancer
}

func newNetwork() network {
	return network{addresses: map[string]*address{}, interfaces: map[string]*nic{}, groups: map[string]*group{}, subnets: map[string]string{}}
}

// address is a public IP address (Microsoft.Network, PublicIPAddressPropertiesFormat).
type address struct {
	row *row
	IP  string `json:"ipAddress"`
	DNS struct {
		Name string `json:"fqdn"`
	} `json:"dnsSettings"`
	Used ref `json:"ipConfiguration"`
	NAT  ref `json:"natGateway"`
}

func readAddress(s *scan, r *row) error {
	a := &address{row: r}
	if err := json.Unmarshal(r.Properties, a); err != nil {
		return err
	}
	s.network.addresses[ref{r.ID}.key()] = a
	return nil
}

// nic is a network interface.
type nic struct {
	Group   ref      `json:"networkSecurityGroup"`
	Configs []config `json:"ipConfigurations"`
}

// config is one address of an interface.
type config struct {
	Properties struct {
		Public ref `json:"publicIPAddress"`
		Subnet ref `json:"subnet"`
	} `json:"properties"`
}

func readInterface(s *scan, r *row) error {
	n := &nic{}
	if err := json.Unmarshal(r.Properties, n); err != nil {
		return err
	}
	s.network.interfaces[ref{r.ID}.key()] = n
	return nil
}

// group is a network security group.
type group struct {
	row        *row
	open       []rest.Span
	all        bool
	Rules      []rule `json:"securityRules"`
	Interfaces []ref  `json:"networkInterfaces"`
	Subnets    []ref  `json:"subnets"`
}

func readGroup(s *scan, r *row) error {
	g := &group{row: r}
	if err := json.Unmarshal(r.Properties, g); err != nil {
		return err
	}
	key := ref{r.ID}.key()
	g.open, g.all = openSpans(key, g.Rules)
	g.Rules = nil
	s.network.groups[key] = g
	for _, subnet := range g.Subnets {
		s.network.subnets[subnet.key()] = key
	}
	return nil
}

// machine is a virtual machine.
type machine struct {
	row     *row
	Network struct {
		Interfaces []ref `json:"networkInterfaces"`
	} `json:"networkProfile"`
}

func readMachine(s *scan, r *row) error {
	m := &machine{row: r}
	if err := json.Unmarshal(r.Properties, m); err != nil {
		return err
	}
	s.network.machines = append(s.network.machines, m)
	return nil
}

// join puts the network together and hands it over.
func (s *scan) join() error {
	n := &s.network
	for _, key := range slices.Sorted(maps.Keys(n.addresses)) {
		if a := n.addresses[key]; a.Used.ID == "" && a.NAT.ID == "" {
			s.Held.Idle([]string{a.IP})
		}
		if err := s.Emit(n.addresses[key].resource()); err != nil {
			return err
		}
	}
	for _, m := range n.machines {
		if err := s.Emit(n.machine(m)); err != nil {
			return err
		}
	}
	for _, key := range slices.Sorted(maps.Keys(n.groups)) {
		g := n.groups[key]
		if !g.all {
			_ = s.Gap(rest.Broken("a group has more rules than are weighed"), g.row.Type+"/read") // nil: nothing was emitted
		}
		if len(g.open) == 0 {
			continue
		}
		if err := s.Emit(n.group(g)); err != nil {
			return err
		}
	}
	for _, b := range n.balancers {
		if err := s.Emit(n.balancer(b)); err != nil {
			return err
		}
	}
	return nil
}

// resource is an address by itself. One that nothing uses is paid for, and whoever takes it next answers for the names that lead to it.
func (a *address) resource() cloud.Resource {
	f := a.row.fact()
	used := a.Used.ID != "" || a.NAT.ID != ""
	f.Settings[cloud.SettingAttached] = rest.YesNo(used)
	if a.IP != "" {
		f.Addresses = []string{a.IP}
	}
	f.Hostnames = rest.Hosts(a.DNS.Name)
	for _, to := range []ref{a.Used, a.NAT} {
		if to.ID != "" {
			f.PointsTo = append(f.PointsTo, owner(to.key()))
		}
	}
	return cloud.Resource{Fact: f, Dedicated: true, Names: true}
}

// owner is the resource that an id of one of its parts belongs to: ".../networkinterfaces/x/ipconfigurations/y" is of x.
func owner(id string) string {
	parts := strings.Split(id, "/")
	const resource = 9 // "", subscriptions, S, resourcegroups, G, providers, P, type, name
	return strings.Join(parts[:min(len(parts), resource)], "/")
}

// machine is a virtual machine with the addresses and rules of its interfaces. Without any group an address of the SKU Standard admits
// nobody, and a Basic one everybody (learn.microsoft.com/azure/virtual-network/ip-services/public-ip-addresses#sku).
func (n *network) machine(m *machine) cloud.Resource {
	f := m.row.fact()
	f.Settings[cloud.SettingInstanceProfile] = cloud.None
	if kind := m.row.Identity.Type; kind != "" && !strings.EqualFold(kind, "None") {
		f.Settings[cloud.SettingInstanceProfile] = kind
	}
	var spans []rest.Span
	for _, at := range m.Network.Interfaces {
		i := n.interfaces[at.key()]
		if i == nil {
			continue
		}
		for _, c := range i.Configs {
			a := n.addresses[c.Properties.Public.key()]
			if a == nil || a.IP == "" {
				continue
			}
			f.Addresses = append(f.Addresses, a.IP)
			f.Hostnames = append(f.Hostnames, rest.Hosts(a.DNS.Name)...)
			spans = append(spans, n.admitted(i, c.Properties.Subnet, strings.EqualFold(a.row.SKU.Name, "Standard"))...)
		}
	}
	f.Ingress = rest.Ingress(spans)
	if len(f.GetAddresses()) > 0 {
		f.Settings[cloud.SettingOpenToWorld] = rest.YesNo(len(spans) > 0)
	}
	open(f, len(spans) > 0, "it has a public address, and its network security groups admit the internet")
	return cloud.Resource{Fact: f, Dedicated: true, Names: true}
}

// admitted are the ports that an interface admits the internet at.
func (n *network) admitted(i *nic, subnet ref, closed bool) []rest.Span {
	own, before := n.groups[i.Group.key()], n.groups[n.subnets[subnet.key()]]
	switch {
	case own != nil && before != nil:
		return rest.Both(before.open, own.open)
	case own != nil:
		return own.open
	case before != nil:
		return before.open
	case closed || i.Group.ID != "":
		return nil
	}
	return rest.AnyPort("")
}

// group is one that admits the whole internet somewhere.
func (n *network) group(g *group) cloud.Resource {
	f := g.row.fact()
	f.Ingress = rest.Ingress(g.open)
	public := slices.ContainsFunc(g.Interfaces, func(i ref) bool { return n.interfaces[i.key()].public() })
	for _, subnet := range g.Subnets {
		for _, i := range n.interfaces {
			public = public || i.public() && slices.ContainsFunc(i.Configs, func(c config) bool { return c.Properties.Subnet.key() == subnet.key() })
		}
	}
	f.Settings[cloud.SettingAttachedPublic] = rest.YesNo(public)
	for _, to := range append(slices.Clone(g.Interfaces), g.Subnets...) {
		f.PointsTo = append(f.PointsTo, to.key())
	}
	open(f, public, "it admits the internet to something with a public address")
	return cloud.Resource{Fact: f}
}

// public says whether an interface has a public address.
func (i *nic) public() bool {
	return i != nil && slices.ContainsFunc(i.Configs, func(c config) bool { return c.Properties.Public.ID != "" })
}

// balancer is a load balancer or an application gateway.
type balancer struct {
	row       *row
	fronts    []ref
	ingress   []*modelv1.CloudIngress
	names     []string
	settings  map[string]string
	listening bool
}

// front is the front of a load balancer or of an application gateway.
type front struct {
	Properties struct {
		Public ref `json:"publicIPAddress"`
	} `json:"properties"`
}

func publicOf(fronts []front) []ref {
	var out []ref
	for _, f := range fronts {
		if f.Properties.Public.ID != "" {
			out = append(out, f.Properties.Public)
		}
	}
	return out
}

func readBalancer(s *scan, r *row) error {
	type forward struct {
		Name       string `json:"name"`
		Properties struct {
			Protocol string `json:"protocol"`
			Port     uint32 `json:"frontendPort"`
			First    uint32 `json:"frontendPortRangeStart"`
			Last     uint32 `json:"frontendPortRangeEnd"`
		} `json:"properties"`
	}
	var p struct {
		Fronts []front   `json:"frontendIPConfigurations"`
		Rules  []forward `json:"loadBalancingRules"`
		NAT    []forward `json:"inboundNatRules"`
	}
	if err := json.Unmarshal(r.Properties, &p); err != nil {
		return err
	}
	b := &balancer{row: r, fronts: publicOf(p.Fronts)}
	for _, rule := range append(p.Rules, p.NAT...) {
		first, last := rule.Properties.Port, rule.Properties.Port
		if rule.Properties.Last != 0 {
			first, last = rule.Properties.First, rule.Properties.Last
		}
		for _, protocol := range forwarded(rule.Properties.Protocol) {
			if first == 0 {
				last = rest.LastPort // "HA ports": all of them
			}
			b.ingress = append(b.ingress, &modelv1.CloudIngress{
				Protocol: protocol, FromPort: first, ToPort: min(last, rest.LastPort), Source: "0.0.0.0/0", Rule: ref{r.ID}.key() + "/rules/" + rule.Name,
			})
		}
	}
	b.listening = len(b.ingress) > 0
	s.network.balancers = append(s.network.balancers, b)
	return nil
}

func forwarded(protocol string) []string {
	if strings.EqualFold(protocol, "All") {
		return []string{"tcp", "udp"}
	}
	return []string{strings.ToLower(protocol)}
}

func (n *network) balancer(b *balancer) cloud.Resource {
	f := b.row.fact()
	f.Hostnames = b.names
	for name, value := range b.settings {
		f.Settings[name] = value
	}
	f.Settings[cloud.SettingScheme] = "internal"
	for _, at := range b.fronts {
		f.Settings[cloud.SettingScheme] = "internet-facing"
		if a := n.addresses[at.key()]; a != nil && a.IP != "" {
			f.Addresses = append(f.Addresses, a.IP)
			f.Hostnames = append(f.Hostnames, rest.Hosts(a.DNS.Name)...)
		}
	}
	if len(b.fronts) > 0 {
		f.Ingress = b.ingress
	}
	open(f, len(b.fronts) > 0 && b.listening, "its front has a public address")
	return cloud.Resource{Fact: f, Dedicated: true, Names: len(b.fronts) > 0}
}

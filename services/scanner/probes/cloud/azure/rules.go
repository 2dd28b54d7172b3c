package azure

import (
	"slices"
	"strings"

	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud/rest"
)

// rule is one rule of a network security group (learn.microsoft.com/azure/virtual-network/network-security-groups-overview). A field
// has one value or several.
type rule struct {
	Name       string `json:"name"`
	Properties struct {
		Access       string   `json:"access"`
		Direction    string   `json:"direction"`
		Priority     int      `json:"priority"`
		Protocol     string   `json:"protocol"`
		Source       string   `json:"sourceAddressPrefix"`
		Sources      []string `json:"sourceAddressPrefixes"`
		Destination  string   `json:"destinationAddressPrefix"`
		Destinations []string `json:"destinationAddressPrefixes"`
		Port         string   `json:"destinationPortRange"`
		Ports        []string `json:"destinationPortRanges"`
	} `json:"properties"`
}

// spans are the ports of a rule; "*" is all protocols that people run services over.
func (r *rule) spans(name string) []rest.Span {
	protocols := []string{"icmp", "tcp", "udp"}
	if p := strings.ToLower(r.Properties.Protocol); p != "*" {
		protocols = []string{p}
	}
	var out []rest.Span
	for _, protocol := range protocols {
		for _, text := range append(slices.Clone(r.Properties.Ports), r.Properties.Port) {
			if first, last, ok := rest.Ports(text); ok {
				out = append(out, rest.Span{Protocol: protocol, First: first, Last: last, Rule: name})
			}
		}
	}
	return out
}

// world says whether the rule is about everybody on the internet.
func (r *rule) world() bool {
	return rest.World(append(slices.Clone(r.Properties.Sources), r.Properties.Source))
}

// everywhere says whether the rule is about all that is behind the group.
func (r *rule) everywhere() bool {
	return r.Properties.Destination == "*" || r.Properties.Destination == "" && len(r.Properties.Destinations) == 0
}

// openSpans are the ports at which the group with this id admits the whole internet. A rule that denies everybody hides later ones that
// allow; one that denies some, or the way to some, hides nothing.
func openSpans(id string, rules []rule) (out []rest.Span, all bool) {
	var weighed []rest.Rule
	for i := range rules {
		r := &rules[i]
		deny := strings.EqualFold(r.Properties.Access, "Deny")
		if strings.EqualFold(r.Properties.Direction, "Inbound") && r.world() && (!deny || r.everywhere()) {
			weighed = append(weighed, rest.Rule{Priority: r.Properties.Priority, Deny: deny, Spans: r.spans(id + "/securityrules/" + r.Name)})
		}
	}
	return rest.Open(weighed)
}

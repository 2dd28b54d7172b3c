package rest

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

// Bounds of the rules that are weighed together: a network security group of Azure has at most 1,000 rules of 4,000 ranges
// (learn.microsoft.com/azure/azure-resource-manager/management/azure-subscription-service-limits), a network of Google at most 1,000.
const maxRules, maxRanges = 1000, 4000

// LastPort is the highest port.
const LastPort = 65535

// Span is a range of ports of one protocol, and the rule that it is from.
type Span struct {
	Protocol    string
	First, Last uint32
	Rule        string
}

// Rule is one rule about everybody on the internet. A lower priority is weighed first, and of two equal ones that which denies.
type Rule struct {
	Priority int
	Deny     bool
	Spans    []Span
}

// Open are the ports that rules admit everybody at: the first that fits decides. all is false where there were too many to weigh.
func Open(rules []Rule) (out []Span, all bool) {
	all = len(rules) <= maxRules
	rules = slices.Clone(rules[:min(len(rules), maxRules)])
	slices.SortStableFunc(rules, func(a, b Rule) int {
		return cmp.Or(cmp.Compare(a.Priority, b.Priority), cmp.Compare(order(a.Deny), order(b.Deny)))
	})
	var denied []Span
	for _, r := range rules {
		for _, s := range r.Spans {
			if len(out)+len(denied) >= maxRanges {
				return out, false
			}
			if r.Deny {
				denied = append(denied, s)
			} else {
				out = append(out, without(s, denied)...)
			}
		}
	}
	return out, all
}

func order(deny bool) int {
	if deny {
		return 0
	}
	return 1
}

// without is what is left of a range where others are taken away.
func without(s Span, denied []Span) []Span {
	left := []Span{s}
	for _, d := range denied {
		if d.Protocol != s.Protocol {
			continue
		}
		var next []Span
		for _, l := range left {
			if d.Last < l.First || d.First > l.Last {
				next = append(next, l)
				continue
			}
			if l.First < d.First {
				next = append(next, Span{l.Protocol, l.First, d.First - 1, l.Rule})
			}
			if l.Last > d.Last {
				next = append(next, Span{l.Protocol, d.Last + 1, l.Last, l.Rule})
			}
		}
		left = next
	}
	return left
}

// Both are the ports that two lists admit.
func Both(a, b []Span) []Span {
	var out []Span
	for _, x := range a {
		for _, y := range b {
			first, last := max(x.First, y.First), min(x.Last, y.Last)
			if x.Protocol == y.Protocol && first <= last && len(out) < maxRanges {
				out = append(out, Span{x.Protocol, first, last, y.Rule})
			}
		}
	}
	return out
}

// AnyPort is everything of the protocols that people run services over.
func AnyPort(rule string) []Span {
	return []Span{{"icmp", 0, LastPort, rule}, {"tcp", 0, LastPort, rule}, {"udp", 0, LastPort, rule}}
}

// Ports reads "443", "8000-8100" and "*".
func Ports(text string) (first, last uint32, ok bool) {
	if text == "*" {
		return 0, LastPort, true
	}
	low, high, ranged := strings.Cut(text, "-")
	if !ranged {
		high = low
	}
	a, err := strconv.ParseUint(low, 10, 16)
	b, err2 := strconv.ParseUint(high, 10, 16)
	return uint32(a), uint32(b), err == nil && err2 == nil && a <= b
}

// Ingress are ranges as facts have them.
func Ingress(spans []Span) []*modelv1.CloudIngress {
	var out []*modelv1.CloudIngress
	for _, s := range spans {
		out = append(out, &modelv1.CloudIngress{Protocol: s.Protocol, FromPort: s.First, ToPort: s.Last, Source: "0.0.0.0/0", Rule: s.Rule})
	}
	return out
}

package correlator

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
	"sync"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/services/correlator/cpe"
	"github.com/riskprofiler/riskprofiler/services/correlator/version"
)

const (
	// maxProducts bounds the products of one asset: what a target may make us look up and index.
	maxProducts = 200
	// maxProductKey bounds a key in bytes.
	maxProductKey = 128
)

// observed is one product at one location as facts tell it.
type observed struct {
	// key is the canonical vendor:product.
	key string
	// name and version are as they were seen; version is "" if it is not told.
	name, version string
	// part and targetSoftware are those of the CPE; "" is not told.
	part, targetSoftware string
	// distribution and packageVersion are as in modelv1.ServiceFact.
	distribution, packageVersion string
	location                     string
	set                          *modelv1.ObservationSet
	observations                 []*modelv1.Observation
	// told says who told us of it, if it is not our own sight.
	told hearsay
}

// observedProducts are the products that sets of observations tell of, one for each location and key, in a fixed order.
func observedProducts(names *productNames, sets []*modelv1.ObservationSet) []*observed {
	type place struct{ location, key string }
	found := map[place]*observed{}
	for _, set := range sets {
		for _, o := range set.GetObservations() {
			for _, p := range productsIn(names, o) {
				p.location, p.set, p.observations = o.GetLocation(), set, []*modelv1.Observation{o}
				at := place{p.location, p.key}
				if before := found[at]; before != nil {
					p = better(before, p)
				}
				found[at] = p
			}
		}
	}
	out := make([]*observed, 0, len(found))
	for _, p := range found {
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b *observed) int {
		return cmp.Or(strings.Compare(a.location, b.location), strings.Compare(a.key, b.key))
	})
	return out[:min(len(out), maxProducts)]
}

// better joins two sights of one product: what says more about the version counts, and both are evidence.
func better(a, b *observed) *observed {
	rank := func(p *observed) [4]string {
		return [4]string{p.packageVersion, p.version, p.distribution, p.observations[0].GetKey()}
	}
	x, y := rank(a), rank(b)
	newest := newestOf(a, b)
	for i := range x {
		switch {
		case newest != nil:
			if newest == b {
				a, b = b, a
			}
		case i < 3 && len(x[i]) != len(y[i]):
			if len(x[i]) < len(y[i]) {
				a, b = b, a
			}
		case x[i] != y[i]:
			if x[i] > y[i] {
				a, b = b, a
			}
		default:
			continue
		}
		break
	}
	joined := *a
	joined.observations = slices.Concat(a.observations, b.observations)
	return &joined
}

// newestOf is the sight that counts where one is from a report of another tool: the newest that tells a version. Nil: both are our own, or
// of reports, and their order is nothing to judge by.
func newestOf(a, b *observed) *observed {
	if isImport(a.set) == isImport(b.set) {
		return nil
	}
	told := func(p *observed) bool { return version.Known(p.version) || version.Known(p.packageVersion) }
	x, y := a.observations[0].GetLastSeen().AsTime(), b.observations[0].GetLastSeen().AsTime()
	switch {
	case !told(a) || !told(b) || x.Equal(y):
		return nil
	case x.After(y):
		return a
	}
	return b
}

// productsIn are the products that one observation tells of.
func productsIn(names *productNames, o *modelv1.Observation) []*observed {
	switch f := o.GetFact().(type) {
	case *modelv1.Observation_Service:
		return serviceProducts(names, f.Service)
	case *modelv1.Observation_Http:
		return technologies(names, f.Http)
	}
	return nil
}

func serviceProducts(names *productNames, f *modelv1.ServiceFact) []*observed {
	var out []*observed
	add := func(p *observed, ok bool) {
		if ok && !slices.ContainsFunc(out, func(q *observed) bool { return q.key == p.key }) {
			p.describe(f.GetDistribution(), f.GetPackageVersion(), f.GetBanner())
			out = append(out, p)
		}
	}
	for _, text := range f.GetCpe() {
		add(fromCPE(names, text, f.GetProduct(), f.GetVersion()))
	}
	if key := names.named(f.GetProduct()); key != "" {
		add(&observed{key: key, name: f.GetProduct(), version: firstWord(f.GetVersion()), part: "a"}, true)
	}
	return out
}

func technologies(names *productNames, f *modelv1.HttpFact) []*observed {
	var out []*observed
	add := func(p *observed, ok bool) {
		if ok && !slices.ContainsFunc(out, func(q *observed) bool { return q.key == p.key }) {
			p.describe("", "", f.GetHeaders()["server"])
			out = append(out, p)
		}
	}
	for _, t := range f.GetTechnologies() {
		add(fromCPE(names, t.GetCpe(), t.GetName(), t.GetVersion()))
		if key := names.named(t.GetName()); key != "" {
			add(&observed{key: key, name: t.GetName(), version: firstWord(t.GetVersion()), part: "a"}, true)
		}
	}
	return out
}

// fromCPE is the product that a CPE names. The version that the probe read counts before the one in the CPE, which may leave the
// update out.
func fromCPE(names *productNames, text, name, seen string) (*observed, bool) {
	n, err := cpe.Parse(text)
	if err != nil || n.Plain(cpe.Vendor) == "" || n.Plain(cpe.Product) == "" {
		return nil, false
	}
	key := n.Plain(cpe.Vendor) + ":" + n.Plain(cpe.Product)
	if !safeKey(key) {
		return nil, false
	}
	v := firstWord(seen)
	if !version.Known(v) {
		v = n.Plain(cpe.Version) + n.Plain(cpe.Update)
	}
	if name == "" {
		name = n.Plain(cpe.Product)
	}
	return &observed{key: names.canonical(key), name: name, version: v, part: n.Plain(cpe.Part), targetSoftware: n.Plain(cpe.TargetSoftware)}, true
}

// safeKey says whether a key may become part of a key in the table: printable ASCII without the separator of its parts.
func safeKey(key string) bool {
	if len(key) > maxProductKey {
		return false
	}
	for _, c := range []byte(key) {
		if c <= ' ' || c >= 0x7f || c == '#' {
			return false
		}
	}
	return true
}

// firstWord leaves out what follows a version: "9.2p1 Debian 2+deb12u3".
func firstWord(v string) string {
	v, _, _ = strings.Cut(strings.TrimSpace(v), " ")
	return v
}

// marks of distributions in versions and banners.
var (
	debianRelease = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`[+~]deb(\d{1,2})u\d`) })
	// distributionNames are looked for in banners in this order.
	distributionNames = []struct{ text, family string }{
		{"ubuntu", "Ubuntu"}, {"raspbian", "Raspbian"}, {"debian", "Debian"}, {"red hat", "Red Hat"}, {"centos", "CentOS"}, {"rocky linux", "Rocky Linux"},
		{"almalinux", "AlmaLinux"}, {"fedora", "Fedora"}, {"amazon", "Amazon Linux"}, {"suse", "SUSE"}, {"alpine", "Alpine"}, {"freebsd", "FreeBSD"},
	}
)

// describe fills in the distribution, from the probe or from marks in version and banner. A version that carries Debian's mark is a
// package's own.
func (p *observed) describe(distribution, packageVersion, banner string) {
	p.distribution, p.packageVersion = distribution, packageVersion
	if p.distribution != "" {
		return
	}
	if m := debianRelease().FindStringSubmatch(p.version); m != nil {
		p.distribution, p.packageVersion = "Debian:"+m[1], p.version
		return
	}
	text := strings.ToLower(p.version + " " + banner)
	for _, d := range distributionNames {
		if strings.Contains(text, d.text) {
			p.distribution = d.family
			return
		}
	}
}

// display is the product for people.
func (p *observed) display() string {
	return strings.TrimSpace(p.name + " " + cmp.Or(p.packageVersion, p.version))
}

// decidedBy are the keys under which intel is asked about the product, and by which it is found again when they change: its names, and
// its package in the distribution.
func (p *observed) decidedBy(names *productNames) []string {
	keys := names.keys(p.key)
	if k := names.packageKey(p.key, p.distribution, p.version); k != "" && safeKey(k) {
		keys = append(slices.Clone(keys), k)
	}
	return keys
}

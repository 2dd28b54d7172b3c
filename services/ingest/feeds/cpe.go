package feeds

import (
	"strings"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

// cpeName is what is used of a name of the Common Platform Enumeration 2.3.
type cpeName struct {
	part, product   string // product is vendor:product
	version, update string
	targetSoftware  string
}

// parseCPE reads the formatted string (NIST IR 7695, section 6.2): thirteen fields, a colon in a field is escaped.
func parseCPE(s string) (cpeName, bool) {
	if len(s) > 1024 || !strings.HasPrefix(s, "cpe:2.3:") {
		return cpeName{}, false
	}
	fields := splitCPE(s)
	if len(fields) != 13 {
		return cpeName{}, false
	}
	part, vendor, product := fields[2], name(unescape(fields[3])), name(unescape(fields[4]))
	if part != "a" && part != "o" && part != "h" || vendor == "" || product == "" || len(vendor)+len(product) > 250 {
		return cpeName{}, false
	}
	n := cpeName{part: part, product: vendor + ":" + product, version: unescape(fields[5]), update: unescape(fields[6])}
	if t := strings.ToLower(unescape(fields[10])); t != "*" && t != "-" {
		n.targetSoftware = clean(t, 64)
	}
	return n, true
}

func splitCPE(s string) []string {
	var out []string
	start := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case ':':
			out = append(out, s[start:i])
			start = i + 1
		}
	}
	return append(out, s[start:])
}

func unescape(s string) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// cpeMatch is one match string of NVD 2.0, or of cpeApplicability in a CVE record: the same fields.
// https://csrc.nist.gov/schema/nvd/api/2.0/cve_api_json_2.0.schema
type cpeMatch struct {
	Vulnerable            bool   `json:"vulnerable"`
	Criteria              string `json:"criteria"`
	VersionStartIncluding string `json:"versionStartIncluding"`
	VersionStartExcluding string `json:"versionStartExcluding"`
	VersionEndIncluding   string `json:"versionEndIncluding"`
	VersionEndExcluding   string `json:"versionEndExcluding"`
}

// cpeNodes are the nodes of one configuration.
type cpeNodes struct {
	Negate bool `json:"negate"`
	Nodes  []struct {
		Negate   bool       `json:"negate"`
		CPEMatch []cpeMatch `json:"cpeMatch"`
	} `json:"nodes"`
}

// affected adds what the configurations say to c. A node that negates is left out: what it means cannot be said by a range.
func cpeAffected(c *collector, configurations []cpeNodes, source string) {
	for _, conf := range configurations {
		for _, node := range conf.Nodes {
			for _, m := range node.CPEMatch {
				switch {
				case !m.Vulnerable:
				case conf.Negate || node.Negate:
					c.skip("a configuration that negates")
				default:
					c.match(m, source)
				}
			}
		}
	}
}

func (c *collector) match(m cpeMatch, source string) {
	n, ok := parseCPE(m.Criteria)
	if !ok {
		c.skip("CPE name " + clean(m.Criteria, 80))
		return
	}
	r := &modelv1.Affected{Scheme: "generic", TargetSoftware: n.targetSoftware, Part: n.part, Sources: []string{source}}
	bounds := true
	set := func(into *string, value string) {
		if value == "" {
			return
		}
		v, ok := cleanVersion(value)
		bounds = bounds && ok
		*into = v
	}
	set(&r.Introduced, m.VersionStartIncluding)
	if m.VersionStartExcluding != "" {
		set(&r.Introduced, m.VersionStartExcluding)
		r.IntroducedExcluded = true
	}
	set(&r.LastAffected, m.VersionEndIncluding)
	set(&r.Fixed, m.VersionEndExcluding)
	if r.GetFixed() != "" {
		r.LastAffected = ""
	}
	if r.GetIntroduced() == "" && r.GetFixed() == "" && r.GetLastAffected() == "" && n.version != "*" && n.version != "-" {
		v := n.version
		if n.update != "*" && n.update != "-" && n.update != "" {
			v += "-" + n.update
		}
		v, ok := cleanVersion(v)
		bounds = bounds && ok
		r.Versions = []string{v}
	}
	if !bounds {
		c.skip("a version of " + n.product)
		return
	}
	c.add(n.product, r)
}

package feeds

import (
	"encoding/json"
	"strings"

	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

// cveRecord is what is read of a CVE Record 5.x.
// https://github.com/CVEProject/cve-schema/blob/main/schema/CVE_Record_Format.json
type cveRecord struct {
	DataType    string `json:"dataType"`
	DataVersion string `json:"dataVersion"`
	Metadata    struct {
		ID        string `json:"cveId"`
		State     string `json:"state"`
		Published string `json:"datePublished"`
		Updated   string `json:"dateUpdated"`
		Rejected  string `json:"dateRejected"`
	} `json:"cveMetadata"`
	Containers struct {
		CNA container   `json:"cna"`
		ADP []container `json:"adp"`
	} `json:"containers"`
}

type container struct {
	Provider struct {
		Updated string `json:"dateUpdated"`
	} `json:"providerMetadata"`
	Title        string `json:"title"`
	Descriptions []struct {
		Lang  string `json:"lang"`
		Value string `json:"value"`
	} `json:"descriptions"`
	Affected      []cveAffected `json:"affected"`
	Applicability []cpeNodes    `json:"cpeApplicability"`
	Metrics       []cveMetric   `json:"metrics"`
	Problems      []struct {
		Descriptions []struct {
			CWE         string `json:"cweId"`
			Description string `json:"description"`
		} `json:"descriptions"`
	} `json:"problemTypes"`
	References []struct {
		URL  string   `json:"url"`
		Tags []string `json:"tags"`
	} `json:"references"`
}

type cveMetric struct {
	V20   cvssData `json:"cvssV2_0"`
	V30   cvssData `json:"cvssV3_0"`
	V31   cvssData `json:"cvssV3_1"`
	V40   cvssData `json:"cvssV4_0"`
	Other struct {
		Type    string          `json:"type"`
		Content json.RawMessage `json:"content"`
	} `json:"other"`
}

type cvssData struct {
	Vector string `json:"vectorString"`
}

type cveAffected struct {
	Vendor        string       `json:"vendor"`
	Product       string       `json:"product"`
	DefaultStatus string       `json:"defaultStatus"`
	CPEs          []string     `json:"cpes"`
	Versions      []cveVersion `json:"versions"`
}

type cveVersion struct {
	Version         string `json:"version"`
	Status          string `json:"status"`
	LessThan        string `json:"lessThan"`
	LessThanOrEqual string `json:"lessThanOrEqual"`
	Type            string `json:"versionType"`
	Changes         []struct {
		At     string `json:"at"`
		Status string `json:"status"`
	} `json:"changes"`
}

// ReadCVE reads one CVE record. label names it where it does not name itself. A record that is none is told to out.Skip.
func ReadCVE(raw []byte, label string, out Out) error {
	var r cveRecord
	problem, err := decode(raw, &r)
	if err != nil {
		out.Skip(label, err.Error())
		return nil
	}
	id := r.Metadata.ID
	if r.DataType != "CVE_RECORD" || !strings.HasPrefix(r.DataVersion, "5.") || !ValidCVE(id) {
		out.Skip(label, "it is no CVE record of version 5")
		return nil
	}
	if problem != "" {
		out.Skip(id, problem)
	}
	rec := &ingestv1.IntelRecord{
		Id: id, Feed: FeedCVE, Advisory: id, Parser: ParserVersion,
		Withdrawn: r.Metadata.State == "REJECTED",
		Published: parseTime(r.Metadata.Published), Modified: later(parseTime(r.Metadata.Updated), parseTime(r.Metadata.Rejected)),
	}
	if r.Metadata.State != "PUBLISHED" && r.Metadata.State != "REJECTED" {
		out.Skip(id, "state "+clean(r.Metadata.State, 40))
		return nil
	}
	c := &collector{record: id, out: out}
	var refs []*ingestv1.IntelReference
	for i, box := range append([]container{r.Containers.CNA}, r.Containers.ADP...) {
		source := "cna"
		if i > 0 {
			source = "adp"
		}
		rec.Modified = later(rec.GetModified(), parseTime(box.Provider.Updated))
		box.into(rec, c, source)
		for _, ref := range box.References {
			refs = append(refs, reference(ref.URL, rank(ref.Tags)))
		}
	}
	rec.References = references(refs)
	if !rec.GetWithdrawn() {
		rec.Affected = c.list
	}
	if rec.GetModified() == nil {
		out.Skip(id, "it does not say when it was changed")
		return nil
	}
	return out.Record(rec)
}

// rank orders links: fixes, the vendor's own words, the rest.
// https://github.com/CVEProject/cve-schema/blob/main/schema/tags/reference-tags.json
func rank(tags []string) uint32 {
	best := uint32(2)
	for _, t := range tags {
		switch strings.ToLower(t) {
		case "patch", "fix":
			return 0
		case "vendor-advisory", "vendor advisory", "advisory":
			best = 1
		}
	}
	return best
}

func (b *container) into(rec *ingestv1.IntelRecord, c *collector, source string) {
	if rec.GetTitle() == "" {
		rec.Title = clean(b.Title, maxTitle)
	}
	for _, d := range b.Descriptions {
		if rec.GetTitle() == "" && strings.HasPrefix(strings.ToLower(d.Lang), "en") {
			rec.Title = clean(d.Value, maxTitle)
		}
	}
	for _, p := range b.Problems {
		for _, d := range p.Descriptions {
			cwe := cweOf(d.CWE)
			if cwe == "" {
				cwe = cweOf(d.Description)
			}
			rec.Cwe = appendNew(rec.Cwe, cwe, 16)
		}
	}
	for _, m := range b.Metrics {
		for _, v := range []cvssData{m.V40, m.V31, m.V30, m.V20} {
			if v.Vector == "" {
				continue
			}
			if s, ok := score(v.Vector, source); ok {
				rec.Cvss = appendScore(rec.Cvss, s)
			} else {
				c.skip("CVSS vector " + clean(v.Vector, 80))
			}
		}
		b.other(rec, c, m)
	}
	for _, a := range b.Affected {
		a.into(c, source)
	}
	cpeAffected(c, b.Applicability, source)
}

// other reads what CISA puts into its container: the decision points of SSVC, and the day a vulnerability entered KEV.
// https://github.com/cisagov/vulnrichment
func (b *container) other(rec *ingestv1.IntelRecord, c *collector, m cveMetric) {
	switch m.Other.Type {
	case "ssvc":
		var content struct {
			Timestamp string              `json:"timestamp"`
			Options   []map[string]string `json:"options"`
		}
		if err := json.Unmarshal(m.Other.Content, &content); err != nil {
			c.skip("SSVC points")
			return
		}
		s := &modelv1.Ssvc{Date: parseTime(content.Timestamp)}
		for _, option := range content.Options {
			for point, value := range option {
				point, value = strings.ToLower(point), strings.ToLower(value)
				switch {
				case point == "exploitation" && (value == "none" || value == "poc" || value == "active"):
					s.Exploitation = value
				case point == "exploitation" && value == "public poc": // SSVC 2.1's name
					s.Exploitation = "poc"
				case point == "automatable" && (value == "yes" || value == "no"):
					s.Automatable = value
				case point == "technical impact" && (value == "partial" || value == "total"):
					s.TechnicalImpact = value
				case point == "exploitation" || point == "automatable" || point == "technical impact":
					c.skip("SSVC " + clean(point+" "+value, 60))
				}
			}
		}
		if rec.GetSsvc().GetDate() == nil || later(rec.GetSsvc().GetDate(), s.GetDate()) == s.GetDate() {
			rec.Ssvc = s
		}
	case "kev":
		var content struct {
			Added string `json:"dateAdded"`
		}
		if err := json.Unmarshal(m.Other.Content, &content); err != nil || parseTime(content.Added) == nil {
			c.skip("KEV entry")
			return
		}
		rec.KevAdded = parseTime(content.Added)
	}
}

// into adds the ranges of one product: under the names of its CPEs if it has them, else under vendor and product as they are
// written, in the form of CPE.
func (a *cveAffected) into(c *collector, source string) {
	type target struct{ product, part, software string }
	var targets []target
	for _, text := range a.CPEs {
		n, ok := parseCPE(text)
		if !ok {
			// Some records hold the older URI form (cpe:/a:...), which names the same as the vendor and product beside it.
			if !strings.HasPrefix(text, "cpe:/") {
				c.skip("CPE name " + clean(text, 80))
			}
			continue
		}
		t := target{n.product, n.part, n.targetSoftware}
		known := false
		for _, have := range targets {
			known = known || have == t
		}
		if !known && len(targets) < 50 {
			targets = append(targets, t)
		}
	}
	if len(targets) == 0 {
		vendor, product := name(a.Vendor), name(a.Product)
		if vendor == "" || product == "" {
			return
		}
		targets = append(targets, target{vendor + ":" + product, "", ""})
	}
	ranges := a.ranges(c)
	for _, t := range targets {
		for _, r := range ranges {
			c.add(t.product, &modelv1.Affected{
				Scheme: r.scheme, Introduced: r.introduced, IntroducedExcluded: r.excluded, Fixed: r.fixed, LastAffected: r.last,
				Versions: append([]string(nil), r.versions...), Sources: []string{source}, Part: t.part, TargetSoftware: t.software,
			})
		}
	}
}

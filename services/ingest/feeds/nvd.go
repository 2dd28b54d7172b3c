package feeds

import (
	"encoding/json"
	"io"
	"strings"

	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
)

// maxNVDBytes bounds one answer or yearly file of NVD; the largest year has 250 MB.
const maxNVDBytes = 2 << 30

// nvdRecord is what is read of one CVE of the NVD API 2.0: https://csrc.nist.gov/schema/nvd/api/2.0/cve_api_json_2.0.schema
type nvdRecord struct {
	CVE struct {
		ID           string `json:"id"`
		Published    string `json:"published"`
		Modified     string `json:"lastModified"`
		Status       string `json:"vulnStatus"`
		Descriptions []struct {
			Lang  string `json:"lang"`
			Value string `json:"value"`
		} `json:"descriptions"`
		Metrics map[string][]struct {
			Source string `json:"source"`
			Data   struct {
				Vector string `json:"vectorString"`
			} `json:"cvssData"`
		} `json:"metrics"`
		Weaknesses []struct {
			Description []struct {
				Value string `json:"value"`
			} `json:"description"`
		} `json:"weaknesses"`
		Configurations []cpeNodes `json:"configurations"`
		References     []struct {
			URL  string   `json:"url"`
			Tags []string `json:"tags"`
		} `json:"references"`
	} `json:"cve"`
}

// NVDPage says where in all results an answer of the API lies.
type NVDPage struct {
	Total, Start, Count int
}

// ReadNVD reads an answer of the API, or a yearly or modified file: the same JSON.
func ReadNVD(r io.Reader, out Out) (NVDPage, error) {
	return ReadNVDFrom(r, 0, func() error { return nil }, out)
}

// ReadNVDFrom passes over the first records and asks before each of the others whether to go on: an error ends the reading.
func ReadNVDFrom(r io.Reader, from int, more func() error, out Out) (NVDPage, error) {
	read := 0
	fields, err := elements(r, "vulnerabilities", maxNVDBytes, func(raw []byte) error {
		if read++; read <= from {
			return nil
		}
		if err := more(); err != nil {
			return err
		}
		return readNVD(raw, out)
	})
	if err != nil {
		return NVDPage{}, err
	}
	var format, version string
	page := NVDPage{Count: read}
	_ = json.Unmarshal(fields["format"], &format)   // checked below
	_ = json.Unmarshal(fields["version"], &version) // checked below
	if format != "NVD_CVE" || !strings.HasPrefix(version, "2.") {
		return NVDPage{}, refuse("it is no NVD_CVE data of version 2")
	}
	if err := json.Unmarshal(fields["totalResults"], &page.Total); err != nil || page.Total < 0 {
		return NVDPage{}, refuse("its totalResults is no number")
	}
	if err := json.Unmarshal(fields["startIndex"], &page.Start); err != nil || page.Start < 0 {
		return NVDPage{}, refuse("its startIndex is no number")
	}
	return page, nil
}

func readNVD(raw []byte, out Out) error {
	var r nvdRecord
	problem, err := decode(raw, &r)
	id := r.CVE.ID
	if err != nil || !ValidCVE(id) || parseTime(r.CVE.Modified) == nil {
		why := "it has no CVE id or no date of its last change"
		if err != nil {
			why = err.Error()
		}
		out.Skip(clean(id, 40), why)
		return nil
	}
	if problem != "" {
		out.Skip(id, problem)
	}
	rec := &ingestv1.IntelRecord{
		Id: id, Feed: FeedNVD, Advisory: id, Parser: ParserVersion, Withdrawn: r.CVE.Status == "Rejected",
		Published: parseTime(r.CVE.Published), Modified: parseTime(r.CVE.Modified),
	}
	for _, d := range r.CVE.Descriptions {
		if d.Lang == "en" && rec.GetTitle() == "" {
			rec.Title = clean(d.Value, maxTitle)
		}
	}
	c := &collector{record: id, out: out}
	// Only NVD's own scores: the others repeat the containers of the CVE record.
	for _, kind := range []string{"cvssMetricV40", "cvssMetricV31", "cvssMetricV30", "cvssMetricV2"} {
		for _, m := range r.CVE.Metrics[kind] {
			if m.Source != "nvd@nist.gov" {
				continue
			}
			if s, ok := score(m.Data.Vector, "nvd"); ok {
				rec.Cvss = appendScore(rec.Cvss, s)
			} else {
				c.skip("CVSS vector " + clean(m.Data.Vector, 80))
			}
		}
	}
	for _, w := range r.CVE.Weaknesses {
		for _, d := range w.Description {
			rec.Cwe = appendNew(rec.Cwe, cweOf(d.Value), 16)
		}
	}
	var refs []*ingestv1.IntelReference
	for _, ref := range r.CVE.References {
		refs = append(refs, reference(ref.URL, rank(ref.Tags)))
	}
	rec.References = references(refs)
	cpeAffected(c, r.CVE.Configurations, "nvd")
	if !rec.GetWithdrawn() {
		rec.Affected = c.list
	}
	return out.Record(rec)
}

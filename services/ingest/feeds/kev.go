package feeds

import (
	"encoding/json"
	"io"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

// maxKEVBytes bounds the catalogue; it has 1.5 MB for 1,766 entries (30 Oct 2026).
const maxKEVBytes = 64 << 20

// maxKEV bounds its entries.
const maxKEV = 20000

// KEV is CISA's catalogue of known exploited vulnerabilities.
type KEV struct {
	Version  string
	Released *timestamppb.Timestamp
	Entries  map[string]*modelv1.Kev
}

// kevEntry is one entry: https://www.cisa.gov/sites/default/files/feeds/known_exploited_vulnerabilities_schema.json
// All but the last are required.
type kevEntry struct {
	ID             string `json:"cveID"`
	Vendor         string `json:"vendorProject"`
	Product        string `json:"product"`
	Name           string `json:"vulnerabilityName"`
	Added          string `json:"dateAdded"`
	Description    string `json:"shortDescription"`
	RequiredAction string `json:"requiredAction"`
	Due            string `json:"dueDate"`
	Ransomware     string `json:"knownRansomwareCampaignUse"`
}

// ReadKEV reads the catalogue. It is taken whole or not at all, because what is missing in it would count as not exploited:
// a wrong count or a catalogue without version is refused. An entry that breaks the schema is told to skip.
func ReadKEV(r io.Reader, skip func(record, why string)) (*KEV, error) {
	k := &KEV{Entries: map[string]*modelv1.Kev{}}
	read := 0
	fields, err := elements(r, "vulnerabilities", maxKEVBytes, func(raw []byte) error {
		if read++; read > maxKEV {
			return refuse("it has more than %d entries", maxKEV)
		}
		var e kevEntry
		problem, err := decode(raw, &e)
		if err != nil {
			return err
		}
		entry := &modelv1.Kev{
			DateAdded: day(e.Added), DueDate: day(e.Due), Ransomware: e.Ransomware == "Known",
			RequiredAction: clean(e.RequiredAction, 1000), Name: clean(e.Name, maxTitle),
		}
		missing := e.Vendor == "" || e.Product == "" || e.Name == "" || e.Description == "" || e.RequiredAction == ""
		switch {
		case problem != "":
			skip(clean(e.ID, 40), problem)
		case !ValidCVE(e.ID) || entry.GetDateAdded() == nil:
			skip(clean(e.ID, 40), "it has no CVE id or no date")
			return nil
		case missing || entry.GetDueDate() == nil:
			skip(e.ID, "a field that the schema requires is empty")
		}
		if k.Entries[e.ID] != nil {
			skip(e.ID, "it is there twice")
		}
		k.Entries[e.ID] = entry
		return nil
	})
	if err != nil {
		return nil, err
	}
	var count int
	var released string
	_ = json.Unmarshal(fields["catalogVersion"], &k.Version) // checked below
	_ = json.Unmarshal(fields["dateReleased"], &released)    // checked below
	k.Version, k.Released = clean(k.Version, 40), parseTime(released)
	if err := json.Unmarshal(fields["count"], &count); err != nil || count != read {
		return nil, refuse("it says that it has %d entries and has %d: it is incomplete", count, read)
	}
	if k.Version == "" || k.Released == nil {
		return nil, refuse("it has no catalogVersion or no dateReleased")
	}
	return k, nil
}

func day(s string) *timestamppb.Timestamp {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return nil
	}
	return timestamppb.New(t)
}

package google

import (
	"slices"
	"strconv"
	"strings"

	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud/rest"
)

// record is a set of records that leads somewhere.
type record struct {
	asset  *asset
	zone   string
	values []string
	Name   string   `json:"name"`
	Type   string   `json:"type"`
	Data   []string `json:"rrdatas"`
}

// number is a number that the API writes as a text or as a number.
type number string

// UnmarshalJSON takes both.
func (n *number) UnmarshalJSON(raw []byte) error {
	text := strings.Trim(string(raw), `"`)
	if _, err := strconv.ParseUint(text, 10, 64); err != nil && text != "null" {
		return rest.Broken("no number")
	}
	*n = number(text)
	return nil
}

// readZone reads a zone (dns v1, managedZones).
func readZone(s *scan, a *asset) error {
	var p struct {
		ID         number   `json:"id"`
		Name       string   `json:"name"`
		DNS        string   `json:"dnsName"`
		Visibility string   `json:"visibility"`
		Servers    []string `json:"nameServers"`
	}
	if err := a.decode(&p); err != nil {
		return err
	}
	if strings.EqualFold(p.Visibility, "private") {
		for _, name := range []string{string(p.ID), p.Name, last(a.Name)} {
			if name != "" {
				s.zones[name] = true
			}
		}
		return nil
	}
	f := a.fact()
	f.Hostnames, f.PointsTo = rest.Hosts(p.DNS), rest.Hosts(p.Servers...)
	return s.Emit(cloud.Resource{Fact: f, Names: true})
}

// maxRecords bounds the records that are kept until it is known what the project holds.
const maxRecords = cloud.MaxResources

// readRecord keeps a set of records that leads somewhere (dns v1, resourceRecordSets).
func readRecord(s *scan, a *asset) error {
	r := &record{asset: a}
	if err := a.decode(r); err != nil {
		return err
	}
	a.Resource.Data = nil
	if !slices.Contains([]string{"A", "AAAA", "CNAME", "NS"}, r.Type) || len(s.records) >= maxRecords {
		return nil
	}
	path, _, _ := strings.Cut(a.Name, "/rrsets/")
	r.zone = last(path)
	if a.Resource.Parent != "" && strings.Contains(a.Resource.Parent, "/managedZones/") {
		r.zone = last(a.Resource.Parent)
	}
	if r.Type == "NS" && slices.ContainsFunc(r.Data, func(ns string) bool { return strings.HasSuffix(rest.Name(ns), ".googledomains.com") }) {
		return nil // those of the zone itself
	}
	for _, v := range r.Data[:min(len(r.Data), 50)] {
		r.values = append(r.values, rest.Name(v))
	}
	s.records = append(s.records, r)
	return nil
}

func (s *scan) private(zone string) bool { return s.zones[zone] }

// givenNames are the suffixes of names that Google gives out with a resource of the kinds that are read here.
var givenNames = []string{".run.app", ".appspot.com", ".cloudfunctions.net"}

// record is the fact of a set of records.
func (s *scan) record(r *record, whole bool) cloud.Resource {
	f := r.asset.fact()
	f.Name = rest.Name(r.Name)
	f.Hostnames, f.PointsTo = rest.Hosts(r.Name), r.values
	f.Settings["record"] = r.Type
	why, lost := s.Held.Dangling("google", r.values, givenNames)
	if why == "" || !whole {
		lost = nil
	} else {
		f.Settings[cloud.SettingDangling] = why
	}
	return cloud.Resource{Fact: f, Names: !strings.HasPrefix(f.GetName(), "*."), Lost: lost}
}

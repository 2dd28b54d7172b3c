package azure

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud/rest"
)

// typeRecord is the type of the facts of records, without the kind of record that Azure adds.
const typeRecord = "Microsoft.Network/dnsZones/recordsets"

// givenNames are the suffixes of names that Azure gives out with a resource of the kinds that are read here. A name below one that the
// subscription does not hold leads to somebody else or to nobody, and mostly anybody may take it
// (learn.microsoft.com/azure/security/fundamentals/subdomain-takeover).
var givenNames = []string{
	".azurewebsites.net", ".cloudapp.azure.com", ".trafficmanager.net", ".azureedge.net", ".azurefd.net", ".blob.core.windows.net",
	".web.core.windows.net", ".azure-api.net", ".azurestaticapps.net", ".azurecontainer.io", ".azurecontainerapps.io", ".azurecr.io",
	".database.windows.net", ".redis.cache.windows.net", ".vault.azure.net",
}

// zone is a public zone whose records are read at the end, when it is known what the subscription holds.
type zone struct{ id, name, region string }

func readZone(s *scan, r *row) error {
	var p struct {
		Kind    string   `json:"zoneType"`
		Servers []string `json:"nameServers"`
	}
	if err := json.Unmarshal(r.Properties, &p); err != nil {
		return err
	}
	if strings.EqualFold(p.Kind, "Private") {
		return nil
	}
	f := r.fact()
	f.Hostnames, f.PointsTo = rest.Hosts(r.Name), rest.Hosts(p.Servers...)
	s.zones = append(s.zones, zone{id: f.GetId(), name: rest.Name(r.Name), region: r.Location})
	return s.Emit(cloud.Resource{Fact: f, Names: true})
}

// records reads the records of all zones.
func (s *scan) records(ctx context.Context) error {
	for _, z := range s.zones {
		err := s.list(ctx, s.session.url(z.id+"/recordsets", versionDNS), func(raw json.RawMessage) error {
			r, err := recordOf(raw, z)
			if err != nil || r == nil {
				return err
			}
			return s.Emit(s.record(r))
		})
		if err := s.Gap(err, typeRecord+"/read"); err != nil {
			return err
		}
	}
	return nil
}

// record is a set of records of one name and kind that lead somewhere.
type record struct {
	id, name, kind string
	values         []string
	// to is the resource that an alias leads to; it is "" for one that is gone.
	alias bool
	to    string
	zone  zone
}

// recordOf reads one (Microsoft.Network, RecordSet); nil for kinds that lead nowhere.
func recordOf(raw json.RawMessage, z zone) (*record, error) {
	var set struct {
		ID         string `json:"id"`
		Name       string `json:"name"`
		Type       string `json:"type"`
		Properties struct {
			Name  string `json:"fqdn"`
			Alias *ref   `json:"targetResource"`
			A     []struct {
				IP string `json:"ipv4Address"`
			} `json:"ARecords"`
			AAAA []struct {
				IP string `json:"ipv6Address"`
			} `json:"AAAARecords"`
			CNAME *struct {
				Name string `json:"cname"`
			} `json:"CNAMERecord"`
			NS []struct {
				Name string `json:"nsdname"`
			} `json:"NSRecords"`
		} `json:"properties"`
	}
	if json.Unmarshal(raw, &set) != nil || set.ID == "" {
		return nil, rest.Broken("its answer cannot be read")
	}
	p := set.Properties
	r := &record{id: strings.ToLower(set.ID), name: rest.Name(p.Name), kind: strings.ToUpper(set.Type[strings.LastIndex(set.Type, "/")+1:]), zone: z}
	if r.name == "" {
		r.name = rest.Name(set.Name + "." + z.name)
	}
	for _, a := range p.A {
		r.values = append(r.values, a.IP)
	}
	for _, a := range p.AAAA {
		r.values = append(r.values, a.IP)
	}
	if p.CNAME != nil {
		r.values = append(r.values, rest.Hosts(p.CNAME.Name)...)
	}
	for _, n := range p.NS {
		if r.name != z.name { // those of the zone itself are Azure's own
			r.values = append(r.values, rest.Hosts(n.Name)...)
		}
	}
	if p.Alias != nil && p.Alias.ID != "" {
		r.alias, r.to = true, p.Alias.key()
		r.values = append(r.values, r.to)
	}
	if len(r.values) == 0 {
		return nil, nil
	}
	return r, nil
}

// record is the fact of a set of records.
func (s *scan) record(r *record) cloud.Resource {
	f := (&row{ID: r.id, Name: r.name, Type: typeRecord, Location: r.zone.region}).fact()
	f.Hostnames, f.PointsTo = []string{r.name}, r.values
	f.Settings["record"] = r.kind
	why, lost := s.Held.Dangling("azure", r.values, givenNames)
	if why == "" || r.alias || !s.whole {
		lost = nil
	} else {
		f.Settings[cloud.SettingDangling] = why
	}
	return cloud.Resource{Fact: f, Names: !strings.HasPrefix(r.name, "*."), Lost: lost}
}

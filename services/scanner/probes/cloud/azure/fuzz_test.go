package azure

import (
	"strings"
	"testing"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud"
)

// FuzzRows reads a page of Resource Graph whatever its rows are, and puts the network together.
func FuzzRows(f *testing.F) {
	for name := range kinds() {
		f.Add([]byte(`{"data":[{"id":"/subscriptions/s/resourceGroups/g/providers/` + name + `/x","name":"x","type":"` + name + `","properties":{}}]}`))
	}
	f.Add([]byte(`{"data":[{"id":"/A","type":"microsoft.network/networksecuritygroups","properties":{"securityRules":[{"properties":{"access":"Allow","direction":"Inbound","protocol":"*","sourceAddressPrefix":"*","destinationPortRange":"*"}}],"networkInterfaces":[{"id":"/n"}]}},null,5]}`))
	f.Add([]byte(`{"data":[{"id":"/n","type":"microsoft.network/networkinterfaces","properties":{"ipConfigurations":[{"properties":{"publicIPAddress":{"id":"/p"}}}]}},{"id":"/p","type":"microsoft.network/publicipaddresses","properties":{"ipAddress":"x"}},{"id":"/v","type":"microsoft.compute/virtualmachines","properties":{"networkProfile":{"networkInterfaces":[{"id":"/n"}]}}}]}`))
	f.Fuzz(func(t *testing.T, page []byte) {
		rows, _, err := parseGraph(page)
		if err != nil {
			return
		}
		s := newScan(&session{}, func(r cloud.Resource) error {
			if r.Fact.GetId() == "" || r.Fact.GetId() != strings.ToLower(r.Fact.GetId()) || r.Fact.GetPublic() != (r.Fact.GetPublicReason() != "") {
				t.Errorf("%v", r.Fact)
			}
			return nil
		})
		for _, raw := range rows {
			if err := s.row(raw, map[string]int{}); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.join(); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzItems reads what single resources answer.
func FuzzItems(f *testing.F) {
	f.Add([]byte(`{"value":[{"id":"a","name":"b","properties":{"publicAccess":"Blob"}}],"nextLink":"x"}`))
	f.Add([]byte(`{"properties":{"startIpAddress":"0.0.0.0","endIpAddress":"::"}}`))
	f.Add([]byte(`{"id":"/z/A/x","type":"A","properties":{"ARecords":[{}],"CNAMERecord":{},"NSRecords":[{}],"targetResource":{"id":"x"}}}`))
	f.Add([]byte(`{"properties":{"ipSecurityRestrictions":[{"ipAddress":"Any","action":"Deny","tag":"Default"}]}}`))
	f.Add([]byte(`{"subscriptionId":"x","tags":{"a":null},"value":[{"actions":["*"],"notActions":["*"]}]}`))
	f.Fuzz(func(_ *testing.T, body []byte) {
		items, _, _ := parseList(body)
		for _, raw := range append(items, body) {
			_, _ = container(raw, &modelv1.CloudFact{}, true)
			_, _, _ = firewallRule(raw)
			if r, err := recordOf(raw, zone{name: "example.com"}); err == nil && r != nil {
				newScan(&session{}, nil).record(r)
			}
		}
		_, _ = siteConfig(body, &modelv1.CloudFact{Settings: map[string]string{}})
		_, _, _ = parseSubscription(body)
		_, _ = readsAll(body)
	})
}

// FuzzCredential reads what a tenant stored; whatever it is, no error shows it.
func FuzzCredential(f *testing.F) {
	f.Add([]byte(stored))
	f.Add([]byte(`{"tenantId":"a..b","appId":"x","password":"canary"}`))
	f.Add([]byte(`{"tenant":"a","client_id":"` + client + `","private_key":"canary","certificate":"canary"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := parseCredential(text)
		if err != nil {
			if strings.Contains(err.Error(), "canary") {
				t.Errorf("%v", err)
			}
			return
		}
		if strings.ContainsAny(c.directory, "/?#%") || c.key == nil && c.secret == "" {
			t.Errorf("directory %q", c.directory)
		}
	})
}

package aws_test

import (
	"encoding/json"
	"testing"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/netguard"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud/aws"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud/cloudtest"
)

const (
	account    = "123456789012"
	externalID = "rp-7f3a"
	role       = "arn:aws:iam::" + account + ":role/RiskProfiler"
	// secretKey is what must be in nothing that leaves the provider.
	secretKey = cloudtest.Key
)

// fakeAWS is an account in which nothing is but what a test puts there.
type fakeAWS struct {
	*cloudtest.AWS

	// regions are those that the operator wants read; empty: all.
	regions []string
}

func newFake(t *testing.T) *fakeAWS {
	t.Helper()
	return &fakeAWS{AWS: cloudtest.NewAWS(t, account, role, externalID)}
}

func (f *fakeAWS) env() probes.Env {
	return probes.Env{Guard: netguard.New(netguard.Options{AllowPrivate: true}), Cloud: probes.CloudSettings{URLs: map[string]string{"aws": f.URL}, Regions: f.regions}}
}

// inventory reads the account, by type and name.
func (f *fakeAWS) inventory(t *testing.T) (map[string]cloud.Resource, []cloud.Gap) {
	t.Helper()
	out := map[string]cloud.Resource{}
	gaps, err := aws.New().Inventory(t.Context(), f.env(), account, &modelv1.CloudAccess{Role: role, ExternalId: externalID}, func(r cloud.Resource) error {
		out[r.Fact.GetType()+" "+r.Fact.GetName()] = r
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out, gaps
}

// quoted is a text as JSON has it.
func quoted(text string) string {
	out, _ := json.Marshal(text)
	return string(out)
}

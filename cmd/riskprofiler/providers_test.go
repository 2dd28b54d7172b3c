package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	reporterv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/reporter/v1"
	schedulerv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/scheduler/v1"
	"github.com/riskprofiler/riskprofiler/services/gateway"
	"github.com/riskprofiler/riskprofiler/services/scanner/providers"
)

// The gateway takes keys for just the providers that the scanner asks with one.
func TestKeyedProvidersAgree(t *testing.T) {
	keyed := slices.Clone(providers.Clouds)
	for _, p := range providers.All() {
		if p.Keyed() {
			keyed = append(keyed, p.Name)
		}
	}
	slices.Sort(keyed)
	if !slices.Equal(keyed, gateway.KeyedProviders) {
		t.Errorf("scanner %q, gateway %q", keyed, gateway.KeyedProviders)
	}
	for _, e := range providerEnv {
		if !slices.Contains(keyed, e.provider) {
			t.Errorf("%s is for %s, which takes no key", e.variable, e.provider)
		}
	}
}

func TestEnvironmentSecrets(t *testing.T) {
	if s, err := environmentSecrets(t.Context(), map[string]string{"SHODAN_API_KEY": " "}); s != nil || err != nil {
		t.Errorf("%v %v", s, err)
	}
	s, err := environmentSecrets(t.Context(), map[string]string{"SHODAN_API_KEY": "key-1\n", "VT_API_KEY": "key-2"})
	if err != nil {
		t.Fatal(err)
	}
	for provider, want := range map[string]string{"shodan": "key-1", "virustotal": "key-2"} {
		value, err := s.Get(context.Background(), localTenant, provider)
		c := &modelv1.ProviderCredential{}
		if err != nil || proto.Unmarshal(value, c) != nil || c.GetKey() != want {
			t.Errorf("%s: %v %v", provider, c, err)
		}
	}
	if _, err := environmentSecrets(t.Context(), map[string]string{"VT_API_KEY": "two words-canary"}); err == nil || strings.Contains(err.Error(), "canary") {
		t.Errorf("%v", err)
	}
}

// A third party that could not be asked ends a run with 3 only where its scan type was asked for by name.
func TestVerdictOfSources(t *testing.T) {
	doc := &reporterv1.ReportDocument{
		Assessment: &schedulerv1.Assessment{State: schedulerv1.Assessment_STATE_SUCCEEDED},
		Coverage: []*modelv1.Coverage{{
			ScanType: modelv1.ScanType_SCAN_TYPE_INTEL, Outcome: modelv1.Outcome_OUTCOME_SOURCE_UNAVAILABLE, Reason: "shodan: no key",
			Target: &modelv1.Target{Value: "example.com"},
		}},
	}
	if err := verdict(doc, nil, 0); err != nil {
		t.Errorf("not asked for: %v", err)
	}
	if err := verdict(doc, []modelv1.ScanType{modelv1.ScanType_SCAN_TYPE_DNS}, 0); err != nil {
		t.Errorf("another asked for: %v", err)
	}
	var exit *exitError
	err := verdict(doc, []modelv1.ScanType{modelv1.ScanType_SCAN_TYPE_INTEL}, 0)
	if !errors.As(err, &exit) || exit.code != exitIncomplete || !strings.Contains(err.Error(), "shodan: no key") {
		t.Errorf("asked for: %v", err)
	}
}

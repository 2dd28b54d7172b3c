package ingest

import (
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

func TestHolder(t *testing.T) {
	now := time.Unix(secondOf(0), 0)
	fact := func(account string, age time.Duration, addresses, names []string) *modelv1.Observation {
		return &modelv1.Observation{
			LastSeen: timestamppb.New(now.Add(-age)),
			Fact:     &modelv1.Observation_Cloud{Cloud: &modelv1.CloudFact{Provider: "aws", Account: account, Addresses: addresses, Hostnames: names}},
		}
	}
	address, name := []string{"3.5.140.2"}, []string{"web-1.eu-west-1.elb.amazonaws.com"}
	for what, tt := range map[string]struct {
		facts []*modelv1.Observation
		place string
		want  string
	}{
		"nobody":                  {nil, address[0], ""},
		"the account itself":      {[]*modelv1.Observation{fact("1", 0, address, nil)}, address[0], ""},
		"another":                 {[]*modelv1.Observation{fact("1", 0, address, nil), fact("2", 0, address, nil)}, address[0], "aws:2"},
		"two others":              {[]*modelv1.Observation{fact("3", 0, address, nil), fact("2", 0, address, nil)}, address[0], "aws:2"},
		"written otherwise":       {[]*modelv1.Observation{fact("2", 0, []string{"::ffff:3.5.140.2"}, nil)}, address[0], "aws:2"},
		"not seen for long":       {[]*modelv1.Observation{fact("2", holderAge, address, nil)}, address[0], ""},
		"a name":                  {[]*modelv1.Observation{fact("2", 0, nil, name)}, "WEB-1.eu-west-1.elb.amazonaws.com.", "aws:2"},
		"a resource of that name": {[]*modelv1.Observation{fact("2", 0, address, nil)}, name[0], ""},
		"no cloud":                {[]*modelv1.Observation{{LastSeen: timestamppb.New(now)}}, address[0], ""},
	} {
		if got := holder(tt.facts, tt.place, "aws:1", now); got != tt.want {
			t.Errorf("%s: %q, want %q", what, got, tt.want)
		}
	}
}

// What an inventory told of is found by its place, for its own tenant and for as long as it is there.
func TestFindHolders(t *testing.T) {
	s, _ := inventoryService(t)
	at := timestamppb.Now()
	take := func(minute int, address bool) {
		t.Helper()
		r := inventory(minute, modelv1.Outcome_OUTCOME_COMPLETE, false, address)
		r.StartedAt = timestamppb.New(at.AsTime().Add(time.Duration(minute) * time.Second))
		for _, o := range r.GetObservations() {
			o.LastSeen = r.GetStartedAt()
			o.GetCloud().Provider, o.GetCloud().Account, o.GetCloud().Addresses = "aws", "123456789012", []string{heldAddress}
		}
		if err := s.take(as(t.Context(), "acme"), r); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(when, tenant, except string, want ...string) {
		t.Helper()
		res, err := s.FindHolders(as(t.Context(), tenant), &ingestv1.FindHoldersRequest{Places: []string{"192.0.2.9", heldAddress, "no place at all"}, ExceptAccount: except})
		if err != nil || !slices.Equal(res.GetAccounts(), want) {
			t.Errorf("%s: %v %v, want %v", when, res.GetAccounts(), err, want)
		}
	}
	take(1, true)
	expect("held", "acme", "aws:999999999999", "", inventoryAccount, "")
	expect("asked by itself", "acme", inventoryAccount, "", "", "")
	expect("another tenant", "globex", "aws:999999999999", "", "", "")
	take(2, false)
	expect("given back", "acme", "aws:999999999999", "", "", "")
}

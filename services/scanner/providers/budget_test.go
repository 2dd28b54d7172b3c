package providers

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	scannerv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/scanner/v1"
	"github.com/riskprofiler/riskprofiler/services/scanner/providers/providerstest"
)

func nth(i int) netip.Addr { return netip.AddrFrom4([4]byte{8, 8, 4, byte(i)}) }

// An assessment makes no more requests to a provider than it may, over all workers; the next one begins anew.
func TestAssessmentBudget(t *testing.T) {
	server := providerstest.New(t)
	w := newWorld(t, server)
	w.key(t, "acme", "virustotal", providerstest.Key, &modelv1.ProviderLimits{RequestsPerMinute: 1000})
	one, two := w.client(t), w.client(t)
	for i := range 8 {
		got, err := Ask(t.Context(), []*Client{one, two}[i%2].For("acme", "assessments/1", 5), VirusTotalAddressQuestion(nth(i)))
		if (err == nil) != (i < 5) || i >= 5 && (got.Report.GetState() != limited || !strings.Contains(got.Report.GetProblem(), "this assessment")) {
			t.Errorf("%d: %v %v", i, got.Report, err)
		}
	}
	if n := len(server.Arrivals("virustotal")); n != 5 {
		t.Errorf("%d requests", n)
	}
	if _, err := Ask(t.Context(), one.For("acme", "assessments/2", 5), VirusTotalAddressQuestion(nth(9))); err != nil {
		t.Errorf("the next assessment: %v", err)
	}
}

func TestQuotas(t *testing.T) {
	server := providerstest.New(t)
	server.Names("example.com", "www.example.com")
	w := newWorld(t, server)
	w.key(t, "acme", "virustotal", providerstest.Key, &modelv1.ProviderLimits{RequestsPerMinute: 1000, RequestsPerDay: 3})
	c := w.client(t)
	desk := c.For("acme", "", 0)
	for i := range 4 {
		_, err := Ask(t.Context(), desk, VirusTotalAddressQuestion(nth(i)))
		if (err == nil) != (i < 3) {
			t.Fatalf("%d: %v", i, err)
		}
	}
	if _, err := Ask(t.Context(), desk, ShodanDomainQuestion("example.com")); err != nil {
		t.Fatal(err)
	}
	quotas, err := w.client(t).Quotas(t.Context(), "acme") // another worker
	if err != nil || len(quotas) != 2 {
		t.Fatalf("%v %v", quotas, err)
	}
	got := map[string]string{}
	for _, q := range quotas {
		clean(t, "a quota", q.String())
		for _, p := range q.GetPeriods() {
			got[q.GetProvider()+" "+p.GetPeriod()+" "+p.GetUnit()] = fmt.Sprint(p.GetUsed(), "/", p.GetLimit(), " ", p.GetResetTime() != nil)
		}
	}
	for name, want := range map[string]string{
		"virustotal minute requests": "3/1000 false", "virustotal day requests": "3/3 true", "shodan month credits": "1/100 true",
	} {
		if got[name] != want {
			t.Errorf("%s: %s, want %s", name, got[name], want)
		}
	}
	if v := quotas[1]; !strings.Contains(v.GetProblem(), "3 requests a day") || v.GetAvailableTime().AsTime().Before(time.Now()) || v.GetLastRequestTime() == nil {
		t.Errorf("%v", v)
	}
	if quotas[0].GetProblem() != "" {
		t.Errorf("shodan: %v", quotas[0])
	}
	if other, err := c.Quotas(t.Context(), "other"); err != nil || len(other) != 0 {
		t.Errorf("another tenant: %v %v", other, err)
	}
}

// What an open breaker and a block look like to people.
func TestStandstill(t *testing.T) {
	limits := &scannerv1.QuotaLimits{WindowRequests: 1, WindowSeconds: 60}
	for name, c := range map[string]struct {
		ledger *scannerv1.QuotaLedger
		says   string
	}{
		"well":    {&scannerv1.QuotaLedger{Requests: []int64{noon.UnixNano()}}, ""},
		"blocked": {&scannerv1.QuotaLedger{BlockedUntil: timestamppb.New(at(60))}, "asked not to be asked before"},
		"open":    {&scannerv1.QuotaLedger{Breaker: &scannerv1.QuotaBreaker{OpenUntil: timestamppb.New(at(60)), Problem: "it fails (500)"}}, "it fails (500)"},
		"over":    {&scannerv1.QuotaLedger{BlockedUntil: timestamppb.New(at(-1)), Breaker: &scannerv1.QuotaBreaker{OpenUntil: timestamppb.New(at(-1))}}, ""},
		"trial":   {&scannerv1.QuotaLedger{Breaker: &scannerv1.QuotaBreaker{OpenUntil: timestamppb.New(at(-1)), TrialUntil: timestamppb.New(at(9))}}, ""},
	} {
		p := standstill(c.ledger, limits, noon)
		if (p == nil) != (c.says == "") || p != nil && !strings.Contains(p.Text, c.says) {
			t.Errorf("%s: %v", name, p)
		}
	}
}

package test

import (
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	mdns "github.com/miekg/dns"

	accessv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/access/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	scannerv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/scanner/v1"
	schedulerv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/scheduler/v1"
	"github.com/riskprofiler/riskprofiler/platform/telemetry/tracetest"
	"github.com/riskprofiler/riskprofiler/services/scanner/providers/providerstest"
)

// publicZone answers for names that could be anybody's, with addresses that nobody connects to in these scans.
func publicZone(t *testing.T, names map[string]string) string {
	t.Helper()
	conn, err := (&net.ListenConfig{}).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &mdns.Server{PacketConn: conn, Handler: mdns.HandlerFunc(func(w mdns.ResponseWriter, m *mdns.Msg) {
		out := new(mdns.Msg)
		out.SetReply(m)
		addr, ok := names[strings.TrimSuffix(strings.ToLower(m.Question[0].Name), ".")]
		switch {
		case !ok:
			out.Rcode = mdns.RcodeNameError
		case m.Question[0].Qtype == mdns.TypeA:
			out.Answer = append(out.Answer, &mdns.A{Hdr: mdns.RR_Header{Name: m.Question[0].Name, Rrtype: mdns.TypeA, Class: mdns.ClassINET, Ttl: 1}, A: net.ParseIP(addr)})
		}
		_ = w.WriteMsg(out)
	})}
	go func() { _ = server.ActivateAndServe() }()
	t.Cleanup(func() { _ = server.Shutdown() })
	return conn.LocalAddr().String()
}

// TestThirdParties: with the tenant's key, third parties tell of names and of what they saw; the tenant sees what it has used;
// and the key is nowhere but in the store of secrets and on the wire to its provider.
func TestThirdParties(t *testing.T) {
	const address = "198.41.0.4" // public, and never connected to: no scan type here does
	server := providerstest.New(t)
	server.Names("riskprofiler-lab.com", "portal.riskprofiler-lab.com", "www.riskprofiler-lab.com")
	server.Host(address, `"ports": [443, 3389], "hostnames": ["www.riskprofiler-lab.com"], "tags": [], "org": "you asked with `+providerstest.Key+`"`)
	server.Verdict("riskprofiler-lab.com", `{"last_analysis_stats": {"malicious": 7, "harmless": 60}, "categories": {"A": "phishing"}}`)
	server.Verdict(address, `{"last_analysis_stats": {"malicious": 0, "harmless": 60}}`)
	recorder := tracetest.New()
	p := InProcess(t, Options{
		Resolver: publicZone(t, map[string]string{"riskprofiler-lab.com": address, "portal.riskprofiler-lab.com": address, "www.riskprofiler-lab.com": address}),
		Spans:    recorder, Verbose: true, Settings: map[string]string{"RISKPROFILER_PROVIDER_URLS": server.Setting()},
	})
	for _, provider := range []string{"shodan", "virustotal"} {
		limits := map[string]any{"requestsPerMinute": 600, "creditsPerMonth": 5}
		k := &accessv1.ProviderKey{}
		p.must(t, t.Context(), http.MethodPost, "/v1/providerKeys", map[string]any{"provider": provider, "key": providerstest.Key, "limits": limits}, k)
		if k.GetLastFour() != "-key" {
			t.Errorf("%v", k)
		}
	}
	_, wrong := p.Call(t.Context(), p.Key, http.MethodPost, "/v1/providerKeys", map[string]any{"provider": "certspotter", "key": providerstest.Key + " with spaces"}, nil)
	if wrong == nil || strings.Contains(wrong.Error(), providerstest.Key) {
		t.Errorf("a key with spaces: %v", wrong)
	}

	p.Own(t, t.Context(), []string{"riskprofiler-lab.com", address})
	a := &schedulerv1.Assessment{}
	p.must(t, t.Context(), http.MethodPost, "/v1/assessments", map[string]any{
		"targets": []string{"riskprofiler-lab.com", address}, "profile": "PROFILE_STANDARD", "scanTypes": []string{"SCAN_TYPE_SUBDOMAIN", "SCAN_TYPE_INTEL"},
	}, a)
	out := p.Finish(t, a.GetName())
	checkThirdParties(t, p, out, address)
	quotas := &scannerv1.ListQuotasResponse{}
	shown := p.must(t, t.Context(), http.MethodGet, "/v1/quotas", nil, quotas)
	checkQuotas(t, quotas)
	keys := p.must(t, t.Context(), http.MethodGet, "/v1/providerKeys", nil, nil)

	awaitAll(t, recorder)
	var spans strings.Builder
	for _, s := range recorder.Spans() {
		spans.WriteString(s.Name() + " " + s.Status().Description)
		for _, attribute := range s.Attributes() {
			spans.WriteString(" " + string(attribute.Key) + "=" + attribute.Value.String())
		}
		for _, e := range s.Events() {
			for _, attribute := range e.Attributes {
				spans.WriteString(" " + attribute.Value.String())
			}
		}
	}
	for what, text := range map[string]string{
		"the log": p.Log(), "a span": spans.String(), "the quotas": string(shown), "the list of keys": string(keys), "the report": out.Report.String(),
	} {
		if text == "" || strings.Contains(text, providerstest.Key) {
			t.Errorf("%s is empty or shows the key", what)
		}
	}
	checkFiles(t, p.Data)
}

// checkThirdParties looks at what the assessment found.
func checkThirdParties(t *testing.T, p *Platform, out Outcome, address string) {
	t.Helper()
	var values, checks []string
	for _, a := range out.Report.GetAssets() {
		values = append(values, a.GetValue())
	}
	for _, f := range out.Report.GetFindings() {
		checks = append(checks, f.GetCheck()+" "+f.GetAssetValue())
	}
	for _, want := range []string{"portal.riskprofiler-lab.com", "www.riskprofiler-lab.com"} {
		if !slices.Contains(values, want) {
			t.Errorf("%s was not found: %q", want, values)
		}
	}
	for _, want := range []string{"intel-flagged-domain riskprofiler-lab.com", "intel-risky-port " + address} {
		if !slices.Contains(checks, want) {
			t.Errorf("no finding %q: %q", want, checks)
		}
	}
	for _, c := range out.Report.GetCoverage() {
		if c.GetOutcome() != modelv1.Outcome_OUTCOME_COMPLETE && c.GetScanType() != modelv1.ScanType_SCAN_TYPE_DNS {
			t.Errorf("%s of %s: %s %s", c.GetScanType(), c.GetTarget().GetValue(), c.GetOutcome(), c.GetReason())
		}
	}
}

func checkQuotas(t *testing.T, quotas *scannerv1.ListQuotasResponse) {
	t.Helper()
	used := map[string]uint32{}
	for _, q := range quotas.GetQuotas() {
		for _, period := range q.GetPeriods() {
			used[q.GetProvider()+" "+period.GetPeriod()+" "+period.GetUnit()] = period.GetUsed()
		}
	}
	// The subdomain scan and the intel scan of the domain ask the same question: the second takes the first one's answer, or both
	// ask at the same time.
	if n := used["shodan month credits"]; n < 1 || n > 2 {
		t.Errorf("%d credits of shodan are used: %v", n, used)
	}
	if used["virustotal day requests"] == 0 || used["crt.sh minute requests"] == 0 {
		t.Errorf("%v", used)
	}
}

// checkFiles looks for the key in everything that was stored: tables, queues, blobs, and the files of the secrets.
func checkFiles(t *testing.T, dir string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files++
		raw, err := os.ReadFile(path)
		if strings.Contains(string(raw), providerstest.Key) {
			t.Errorf("%s shows the key", path)
		}
		return err
	})
	if err != nil || files < 10 {
		t.Errorf("%d files: %v", files, err)
	}
}

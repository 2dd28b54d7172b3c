package ingest

import (
	"strings"
	"testing"

	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
)

// Which identity may prove an account, and what its owner is told to do.
func TestRoleOfAccount(t *testing.T) {
	const (
		subscription = "azure:cfbbd179-59d2-4052-aa06-9270a38aa9d6"
		application  = "11111111-2222-3333-4444-555555555555"
	)
	for _, c := range []struct{ account, role, want, says string }{
		{"aws:123456789012", "", "arn:aws:iam::123456789012:role/RiskProfiler", "external id riskprofiler-t"},
		{"aws:123456789012", "arn:aws:iam::210987654321:role/X", "", ""},
		{subscription, application, application, "tag the subscription riskprofiler=riskprofiler-t"},
		{subscription, "reader", "", ""},
		{subscription, "", "", ""},
		{"google:demo-project-1", "reader@security-tools.iam.gserviceaccount.com", "reader@security-tools.iam.gserviceaccount.com", "label the project riskprofiler=riskprofiler-t"},
		{"google:demo-project-1", "reader@example.com", "", ""},
		{"google:demo-project-1", "a@b@security-tools.iam.gserviceaccount.com", "", ""},
		{"google:demo-project-1", "", "", ""},
	} {
		got, err := roleOf(c.account, c.role)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s %q: %q %v", c.account, c.role, got, err)
		}
		if err != nil {
			continue
		}
		text := instruction(c.account, &ingestv1.Proof{Method: ingestv1.ProofMethod_PROOF_METHOD_CLOUD_ROLE, Location: got, Token: "riskprofiler-t"})
		if !strings.Contains(text, c.says) || !strings.Contains(text, got) {
			t.Errorf("%s: %s", c.account, text)
		}
	}
}

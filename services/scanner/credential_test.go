package scanner

import (
	"context"
	"errors"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	scannerv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/scanner/v1"
	"github.com/riskprofiler/riskprofiler/platform/authn"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/secret"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
	"github.com/riskprofiler/riskprofiler/services/scanner/providers"
)

// door is a probe of clouds that shows with which credential it would go in.
type door struct {
	knocker
	seen []string
}

func (*door) ScanType() modelv1.ScanType { return modelv1.ScanType_SCAN_TYPE_CLOUD }

func (d *door) ProveRole(ctx context.Context, env probes.Env, account string, _ *modelv1.CloudAccess) error {
	name, _, _ := strings.Cut(account, ":")
	credential, err := env.Credential(ctx, name)
	d.seen = append(d.seen, credential)
	if err != nil {
		return err
	}
	return fault.New(fault.FailedPrecondition, "no tag")
}

// A tenant's accounts are entered with what that tenant stored, and never with another's; AWS knows no stored credential.
func TestCredentialOfTenant(t *testing.T) {
	secrets := &secret.Memory{}
	for tenant, text := range map[string]string{"acme": `{"of":"acme"}`, "other": `{"of":"other"}`} {
		value, err := proto.Marshal(&modelv1.ProviderCredential{Key: text})
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"azure", "aws"} {
			if err := secrets.Put(t.Context(), tenant, name, value); err != nil {
				t.Fatal(err)
			}
		}
	}
	p := &door{}
	s := watchedScanner(t, &gate{}, p)
	s.providers = providers.New(providers.Options{Secrets: secrets})
	for _, c := range []struct{ tenant, account, want string }{
		{"acme", "azure:cfbbd179-59d2-4052-aa06-9270a38aa9d6", `{"of":"acme"}`}, {"other", "azure:cfbbd179-59d2-4052-aa06-9270a38aa9d6", `{"of":"other"}`},
		{"stranger", "azure:cfbbd179-59d2-4052-aa06-9270a38aa9d6", ""}, {"acme", "google:demo-project-1", ""}, {"acme", "aws:123456789012", ""},
	} {
		p.seen = nil
		ctx := authn.NewContext(t.Context(), authn.Principal{Tenant: c.tenant, Subject: "service:ingest"})
		_, err := s.ProveCloudRole(ctx, &scannerv1.ProveCloudRoleRequest{Account: c.account, Access: &modelv1.CloudAccess{Role: "r", ExternalId: "e"}})
		if !errors.Is(err, fault.FailedPrecondition) || len(p.seen) != 2 || p.seen[0] != c.want || p.seen[1] != c.want {
			t.Errorf("%s at %s: %q, %v", c.tenant, c.account, p.seen, err)
		}
	}
	if watchedScanner(t, &gate{}, p).credential("acme") != nil {
		t.Error("a scanner without secrets has a way to them")
	}
}

package gateway

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	accessv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/access/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/authn"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/secret"
	"github.com/riskprofiler/riskprofiler/platform/table"
	"github.com/riskprofiler/riskprofiler/platform/table/sqlitetable"
)

const canary = "canary-7d1e55f2-provider-key-wxyz"

// broken is a store of secrets that is down.
type broken struct{ secret.Memory }

func (*broken) Put(context.Context, string, string, []byte) error {
	return fault.New(fault.Unavailable, "the store of secrets is down")
}

func keeper(t *testing.T, secrets secret.Writer, log *bytes.Buffer) (*Service, string) {
	t.Helper()
	dir := t.TempDir()
	db, err := sqlitetable.Open(t.Context(), sqlitetable.Options{Path: filepath.Join(dir, "tables.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return New(Deps{
		Table: table.New(db.Table("gateway"), table.Options{Name: "gateway"}), Secrets: secrets,
		Logger: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}), dir
}

func admin(ctx context.Context, tenant string) context.Context {
	return authn.NewContext(ctx, authn.Principal{Tenant: tenant, Subject: "key:boss", Roles: []string{authn.RoleAdmin}})
}

func TestProviderKeys(t *testing.T) {
	secrets, log := &secret.Memory{}, &bytes.Buffer{}
	s, dir := keeper(t, secrets, log)
	acme, other := admin(t.Context(), "acme"), admin(t.Context(), "other")
	limits := &modelv1.ProviderLimits{CreditsPerMonth: 10_000}
	k, err := s.CreateProviderKey(acme, &accessv1.CreateProviderKeyRequest{Provider: "shodan", Key: canary, Limits: limits})
	if err != nil || k.GetLastFour() != "wxyz" || k.GetUpdatedBy() != "key:boss" || k.GetLimits().GetCreditsPerMonth() != 10_000 || k.GetCreateTime() == nil {
		t.Fatalf("%v %v", k, err)
	}
	stored := func(want string) {
		t.Helper()
		value, err := secrets.Get(t.Context(), "acme", "shodan")
		c := &modelv1.ProviderCredential{}
		if err != nil || proto.Unmarshal(value, c) != nil || c.GetKey() != want || want == canary && c.GetLimits().GetCreditsPerMonth() != 10_000 {
			t.Fatalf("stored: %d bytes, %v", len(value), err)
		}
	}
	stored(canary)
	if _, err := s.CreateProviderKey(acme, &accessv1.CreateProviderKeyRequest{Provider: "shodan", Key: "other-key-0000"}); !errors.Is(err, fault.AlreadyExists) {
		t.Errorf("again: %v", err)
	}
	stored(canary)

	// Another tenant sees and changes nothing.
	if list, err := s.ListProviderKeys(other, nil); err != nil || len(list.GetProviderKeys()) != 0 {
		t.Errorf("%v %v", list, err)
	}
	_, update := s.UpdateProviderKey(other, &accessv1.UpdateProviderKeyRequest{Name: "providerKeys/shodan", Key: "other-key-0000"})
	_, remove := s.DeleteProviderKey(other, &accessv1.DeleteProviderKeyRequest{Name: "providerKeys/shodan"})
	if !errors.Is(update, fault.NotFound) || !errors.Is(remove, fault.NotFound) {
		t.Errorf("%v %v", update, remove)
	}
	stored(canary)

	list, err := s.ListProviderKeys(acme, nil)
	if err != nil || len(list.GetProviderKeys()) != 1 {
		t.Fatalf("%v %v", list, err)
	}
	shown, _ := protojson.Marshal(list)
	files, err := os.ReadFile(filepath.Join(dir, "tables.db"))
	wal, _ := os.ReadFile(filepath.Join(dir, "tables.db-wal"))
	if err != nil || strings.Contains(string(shown)+log.String()+string(files)+string(wal), canary) {
		t.Errorf("the key is shown: %s, log %s, table %v", shown, log, err)
	}

	if k, err = s.UpdateProviderKey(acme, &accessv1.UpdateProviderKeyRequest{Name: "providerKeys/shodan", Key: "new-key-0000-abcd"}); err != nil || k.GetLastFour() != "abcd" {
		t.Fatalf("%v %v", k, err)
	}
	stored("new-key-0000-abcd")
	if _, err := s.DeleteProviderKey(acme, &accessv1.DeleteProviderKeyRequest{Name: "providerKeys/shodan"}); err != nil {
		t.Fatal(err)
	}
	if _, err := secrets.Get(t.Context(), "acme", "shodan"); !errors.Is(err, fault.NotFound) {
		t.Errorf("after its end: %v", err)
	}
	if list, err := s.ListProviderKeys(acme, nil); err != nil || len(list.GetProviderKeys()) != 0 {
		t.Errorf("%v %v", list, err)
	}
}

func TestProviderKeyRefusals(t *testing.T) {
	s, _ := keeper(t, &broken{}, &bytes.Buffer{})
	acme := admin(t.Context(), "acme")
	if _, err := s.CreateProviderKey(acme, &accessv1.CreateProviderKeyRequest{Provider: "nobody", Key: canary}); !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "shodan") {
		t.Errorf("unknown provider: %v", err)
	}
	// What could not be stored is not listed, and can be tried again.
	for range 2 {
		if _, err := s.CreateProviderKey(acme, &accessv1.CreateProviderKeyRequest{Provider: "shodan", Key: canary}); !errors.Is(err, fault.Unavailable) || strings.Contains(err.Error(), canary) {
			t.Errorf("no store: %v", err)
		}
	}
	if list, err := s.ListProviderKeys(acme, nil); err != nil || len(list.GetProviderKeys()) != 0 {
		t.Errorf("%v %v", list, err)
	}
	if _, err := s.ListProviderKeys(admin(t.Context(), ""), nil); !errors.Is(err, fault.PermissionDenied) {
		t.Errorf("without a tenant: %v", err)
	}
}

// A credential for a cloud is a line of JSON; a key of another provider is one word. No refusal shows any of it.
func TestCredentials(t *testing.T) {
	secrets := &secret.Memory{}
	s, _ := keeper(t, secrets, &bytes.Buffer{})
	acme := admin(t.Context(), "acme")
	for name, c := range map[string]struct {
		provider, key string
		ok            bool
	}{
		"a credential":     {"azure", `{"tenant":"t","client_id":"c","client_secret":"` + canary + ` with spaces"}`, true},
		"a long one":       {"google", `{"private_key":"` + strings.Repeat("a", 3000) + `"}`, true},
		"no JSON":          {"azure", canary, false},
		"a list":           {"google", `["` + canary + `"]`, false},
		"a cut one":        {"google", `{"private_key":"` + canary, false},
		"a key of 2 words": {"shodan", canary + " " + canary, false},
		"a long key":       {"shodan", strings.Repeat(canary, 20), false},
	} {
		k, err := s.CreateProviderKey(acme, &accessv1.CreateProviderKeyRequest{Provider: c.provider, Key: c.key})
		if (err == nil) != c.ok || err != nil && (!errors.Is(err, fault.Invalid) || strings.Contains(err.Error(), canary)) {
			t.Errorf("%s: %v", name, err)
		}
		if c.ok {
			if _, err := s.UpdateProviderKey(acme, &accessv1.UpdateProviderKeyRequest{Name: k.GetName(), Key: "no JSON at all"}); !errors.Is(err, fault.Invalid) {
				t.Errorf("%s: replaced by no JSON: %v", name, err)
			}
		}
	}
}

package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/authn"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/table"
	"github.com/riskprofiler/riskprofiler/platform/table/sqlitetable"
)

// cloud is a provider whose answer about a role can be changed, and which counts how often it is asked.
type cloud struct {
	mu    sync.Mutex
	err   error
	asked int
	token string
}

func (c *cloud) prove(_ context.Context, _ string, access *modelv1.CloudAccess) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked++
	if c.err == nil && c.token != "" && c.token != access.GetExternalId() {
		return fault.New(fault.FailedPrecondition, "AccessDenied")
	}
	return c.err
}

func (c *cloud) set(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = err
}

// newService is a service on a table of its own.
func newService(t *testing.T, change func(*Deps)) *Service {
	t.Helper()
	tables, err := sqlitetable.Open(t.Context(), sqlitetable.Options{Path: filepath.Join(t.TempDir(), "tables.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tables.Close() })
	d := Deps{
		Table: table.New(tables.Table("ingest"), table.Options{Name: "ingest", Indexes: Spec.Indexes[tableName]}), Logger: slog.New(slog.DiscardHandler), Self: as,
	}
	if change != nil {
		change(&d)
	}
	s, err := New(d)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

const account = "aws:123456789012"

// proveAccount adds an account and proves it.
func proveAccount(t *testing.T, s *Service, tenant, value string) (*modelv1.Asset, *ingestv1.Proof) {
	t.Helper()
	ctx := as(t.Context(), tenant)
	a, err := s.CreateAsset(ctx, &ingestv1.CreateAssetRequest{Asset: &modelv1.Asset{Value: value}})
	if err != nil {
		t.Fatal(err)
	}
	p, err := s.CreateProof(ctx, &ingestv1.CreateProofRequest{Asset: a.GetName(), Method: ingestv1.ProofMethod_PROOF_METHOD_CLOUD_ROLE})
	if err != nil {
		t.Fatal(err)
	}
	if p, err = s.VerifyProof(ctx, &ingestv1.VerifyProofRequest{Name: p.GetName()}); err != nil {
		t.Fatal(err)
	}
	return a, p
}

// permitted says whether an account may be scanned, as asked at the start of a scan or during one.
func permitted(t *testing.T, s *Service, tenant string, recheck bool) (bool, string) {
	t.Helper()
	res, err := s.CheckScope(as(t.Context(), tenant), &ingestv1.CheckScopeRequest{
		Targets:   []*modelv1.Target{{Kind: modelv1.AssetKind_ASSET_KIND_CLOUD_ACCOUNT, Value: account}},
		ScanTypes: []modelv1.ScanType{modelv1.ScanType_SCAN_TYPE_CLOUD}, Recheck: recheck,
	})
	if err != nil {
		t.Fatal(err)
	}
	return res.GetDecisions()[0].GetAllowed(), res.GetDecisions()[0].GetReason()
}

// events are the record of a tenant, oldest first.
func events(t *testing.T, s *Service, tenant, asset string) []string {
	t.Helper()
	res, err := s.ListAuthorizations(as(t.Context(), tenant), &ingestv1.ListAuthorizationsRequest{Asset: asset})
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, a := range res.GetAuthorizations() {
		text := strings.ToLower(strings.TrimPrefix(a.GetEvent().String(), "EVENT_")) + " " + a.GetMethod() + " " + clearanceText(a.GetClearance()) + " by " + a.GetSubject()
		out = append([]string{text}, out...)
		if a.GetAssetValue() == "" || a.GetReference() == "" || a.GetCreateTime() == nil || a.GetExpireTime() == nil {
			t.Errorf("the record does not say what, by which right, when or until when: %v", a)
		}
	}
	return out
}

// runFor calls the schedule as the clock does.
func runFor(t *testing.T, s *Service, d time.Duration) {
	t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(6 * time.Hour) {
		if err := s.recheck(context.Background()); err != nil {
			t.Error(err)
		}
	}
}

var errOutage = fault.New(fault.Unavailable, "the provider does not answer")

// A proof that stays lives for ever without anybody doing anything; one that is gone ends the ownership when it is looked at, and
// one that cannot be looked at ends it when its time is over.
func TestProofsAreLookedAtAgain(t *testing.T) {
	refused := fault.New(fault.FailedPrecondition, "AccessDenied")
	for _, c := range []struct {
		name   string
		change error
		after  time.Duration // how long it is allowed after the change, to six hours
		state  modelv1.Ownership_State
	}{
		{"it stays", nil, -1, modelv1.Ownership_STATE_VERIFIED},
		{"it is gone", refused, proofLife - checkBefore, modelv1.Ownership_STATE_EXPIRED},
		{"nobody answers", errOutage, proofLife, modelv1.Ownership_STATE_EXPIRED},
	} {
		synctest.Test(t, func(t *testing.T) {
			provider := &cloud{}
			s := newService(t, func(d *Deps) { d.CloudRole = provider.prove })
			a, _ := proveAccount(t, s, "acme", account)
			if ok, why := permitted(t, s, "acme", false); !ok {
				t.Fatalf("%s: %s", c.name, why)
			}
			provider.set(c.change)
			changed := time.Now()
			var until time.Duration
			for range 90 * 4 {
				runFor(t, s, 6*time.Hour)
				if ok, _ := permitted(t, s, "acme", false); !ok {
					until = time.Since(changed)
					break
				}
			}
			if c.after < 0 && until != 0 || c.after >= 0 && (until < c.after || until > c.after+12*time.Hour) {
				t.Errorf("%s: no longer allowed after %s, want %s", c.name, until, c.after)
			}
			runFor(t, s, 24*time.Hour)
			got, err := s.GetAsset(as(t.Context(), "acme"), &ingestv1.GetAssetRequest{Name: a.GetName()})
			if err != nil || got.GetOwnership().GetState() != c.state || (c.state == modelv1.Ownership_STATE_EXPIRED) != (got.GetOwnership().GetReason() != "") {
				t.Errorf("%s: %v %v", c.name, got.GetOwnership(), err)
			}
			before := provider.asked
			runFor(t, s, 24*time.Hour)
			if c.state == modelv1.Ownership_STATE_EXPIRED && provider.asked != before {
				t.Errorf("%s: what was withdrawn is asked about %d times more", c.name, provider.asked-before)
			}
		})
	}
}

// At the start of a scan a proof that was last seen a day ago is looked at again: what is gone is refused at once, what nobody can
// say is refused this time, what has come back counts again.
func TestScanStartLooksAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		provider := &cloud{}
		s := newService(t, func(d *Deps) { d.CloudRole = provider.prove })
		a, _ := proveAccount(t, s, "acme", account)
		step := func(name string, err error, wait time.Duration, want bool, says string, asks int) {
			t.Helper()
			provider.set(err)
			time.Sleep(wait)
			before := provider.asked
			ok, why := permitted(t, s, "acme", true)
			if ok != want || !strings.Contains(why, says) || provider.asked-before != asks {
				t.Errorf("%s: %v because %q, asked %d times; want %v, %q, %d", name, ok, why, provider.asked-before, want, says, asks)
			}
		}
		refused := fault.New(fault.FailedPrecondition, "AccessDenied")
		step("seen just now", refused, 23*time.Hour, true, "", 0)
		step("nobody answers", errOutage, time.Hour, false, "could not be looked at again", 1)
		if ok, why := permitted(t, s, "acme", false); !ok {
			t.Errorf("what runs goes on: %s", why)
		}
		step("it answers again", nil, time.Minute, true, "", 1)
		step("gone", refused, 24*time.Hour, false, "AccessDenied", 1)
		if ok, _ := permitted(t, s, "acme", false); ok {
			t.Error("what runs goes on though the proof is gone")
		}
		step("back", nil, time.Hour, true, "", 1)
		want := []string{
			"granted cloud-role standard by tester", "withdrawn cloud-role passive by " + rechecker, "granted cloud-role standard by " + rechecker,
		}
		for _, asset := range []string{"", a.GetName()} {
			if got := events(t, s, "acme", asset); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("record of %q: %q, want %q", asset, got, want)
			}
		}
		if got := events(t, s, "other", ""); len(got) != 0 {
			t.Errorf("another tenant's record: %q", got)
		}
	})
}

// A token is of one tenant and one asset.
func TestTokensAreBound(t *testing.T) {
	provider := &cloud{}
	s := newService(t, func(d *Deps) { d.CloudRole = provider.prove })
	_, p := proveAccount(t, s, "acme", account)
	if len(p.GetToken()) != len("riskprofiler-")+32 || !p.GetVerified() {
		t.Errorf("proof %v", p)
	}
	provider.token = p.GetToken() // the role's trust policy now names this external id
	if _, theirs := proveAccount(t, s, "other", account); theirs.GetVerified() || theirs.GetToken() == p.GetToken() {
		t.Errorf("another tenant's proof: %v", theirs)
	}
	if ok, _ := permitted(t, s, "other", true); ok {
		t.Error("another tenant may scan it")
	}
	if ok, why := permitted(t, s, "acme", true); !ok {
		t.Error(why)
	}
	if _, err := s.VerifyProof(as(t.Context(), "other"), &ingestv1.VerifyProofRequest{Name: p.GetName()}); !errors.Is(err, fault.NotFound) {
		t.Errorf("another tenant verifies the proof: %v", err)
	}
}

func TestClearanceIsGranted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		provider := &cloud{}
		s := newService(t, func(d *Deps) { d.CloudRole = provider.prove })
		ctx := as(t.Context(), "acme")
		fresh, err := s.CreateAsset(ctx, &ingestv1.CreateAssetRequest{Asset: &modelv1.Asset{Value: "acme.com"}})
		if err != nil {
			t.Fatal(err)
		}
		grant := func(asset string, c modelv1.Clearance) (*modelv1.Asset, error) {
			return s.GrantClearance(ctx, &ingestv1.GrantClearanceRequest{Name: asset, Clearance: c, Reference: "ticket 7"})
		}
		if _, err := grant(fresh.GetName(), intrusive); !errors.Is(err, fault.FailedPrecondition) {
			t.Errorf("what is not proven: %v", err)
		}
		a, _ := proveAccount(t, s, "acme", account)
		got, err := grant(a.GetName(), intrusive)
		if err != nil || got.GetOwnership().GetClearance() != intrusive {
			t.Fatalf("%v %v", got, err)
		}
		// It outlives a look at the proof, and not the loss of it.
		time.Sleep(25 * time.Hour)
		permitted(t, s, "acme", true)
		if got, _ := s.GetAsset(ctx, &ingestv1.GetAssetRequest{Name: a.GetName()}); got.GetOwnership().GetClearance() != intrusive {
			t.Errorf("after a look: %v", got.GetOwnership())
		}
		provider.set(fault.New(fault.FailedPrecondition, "AccessDenied"))
		time.Sleep(25 * time.Hour)
		permitted(t, s, "acme", true)
		provider.set(nil)
		permitted(t, s, "acme", true)
		if got, _ := s.GetAsset(ctx, &ingestv1.GetAssetRequest{Name: a.GetName()}); got.GetOwnership().GetClearance() != standard {
			t.Errorf("after a loss: %v", got.GetOwnership())
		}
		if _, err := grant(a.GetName(), passive); err != nil {
			t.Fatal(err)
		}
		if ok, why := permitted(t, s, "acme", false); ok || !strings.Contains(why, "cleared for passive") {
			t.Errorf("lowered to passive: %v %s", ok, why)
		}
	})
}

func TestAttestationEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t, nil)
		ctx := as(t.Context(), "acme")
		a, err := s.CreateAsset(ctx, &ingestv1.CreateAssetRequest{Asset: &modelv1.Asset{Value: account}})
		if err != nil {
			t.Fatal(err)
		}
		for name, until := range map[string]time.Time{"past": time.Now().Add(-time.Second), "now": time.Now(), "too long": time.Now().Add(367 * 24 * time.Hour)} {
			if _, err := s.AttestAsset(ctx, &ingestv1.AttestAssetRequest{Name: a.GetName(), Reason: "contract", ExpireTime: timestamppb.New(until)}); !errors.Is(err, fault.Invalid) {
				t.Errorf("%s: %v", name, err)
			}
		}
		for _, c := range []struct{ given, life time.Duration }{{0, proofLife}, {time.Hour, time.Hour}, {300 * 24 * time.Hour, 300 * 24 * time.Hour}} {
			req := &ingestv1.AttestAssetRequest{Name: a.GetName(), Reason: "contract"}
			if c.given > 0 {
				req.ExpireTime = timestamppb.New(time.Now().Add(c.given))
			}
			if _, err := s.AttestAsset(ctx, req); err != nil {
				t.Fatal(err)
			}
			time.Sleep(c.life - time.Second)
			if ok, why := permitted(t, s, "acme", true); !ok {
				t.Errorf("%s before its end: %s", c.life, why)
			}
			time.Sleep(time.Second)
			if ok, _ := permitted(t, s, "acme", true); ok {
				t.Errorf("%s at its end: allowed", c.life)
			}
		}
		if got := events(t, s, "acme", a.GetName()); len(got) != 3 || got[0] != "granted operator standard by tester" {
			t.Errorf("record %q", got)
		}
	})
}

// Stops: of a tenant, of an operator for one tenant, and for all.
func TestStops(t *testing.T) {
	s := newService(t, func(d *Deps) { d.CloudRole = (&cloud{}).prove })
	for _, tenant := range []string{"acme", "other"} {
		proveAccount(t, s, tenant, account)
	}
	admin := func(tenant string) context.Context {
		return authn.NewContext(t.Context(), authn.Principal{Tenant: tenant, Subject: "admin of " + tenant, Roles: []string{authn.RoleAdmin}})
	}
	operator := as(t.Context(), "operators")
	for _, c := range []struct {
		name        string
		ctx         context.Context
		stop        *ingestv1.Stop
		err         fault.Code
		acme, other bool // still allowed
	}{
		{"a tenant's own", admin("acme"), &ingestv1.Stop{Target: "AWS:123456789012"}, 0, false, true},
		{"all of a tenant's", admin("acme"), &ingestv1.Stop{}, 0, false, true},
		{"something else", admin("acme"), &ingestv1.Stop{Target: "acme.com"}, 0, true, true},
		{"of another tenant", admin("acme"), &ingestv1.Stop{Tenant: "tenants/other"}, fault.PermissionDenied, true, true},
		{"of all by one", admin("acme"), &ingestv1.Stop{AllTenants: true}, fault.PermissionDenied, true, true},
		{"one and all", operator, &ingestv1.Stop{AllTenants: true, Tenant: "tenants/acme"}, fault.Invalid, true, true},
		{"what is no target", admin("acme"), &ingestv1.Stop{Target: "a b"}, fault.Invalid, true, true},
		{"a port", admin("acme"), &ingestv1.Stop{Target: "acme.com:443"}, fault.Invalid, true, true},
		{"one tenant by an operator", operator, &ingestv1.Stop{Tenant: "tenants/other"}, 0, true, false},
		{"a target of all", operator, &ingestv1.Stop{AllTenants: true, Target: account}, 0, false, false},
		{"everything", operator, &ingestv1.Stop{AllTenants: true, Reason: "incident"}, 0, false, false},
	} {
		stop, err := s.CreateStop(c.ctx, &ingestv1.CreateStopRequest{Stop: c.stop})
		if c.err == 0 && err != nil || c.err != 0 && !errors.Is(err, c.err) {
			t.Errorf("%s: %v", c.name, err)
		}
		acme, why := permitted(t, s, "acme", true)
		other, _ := permitted(t, s, "other", true)
		if acme != c.acme || other != c.other || !acme && !strings.Contains(why, "was stopped at") {
			t.Errorf("%s: allowed %v and %v because %q, want %v and %v", c.name, acme, other, why, c.acme, c.other)
		}
		if err != nil {
			continue
		}
		listed, err := s.ListStops(admin("other"), &ingestv1.ListStopsRequest{})
		seen := err == nil && len(listed.GetStops()) == 1
		if want := !c.other && (!c.stop.GetAllTenants() || c.stop.GetTarget() == ""); seen != want {
			t.Errorf("%s: the other tenant sees it: %v %v", c.name, listed, err)
		}
		if _, err := s.DeleteStop(admin("other"), &ingestv1.DeleteStopRequest{Name: stop.GetName()}); !errors.Is(err, fault.NotFound) {
			t.Errorf("%s: the other tenant resumes it: %v", c.name, err)
		}
		if _, err := s.DeleteStop(c.ctx, &ingestv1.DeleteStopRequest{Name: stop.GetName()}); err != nil {
			t.Errorf("%s: resume: %v", c.name, err)
		}
		if ok, why := permitted(t, s, "acme", true); !ok {
			t.Errorf("%s: after it was resumed: %s", c.name, why)
		}
	}
}

// What is stopped is not looked at for proofs either.
func TestStoppedProofsAreNotLookedAt(t *testing.T) {
	provider := &cloud{}
	s := newService(t, func(d *Deps) { d.CloudRole = provider.prove })
	ctx := as(t.Context(), "acme")
	_, p := proveAccount(t, s, "acme", account)
	if _, err := s.CreateStop(ctx, &ingestv1.CreateStopRequest{Stop: &ingestv1.Stop{Target: account}}); err != nil {
		t.Fatal(err)
	}
	before := provider.asked
	if _, err := s.VerifyProof(ctx, &ingestv1.VerifyProofRequest{Name: p.GetName()}); !errors.Is(err, fault.FailedPrecondition) || provider.asked != before {
		t.Errorf("%v, asked %d times", err, provider.asked-before)
	}
}

package authn

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

func mint(t testing.TB, service string, key ed25519.PrivateKey, p Principal) string {
	t.Helper()
	s, err := NewSigner(SignerOptions{Service: service, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	token, err := s.Mint(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// pair is a signer of the gateway and a verifier that knows it.
func pair(t testing.TB) (*Signer, *Verifier) {
	t.Helper()
	dir := t.TempDir()
	keys := writeRing(t, dir, "gateway")
	s, err := NewSigner(SignerOptions{Service: "gateway", Key: keys["gateway"]})
	if err != nil {
		t.Fatal(err)
	}
	return s, NewVerifier(VerifierOptions{Keys: OpenKeyRing(dir)})
}

func TestTokenCarriesThePrincipal(t *testing.T) {
	s, v := pair(t)
	for _, p := range []Principal{
		{Tenant: "t1", Subject: "user:ann@example.com", Roles: []string{RoleAdmin, RoleViewer}},
		{Subject: "key:ab12", Roles: []string{RoleOperator}},
		{Tenant: "tenant with spaces, \"quotes\" and ümläuts", Subject: "user:<b>"},
		ForService("scheduler", "t1"), ForService("gateway", ""),
	} {
		token, err := s.Mint(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		want := p
		want.Issuer = "gateway"
		for range 2 { // the second time from the cache
			got, err := v.Verify(t.Context(), token)
			if diff := cmp.Diff(want, got); err != nil || diff != "" {
				t.Errorf("%v (-minted +verified):\n%s", err, diff)
			}
		}
	}
}

func TestMintRefuses(t *testing.T) {
	s, _ := pair(t)
	roles := slices.Repeat([]string{RoleViewer}, MaxRoles+1)
	for name, p := range map[string]Principal{
		"nobody": {}, "no subject": {Tenant: "t1"}, "a person who says to be a service": {Subject: "service:scheduler"},
		"a service with another name": {Subject: "service:scheduler", Service: "gateway"}, "a service with a person's subject": {Subject: "user:a", Service: "gateway"},
		"long tenant": {Tenant: strings.Repeat("t", MaxTenantBytes+1), Subject: "user:a"}, "long subject": {Subject: strings.Repeat("s", MaxSubjectBytes+1)},
		"line end in tenant": {Tenant: "t1\nuser:b", Subject: "user:a"}, "line end in subject": {Subject: "user:a\nadmin"},
		"line end in role": {Subject: "user:a", Roles: []string{"viewer\nadmin"}}, "empty role": {Subject: "user:a", Roles: []string{""}},
		"long role": {Subject: "user:a", Roles: []string{strings.Repeat("r", MaxRoleBytes+1)}}, "many roles": {Subject: "user:a", Roles: roles},
	} {
		if token, err := s.Mint(t.Context(), p); err == nil || token != "" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTokensOfOnePrincipalAreNotAnothers(t *testing.T) {
	s, v := pair(t)
	part := rapid.StringMatching(`[a-z:,. ]{0,3}`)
	rapid.Check(t, func(t *rapid.T) {
		p := Principal{Tenant: part.Draw(t, "tenant"), Subject: "u" + part.Draw(t, "subject"), Roles: rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "a,b", "a b"}), 0, 3).Draw(t, "roles")}
		token, err := s.Mint(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		got, err := v.Verify(t.Context(), token)
		if err != nil || got.Tenant != p.Tenant || got.Subject != p.Subject || !slices.Equal(got.Roles, p.Roles) {
			t.Fatalf("minted for %+v, verified as %+v, %v", p, got, err)
		}
	})
}

func TestTokenLife(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		keys := writeRing(t, dir, "gateway")
		s, err := NewSigner(SignerOptions{Service: "gateway", Key: keys["gateway"]})
		if err != nil {
			t.Fatal(err)
		}
		ring := OpenKeyRing(dir)
		warm := NewVerifier(VerifierOptions{Keys: ring})
		p := Principal{Tenant: "t1", Subject: "user:a"}
		first, err := s.Mint(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(TokenLifetime/2 - time.Second)
		if again, err := s.Mint(t.Context(), p); err != nil || again != first {
			t.Error("minted anew in the first half of its life")
		}
		time.Sleep(time.Second)
		second, err := s.Mint(t.Context(), p)
		if err != nil || second == first {
			t.Error("not minted anew in the second half of its life")
		}
		for _, c := range []struct {
			after time.Duration
			want  bool
		}{{0, true}, {TokenLifetime/2 + clockSkew - time.Second, true}, {time.Second, false}, {time.Hour, false}} {
			time.Sleep(c.after)
			for name, v := range map[string]*Verifier{"cached": warm, "fresh": NewVerifier(VerifierOptions{Keys: ring})} {
				if _, err := v.Verify(t.Context(), first); (err == nil) != c.want {
					t.Errorf("%s, %s later: %v", name, c.after, err)
				}
			}
		}
	})
}

func TestClocksThatDiffer(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		keys := writeRing(t, dir, "gateway")
		v := NewVerifier(VerifierOptions{Keys: OpenKeyRing(dir)})
		for ahead, want := range map[time.Duration]bool{0: true, clockSkew - time.Second: true, clockSkew + time.Second: false, time.Hour: false} {
			token := forge(header(keys), claimsAt(time.Now().Add(ahead)), keys["gateway"])
			if _, err := v.Verify(t.Context(), token); (err == nil) != want {
				t.Errorf("signer %s ahead: %v", ahead, err)
			}
		}
	})
}

// TestPrincipalsShareNothing: roles that a handler changes stay its own.
func TestPrincipalsShareNothing(t *testing.T) {
	s, v := pair(t)
	p := Principal{Tenant: "t1", Subject: "user:a", Roles: []string{RoleViewer}}
	token, err := s.Mint(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	ctx := NewContext(t.Context(), p)
	p.Roles[0] = RoleAdmin
	for range 2 {
		got, err := v.Verify(t.Context(), token)
		if err != nil || got.Roles[0] != RoleViewer {
			t.Errorf("verified as %v, %v", got, err)
		}
		got.Roles[0] = RoleAdmin
		got, ok := FromContext(ctx)
		if !ok || got.Roles[0] != RoleViewer {
			t.Errorf("the context has %v, %v", got, ok)
		}
		got.Roles[0] = RoleAdmin
	}
	if _, ok := FromContext(t.Context()); ok {
		t.Error("a principal out of nothing")
	}
}

func TestCachesAreBounded(t *testing.T) {
	c := newCache[int](64)
	for i := range 10_000 {
		c.put(fmt.Sprint(i), i)
		if v, ok := c.get("0"); !ok || v != 0 {
			t.Fatalf("after %d others what is in use was forgotten", i)
		}
		if c.len() > 64 {
			t.Fatalf("%d entries after %d", c.len(), i)
		}
	}
	if _, ok := c.get("1"); ok {
		t.Error("what nobody asked for is still there")
	}
	c.drop("0")
	if _, ok := c.get("0"); ok {
		t.Error("what was dropped is still there")
	}
	s, v := pair(t)
	if s.minted.half != MaxCachedTokens/2 || v.verified.half != MaxCachedTokens/2 {
		t.Errorf("%d minted, %d verified", 2*s.minted.half, 2*v.verified.half)
	}
}

func TestConcurrentUse(t *testing.T) {
	s, v := pair(t)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 200 {
				want := Principal{Tenant: fmt.Sprint("t", (i+g)%7), Subject: "user:a", Issuer: "gateway"}
				token, err := s.Mint(t.Context(), want)
				if err != nil {
					t.Error(err)
				}
				if got, err := v.Verify(t.Context(), token); err != nil || !cmp.Equal(want, got) {
					t.Errorf("got %v, %v", got, err)
				}
			}
		})
	}
	wg.Wait()
}

func TestNewSignerRefuses(t *testing.T) {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range []SignerOptions{{}, {Service: "gateway"}, {Service: "gateway", Key: key[:10]}, {Service: "../x", Key: key}} {
		if _, err := NewSigner(o); !errors.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", o.Service, err)
		}
	}
}

func BenchmarkMintCached(b *testing.B) {
	s, _ := pair(b)
	p := Principal{Tenant: "tenant-1", Subject: "user:ann@example.com", Roles: []string{RoleAnalyst}}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.bearer(b.Context(), &p); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerifyCached(b *testing.B) {
	s, v := pair(b)
	token, err := s.Mint(b.Context(), Principal{Tenant: "tenant-1", Subject: "user:ann@example.com", Roles: []string{RoleAnalyst}})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.verify(b.Context(), token); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkFloorEd25519Verify is what a token costs that is not remembered, at least.
func BenchmarkFloorEd25519Verify(b *testing.B) {
	public, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		b.Fatal(err)
	}
	message := make([]byte, 300)
	sig := ed25519.Sign(key, message)
	for b.Loop() {
		if !ed25519.Verify(public, message, sig) {
			b.Fatal("no")
		}
	}
}

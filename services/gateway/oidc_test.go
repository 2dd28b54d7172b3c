package gateway

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caarlos0/env/v11"
	"github.com/golang-jwt/jwt/v5"

	"github.com/riskprofiler/riskprofiler/platform/authn"
	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// issuer is an OpenID Connect issuer: its configuration, its keys, and tokens that it signs.
type issuer struct {
	*httptest.Server

	key *ecdsa.PrivateKey
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	i := &issuer{key: key}
	number := func(n *big.Int) string { return base64.RawURLEncoding.EncodeToString(n.FillBytes(make([]byte, 32))) }
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{"issuer": i.URL, "jwks_uri": i.URL + "/keys", "id_token_signing_alg_values_supported": []string{"ES256"}})
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{"keys": []any{map[string]any{
			"kty": "EC", "crv": "P-256", "kid": "k1", "alg": "ES256", "use": "sig", "x": number(key.X), "y": number(key.Y),
		}}})
	})
	i.Server = httptest.NewServer(mux)
	t.Cleanup(i.Close)
	return i
}

// token signs claims; what is given replaces what a good token has, nil removes it.
func (i *issuer) token(t *testing.T, change map[string]any) string {
	t.Helper()
	claims := jwt.MapClaims{
		"iss": i.URL, "sub": "ann", "aud": "riskprofiler", "exp": time.Now().Add(time.Hour).Unix(), "iat": time.Now().Unix(),
		"custom:tenant": "acme", "cognito:groups": []string{"analyst", "viewer", "unknown"},
	}
	for name, value := range change {
		if claims[name] = value; value == nil {
			delete(claims, name)
		}
	}
	token := jwt.NewWithClaims(jwt.SigningMethodES256, claims)
	token.Header["kid"] = "k1"
	text, err := token.SignedString(i.key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func (i *issuer) signOn(t *testing.T) *signOn {
	t.Helper()
	s, err := newSignOn(oidcSettings{Issuer: i.URL, Audience: "riskprofiler", TenantClaim: "custom:tenant", RolesClaim: "cognito:groups"},
		func(_ context.Context, tenant string) (bool, error) { return tenant == "acme", nil })
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSignOn(t *testing.T) {
	i := newIssuer(t)
	s := i.signOn(t)
	for name, change := range map[string]map[string]any{
		"identity token":         nil,
		"Cognito's access token": {"aud": nil, "client_id": "riskprofiler"},
		"a resource name":        {"custom:tenant": "tenants/acme"},
		"roles as one text":      {"cognito:groups": "viewer analyst"},
		"one of many audiences":  {"aud": []string{"other", "riskprofiler"}},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := s.authenticate(t.Context(), i.token(t, change))
			if err != nil || p.Tenant != "acme" || p.Subject != "user:ann" || strings.Join(p.Roles, " ") != authn.RoleAnalyst+" "+authn.RoleViewer {
				t.Errorf("%+v, %v", p, err)
			}
		})
	}
}

func TestTokensThatDoNotWork(t *testing.T) {
	i, stranger := newIssuer(t), newIssuer(t)
	s := i.signOn(t)
	good := i.token(t, nil)
	none := jwt.NewWithClaims(jwt.SigningMethodNone, jwt.MapClaims{"iss": i.URL, "sub": "ann", "aud": "riskprofiler", "custom:tenant": "acme", "exp": time.Now().Add(time.Hour).Unix()})
	unsigned, err := none.SignedString(jwt.UnsafeAllowNoneSignatureType)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"ended":                   i.token(t, map[string]any{"exp": time.Now().Add(-time.Minute).Unix()}),
		"for another application": i.token(t, map[string]any{"aud": "other"}),
		"for another client":      i.token(t, map[string]any{"aud": nil, "client_id": "other"}),
		"of another issuer":       stranger.token(t, nil),
		"in its name":             stranger.token(t, map[string]any{"iss": i.URL}),
		"without a tenant":        i.token(t, map[string]any{"custom:tenant": nil}),
		"of a suspended tenant":   i.token(t, map[string]any{"custom:tenant": "gone"}),
		"without a subject":       i.token(t, map[string]any{"sub": nil}),
		"not signed":              unsigned,
		"signature cut":           good[:len(good)-4],
		"no token":                "a.b.c",
		"large":                   strings.Repeat("a", maxTokenBytes) + ".b.c",
	} {
		t.Run(name, func(t *testing.T) {
			if p, err := s.authenticate(t.Context(), text); !errors.Is(err, fault.Unauthenticated) {
				t.Errorf("%+v, %v; want Unauthenticated", p, err)
			}
		})
	}
}

// TestIssuerThatIsDown: it says so, and is not asked again at once.
func TestIssuerThatIsDown(t *testing.T) {
	i := newIssuer(t)
	token, s := i.token(t, nil), i.signOn(t)
	i.Close()
	for range 2 {
		if _, err := s.authenticate(t.Context(), token); !errors.Is(err, fault.Unavailable) {
			t.Errorf("%v, want Unavailable", err)
		}
	}
	if s.failed.IsZero() {
		t.Error("the failure is not remembered")
	}
}

// TestIssuerThatGoesDown: without its keys nothing is said about a token.
func TestIssuerThatGoesDown(t *testing.T) {
	i := newIssuer(t)
	s := i.signOn(t)
	if _, err := s.keys(t.Context()); err != nil {
		t.Fatal(err)
	}
	token := i.token(t, nil)
	i.Close()
	if _, err := s.authenticate(t.Context(), token); !errors.Is(err, fault.Unavailable) {
		t.Errorf("%v, want Unavailable", err)
	}
}

// TestSettings: the environment reaches the settings, those of single sign-on too.
func TestSettings(t *testing.T) {
	var c settings
	if err := env.ParseWithOptions(&c, env.Options{Environment: map[string]string{"RISKPROFILER_OIDC_ISSUER": "https://issuer.example"}}); err != nil {
		t.Fatal(err)
	}
	if c.SignOn.Issuer != "https://issuer.example" || c.SignOn.RolesClaim != "cognito:groups" || c.KeyRate != 200 {
		t.Errorf("%+v", c)
	}
}

func TestSignOnNeedsAnAudience(t *testing.T) {
	if _, err := newSignOn(oidcSettings{Issuer: "https://issuer.example"}, nil); !errors.Is(err, fault.Invalid) {
		t.Errorf("%v, want Invalid", err)
	}
	if s, err := newSignOn(oidcSettings{}, nil); s != nil || err != nil {
		t.Errorf("%v, %v without an issuer", s, err)
	}
}

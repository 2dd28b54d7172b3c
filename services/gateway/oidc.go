package gateway

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/riskprofiler/riskprofiler/platform/authn"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/resource"
)

const (
	// issuerTimeout bounds one request to the issuer.
	issuerTimeout = 5 * time.Second
	// issuerPause is how long the edge leaves an issuer alone that did not answer.
	issuerPause = 10 * time.Second
	// maxTokenBytes bounds a token before it is looked at: far above what issuers give out, far below a header's limit.
	maxTokenBytes = 16 << 10
)

// oidcSettings let people in by single sign-on: by tokens of an OpenID Connect issuer, Amazon Cognito for example.
type oidcSettings struct {
	// Issuer is the issuer's URL. Empty: only API keys are accepted.
	Issuer string `env:"RISKPROFILER_OIDC_ISSUER"`
	// Audience has to be among a token's audiences, or be its client_id, which is where Cognito's access tokens have it
	// (https://docs.aws.amazon.com/cognito/latest/developerguide/amazon-cognito-user-pools-using-the-access-token.html).
	Audience string `env:"RISKPROFILER_OIDC_AUDIENCE"`
	// TenantClaim and RolesClaim name the claims that say whose data the person may see and what the person may do: viewer,
	// analyst, admin or operator, as a list or as one text with spaces.
	TenantClaim string `env:"RISKPROFILER_OIDC_TENANT_CLAIM" envDefault:"custom:tenant"`
	RolesClaim  string `env:"RISKPROFILER_OIDC_ROLES_CLAIM" envDefault:"cognito:groups"`
}

// signOn verifies tokens. The issuer is asked for its keys when the first token comes, so that a start needs no network and no
// issuer.
type signOn struct {
	settings oidcSettings
	// active says whether a tenant exists and is not suspended.
	active func(ctx context.Context, tenant string) (bool, error)

	mu       sync.Mutex
	verifier *oidc.IDTokenVerifier
	failed   time.Time
}

// newSignOn is nil if no issuer is set.
func newSignOn(c oidcSettings, active func(ctx context.Context, tenant string) (bool, error)) (*signOn, error) {
	if c.Issuer == "" {
		return nil, nil
	}
	if c.Audience == "" {
		return nil, fault.New(fault.Invalid, "read settings: RISKPROFILER_OIDC_ISSUER is set, so RISKPROFILER_OIDC_AUDIENCE is needed too: "+
			"without it, a token for any other application of the issuer would do")
	}
	return &signOn{settings: c, active: active}, nil
}

// errToken is the one answer to every token that does not work.
func errToken() error { return fault.New(fault.Unauthenticated, "invalid or expired token") }

// unavailable is the answer while the issuer cannot be asked.
func unavailable(err error) error {
	return fault.Wrap(fault.Unavailable, err, "single sign-on is not available now; an API key works")
}

// isToken says whether a credential has the form of a signed token and not of an API key.
func isToken(text string) bool { return strings.Count(text, ".") == 2 }

// authenticate is the principal that a token stands for.
func (s *signOn) authenticate(ctx context.Context, text string) (authn.Principal, error) {
	if len(text) > maxTokenBytes {
		return authn.Principal{}, errToken()
	}
	verifier, err := s.keys(ctx)
	if err != nil {
		return authn.Principal{}, err
	}
	var down error
	token, err := verifier.Verify(context.WithValue(ctx, outage{}, &down), text)
	if down != nil {
		return authn.Principal{}, unavailable(down)
	}
	if err != nil {
		return authn.Principal{}, errToken()
	}
	p, err := s.principal(token)
	if err != nil {
		return authn.Principal{}, err
	}
	// The issuer does not know that a tenant was suspended.
	ok, err := s.active(ctx, p.Tenant)
	if err != nil {
		return authn.Principal{}, err
	}
	if !ok {
		return authn.Principal{}, errToken()
	}
	return p, nil
}

// principal reads a token that was verified.
func (s *signOn) principal(token *oidc.IDToken) (authn.Principal, error) {
	claims := map[string]any{}
	if err := token.Claims(&claims); err != nil {
		return authn.Principal{}, errToken()
	}
	client, _ := claims["client_id"].(string)
	if !slices.Contains(token.Audience, s.settings.Audience) && client != s.settings.Audience {
		return authn.Principal{}, errToken()
	}
	tenant, _ := claims[s.settings.TenantClaim].(string)
	if tenant = resource.ID(tenant); tenant == "" || token.Subject == "" {
		return authn.Principal{}, fault.New(fault.Unauthenticated, "the token names no tenant: have the issuer set the claim %q", s.settings.TenantClaim)
	}
	return authn.Principal{Tenant: tenant, Subject: "user:" + token.Subject, Roles: knownRoles(claims[s.settings.RolesClaim])}, nil
}

// knownRoles are the roles of a claim that the platform knows.
func knownRoles(claim any) []string {
	var names []string
	switch c := claim.(type) {
	case string:
		names = strings.Fields(c)
	case []any:
		for _, e := range c {
			if name, ok := e.(string); ok {
				names = append(names, name)
			}
		}
	}
	var out []string
	for _, role := range roleNames {
		if slices.Contains(names, role) {
			out = append(out, role)
		}
	}
	slices.Sort(out)
	return out
}

// keys finds the issuer when it is first needed. Who else needs it meanwhile waits; an issuer that failed is left alone for a while.
func (s *signOn) keys(ctx context.Context) (*oidc.IDTokenVerifier, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.verifier != nil {
		return s.verifier, nil
	}
	if time.Since(s.failed) < issuerPause {
		return nil, unavailable(fault.New(fault.Unavailable, "the issuer did not answer"))
	}
	// The client lives on in the verifier, which fetches new keys by it: it must not end with this request.
	ctx = oidc.ClientContext(context.WithoutCancel(ctx), &http.Client{Timeout: issuerTimeout})
	provider, err := oidc.NewProvider(ctx, s.settings.Issuer)
	if err != nil {
		s.failed = time.Now()
		return nil, unavailable(err)
	}
	var published struct {
		Keys       string   `json:"jwks_uri"`
		Algorithms []string `json:"id_token_signing_alg_values_supported"`
	}
	if err := provider.Claims(&published); err != nil {
		s.failed = time.Now()
		return nil, unavailable(err)
	}
	s.verifier = oidc.NewVerifier(s.settings.Issuer, issuerKeys{oidc.NewRemoteKeySet(ctx, published.Keys)}, &oidc.Config{
		SkipClientIDCheck:    true, // principal checks it
		SupportedSigningAlgs: slices.DeleteFunc(published.Algorithms, func(a string) bool { return !slices.Contains(algorithms, a) }),
	})
	return s.verifier, nil
}

// algorithms of signatures that are accepted: those with a public key (RFC 8725, section 3.1).
var algorithms = []string{oidc.RS256, oidc.RS384, oidc.RS512, oidc.PS256, oidc.PS384, oidc.PS512, oidc.ES256, oidc.ES384, oidc.ES512, oidc.EdDSA}

// outage is where issuerKeys leaves the reason why keys could not be fetched, which says nothing about a token: the verifier gives
// that as words only.
type outage struct{}

type issuerKeys struct{ oidc.KeySet }

// VerifySignature verifies a token's signature, and tells apart what is wrong with the network.
func (k issuerKeys) VerifySignature(ctx context.Context, text string) ([]byte, error) {
	payload, err := k.KeySet.VerifySignature(ctx, text)
	var network *url.Error
	if errors.As(err, &network) {
		if down, ok := ctx.Value(outage{}).(*error); ok {
			*down = err
		}
	}
	return payload, err
}

package authn

import (
	"context"
	"crypto/ed25519"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// The token's form (RFC 7519, with the advice of RFC 8725).
const (
	// TokenLifetime is how long a token is good for.
	TokenLifetime = 5 * time.Minute
	// MaxTokenBytes is the largest text that is looked at as a token. It is judged before parsing
	// (CVE-2025-30204: memory spent on a text full of dots).
	MaxTokenBytes = 8 << 10
	// MaxCachedTokens bounds the caches of a Signer and of a Verifier.
	MaxCachedTokens = 4096

	audience  = "riskprofiler"
	tokenType = "rp+jwt"
	algorithm = "EdDSA"
	// clockSkew is how far apart two machines' clocks may be. Cloud time services keep them within
	// milliseconds; containers on a laptop that slept need more.
	clockSkew = 10 * time.Second
)

// claims are what a token says.
type claims struct {
	jwt.RegisteredClaims

	Tenant string   `json:"tenant,omitempty"`
	Roles  []string `json:"roles,omitempty"`
}

// SignerOptions configure a [Signer].
type SignerOptions struct {
	// Service is the name of the service that signs.
	Service string
	// Key is its private key, from [LoadKeys].
	Key ed25519.PrivateKey
	// Load gives the private key when it is first needed, instead of Key. If it fails, the call that
	// needed the key fails and the next one asks again.
	Load func(ctx context.Context) (ed25519.PrivateKey, error)
}

// Signer mints the tokens of one service. It may be used concurrently.
type Signer struct {
	service string
	load    func(ctx context.Context) (ed25519.PrivateKey, error)
	minted  *cache[mintedToken]

	mu  sync.Mutex
	key *signingKey // nil until it is loaded
}

type signingKey struct {
	private ed25519.PrivateKey
	kid     string
}

// mintedToken keeps the form that the header has, so that a call costs no concatenation.
type mintedToken struct {
	bearer string
	remint time.Time
}

// NewSigner makes a signer.
func NewSigner(o SignerOptions) (*Signer, error) {
	if !validService(o.Service) {
		return nil, fault.New(fault.Invalid, "make signer: %q is no service name", o.Service)
	}
	s := &Signer{service: o.Service, load: o.Load, minted: newCache[mintedToken](MaxCachedTokens)}
	if o.Load == nil {
		var err error
		if s.key, err = newSigningKey(o.Service, o.Key); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func newSigningKey(service string, key ed25519.PrivateKey) (*signingKey, error) {
	if len(key) != ed25519.PrivateKeySize {
		return nil, fault.New(fault.Invalid, "make signer of %s: the key has %d bytes, not %d", service, len(key), ed25519.PrivateKeySize)
	}
	public, ok := key.Public().(ed25519.PublicKey)
	if !ok {
		return nil, fault.New(fault.Invalid, "make signer of %s: no Ed25519 key", service)
	}
	return &signingKey{private: key, kid: KeyID(service, public)}, nil
}

// signing is the key, loaded if it is not yet. Calls that come meanwhile wait for the same load.
func (s *Signer) signing(ctx context.Context) (*signingKey, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.key != nil {
		return s.key, nil
	}
	private, err := s.load(ctx)
	if err != nil {
		return nil, err
	}
	s.key, err = newSigningKey(s.service, private)
	return s.key, err
}

// Service is the name that the signer's tokens are issued by.
func (s *Signer) Service() string { return s.service }

// Mint gives a token that says that this service acts for p. Tokens are kept and handed out again
// for the first half of their life, so a token that is sent has at least half of it left.
func (s *Signer) Mint(ctx context.Context, p Principal) (string, error) {
	bearer, err := s.bearer(ctx, &p)
	return strings.TrimPrefix(bearer, bearerPrefix), err
}

// bearer is the value of the authorization header.
func (s *Signer) bearer(ctx context.Context, p *Principal) (string, error) {
	if err := p.check(); err != nil {
		return "", err
	}
	now := time.Now()
	// The parts cannot contain a line end: check saw to it.
	key := p.Tenant + "\n" + p.Subject
	for _, r := range p.Roles {
		key += "\n" + r
	}
	if m, ok := s.minted.get(key); ok && now.Before(m.remint) {
		return m.bearer, nil
	}
	signing, err := s.signing(ctx)
	if err != nil {
		return "", err
	}
	token := jwt.NewWithClaims(jwt.SigningMethodEdDSA, &claims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: s.service, Subject: p.Subject, Audience: jwt.ClaimStrings{audience},
			IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(TokenLifetime)),
		},
		Tenant: p.Tenant, Roles: p.Roles,
	})
	token.Header["typ"], token.Header["kid"] = tokenType, signing.kid
	text, err := token.SignedString(signing.private)
	if err != nil {
		return "", fault.Wrap(fault.Internal, err, "mint token")
	}
	m := mintedToken{bearer: bearerPrefix + text, remint: now.Add(TokenLifetime / 2)}
	s.minted.put(key, m)
	return m.bearer, nil
}

// VerifierOptions configure a [Verifier].
type VerifierOptions struct {
	// Keys are whose tokens are accepted.
	Keys Keys
}

// Verifier judges tokens. It may be used concurrently.
//
// It accepts one algorithm, EdDSA, with a key that is bound to the service that the token names as
// its issuer. Key references inside a token (jku, x5u, jwk, x5c) are never followed: a token whose
// header has anything but alg, kid and typ is refused.
//
// A verified token is remembered until it expires, so a key that is withdrawn stops working after
// at most [TokenLifetime].
type Verifier struct {
	keys     Keys
	parser   *jwt.Parser
	verified *cache[verifiedToken]
}

type verifiedToken struct {
	principal *Principal
	expires   time.Time
}

// NewVerifier makes a verifier.
func NewVerifier(o VerifierOptions) *Verifier {
	return &Verifier{
		keys: o.Keys,
		parser: jwt.NewParser(
			jwt.WithValidMethods([]string{algorithm}), jwt.WithAudience(audience),
			jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithLeeway(clockSkew),
			jwt.WithStrictDecoding(),
		),
		verified: newCache[verifiedToken](MaxCachedTokens),
	}
}

// Verify gives the principal that a token stands for. Every failure is the same Unauthenticated:
// what exactly was wrong would only help who made it up. Where the keys themselves cannot be had it
// is Unavailable: the token may well be good.
func (v *Verifier) Verify(ctx context.Context, token string) (Principal, error) {
	p, err := v.verify(ctx, token)
	if err != nil {
		return Principal{}, err
	}
	return p.clone(), nil
}

func (v *Verifier) verify(ctx context.Context, token string) (*Principal, error) {
	if len(token) > MaxTokenBytes {
		return nil, errToken()
	}
	now := time.Now()
	if t, ok := v.verified.get(token); ok {
		if now.Before(t.expires) {
			return t.principal, nil
		}
		v.verified.drop(token)
		return nil, errToken()
	}
	if !isCompact(token) {
		return nil, errToken()
	}
	c := &claims{}
	keyFor := func(t *jwt.Token) (any, error) { return v.keyFor(ctx, t) }
	if _, err := v.parser.ParseWithClaims(token, c, keyFor); err != nil {
		if errors.Is(err, fault.Unavailable) {
			return nil, fault.Wrap(fault.Unavailable, err, "verify token")
		}
		return nil, errToken()
	}
	p, err := c.principal(now)
	if err != nil {
		return nil, err
	}
	v.verified.put(strings.Clone(token), verifiedToken{principal: p, expires: c.ExpiresAt.Add(clockSkew)})
	return p, nil
}

// isCompact reports whether token is made of base64url and dots. The decoder would skip line ends,
// so that one token had many spellings, each with a place in the cache.
func isCompact(token string) bool {
	for i := range len(token) {
		c := token[i]
		letter := c|0x20 >= 'a' && c|0x20 <= 'z'
		if !letter && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	return true
}

// keyFor checks the header and finds the key that it names, which must be one of the issuer's.
func (v *Verifier) keyFor(ctx context.Context, t *jwt.Token) (any, error) {
	if len(t.Header) != 3 || t.Header["typ"] != tokenType || t.Header["alg"] != algorithm {
		return nil, errToken()
	}
	kid, ok := t.Header["kid"].(string)
	if !ok {
		return nil, errToken()
	}
	c, ok := t.Claims.(*claims)
	if !ok {
		return nil, errToken()
	}
	key, service, err := find(ctx, v.keys, kid)
	if err != nil {
		return nil, err
	}
	if key == nil || service != c.Issuer {
		return nil, errToken()
	}
	return key, nil
}

// principal is who the claims speak of. The parser has checked aud, exp and iat where present.
func (c *claims) principal(now time.Time) (*Principal, error) {
	if c.IssuedAt == nil || c.ExpiresAt == nil || c.ExpiresAt.After(now.Add(TokenLifetime+clockSkew)) {
		return nil, errToken()
	}
	p := &Principal{Tenant: c.Tenant, Subject: c.Subject, Roles: c.Roles, Issuer: c.Issuer}
	if name, ok := strings.CutPrefix(c.Subject, servicePrefix); ok {
		if !validService(name) {
			return nil, errToken()
		}
		p.Service = name
	}
	if p.check() != nil {
		return nil, errToken()
	}
	return p, nil
}

func errToken() error { return fault.New(fault.Unauthenticated, "invalid credentials") }

// Package authn says who a caller is and whether it may call.
//
// Three kinds of proof exist:
//
//   - An API key ([NewKey], [ParseKey]) is what a tenant's program shows at the edge.
//   - An internal token ([Signer], [Verifier]) is what one service shows another. Each service has
//     an Ed25519 key of its own and mints tokens for the principal it acts for; it cannot mint in
//     another service's name, and what it may call is in that method's policy.
//   - Whatever else the edge accepts (a person's OpenID token) becomes a [Principal] there.
//
// Who may call a method is written beside the method in its .proto, as the option
// riskprofiler.access.v1.policy, and read by [PolicySource]. What is not declared is denied.
//
// The tenant of a request is the tenant of its token and never a field of the request.
//
// The package refuses to fetch anything over a network, to accept a token it cannot trace to a
// key it was given, and to say to a caller why a token was refused.
package authn

import (
	"context"
	"slices"
	"strings"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// The roles. A policy lists every role that may call; no role implies another.
const (
	RoleViewer   = "viewer"
	RoleAnalyst  = "analyst"
	RoleAdmin    = "admin"
	RoleOperator = "operator"
)

// ServiceGateway is the issuer whose tokens stand for people and their programs: the edge.
const ServiceGateway = "gateway"

// servicePrefix marks the subject of a service that acts for itself.
const servicePrefix = "service:"

// Limits of a principal. They bound a token to about 2.5 KiB.
const (
	MaxTenantBytes  = 128
	MaxSubjectBytes = 256
	MaxRoles        = 16
	MaxRoleBytes    = 64
)

// Principal is who a request is made for.
type Principal struct {
	// Tenant is the customer. Empty only for what concerns no tenant.
	Tenant string
	// Subject is the person or program, for example "user:ann@example.com" or "key:ab12cd34ef56",
	// or "service:<name>" for a service that acts for itself.
	Subject string
	// Roles are what the subject may do for the tenant.
	Roles []string
	// Service is the name of the service that acts for itself. Empty for people and programs.
	Service string
	// Issuer is the service that vouches for all this: the one that made the call. It is set by a
	// Verifier and ignored by a Signer.
	Issuer string
}

// ForService is the principal of a service that acts for itself: for one tenant, or for none.
// A consumer of a queue takes the tenant from the message it was sent by a trusted service.
func ForService(service, tenant string) Principal {
	return Principal{Tenant: tenant, Subject: servicePrefix + service, Service: service}
}

// HasRole reports whether p has one of roles.
func (p Principal) HasRole(roles ...string) bool {
	for _, have := range p.Roles {
		for _, want := range roles {
			if have == want {
				return true
			}
		}
	}
	return false
}

// check refuses what must not be put into a token. A subject cannot pass itself off as a service.
func (p *Principal) check() error {
	switch {
	case p.Subject == "":
		return fault.New(fault.Internal, "principal has no subject")
	case !plain(p.Tenant, MaxTenantBytes):
		return fault.New(fault.Internal, "principal's tenant is over %d bytes or has control characters", MaxTenantBytes)
	case !plain(p.Subject, MaxSubjectBytes):
		return fault.New(fault.Internal, "principal's subject is over %d bytes or has control characters", MaxSubjectBytes)
	case len(p.Roles) > MaxRoles:
		return fault.New(fault.Internal, "principal has %d roles, at most %d are allowed", len(p.Roles), MaxRoles)
	case p.Service != "" && p.Subject != servicePrefix+p.Service:
		return fault.New(fault.Internal, "principal of service %s has another subject", p.Service)
	case p.Service == "" && strings.HasPrefix(p.Subject, servicePrefix):
		return fault.New(fault.Internal, "subject of a person or program begins with %s", servicePrefix)
	}
	for _, r := range p.Roles {
		if r == "" || !plain(r, MaxRoleBytes) {
			return fault.New(fault.Internal, "a role is empty, over %d bytes or has control characters", MaxRoleBytes)
		}
	}
	return nil
}

// plain reports whether s has at most limit bytes and no control characters. The caches separate
// the parts of their keys by one.
func plain(s string, limit int) bool {
	if len(s) > limit {
		return false
	}
	for i := range len(s) {
		if s[i] < 0x20 || s[i] == 0x7F {
			return false
		}
	}
	return true
}

type contextKey struct{}

// NewContext gives a context whose calls are made for p.
func NewContext(ctx context.Context, p Principal) context.Context {
	p = p.clone()
	return context.WithValue(ctx, contextKey{}, &p)
}

// FromContext is the principal that ctx works for. The result is the caller's own.
func FromContext(ctx context.Context) (Principal, bool) {
	p, ok := ctx.Value(contextKey{}).(*Principal)
	if !ok {
		return Principal{}, false
	}
	return p.clone(), true
}

// clone shares nothing with p. Principals in contexts and caches are shared between requests: who
// could change the roles of one would change them for all.
func (p *Principal) clone() Principal {
	out := *p
	out.Roles = slices.Clone(p.Roles)
	return out
}

// validService reports whether name may be a service's: a lower-case DNS label. It ends up in
// file names.
func validService(name string) bool {
	if name == "" || len(name) > 63 || name[0] < 'a' || name[0] > 'z' {
		return false
	}
	for i := range len(name) {
		c := name[i]
		lower, digit := c >= 'a' && c <= 'z', c >= '0' && c <= '9'
		if !lower && !digit && c != '-' {
			return false
		}
	}
	return true
}

package authn

import (
	"context"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// Tenant is the tenant that a request is made for, and who makes it. It comes from the credential and from nowhere else; a caller
// without a tenant is fault.PermissionDenied.
func Tenant(ctx context.Context) (string, Principal, error) {
	p, ok := FromContext(ctx)
	if !ok || p.Tenant == "" {
		return "", p, fault.New(fault.PermissionDenied, "the caller belongs to no tenant")
	}
	return p.Tenant, p, nil
}

package probes

import (
	"context"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

// RoleProver is what the probe of clouds can do besides scanning: assume the role that the owner of an account made for us, to prove
// control of the account.
type RoleProver interface {
	// ProveRole assumes the role once with the external id and makes sure that it is of the account ("aws:123456789012"). What the
	// provider refuses, and a role of another account, is fault.FailedPrecondition; a provider that does not answer is
	// fault.Unavailable.
	ProveRole(ctx context.Context, env Env, account string, access *modelv1.CloudAccess) error
}

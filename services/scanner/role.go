package scanner

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	scannerv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/scanner/v1"
	"github.com/riskprofiler/riskprofiler/platform/authn"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
)

// ProveCloudRole proves control of a cloud account. A role that can be assumed with another external id proves nothing: any tenant
// that knows its name could claim the account (the confused deputy,
// docs.aws.amazon.com/IAM/latest/UserGuide/confused-deputy.html). At Azure and Google we go in with the caller's own credential, and the
// external id stands in a tag of the account: with another one the same question has to fail there as well.
func (s *Service) ProveCloudRole(ctx context.Context, req *scannerv1.ProveCloudRoleRequest) (*scannerv1.ProveCloudRoleResponse, error) {
	prover, ok := s.probes[modelv1.ScanType_SCAN_TYPE_CLOUD].(probes.RoleProver)
	if !ok {
		return nil, fault.New(fault.Unimplemented, "this platform has no scanner for clouds; have an operator attest the account")
	}
	caller, _ := authn.FromContext(ctx) // without a tenant there is no credential
	env := probes.Env{Guard: s.cloudGuard, Contact: s.contact, Cloud: s.clouds, Credential: s.credential(caller.Tenant)}
	var other [16]byte
	_, _ = rand.Read(other[:]) // never fails: crypto/rand.Read ends the program instead (Go 1.24)
	err := prover.ProveRole(ctx, env, req.GetAccount(), &modelv1.CloudAccess{Role: req.GetAccess().GetRole(), ExternalId: "riskprofiler-" + hex.EncodeToString(other[:])})
	switch {
	case err == nil:
		return nil, fault.New(fault.FailedPrecondition, "role %s lets us in with any external id; require sts:ExternalId in its trust policy", req.GetAccess().GetRole())
	case !errors.Is(err, fault.FailedPrecondition):
		return nil, err
	}
	if err := prover.ProveRole(ctx, env, req.GetAccount(), req.GetAccess()); err != nil {
		return nil, err
	}
	return &scannerv1.ProveCloudRoleResponse{}, nil
}

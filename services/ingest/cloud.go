package ingest

import (
	"context"
	"errors"
	"strings"

	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/target"
)

// CloudRole assumes the role of a cloud account. It succeeds if that works with the external id and with no other. What the provider
// refuses is fault.FailedPrecondition; every other error says nothing about the role.
type CloudRole func(ctx context.Context, account string, access *modelv1.CloudAccess) error

// usualRole is the name of the role in an AWS account where none is given.
const usualRole = "RiskProfiler"

// lookRole assumes the role that the owner of an account made for us.
func (s *Service) lookRole(ctx context.Context, a *modelv1.Asset, p *ingestv1.Proof) sight {
	if s.cloudRole == nil {
		return unknown(errors.New("this platform has no scanner for clouds; have an operator attest the account"), a.GetValue())
	}
	err := s.cloudRole(ctx, a.GetValue(), &modelv1.CloudAccess{Role: p.GetLocation(), ExternalId: p.GetToken()})
	switch {
	case err == nil:
		return sight{state: proofThere}
	case errors.Is(err, fault.FailedPrecondition), errors.Is(err, fault.Invalid):
		return gone("%s cannot be assumed: %s", p.GetLocation(), fault.From(err).Public())
	}
	return unknown(errors.New(fault.From(err).Public()), p.GetLocation())
}

// roleOf is the role in an account: the one that was named, which has to be the account's own, or the one of the usual name.
func roleOf(account, role string) (string, error) {
	provider, id, ok := target.CloudParts(account)
	own := false
	switch provider {
	case target.AWS:
		if role == "" || !strings.Contains(role, ":") {
			name := usualRole
			if role != "" {
				name = role
			}
			return "arn:aws:iam::" + id + ":role/" + name, nil
		}
		// arn:partition:iam::account:role/name (docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html)
		parts := strings.SplitN(role, ":", 6)
		own = len(parts) == 6 && parts[0] == "arn" && parts[2] == "iam" && parts[4] == id && strings.HasPrefix(parts[5], "role/")
	case target.Google:
		// Of any project: what proves control is the label on this one, and one account may read many projects.
		own = strings.HasSuffix(role, ".iam.gserviceaccount.com") && strings.Count(role, "@") == 1
	case target.Azure:
		_, _, own = target.CloudParts("azure:" + strings.ToLower(role)) // the id of an application is a UUID as well
	}
	if !ok || !own {
		return "", fault.WithField(fault.New(fault.Invalid, "role %q does not belong to %s", role, account), "role",
			"the ARN of a role in this account (AWS), the address of a service account (Google), the id of an application (Azure)")
	}
	return role, nil
}

// cloudAccess is how the owner of a verified account lets us in. One that an operator attested has no role here.
func (s *Service) cloudAccess(ctx context.Context, tenant string, sc *scope, t *modelv1.Target) (*modelv1.CloudAccess, error) {
	for _, at := range sc.owned.over(t.GetValue()) {
		proof := sc.seeds[at].GetOwnership().GetProof()
		if proof == "" {
			continue
		}
		p, _, err := s.loadProof(ctx, tenant, proof)
		if errors.Is(err, fault.NotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		return &modelv1.CloudAccess{Role: p.GetLocation(), ExternalId: p.GetToken()}, nil
	}
	return nil, nil
}

// Package aws reads what an account of AWS shows to the internet, with a role that its owner made for us.
//
// It calls only what lists and describes (Actions has them all, and docs/cloud.md the policy), at a pace that leaves the account's own
// people theirs. It judges nothing but what takes the whole account to see: whether a record still points to something that the
// account has, whether the bucket behind a distribution exists, whether a security group stands before a public address. Where a
// listing was refused it draws no conclusion from absence. It refuses a role of another account, and it never shows credentials.
package aws

import (
	"context"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/target"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud"
)

// Provider is AWS. It is safe for concurrent use.
type Provider struct{}

var _ cloud.Provider = (*Provider)(nil)

// New makes the provider. It reads nothing.
func New() *Provider { return &Provider{} }

// Name is "aws".
func (*Provider) Name() string { return target.AWS }

// ProveRole assumes the role once and asks whose it is.
func (*Provider) ProveRole(ctx context.Context, env probes.Env, account string, access *modelv1.CloudAccess) error {
	s, err := open(ctx, env, account, access)
	if err != nil {
		return err
	}
	defer s.close()
	return s.identify(ctx)
}

// Inventory is [cloud.Provider].
func (*Provider) Inventory(ctx context.Context, env probes.Env, account string, access *modelv1.CloudAccess, emit func(cloud.Resource) error) ([]cloud.Gap, error) {
	s, err := open(ctx, env, account, access)
	if err != nil {
		return nil, err
	}
	defer s.close()
	if err := s.identify(ctx); err != nil {
		return nil, err
	}
	in := newInventory(s)
	in.read(ctx)
	in.join(ctx)
	for _, r := range in.found {
		if err := emit(r); err != nil {
			return in.gaps, err
		}
	}
	return in.gaps, nil
}

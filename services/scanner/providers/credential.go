package providers

import (
	"context"
	"slices"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// Clouds are the clouds that a tenant lets us into with a credential of its own, which is kept as its other keys are: the JSON of an
// application ("azure") or of a service account's key ("google"). AWS is not among them: there we assume a role.
var Clouds = []string{"azure", "google"}

// Credential is what a tenant stored for a cloud. There is none: fault.FailedPrecondition. It cannot be read: fault.Unavailable, or
// fault.DataLoss.
func (c *Client) Credential(ctx context.Context, tenant, cloud string) (string, error) {
	if c == nil || !slices.Contains(Clouds, cloud) {
		return "", fault.New(fault.FailedPrecondition, "this scanner has no credentials for %s", cloud)
	}
	stored, err := c.keys.of(ctx, tenant, &Provider{Name: cloud})
	if err != nil {
		return "", fault.Wrap(fault.CodeOf(err), err, "the credential for %s cannot be read", cloud)
	}
	if stored.GetKey() == "" {
		return "", fault.New(fault.FailedPrecondition, "there is no credential for %s; store one with `riskprofiler providers keys add %s`", cloud, cloud)
	}
	return stored.GetKey(), nil
}

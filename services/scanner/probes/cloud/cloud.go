// Package cloud is the scan type cloud: what a provider's own interface says that an account shows to the internet, read with a role
// that the owner made for us.
//
// It reads and never writes, and sends nothing to the resources themselves. It files each resource as a fact of its own, and under
// every address and name that leads to it, so that what is configured can be put beside what is reachable. What could not be read is
// named: an account of which half was refused is partly covered, and never an account with nothing in it. It refuses an account that
// its role does not belong to. Providers live in packages below this one, one line each in package clouds.
package cloud

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/target"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
)

// defaultBudget is for a job that names none.
const defaultBudget = 10 * time.Minute

// Probe is the scan type cloud. It is safe for concurrent use.
type Probe struct{ providers []Provider }

var _ probes.RoleProver = (*Probe)(nil)

// New makes the probe of some providers.
func New(providers ...Provider) *Probe { return &Probe{providers: providers} }

// ScanType is cloud.
func (*Probe) ScanType() modelv1.ScanType { return modelv1.ScanType_SCAN_TYPE_CLOUD }

// Version names this revision of the facts.
func (*Probe) Version() string { return "cloud/1" }

// provider finds who runs an account, and the account's own name.
func (p *Probe) provider(value string) (Provider, string, error) {
	name, account, ok := target.CloudParts(value)
	if !ok {
		return nil, "", fault.New(fault.Invalid, "scan cloud: %q is no cloud account; an example is aws:123456789012", probes.SafeString(value, maxText))
	}
	for _, one := range p.providers {
		if one.Name() == name {
			return one, account, nil
		}
	}
	return nil, "", fault.New(fault.Unimplemented, "this platform has no scanner for accounts of %s; have an operator attest the account", name)
}

// ProveRole is [probes.RoleProver].
func (p *Probe) ProveRole(ctx context.Context, env probes.Env, account string, access *modelv1.CloudAccess) error {
	provider, id, err := p.provider(account)
	if err != nil {
		return err
	}
	if access.GetRole() == "" || access.GetExternalId() == "" {
		return fault.New(fault.FailedPrecondition, "a role of %s needs a name and an external id", account)
	}
	return provider.ProveRole(ctx, env, id, access)
}

// Scan reads the account within the job's budget.
func (p *Probe) Scan(ctx context.Context, env probes.Env, job *modelv1.ScanJob) (*probes.Result, error) {
	provider, account, err := p.provider(job.GetTarget().GetValue())
	if errors.Is(err, fault.Unimplemented) {
		return &probes.Result{Outcome: modelv1.Outcome_OUTCOME_FAILED, Reason: err.Error()}, nil
	}
	if err != nil {
		return nil, err
	}
	budget := probes.Budget(job, defaultBudget)
	ctx, cancel := context.WithTimeout(ctx, budget-budget/20) // what was read is filed within the rest
	defer cancel()
	s := newScan(job, provider.Name(), account)
	gaps, err := provider.Inventory(ctx, env, account, job.GetOptions().GetCloud(), s.take)
	switch {
	case errors.Is(err, fault.FailedPrecondition), errors.Is(err, fault.Invalid):
		return &probes.Result{Outcome: modelv1.Outcome_OUTCOME_FAILED, Reason: err.Error()}, nil
	case err != nil && !errors.Is(err, errFull):
		return &probes.Result{Outcome: modelv1.Outcome_OUTCOME_SOURCE_UNAVAILABLE, Reason: fmt.Sprintf("%s could not be asked: %v", provider.Name(), err)}, nil
	}
	if err != nil {
		gaps = append(gaps, Gap{API: "inventory", Why: GapCut, Detail: "the account has more resources than are kept of one account: " + strconv.Itoa(s.resources) + " were"})
	}
	// The rest needs little, and what was read is not lost for it.
	ctx = context.WithoutCancel(ctx)
	if err := s.settle(ctx, env); err != nil {
		return nil, fault.Wrap(fault.Unavailable, err, "scan cloud: ask what other accounts hold")
	}
	return s.result(ctx, env, gaps)
}

// reason is one line with what is missing, the most frequent kind of news first: what somebody can mend.
func reason(provider string, gaps []Gap) string {
	lines := gapLines(gaps)
	const shown = 6
	more := ""
	if len(lines) > shown {
		more = fmt.Sprintf("; and %d more, which the evidence lists", len(lines)-shown)
		lines = lines[:shown]
	}
	return provider + " was read in part: " + strings.Join(lines, "; ") + more
}

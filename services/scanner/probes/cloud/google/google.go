// Package google reads what a Google Cloud project shows to the internet, from Cloud Asset Inventory's REST API.
//
// It goes in with the key of a service account that the tenant stored among its provider keys ("google"), or as the service account that
// was named for the project, where the stored one may act as that. It reads and never writes, and asks no resource itself. A project
// counts as the tenant's only while it carries a label with the proof's token, which a reader cannot put there. Of the key's file it takes
// no address: tokens are asked for at Google's own.
package google

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/target"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud/rest"
)

// pace is between two calls of one scan: Cloud Asset Inventory allows a project 100 listings a minute
// (cloud.google.com/asset-inventory/docs/quota).
const pace = 700 * time.Millisecond

// origins are where the APIs are.
type origins struct{ token, act, projects, assets string }

// published are the addresses and versions of the APIs: developers.google.com/identity/protocols/oauth2/service-account,
// cloud.google.com/iam/docs/reference/credentials/rest, cloud.google.com/resource-manager/reference/rest (v3) and
// cloud.google.com/asset-inventory/docs/reference/rest (v1).
var published = origins{ //nolint:gosec // G101: addresses, no credentials
	token: "https://oauth2.googleapis.com", act: "https://iamcredentials.googleapis.com",
	projects: "https://cloudresourcemanager.googleapis.com", assets: "https://cloudasset.googleapis.com",
}

// Provider is Google Cloud. It is safe for concurrent use. The operator may name another address for all of its interfaces: "google".
type Provider struct {
	wait func(context.Context, time.Duration) error // nil: as the clock does
}

var _ cloud.Provider = (*Provider)(nil)

// New makes the provider.
func New() *Provider { return &Provider{} }

// Name is google.
func (*Provider) Name() string { return target.Google }

// session is a way into one project.
type session struct {
	at      origins
	sign    *rest.Client // without a token
	act     *rest.Client // with the stored account's, to act as another
	read    *rest.Client // with the token that reads the project
	project string
}

func (s *session) close() {
	s.sign.Close()
	s.act.Close()
	s.read.Close()
}

// ProveRole makes sure that the tenant's credential reads the project and that the project carries the proof.
func (p *Provider) ProveRole(ctx context.Context, env probes.Env, account string, access *modelv1.CloudAccess) error {
	s, err := p.enter(ctx, env, account, access)
	if err != nil {
		return err
	}
	s.close()
	return nil
}

// Inventory is [cloud.Provider].
func (p *Provider) Inventory(ctx context.Context, env probes.Env, account string, access *modelv1.CloudAccess, emit func(cloud.Resource) error) ([]cloud.Gap, error) {
	s, err := p.enter(ctx, env, account, access)
	if err != nil {
		return nil, err
	}
	defer s.close()
	return newScan(s, emit).run(ctx)
}

// enter reads the project with the tenant's credential, as the account that was named for it. Where a proof was made, the project has to
// carry it still.
func (p *Provider) enter(ctx context.Context, env probes.Env, project string, access *modelv1.CloudAccess) (*session, error) {
	c, err := rest.Credential(ctx, env, target.Google, parseCredential)
	if err != nil {
		return nil, err
	}
	at := origins{
		token: rest.At(env, target.Google, published.token), act: rest.At(env, target.Google, published.act),
		projects: rest.At(env, target.Google, published.projects), assets: rest.At(env, target.Google, published.assets),
	}
	s := &session{at: at, project: project}
	s.sign = rest.New(rest.Options{Env: env, Origins: []string{rest.Origin(at.token)}, Wait: p.wait})
	own := rest.Cached(func(ctx context.Context) (rest.Secret, time.Duration, error) { return c.exchange(ctx, s.sign, at) })
	s.act = rest.New(rest.Options{Env: env, Origins: []string{rest.Origin(at.act)}, Wait: p.wait, Token: own})
	token := own
	if role := access.GetRole(); role != "" && !strings.EqualFold(role, c.email) {
		if !emailForm(role) {
			s.sign.Close()
			s.act.Close()
			return nil, fault.New(fault.FailedPrecondition, "the role of google project %s is no service account's address", project)
		}
		token = rest.Cached(func(ctx context.Context) (rest.Secret, time.Duration, error) { return actAs(ctx, s.act, at, role) })
	}
	s.read = rest.New(rest.Options{Env: env, Origins: []string{rest.Origin(at.projects), rest.Origin(at.assets)}, Pace: pace, Wait: p.wait, Token: token})
	if err := s.look(ctx, access.GetExternalId()); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// look reads the project, and the proof on it where one is wanted.
func (s *session) look(ctx context.Context, proof string) error {
	body, err := s.read.Get(ctx, s.at.projects+"/v3/projects/"+s.project)
	if err != nil {
		return rest.Fault(err, "enter google project "+s.project)
	}
	id, labels, err := parseProject(body)
	if err != nil || id != s.project {
		return fault.New(fault.Unavailable, "enter google project %s: the answer is about none or another", s.project)
	}
	if proof != "" && labels[rest.ProofLabel] != proof {
		return fault.New(fault.FailedPrecondition, "project %s does not carry the label %s with the proof's token; set it on the project", s.project, rest.ProofLabel)
	}
	return nil
}

// parseProject reads projects.get.
func parseProject(body []byte) (id string, labels map[string]string, err error) {
	var answer struct {
		ID     string            `json:"projectId"`
		Labels map[string]string `json:"labels"`
	}
	err = json.Unmarshal(body, &answer)
	return answer.ID, answer.Labels, err
}

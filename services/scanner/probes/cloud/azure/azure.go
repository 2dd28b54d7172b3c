// Package azure reads what an Azure subscription shows to the internet, from Azure Resource Manager's REST API.
//
// It goes in with the credential that the tenant stored among its provider keys ("azure"), as an application with the role Reader. It
// reads and never writes, and asks no resource itself. A subscription counts as the tenant's only while it carries a tag with the proof's
// token, which a reader cannot put there. It refuses links that lead to another host than Microsoft's own.
package azure

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

// pace is between two calls of one scan. Azure Resource Manager refills 25 reads a second for a subscription and a principal
// (learn.microsoft.com/azure/azure-resource-manager/management/request-limits-and-throttling), Resource Graph 15 queries in 5 s.
const pace = 100 * time.Millisecond

// Versions of the interfaces, each the newest that the public specification (github.com/Azure/azure-rest-api-specs) calls stable and
// that all Azure clouds have.
const (
	versionSubscriptions = "2022-12-01" // Microsoft.Resources, Subscriptions_Get
	versionPermissions   = "2022-04-01" // Microsoft.Authorization, Permissions (at the scope of a subscription)
	versionGraph         = "2022-10-01" // Microsoft.ResourceGraph, Resources
	versionContainers    = "2023-05-01" // Microsoft.Storage, BlobContainers_List
	versionSQL           = "2021-11-01" // Microsoft.Sql, FirewallRules_ListByServer
	versionPostgreSQL    = "2022-12-01" // Microsoft.DBforPostgreSQL, FirewallRules_ListByServer
	versionMySQL         = "2023-12-30" // Microsoft.DBforMySQL, FirewallRules_ListByServer
	versionWeb           = "2022-09-01" // Microsoft.Web, WebApps_GetConfiguration
	versionDNS           = "2018-05-01" // Microsoft.Network, RecordSets_ListByDnsZone
)

// place is one of Azure's clouds (learn.microsoft.com/entra/identity-platform/authentication-national-cloud).
type place struct{ login, management string }

var places = map[string]place{
	"public":       {"https://login.microsoftonline.com", "https://management.azure.com"},
	"usgovernment": {"https://login.microsoftonline.us", "https://management.usgovcloudapi.net"},
	"china":        {"https://login.partner.microsoftonline.cn", "https://management.chinacloudapi.cn"},
}

// Provider is Azure. It is safe for concurrent use. The operator may name other addresses for it: "azure" and "azure-login".
type Provider struct {
	wait func(context.Context, time.Duration) error // nil: as the clock does
}

var _ cloud.Provider = (*Provider)(nil)

// New makes the provider.
func New() *Provider { return &Provider{} }

// Name is azure.
func (*Provider) Name() string { return target.Azure }

// session is a way into one subscription.
type session struct {
	login, manage *rest.Client
	base          string
	subscription  string
}

func (s *session) close() {
	s.login.Close()
	s.manage.Close()
}

// ProveRole makes sure that the tenant's credential reads the subscription and that the subscription carries the proof.
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

// enter reads the subscription with the tenant's credential. Where a role was proven, it has to be the credential's application, and the
// subscription has to carry the proof still.
func (p *Provider) enter(ctx context.Context, env probes.Env, account string, access *modelv1.CloudAccess) (*session, error) {
	c, err := rest.Credential(ctx, env, target.Azure, parseCredential)
	if err != nil {
		return nil, err
	}
	if role := access.GetRole(); role != "" && !strings.EqualFold(role, c.client) {
		return nil, fault.New(fault.FailedPrecondition, "the stored credential is of application %s and not of %s; store that one's, or prove the account anew", c.client, probes.SafeString(role, 64))
	}
	at, ok := places[c.cloud]
	if !ok {
		return nil, fault.New(fault.FailedPrecondition, "the credential for azure names an unknown cloud; use public, usgovernment or china")
	}
	login := rest.At(env, "azure-login", at.login)
	s := &session{base: rest.At(env, target.Azure, at.management), subscription: account}
	s.login = rest.New(rest.Options{Env: env, Origins: []string{rest.Origin(login)}, Wait: p.wait})
	s.manage = rest.New(rest.Options{
		Env: env, Origins: []string{rest.Origin(s.base)}, Pace: pace, Wait: p.wait,
		Token: rest.Cached(func(ctx context.Context) (rest.Secret, time.Duration, error) {
			return c.exchange(ctx, s.login, login, at)
		}),
	})
	if err := s.look(ctx, access.GetExternalId()); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// url is a URL of Azure Resource Manager.
func (s *session) url(path, version string) string { return s.base + path + "?api-version=" + version }

// look reads the subscription, and the proof on it where one is wanted.
func (s *session) look(ctx context.Context, proof string) error {
	body, err := s.manage.Get(ctx, s.url("/subscriptions/"+s.subscription, versionSubscriptions))
	if err != nil {
		return rest.Fault(err, "enter azure subscription "+s.subscription)
	}
	id, tags, err := parseSubscription(body)
	if err != nil || !strings.EqualFold(id, s.subscription) {
		return fault.New(fault.Unavailable, "enter azure subscription %s: the answer is about none or another", s.subscription)
	}
	if proof == "" {
		return nil
	}
	for name, value := range tags {
		if strings.EqualFold(name, rest.ProofLabel) && value == proof { // names of tags have no case
			return nil
		}
	}
	return fault.New(fault.FailedPrecondition, "subscription %s does not carry the tag %s with the proof's token; set it on the subscription itself", s.subscription, rest.ProofLabel)
}

// parseSubscription reads Subscriptions_Get.
func parseSubscription(body []byte) (id string, tags map[string]string, err error) {
	var answer struct {
		ID   string            `json:"subscriptionId"`
		Tags map[string]string `json:"tags"`
	}
	err = json.Unmarshal(body, &answer)
	return answer.ID, answer.Tags, err
}

// readsAll reads Permissions_List: whether the caller may read everything at the scope it was asked of. Who reads only some groups of
// resources is shown a smaller subscription without a word.
func readsAll(body []byte) (bool, error) {
	var answer struct {
		Value []struct {
			Actions    []string `json:"actions"`
			NotActions []string `json:"notActions"`
		} `json:"value"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return false, err
	}
	for _, role := range answer.Value {
		for _, action := range role.Actions {
			if (action == "*" || action == "*/read") && !hidesReads(role.NotActions) {
				return true, nil
			}
		}
	}
	return false, nil
}

// hidesReads says whether what a role leaves out is reading; the built-in roles leave out writes and deletions.
func hidesReads(not []string) bool {
	for _, action := range not {
		if action == "*" || strings.HasSuffix(strings.ToLower(action), "/read") || strings.HasSuffix(action, "/*") {
			return true
		}
	}
	return false
}

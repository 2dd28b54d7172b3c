package gateway

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	accessv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/access/v1"
	"github.com/riskprofiler/riskprofiler/platform/authn"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/resource"
	"github.com/riskprofiler/riskprofiler/platform/table"
	"github.com/riskprofiler/riskprofiler/platform/table/protoitem"
)

// The table's partitions. ARCHITECTURE.md lists the access patterns.
//
//	TENANTS              <tenant id>
//	T#<tenant>#PROVIDERS <provider>  what is shown of a key for a third party
//	K#<key id>           ""          an API key with the hash of its secret: found by its visible part before a tenant is known
//
// Index: "keys" (T#<tenant>, create time # key id).
const (
	tenantsPartition = "TENANTS"
	indexKeys        = "keys"
)

func tenantKey(tenant string) table.Key {
	return table.Key{Partition: tenantsPartition, Sort: resource.ID(tenant)}
}

func keyKey(key string) table.Key { return table.Key{Partition: "K#" + resource.ID(key)} }

func principal(ctx context.Context) (authn.Principal, error) {
	p, ok := authn.FromContext(ctx)
	if !ok {
		return p, fault.New(fault.Unauthenticated, "no credential")
	}
	return p, nil
}

// roleNames and roles translate between the contract and the credential.
var roleNames = map[accessv1.Role]string{
	accessv1.Role_ROLE_VIEWER: authn.RoleViewer, accessv1.Role_ROLE_ANALYST: authn.RoleAnalyst,
	accessv1.Role_ROLE_ADMIN: authn.RoleAdmin, accessv1.Role_ROLE_OPERATOR: authn.RoleOperator,
}

func rolesOf(names []string) []accessv1.Role {
	var out []accessv1.Role
	for r, n := range roleNames {
		if slices.Contains(names, n) {
			out = append(out, r)
		}
	}
	slices.Sort(out)
	return out
}

// WhoAmI tells what the credential stands for.
func (s *Service) WhoAmI(ctx context.Context, _ *accessv1.WhoAmIRequest) (*accessv1.WhoAmIResponse, error) {
	p, err := principal(ctx)
	if err != nil {
		return nil, err
	}
	return &accessv1.WhoAmIResponse{Tenant: "tenants/" + p.Tenant, Subject: p.Subject, Roles: rolesOf(p.Roles)}, nil
}

func randomID(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails: crypto/rand.Read ends the program instead (Go 1.24)
	return hex.EncodeToString(b)
}

// CreateTenant adds a customer.
func (s *Service) CreateTenant(ctx context.Context, req *accessv1.CreateTenantRequest) (*accessv1.Tenant, error) {
	tenantID := req.GetTenantId()
	if tenantID == "" {
		tenantID = "t" + randomID(8)
	}
	t := &accessv1.Tenant{Name: "tenants/" + tenantID, DisplayName: req.GetTenant().GetDisplayName(), CreateTime: timestamppb.Now()}
	item, err := protoitem.New(tenantKey(tenantID), t)
	if err != nil {
		return nil, err
	}
	err = s.table.Write(ctx, table.Write{Item: item})
	if errors.Is(err, fault.Conflict) {
		return nil, fault.WithField(fault.New(fault.AlreadyExists, "tenant %s exists", tenantID), "tenant_id", "choose another id")
	}
	return t, err
}

func (s *Service) loadTenant(ctx context.Context, tenant string) (*accessv1.Tenant, int64, error) {
	item, err := s.table.Get(ctx, tenantKey(tenant))
	if errors.Is(err, fault.NotFound) {
		return nil, 0, fault.New(fault.NotFound, "%s does not exist", "tenants/"+resource.ID(tenant))
	}
	if err != nil {
		return nil, 0, err
	}
	t, err := protoitem.Decode(item, &accessv1.Tenant{})
	return t, item.Revision, err
}

// readActive says whether a tenant exists and is not suspended.
func (s *Service) readActive(ctx context.Context, tenant string) (bool, error) {
	t, _, err := s.loadTenant(ctx, tenant)
	if errors.Is(err, fault.NotFound) {
		return false, nil
	}
	return err == nil && !t.GetSuspended(), err
}

// GetTenant returns a tenant. Only operators see others than their own.
func (s *Service) GetTenant(ctx context.Context, req *accessv1.GetTenantRequest) (*accessv1.Tenant, error) {
	p, err := principal(ctx)
	if err != nil {
		return nil, err
	}
	if resource.ID(req.GetName()) != p.Tenant && !p.HasRole(authn.RoleOperator) {
		return nil, fault.New(fault.NotFound, "%s does not exist", req.GetName())
	}
	t, _, err := s.loadTenant(ctx, req.GetName())
	return t, err
}

// ListTenants lists all tenants.
func (s *Service) ListTenants(ctx context.Context, req *accessv1.ListTenantsRequest) (*accessv1.ListTenantsResponse, error) {
	page, err := s.table.Query(ctx, table.Query{Partition: tenantsPartition, Limit: resource.PageSize(req.GetPageSize()), PageToken: req.GetPageToken()})
	if err != nil {
		return nil, err
	}
	res := &accessv1.ListTenantsResponse{NextPageToken: page.NextPageToken}
	for _, item := range page.Items {
		t, err := protoitem.Decode(item, &accessv1.Tenant{})
		if err != nil {
			return nil, err
		}
		res.Tenants = append(res.Tenants, t)
	}
	return res, nil
}

// SuspendTenant stops or resumes a tenant.
func (s *Service) SuspendTenant(ctx context.Context, req *accessv1.SuspendTenantRequest) (*accessv1.Tenant, error) {
	t, revision, err := s.loadTenant(ctx, req.GetName())
	if err != nil {
		return nil, err
	}
	t.Suspended = !req.GetResume()
	item, err := protoitem.New(tenantKey(req.GetName()), t)
	if err != nil {
		return nil, err
	}
	return t, s.table.Write(ctx, table.Write{Item: item, If: table.Condition(revision)})
}

// keyTenant is the tenant that a key request is about: the caller's own, or the one an operator names.
func keyTenant(p authn.Principal, wish string) (string, error) {
	if wish == "" || resource.ID(wish) == p.Tenant {
		if p.Tenant == "" {
			return "", fault.WithField(fault.New(fault.Invalid, "name the tenant"), "tenant", "name the tenant")
		}
		return p.Tenant, nil
	}
	if !p.HasRole(authn.RoleOperator) {
		return "", fault.New(fault.NotFound, "%s does not exist", wish)
	}
	return resource.ID(wish), nil
}

// CreateKey makes a key. Nobody hands out more than they have: only operators make operators.
func (s *Service) CreateKey(ctx context.Context, req *accessv1.CreateKeyRequest) (*accessv1.CreateKeyResponse, error) {
	p, err := principal(ctx)
	if err != nil {
		return nil, err
	}
	tenant, err := keyTenant(p, req.GetTenant())
	if err != nil {
		return nil, err
	}
	if slices.Contains(req.GetRoles(), accessv1.Role_ROLE_OPERATOR) && !p.HasRole(authn.RoleOperator) {
		return nil, fault.New(fault.PermissionDenied, "only an operator makes keys for operators")
	}
	if e := req.GetExpireTime(); e != nil && !e.AsTime().After(time.Now()) {
		return nil, fault.WithField(fault.New(fault.Invalid, "expire_time lies in the past"), "expire_time", "choose a later time or leave it out")
	}
	if _, _, err := s.loadTenant(ctx, tenant); err != nil {
		return nil, err
	}
	secret, err := authn.NewKey()
	if err != nil {
		return nil, err
	}
	k := &accessv1.Key{
		Name: "keys/" + secret.ID, Tenant: "tenants/" + tenant, DisplayName: req.GetDisplayName(), Roles: req.GetRoles(),
		CreateTime: timestamppb.Now(), ExpireTime: req.GetExpireTime(), CreatedBy: p.Subject,
	}
	item, err := keyItem(k, secret.Hash)
	if err != nil {
		return nil, err
	}
	return &accessv1.CreateKeyResponse{Key: k, Secret: secret.Text()}, s.table.Write(ctx, table.Write{Item: item})
}

// keyItem is a key as it is stored: the hash of its secret, then the key.
func keyItem(k *accessv1.Key, hash [32]byte) (table.Item, error) {
	raw, err := proto.Marshal(k)
	if err != nil {
		return table.Item{}, fault.Wrap(fault.Internal, err, "encode key")
	}
	return table.Item{
		Key: keyKey(k.GetName()), Value: append(slices.Clone(hash[:]), raw...),
		Indexes: map[string]table.Key{indexKeys: {Partition: "T#" + resource.ID(k.GetTenant()), Sort: resource.SortableTime(k.GetCreateTime().AsTime()) + "#" + resource.ID(k.GetName())}},
	}, nil
}

func decodeKey(item table.Item) (*accessv1.Key, [32]byte, error) {
	var hash [32]byte
	k := &accessv1.Key{}
	if len(item.Value) < len(hash) {
		return nil, hash, fault.New(fault.DataLoss, "decode stored key")
	}
	copy(hash[:], item.Value)
	if err := proto.Unmarshal(item.Value[len(hash):], k); err != nil {
		return nil, hash, fault.Wrap(fault.DataLoss, err, "decode stored key")
	}
	return k, hash, nil
}

// ListKeys lists keys without their secrets, oldest first.
func (s *Service) ListKeys(ctx context.Context, req *accessv1.ListKeysRequest) (*accessv1.ListKeysResponse, error) {
	p, err := principal(ctx)
	if err != nil {
		return nil, err
	}
	tenant, err := keyTenant(p, req.GetTenant())
	if err != nil {
		return nil, err
	}
	page, err := s.table.Query(ctx, table.Query{Index: indexKeys, Partition: "T#" + tenant, Limit: resource.PageSize(req.GetPageSize()), PageToken: req.GetPageToken()})
	if err != nil {
		return nil, err
	}
	res := &accessv1.ListKeysResponse{NextPageToken: page.NextPageToken}
	for _, item := range page.Items {
		k, _, err := decodeKey(item)
		if err != nil {
			return nil, err
		}
		res.Keys = append(res.Keys, k)
	}
	return res, nil
}

// RevokeKey ends a key.
func (s *Service) RevokeKey(ctx context.Context, req *accessv1.RevokeKeyRequest) (*emptypb.Empty, error) {
	p, err := principal(ctx)
	if err != nil {
		return nil, err
	}
	item, err := s.table.Get(ctx, keyKey(req.GetName()))
	if err != nil && !errors.Is(err, fault.NotFound) {
		return nil, err
	}
	var k *accessv1.Key
	var hash [32]byte
	if err == nil {
		if k, hash, err = decodeKey(item); err != nil {
			return nil, err
		}
	}
	if k == nil || resource.ID(k.GetTenant()) != p.Tenant && !p.HasRole(authn.RoleOperator) {
		return nil, fault.New(fault.NotFound, "%s does not exist", req.GetName())
	}
	k.Revoked = true
	next, err := keyItem(k, hash)
	if err != nil {
		return nil, err
	}
	s.keys.forget(resource.ID(req.GetName()))
	return &emptypb.Empty{}, s.table.Write(ctx, table.Write{Item: next, If: table.Condition(item.Revision)})
}

// readKey reads what the edge needs to judge a key: nil if it does not work, for whatever reason.
func (s *Service) readKey(ctx context.Context, keyID string) (*credential, error) {
	item, err := s.table.Get(ctx, keyKey(keyID))
	if errors.Is(err, fault.NotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	k, hash, err := decodeKey(item)
	if err != nil {
		return nil, err
	}
	t, _, err := s.loadTenant(ctx, k.GetTenant())
	if err != nil {
		return nil, err
	}
	if k.GetRevoked() || t.GetSuspended() {
		return nil, nil
	}
	c := &credential{hash: hash, principal: authn.Principal{Tenant: resource.ID(k.GetTenant()), Subject: "key:" + resource.ID(k.GetName())}}
	if k.GetExpireTime() != nil {
		c.expires = k.GetExpireTime().AsTime()
	}
	for _, r := range k.GetRoles() {
		c.principal.Roles = append(c.principal.Roles, roleNames[r])
	}
	return c, nil
}

package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	accessv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/access/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/authn"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/resource"
	"github.com/riskprofiler/riskprofiler/platform/table"
	"github.com/riskprofiler/riskprofiler/platform/table/protoitem"
)

// KeyedProviders are the third parties that a tenant can store a key for. The scanner has the same list; a test compares them.
var KeyedProviders = []string{"azure", "certspotter", "google", "securitytrails", "shodan", "virustotal"}

// credentialed are those whose key is a credential in JSON, which lets the scanner into the tenant's accounts at a cloud.
var credentialed = []string{"azure", "google"}

// maxPlainKey bounds a key that is no JSON.
const maxPlainKey = 512

// checkKey refuses what cannot be a key of this provider. The error shows nothing of it.
func checkKey(provider, key string) error {
	if slices.Contains(credentialed, provider) {
		if len(key) > 0 && key[0] == '{' && json.Valid([]byte(key)) {
			return nil
		}
		return fault.WithField(fault.New(fault.Invalid, "the credential for %s is no JSON object", provider), "key", "give the JSON of the application or of the service account's key")
	}
	if len(key) > maxPlainKey || strings.Contains(key, " ") {
		return fault.WithField(fault.New(fault.Invalid, "the key for %s is longer than %d characters or has a space in it", provider, maxPlainKey), "key", "give the key alone")
	}
	return nil
}

// lastFour is how much of a key is shown.
const lastFour = 4

func providerKey(tenant, provider string) table.Key {
	return table.Key{Partition: providerKeys(tenant), Sort: resource.ID(provider)}
}

func providerKeys(tenant string) string { return "T#" + tenant + "#PROVIDERS" }

// member is the caller with a tenant: keys for third parties belong to one.
func member(ctx context.Context) (authn.Principal, error) {
	p, err := principal(ctx)
	if err == nil && p.Tenant == "" {
		err = fault.New(fault.PermissionDenied, "the caller belongs to no tenant")
	}
	return p, err
}

// CreateProviderKey stores a key. The row comes first: what the scanner may use is always seen in the list.
func (s *Service) CreateProviderKey(ctx context.Context, req *accessv1.CreateProviderKeyRequest) (*accessv1.ProviderKey, error) {
	p, err := member(ctx)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(KeyedProviders, req.GetProvider()) {
		known := strings.Join(KeyedProviders, ", ")
		return nil, fault.WithField(fault.New(fault.Invalid, "%s takes no key here; choose one of %s", req.GetProvider(), known), "provider", "choose one of "+known)
	}
	if err := checkKey(req.GetProvider(), req.GetKey()); err != nil {
		return nil, err
	}
	k := &accessv1.ProviderKey{Name: "providerKeys/" + req.GetProvider(), Provider: req.GetProvider(), CreateTime: timestamppb.Now()}
	item, err := describe(p, k, req.GetKey(), req.GetLimits())
	if err != nil {
		return nil, err
	}
	err = s.table.Write(ctx, table.Write{Item: item})
	if errors.Is(err, fault.Conflict) {
		return nil, fault.New(fault.AlreadyExists, "there is a key for %s; update it, or delete it first", req.GetProvider())
	}
	if err != nil {
		return nil, err
	}
	if err := s.storeKey(ctx, p.Tenant, k, req.GetKey()); err != nil {
		return nil, errors.Join(err, s.table.Write(context.WithoutCancel(ctx), table.Write{Delete: true, Item: item, If: table.Any}))
	}
	return k, nil
}

// describe fills in what is shown of a key, and makes its row.
func describe(p authn.Principal, k *accessv1.ProviderKey, key string, limits *modelv1.ProviderLimits) (table.Item, error) {
	k.LastFour, k.UpdateTime, k.UpdatedBy, k.Limits = key[len(key)-lastFour:], timestamppb.Now(), p.Subject, limits
	return protoitem.New(providerKey(p.Tenant, k.GetName()), k)
}

func (s *Service) storeKey(ctx context.Context, tenant string, k *accessv1.ProviderKey, key string) error {
	value, err := proto.Marshal(&modelv1.ProviderCredential{Key: key, Limits: k.GetLimits()})
	if err != nil {
		return fault.New(fault.Internal, "encode key for %s", k.GetProvider())
	}
	return s.secrets.Put(ctx, tenant, k.GetProvider(), value)
}

// UpdateProviderKey replaces a key and its limits. It works everywhere within a minute.
func (s *Service) UpdateProviderKey(ctx context.Context, req *accessv1.UpdateProviderKeyRequest) (*accessv1.ProviderKey, error) {
	p, err := member(ctx)
	if err != nil {
		return nil, err
	}
	k, revision, err := s.loadProviderKey(ctx, p.Tenant, req.GetName())
	if err != nil {
		return nil, err
	}
	if err := checkKey(k.GetProvider(), req.GetKey()); err != nil {
		return nil, err
	}
	item, err := describe(p, k, req.GetKey(), req.GetLimits())
	if err != nil {
		return nil, err
	}
	if err := s.storeKey(ctx, p.Tenant, k, req.GetKey()); err != nil {
		return nil, err
	}
	return k, s.table.Write(ctx, table.Write{Item: item, If: table.Condition(revision)})
}

func (s *Service) loadProviderKey(ctx context.Context, tenant, name string) (*accessv1.ProviderKey, int64, error) {
	item, err := s.table.Get(ctx, providerKey(tenant, name))
	if errors.Is(err, fault.NotFound) {
		return nil, 0, fault.New(fault.NotFound, "%s does not exist", name)
	}
	if err != nil {
		return nil, 0, err
	}
	k, err := protoitem.Decode(item, &accessv1.ProviderKey{})
	return k, item.Revision, err
}

// ListProviderKeys lists what is stored, without the keys: this service cannot read them.
func (s *Service) ListProviderKeys(ctx context.Context, _ *accessv1.ListProviderKeysRequest) (*accessv1.ListProviderKeysResponse, error) {
	p, err := member(ctx)
	if err != nil {
		return nil, err
	}
	page, err := s.table.Query(ctx, table.Query{Partition: providerKeys(p.Tenant)})
	if err != nil {
		return nil, err
	}
	res := &accessv1.ListProviderKeysResponse{}
	for _, item := range page.Items {
		k, err := protoitem.Decode(item, &accessv1.ProviderKey{})
		if err != nil {
			return nil, err
		}
		res.ProviderKeys = append(res.ProviderKeys, k)
	}
	return res, nil
}

// DeleteProviderKey forgets a key: the secret first, so that what is no longer shown is no longer used.
func (s *Service) DeleteProviderKey(ctx context.Context, req *accessv1.DeleteProviderKeyRequest) (*emptypb.Empty, error) {
	p, err := member(ctx)
	if err != nil {
		return nil, err
	}
	k, _, err := s.loadProviderKey(ctx, p.Tenant, req.GetName())
	if err != nil {
		return nil, err
	}
	if err := s.secrets.Delete(ctx, p.Tenant, k.GetProvider()); err != nil {
		return nil, err
	}
	return &emptypb.Empty{}, s.table.Write(ctx, table.Write{Delete: true, Item: table.Item{Key: providerKey(p.Tenant, k.GetName())}, If: table.Any})
}

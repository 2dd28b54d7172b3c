package ingest

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/authn"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/resource"
	"github.com/riskprofiler/riskprofiler/platform/table"
	"github.com/riskprofiler/riskprofiler/platform/table/protoitem"
)

// The ways in which ownership is proven, as they stand in Ownership.method.
const (
	methodDNS      = "dns-txt"
	methodFile     = "http-file"
	methodCloud    = "cloud-role"
	methodOperator = "operator"
	// methodGrant is in the record only: somebody raised or lowered what a proof permits.
	methodGrant = "grant"
)

const (
	// proofLife is how long a proof of ownership counts after it was last seen.
	proofLife = 30 * 24 * time.Hour
	// maxAttested bounds what an operator attests: a year, and a day for the leap.
	maxAttested = 366 * 24 * time.Hour
)

// authorizationWrites append one entry to the record: once for the tenant and once for the asset. Nothing changes or removes them.
func authorizationWrites(tenant string, a *modelv1.Asset, entry *ingestv1.Authorization) ([]table.Write, error) {
	id := sortableID(time.Now())
	entry.Name, entry.Asset, entry.AssetValue = "authorizations/"+id, a.GetName(), a.GetValue()
	entry.CreateTime = timestamppb.Now()
	var out []table.Write
	for _, asset := range []string{"", a.GetName()} {
		item, err := protoitem.New(table.Key{Partition: authorizationPartition(tenant, asset), Sort: id}, entry)
		if err != nil {
			return nil, err
		}
		out = append(out, table.Write{Item: item})
	}
	return out, nil
}

// granted is the entry for an asset whose ownership was just proven, attested or given another clearance.
func granted(o *modelv1.Ownership, method, subject, reference string) *ingestv1.Authorization {
	return &ingestv1.Authorization{
		Event: ingestv1.Authorization_EVENT_GRANTED, Method: method, Clearance: clearanceOf(o), Subject: subject, Reference: reference,
		ExpireTime: o.GetExpiresAt(), Proof: o.GetProof(),
	}
}

// putOwned stores an asset with what its record says about the change, and more, all or nothing.
func (s *Service) putOwned(ctx context.Context, tenant string, a *modelv1.Asset, revision int64, entry *ingestv1.Authorization, more ...table.Write) error {
	a.Etag = ""
	item, err := assetItem(tenant, a)
	if err != nil {
		return err
	}
	writes := append(more, table.Write{Item: item, If: table.Condition(revision)})
	if entry != nil {
		record, err := authorizationWrites(tenant, a, entry)
		if err != nil {
			return err
		}
		writes = append(writes, record...)
	}
	defer s.scopeChanged(tenant)
	return s.table.Write(ctx, writes...)
}

// AttestAsset records that the operator vouches for an asset.
func (s *Service) AttestAsset(ctx context.Context, req *ingestv1.AttestAssetRequest) (*modelv1.Asset, error) {
	tenant, who, err := authn.Tenant(ctx)
	if err != nil {
		return nil, err
	}
	a, revision, err := s.loadAsset(ctx, tenant, req.GetName())
	if err != nil {
		return nil, err
	}
	now := time.Now()
	until := now.Add(proofLife)
	if t := req.GetExpireTime(); t != nil {
		until = t.AsTime()
	}
	if !until.After(now) || until.After(now.Add(maxAttested)) {
		return nil, fault.WithField(fault.New(fault.Invalid, "attest %s: it ends %s; name a time within the next 366 days", a.GetValue(), until.Format(time.RFC3339)), "expire_time", "from now to 366 days")
	}
	a.Ownership = &modelv1.Ownership{
		State: modelv1.Ownership_STATE_VERIFIED, Method: methodOperator, Subject: who.Subject, Clearance: req.GetClearance(),
		VerifiedAt: timestamppb.New(now), CheckedAt: timestamppb.New(now), ExpiresAt: timestamppb.New(until),
	}
	a.Ownership.Clearance = clearanceOf(a.GetOwnership())
	if err := s.putOwned(ctx, tenant, a, revision, granted(a.GetOwnership(), methodOperator, who.Subject, req.GetReason())); err != nil {
		return nil, err
	}
	return withEtag(a, revision+1), nil
}

// GrantClearance sets how much may be done to an asset whose ownership is proven.
func (s *Service) GrantClearance(ctx context.Context, req *ingestv1.GrantClearanceRequest) (*modelv1.Asset, error) {
	tenant, who, err := authn.Tenant(ctx)
	if err != nil {
		return nil, err
	}
	a, revision, err := s.loadAsset(ctx, tenant, req.GetName())
	if err != nil {
		return nil, err
	}
	if a.GetOwnership().GetState() != modelv1.Ownership_STATE_VERIFIED {
		return nil, fault.New(fault.FailedPrecondition, "ownership of %s is %s; prove it before more is granted", a.GetValue(), stateText(a.GetOwnership()))
	}
	a.Ownership.Clearance = req.GetClearance()
	if err := s.putOwned(ctx, tenant, a, revision, granted(a.GetOwnership(), methodGrant, who.Subject, req.GetReference())); err != nil {
		return nil, err
	}
	return withEtag(a, revision+1), nil
}

// ListAuthorizations lists the record, newest first.
func (s *Service) ListAuthorizations(ctx context.Context, req *ingestv1.ListAuthorizationsRequest) (*ingestv1.ListAuthorizationsResponse, error) {
	tenant, _, err := authn.Tenant(ctx)
	if err != nil {
		return nil, err
	}
	page, err := s.table.Query(ctx, table.Query{
		Partition: authorizationPartition(tenant, req.GetAsset()), Descending: true, Limit: resource.PageSize(req.GetPageSize()), PageToken: req.GetPageToken(),
	})
	if err != nil {
		return nil, err
	}
	res := &ingestv1.ListAuthorizationsResponse{NextPageToken: page.NextPageToken}
	res.Authorizations, err = decodeAll[ingestv1.Authorization](page.Items)
	return res, err
}

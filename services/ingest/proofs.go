package ingest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"strings"
	"time"

	"golang.org/x/net/publicsuffix"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/authn"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/table"
	"github.com/riskprofiler/riskprofiler/platform/table/protoitem"
	"github.com/riskprofiler/riskprofiler/platform/target"
)

// CreateProof hands out a challenge: 128 random bits that stand in one tenant's record of one asset and nowhere else, so that they
// prove nothing for another tenant or another asset.
func (s *Service) CreateProof(ctx context.Context, req *ingestv1.CreateProofRequest) (*ingestv1.Proof, error) {
	tenant, _, err := authn.Tenant(ctx)
	if err != nil {
		return nil, err
	}
	a, _, err := s.loadAsset(ctx, tenant, req.GetAsset())
	if err != nil {
		return nil, err
	}
	p := &ingestv1.Proof{
		Name: a.GetName() + "/proofs/" + random(10), Method: req.GetMethod(), Token: "riskprofiler-" + random(16), CreateTime: timestamppb.Now(),
	}
	if p.Location, err = s.proofLocation(a, req.GetMethod(), req.GetRole()); err != nil {
		return nil, err
	}
	p.Instruction = instruction(a.GetValue(), p)
	item, err := protoitem.New(proofKey(tenant, p.GetName()), p)
	if err != nil {
		return nil, err
	}
	return p, s.table.Write(ctx, table.Write{Item: item})
}

func random(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails: crypto/rand.Read ends the program instead (Go 1.24)
	return hex.EncodeToString(b)
}

func proofKey(tenant, name string) table.Key {
	asset, proof, _ := strings.Cut(name, "/proofs/")
	return table.Key{Partition: assetPartition(tenant, asset), Sort: prefixProof + proof}
}

// proofLocation says where a proof of an asset is published, and refuses what cannot be proven that way.
func (s *Service) proofLocation(a *modelv1.Asset, m ingestv1.ProofMethod, role string) (string, error) {
	name := a.GetKind() == modelv1.AssetKind_ASSET_KIND_DOMAIN || a.GetKind() == modelv1.AssetKind_ASSET_KIND_HOST
	switch {
	case name && registry(a.GetValue()):
		return "", fault.WithField(fault.New(fault.Invalid, "below %s everybody registers names, so nobody proves all of it; name your own domain", a.GetValue()), "asset", "name a domain of your own")
	case m == ingestv1.ProofMethod_PROOF_METHOD_DNS_TXT && name:
		return challengeLabel + a.GetValue(), nil
	case m == ingestv1.ProofMethod_PROOF_METHOD_HTTP_FILE && (name || a.GetKind() == modelv1.AssetKind_ASSET_KIND_IP):
		return "http://" + s.fileHost(a.GetValue()) + challengePath, nil
	case m == ingestv1.ProofMethod_PROOF_METHOD_CLOUD_ROLE && a.GetKind() == modelv1.AssetKind_ASSET_KIND_CLOUD_ACCOUNT:
		return roleOf(a.GetValue(), role)
	}
	return "", fault.WithField(fault.New(fault.Invalid, "%s cannot be proven by %s; have an operator attest it", a.GetValue(), methodText(m)), "method",
		"names are proven by DNS or file, addresses by file, cloud accounts by role, ranges by attestation")
}

// registry says whether a name is a suffix below which strangers register names (publicsuffix.org).
func registry(name string) bool {
	suffix, icann := publicsuffix.PublicSuffix(name)
	return suffix == name && (icann || strings.Contains(suffix, "."))
}

func instruction(asset string, p *ingestv1.Proof) string {
	then := ", then run `riskprofiler assets verify " + p.GetName() + "`; leave it there: it is looked at again"
	switch p.GetMethod() {
	case ingestv1.ProofMethod_PROOF_METHOD_DNS_TXT:
		return "publish the TXT record " + p.GetLocation() + " with the text " + p.GetToken() + then
	case ingestv1.ProofMethod_PROOF_METHOD_HTTP_FILE:
		return "serve " + p.GetToken() + " as the only content of " + p.GetLocation() + then
	}
	switch provider, account, _ := target.CloudParts(asset); provider {
	case target.Azure:
		return "let application " + p.GetLocation() + " read subscription " + account + " (role Reader), store its credential with `riskprofiler providers keys add azure`, and tag the subscription riskprofiler=" + p.GetToken() + then
	case target.Google:
		return "let " + p.GetLocation() + " read project " + account + " (roles Browser and Cloud Asset Viewer), store a key with `riskprofiler providers keys add google`, and label the project riskprofiler=" + p.GetToken() + then
	}
	return "let us assume " + p.GetLocation() + " with the external id " + p.GetToken() + " and with no other" + then
}

// ListProofs lists the proofs of an asset.
func (s *Service) ListProofs(ctx context.Context, req *ingestv1.ListProofsRequest) (*ingestv1.ListProofsResponse, error) {
	tenant, _, err := authn.Tenant(ctx)
	if err != nil {
		return nil, err
	}
	if _, _, err := s.loadAsset(ctx, tenant, req.GetAsset()); err != nil {
		return nil, err
	}
	page, err := s.table.Query(ctx, table.Query{Partition: assetPartition(tenant, req.GetAsset()), Prefix: prefixProof})
	if err != nil {
		return nil, err
	}
	res := &ingestv1.ListProofsResponse{}
	res.Proofs, err = decodeAll[ingestv1.Proof](page.Items)
	return res, err
}

func (s *Service) loadProof(ctx context.Context, tenant, name string) (*ingestv1.Proof, int64, error) {
	item, err := s.table.Get(ctx, proofKey(tenant, name))
	if errors.Is(err, fault.NotFound) {
		return nil, 0, fault.New(fault.NotFound, "%s does not exist", name)
	}
	if err != nil {
		return nil, 0, err
	}
	p, err := protoitem.Decode(item, &ingestv1.Proof{})
	return p, item.Revision, err
}

// VerifyProof looks whether the challenge is answered now and stores what it found, good or bad. What is stopped or forbidden is not
// looked at either.
func (s *Service) VerifyProof(ctx context.Context, req *ingestv1.VerifyProofRequest) (*ingestv1.Proof, error) {
	tenant, who, err := authn.Tenant(ctx)
	if err != nil {
		return nil, err
	}
	asset, _, _ := strings.Cut(req.GetName(), "/proofs/")
	if _, _, err := s.loadProof(ctx, tenant, req.GetName()); err != nil {
		return nil, err
	}
	sc, err := s.loadScope(ctx, tenant)
	if err != nil {
		return nil, err
	}
	for range maxConflicts {
		p, err := s.verify(ctx, tenant, who.Subject, asset, req.GetName(), sc)
		if !isConflict(err) {
			return p, err
		}
	}
	return nil, fault.New(fault.Conflict, "verify %s: the asset changed %d times meanwhile", req.GetName(), maxConflicts)
}

// verify is one look at one proof, and what follows from it.
func (s *Service) verify(ctx context.Context, tenant, subject, asset, name string, sc *scope) (*ingestv1.Proof, error) {
	p, proofRevision, err := s.loadProof(ctx, tenant, name)
	if err != nil {
		return nil, err
	}
	a, revision, err := s.loadAsset(ctx, tenant, asset)
	if err != nil {
		return nil, err
	}
	if why := sc.forbidden(a.GetValue(), []*modelv1.Asset{a}); why != "" {
		return nil, fault.New(fault.FailedPrecondition, "%s", why)
	}
	seen := s.look(ctx, a, p)
	p.Verified, p.Problem, p.VerifyTime = seen.state == proofThere, clip(seen.why, maxProblem), timestamppb.Now()
	item, err := protoitem.New(proofKey(tenant, name), p)
	if err != nil {
		return nil, err
	}
	write := table.Write{Item: item, If: table.Condition(proofRevision)}
	was := proto.CloneOf(a.GetOwnership())
	entry := settle(a, p, seen, subject, time.Now())
	if entry == nil && proto.Equal(was, a.GetOwnership()) {
		return p, s.table.Write(ctx, write)
	}
	return p, s.putOwned(ctx, tenant, a, revision, entry, write)
}

// maxProblem bounds what is kept of a problem: foreign text may be in it.
const maxProblem = 512

func methodText(m ingestv1.ProofMethod) string {
	switch m {
	case ingestv1.ProofMethod_PROOF_METHOD_DNS_TXT:
		return methodDNS
	case ingestv1.ProofMethod_PROOF_METHOD_HTTP_FILE:
		return methodFile
	case ingestv1.ProofMethod_PROOF_METHOD_CLOUD_ROLE:
		return methodCloud
	}
	return "no known method"
}

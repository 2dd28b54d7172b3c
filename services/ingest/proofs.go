package ingest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/authn"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/table"
	"github.com/riskprofiler/riskprofiler/platform/table/protoitem"
)

const (
	// challengeLabel is the name below which a DNS proof is published.
	challengeLabel = "_riskprofiler-challenge."
	// challengePath is where a file proof is published (RFC 8615).
	challengePath = "/.well-known/riskprofiler-challenge.txt"
	// proofTimeout bounds one look at a proof; maxProofBytes the file.
	proofTimeout  = 10 * time.Second
	maxProofBytes = 4096
)

// CreateProof hands out a challenge.
func (s *Service) CreateProof(ctx context.Context, req *ingestv1.CreateProofRequest) (*ingestv1.Proof, error) {
	tenant, _, err := authn.Tenant(ctx)
	if err != nil {
		return nil, err
	}
	a, _, err := s.loadAsset(ctx, tenant, req.GetAsset())
	if err != nil {
		return nil, err
	}
	where, err := proofLocation(a, req.GetMethod())
	if err != nil {
		return nil, err
	}
	p := &ingestv1.Proof{
		Name: a.GetName() + "/proofs/" + random(10), Method: req.GetMethod(), Token: "riskprofiler-" + random(16),
		Location: where, CreateTime: timestamppb.Now(),
	}
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
func proofLocation(a *modelv1.Asset, m ingestv1.ProofMethod) (string, error) {
	name := a.GetKind() == modelv1.AssetKind_ASSET_KIND_DOMAIN || a.GetKind() == modelv1.AssetKind_ASSET_KIND_HOST
	switch {
	case m == ingestv1.ProofMethod_PROOF_METHOD_DNS_TXT && name:
		return challengeLabel + a.GetValue(), nil
	case m == ingestv1.ProofMethod_PROOF_METHOD_HTTP_FILE && (name || a.GetKind() == modelv1.AssetKind_ASSET_KIND_IP):
		host := a.GetValue()
		if strings.Contains(host, ":") {
			host = "[" + host + "]"
		}
		return "http://" + host + challengePath, nil
	}
	return "", fault.WithField(fault.New(fault.Invalid, "%s cannot be proven by %s; have an operator attest it", a.GetValue(), m), "method", "names are proven by DNS or file, addresses by file, ranges by attestation")
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
	for _, item := range page.Items {
		p, err := protoitem.Decode(item, &ingestv1.Proof{})
		if err != nil {
			return nil, err
		}
		res.Proofs = append(res.Proofs, p)
	}
	return res, nil
}

// VerifyProof looks whether the challenge is answered now and stores what it found, good or bad.
func (s *Service) VerifyProof(ctx context.Context, req *ingestv1.VerifyProofRequest) (*ingestv1.Proof, error) {
	tenant, who, err := authn.Tenant(ctx)
	if err != nil {
		return nil, err
	}
	item, err := s.table.Get(ctx, proofKey(tenant, req.GetName()))
	if errors.Is(err, fault.NotFound) {
		return nil, fault.New(fault.NotFound, "%s does not exist", req.GetName())
	}
	if err != nil {
		return nil, err
	}
	p, err := protoitem.Decode(item, &ingestv1.Proof{})
	if err != nil {
		return nil, err
	}
	asset, _, _ := strings.Cut(req.GetName(), "/proofs/")
	a, revision, err := s.loadAsset(ctx, tenant, asset)
	if err != nil {
		return nil, err
	}
	p.Problem = s.look(ctx, p)
	p.Verified = p.GetProblem() == ""
	p.VerifyTime = timestamppb.Now()
	next, err := protoitem.New(item.Key, p)
	if err != nil {
		return nil, err
	}
	writes := []table.Write{{Item: next, If: table.Condition(item.Revision)}}
	if p.GetVerified() {
		a.Ownership = proven(methodText(p.GetMethod()), who.Subject, time.Now())
		w, err := assetItem(tenant, stripped(a))
		if err != nil {
			return nil, err
		}
		writes = append(writes, table.Write{Item: w, If: table.Condition(revision)})
	}
	return p, s.table.Write(ctx, writes...)
}

func stripped(a *modelv1.Asset) *modelv1.Asset {
	a.Etag = ""
	return a
}

func methodText(m ingestv1.ProofMethod) string {
	if m == ingestv1.ProofMethod_PROOF_METHOD_DNS_TXT {
		return "dns-txt"
	}
	return "http-file"
}

func proven(method, subject string, now time.Time) *modelv1.Ownership {
	return &modelv1.Ownership{
		State: modelv1.Ownership_STATE_VERIFIED, Method: method, Subject: subject,
		VerifiedAt: timestamppb.New(now), ExpiresAt: timestamppb.New(now.Add(proofLife)),
	}
}

// look says what is wrong with a proof, or nothing.
func (s *Service) look(ctx context.Context, p *ingestv1.Proof) string {
	ctx, cancel := context.WithTimeout(ctx, proofTimeout)
	defer cancel()
	var found []string
	var err error
	if p.GetMethod() == ingestv1.ProofMethod_PROOF_METHOD_DNS_TXT {
		found, err = s.guard.LookupTXT(ctx, p.GetLocation())
	} else {
		found, err = s.fetchProof(ctx, p.GetLocation())
	}
	if err != nil {
		return fmt.Sprintf("could not read %s: %v", p.GetLocation(), err)
	}
	for _, text := range found {
		if strings.TrimSpace(text) == p.GetToken() {
			return ""
		}
	}
	return fmt.Sprintf("%s does not contain %s", p.GetLocation(), p.GetToken())
}

// fetchProof reads the file. Redirects within the same host are followed, none to another: whoever controls the other host
// is not whoever controls this one.
func (s *Service) fetchProof(ctx context.Context, location string) ([]string, error) {
	origin, err := url.Parse(location)
	if err != nil {
		return nil, err
	}
	client := s.guard.HTTPClient(s.guard.NewSession(), 5, func(u *url.URL) error {
		if !strings.EqualFold(u.Hostname(), origin.Hostname()) {
			return errors.New("it leads to another host")
		}
		return nil
	})
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, location, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", "RiskProfiler/1.0 (ownership proof)")
	resp, err := client.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err
		}
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the answer is %d", resp.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxProofBytes))
	return []string{string(body)}, err
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
	a.Ownership = proven("operator: "+req.GetReason(), who.Subject, time.Now())
	if err := s.putAsset(ctx, tenant, a, revision); err != nil {
		return nil, err
	}
	return withEtag(a, revision+1), nil
}

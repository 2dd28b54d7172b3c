package query

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/smithy-go/middleware"
)

// errNoProvider says that a configuration has no credentials. The SDK would send such a request without a signature.
var errNoProvider = errors.New("no provider of credentials")

// identityKey is where the credentials of an attempt are.
type identityKey struct{}

// identify finds the credentials. Its errors read as the SDK's (getIdentityMiddleware in service/rds/auth.go, CredentialsProviderAdapter in
// internal/auth/smithy): by these words others know that this process has none.
func (c *Client) identify(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (out middleware.FinalizeOutput, metadata middleware.Metadata, err error) {
	var found aws.Credentials
	if err = errNoProvider; c.credentials != nil {
		found, err = c.credentials.Retrieve(ctx)
	}
	if err != nil {
		return out, metadata, fmt.Errorf("get identity: get credentials: %w", err)
	}
	return next.HandleFinalize(middleware.WithStackValue(ctx, identityKey{}, found), in)
}

// signing signs each attempt of one call. The SDK's own for this protocol is within it (V4SignerAdapter in internal/auth/smithy), and the
// one that it shows to others does not know the service's clock.
type signing struct {
	client *Client
	// skew is how far the service's clock was ahead at the attempt before, or at the call before: what aws/retry goes by.
	skew time.Duration
}

// ID is the SDK's name for it.
func (*signing) ID() string { return "Signing" }

// HandleFinalize signs, and reads the clock off the answer.
func (s *signing) HandleFinalize(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (out middleware.FinalizeOutput, metadata middleware.Metadata, err error) {
	request, err := requestOf(in.Request)
	if err != nil {
		return out, metadata, err
	}
	found, _ := middleware.GetStackValue(ctx, identityKey{}).(aws.Credentials)
	c := s.client
	err = c.signer.SignHTTP(ctx, found, request.Request, v4.GetPayloadHash(ctx), c.service.signing, c.region, time.Now().Add(s.skew))
	if err != nil {
		return out, metadata, fmt.Errorf("sign request: sign http: %w", err)
	}
	out, metadata, err = next.HandleFinalize(ctx, in)
	s.skew, _ = awsmiddleware.GetAttemptSkew(metadata)
	return out, metadata, err
}

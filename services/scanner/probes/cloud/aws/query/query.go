// Package query asks the services of AWS that speak its oldest protocol, Query: a form by POST, and XML back. EC2 has a dialect of its own
// (docs.aws.amazon.com/AWSEC2/latest/APIReference/Query-Requests.html, smithy.io/2.0/aws/protocols/aws-query-protocol.html and
// .../aws-ec2-query-protocol.html).
//
// The SDK has a package for each of these services, with all that they can do: those of EC2 and RDS alone are most of what a build of the
// whole project compiles. Here are the twenty calls that are made, and of each answer what is read. How a call is made (retries, clock,
// signature, user agent, errors) is the SDK's own machinery, put together as its generated clients do it; tests compare both.
package query

import (
	"context"
	"net/url"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// Service is one service as the SDK describes it: its name in errors, in the user agent, in host names and in signatures, the version of its
// interface, and the parameter in which it wants the token of the next page.
type Service struct {
	id, agent, prefix, signing, version, token string

	dialect dialect
}

// dialect is how a service writes answers and errors.
type dialect int

const (
	awsQuery dialect = iota // <OperationResponse><OperationResult>, and errors as <Error>
	ec2Query                // <OperationResponse>, and errors as <Errors><Error>
)

// Operation is the name of a call that is answered with O.
type Operation[O any] string

// Client asks one service in one region. It is safe for concurrent use.
type Client struct {
	service     Service
	region      string
	base        *string
	credentials aws.CredentialsProvider
	http        aws.HTTPClient
	retryer     aws.Retryer
	appID       string
	signer      *v4.Signer
	// skew is by how many nanoseconds the service's clock is ahead of ours.
	skew atomic.Int64
}

// New makes a client. Of the configuration it takes Region, Credentials, HTTPClient, Retryer, AppID and BaseEndpoint, and where one is
// missing what the SDK takes; it calls nothing.
func New(config aws.Config, service Service) *Client {
	c := &Client{
		service: service, region: config.Region, base: config.BaseEndpoint, credentials: config.Credentials, http: config.HTTPClient, appID: config.AppID,
		signer: v4.NewSigner(),
	}
	if c.http == nil {
		c.http = awshttp.NewBuildableClient()
	}
	if config.Retryer != nil {
		c.retryer = config.Retryer()
	} else {
		c.retryer = retry.NewStandard()
	}
	return c
}

// Call makes one call. What AWS refuses is a smithy.APIError, and whatever was answered is in an awshttp.ResponseError.
func Call[O any](ctx context.Context, c *Client, o Operation[O], input url.Values) (*O, error) {
	return do[O](ctx, c, &call{operation: string(o), input: input})
}

// call is one call, through all its attempts.
type call struct {
	operation string
	input     url.Values
	// paged says that it is one of a listing.
	paged bool
	// fresh makes what an answer is read into: each attempt has its own.
	fresh func() any
}

func do[O any](ctx context.Context, c *Client, one *call) (*O, error) {
	one.fresh = func() any { return new(O) }
	ctx = middleware.ClearStackValues(ctx)
	stack, err := c.stack(one)
	if err != nil {
		return nil, err
	}
	result, _, err := middleware.DecorateHandler(smithyhttp.NewClientHandlerWithOptions(c.http), stack).Handle(ctx, one.input)
	if err != nil {
		return nil, &smithy.OperationError{ServiceID: c.service.id, OperationName: one.operation, Err: err}
	}
	out, ok := result.(*O)
	if !ok {
		return nil, &smithy.OperationError{ServiceID: c.service.id, OperationName: one.operation, Err: errNoAnswer}
	}
	return out, nil
}

package query

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// stack is the way of one call, in the order of the SDK's generated clients (addCommonMiddlewares in service/rds/api_client.go): what follows
// the retries happens at each attempt.
func (c *Client) stack(one *call) (*middleware.Stack, error) {
	s := middleware.NewStack(one.operation, smithyhttp.NewStackRequest)
	attempts := retry.NewAttemptMiddleware(c.retryer, smithyhttp.RequestCloner, func(a *retry.Attempt) { a.ClientSkew = &c.skew })
	return s, errors.Join(
		s.Serialize.Add(middleware.SerializeMiddlewareFunc("OperationSerializer", c.serialize(one)), middleware.After),
		s.Build.Add(&awsmiddleware.ClientRequestID{}, middleware.After),
		s.Build.Add(c.userAgent(one), middleware.After),
		s.Build.Add(&awsmiddleware.RecursionDetection{}, middleware.After),
		s.Finalize.Add(attempts, middleware.After),
		s.Finalize.Add(middleware.FinalizeMiddlewareFunc("GetIdentity", c.identify), middleware.After),
		s.Finalize.Add(middleware.FinalizeMiddlewareFunc("ResolveEndpointV2", c.resolve), middleware.After),
		s.Finalize.Add(&v4.ComputePayloadSHA256{}, middleware.After),
		s.Finalize.Add(&signing{client: c, skew: time.Duration(c.skew.Load())}, middleware.After),
		s.Deserialize.Add(&awsmiddleware.AddRawResponse{}, middleware.After),
		s.Deserialize.Add(&awshttp.ResponseErrorWrapper{}, middleware.After),
		s.Deserialize.Add(&awsmiddleware.RequestIDRetriever{}, middleware.After),
		s.Deserialize.Add(middleware.DeserializeMiddlewareFunc("OperationDeserializer", c.deserialize(one)), middleware.After),
		s.Deserialize.Add(&awsmiddleware.RecordResponseTiming{}, middleware.After),
	)
}

// serialize writes the form (service/ec2/serializers.go).
func (c *Client) serialize(one *call) func(context.Context, middleware.SerializeInput, middleware.SerializeHandler) (middleware.SerializeOutput, middleware.Metadata, error) {
	return func(ctx context.Context, in middleware.SerializeInput, next middleware.SerializeHandler) (out middleware.SerializeOutput, metadata middleware.Metadata, err error) {
		request, err := requestOf(in.Request)
		if err != nil {
			return out, metadata, &smithy.SerializationError{Err: err}
		}
		form := url.Values{"Action": {one.operation}, "Version": {c.service.version}}
		maps.Copy(form, one.input)
		request.Method, request.URL.Path = "POST", "/"
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if in.Request, err = request.SetStream(strings.NewReader(form.Encode())); err != nil {
			return out, metadata, &smithy.SerializationError{Err: err}
		}
		return next.HandleSerialize(ctx, in)
	}
}

// userAgent names the SDK, the service, and the application (addClientUserAgent and its neighbours in service/rds/api_client.go).
func (c *Client) userAgent(one *call) *awsmiddleware.RequestUserAgent {
	ua := awsmiddleware.NewRequestUserAgent()
	ua.AddSDKAgentKey(awsmiddleware.APIMetadata, c.service.agent)
	if c.appID != "" {
		ua.AddSDKAgentKey(awsmiddleware.ApplicationIdentifier, c.appID)
	}
	switch c.retryer.(type) {
	case *retry.Standard:
		ua.AddUserAgentFeature(awsmiddleware.UserAgentFeatureRetryModeStandard)
	case *retry.AdaptiveMode:
		ua.AddUserAgentFeature(awsmiddleware.UserAgentFeatureRetryModeAdaptive)
	}
	if from, ok := c.credentials.(aws.CredentialProviderSource); ok {
		for _, source := range from.ProviderSources() {
			ua.AddCredentialsSource(source)
		}
	}
	if one.paged {
		ua.AddUserAgentFeature(awsmiddleware.UserAgentFeaturePaginator)
	}
	return ua
}

// requestOf is the request of HTTP in that of the middleware.
func requestOf(request any) (*smithyhttp.Request, error) {
	r, ok := request.(*smithyhttp.Request)
	if !ok {
		return nil, fmt.Errorf("unknown transport type %T", request)
	}
	return r, nil
}

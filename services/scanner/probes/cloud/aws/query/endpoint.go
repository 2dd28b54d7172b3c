package query

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// suffixes end the host names of partitions, by how the names of their regions begin; all others end as those of the commercial one, also
// those of the government's (internal/endpoints/awsrulesfn/partitions.json of the SDK).
var suffixes = []struct{ region, suffix string }{
	{"cn-", "amazonaws.com.cn"}, {"eusc-", "amazonaws.eu"}, {"us-iso-", "c2s.ic.gov"}, {"us-isob-", "sc2s.sgov.gov"},
	{"eu-isoe-", "cloud.adc-e.uk"}, {"us-isof-", "csp.hci.ic.gov"},
}

const commercialSuffix = "amazonaws.com"

// endpoint is where the service is in the region, or where the configuration says. For these six all rules of the SDK are prefix, region and
// suffix, without exceptions (service/*/endpoints.go: the other cases are for FIPS and for both versions of IP, which no configuration here
// asks for).
func (c *Client) endpoint() (*url.URL, error) {
	// The names of regions come from an answer: one must not become another host.
	if c.region != "" && !smithyhttp.ValidHostLabel(c.region) {
		return nil, fmt.Errorf("failed to bind endpoint params, invalid input region %s", c.region)
	}
	if c.base != nil {
		to, err := url.Parse(*c.base)
		if err != nil {
			err = errors.New("failed to resolve service endpoint, the configuration names one that is no URL")
		}
		return to, err
	}
	if c.region == "" {
		return nil, errors.New("failed to resolve service endpoint, endpoint rule error, Invalid Configuration: Missing Region")
	}
	suffix := commercialSuffix
	for _, p := range suffixes {
		if strings.HasPrefix(c.region, p.region) {
			suffix = p.suffix
		}
	}
	return &url.URL{Scheme: "https", Host: c.service.prefix + "." + c.region + "." + suffix}, nil
}

// resolve directs a request to its endpoint.
func (c *Client) resolve(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (out middleware.FinalizeOutput, metadata middleware.Metadata, err error) {
	request, err := requestOf(in.Request)
	if err != nil {
		return out, metadata, err
	}
	to, err := c.endpoint()
	if err != nil {
		return out, metadata, err
	}
	request.URL.Scheme, request.URL.Host, request.URL.Path = to.Scheme, to.Host, smithyhttp.JoinPath(to.Path, request.URL.Path)
	return next.HandleFinalize(ctx, in)
}

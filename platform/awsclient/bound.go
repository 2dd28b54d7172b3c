package awsclient

import (
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
)

// Bounded gives the SDK's and the standard client a time limit for one request with its answer. Others are left alone: they are a
// test's.
func Bounded(c aws.HTTPClient, limit time.Duration) aws.HTTPClient {
	switch c := c.(type) {
	case *awshttp.BuildableClient:
		return c.WithTimeout(limit)
	case *http.Client:
		limited := *c
		limited.Timeout = limit
		return &limited
	}
	return c
}

// Package xray signs uploads of spans for X-Ray's own OTLP endpoint, so that a function needs neither
// a collector nor a layer. [New] is what telemetry.Options.XRay takes.
//
// It is a package of its own because it links the AWS SDK, which programs that do not speak to AWS
// must not carry. It calls nothing before the first upload: credentials are looked for then, by the
// SDK's default chain, and kept until they expire.
//
// It refuses bodies over [MaxBodyBytes], redirects nothing and speaks HTTP/1.1 only, as the endpoint does
// (https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch-OTLPEndpoint.html).
package xray

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/config"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

const (
	// MaxBodyBytes is the largest body that is signed: the endpoint's limit, which holds before
	// compression, with some room.
	MaxBodyBytes = 6 << 20
	// service is X-Ray's name in a signature
	// (https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsx-ray.html).
	service = "xray"
)

// Options configure [NewTransport]. Only Region is required.
type Options struct {
	Region string
	// Credentials sign. Nil: those of the SDK's default chain, looked for at the first request.
	Credentials aws.CredentialsProvider
	// Base sends what was signed. Nil: a client of HTTP/1.1 with time limits.
	Base http.RoundTripper
}

// New makes the transport for a region, with all else at its default.
func New(region string) http.RoundTripper { return NewTransport(Options{Region: region}) }

// NewTransport makes a transport that signs every request with Signature Version 4.
func NewTransport(o Options) http.RoundTripper {
	t := &transport{o: o, signer: v4.NewSigner()}
	if t.o.Base == nil {
		t.o.Base = http1()
	}
	return t
}

type transport struct {
	o      Options
	signer *v4.Signer

	mu    sync.Mutex
	found aws.CredentialsProvider
}

// RoundTrip signs a copy of the request and sends it. An error before sending says what is missing.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := read(r)
	if err != nil {
		return nil, err
	}
	ctx := r.Context()
	credentials, err := t.credentials(ctx)
	if err != nil {
		return nil, err
	}
	signed := r.Clone(ctx)
	signed.Body, signed.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	signed.TransferEncoding = nil
	signed.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	digest := sha256.Sum256(body)
	if err := t.signer.SignHTTP(ctx, credentials, signed, hex.EncodeToString(digest[:]), service, t.o.Region, time.Now()); err != nil {
		return nil, fault.Wrap(fault.Internal, err, "sign spans for X-Ray")
	}
	return t.o.Base.RoundTrip(signed)
}

// read takes the whole body, which is what gets signed, and closes it as a round tripper has to.
func read(r *http.Request) ([]byte, error) {
	if r.Body == nil {
		return nil, nil
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, MaxBodyBytes+1))
	if closed := r.Body.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return nil, fault.Wrap(fault.Internal, err, "read spans for X-Ray")
	}
	if len(body) > MaxBodyBytes {
		return nil, fault.New(fault.Invalid, "upload of spans is over %d bytes, X-Ray takes fewer", MaxBodyBytes)
	}
	return body, nil
}

// credentials are those of now. A chain that could not be read is read again at the next upload.
func (t *transport) credentials(ctx context.Context) (aws.Credentials, error) {
	provider, err := t.provider(ctx)
	if err != nil {
		return aws.Credentials{}, err
	}
	c, err := provider.Retrieve(ctx)
	if err != nil {
		return aws.Credentials{}, fault.Wrap(fault.Unauthenticated, err,
			"find AWS credentials for X-Ray: give the process a role that may call xray:PutTraceSegments, or another RISKPROFILER_OTLP_ENDPOINT")
	}
	return c, nil
}

func (t *transport) provider(ctx context.Context) (aws.CredentialsProvider, error) {
	if t.o.Credentials != nil {
		return t.o.Credentials, nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.found != nil {
		return t.found, nil
	}
	c, err := config.LoadDefaultConfig(ctx, config.WithRegion(t.o.Region))
	if err != nil {
		return nil, fault.Wrap(fault.FailedPrecondition, err, "load the AWS configuration for X-Ray")
	}
	t.found = c.Credentials
	return t.found, nil
}

// http1 is a client for the endpoint. A function has one upload at a time; the few idle connections
// outlast the pause between two invocations.
func http1() http.RoundTripper {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	dialer := &net.Dialer{Timeout: 3 * time.Second, KeepAlive: 30 * time.Second}
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: dialer.DialContext, Protocols: protocols,
		TLSHandshakeTimeout: 3 * time.Second, ResponseHeaderTimeout: 5 * time.Second,
		MaxIdleConnsPerHost: 2, IdleConnTimeout: 5 * time.Minute, MaxResponseHeaderBytes: 64 << 10,
	}
}

package aws

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud"
)

const (
	// answerTimeout bounds the wait for the first byte: the slowest listings (of certificates, of images) take several seconds.
	answerTimeout = 20 * time.Second
	// idlePerHost keeps connections of one interface for its next call.
	idlePerHost = 2
)

// newHTTP is the way to AWS: through the guard, never along a redirect, each answer bounded, each interface at our pace.
func newHTTP(env probes.Env) (*http.Client, error) {
	instead, err := endpointOf(env)
	if err != nil {
		return nil, err
	}
	t := env.Guard.HTTPTransport(nil)
	// A session would pin more names than it may: every region and every bucket has its own. Each dial is judged all the same.
	t.DialContext = env.Guard.DialContext
	t.DisableKeepAlives, t.MaxIdleConnsPerHost, t.IdleConnTimeout = false, idlePerHost, cloud.CallTimeout
	t.ResponseHeaderTimeout = answerTimeout
	return &http.Client{
		Transport:     &transport{next: t, instead: instead, pace: pacer{}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

// transport sends the SDK's requests.
type transport struct {
	next    *http.Transport
	instead *url.URL
	pace    pacer
}

// RoundTrip waits for its turn and bounds the answer. Where the operator named another address the request goes there, and its Host
// stays the provider's, by which a proxy or a stand-in knows what is asked for.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := t.pace.wait(r.Context(), interfaceOf(r.URL.Hostname())); err != nil {
		return nil, err
	}
	if t.instead != nil {
		host := r.Host
		if host == "" {
			host = r.URL.Host
		}
		r = r.Clone(r.Context())
		r.Host, r.URL.Scheme, r.URL.Host = host, t.instead.Scheme, t.instead.Host
	}
	res, err := t.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	res.Body = &boundedBody{ReadCloser: res.Body, left: cloud.MaxAnswerBytes}
	return res, nil
}

// CloseIdleConnections is for [http.Client.CloseIdleConnections].
func (t *transport) CloseIdleConnections() { t.next.CloseIdleConnections() }

// interfaceOf is one service in one region: buckets have names of their own below those of S3.
func interfaceOf(host string) string {
	if at := strings.LastIndex(host, ".s3."); at >= 0 {
		return host[at+1:]
	}
	return host
}

// errLong says that an answer is longer than is read.
var errLong = errors.New("the answer is longer than is read")

// boundedBody reads at most left bytes.
type boundedBody struct {
	io.ReadCloser

	left int64
}

// Read ends with errLong where there is more.
func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errLong
	}
	if int64(len(p)) > b.left {
		p = p[:b.left]
	}
	n, err := b.ReadCloser.Read(p)
	b.left -= int64(n)
	return n, err
}

// pacer spaces the calls of each interface. Retries are calls as well.
type pacer struct {
	mu   sync.Mutex
	next map[string]time.Time
}

// wait waits for the turn of an interface.
func (p *pacer) wait(ctx context.Context, name string) error {
	p.mu.Lock()
	if p.next == nil {
		p.next = map[string]time.Time{}
	}
	now := time.Now()
	at := p.next[name]
	if at.Before(now) {
		at = now
	}
	p.next[name] = at.Add(spacing(name))
	p.mu.Unlock()
	if at.Equal(now) {
		return ctx.Err()
	}
	timer := time.NewTimer(at.Sub(now))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// quick are services that are asked once or more for every resource, and whose limits are high enough for it: a fifth of what is
// documented or less (S3: thousands a second; Lambda: 15 for GetPolicy; SNS: 30; SQS: hundreds; Secrets Manager: 50 and more;
// docs.aws.amazon.com/general/latest/gr/aws-service-information.html).
var quick = map[string]int{"s3": 40, "lambda": 8, "sqs": 20, "sns": 10, "secretsmanager": 10, "ecr": 10, "api": 10}

// spacing is the time between two calls of one interface.
func spacing(host string) time.Duration {
	service, _, _ := strings.Cut(host, ".")
	if n := quick[service]; n > 0 {
		return time.Second / time.Duration(n)
	}
	return time.Second / cloud.CallsPerSecond
}

// Package rest is the careful client that the providers of Azure and Google call their REST APIs with: every answer is bounded in
// bytes and time, every listing in pages, every account in calls.
//
// It sends a token to the origins that it was made for and to no other: it follows no redirect, and no link to a next page that
// leads elsewhere. It keeps keys, tokens and the words of providers out of errors.
package rest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/netguard"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud"
)

// Bounds of one client, which reads one account once. All are ours.
const (
	// MaxCalls is how many requests one account is worth: the pages of its listings and one question to each of 1,000 resources.
	MaxCalls = 1500
	// maxTotal bounds the bytes of all answers.
	maxTotal = 256 << 20
	// maxTries is how often one call is sent where the provider asks to come back.
	maxTries = 4
	// firstWait is the pause before the second try where the provider does not say how long; each further one is twice as long. Azure
	// Resource Graph counts in windows of 5 s (learn.microsoft.com/azure/governance/resource-graph/concepts/guidance-for-throttled-requests).
	firstWait = 5 * time.Second
	// maxWait is as long as is waited at the provider's word; longer than that the scan goes on without the answer.
	maxWait = 30 * time.Second
)

// Secret is a text that is shown nowhere.
type Secret string

// String hides it from every way of printing.
func (Secret) String() string { return "[secret]" }

// GoString hides it from %#v.
func (Secret) GoString() string { return "[secret]" }

// MarshalText hides it from encoders.
func (Secret) MarshalText() ([]byte, error) { return []byte("[secret]"), nil }

// Options make a [Client].
type Options struct {
	// Env is the way to the network and to permits.
	Env probes.Env
	// Origins are where requests may go: "https://management.azure.com".
	Origins []string
	// Token goes along with every request; nil: none.
	Token func(context.Context) (Secret, error)
	// Pace is the least time between two requests.
	Pace time.Duration
	// Wait waits; nil: as the clock does.
	Wait func(context.Context, time.Duration) error
}

// Client calls one provider for one account. It is safe for concurrent use. Close it.
type Client struct {
	options   Options
	transport *http.Transport

	mu    sync.Mutex
	next  time.Time
	calls int
	total int64
}

// New makes a client. It opens nothing.
func New(o Options) *Client {
	if o.Wait == nil {
		o.Wait = sleep
	}
	transport := o.Env.Guard.HTTPTransport(nil)
	// The peers are a few known hosts that are asked hundreds of times.
	transport.DisableKeepAlives, transport.MaxIdleConnsPerHost, transport.IdleConnTimeout = false, 8, 30*time.Second
	transport.ResponseHeaderTimeout = cloud.CallTimeout
	return &Client{options: o, transport: transport}
}

// Close ends its connections.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// Request is one call.
type Request struct {
	Method, URL string
	// ContentType is of Body, which may be nil.
	ContentType string
	Body        []byte
}

// Get calls with GET.
func (c *Client) Get(ctx context.Context, url string) ([]byte, error) {
	return c.Do(ctx, Request{Method: http.MethodGet, URL: url})
}

// Do sends a request, and again where the provider asks to come back, and returns the body of an answer with status 200. The error
// is a [*Problem].
func (c *Client) Do(ctx context.Context, r Request) ([]byte, error) {
	u, err := c.target(r.URL)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, cloud.CallTimeout)
	defer cancel()
	pause := firstWait
	for try := 1; ; try++ {
		body, again, err := c.once(ctx, u, r)
		if err == nil || again < 0 || try == maxTries {
			return body, err
		}
		if again == 0 {
			again, pause = pause, 2*pause
		}
		if deadline, ok := ctx.Deadline(); again > maxWait || ok && time.Until(deadline) < again || c.options.Wait(ctx, again) != nil {
			return nil, err
		}
	}
}

// target is a URL of one of the client's origins.
func (c *Client) target(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil || c.options.Env.Guard.CheckURL(u) != nil || u.Fragment != "" || !slices.Contains(c.options.Origins, u.Scheme+"://"+u.Host) {
		return nil, broken("it names an address that is not its own as the next to ask; it was not asked")
	}
	if u.Scheme != "https" && !loopback(u.Hostname()) {
		return nil, broken("its address is clear text, and a credential would go there; use https")
	}
	return u, nil
}

// loopback says whether a host is this machine.
func loopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

// once sends a request once. again says after how long it may be sent again: 0 at will, negative never.
func (c *Client) once(ctx context.Context, u *url.URL, r Request) (body []byte, again time.Duration, err error) {
	if err := c.permit(ctx, u.Hostname()); err != nil {
		return nil, -1, err
	}
	request, err := http.NewRequestWithContext(ctx, r.Method, u.String(), bytes.NewReader(r.Body))
	if err != nil {
		return nil, -1, broken("the request cannot be made")
	}
	request.Header.Set("User-Agent", probes.UserAgent(c.options.Env))
	request.Header.Set("Accept", "application/json")
	if r.ContentType != "" {
		request.Header.Set("Content-Type", r.ContentType)
	}
	if c.options.Token != nil {
		token, err := c.options.Token(ctx)
		if err != nil {
			return nil, -1, err
		}
		request.Header.Set("Authorization", "Bearer "+string(token))
	}
	response, err := c.transport.RoundTrip(request) // no client: a redirect would carry the token away
	if err != nil {
		return nil, againAfter(ctx), unreachable(ctx, err)
	}
	defer func() { _ = response.Body.Close() }() // it was only read
	if body, err = c.read(ctx, response.Body); err != nil {
		return nil, -1, err
	}
	if response.StatusCode == http.StatusOK {
		return body, 0, nil
	}
	problem := refusalOf(response.StatusCode, body)
	if !problem.transient() {
		return nil, -1, problem
	}
	return nil, retryAfter(response.Header.Get("Retry-After"), time.Now()), problem
}

// permit keeps the pace, the bounds of the account and the politeness of the platform.
func (c *Client) permit(ctx context.Context, host string) error {
	c.mu.Lock()
	c.calls++
	over := c.calls > MaxCalls || c.total > maxTotal
	now := time.Now()
	wait := max(c.next.Sub(now), 0)
	c.next = now.Add(wait + c.options.Pace)
	c.mu.Unlock()
	if over {
		return &Problem{Kind: cloud.GapCut, text: "the account is larger than what is read of one"}
	}
	if wait > 0 && c.options.Wait(ctx, wait) != nil || c.options.Env.TakePermits(ctx, host, 1) != nil {
		return timeOver()
	}
	return nil
}

// read reads a body within the bounds.
func (c *Client) read(ctx context.Context, from io.Reader) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(from, cloud.MaxAnswerBytes+1))
	c.mu.Lock()
	c.total += int64(len(body))
	c.mu.Unlock()
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, timeOver()
	case err != nil:
		return nil, broken("its answer broke off")
	case len(body) > cloud.MaxAnswerBytes:
		return nil, &Problem{Kind: cloud.GapCut, text: "its answer is longer than is read"}
	}
	return body, nil
}

// Pages asks for page after page. read gets a page and says what to ask next, the zero Request after the last. A page that was asked
// for before, and more than [cloud.MaxPages], end the listing with a problem: what was read so far is not all.
func (c *Client) Pages(ctx context.Context, first Request, read func(page []byte) (next Request, err error)) error {
	asked := map[string]bool{}
	for r := first; r.URL != ""; {
		place := r.URL + "\n" + string(r.Body)
		if asked[place] {
			return broken("its pages lead in a circle")
		}
		if len(asked) == cloud.MaxPages {
			return &Problem{Kind: cloud.GapCut, text: "it has more pages than are read"}
		}
		asked[place] = true
		page, err := c.Do(ctx, r)
		if err != nil {
			return err
		}
		if r, err = read(page); err != nil {
			return err
		}
	}
	return nil
}

// againAfter says whether a request that nobody answered may be sent again.
func againAfter(ctx context.Context) time.Duration {
	if ctx.Err() != nil {
		return -1
	}
	return time.Second
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// unreachable keeps the reason of a failed request and drops the words, in which the URL stands.
func unreachable(ctx context.Context, err error) error {
	var refusal *netguard.RefusedError
	switch {
	case errors.As(err, &refusal):
		return &Problem{Kind: cloud.GapFailed, text: "its address may not be connected to: " + strings.TrimSpace(refusal.Rule)}
	case ctx.Err() != nil:
		return timeOver()
	}
	return &Problem{Kind: cloud.GapFailed, Down: true, text: "it cannot be reached"}
}

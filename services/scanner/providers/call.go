package providers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/netguard"
)

// caller sends one request.
type caller struct {
	guard     *netguard.Guard
	userAgent string
	bases     map[string]string
}

// reply is a body that was read whole; absent says that the provider knows nothing of the subject.
type reply struct {
	body   []byte
	absent bool
}

// send asks once. Nothing of what goes wrong is shown but our own words: an error of net/http names the URL, and the key may be
// in it.
func (c *caller) send(ctx context.Context, p *Provider, address, key string) (reply, ending) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return reply{}, broken("its address cannot be read; correct RISKPROFILER_PROVIDER_URLS")
	}
	r.Header.Set("User-Agent", c.userAgent)
	r.Header.Set("Accept", "application/json")
	if p.Keyed() {
		p.authenticate(r, key)
	}
	transport := c.guard.HTTPTransport(nil)
	transport.ResponseHeaderTimeout = 0 // searching takes its time: ctx bounds all of it
	res, err := transport.RoundTrip(r)  // no client: a redirect would carry the key away
	if err != nil {
		return reply{}, unreachable(ctx, err)
	}
	defer func() { _ = res.Body.Close() }() // it was only read
	if e, ok := judge(res); !ok {
		return reply{}, e
	}
	if res.StatusCode == http.StatusNotFound {
		return reply{absent: true}, ending{}
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, int64(p.maxBody)+1))
	switch {
	case err != nil && ctx.Err() != nil:
		return reply{}, broken("its answer did not come to its end in time")
	case err != nil:
		return reply{}, broken("its answer broke off")
	case len(body) > p.maxBody:
		return reply{}, broken(fmt.Sprintf("its answer is longer than %d MiB", p.maxBody>>20))
	}
	if key != "" {
		body = bytes.ReplaceAll(body, []byte(key), []byte("[key]")) // an answer may repeat the request
	}
	return reply{body: body}, ending{}
}

func (c *caller) base(p *Provider) string {
	if base := c.bases[p.Name]; base != "" {
		return strings.TrimSuffix(base, "/")
	}
	return p.base
}

// judge says what an answer without a body to read means; ok is true for one that is to be read, and for "no such thing".
func judge(res *http.Response) (e ending, ok bool) {
	switch code := res.StatusCode; {
	case code == http.StatusOK, code == http.StatusNotFound:
		return ending{}, true
	case code == http.StatusTooManyRequests:
		e = broken("it says that there were too many requests (429)")
		e.problem.State = limited
		e.tooMany, e.wait = true, retryAfter(res.Header.Get("Retry-After"), time.Now())
		return e, false
	case code == http.StatusServiceUnavailable && res.Header.Get("Retry-After") != "":
		e = broken("it says that it is not available (503)")
		e.problem.State = unavailable
		e.tooMany, e.wait = true, retryAfter(res.Header.Get("Retry-After"), time.Now())
		return e, false
	case code == http.StatusUnauthorized:
		e = broken("it does not accept the key (401); store a valid one")
		e.refused = true
		return e, false
	case code == http.StatusForbidden:
		return broken("it refuses this request to the key (403); its plan may not allow it"), false
	case code == http.StatusPaymentRequired:
		return broken("it wants to be paid (402); the key's credits may be used up"), false
	case code >= 500:
		return broken(fmt.Sprintf("it fails (%d)", code)), false
	default:
		return broken(fmt.Sprintf("it answers with %d", code)), false
	}
}

// retryAfter reads a Retry-After header: seconds or a date (RFC 9110 section 10.2.3). What cannot be read is 0, and a time that
// is over is a second.
func retryAfter(text string, now time.Time) time.Duration {
	if n, err := strconv.ParseUint(strings.TrimSpace(text), 10, 32); err == nil {
		return max(min(time.Duration(n)*time.Second, maxRetryAfter), time.Second)
	}
	if t, err := http.ParseTime(text); err == nil {
		return max(min(t.Sub(now), maxRetryAfter), time.Second)
	}
	return 0
}

func broken(text string) ending { return ending{problem: &Problem{State: failed, Text: text}} }

// unreachable keeps the reason and drops the words.
func unreachable(ctx context.Context, err error) ending {
	var refusal *netguard.RefusedError
	switch {
	case errors.As(err, &refusal):
		return broken("its address may not be connected to: " + refusal.Rule)
	case ctx.Err() != nil:
		return broken("it did not answer in time")
	default:
		return broken("it cannot be reached")
	}
}

// CheckBase says what is wrong with a URL that replaces a provider's own; nil if nothing is. A key is sent there, so only this
// machine may be spoken to in clear text.
func CheckBase(provider, base string) error {
	u, err := url.Parse(base)
	switch {
	case Named(provider) == nil:
		return fmt.Errorf("there is no provider %q", provider)
	case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Scheme != "http" && u.Scheme != "https":
		return fmt.Errorf("the URL of %s is no http or https URL without user, query and fragment", provider)
	case u.Scheme == "http" && !loopback(u.Hostname()):
		return fmt.Errorf("the URL of %s is clear text; use https", provider)
	}
	return nil
}

package http

import (
	"cmp"
	"context"
	"errors"
	nethttp "net/http"
	"net/url"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
)

// ask is one request. The zero values are GET and the body bound of the scan.
type ask struct {
	url    *url.URL
	method string
	header map[string]string
	limit  int64
}

// reply is one answer, read within the bounds.
type reply struct {
	url       *url.URL
	status    int
	proto     string
	header    nethttp.Header
	body      []byte
	truncated bool
	bomb      bool
	// opaque says that the body could not be unfolded and means nothing as text.
	opaque bool
	// busy: the host asks for less (429, 503), after pause if it says so.
	busy  bool
	pause time.Duration
	// parsed is what page read.
	parsed *page
}

// machine is who has to bear the request: the address, for many names may lead to one.
func (s *site) machine(ctx context.Context) string {
	if addr, err := s.session.Addr(ctx, s.host); err == nil {
		return addr.String()
	}
	return s.host // which the dialer then says more about
}

// longestPause is how long a scan waits for a host that asks for a pause; one that wants more is left alone for this time.
const longestPause = 30 * time.Second

// fetch sends one request, and once more after the pause where the host asks for a short one: the permit of the second waits for it.
func (s *site) fetch(ctx context.Context, a ask) (*reply, error) {
	out, err := s.send(ctx, a)
	if err != nil || !out.busy || s.env.Pause == nil || out.pause > longestPause {
		return out, err
	}
	if again, err := s.send(ctx, a); err == nil {
		return again, nil
	}
	return out, nil
}

// send sends one request on a connection of the site, after taking a permit for it, and listens to how the host takes it.
func (s *site) send(ctx context.Context, a ask) (*reply, error) {
	if err := s.env.Guard.CheckURL(a.url); err != nil {
		return nil, err
	}
	machine := s.machine(ctx)
	if err := s.env.TakePermits(ctx, machine, 1); err != nil {
		return nil, err
	}
	response, err := s.exchange(ctx, a)
	if err != nil {
		// Before the first answer a server may hang up because it speaks something else, and asks for nothing by it.
		if polite := s.polite.Load(); polite != nil {
			polite.Failed(ctx, err)
		}
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	s.polite.CompareAndSwap(nil, s.env.Courtesy(machine))
	limit := a.limit
	if limit == 0 {
		limit = s.limits.body
	}
	out := &reply{url: a.url, status: response.StatusCode, proto: response.Proto, header: response.Header}
	after := out.header.Get("Retry-After")
	s.polite.Load().Answered(ctx, out.status, after)
	out.busy = out.status == nethttp.StatusTooManyRequests || out.status == nethttp.StatusServiceUnavailable
	out.pause, _ = probes.RetryAfter(after, time.Now())
	if countValues(out.header) > probes.MaxHeaders {
		return nil, errHeaders
	}
	out.readBody(response.Body, limit)
	return out, nil
}

// exchange sends the request and reads the head of the answer.
func (s *site) exchange(ctx context.Context, a ask) (*nethttp.Response, error) {
	request, err := nethttp.NewRequestWithContext(ctx, cmp.Or(a.method, nethttp.MethodGet), a.url.String(), nil)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "make request")
	}
	request.Header.Set("User-Agent", s.agent)
	request.Header.Set("Accept", "*/*")
	request.Header.Set("Accept-Encoding", "identity")
	for name, value := range a.header {
		request.Header.Set(name, value)
	}
	return s.transport.RoundTrip(request)
}

func countValues(header nethttp.Header) int {
	count := 0
	for _, values := range header {
		count += len(values)
	}
	return count
}

// errHeaders says that an answer has more headers than are read.
var errHeaders = errors.New("the server sends too many headers")

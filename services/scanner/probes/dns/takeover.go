package dns

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"time"

	mdns "github.com/miekg/dns"

	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/dnswild"
)

// userAgent names the scanner to whoever reads the logs.
const userAgent = "RiskProfiler/1.0 (+https://riskprofiler.example/scanner)"

// maxPage is how much of an answer over HTTP is read.
const maxPage = 64 << 10

// pause waits before something is asked a second time: a resource that is being moved is gone for a moment.
func (s *scan) pause(ctx context.Context) error { return wait(ctx, s.probe.limits.again) }

func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// pageHost is the name to ask a provider for: behind a wildcard, one that nobody chose.
func (s *scan) pageHost(from string, wildcard bool) string {
	if wildcard {
		return dnswild.RandomLabel() + from[1:] // for the asterisk
	}
	return from
}

// unclaimedTwice asks for the name's page, and if it is the provider's for a resource that nobody has, once more after a while.
func (s *scan) unclaimedTwice(ctx context.Context, p provider, host string) (proof string, certain bool, err error) {
	proof, certain, err = s.unclaimed(ctx, p, host)
	if err != nil || proof == "" {
		return "", false, err
	}
	if err := s.pause(ctx); err != nil {
		return "", false, err
	}
	again, stillCertain, err := s.unclaimed(ctx, p, host)
	if err != nil || again != proof {
		return "", false, err
	}
	return proof, certain && stillCertain, nil
}

// unclaimed asks for the name's page over http and https and returns what in an answer is the provider's for a resource that
// nobody has.
func (s *scan) unclaimed(ctx context.Context, p provider, host string) (proof string, certain bool, err error) {
	// One session: both requests go to the address that was judged first.
	session := s.env.Guard.NewSession()
	transport := s.env.Guard.HTTPTransport(session)
	transport.TLSClientConfig.InsecureSkipVerify = true // nobody has a certificate for a name that nobody has claimed
	defer transport.CloseIdleConnections()
	var failure error
	answered := false
	for i, scheme := range []string{"http", "https"} {
		addr, err := session.Addr(ctx, host)
		if err != nil {
			return "", false, err
		}
		if err := s.env.TakePermits(ctx, addr.String(), 1); err != nil {
			return "", false, err
		}
		got, err := s.page(ctx, transport, &url.URL{Scheme: scheme, Host: host, Path: "/"}, s.probe.webPorts[i])
		if err != nil {
			failure = err
			continue
		}
		answered = true
		if proof, certain := p.proof(got.status, string(got.body)); proof != "" {
			return proof, certain, nil
		}
	}
	if answered {
		return "", false, nil
	}
	return "", false, failure
}

// page is what was read of one answer.
type page struct {
	status int
	kind   string // media type
	body   []byte
}

// page asks for one page and follows no redirect.
func (s *scan) page(ctx context.Context, transport *http.Transport, at *url.URL, port uint16) (page, error) {
	ctx, cancel := context.WithTimeout(ctx, probes.FirstByteTimeout+probes.DialTimeout)
	defer cancel()
	if defaults := map[string]uint16{"http": 80, "https": 443}; defaults[at.Scheme] != port {
		at.Host += ":" + strconv.Itoa(int(port))
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return page{}, err
	}
	request.Header.Set("User-Agent", userAgent)
	request.Header.Set("Accept-Encoding", "identity")
	response, err := transport.RoundTrip(request)
	if err != nil {
		return page{}, err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxPage))
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return page{}, err
	}
	return page{status: response.StatusCode, kind: response.Header.Get("Content-Type"), body: body}, nil
}

// webPort is where a name's web server listens: as ever, but on a loopback address, which only a laboratory has, where the
// name's HTTPS record says (RFC 9460), because the usual port needs privileges.
func (s *scan) webPort(ctx context.Context, host string, addr netip.Addr) uint16 {
	usual := s.probe.webPorts[1]
	if !addr.IsLoopback() {
		return usual
	}
	got, err := s.resolver.find(ctx, host, mdns.TypeHTTPS)
	if err != nil {
		return usual
	}
	for _, rr := range got.records {
		if binding, ok := rr.(*mdns.HTTPS); ok {
			for _, value := range binding.Value {
				if port, ok := value.(*mdns.SVCBPort); ok {
					return port.Port
				}
			}
		}
	}
	return usual
}

package dns

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"

	mdns "github.com/miekg/dns"

	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
)

//go:embed providers.json
var providersFile []byte

// provider is one service whose resources can be claimed by name: see providers.json, which also says where the facts are from.
type provider struct {
	Name string `json:"name"`
	// Suffixes of the names that its customers point to.
	Suffixes []string `json:"suffixes"`
	// NXDomain: a resource that can be claimed does not exist in the provider's zone.
	NXDomain bool `json:"nxdomain"`
	// Texts that all stand in its page for a resource that can be claimed, with Status if that is told.
	Texts  []string `json:"texts"`
	Status int      `json:"status"`
	// Edge: not every such resource can be claimed, so that the answer alone confirms nothing.
	Edge bool `json:"edge"`
}

// loadProviders reads the table, once, when the first alias asks for it.
var loadProviders = sync.OnceValue(func() []provider {
	var file struct {
		Providers []provider `json:"providers"`
	}
	_ = json.Unmarshal(providersFile, &file) // compiled in, and tested
	return file.Providers
})

// userAgent names the scanner to whoever reads the logs.
const userAgent = "RiskProfiler/1.0 (+https://riskprofiler.example/scanner)"

// maxProviderPage is how much of a provider's answer is read.
const maxProviderPage = 64 << 10

// providerOf finds the provider that an alias points to.
func (s *scan) providerOf(chain []string) (provider, string) {
	for _, target := range chain {
		for _, p := range s.probe.providers() {
			for _, suffix := range p.Suffixes {
				if strings.HasSuffix(target, "."+suffix) || target == suffix {
					return p, target
				}
			}
		}
	}
	return provider{}, ""
}

// alias looks at where the name's alias leads. A target without existence dangles; it is confirmed as open to a takeover only
// where the target is a known provider's and the provider itself says that nobody has it.
func (s *scan) alias(ctx context.Context) {
	chain := s.fact.GetCname()
	if len(chain) == 0 {
		return
	}
	end := chain[len(chain)-1]
	p, target := s.providerOf(chain)
	missing := s.fact.GetRcode() == rcodeName(mdns.RcodeNameError)
	switch {
	case missing && p.NXDomain && target == end && !s.passive:
		confirmed, err := s.absent(ctx, end)
		if err != nil {
			s.miss("provider "+p.Name, err)
		}
		proof := "NXDOMAIN"
		if confirmed {
			proof = "NXDOMAIN, also from the name servers of " + p.Name
		}
		s.dangles("CNAME", end, p.Name, proof, confirmed && !p.Edge)
	case missing:
		s.dangles("CNAME", end, p.Name, "NXDOMAIN", false)
	case len(p.Texts) > 0 && !s.passive:
		proof, err := s.unclaimed(ctx, p)
		if err != nil {
			s.miss("provider "+p.Name, err)
			return
		}
		if proof != "" {
			s.dangles("CNAME", target, p.Name, proof, !p.Edge)
		}
	}
}

// absent asks the provider's own name servers, and not a resolver's memory, whether a name does not exist.
func (s *scan) absent(ctx context.Context, name string) (bool, error) {
	got, err := s.resolver.find(ctx, name, mdns.TypeA)
	if err != nil || got.zone == "" {
		return false, err
	}
	servers, err := s.resolver.find(ctx, got.zone, mdns.TypeNS)
	if err != nil {
		return false, err
	}
	key := mdns.Question{Name: mdns.CanonicalName(name), Qtype: mdns.TypeA, Qclass: mdns.ClassINET}
	for _, rr := range servers.records[:min(len(servers.records), maxServers)] {
		ns, ok := rr.(*mdns.NS)
		if !ok {
			continue
		}
		list, _, resolveErr := s.resolver.addresses(ctx, ns.Ns)
		if err = resolveErr; err != nil || len(list) == 0 {
			continue
		}
		reply, askErr := s.exchange(ctx, "udp", list[0], key)
		if err = askErr; err == nil {
			return reply.Authoritative && reply.Rcode == mdns.RcodeNameError, nil
		}
	}
	return false, err
}

// unclaimed asks for the name's page and returns what in the answer is the provider's for a resource that nobody has.
func (s *scan) unclaimed(ctx context.Context, p provider) (string, error) {
	// One session: both requests go to the address that was judged first.
	session := s.env.Guard.NewSession()
	transport := s.env.Guard.HTTPTransport(session)
	transport.TLSClientConfig.InsecureSkipVerify = true // nobody has a certificate for a name that nobody has claimed
	defer transport.CloseIdleConnections()
	var failure error
	answered := false
	for i, scheme := range []string{"http", "https"} {
		addr, err := session.Addr(ctx, s.name)
		if err != nil {
			return "", err
		}
		if err := s.env.TakePermits(ctx, addr.String(), 1); err != nil {
			return "", err
		}
		status, body, err := s.page(ctx, transport, scheme, s.probe.webPorts[i])
		if err != nil {
			failure = err
			continue
		}
		answered = true
		if proof := p.proof(status, body); proof != "" {
			return proof, nil
		}
	}
	if answered {
		return "", nil
	}
	return "", failure
}

// proof says what in an answer is the provider's for a resource that nobody has.
func (p provider) proof(status int, body string) string {
	if p.Status != 0 && p.Status != status {
		return ""
	}
	for _, text := range p.Texts {
		if !strings.Contains(body, text) {
			return ""
		}
	}
	return p.Name + " answers " + strconv.Itoa(status) + ": " + strings.Join(p.Texts, " ... ")
}

// page asks for the root page of the name and follows no redirect.
func (s *scan) page(ctx context.Context, transport *http.Transport, scheme string, port uint16) (int, string, error) {
	ctx, cancel := context.WithTimeout(ctx, probes.FirstByteTimeout+probes.DialTimeout)
	defer cancel()
	at := &url.URL{Scheme: scheme, Host: s.name, Path: "/"}
	if defaults := map[string]uint16{"http": 80, "https": 443}; defaults[scheme] != port {
		at.Host += ":" + strconv.Itoa(int(port))
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return 0, "", err
	}
	request.Header.Set("User-Agent", userAgent)
	request.Header.Set("Accept-Encoding", "identity")
	response, err := transport.RoundTrip(request)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxProviderPage))
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return 0, "", err
	}
	return response.StatusCode, string(body), nil
}

// Package providerstest has servers that answer as the documented interfaces of third parties do, with quotas that they count by
// themselves, and that can be made to fail in the ways that third parties fail. They listen on loopback and end with the test.
package providerstest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Key is accepted by all providers that want one.
const Key = "canary-5f0e8d17c2ab4963-key"

// Arrival is one request as the server saw it.
type Arrival struct {
	At                         time.Time
	Provider, Path, Key, Agent string
	Status                     int
}

// Server is all providers in one, each below a path of its own: see [Server.Bases].
type Server struct {
	http *httptest.Server

	mu        sync.Mutex
	arrivals  []Arrival
	faults    map[string]Fault
	limits    map[string]Limit
	domains   map[string][]string
	hosts     map[string]string
	verdicts  map[string]string
	domainsOf map[string]string
}

// Limit is a quota that the server enforces: Requests in any Window, and Total in all.
type Limit struct {
	Requests int
	Window   time.Duration
	Total    int
}

// Fault answers in place of a provider.
type Fault func(w http.ResponseWriter, r *http.Request)

// New starts a server that knows nothing.
func New(t testing.TB) *Server {
	t.Helper()
	s := &Server{faults: map[string]Fault{}, limits: map[string]Limit{}, domains: map[string][]string{}, hosts: map[string]string{}, verdicts: map[string]string{}, domainsOf: map[string]string{}}
	s.http = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(func() {
		s.http.CloseClientConnections() // a drip would go on
		s.http.Close()
	})
	return s
}

// names of the providers, as paths.
var names = []string{"certspotter", "crt.sh", "internetdb", "rdap", "securitytrails", "shodan", "virustotal"}

// Bases are the URLs of the providers by name.
func (s *Server) Bases() map[string]string {
	out := map[string]string{}
	for _, name := range names {
		out[name] = s.http.URL + "/" + name
	}
	return out
}

// Setting is Bases as the setting RISKPROFILER_PROVIDER_URLS.
func (s *Server) Setting() string {
	var parts []string
	for _, name := range names {
		parts = append(parts, name+"="+s.http.URL+"/"+name)
	}
	return strings.Join(parts, ",")
}

// Fail makes a provider answer with f; nil makes it well again.
func (s *Server) Fail(provider string, f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults[provider] = f
}

// Limit makes a provider enforce a quota for each key.
func (s *Server) Limit(provider string, l Limit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limits[provider] = l
}

// Names lets all providers know names below a domain.
func (s *Server) Names(domain string, names ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.domains[domain] = names
}

// Host lets Shodan and InternetDB know an address: the fields of their documented answers besides the address, as JSON members.
func (s *Server) Host(addr, members string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hosts[addr] = members
}

// Verdict lets VirusTotal know a domain or an address: its attributes as JSON.
func (s *Server) Verdict(subject, attributes string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.verdicts[subject] = attributes
}

// Registration lets the registry of a domain know it: the members of its RDAP object besides class and name, as JSON. Top-level domains
// of which nothing is known have no service.
func (s *Server) Registration(domain, members string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.domainsOf[domain] = members
}

// registries is the bootstrap file of RFC 9224, with all registries at one address.
func (s *Server) registries(w http.ResponseWriter) {
	tops := []string{}
	for domain := range s.domainsOf {
		tops = append(tops, domain[strings.LastIndexByte(domain, '.')+1:])
	}
	write(w, map[string]any{
		"version": "1.0", "publication": "2026-11-20T21:00:01Z", "description": "RDAP bootstrap file for Domain Name System registrations",
		"services": [][][]string{{{"nowhere"}, {"http://192.0.2.1/"}}, {tops, {s.http.URL + "/rdap/registry/"}}},
	})
}

func (s *Server) registration(w http.ResponseWriter, domain string) {
	members, ok := s.domainsOf[domain]
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		_, _ = fmt.Fprint(w, `{"errorCode": 404, "title": "Not Found"}`)
		return
	}
	_, _ = fmt.Fprintf(w, `{"objectClassName": "domain", "ldhName": %q, "rdapConformance": ["rdap_level_0"], %s}`, strings.ToUpper(domain), members)
}

// Arrivals are the requests to a provider, in the order in which they came.
func (s *Server) Arrivals(provider string) []Arrival {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(s.arrivals), func(a Arrival) bool { return a.Provider != provider })
}

// Most is the largest number of requests that came to a provider in any window.
func (s *Server) Most(provider string, window time.Duration) int {
	arrivals := s.Arrivals(provider)
	most, from := 0, 0
	for i := range arrivals {
		for arrivals[i].At.Sub(arrivals[from].At) >= window {
			from++
		}
		most = max(most, i-from+1)
	}
	return most
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	provider, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	a := Arrival{At: time.Now(), Provider: provider, Path: "/" + rest, Key: keyOf(provider, r), Agent: r.UserAgent()}
	s.mu.Lock()
	over := s.over(a)
	s.arrivals = append(s.arrivals, a)
	fault := s.faults[provider]
	s.mu.Unlock()
	wants := provider != "crt.sh" && provider != "internetdb" && provider != "rdap"
	switch {
	case fault != nil:
		fault(w, r)
	case wants && a.Key != Key:
		http.Error(w, `{"error":{"code":"WrongCredentialsError"}}`, http.StatusUnauthorized)
	case over:
		http.Error(w, `{"error":{"code":"QuotaExceededError"}}`, http.StatusTooManyRequests)
	default:
		s.answer(w, r, provider, strings.Split(rest, "/"))
	}
}

// over says whether one more request is over the provider's quota.
func (s *Server) over(a Arrival) bool {
	limit, ok := s.limits[a.Provider]
	if !ok {
		return false
	}
	total, recent := 0, 0
	for _, before := range s.arrivals {
		if before.Provider != a.Provider || before.Key != a.Key {
			continue
		}
		total++
		if a.At.Sub(before.At) < limit.Window {
			recent++
		}
	}
	return limit.Total > 0 && total >= limit.Total || limit.Requests > 0 && recent >= limit.Requests
}

// keyOf is where each provider's documentation says that the key is.
func keyOf(provider string, r *http.Request) string {
	switch provider {
	case "shodan":
		return r.URL.Query().Get("key")
	case "virustotal":
		return r.Header.Get("X-Apikey")
	case "securitytrails":
		return r.Header.Get("APIKEY")
	case "certspotter":
		return strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	}
	return ""
}

func (s *Server) answer(w http.ResponseWriter, r *http.Request, provider string, path []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	query := r.URL.Query()
	w.Header().Set("Content-Type", "application/json")
	switch {
	case provider == "crt.sh" && query.Get("output") == "json":
		s.crtSh(w, strings.TrimPrefix(query.Get("q"), "%."))
	case provider == "certspotter" && path[0] == "issuances":
		s.certSpotter(w, query.Get("domain"))
	case provider == "shodan" && len(path) == 3 && path[0] == "shodan" && path[1] == "host":
		s.host(w, path[2], "ip_str", `{"error": "No information available for that IP."}`)
	case provider == "internetdb" && len(path) == 1:
		s.host(w, path[0], "ip", `{"detail":"No information available"}`)
	case provider == "shodan" && len(path) == 3 && path[0] == "dns" && path[1] == "domain":
		s.shodanDomain(w, path[2])
	case provider == "securitytrails" && len(path) == 3 && path[2] == "subdomains":
		write(w, map[string]any{"endpoint": r.URL.Path, "subdomain_count": 1, "subdomains": s.labels(path[1]), "meta": map[string]any{"limit_reached": false}})
	case provider == "rdap" && len(path) == 1 && path[0] == "dns.json":
		s.registries(w)
	case provider == "rdap" && len(path) == 3 && path[1] == "domain":
		s.registration(w, path[2])
	case provider == "virustotal" && len(path) == 3 && path[2] == "subdomains":
		s.virusTotalNames(w, path[1], query)
	case provider == "virustotal" && len(path) == 2:
		s.verdict(w, map[string]string{"domains": "domain", "ip_addresses": "ip_address"}[path[0]], path[1])
	default:
		http.Error(w, "no such method", http.StatusBadRequest)
	}
}

func write(w http.ResponseWriter, v any) {
	if err := json.NewEncoder(w).Encode(v); err != nil {
		panic(err)
	}
}

func (s *Server) labels(domain string) []string {
	out := []string{}
	for _, name := range s.domains[domain] {
		out = append(out, strings.TrimSuffix(name, "."+domain))
	}
	return out
}

func (s *Server) crtSh(w http.ResponseWriter, domain string) {
	out := []map[string]any{}
	for i, name := range s.domains[domain] {
		out = append(out, map[string]any{
			"issuer_ca_id": 16418, "issuer_name": "C=US, O=Let's Encrypt, CN=R3", "common_name": name, "name_value": name + "\n*." + name,
			"id": 2549490984 + i, "entry_timestamp": "2026-03-07T00:14:48.255", "not_before": "2026-03-06T23:14:48", "not_after": "2026-12-04T23:14:48",
			"serial_number": "03b5914e5f28724457a5a51ad2c494d040f6", "result_count": 4,
		})
	}
	write(w, out)
}

func (s *Server) certSpotter(w http.ResponseWriter, domain string) {
	out := []map[string]any{}
	for i, name := range s.domains[domain] {
		out = append(out, map[string]any{"id": strconv.Itoa(i + 1), "tbs_sha256": "aa", "dns_names": []string{name}, "not_before": "2026-06-16T00:00:00Z", "revoked": false})
	}
	write(w, out)
}

func (s *Server) host(w http.ResponseWriter, addr, field, absent string) {
	members, ok := s.hosts[addr]
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		_, _ = fmt.Fprint(w, absent)
		return
	}
	_, _ = fmt.Fprintf(w, `{%q: %q, %s}`, field, addr, members)
}

func (s *Server) shodanDomain(w http.ResponseWriter, domain string) {
	labels := s.labels(domain)
	data := []map[string]any{}
	for _, label := range labels {
		data = append(data, map[string]any{"subdomain": label, "type": "A", "value": "198.41.0.4", "last_seen": "2026-11-01T10:00:00.000000"})
	}
	write(w, map[string]any{"domain": domain, "tags": []string{"ipv6"}, "subdomains": labels, "data": data, "more": false})
}

// virusTotalNames gives pages of two names.
func (s *Server) virusTotalNames(w http.ResponseWriter, domain string, query url.Values) {
	names := s.domains[domain]
	from, _ := strconv.Atoi(query.Get("cursor"))
	from = min(from, len(names))
	to := min(from+2, len(names))
	data := []map[string]any{}
	for _, name := range names[from:to] {
		data = append(data, map[string]any{"type": "domain", "id": name, "attributes": map[string]any{"reputation": 0}})
	}
	meta := map[string]any{"count": len(names)}
	if to < len(names) {
		meta["cursor"] = strconv.Itoa(to)
	}
	write(w, map[string]any{"data": data, "meta": meta, "links": map[string]any{"self": "https://www.virustotal.com/"}})
}

func (s *Server) verdict(w http.ResponseWriter, kind, subject string) {
	attributes, ok := s.verdicts[subject]
	if !ok || kind == "" {
		http.Error(w, `{"error":{"code":"NotFoundError","message":"not found"}}`, http.StatusNotFound)
		return
	}
	_, _ = fmt.Fprintf(w, `{"data": {"id": %q, "type": %q, "links": {}, "attributes": %s}}`, subject, kind, attributes)
}

package dns

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"mime"
	"net/url"
	"slices"
	"strconv"
	"strings"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
)

// Bounds of an MTA-STS policy.
const (
	// maxPolicyAge in seconds, a year (RFC 8461 section 3.2).
	maxPolicyAge = 31557600
	// maxPolicyMX bounds the patterns of a policy in a fact.
	maxPolicyMX = 50
	// maxPolicyID is the longest id of a record (RFC 8461 section 3.1).
	maxPolicyID = 32
)

// mtaSTS reads the record (RFC 8461 section 3.1) and, if there is one, the policy; nil if the record was not answered.
func (s *scan) mtaSTS(ctx context.Context, mail *modelv1.MailFact) *modelv1.MtaSts {
	records, err := s.versioned(ctx, "_mta-sts."+s.name, "v=STSv1")
	if err != nil {
		s.miss("MTA-STS", err)
		return nil
	}
	out := &modelv1.MtaSts{Records: uint32(len(records))}
	if len(records) != 1 {
		return out
	}
	out.Id, out.Error = parseSTS(records[0])
	if s.passive {
		return out
	}
	s.fetchPolicy(ctx, out)
	for _, mx := range mail.GetExchangers() {
		if out.GetMode() != "" && out.GetMode() != "none" && !covers(out.GetMx(), mx.GetHost()) {
			out.MxMissing = append(out.MxMissing, mx.GetHost())
		}
	}
	return out
}

// parseSTS reads the id of a record, and what is wrong with it.
func parseSTS(text string) (id, problem string) {
	fields, problem := fieldsOf(text)
	id = fields["id"]
	plainID := strings.IndexFunc(id, func(r rune) bool { return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') }) < 0
	if id == "" || len(id) > maxPolicyID || !plainID {
		problem = firstOf(problem, "the id is not 1 to 32 letters and digits")
	}
	return probes.SafeString(id, maxPolicyID), probes.SafeString(problem, 256)
}

// covers says whether a policy names a mail exchanger: a pattern with an asterisk stands for exactly one label (RFC 8461 section
// 4.1).
func covers(patterns []string, host string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		if rest, ok := strings.CutPrefix(pattern, "*."); ok {
			_, parent, there := strings.Cut(host, ".")
			return there && parent == rest
		}
		return pattern == host
	})
}

// fetchPolicy gets the policy over HTTPS (RFC 8461 section 3.3). The certificate is judged by itself, so that a policy is read
// even where senders would not take it.
func (s *scan) fetchPolicy(ctx context.Context, out *modelv1.MtaSts) {
	host := "mta-sts." + s.name
	session := s.env.Guard.NewSession()
	addr, err := session.Addr(ctx, host)
	if errors.Is(err, fault.NotFound) {
		out.Fetch = modelv1.MtaSts_FETCH_NO_HOST
		return
	}
	if err == nil {
		err = s.env.TakePermits(ctx, addr.String(), 1)
	}
	if err != nil {
		s.miss("MTA-STS policy", err)
		return
	}
	transport := s.env.Guard.HTTPTransport(session)
	transport.TLSClientConfig.InsecureSkipVerify = true // judged below, and nothing secret is sent
	transport.TLSClientConfig.VerifyConnection = func(state tls.ConnectionState) error {
		out.CertificateError = s.policyCertificate(host, state.PeerCertificates)
		return nil
	}
	defer transport.CloseIdleConnections()
	got, err := s.page(ctx, transport, &url.URL{Scheme: "https", Host: host, Path: "/.well-known/mta-sts.txt"}, s.webPort(ctx, host, addr))
	switch {
	case ctx.Err() != nil:
		s.miss("MTA-STS policy", ctx.Err())
		return
	case err != nil:
		out.Fetch = modelv1.MtaSts_FETCH_UNREACHABLE
		return
	case got.status != 200:
		out.Fetch, out.Status = modelv1.MtaSts_FETCH_STATUS, uint32(got.status)
		return
	}
	out.Fetch, out.Status = modelv1.MtaSts_FETCH_OK, 200
	parsePolicy(got.kind, string(got.body), out)
}

// policyCertificate says why senders do not accept a certificate (RFC 8461 section 3.3), "" if they do.
func (s *scan) policyCertificate(host string, chain []*x509.Certificate) string {
	if len(chain) == 0 {
		return "none was shown"
	}
	if err := chain[0].VerifyHostname(host); err != nil {
		return "it is for another name"
	}
	roots := s.probe.roots()
	if roots == nil {
		return ""
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:min(len(chain), 10)] {
		between.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between})
	var invalid x509.CertificateInvalidError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "it has expired or is not valid yet"
	default:
		return "it is not from a certification authority that is commonly trusted"
	}
}

// parsePolicy reads a policy (RFC 8461 section 3.2).
func parsePolicy(mediaType, body string, out *modelv1.MtaSts) {
	problem := ""
	fail := func(format string, args ...any) { problem = firstOf(problem, fmt.Sprintf(format, args...)) }
	if kind, _, err := mime.ParseMediaType(mediaType); err != nil || kind != "text/plain" {
		fail("its media type is not text/plain")
	}
	seen := map[string]bool{}
	for line := range strings.Lines(body) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		if !ok {
			fail("%s is no field", clip(line))
			continue
		}
		if seen[name] && name != "mx" {
			continue // the first counts
		}
		seen[name] = true
		switch name {
		case "version":
			if value != "STSv1" {
				fail("the version is not STSv1")
			}
		case "mode":
			out.Mode = policyMode(value, fail)
		case "max_age":
			age, err := strconv.ParseUint(value, 10, 32)
			if err != nil || age > maxPolicyAge {
				fail("max_age is not 0 to %d seconds", maxPolicyAge)
				continue
			}
			out.MaxAge = uint32(age)
		case "mx":
			value = strings.ToLower(strings.TrimSuffix(value, "."))
			if !plausible(strings.TrimPrefix(value, "*.")) {
				fail("mx %s is no name", clip(value))
			} else if len(out.GetMx()) < maxPolicyMX {
				out.Mx = append(out.Mx, value)
			}
		}
	}
	for _, name := range []string{"version", "mode", "max_age"} {
		if !seen[name] {
			fail("it has no %s", name)
		}
	}
	if out.GetMode() != "none" && len(out.GetMx()) == 0 {
		fail("it names no mail exchanger")
	}
	out.PolicyError = probes.SafeString(problem, 256)
}

func policyMode(value string, fail func(string, ...any)) string {
	switch value {
	case "enforce", "testing", "none":
		return value
	default:
		fail("mode is none of enforce, testing, none")
		return ""
	}
}

package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/fault"
)

const (
	// challengeLabel is the name below which a DNS proof is published.
	challengeLabel = "_riskprofiler-challenge."
	// challengePath is where a file proof is published (RFC 8615).
	challengePath = "/.well-known/riskprofiler-challenge.txt"
	// proofTimeout bounds one look at a proof; maxProofBytes the file.
	proofTimeout  = 10 * time.Second
	maxProofBytes = 4096
	// maxRedirects is how many redirects within its own host a file may be behind.
	maxRedirects = 5
	// webPort is where a file proof is looked for: ports below 1024 are the administrator's of a machine.
	webPort = 80
)

// proofState is what a look at a proof says.
type proofState int

const (
	// proofUnknown: nobody answered, which proves neither that it is there nor that it is gone.
	proofUnknown proofState = iota
	proofThere
	proofGone
)

// sight is one look at a proof.
type sight struct {
	state proofState
	why   string
}

func gone(format string, args ...any) sight { return sight{proofGone, fmt.Sprintf(format, args...)} }
func unknown(err error, where string) sight {
	return sight{proofUnknown, fmt.Sprintf("could not read %s: %v", where, err)}
}

// look says whether a proof is there now.
func (s *Service) look(ctx context.Context, a *modelv1.Asset, p *ingestv1.Proof) sight {
	ctx, cancel := context.WithTimeout(ctx, proofTimeout)
	defer cancel()
	switch p.GetMethod() {
	case ingestv1.ProofMethod_PROOF_METHOD_DNS_TXT:
		return s.lookDNS(ctx, a, p)
	case ingestv1.ProofMethod_PROOF_METHOD_HTTP_FILE:
		return s.lookFile(ctx, p)
	case ingestv1.ProofMethod_PROOF_METHOD_CLOUD_ROLE:
		return s.lookRole(ctx, a, p)
	}
	return gone("%s is no way to prove ownership", p.GetMethod())
}

// lookDNS reads the record. It has to stand at its own name: an alias gives the answer to whoever holds its end, and a wildcard
// answers for names that nobody made. A resolver may keep a record for its time to live after it was removed.
func (s *Service) lookDNS(ctx context.Context, a *modelv1.Asset, p *ingestv1.Proof) sight {
	texts, alias, err := s.guard.LookupTXTExact(ctx, p.GetLocation())
	switch {
	case errors.Is(err, fault.NotFound):
		return gone("there is no TXT record at %s", p.GetLocation())
	case err != nil:
		return unknown(err, p.GetLocation())
	case alias != "":
		return gone("%s is an alias of %s; publish the TXT record at the name itself", p.GetLocation(), alias)
	case !holds(texts, p.GetToken()):
		return gone("%s does not contain %s", p.GetLocation(), p.GetToken())
	}
	// A name that nobody made, at the same level.
	never := "_riskprofiler-" + random(8) + "." + a.GetValue()
	texts, _, err = s.guard.LookupTXTExact(ctx, never)
	switch {
	case errors.Is(err, fault.NotFound):
		return sight{state: proofThere}
	case err != nil:
		return unknown(err, never)
	case holds(texts, p.GetToken()):
		return gone("a wildcard answers for %s; publish the TXT record at its own name", p.GetLocation())
	}
	return sight{state: proofThere}
}

func holds(texts []string, token string) bool {
	return slices.ContainsFunc(texts, func(text string) bool { return strings.TrimSpace(text) == token })
}

// fileHost is where a host serves its file.
func (s *Service) fileHost(value string) string {
	if strings.Contains(value, ":") {
		value = "[" + value + "]"
	}
	if s.webPort != webPort {
		value += ":" + strconv.Itoa(s.webPort)
	}
	return value
}

// errElsewhere is what a redirect away from the host says.
var errElsewhere = errors.New("it leads to another host or port")

// lookFile reads the file. Redirects within the same host are followed, none to another: whoever controls the other host is not
// whoever controls this one. Nor to another port, where anybody with an account on the machine may serve.
func (s *Service) lookFile(ctx context.Context, p *ingestv1.Proof) sight {
	origin, err := url.Parse(p.GetLocation())
	if err != nil {
		return gone("%s is no URL", p.GetLocation())
	}
	client := s.guard.HTTPClient(s.guard.NewSession(), maxRedirects, func(u *url.URL) error {
		usual := u.Port() == origin.Port() && u.Scheme == origin.Scheme || u.Scheme == "https" && (u.Port() == "" || u.Port() == "443")
		if !strings.EqualFold(u.Hostname(), origin.Hostname()) || !usual {
			return errElsewhere
		}
		return nil
	})
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.GetLocation(), nil)
	if err != nil {
		return gone("%s is no URL", p.GetLocation())
	}
	req.Header.Set("User-Agent", "RiskProfiler/1.0 (ownership proof)")
	resp, err := client.Do(req)
	if err != nil {
		return failed(err, p.GetLocation())
	}
	defer func() { _ = resp.Body.Close() }()
	switch {
	case resp.StatusCode >= http.StatusInternalServerError || resp.StatusCode == http.StatusTooManyRequests:
		return unknown(fmt.Errorf("the answer is %d", resp.StatusCode), p.GetLocation())
	case resp.StatusCode != http.StatusOK:
		return gone("%s does not exist: the answer is %d", p.GetLocation(), resp.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxProofBytes))
	if err != nil {
		return unknown(err, p.GetLocation())
	}
	if strings.TrimSpace(string(body)) != p.GetToken() {
		return gone("%s does not contain %s and nothing else", p.GetLocation(), p.GetToken())
	}
	return sight{state: proofThere}
}

// failed says what a request that failed means: a host that is gone, or leads where it may not, has no proof; one that does not
// answer may have.
func failed(err error, where string) sight {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	switch {
	case errors.Is(err, errElsewhere):
		return gone("%s is not the host's own: %v", where, errElsewhere)
	case errors.Is(err, fault.NotFound):
		return gone("%s has no address any more", where)
	case errors.Is(err, fault.PermissionDenied), errors.Is(err, fault.Invalid):
		return gone("%s leads to an address that is not permitted", where)
	}
	return unknown(err, where)
}

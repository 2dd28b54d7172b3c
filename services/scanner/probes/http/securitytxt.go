package http

import (
	"context"
	nethttp "net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
)

// Bounds of what is read of a security.txt (RFC 9116 section 5.4 asks for some).
const (
	maxSecurityTxt = 32 << 10
	maxContacts    = 10
	maxFaults      = 10
)

// securityTxt asks for the contact of RFC 9116 at its place, and where there is none at the one from before the RFC (section 3).
func (s *site) securityTxt(ctx context.Context, v *visit, found *findings) {
	for _, path := range []string{"/.well-known/security.txt", "/security.txt"} {
		answer := s.get(ctx, found, ask{url: s.at(v, path), limit: maxSecurityTxt})
		if answer == nil {
			return
		}
		legacy := path == "/security.txt"
		// A redirect to the same file at the organisation's main site is allowed (section 3).
		if next, _ := target(answer); next != nil && strings.HasSuffix(next.Path, "/security.txt") && !legacy {
			found.mu.Lock()
			found.securityTxt = true
			found.mu.Unlock()
			return
		}
		if answer.status != nethttp.StatusOK || answer.isHTML() {
			continue
		}
		file := readSecurityTxt(answer)
		if len(file.GetContacts()) == 0 {
			continue // another text
		}
		file.LegacyPlace = legacy
		found.mu.Lock()
		found.securityTxt, found.securityFile = !legacy, file
		found.mu.Unlock()
		return
	}
}

// readSecurityTxt reads the fields of a file, and what in it breaks the RFC.
func readSecurityTxt(answer *reply) *modelv1.SecurityTxt {
	out := &modelv1.SecurityTxt{Url: answer.url.String()}
	fault := func(text string) {
		if len(out.GetFaults()) < maxFaults && !slices.Contains(out.GetFaults(), text) {
			out.Faults = append(out.Faults, text)
		}
	}
	if !strings.HasPrefix(strings.ToLower(answer.header.Get("Content-Type")), "text/plain") {
		fault("not text/plain")
	}
	text := strings.TrimPrefix(string(answer.body), "\ufeff")
	out.Signed = strings.HasPrefix(text, "-----BEGIN PGP SIGNED MESSAGE-----") && strings.Contains(text, "-----BEGIN PGP SIGNATURE-----")
	text, _, _ = strings.Cut(text, "-----BEGIN PGP SIGNATURE-----")
	expiries, canonical, own := 0, 0, false
	for line := range strings.Lines(text) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), ":")
		if value = strings.TrimSpace(value); !ok || value == "" || strings.HasPrefix(name, "#") {
			continue
		}
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "contact":
			if !contactAddress(value) {
				fault("Contact is no address of the web, mail or telephone")
			}
			if len(out.GetContacts()) < maxContacts {
				out.Contacts = append(out.GetContacts(), probes.SafeString(value, 256))
			}
		case "expires":
			expiries++
			if at, err := time.Parse(time.RFC3339, value); err == nil {
				out.Expires = timestamppb.New(at)
			} else {
				fault("Expires is no date of RFC 3339")
			}
		case "canonical":
			canonical++
			own = own || value == answer.url.String()
		}
	}
	if expiries == 0 {
		fault("no Expires")
	} else if expiries > 1 {
		fault("more than one Expires")
	}
	out.NotCanonical = canonical > 0 && !own
	return out
}

// contactAddress says whether a Contact is a URI that somebody can use (section 2.5.3).
func contactAddress(value string) bool {
	at, err := url.Parse(value)
	if err != nil {
		return false
	}
	switch strings.ToLower(at.Scheme) {
	case "https":
		return at.Host != ""
	case "mailto":
		return strings.Contains(at.Opaque, "@")
	case "tel":
		return at.Opaque != ""
	}
	return false
}

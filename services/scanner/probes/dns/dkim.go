package dns

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"sync"

	mdns "github.com/miekg/dns"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/dnswild"
)

//go:embed selectors.json
var selectorsFile []byte

// selector is one entry of selectors.json.
type selector struct {
	Name     string `json:"name"`
	Provider string `json:"provider"`
}

// commonSelectors reads the list when the first domain asks for it.
var commonSelectors = sync.OnceValue(func() []selector {
	var file struct {
		Selectors []selector `json:"selectors"`
	}
	_ = json.Unmarshal(selectorsFile, &file) // compiled in, and tested
	return file.Selectors
})

// dkimKeys looks for keys at the selectors that are commonly used. What a selector answers that nobody chose is a wildcard's, and
// no key of the others.
func (s *scan) dkimKeys(ctx context.Context) []*modelv1.DkimKey {
	control, err := s.resolver.texts(ctx, dnswild.RandomLabel()+"._domainkey."+s.name)
	if err != nil {
		s.miss("DKIM", err)
		return nil
	}
	var mu sync.Mutex
	var out []*modelv1.DkimKey
	var tasks []func()
	var unanswered patience
	for _, one := range commonSelectors() {
		tasks = append(tasks, func() {
			if unanswered.over() {
				return
			}
			key, err := s.dkimKey(ctx, one, control)
			if err != nil {
				s.miss("DKIM", err)
				unanswered.lost()
			}
			if key == nil {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			out = append(out, key)
		})
	}
	parallel(perResolver, tasks...)
	slices.SortFunc(out, func(a, b *modelv1.DkimKey) int { return strings.Compare(a.GetSelector(), b.GetSelector()) })
	return out
}

// dkimKey reads the key of one selector, nil if there is none.
func (s *scan) dkimKey(ctx context.Context, one selector, control []string) (*modelv1.DkimKey, error) {
	got, err := s.resolver.find(ctx, one.Name+"._domainkey."+s.name, mdns.TypeTXT)
	if err != nil {
		return nil, err
	}
	if got.void() {
		if len(got.chain) > 0 && got.rcode == mdns.RcodeNameError {
			s.registrableOnly(ctx, "DKIM", got.chain[len(got.chain)-1:])
		}
		return nil, nil
	}
	var records []string
	for _, text := range textsOf(got.records) {
		if isDKIM(text) && !slices.Contains(control, text) {
			records = append(records, text)
		}
	}
	if len(records) == 0 {
		return nil, nil
	}
	slices.Sort(records)
	out := parseDKIM(records[0])
	out.Selector, out.Provider = one.Name, one.Provider
	if len(records) > 1 {
		out.Error = firstOf(out.GetError(), "several records at one selector")
	}
	return out, nil
}

// isDKIM says whether a TXT record at a selector is meant for a key: it says so, or it has a p tag.
func isDKIM(text string) bool {
	fields, _ := fieldsOf(";" + text)
	_, key := fields["p"]
	return key || strings.EqualFold(fields["v"], "DKIM1")
}

// parseDKIM reads one key record (RFC 6376 section 3.6.1, RFC 8463 for Ed25519).
func parseDKIM(text string) *modelv1.DkimKey {
	out := &modelv1.DkimKey{KeyType: "rsa"}
	fields, problem := fieldsOf(";" + text)
	if v, there := fields["v"]; there && v != "DKIM1" {
		problem = firstOf(problem, "the version is not DKIM1")
	}
	if k := strings.ToLower(fields["k"]); k != "" {
		out.KeyType = probes.SafeString(k, 16)
	}
	out.Testing = slices.Contains(listOf(fields["t"]), "y")
	hashes := listOf(fields["h"])
	out.Sha1Only = len(hashes) > 0 && !slices.ContainsFunc(hashes, func(h string) bool { return h != "sha1" })
	encoded, there := fields["p"]
	encoded = strings.Map(func(r rune) rune {
		if r == ' ' || r == '\t' || r == '\r' || r == '\n' {
			return -1
		}
		return r
	}, encoded)
	switch {
	case !there:
		problem = firstOf(problem, "it has no key (p)")
	case encoded == "":
		out.Revoked = true
	default:
		bits, why := keyLength(out.GetKeyType(), encoded)
		out.Bits, problem = uint32(bits), firstOf(problem, why)
	}
	out.Error = probes.SafeString(problem, 256)
	return out
}

// listOf reads a list with colons between.
func listOf(text string) []string {
	var out []string
	for part := range strings.SplitSeq(text, ":") {
		if part = strings.ToLower(strings.TrimSpace(part)); part != "" && len(out) < maxFields {
			out = append(out, part)
		}
	}
	return out
}

// keyLength reads the length of a key in bits, or why it cannot be read.
func keyLength(kind, encoded string) (bits int, problem string) {
	raw, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return 0, "the key (p) is no base64"
	}
	switch kind {
	case "ed25519":
		if len(raw) != ed25519.PublicKeySize {
			return 0, "the key (p) is no Ed25519 key"
		}
		return 256, ""
	case "rsa":
		if key, err := x509.ParsePKCS1PublicKey(raw); err == nil {
			return key.N.BitLen(), ""
		}
		parsed, err := x509.ParsePKIXPublicKey(raw)
		if err != nil {
			return 0, "the key (p) cannot be read"
		}
		switch key := parsed.(type) {
		case *rsa.PublicKey:
			return key.N.BitLen(), ""
		case *ecdsa.PublicKey, ed25519.PublicKey:
			return 0, "the key (p) is not of the type that the record says"
		}
		return 0, "the key (p) is of an unknown type"
	default:
		return 0, "the key type (k) is unknown"
	}
}

package dns

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/net/publicsuffix"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
)

// dmarcRecord is a parsed DMARC record (RFC 9989 section 4.7). Tags that it does not know are ignored, as the RFC wants, and so
// are pct, rf and ri, which it no longer has.
type dmarcRecord struct {
	policy      string // p: none, quarantine, reject, or empty
	subdomain   string // sp
	nonexistent string // np
	psd         string // y, n, u
	test        bool   // t=y
	rua         []string
	// removed are tags that RFC 9989 no longer has, unknown those that DMARC never had.
	removed, unknown []string
	err              error
}

// maxReports bounds the addresses of one record.
const maxReports = 10

// isDMARC says whether a TXT record is a DMARC record: the version is the first tag and is written exactly so (RFC 9989 section
// 4.8).
func isDMARC(text string) bool {
	first, _, _ := strings.Cut(text, ";")
	name, value, ok := strings.Cut(first, "=")
	return ok && strings.EqualFold(strings.TrimSpace(name), "v") && strings.TrimSpace(value) == "DMARC1"
}

// parseDMARC reads a DMARC record. err says what is wrong with it; the other fields hold what could be read.
func parseDMARC(text string) dmarcRecord {
	var out dmarcRecord
	fail := func(format string, args ...any) {
		if out.err == nil {
			out.err = fmt.Errorf(format, args...)
		}
	}
	tags := make(map[string]string)
	for part := range strings.SplitSeq(text, ";") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		name, value, ok := strings.Cut(part, "=")
		name = strings.ToLower(strings.TrimSpace(name))
		switch _, twice := tags[name]; {
		case !ok || name == "":
			fail("%s is no tag", clip(part))
		case twice:
			fail("the tag %s occurs twice", clip(name))
		default:
			tags[name] = strings.TrimSpace(value)
		}
	}
	out.rua = reportAddresses(tags["rua"])
	out.psd, out.test = strings.ToLower(tags["psd"]), strings.EqualFold(tags["t"], "y")
	out.policies(tags, fail)
	if tags["rua"] != "" && len(out.rua) == 0 {
		fail("rua names no address")
	}
	if psd, there := tags["psd"]; there && psd != "y" && psd != "n" && psd != "u" {
		fail("psd is none of y, n, u")
	}
	for name := range tags {
		switch {
		case slices.Contains(removedTags, name):
			out.removed = append(out.removed, name)
		case !slices.Contains(knownTags, name) && len(out.unknown) < maxReports:
			out.unknown = append(out.unknown, probes.SafeString(name, 64))
		}
	}
	slices.Sort(out.removed)
	slices.Sort(out.unknown)
	return out
}

// The tags of RFC 9989 section 4.7, and those that it no longer has (appendix C).
var (
	knownTags   = []string{"v", "p", "sp", "np", "psd", "t", "rua", "ruf", "adkim", "aspf", "fo"}
	removedTags = []string{"pct", "rf", "ri"}
)

// policies reads p, sp and np. A record without p asks for reports only, and counts as none. Where one of them is no policy,
// receivers act on "none" if there is somebody to report to, and do nothing otherwise (RFC 9989 section 4.10.1): neither is what its
// owner meant.
func (d *dmarcRecord) policies(tags map[string]string, fail func(string, ...any)) {
	broken := false
	for _, tag := range []string{"p", "sp", "np"} {
		value, there := tags[tag]
		value = strings.ToLower(value)
		switch {
		case !there && tag == "p" && len(d.rua) > 0:
			d.policy = "none"
		case !there && tag == "p":
			fail("neither p nor rua")
		case !there:
		case value != "none" && value != "quarantine" && value != "reject":
			fail("%s is none of none, quarantine, reject", tag)
			broken = true
		case tag == "p":
			d.policy = value
		case tag == "sp":
			d.subdomain = value
		default:
			d.nonexistent = value
		}
	}
	if broken {
		d.policy, d.subdomain, d.nonexistent = "", "", ""
		if len(d.rua) > 0 {
			d.policy = "none"
		}
	}
}

// reportAddresses reads a list of report addresses; the size limit of old records ("!10m") is dropped.
func reportAddresses(text string) []string {
	var out []string
	for part := range strings.SplitSeq(text, ",") {
		part, _, _ = strings.Cut(strings.TrimSpace(part), "!")
		u, err := url.Parse(part)
		if err != nil || u.Scheme == "" || (u.Scheme == "mailto" && !strings.Contains(u.Opaque, "@")) || len(out) == maxReports {
			continue
		}
		out = append(out, probes.SafeString(part, 256))
	}
	return out
}

// effective is a policy as receivers apply it: in test mode (t=y) one step less (RFC 9989 section 4.7).
func (d dmarcRecord) effective(policy string) string {
	switch {
	case !d.test:
		return policy
	case policy == "reject":
		return "quarantine"
	case policy == "quarantine":
		return "none"
	default:
		return policy
	}
}

// walkTargets lists the domains whose record may count for domain, itself first (the DNS tree walk, RFC 9989 section 4.10): at
// most eight questions, so that of a long name only the last seven labels are walked.
func walkTargets(domain string) []string {
	labels := strings.Split(domain, ".")
	out := []string{domain}
	rest := labels[1:]
	if len(labels) > 8 {
		rest = labels[len(labels)-7:]
	}
	for ; len(rest) > 0; rest = rest[1:] {
		out = append(out, strings.Join(rest, "."))
	}
	return out
}

// dmarcFact finds and reads the policy that applies to a domain (RFC 9989 sections 4.10.1 and 4.10.2): its own, else that of its
// organizational domain, else that of the public suffix above.
func dmarcFact(ctx context.Context, r *resolver, domain string) (*modelv1.DmarcFact, error) {
	out := &modelv1.DmarcFact{}
	var organization, suffix *locatedRecord
	for i, target := range walkTargets(domain) {
		texts, err := r.texts(ctx, "_dmarc."+target)
		if err != nil {
			return nil, err
		}
		var records []string
		for _, text := range texts {
			if isDMARC(text) {
				records = append(records, text)
			}
		}
		if i == 0 {
			out.Records = uint32(len(records))
		}
		if len(records) != 1 {
			if i == 0 && len(records) > 1 {
				out.Record = probes.SafeString(records[0], maxRecord)
				return out, nil // receivers ignore all of them; what stands above is not what the owner meant
			}
			continue
		}
		one := &locatedRecord{parseDMARC(records[0]), records[0], target}
		if i == 0 {
			one.write(out, false)
			return out, nil
		}
		if one.psd == "y" {
			suffix = one
			if organization != nil && organization.at != below(domain, target) {
				organization = nil // the organization's domain is the one right below the suffix, and has no record
			}
			break
		}
		organization = one // the one with the fewest labels, unless one says that it is the organization's
		if one.psd == "n" {
			break
		}
	}
	switch {
	case organization != nil:
		organization.write(out, true)
	case suffix != nil:
		suffix.write(out, true)
	}
	return out, nil
}

// below is the name on the way to domain that is one label longer than suffix.
func below(domain, suffix string) string {
	labels := strings.Split(strings.TrimSuffix(domain, "."+suffix), ".")
	return labels[len(labels)-1] + "." + suffix
}

// locatedRecord is a record and where it stands.
type locatedRecord struct {
	dmarcRecord
	text string
	at   string
}

// write writes the record into the fact; inherited from above, the policy for subdomains applies.
func (l *locatedRecord) write(out *modelv1.DmarcFact, inherited bool) {
	out.Records, out.Record, out.FoundAt, out.Rua = 1, probes.SafeString(l.text, maxRecord), probes.SafeString(l.at, 253), l.rua
	out.WrittenPolicy = l.policy
	out.Policy, out.SubdomainPolicy, out.NonexistentPolicy = l.effective(l.policy), l.effective(l.subdomain), l.effective(l.nonexistent)
	out.Testing, out.Psd, out.RemovedTags, out.UnknownTags = l.test, probes.SafeString(l.psd, 16), l.removed, l.unknown
	if inherited && l.subdomain != "" {
		out.Policy, out.WrittenPolicy = out.GetSubdomainPolicy(), l.subdomain
	}
	if l.err != nil {
		out.Error = probes.SafeString(l.err.Error(), 256)
	}
}

// reportDomains are the domains that take reports by mail.
func reportDomains(rua []string) []string {
	var out []string
	for _, address := range rua {
		u, err := url.Parse(address)
		if err != nil || u.Scheme != "mailto" {
			continue
		}
		recipient, _, _ := strings.Cut(u.Opaque, "?")
		_, domain, ok := strings.Cut(recipient, "@")
		domain = strings.ToLower(strings.TrimSuffix(domain, "."))
		if ok && plausible(domain) && !slices.Contains(out, domain) {
			out = append(out, domain)
		}
	}
	return out
}

// unauthorised are the destinations elsewhere that do not agree to take reports about from: they have no record that says so (RFC
// 9990 section 4), and reporters send them nothing. Elsewhere is another registrable domain by the public suffix list: the tree walk
// would draw the same line for all but a few.
func (s *scan) unauthorised(ctx context.Context, from string, destinations []string) ([]string, error) {
	var out []string
	own, err := publicsuffix.EffectiveTLDPlusOne(from)
	if err != nil {
		own = from
	}
	for _, destination := range destinations {
		if under(destination, own) {
			continue
		}
		texts, err := s.resolver.texts(ctx, from+"._report._dmarc."+destination)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(texts, isDMARC) {
			out = append(out, safe(destination))
		}
	}
	return out, nil
}

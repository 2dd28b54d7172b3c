package observatory

import (
	"slices"
	"strings"
)

// broad are sources that allow everybody; inline are those that allow what an attacker puts into the page.
var (
	broad  = []string{"ftp:", "http:", "https:", "*", "http://*", "http://*.*", "https://*", "https://*.*"}
	inline = []string{"'unsafe-inline'", "data:"}
	hashes = []string{"'sha256-", "'sha384-", "'sha512-", "'nonce-"}
)

// metaIgnored are directives that count in a header only (W3C CSP3 section 3.3).
var metaIgnored = []string{"frame-ancestors", "report-uri", "report-to", "sandbox"}

// maxDirectives bounds what is read of a policy; a page may have several.
const maxDirectives = 200

// policy is the content security policy of a page: directives and their sources, those of header and meta joined.
type policy struct {
	all        map[string][]string
	header     map[string][]string
	reportOnly bool
	invalid    bool
}

// parsePolicy reads the policies of header and meta elements. Several policies apply all at once: a source has to be in each, which
// is judged as if every directive were the one of the first policy that has it.
func parsePolicy(a Answer) policy {
	p := policy{all: map[string][]string{}, header: map[string][]string{}}
	p.reportOnly = a.Header.Get("Content-Security-Policy-Report-Only") != ""
	for _, value := range a.Header.Values("Content-Security-Policy") {
		for text := range strings.SplitSeq(value, ",") {
			p.add(text, true)
		}
	}
	for _, value := range a.Equivalents["content-security-policy"] {
		p.add(value, false)
	}
	return p
}

func (p *policy) add(text string, header bool) {
	seen := map[string]bool{}
	for directive := range strings.SplitSeq(text, ";") {
		fields := strings.Fields(strings.ToLower(directive))
		if len(fields) == 0 || len(p.all) >= maxDirectives {
			continue
		}
		name := fields[0]
		if strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			p.invalid = true
			continue
		}
		if seen[name] || !header && slices.Contains(metaIgnored, name) {
			continue // the first of a name counts (CSP3 section 2.2.1)
		}
		seen[name] = true
		if _, known := p.all[name]; !known {
			p.all[name] = fields[1:]
		}
		if _, known := p.header[name]; !known && header {
			p.header[name] = fields[1:]
		}
	}
}

// sources of a directive, of default-src where it is missing, and everybody where that is missing too.
func (p policy) sources(name string) []string {
	if s, ok := p.all[name]; ok {
		return s
	}
	if s, ok := p.all["default-src"]; ok {
		return s
	}
	return []string{"*"}
}

func hasAny(list, of []string) bool {
	return slices.ContainsFunc(list, func(s string) bool { return slices.Contains(of, s) })
}

func hasPrefix(list []string, prefixes ...string) bool {
	return slices.ContainsFunc(list, func(s string) bool {
		return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(s, p) })
	})
}

// effective are sources as browsers that know nonces and hashes read them: those make 'unsafe-inline' void, and with
// 'strict-dynamic' host and scheme sources too.
func effective(list []string) []string {
	if !hasPrefix(list, hashes...) {
		return list
	}
	strict := slices.Contains(list, "'strict-dynamic'")
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool {
		return s == "'unsafe-inline'" || strict && (s == "'self'" || hasPrefix([]string{s}, broad...))
	})
}

// grade is the test of the policy, the worst that holds first.
func (p policy) grade(a Answer) outcome {
	switch {
	case len(p.all) == 0 && p.invalid:
		return outcome{"csp-header-invalid", -25, false}
	case len(p.all) == 0 && p.reportOnly:
		return outcome{"csp-not-implemented-but-reporting-enabled", -25, false}
	case len(p.all) == 0:
		return outcome{"csp-not-implemented", -25, false}
	}
	script, style, object := p.sources("script-src"), effective(p.sources("style-src")), p.sources("object-src")
	if slices.Contains(script, "'strict-dynamic'") && !hasPrefix(script, hashes...) {
		return outcome{"csp-header-invalid", -25, false}
	}
	script = effective(script)
	secure := a.URL.Scheme == "https"
	switch {
	case hasAny(script, broad) || hasAny(script, inline) || hasAny(object, broad):
		return outcome{"csp-implemented-with-unsafe-inline", -20, false}
	case secure && hasPrefix(p.active(script), "http:", "ftp:"):
		return outcome{"csp-implemented-with-insecure-scheme", -20, false}
	case slices.Contains(script, "'unsafe-eval'") || slices.Contains(style, "'unsafe-eval'"):
		return outcome{"csp-implemented-with-unsafe-eval", -10, false}
	case secure && (hasPrefix(p.sources("img-src"), "http:", "ftp:") || hasPrefix(p.sources("media-src"), "http:", "ftp:")):
		return outcome{"csp-implemented-with-insecure-scheme-in-passive-content-only", -10, true}
	case hasAny(style, broad) || hasAny(style, inline):
		return outcome{"csp-implemented-with-unsafe-inline-in-style-src-only", 0, true}
	case slices.Equal(p.all["default-src"], []string{"'none'"}):
		return outcome{"csp-implemented-with-no-unsafe-default-src-none", 10, true}
	}
	return outcome{"csp-implemented-with-no-unsafe", 5, true}
}

// active are the sources of everything but images and media.
func (p policy) active(script []string) []string {
	out := slices.Clone(script)
	for name, sources := range p.all {
		if name != "img-src" && name != "media-src" && name != "script-src" {
			out = append(out, sources...)
		}
	}
	return out
}

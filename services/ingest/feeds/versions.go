package feeds

import (
	"regexp"
	"sort"
	"strconv"
	"strings"
	"sync"
)

// span is a range of versions: from introduced (itself outside if excluded) to before fixed, or to last; or single versions.
type span struct {
	scheme            string
	introduced, fixed string
	last              string
	excluded          bool
	versions          []string
}

// ranges are the affected versions of one product of a CVE record.
// https://github.com/CVEProject/cve-schema/blob/main/schema/docs/versions.md
func (a *cveAffected) ranges(c *collector) []span {
	if len(a.Versions) == 0 {
		if a.DefaultStatus == "affected" {
			return []span{{scheme: "generic"}}
		}
		return nil
	}
	var out, sound []span
	for _, v := range a.Versions {
		if v.Type == "git" {
			continue // commits have no order that a banner could be compared in
		}
		spans, ok := v.spans()
		if !ok {
			c.skip("version " + clean(v.Version+" "+v.LessThan+v.LessThanOrEqual, 100) + " of " + clean(a.Product, 60))
			continue
		}
		switch v.Status {
		case "affected":
			out = append(out, spans...)
		case "unaffected":
			sound = append(sound, spans...)
		}
	}
	if a.DefaultStatus == "affected" && len(sound) > 0 {
		out = append(out, complement(sound)...)
	} else if a.DefaultStatus == "affected" && len(out) == 0 && !hasGit(a.Versions) {
		out = append(out, span{scheme: "generic"})
	}
	return out
}

func hasGit(versions []cveVersion) bool {
	for _, v := range versions {
		if v.Type == "git" {
			return true
		}
	}
	return false
}

// complement is what is left of all versions without the sound ones. A single sound version is where a fix begins: after it,
// up to the next sound one, nothing is claimed.
func complement(sound []span) []span {
	sort.SliceStable(sound, func(i, j int) bool { return naturalLess(sound[i].start(), sound[j].start()) })
	var out []span
	from, excluded, open := "", false, true
	for _, s := range sound {
		if start := s.start(); open && start != "" && start != from {
			out = append(out, span{scheme: s.scheme, introduced: from, excluded: excluded, fixed: start})
		}
		switch {
		case s.fixed != "":
			from, excluded, open = s.fixed, false, true
		case s.last != "":
			from, excluded, open = s.last, true, true
		default:
			open = false
		}
	}
	if open && len(sound) > 0 {
		out = append(out, span{scheme: sound[0].scheme, introduced: from, excluded: excluded})
	}
	return out
}

func (s span) start() string {
	if len(s.versions) > 0 {
		return s.versions[0]
	}
	return s.introduced
}

// spans reads one entry of a version list; false if it is not understood. An entry that says nothing has no spans.
func (v *cveVersion) spans() ([]span, bool) {
	scheme := schemeOf(v.Type)
	if v.LessThan == "" && v.LessThanOrEqual == "" && len(v.Changes) == 0 {
		return freeText(v.Version, scheme)
	}
	low, ok := lower(v.Version)
	if !ok {
		return nil, false
	}
	s := span{scheme: scheme, introduced: low}
	if v.LessThan != "" {
		if s.fixed, ok = upper(v.LessThan); !ok {
			return nil, false
		}
		s.fixed = strings.TrimSuffix(strings.TrimSuffix(s.fixed, ".*"), ".x")
	} else if v.LessThanOrEqual != "" {
		if s.last, ok = upper(v.LessThanOrEqual); !ok {
			return nil, false
		}
		if base, wild := wildcard(s.last); wild {
			s.last, s.fixed = "", bump(base)
		}
	}
	return v.changed(s)
}

// changed cuts a range at the versions at which its status changes.
func (v *cveVersion) changed(s span) ([]span, bool) {
	var out []span
	affected := true
	for _, change := range v.Changes {
		at, ok := cleanVersion(change.At)
		if !ok {
			return nil, false
		}
		switch now := change.Status == "affected"; {
		case affected && !now:
			out = append(out, span{scheme: s.scheme, introduced: s.introduced, fixed: at})
			affected = false
		case !affected && now:
			s.introduced, affected = at, true
		}
	}
	if affected {
		out = append(out, s)
	}
	return out, true
}

// schemeOf is how versions of a versionType compare.
func schemeOf(versionType string) string {
	switch strings.ToLower(versionType) {
	case "semver":
		return "semver"
	case "rpm":
		return "rpm"
	case "deb", "dpkg":
		return "deb"
	}
	return "generic"
}

// lower reads a lower bound: 0 and words for 'from the beginning' are no bound.
func lower(s string) (string, bool) {
	switch strings.ToLower(strings.TrimSpace(s)) {
	case "", "0", "*", "unspecified", "n/a", "-", "any", "all", "0.0", "0.0.0", "unknown":
		return "", true
	}
	v, ok := cleanVersion(strings.TrimPrefix(strings.TrimSpace(s), ">="))
	base, _ := wildcard(v)
	return base, ok
}

// upper reads an upper bound: a star is no bound.
func upper(s string) (string, bool) {
	switch strings.TrimSpace(s) {
	case "*", "unspecified":
		return "", true
	}
	return cleanVersion(strings.TrimPrefix(strings.TrimSpace(s), "<"))
}

// wildcard cuts ".*" or ".x" off.
func wildcard(v string) (string, bool) {
	for _, end := range []string{".*", ".x", ".X"} {
		if base, ok := strings.CutSuffix(v, end); ok && base != "" {
			return base, true
		}
	}
	return v, false
}

// bump counts the last number of a version up: the first version that 5.10.* does not mean is 5.11.
func bump(v string) string {
	start := len(v)
	for start > 0 && v[start-1] >= '0' && v[start-1] <= '9' {
		start--
	}
	n, err := strconv.ParseUint(v[start:], 10, 32)
	if err != nil {
		return v
	}
	return v[:start] + strconv.FormatUint(n+1, 10)
}

// oneVersion is a version as text of its own: it has a digit and nothing that makes a sentence.
const oneVersion = `[vV]?[0-9][0-9A-Za-z._+~:-]*`

// forms are the sentences that records write into a version, with the bounds that their groups are.
var forms = sync.OnceValue(func() []form {
	v := `(` + oneVersion + `)`
	says := func(pattern string, to func(m []string) span) form {
		return form{regexp.MustCompile(`^(?i:` + pattern + `)$`), to}
	}
	return []form{
		says(v, func(m []string) span { return span{versions: m[1:2]} }),
		says(`= ?`+v, func(m []string) span { return span{versions: m[1:2]} }),
		says(`(?:<|before|prior to|versions before|earlier than|versions prior to|all versions (?:before|prior to)|lower than) ?`+v, func(m []string) span { return span{fixed: m[1]} }),
		says(`(?:<=|≤|through|up to|up to and including|until) ?`+v, func(m []string) span { return span{last: m[1]} }),
		says(v+` (?:and|or) (?:earlier|below|prior|lower|older|before)(?: versions?)?`, func(m []string) span { return span{last: m[1]} }),
		says(`>= ?`+v, func(m []string) span { return span{introduced: m[1]} }),
		says(`> ?`+v, func(m []string) span { return span{introduced: m[1], excluded: true} }),
		says(`>= ?`+v+`[ ,]+< ?`+v, func(m []string) span { return span{introduced: m[1], fixed: m[2]} }),
		says(`>= ?`+v+`[ ,]+<= ?`+v, func(m []string) span { return span{introduced: m[1], last: m[2]} }),
		says(`> ?`+v+`[ ,]+< ?`+v, func(m []string) span { return span{introduced: m[1], excluded: true, fixed: m[2]} }),
		says(`> ?`+v+`[ ,]+<= ?`+v, func(m []string) span { return span{introduced: m[1], excluded: true, last: m[2]} }),
		says(`(?:from )?`+v+` (?:to|through|-|–|up to) `+v, func(m []string) span { return span{introduced: m[1], last: m[2]} }),
		says(`(?:from )?`+v+` (?:before|prior to|to before) `+v, func(m []string) span { return span{introduced: m[1], fixed: m[2]} }),
	}
})

type form struct {
	pattern *regexp.Regexp
	span    func(m []string) span
}

// freeText reads a version that stands alone: one version, a comparison as GitHub writes them, a usual phrase, or a word for
// all or for unknown.
func freeText(s, scheme string) ([]span, bool) {
	if len(s) > 200 {
		return nil, false
	}
	s = clean(s, 200)
	switch strings.ToLower(s) {
	case "", "n/a", "unspecified", "unknown", "-", "not specified", "none":
		return nil, true
	case "*", "all", "all versions", "any", "0":
		return []span{{scheme: scheme}}, true
	}
	for _, prefix := range []string{"versions ", "version ", "Versions ", "Version "} {
		s = strings.TrimPrefix(s, prefix)
	}
	if base, wild := wildcard(s); wild {
		if v, ok := cleanVersion(base); ok && digits(v[len(v)-1:]) && digits(v[:1]) {
			return []span{{scheme: scheme, introduced: v, fixed: bump(v)}}, true
		}
		return nil, false
	}
	for _, f := range forms() {
		m := f.pattern.FindStringSubmatch(s)
		if m == nil {
			continue
		}
		out := f.span(m)
		out.scheme = scheme
		for _, v := range []string{out.introduced, out.fixed, out.last} {
			if len(v) > maxVersion {
				return nil, false
			}
		}
		return []span{out}, len(m[1]) <= maxVersion
	}
	return nil, false
}

// naturalLess orders versions by their numbers and words: enough to sort the few bounds of one record.
func naturalLess(a, b string) bool {
	for a != "" && b != "" {
		x, restA := piece(a)
		y, restB := piece(b)
		if x != y {
			if digits(x[:1]) && digits(y[:1]) {
				x, y = strings.TrimLeft(x, "0"), strings.TrimLeft(y, "0")
				if len(x) != len(y) {
					return len(x) < len(y)
				}
			}
			if x != y {
				return x < y
			}
		}
		a, b = restA, restB
	}
	return a == "" && b != ""
}

// piece cuts the first run of digits or of anything else off.
func piece(s string) (first, rest string) {
	n := 1
	for n < len(s) && digits(s[n:n+1]) == digits(s[:1]) {
		n++
	}
	return s[:n], s[n:]
}

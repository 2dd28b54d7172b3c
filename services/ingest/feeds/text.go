package feeds

import (
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/timestamppb"

	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// ParserVersion grows when a reader learns to understand more: records that were read by an older one are replaced.
const ParserVersion = 1

// Names of the feeds, as records carry them.
const (
	FeedCVE = "cve"
	FeedNVD = "nvd"
	FeedOSV = "osv"
	// FeedLinks marks the list of advisories that one OSV record is about.
	FeedLinks = "osv-links"
	FeedKEV   = "kev"
	FeedEPSS  = "epss"
)

// Limits of one record.
const (
	// MaxRecordBytes is the largest record. The largest in the CVE list has below 4 MiB (kernel records with all their commits).
	MaxRecordBytes = 8 << 20
	// MaxDepth is how deep JSON may be nested; real records stay below 16.
	MaxDepth = 64
	// maxAffected is the most ranges that are kept of one record.
	maxAffected = 5000
	// maxVersions is the most single versions that are kept of one range.
	maxVersions = 2000
	maxTitle    = 200
	maxVersion  = 128
	maxURL      = 500
	maxRefs     = 8
	maxIDs      = 64
)

// Out takes what a reader understood, and what it did not.
type Out struct {
	// Record takes a record. An error ends the reading.
	Record func(*ingestv1.IntelRecord) error
	// Skip is told what of a record, or which record, was not understood.
	Skip func(record, why string)
}

// ValidCVE says whether id is a CVE id: "CVE-", four digits, "-", four to nineteen digits.
// https://github.com/CVEProject/cve-schema/blob/main/schema/CVE_Record_Format.json (cveId)
func ValidCVE(id string) bool {
	rest, ok := strings.CutPrefix(id, "CVE-")
	if !ok || len(rest) < 9 || len(rest) > 24 || rest[4] != '-' {
		return false
	}
	return digits(rest[:4]) && digits(rest[5:])
}

func digits(s string) bool {
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return s != ""
}

// ValidID says whether id can be an id of OSV: prefix, hyphen, and characters that mean the same everywhere.
func ValidID(id string) bool {
	if len(id) < 3 || len(id) > 128 || !strings.Contains(id, "-") {
		return false
	}
	for i, c := range []byte(id) {
		alnum := c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !alnum && (i == 0 || !strings.ContainsRune("-._:", rune(c))) {
			return false
		}
	}
	return !strings.HasPrefix(id, "CVE-") || ValidCVE(id)
}

// clean makes foreign text one line of at most n runes without control, format or invalid characters.
func clean(s string, n int) string {
	var b strings.Builder
	runes, space := 0, false
	for len(s) > 0 {
		c, size := utf8.DecodeRuneInString(s)
		s = s[size:]
		if unicode.IsSpace(c) {
			space = b.Len() > 0
			continue
		}
		if c == utf8.RuneError && size == 1 || !unicode.IsPrint(c) {
			continue
		}
		if runes+2 > n {
			b.WriteRune('…')
			break
		}
		if space {
			b.WriteByte(' ')
			runes++
			space = false
		}
		b.WriteRune(c)
		runes++
	}
	return b.String()
}

// cleanVersion is a version as it is compared: one token; false if it is too long to be one or holds what no version does.
func cleanVersion(s string) (string, bool) {
	s = strings.TrimSpace(s)
	if len(s) > maxVersion || s == "" {
		return "", false
	}
	for _, c := range []byte(s) {
		if c <= ' ' || c >= 0x7f || strings.IndexByte("<>=,;\"'`\\|{}[]", c) >= 0 {
			return "", false
		}
	}
	return s, true
}

// name makes a vendor's or product's name as CPE writes them: lower case, underscores for spaces; "" if it says nothing.
// NIST IR 7695, section 5.3.2; a colon would end the name in a key.
func name(s string) string {
	s = strings.ToLower(clean(s, 120))
	switch s {
	case "", "n/a", "na", "-", "*", "unknown", "unspecified", "none", "not applicable":
		return ""
	}
	return strings.NewReplacer(" ", "_", ":", "_", "/", "_").Replace(s)
}

// times are the forms in which the feeds write time; those without a zone are in UTC (NVD, KEV).
var times = []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02T15:04:05.999999999-0700", "2006-01-02T15:04Z", "2006-01-02"}

// parseTime reads a time between 1980 and 2200; nil if there is none.
func parseTime(s string) *timestamppb.Timestamp {
	if len(s) > 64 {
		return nil
	}
	for _, layout := range times {
		if t, err := time.Parse(layout, s); err == nil && t.Year() >= 1980 && t.Year() < 2200 {
			return timestamppb.New(t.UTC().Truncate(time.Millisecond))
		}
	}
	return nil
}

func later(a, b *timestamppb.Timestamp) *timestamppb.Timestamp {
	if a == nil || b != nil && b.AsTime().After(a.AsTime()) {
		return b
	}
	return a
}

// refuse is an error about a whole file.
func refuse(format string, args ...any) error { return fault.New(fault.Invalid, format, args...) }

// reference is a link that may be shown; nil if it is none.
func reference(url string, rank uint32) *ingestv1.IntelReference {
	if len(url) > maxURL || !strings.HasPrefix(url, "https://") && !strings.HasPrefix(url, "http://") || clean(url, maxURL+2) != url || strings.Contains(url, " ") {
		return nil
	}
	return &ingestv1.IntelReference{Url: url, Rank: rank}
}

// references keeps the best links of a record: fixes first, each once.
func references(all []*ingestv1.IntelReference) []*ingestv1.IntelReference {
	var out []*ingestv1.IntelReference
	seen := map[string]bool{}
	for rank := range uint32(3) {
		for _, r := range all {
			if r != nil && r.GetRank() == rank && !seen[r.GetUrl()] && len(out) < maxRefs {
				seen[r.GetUrl()] = true
				out = append(out, r)
			}
		}
	}
	return out
}

// appendNew appends s if it is not empty, not there and the list is not full.
func appendNew(list []string, s string, limit int) []string {
	if s == "" || len(list) >= limit {
		return list
	}
	for _, have := range list {
		if have == s {
			return list
		}
	}
	return append(list, s)
}

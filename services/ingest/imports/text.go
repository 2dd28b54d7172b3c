package imports

import (
	"cmp"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/safetext"
)

// safe makes harmless text of what a report says.
func safe(text string, maxRunes int) string { return safetext.Of([]byte(text), maxRunes) }

// severities are the words of the formats.
var severities = map[string]modelv1.Severity{
	"critical": modelv1.Severity_SEVERITY_CRITICAL, "fatal": modelv1.Severity_SEVERITY_CRITICAL,
	"high": modelv1.Severity_SEVERITY_HIGH, "error": modelv1.Severity_SEVERITY_HIGH,
	"medium": modelv1.Severity_SEVERITY_MEDIUM, "moderate": modelv1.Severity_SEVERITY_MEDIUM, "warning": modelv1.Severity_SEVERITY_MEDIUM, "warn": modelv1.Severity_SEVERITY_MEDIUM,
	"low": modelv1.Severity_SEVERITY_LOW, "note": modelv1.Severity_SEVERITY_LOW,
	"info": modelv1.Severity_SEVERITY_INFO, "informational": modelv1.Severity_SEVERITY_INFO, "information": modelv1.Severity_SEVERITY_INFO,
	"none": modelv1.Severity_SEVERITY_INFO, "unknown": modelv1.Severity_SEVERITY_INFO, "negligible": modelv1.Severity_SEVERITY_INFO, "ok": modelv1.Severity_SEVERITY_INFO,
}

// severity of a word; what is not known is information.
func severity(word string) modelv1.Severity {
	return cmp.Or(severities[strings.ToLower(strings.TrimSpace(word))], modelv1.Severity_SEVERITY_INFO)
}

// scored is the severity of a CVSS score (first.org/cvss/v3.1/specification-document, table 14).
func scored(score float64) modelv1.Severity {
	switch {
	case score >= 9:
		return modelv1.Severity_SEVERITY_CRITICAL
	case score >= 7:
		return modelv1.Severity_SEVERITY_HIGH
	case score >= 4:
		return modelv1.Severity_SEVERITY_MEDIUM
	case score > 0:
		return modelv1.Severity_SEVERITY_LOW
	}
	return modelv1.Severity_SEVERITY_INFO
}

var (
	cvePattern = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`(?i)\bCVE-[0-9]{4}-[0-9]{4,7}\b`) })
	cwePattern = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`(?i)\bCWE-([0-9]{1,5})\b`) })
)

// cves are the CVE ids in some texts, upper case, each once.
func cves(texts ...string) []string { return found(cvePattern(), texts) }

// cwes are the CWE ids in some texts.
func cwes(texts ...string) []string { return found(cwePattern(), texts) }

func found(p *regexp.Regexp, texts []string) []string {
	var out []string
	for _, t := range texts {
		for _, m := range p.FindAllString(t, maxList) {
			if m = strings.ToUpper(m); !slices.Contains(out, m) && len(out) < maxList {
				out = append(out, m)
			}
		}
	}
	return out
}

// references are the web addresses among some texts.
func references(texts ...string) []string {
	var out []string
	for _, t := range texts {
		for _, word := range strings.Fields(t) {
			if u, err := url.Parse(word); err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && len(out) < maxList && len(word) <= maxLongText {
				out = append(out, safe(word, maxLongText))
			}
		}
	}
	return out
}

// place takes a web address or host:port apart. The port is that of the scheme where none is said; a name alone has none.
func place(text string) (host string, port uint32) {
	text = strings.TrimSpace(text)
	if strings.Contains(text, "://") {
		u, err := url.Parse(text)
		if err != nil {
			return text, 0
		}
		port := u.Port()
		if port == "" {
			port = map[string]string{"https": "443", "http": "80", "wss": "443", "ws": "80"}[strings.ToLower(u.Scheme)]
		}
		return u.Hostname(), number(port)
	}
	if h, p, err := net.SplitHostPort(text); err == nil && number(p) != 0 {
		return h, number(p)
	}
	return strings.Trim(text, "[]"), 0
}

// number is a port, or 0.
func number(text string) uint32 {
	n, err := strconv.ParseUint(strings.TrimSpace(text), 10, 16)
	if err != nil {
		return 0
	}
	return uint32(n)
}

// timeLayouts are how the tools write times.
var timeLayouts = []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02 15:04:05.999999", "2006-01-02T15:04:05.999999", "Mon, 2 Jan 2006 15:04:05"}

// moment reads a time, zero if it is none. A time in the future would outlive everything that is seen later: it counts as unknown.
func moment(text string) time.Time {
	for _, layout := range timeLayouts {
		if t, err := time.Parse(layout, strings.TrimSpace(text)); err == nil {
			return past(t)
		}
	}
	return time.Time{}
}

func past(t time.Time) time.Time {
	if t.After(time.Now()) || t.Year() < 1990 {
		return time.Time{}
	}
	return t.UTC()
}

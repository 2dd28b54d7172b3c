package imports

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

// testsslItem is one line of the result of testssl.sh (its --jsonfile is a list of these; in --jsonfile-pretty they are grouped).
type testsslItem struct {
	ID       string `json:"id"`
	IP       string `json:"ip"`
	Port     string `json:"port"`
	Severity string `json:"severity"`
	CVE      string `json:"cve"`
	CWE      string `json:"cwe"`
	Finding  string `json:"finding"`
}

// parseTestSSL reads both JSON forms of testssl.sh.
func parseTestSSL(ctx context.Context, r *report) error {
	pretty, err := r.oneObject(ctx, "scanResult")
	if err != nil {
		return err
	}
	if !pretty {
		return r.each(ctx, func(line int, decode func(any) error) error {
			var item testsslItem
			if err := decode(&item); err != nil {
				return err
			}
			return r.testssl(line, &item, time.Time{}, "")
		})
	}
	var version string
	var began time.Time
	return r.walk(ctx, map[string]func(int, func(any) error) error{
		"version": func(_ int, decode func(any) error) error { return decode(&version) },
		"startTime": func(_ int, decode func(any) error) error {
			var seconds words
			err := decode(&seconds)
			if len(seconds) == 1 {
				began = unix(seconds[0])
			}
			return err
		},
		"scanResult[]": func(line int, decode func(any) error) error {
			var target map[string]json.RawMessage
			if err := decode(&target); err != nil {
				return err
			}
			return r.testsslTarget(line, target, began, version)
		},
	})
}

// testsslTarget reads the groups of one target, in the order of their names.
func (r *report) testsslTarget(line int, target map[string]json.RawMessage, began time.Time, version string) error {
	text := func(name string) (s string) {
		_ = json.Unmarshal(target[name], &s) // "" if it is no text
		return s
	}
	host := first(text("targetHost"), text("ip"))
	names := make([]string, 0, len(target))
	for name := range target {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		var items []testsslItem
		if json.Unmarshal(target[name], &items) != nil {
			continue // a text, such as the address
		}
		for i := range items {
			items[i].IP, items[i].Port = host, first(items[i].Port, text("port"))
			if err := r.testssl(line, &items[i], began, version); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *report) testssl(line int, item *testsslItem, seen time.Time, version string) error {
	if item.ID == "" {
		return r.problem(line, "not a result of testssl.sh: it has no id")
	}
	host, _, _ := strings.Cut(item.IP, "/") // "name/address"
	if host == "" || strings.EqualFold(item.Severity, "DEBUG") {
		return nil // about the run and not about a target: clock, engine, scan time
	}
	level := severity(item.Severity)
	if s := strings.ToUpper(item.Severity); level == modelv1.Severity_SEVERITY_INFO && s != "OK" {
		return nil // a fact and not a finding
	}
	return r.record(Record{
		Line: line, Asset: host, Port: number(item.Port), Transport: modelv1.Transport_TRANSPORT_TCP, Seen: seen,
		Reported: &modelv1.ReportedFact{
			Tool: "testssl.sh", ToolVersion: safe(version, maxText), Rule: safe(item.ID, maxText), Title: "testssl.sh: " + safe(item.ID, maxText), Severity: level,
			Description: safe(item.Finding, maxLongText), Cve: cves(item.CVE), Cwe: cwes(item.CWE), Closed: strings.EqualFold(item.Severity, "OK"),
			Verified: !strings.Contains(strings.ToLower(item.Finding), "potentially"), // its word for what it did not test
		},
	})
}

// sslyzeServer is one server in the JSON of SSLyze 5 and 6.
type sslyzeServer struct {
	Location struct {
		Hostname string `json:"hostname"`
		IP       string `json:"ip_address"`
		Port     uint32 `json:"port"`
	} `json:"server_location"`
	Status string                    `json:"scan_status"`
	Result map[string]*sslyzeCommand `json:"scan_result"`
}

type sslyzeCommand struct {
	Status string         `json:"status"`
	Result map[string]any `json:"result"`
}

// sslyzeRule is what one answer of SSLyze means.
type sslyzeRule struct {
	command, field string
	// bad is the answer that is a finding; texts are compared by prefix. For lists, any element is one.
	bad      any
	title    string
	severity modelv1.Severity
	cve      string
}

var sslyzeRules = []sslyzeRule{
	{"ssl_2_0_cipher_suites", "accepted_cipher_suites", nil, "SSL 2.0 is accepted", modelv1.Severity_SEVERITY_CRITICAL, ""},
	{"ssl_3_0_cipher_suites", "accepted_cipher_suites", nil, "SSL 3.0 is accepted", modelv1.Severity_SEVERITY_HIGH, "CVE-2014-3566"},
	{"tls_1_0_cipher_suites", "accepted_cipher_suites", nil, "TLS 1.0 is accepted", modelv1.Severity_SEVERITY_MEDIUM, ""},
	{"tls_1_1_cipher_suites", "accepted_cipher_suites", nil, "TLS 1.1 is accepted", modelv1.Severity_SEVERITY_MEDIUM, ""},
	{"heartbleed", "is_vulnerable_to_heartbleed", true, "Heartbleed", modelv1.Severity_SEVERITY_CRITICAL, "CVE-2014-0160"},
	{"openssl_ccs_injection", "is_vulnerable_to_ccs_injection", true, "OpenSSL CCS injection", modelv1.Severity_SEVERITY_HIGH, "CVE-2014-0224"},
	{"robot", "robot_result", "VULNERABLE", "ROBOT", modelv1.Severity_SEVERITY_HIGH, "CVE-2017-13099"},
	{"tls_compression", "supports_compression", true, "TLS compression (CRIME)", modelv1.Severity_SEVERITY_MEDIUM, "CVE-2012-4929"},
	{"session_renegotiation", "supports_secure_renegotiation", false, "Renegotiation is not secure", modelv1.Severity_SEVERITY_HIGH, "CVE-2009-3555"},
	{"session_renegotiation", "is_vulnerable_to_client_renegotiation_dos", true, "The client may renegotiate without end", modelv1.Severity_SEVERITY_LOW, ""},
	{"tls_fallback_scsv", "supports_fallback_scsv", false, "No TLS_FALLBACK_SCSV", modelv1.Severity_SEVERITY_LOW, ""},
}

// parseSSLyze reads SSLyze's JSON (--json_out).
func parseSSLyze(ctx context.Context, r *report) error {
	var seen time.Time
	var version string
	found := false
	// Time and version may stand behind the servers.
	text := func(into func(string)) func(int, func(any) error) error {
		return func(_ int, decode func(any) error) error {
			var s string
			err := decode(&s)
			into(s)
			return err
		}
	}
	err := r.walk(ctx, map[string]func(int, func(any) error) error{
		"date_scans_completed": text(func(s string) { seen = moment(s) }), "sslyze_version": text(func(s string) { version = safe(s, maxText) }),
	})
	if err != nil {
		return err
	}
	err = r.walk(ctx, map[string]func(int, func(any) error) error{"server_scan_results[]": func(line int, decode func(any) error) error {
		found = true
		var s sslyzeServer
		if err := decode(&s); err != nil {
			return err
		}
		return r.sslyze(line, &s, seen, version)
	}})
	if err == nil && !found {
		return errNotFormat
	}
	return err
}

func (r *report) sslyze(line int, s *sslyzeServer, seen time.Time, version string) error {
	host := first(s.Location.Hostname, s.Location.IP)
	if s.Status != "" && s.Status != "COMPLETED" {
		return r.problem(line, "scan of "+host+" did not complete: "+s.Status)
	}
	for _, rule := range sslyzeRules {
		c := s.Result[rule.command]
		if c == nil || c.Status != "COMPLETED" {
			continue
		}
		err := r.record(Record{
			Line: line, Asset: host, Port: s.Location.Port, Transport: modelv1.Transport_TRANSPORT_TCP, Seen: seen,
			Reported: &modelv1.ReportedFact{
				Tool: "sslyze", ToolVersion: version, Rule: rule.command + "." + rule.field, Title: rule.title, Severity: rule.severity,
				Cve: cves(rule.cve), Closed: !rule.holds(c.Result[rule.field]), Verified: true,
			},
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (rule sslyzeRule) holds(answer any) bool {
	switch a := answer.(type) {
	case []any:
		return rule.bad == nil && len(a) > 0
	case bool:
		return a == rule.bad
	case string:
		prefix, ok := rule.bad.(string)
		return ok && strings.HasPrefix(a, prefix)
	}
	return false
}

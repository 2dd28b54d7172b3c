package render_test

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	correlatorv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/correlator/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	reporterv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/reporter/v1"
	schedulerv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/scheduler/v1"
)

// began is when the assessment of the documents here began.
var began = time.Date(2026, 3, 1, 9, 30, 0, 0, time.UTC)

func at(days int) *timestamppb.Timestamp { return timestamppb.New(began.AddDate(0, 0, days)) }

// richDocument has one of everything: every severity, an inferred, a not re-tested, a resolved, an accepted and a false
// finding, gaps, changes, an overdue risk.
func richDocument() *reporterv1.ReportDocument {
	doc := &reporterv1.ReportDocument{
		Assessment: &schedulerv1.Assessment{
			Name: "assessments/a2", Plan: "plans/weekly", Seeds: []string{"example.com", "192.0.2.10"}, Profile: modelv1.Profile_PROFILE_STANDARD,
			State: schedulerv1.Assessment_STATE_INCOMPLETE, Reason: "one scan job failed", CreateTime: at(0), StartTime: at(0),
			EndTime: timestamppb.New(began.Add(7*time.Minute + 12*time.Second)), CreatedBy: "ana@example.com", TraceId: "6b039b52ff7de043fec461ba5db14fc8",
			Progress: &schedulerv1.Progress{JobsPlanned: 4, JobsDone: 3, JobsFailed: 1},
		},
		Coverage:     richCoverage(),
		Assets:       richAssets(),
		Observations: richObservations(),
		Findings:     richFindings(),
		Risks:        richRisks(),
	}
	doc.Report = &reporterv1.Report{
		Name: "reports/a2", Assessment: "assessments/a2", CreateTime: doc.GetAssessment().GetEndTime(), OpenFindings: 5, Assets: 3,
		Risks:   map[string]uint32{"critical": 1, "high": 1, "medium": 1, "low": 1},
		Changes: &reporterv1.Changes{Since: "assessments/a1", Opened: []string{"findings/redis"}, Reopened: []string{"findings/tls"}, Resolved: []string{"findings/gone"}, Reason: "what only one of the two runs covered completely is not compared"},
	}
	return doc
}

func richCoverage() []*modelv1.Coverage {
	target := func(kind modelv1.AssetKind, value string, port uint32) *modelv1.Target {
		return &modelv1.Target{Kind: kind, Value: value, Port: port}
	}
	return []*modelv1.Coverage{
		{Job: "j1", ScanType: modelv1.ScanType_SCAN_TYPE_DNS, Target: target(modelv1.AssetKind_ASSET_KIND_DOMAIN, "example.com", 0), Outcome: modelv1.Outcome_OUTCOME_COMPLETE},
		{Job: "j2", ScanType: modelv1.ScanType_SCAN_TYPE_PORT, Target: target(modelv1.AssetKind_ASSET_KIND_IP, "192.0.2.10", 0), Outcome: modelv1.Outcome_OUTCOME_COMPLETE},
		{Job: "j3", ScanType: modelv1.ScanType_SCAN_TYPE_TLS, Target: target(modelv1.AssetKind_ASSET_KIND_HOST, "www.example.com", 443), Outcome: modelv1.Outcome_OUTCOME_PARTIAL, Reason: "3 of 12 handshakes timed out"},
		{Job: "j4", ScanType: modelv1.ScanType_SCAN_TYPE_HTTP, Target: target(modelv1.AssetKind_ASSET_KIND_IP, "2001:db8::7", 8443), Outcome: modelv1.Outcome_OUTCOME_FAILED, Reason: "connect: connection refused"},
	}
}

func richAssets() []*modelv1.Asset {
	return []*modelv1.Asset{
		{Name: "assets/domain", Kind: modelv1.AssetKind_ASSET_KIND_DOMAIN, Value: "example.com", Seed: true, Criticality: 5, Labels: map[string]string{"team": "web", "env": "production"}, FirstSeen: at(-60), LastSeen: at(0)},
		{Name: "assets/www", Kind: modelv1.AssetKind_ASSET_KIND_HOST, Value: "www.example.com", Path: []*modelv1.Discovery{{From: "example.com", ScanType: modelv1.ScanType_SCAN_TYPE_DNS, Relation: "CNAME"}}, FirstSeen: at(-60), LastSeen: at(0)},
		{Name: "assets/ip", Kind: modelv1.AssetKind_ASSET_KIND_IP, Value: "192.0.2.10", Seed: true, FirstSeen: at(-20), LastSeen: at(0)},
	}
}

func richObservations() []*modelv1.Observation {
	return []*modelv1.Observation{
		{Key: "o1", Asset: "assets/ip", AssetValue: "192.0.2.10", ScanType: modelv1.ScanType_SCAN_TYPE_PORT, Fact: &modelv1.Observation_Ports{Ports: &modelv1.PortsFact{Address: "192.0.2.10", Open: []uint32{22, 443, 6379}, Scanned: 1000, Ports: "top1000"}}},
		{Key: "o2", Asset: "assets/ip", AssetValue: "192.0.2.10", ScanType: modelv1.ScanType_SCAN_TYPE_SERVICE, Location: "192.0.2.10:22/tcp", Fact: &modelv1.Observation_Service{Service: &modelv1.ServiceFact{Port: 22, Name: "ssh", Product: "OpenSSH", Version: "7.4", Banner: "SSH-2.0-OpenSSH_7.4", Details: map[string]string{"ssh.kex": "diffie-hellman-group1-sha1"}}}},
		{Key: "o3", Asset: "assets/ip", AssetValue: "192.0.2.10", ScanType: modelv1.ScanType_SCAN_TYPE_SERVICE, Location: "192.0.2.10:6379/tcp", Fact: &modelv1.Observation_Service{Service: &modelv1.ServiceFact{Port: 6379, Name: "redis", Product: "Redis", Version: "7.2.4", Unauthenticated: true}}},
	}
}

func richFinding(id, check, title string, s modelv1.Severity, asset, value, location string) *correlatorv1.Finding {
	return &correlatorv1.Finding{
		Name: "findings/" + id, Check: check, CheckVersion: 1, Title: title, Severity: s, Asset: asset, AssetValue: value, Location: location, State: correlatorv1.Finding_STATE_OPEN,
		Summary: title + " on " + value, Remediation: "Correct it: " + title + ".", References: []string{"https://owasp.org/www-project-top-ten/"}, Cwe: []string{"CWE-306", "CWE-287"},
		Evidence:  []*correlatorv1.FindingEvidence{{Observation: "o-" + id, ScanType: modelv1.ScanType_SCAN_TYPE_SERVICE, Seen: at(0), Excerpt: "excerpt of " + id, Blob: "blobs/" + id, Source: "service/1"}},
		FirstSeen: at(-3), LastSeen: at(0), DueTime: at(4), TraceId: "6b039b52ff7de043fec461ba5db14fc8", Risk: "risks/" + id, Assessment: "assessments/a2",
	}
}

func richFindings() []*correlatorv1.Finding {
	redis := richFinding("redis", "redis-open", "Redis answers without a password", modelv1.Severity_SEVERITY_CRITICAL, "assets/ip", "192.0.2.10", "192.0.2.10:6379/tcp")
	ssh := richFinding("ssh", "ssh-outdated", "OpenSSH is outdated", modelv1.Severity_SEVERITY_HIGH, "assets/ip", "192.0.2.10", "192.0.2.10:22/tcp")
	ssh.Inferred, ssh.FirstSeen, ssh.DueTime = true, at(-40), at(-10)
	ssh.Product, ssh.MatchCount, ssh.DueRule = "openbsd:openssh", 2, "CVE-2024-6387, CISA BOD 26-04"
	ssh.Matches = []*correlatorv1.VulnerabilityMatch{{
		Cve: "CVE-2024-6387", Title: "Race in the signal handler", Product: "openbsd:openssh", Version: "9.2p1", FixedVersion: "9.8p1", Sources: []string{"cna"},
		Cvss: &modelv1.Cvss{Version: "3.1", Score: 8.1, Source: "cna", Vector: "CVSS:3.1/AV:N"}, Epss: &modelv1.Epss{Probability: 0.44, Model: "v5", Date: at(0)},
		Kev: &modelv1.Kev{DateAdded: at(-5), Ransomware: true, Name: "OpenSSH", RequiredAction: "Update"}, Ssvc: &modelv1.Ssvc{Exploitation: "active"},
		Confidence: 0.7, Reason: "version 9.2p1 is affected (since 8.5p1 before 9.8p1)", Class: "known-exploited", Location: "192.0.2.10:22/tcp", Software: "OpenSSH 9.2p1",
	}}
	tls := richFinding("tls", "tls-old-version", "TLS 1.0 is offered", modelv1.Severity_SEVERITY_MEDIUM, "assets/www", "www.example.com", "192.0.2.10:443/tcp")
	tls.NotRetested = true
	spf := richFinding("spf", "spf-missing", "No SPF record", modelv1.Severity_SEVERITY_LOW, "assets/domain", "example.com", "")
	info := richFinding("info", "security-txt", "No security.txt", modelv1.Severity_SEVERITY_INFO, "assets/www", "www.example.com", "")
	info.Risk, info.DueTime = "", nil
	gone := richFinding("gone", "directory-listing", "A directory is listed", modelv1.Severity_SEVERITY_MEDIUM, "assets/www", "www.example.com", "")
	gone.State, gone.ResolvedTime = correlatorv1.Finding_STATE_RESOLVED, at(0)
	accepted := richFinding("accepted", "http-plain", "Plain HTTP is served", modelv1.Severity_SEVERITY_LOW, "assets/www", "www.example.com", "192.0.2.10:80/tcp")
	accepted.State = correlatorv1.Finding_STATE_ACCEPTED
	accepted.Triage = &correlatorv1.Triage{Subject: "ana@example.com", Reason: "Needed by old devices until summer", Time: at(-30), ExpireTime: at(60)}
	wrong := richFinding("wrong", "panel", "An administration panel is reachable", modelv1.Severity_SEVERITY_HIGH, "assets/www", "www.example.com", "192.0.2.10:443/tcp")
	wrong.State = correlatorv1.Finding_STATE_FALSE_POSITIVE
	wrong.Triage = &correlatorv1.Triage{Subject: "ben@example.com", Reason: "It is the public sign-in", Time: at(-12)}
	return []*correlatorv1.Finding{redis, ssh, wrong, gone, tls, accepted, spf, info}
}

func richRisks() []*correlatorv1.Risk {
	risk := func(id, title, action string, s modelv1.Severity, asset, value string, points float64) *correlatorv1.Risk {
		r := &correlatorv1.Risk{
			Name: "risks/" + id, Title: title, Action: action, Severity: s, Asset: asset, AssetValue: value, State: correlatorv1.Risk_STATE_OPEN,
			Findings: []string{"findings/" + id}, OpenFindings: 1, FirstSeen: at(-3), LastSeen: at(0), DueTime: at(4), DueRule: severityWord(s) + " severity: 7 days after first seen", Group: id,
			Terms: []*correlatorv1.ScoreTerm{
				{Name: "severity", Points: points, Reason: "worst finding: " + title},
				{Name: "exposure", Points: 15, Reason: "reachable at a public address"},
			},
		}
		r.Score = points + 15
		return r
	}
	ssh := risk("ssh", "SSH is outdated or weak", "Update the SSH server and remove weak algorithms from its configuration.", modelv1.Severity_SEVERITY_HIGH, "assets/ip", "192.0.2.10", 50)
	ssh.Terms = append(ssh.Terms, &correlatorv1.ScoreTerm{Name: "confidence", Points: -8.5, Reason: "concluded from a version, not proven"})
	ssh.Score, ssh.FirstSeen, ssh.DueTime = 56.5, at(-40), at(-10)
	resolved := risk("gone", "Files are listed", "Turn directory listings off.", modelv1.Severity_SEVERITY_MEDIUM, "assets/www", "www.example.com", 0)
	resolved.State, resolved.OpenFindings = correlatorv1.Risk_STATE_RESOLVED, 0
	return []*correlatorv1.Risk{
		risk("redis", "A data store is open to anybody", "Take it off the internet at once, set a password, and treat what was in it as read by others.", modelv1.Severity_SEVERITY_CRITICAL, "assets/ip", "192.0.2.10", 70),
		ssh,
		risk("tls", "Connections can be read", "Turn off TLS 1.0 and 1.1.", modelv1.Severity_SEVERITY_MEDIUM, "assets/www", "www.example.com", 30),
		risk("spf", "Others can send mail in your name", "Publish one strict SPF record.", modelv1.Severity_SEVERITY_LOW, "assets/domain", "example.com", 10),
		resolved,
	}
}

func severityWord(s modelv1.Severity) string {
	return map[modelv1.Severity]string{modelv1.Severity_SEVERITY_CRITICAL: "critical", modelv1.Severity_SEVERITY_HIGH: "high", modelv1.Severity_SEVERITY_MEDIUM: "medium", modelv1.Severity_SEVERITY_LOW: "low"}[s]
}

// largeDocument has a number of risks with ten findings each.
func largeDocument(risks int) *reporterv1.ReportDocument {
	doc := &reporterv1.ReportDocument{
		Assessment: &schedulerv1.Assessment{Name: "assessments/large", Seeds: []string{"203.0.113.0/24"}, StartTime: at(0), EndTime: at(1), State: schedulerv1.Assessment_STATE_SUCCEEDED},
		Report:     &reporterv1.Report{Complete: true, CreateTime: at(1), OpenFindings: uint32(risks * 10), Risks: map[string]uint32{"high": uint32(risks)}},
	}
	for i := range risks {
		asset := fmt.Sprintf("assets/%d", i)
		value := fmt.Sprintf("host-%d.example.com", i)
		doc.Assets = append(doc.Assets, &modelv1.Asset{Name: asset, Value: value, Kind: modelv1.AssetKind_ASSET_KIND_HOST})
		doc.Coverage = append(doc.Coverage, &modelv1.Coverage{Job: asset, ScanType: modelv1.ScanType_SCAN_TYPE_HTTP, Target: &modelv1.Target{Value: value}, Outcome: modelv1.Outcome_OUTCOME_COMPLETE})
		risk := &correlatorv1.Risk{Name: fmt.Sprintf("risks/%d", i), Title: "Protections are missing", Action: "Set the headers.", Severity: modelv1.Severity_SEVERITY_HIGH, Score: 60, Asset: asset, AssetValue: value, State: correlatorv1.Risk_STATE_OPEN, OpenFindings: 10}
		for j := range 10 {
			f := richFinding(fmt.Sprintf("%d-%d", i, j), fmt.Sprintf("check-%d", j), "A protection is missing", modelv1.Severity_SEVERITY_HIGH, asset, value, "")
			f.Risk = risk.GetName()
			risk.Findings = append(risk.Findings, f.GetName())
			doc.Findings = append(doc.Findings, f)
		}
		doc.Risks = append(doc.Risks, risk)
	}
	return doc
}

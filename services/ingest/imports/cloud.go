package imports

import (
	"context"
	"strings"
	"time"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

// ocsfEvent is an event of the findings category of OCSF (schema.ocsf.io, category 2).
type ocsfEvent struct {
	Class    int    `json:"class_uid"`
	Severity string `json:"severity"`
	// Status: 1 new, 2 in progress, 3 suppressed, 4 resolved, 5 archived, 6 deleted.
	Status     int    `json:"status_id"`
	StatusCode string `json:"status_code"`
	Detail     string `json:"status_detail"`
	Message    string `json:"message"`
	Time       int64  `json:"time"`
	Info       struct {
		UID     string `json:"uid"`
		Title   string `json:"title"`
		Text    string `json:"desc"`
		Created int64  `json:"created_time"`
	} `json:"finding_info"`
	Metadata struct {
		Code    string `json:"event_code"`
		Product struct {
			Name    string `json:"name"`
			Version string `json:"version"`
		} `json:"product"`
	} `json:"metadata"`
	Cloud struct {
		Provider string `json:"provider"`
		Account  struct {
			UID string `json:"uid"`
		} `json:"account"`
	} `json:"cloud"`
	Resources []struct {
		UID      string `json:"uid"`
		Name     string `json:"name"`
		Hostname string `json:"hostname"`
		IP       string `json:"ip"`
	} `json:"resources"`
	Device struct {
		Hostname string `json:"hostname"`
		IP       string `json:"ip"`
	} `json:"device"`
	Vulnerabilities []struct {
		CVE struct {
			UID string `json:"uid"`
		} `json:"cve"`
		Title string `json:"title"`
		Text  string `json:"desc"`
	} `json:"vulnerabilities"`
	Remediation struct {
		Text       string `json:"desc"`
		References words  `json:"references"`
	} `json:"remediation"`
}

// Findings of OCSF, and the states of one that is over.
const (
	ocsfFindings     = 2000
	ocsfCompliance   = 2003 // a setting was read and compared with a rule; Prowler writes such as detections with a status_code
	ocsfFindingsEnd  = 3000
	ocsfSuppressed   = 3
	ocsfStatusesOver = 6
)

// parseOCSF reads findings of OCSF, one a line or one array.
func parseOCSF(ctx context.Context, r *report) error { return r.each(ctx, r.ocsf) }

func (r *report) ocsf(line int, decode func(any) error) error {
	var e ocsfEvent
	if err := decode(&e); err != nil {
		return err
	}
	if e.Class < ocsfFindings || e.Class >= ocsfFindingsEnd {
		return r.problem(line, "event is no finding: its class_uid is not in category 2")
	}
	fact := &modelv1.ReportedFact{
		Tool: safe(first(strings.ToLower(e.Metadata.Product.Name), "ocsf"), maxText), ToolVersion: safe(e.Metadata.Product.Version, maxText),
		Rule: safe(first(e.Metadata.Code, e.Info.Title), maxText), Title: safe(first(e.Info.Title, e.Message), maxText), Severity: severity(e.Severity),
		Description: safe(first(e.Detail, e.Message, e.Info.Text), maxLongText), Remediation: safe(e.Remediation.Text, maxLongText),
		References: references(e.Remediation.References...), Fingerprint: safe(e.Info.UID, maxText),
		Closed: e.Status >= ocsfSuppressed && e.Status <= ocsfStatusesOver || passedStatus(e.StatusCode),
	}
	var ids []string
	for _, v := range e.Vulnerabilities {
		ids = append(ids, v.CVE.UID)
		fact.Title, fact.Description = safe(first(fact.GetTitle(), v.Title), maxText), safe(first(fact.GetDescription(), v.Text), maxLongText)
	}
	fact.Cve = cves(append(ids, e.Info.Title)...)
	fact.Verified = (e.Class == ocsfCompliance || e.StatusCode != "") && len(fact.GetCve()) == 0
	rec := Record{Line: line, Seen: millis(e.Time, e.Info.Created), Reported: fact, Asset: first(e.Device.Hostname, e.Device.IP)}
	for _, res := range e.Resources {
		rec.Asset = first(rec.Asset, res.Hostname, res.IP)
		rec.Place = safe(first(rec.Place, res.UID, res.Name), maxText)
	}
	if a := account(e.Cloud.Provider, e.Cloud.Account.UID); a != "" {
		rec.Asset = a
	}
	return r.record(rec)
}

// account is a cloud account as a target, or "".
func account(provider, id string) string {
	name := map[string]string{"aws": "aws", "azure": "azure", "gcp": "google", "google": "google"}[strings.ToLower(provider)]
	if name == "" || id == "" {
		return ""
	}
	return name + ":" + strings.ToLower(id)
}

// passedStatus says whether a test found nothing.
func passedStatus(status string) bool {
	switch strings.ToUpper(status) {
	case "PASS", "PASSED", "MUTED", "NOT_AVAILABLE":
		return true
	}
	return false
}

// millis is the first of some times in milliseconds since 1970 that is one; OCSF writes those.
func millis(times ...int64) time.Time {
	for _, t := range times {
		if t > 0 {
			return past(time.UnixMilli(t))
		}
	}
	return time.Time{}
}

// asffFinding is a finding in the AWS Security Finding Format (docs.aws.amazon.com/securityhub, securityhub-findings-format).
type asffFinding struct {
	ID        string `json:"Id"`
	Product   string `json:"ProductName"`
	Arn       string `json:"ProductArn"`
	Generator string `json:"GeneratorId"`
	Account   string `json:"AwsAccountId"`
	Title     string `json:"Title"`
	Text      string `json:"Description"`
	Updated   string `json:"UpdatedAt"`
	Severity  struct {
		Label string `json:"Label"`
	} `json:"Severity"`
	Provider struct {
		Severity struct {
			Label string `json:"Label"`
		} `json:"Severity"`
	} `json:"FindingProviderFields"`
	Resources []struct {
		ID string `json:"Id"`
	} `json:"Resources"`
	Remediation struct {
		Recommendation struct {
			Text string `json:"Text"`
			URL  string `json:"Url"`
		} `json:"Recommendation"`
	} `json:"Remediation"`
	Compliance struct {
		Status string `json:"Status"`
	} `json:"Compliance"`
	Workflow struct {
		Status string `json:"Status"`
	} `json:"Workflow"`
	State           string `json:"RecordState"`
	Vulnerabilities []struct {
		ID string `json:"Id"`
	} `json:"Vulnerabilities"`
}

// parseASFF reads the findings of GetFindings or BatchImportFindings, an array of findings, or one a line.
func parseASFF(ctx context.Context, r *report) error {
	one, err := r.oneObject(ctx, "Findings")
	if err != nil {
		return err
	}
	if one {
		return r.walk(ctx, map[string]func(int, func(any) error) error{"Findings[]": r.asff})
	}
	return r.each(ctx, r.asff)
}

func (r *report) asff(line int, decode func(any) error) error {
	var f asffFinding
	if err := decode(&f); err != nil {
		return err
	}
	if f.ID == "" || f.Account == "" {
		return r.problem(line, "not a finding of ASFF: it has no Id or no AwsAccountId")
	}
	product := f.Product
	if product == "" {
		product = f.Arn[strings.LastIndex(f.Arn, "/")+1:]
	}
	fact := &modelv1.ReportedFact{
		Tool: safe(first(strings.ToLower(product), "asff"), maxText), Rule: safe(first(f.Generator, f.Title), maxText), Title: safe(f.Title, maxText),
		Severity: severity(first(f.Provider.Severity.Label, f.Severity.Label)), Description: safe(f.Text, maxLongText),
		Remediation: safe(f.Remediation.Recommendation.Text, maxLongText), References: references(f.Remediation.Recommendation.URL),
		Fingerprint: safe(f.ID, maxText),
		Closed: f.State == "ARCHIVED" || f.Workflow.Status == "RESOLVED" || f.Workflow.Status == "SUPPRESSED" ||
			passedStatus(f.Compliance.Status),
	}
	ids := []string{f.Title}
	for _, v := range f.Vulnerabilities {
		ids = append(ids, v.ID)
	}
	fact.Cve = cves(ids...)
	fact.Verified = f.Compliance.Status != "" && len(fact.GetCve()) == 0 // a setting was read and compared with a rule
	rec := Record{Line: line, Asset: account("aws", f.Account), Seen: moment(f.Updated), Reported: fact}
	if len(f.Resources) > 0 {
		rec.Place = safe(f.Resources[0].ID, maxText)
	}
	return r.record(rec)
}

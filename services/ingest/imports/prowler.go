package imports

import (
	"context"
	"encoding/csv"
	"errors"
	"io"
	"strings"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

// prowlerFinding is a finding in the native JSON of Prowler 3 (docs.prowler.com, reporting).
type prowlerFinding struct {
	Class       int    `json:"class_uid"`
	Provider    string `json:"Provider"`
	Account     string `json:"AccountId"`
	Check       string `json:"CheckID"`
	Title       string `json:"CheckTitle"`
	Status      string `json:"Status"`
	Extended    string `json:"StatusExtended"`
	Severity    string `json:"Severity"`
	Resource    string `json:"ResourceArn"`
	ResourceID  string `json:"ResourceId"`
	Risk        string `json:"Risk"`
	URL         string `json:"RelatedUrl"`
	Time        string `json:"Timestamp"`
	Began       string `json:"AssessmentStartTime"`
	Remediation struct {
		Recommendation struct {
			Text string `json:"Text"`
			URL  string `json:"Url"`
		} `json:"Recommendation"`
	} `json:"Remediation"`
}

// parseProwler reads what Prowler writes: OCSF (its default), its older native JSON, or CSV.
func parseProwler(ctx context.Context, r *report) error {
	head, err := r.head(ctx)
	if err != nil {
		return err
	}
	if !strings.HasPrefix(head, "{") && !strings.HasPrefix(head, "[") {
		return r.prowlerCSV(ctx)
	}
	if strings.Contains(head, `"class_uid"`) {
		return parseOCSF(ctx, r)
	}
	return r.each(ctx, func(line int, decode func(any) error) error {
		var f prowlerFinding
		if err := decode(&f); err != nil {
			return err
		}
		return r.prowler(line, &f)
	})
}

func (r *report) prowler(line int, f *prowlerFinding) error {
	if f.Check == "" || f.Account == "" {
		return r.problem(line, "not a finding of Prowler: it has no check or no account")
	}
	if strings.EqualFold(f.Status, "MANUAL") {
		return nil // nothing was tested
	}
	return r.record(Record{
		Line: line, Asset: first(account(f.Provider, f.Account), account("aws", f.Account)), Place: safe(first(f.Resource, f.ResourceID), maxText),
		Seen: moment(first(f.Time, f.Began)),
		Reported: &modelv1.ReportedFact{
			Tool: "prowler", Rule: safe(f.Check, maxText), Title: safe(first(f.Title, f.Check), maxText), Severity: severity(f.Severity),
			Description: safe(first(f.Extended, f.Risk), maxLongText), Remediation: safe(f.Remediation.Recommendation.Text, maxLongText),
			References: references(f.Remediation.Recommendation.URL, f.URL), Closed: !strings.EqualFold(f.Status, "FAIL"), Verified: true,
		},
	})
}

// prowlerCSV reads the CSV of Prowler 3 and later: semicolons, names of columns in the first line.
func (r *report) prowlerCSV(ctx context.Context) error {
	columns := map[string]int{}
	return r.rows(ctx, ';', func(line int, row []string) error {
		if len(columns) == 0 {
			for i, name := range row {
				columns[strings.ToUpper(strings.TrimSpace(name))] = i
			}
			if _, ok := columns["CHECK_ID"]; !ok {
				return errNotFormat
			}
			return nil
		}
		cell := func(names ...string) string {
			for _, n := range names {
				if i, ok := columns[n]; ok && i < len(row) && row[i] != "" {
					return row[i]
				}
			}
			return ""
		}
		f := &prowlerFinding{
			Provider: cell("PROVIDER"), Account: cell("ACCOUNT_UID", "ACCOUNT_ID"), Check: cell("CHECK_ID"), Title: cell("CHECK_TITLE"),
			Status: cell("STATUS"), Extended: cell("STATUS_EXTENDED"), Severity: cell("SEVERITY"), Resource: cell("RESOURCE_UID", "RESOURCE_ARN"),
			ResourceID: cell("RESOURCE_NAME", "RESOURCE_ID"), Risk: cell("RISK"), URL: cell("RELATED_URL"), Time: cell("TIMESTAMP", "ASSESSMENT_START_TIME"),
		}
		f.Remediation.Recommendation.Text, f.Remediation.Recommendation.URL = cell("REMEDIATION_RECOMMENDATION_TEXT"), cell("REMEDIATION_RECOMMENDATION_URL")
		return r.prowler(line, f)
	})
}

// rows reads CSV. A row that is broken is a problem and stops nothing.
func (r *report) rows(ctx context.Context, separator rune, f func(line int, row []string) error) error {
	s, err := r.begin(ctx)
	if err != nil {
		return err
	}
	s.records(maxRowBytes)
	in := csv.NewReader(s)
	in.Comma, in.FieldsPerRecord, in.ReuseRecord, in.TrimLeadingSpace = separator, -1, true, true
	fields := 0
	for {
		row, err := in.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		s.finished(in.InputOffset())
		var broken *csv.ParseError
		if errors.As(err, &broken) {
			if err := r.problem(broken.StartLine, "not understood: "+broken.Err.Error()); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		if fields += len(row); fields > MaxElements {
			return errElements
		}
		line, _ := in.FieldPos(0)
		if err := f(line, row); err != nil {
			return err
		}
	}
}

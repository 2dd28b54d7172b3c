package imports

import (
	"context"
	"encoding/xml"
	"strconv"
	"strings"
	"time"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

// zapAlert is one alert of ZAP's traditional reports, which have the same names in JSON and XML (zaproxy.org, report generation).
type zapAlert struct {
	Plugin    string `json:"pluginid" xml:"pluginid"`
	Ref       string `json:"alertRef" xml:"alertRef"`
	Alert     string `json:"alert" xml:"alert"`
	Name      string `json:"name" xml:"name"`
	Risk      string `json:"riskcode" xml:"riskcode"`
	Sure      string `json:"confidence" xml:"confidence"`
	Text      string `json:"desc" xml:"desc"`
	Solution  string `json:"solution" xml:"solution"`
	Reference string `json:"reference" xml:"reference"`
	CWE       string `json:"cweid" xml:"cweid"`
	Instances []struct {
		URI string `json:"uri" xml:"uri"`
	} `json:"instances" xml:"instances>instance"`
}

// zapRisks are ZAP's risk codes.
var zapRisks = map[string]modelv1.Severity{
	"0": modelv1.Severity_SEVERITY_INFO, "1": modelv1.Severity_SEVERITY_LOW, "2": modelv1.Severity_SEVERITY_MEDIUM, "3": modelv1.Severity_SEVERITY_HIGH,
}

// parseZAP reads ZAP's JSON or XML.
func parseZAP(ctx context.Context, r *report) error {
	head, err := r.head(ctx)
	if err != nil {
		return err
	}
	site := ""
	var seen time.Time
	if strings.HasPrefix(head, "<") {
		whole, err := r.elements(ctx, "OWASPZAPReport", map[string]element{
			"OWASPZAPReport": {begin: func(_ int, start xml.StartElement, _ func(any) error) error {
				seen = moment(first(attribute(start, "created"), attribute(start, "generated")))
				return nil
			}},
			"site": {begin: func(_ int, start xml.StartElement, _ func(any) error) error {
				site = attribute(start, "name")
				return nil
			}},
			"alertitem": {begin: func(line int, _ xml.StartElement, decode func(any) error) error {
				var a zapAlert
				if err := decode(&a); err != nil {
					return err
				}
				return r.zap(line, site, seen, &a)
			}},
		})
		if err == nil && !whole {
			err = errCutOff
		}
		return err
	}
	found := false
	generated := func(_ int, decode func(any) error) error {
		var text string
		err := decode(&text)
		if at := moment(text); !at.IsZero() {
			seen = at
		}
		return err
	}
	err = r.walkWith(ctx, walkHooks{
		enter: map[string]func() error{"site[]": func() error {
			site, found = "", true
			return nil
		}},
		at: map[string]func(int, func(any) error) error{
			"@generated": generated, "created": generated,
			"site[].@name": func(_ int, decode func(any) error) error { return decode(&site) },
			"site[].alerts[]": func(line int, decode func(any) error) error {
				var a zapAlert
				if err := decode(&a); err != nil {
					return err
				}
				return r.zap(line, site, seen, &a)
			},
		},
	})
	if err == nil && !found {
		return errNotFormat
	}
	return err
}

// zap hands over one alert. Its confidence is 0 for what was marked as false, 1 low, 2 medium, 3 high and 4 for what a person confirmed.
func (r *report) zap(line int, site string, seen time.Time, a *zapAlert) error {
	if a.Plugin == "" {
		return r.problem(line, "alert has no pluginid")
	}
	var where []string
	for _, i := range a.Instances {
		if site == "" {
			site = i.URI
		}
		if len(where) < maxList {
			where = append(where, i.URI)
		}
	}
	cwe := ""
	if n, err := strconv.Atoi(a.CWE); err == nil && n > 0 {
		cwe = "CWE-" + strconv.Itoa(n)
	}
	host, port := place(site)
	risk, known := zapRisks[a.Risk]
	if !known {
		return r.problem(line, "alert has no risk code from 0 to 3")
	}
	return r.record(Record{
		Line: line, Asset: host, Port: port, Transport: modelv1.Transport_TRANSPORT_TCP, Seen: seen,
		Reported: &modelv1.ReportedFact{
			Tool: "zap", Rule: safe(first(a.Ref, a.Plugin), maxText), Title: safe(first(a.Alert, a.Name, a.Plugin), maxText), Severity: risk,
			Description: safe(withoutTags(a.Text)+" "+strings.Join(where, " "), maxLongText), Remediation: safe(withoutTags(a.Solution), maxLongText),
			References: references(withoutTags(a.Reference)), Cwe: cwes(cwe), Closed: a.Sure == "0",
			Verified: a.Sure == "3" || a.Sure == "4",
		},
	})
}

// withoutTags takes the tags out of ZAP's HTML; what remains is text, and each sink escapes it.
func withoutTags(text string) string {
	var out strings.Builder
	for {
		before, rest, ok := strings.Cut(text, "<")
		out.WriteString(before)
		if !ok {
			return out.String()
		}
		_, after, ok := strings.Cut(rest, ">")
		if !ok {
			return out.String()
		}
		out.WriteByte(' ')
		text = after
	}
}

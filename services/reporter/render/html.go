package render

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // the page and its style are files
	"encoding/base64"
	"html/template"
	"strings"

	reporterv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/reporter/v1"
	"github.com/riskprofiler/riskprofiler/platform/fault"
)

var (
	//go:embed report.gohtml
	reportPage string
	//go:embed report.css
	reportStyle string
)

// HTML is the report as one page for people: it loads nothing, runs nothing and prints well. Lists are bounded, and say so
// where they are cut; the other formats hold everything.
//
// Three things keep a target's text from doing anything: html/template escapes it at its place, it is placed in text only and
// never in a link, style or script, and the page's own policy permits nothing but its one style sheet, named by its hash.
func HTML(doc *reporterv1.ReportDocument) ([]byte, error) {
	page, err := template.New("report").Parse(pageSource())
	if err != nil {
		return nil, fault.Wrap(fault.Internal, err, "parse report page")
	}
	var out bytes.Buffer
	if err := page.Execute(&out, newView(doc)); err != nil {
		return nil, fault.Wrap(fault.Internal, err, "render report page")
	}
	return out.Bytes(), nil
}

// pageSource is the page with its style sheet and the hash that its policy permits (CSP Level 3, section 2.3.1). Both are
// ours and constant, so they are put in before the page is parsed.
func pageSource() string {
	style := strings.TrimSpace(reportStyle)
	sum := sha256.Sum256([]byte(style))
	return strings.NewReplacer("@STYLE@", style, "@STYLE-HASH@", "sha256-"+base64.StdEncoding.EncodeToString(sum[:])).Replace(reportPage)
}

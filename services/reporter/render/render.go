// Package render turns a report document into the formats people and programs read. It is pure: the same document gives the
// same bytes. Everything that came from a target is hostile here and is escaped at its sink.
package render

import (
	"bytes"
	"encoding/json"

	"google.golang.org/protobuf/encoding/protojson"

	reporterv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/reporter/v1"
	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// Render renders a document and says what it is. JSON if the format is not named.
func Render(doc *reporterv1.ReportDocument, f reporterv1.Format) (raw []byte, contentType string, err error) {
	switch f {
	case reporterv1.Format_FORMAT_UNSPECIFIED, reporterv1.Format_FORMAT_JSON:
		raw, err = JSON(doc)
		return raw, "application/json", err
	case reporterv1.Format_FORMAT_CSV:
		raw, err = CSV(doc)
		return raw, "text/csv; charset=utf-8", err
	case reporterv1.Format_FORMAT_SARIF:
		raw, err = SARIF(doc)
		return raw, "application/sarif+json", err
	case reporterv1.Format_FORMAT_HTML:
		raw, err = HTML(doc)
		return raw, "text/html; charset=utf-8", err
	}
	return nil, "", fault.WithField(fault.New(fault.Invalid, "format %s is not known", f), "format", "use JSON, CSV, SARIF or HTML")
}

// JSON is the document in protobuf's JSON form, indented, and harmless where it is printed or embedded. protojson varies its spacing on purpose, so it is indented anew to
// be the same every time.
func JSON(doc *reporterv1.ReportDocument) ([]byte, error) {
	raw, err := protojson.Marshal(doc)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, err, "encode report")
	}
	var out bytes.Buffer
	if err := json.Indent(&out, raw, "", "  "); err != nil {
		return nil, fault.Wrap(fault.Internal, err, "indent report")
	}
	out.WriteByte('\n')
	return inert(out.Bytes()), nil
}

package imports

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// headBytes is how much of a report is looked at to tell what it is.
const headBytes = 64 << 10

// head is the beginning of the report, without leading white space.
func (r *report) head(ctx context.Context) (string, error) {
	s, err := r.begin(ctx)
	if err != nil {
		return "", err
	}
	return readHead(s)
}

func readHead(in io.Reader) (string, error) {
	raw := make([]byte, headBytes)
	n, err := io.ReadFull(bufio.NewReader(in), raw)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return "", err
	}
	return strings.TrimLeft(strings.TrimPrefix(string(raw[:n]), "\ufeff"), " \t\r\n"), nil
}

// oneObject says whether the report is one object with this member near its beginning, as opposed to an array or lines.
func (r *report) oneObject(ctx context.Context, member string) (bool, error) {
	head, err := r.head(ctx)
	if err != nil || !strings.HasPrefix(head, "{") {
		return false, err
	}
	line, _, _ := strings.Cut(head, "\n")
	whole := json.Valid([]byte(line))
	return strings.Contains(head, `"`+member+`"`) && (!whole || strings.Contains(line, `"`+member+`"`)), nil
}

// marks tell formats apart: a report is the first format all of whose marks stand in its beginning.
var marks = []struct {
	format Format
	all    []string
}{
	{Nmap, []string{"<nmaprun"}},
	{ZAP, []string{"<OWASPZAPReport"}},
	{SARIF, []string{`"runs"`, `"tool"`, `"driver"`}},
	{SARIF, []string{`"$schema"`, "sarif"}},
	{Nuclei, []string{`"template-id"`}},
	{SSLyze, []string{`"server_scan_results"`}},
	{Trivy, []string{`"ArtifactName"`}},
	{OCSF, []string{`"class_uid"`}},
	{ASFF, []string{`"AwsAccountId"`, `"ProductArn"`}},
	{Prowler, []string{`"CheckID"`, `"StatusExtended"`}},
	{ZAP, []string{`"site"`, `"@`}},
	{TestSSL, []string{`"finding"`, `"severity"`, `"id"`}},
	{TestSSL, []string{`"scanResult"`}},
}

// Detect tells the format of a report by how it begins. The error matches fault.Invalid.
func Detect(in io.Reader) (Format, error) {
	head, err := readHead(in)
	if err != nil {
		return "", err
	}
	for _, m := range marks {
		if containsAll(head, m.all) {
			return m.format, nil
		}
	}
	firstLine, _, _ := strings.Cut(head, "\n")
	upper := strings.ToUpper(firstLine)
	switch {
	case strings.Contains(upper, "CHECK_ID") && strings.Contains(upper, ";"):
		return Prowler, nil
	case head == "" || strings.HasPrefix(head, "<") || strings.HasPrefix(head, "{") || strings.HasPrefix(head, "[") || strings.ContainsRune(head, 0):
		return "", fault.New(fault.Invalid, "the report is of no known format: say which with --format, one of %s", strings.Join(Formats(), ", "))
	}
	return CSV, nil
}

func containsAll(text string, all []string) bool {
	for _, mark := range all {
		if !strings.Contains(text, mark) {
			return false
		}
	}
	return true
}

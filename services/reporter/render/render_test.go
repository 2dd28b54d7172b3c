package render_test

import (
	"bytes"
	"flag"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	correlatorv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/correlator/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	reporterv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/reporter/v1"
	"github.com/riskprofiler/riskprofiler/services/reporter/render"
)

var update = flag.Bool("update", false, "write the golden files anew")

// formats are all renderings with their golden files.
var formats = map[string]func(*reporterv1.ReportDocument) ([]byte, error){
	"report.json": render.JSON, "report.csv": render.CSV, "report.sarif": render.SARIF, "report.html": render.HTML,
	"report.txt": func(doc *reporterv1.ReportDocument) ([]byte, error) {
		var out bytes.Buffer
		err := render.Table(&out, doc, render.TableOptions{Width: 100})
		return out.Bytes(), err
	},
}

func TestGolden(t *testing.T) {
	for name, format := range formats {
		t.Run(name, func(t *testing.T) {
			got, err := format(richDocument())
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join("testdata", name)
			if *update {
				if err := os.WriteFile(path, got, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("differs from %s; run with -update if that is meant (-want +got):\n%s", path, diff)
			}
		})
	}
}

func TestSameDocumentSameBytes(t *testing.T) {
	for name, format := range formats {
		first, err := format(richDocument())
		if err != nil {
			t.Fatal(err)
		}
		for range 20 {
			if again, _ := format(clone(richDocument())); !bytes.Equal(first, again) {
				t.Fatalf("%s differs between renderings of one document", name)
			}
		}
	}
}

func TestAnyDocumentRenders(t *testing.T) {
	odd := richDocument()
	odd.Risks[0].Score, odd.Risks[1].Score = math.NaN(), math.Inf(1)
	odd.Risks[0].Terms[0].Points = math.Inf(-1)
	odd.Findings[0].Severity, odd.Coverage[0].ScanType = modelv1.Severity(99), modelv1.ScanType(99)
	odd.Assessment.StartTime = odd.GetAssessment().GetEndTime()
	large := 500
	if testing.Short() {
		large = 50 // one goroutine renders: the race detector, which asks for the short run, learns nothing from more
	}
	for name, doc := range map[string]*reporterv1.ReportDocument{
		"nil": nil, "empty": {}, "empty parts": {Risks: []*correlatorv1.Risk{{State: correlatorv1.Risk_STATE_OPEN}}, Findings: []*correlatorv1.Finding{{State: correlatorv1.Finding_STATE_OPEN}}, Coverage: []*modelv1.Coverage{{}}, Assets: []*modelv1.Asset{{}}},
		"rich": richDocument(), "odd": odd, "one": largeDocument(1), "large": largeDocument(large),
	} {
		for sink, check := range sinks {
			if name == "odd" && sink == "JSON" {
				continue // NaN is not equal to itself
			}
			if err := check(doc); err != nil && (doc != nil || sink != "JSON") {
				t.Errorf("%s, %s: %v", name, sink, err)
			}
		}
	}
}

func TestLargePageIsBoundedAndSaysSo(t *testing.T) {
	raw, err := render.HTML(largeDocument(500))
	if err != nil {
		t.Fatal(err)
	}
	if len(raw) > 2<<20 {
		t.Errorf("the page of 5,000 findings has %d bytes", len(raw))
	}
	for _, want := range []string{"200 of 500 risks are shown here", "400 of 5,000 findings are shown here", "300 of 500 assets are shown here", "There are 500 open risks (500 high) from 5,000 findings."} {
		if !bytes.Contains(raw, []byte(want)) {
			t.Errorf("the page does not say %q", want)
		}
	}
}

func TestPageSaysWhatWasNotCovered(t *testing.T) {
	raw, err := render.HTML(richDocument())
	if err != nil {
		t.Fatal(err)
	}
	page := string(raw)
	banner, risks := strings.Index(page, "Not everything was covered."), strings.Index(page, `id="risks"`)
	if banner < 0 || banner > risks {
		t.Error("an incomplete report does not say so before its risks")
	}
	doc := largeDocument(0)
	raw, err = render.HTML(doc)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(raw, []byte("Not everything was covered.")) || !bytes.Contains(raw, []byte("No open risk was found.")) {
		t.Error("a complete report without risks does not read so")
	}
	doc.Report.Complete = false
	if raw, err = render.HTML(doc); err != nil || !bytes.Contains(raw, []byte("No open risk was found in what could be covered.")) {
		t.Errorf("an incomplete report claims that there is no risk (%v)", err)
	}
}

func TestTableKeepsItsWidth(t *testing.T) {
	doc := richDocument()
	doc.Risks[0].Title = strings.Repeat("漢字かな", 40)
	doc.Risks[1].Action = strings.Repeat("one two three ", 40)
	doc.Coverage[2].Reason = strings.Repeat("é", 300)
	for _, width := range []int{40, 60, 80, 100, 200} {
		var out bytes.Buffer
		if err := render.Table(&out, doc, render.TableOptions{Width: width}); err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(out.String()) {
			columns := 0
			for _, r := range strings.TrimSuffix(line, "\n") {
				if columns++; r > 0x3000 {
					columns++
				}
			}
			if columns > width {
				t.Errorf("a line of %d columns in a terminal of %d: %q", columns, width, line)
			}
		}
		if width >= 60 && !strings.Contains(out.String(), "4 scan jobs\n") {
			t.Errorf("in a terminal of %d the counts are cut: %q", width, out.String()[max(0, out.Len()-150):])
		}
	}
}

func TestFormats(t *testing.T) {
	for f, want := range map[reporterv1.Format]string{0: "application/json", 1: "application/json", 2: "text/csv; charset=utf-8", 3: "application/sarif+json", 4: "text/html; charset=utf-8", 99: ""} {
		raw, got, err := render.Render(richDocument(), f)
		if got != want || (err == nil) != (want != "") || (len(raw) > 0) != (want != "") {
			t.Errorf("format %d: %q, %v", f, got, err)
		}
	}
}

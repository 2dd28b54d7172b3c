package test

import (
	"context"
	"encoding/base64"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	correlatorv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/correlator/v1"
	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	"github.com/riskprofiler/riskprofiler/lab"
	"github.com/riskprofiler/riskprofiler/platform/assetid"
	"github.com/riskprofiler/riskprofiler/platform/target"
)

// importEvery is how often a scenario looks at its import.
const importEvery = 20 * time.Millisecond

// Import takes in a report and waits until it is read.
func (p *Platform) Import(t testing.TB, r lab.Report) *ingestv1.Import {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), scenarioLimit)
	defer cancel()
	i := &ingestv1.Import{}
	wish := map[string]any{"file": r.File}
	if r.Asset != "" {
		wish["asset"] = assetOf(t, r.Asset)
	}
	p.must(t, ctx, http.MethodPost, "/v1/imports", wish, i)
	p.must(t, ctx, http.MethodPost, "/v1/"+i.GetName()+":upload", map[string]any{"part": 0, "content": base64.StdEncoding.EncodeToString(r.Content)}, nil)
	p.must(t, ctx, http.MethodPost, "/v1/"+i.GetName()+":start", map[string]any{"parts": 1}, i)
	tick := time.NewTicker(importEvery)
	defer tick.Stop()
	for i.GetState() == ingestv1.Import_STATE_RUNNING {
		select {
		case <-ctx.Done():
			t.Fatalf("%s does not end", r.File)
		case <-tick.C:
		}
		i = &ingestv1.Import{Name: i.GetName()}
		p.must(t, ctx, http.MethodGet, "/v1/"+i.GetName(), nil, i)
	}
	if i.GetState() != ingestv1.Import_STATE_DONE || i.GetProblems() != r.Problems {
		t.Errorf("%s: %s %s with %d problems, want %d: %s", r.File, i.GetState(), i.GetError(), i.GetProblems(), r.Problems,
			p.must(t, ctx, http.MethodGet, "/v1/"+i.GetName()+"/problems", nil, nil))
	}
	return i
}

func assetOf(t testing.TB, value string) string {
	t.Helper()
	parsed, err := target.Parse(value)
	if err != nil {
		t.Fatal(err)
	}
	return assetid.Name(int32(parsed.Kind), parsed.Value)
}

// findings are all findings of the tenant, once everything that is known now was evaluated.
func (p *Platform) findings(t testing.TB) []*correlatorv1.Finding {
	t.Helper()
	evaluated := &correlatorv1.ReevaluateResponse{}
	for token := ""; ; token = evaluated.GetNextPageToken() {
		evaluated.Reset()
		p.must(t, t.Context(), http.MethodPost, "/v1/findings:reevaluate", map[string]any{"pageToken": token}, evaluated)
		if evaluated.GetNextPageToken() == "" {
			break
		}
	}
	var all []*correlatorv1.Finding
	for token := ""; ; {
		res := &correlatorv1.ListFindingsResponse{}
		p.must(t, t.Context(), http.MethodGet, "/v1/findings?page_size=100&page_token="+url.QueryEscape(token), nil, res)
		all = append(all, res.GetFindings()...)
		if token = res.GetNextPageToken(); token == "" {
			return all
		}
	}
}

// TestTruthOfImports: reports of other tools about the lab become the findings that are declared, all of them and no others; later
// reports close what they say is over, each in the way of its format, and nothing else; and the same reports once more open what they
// had opened only if they are newer, which they are not.
func TestTruthOfImports(t *testing.T) {
	network := netip.MustParsePrefix("127.60.9.0/24")
	p := InProcess(t, Options{})
	p.Own(t, t.Context(), lab.ReportSeeds(network))
	first, later := lab.ReportTruth(network)
	for _, r := range lab.Reports(network) {
		p.Import(t, r)
	}
	before := compareReported(t, "first", first, p.findings(t))
	for _, r := range lab.LaterReports(network) {
		p.Import(t, r)
	}
	after := compareReported(t, "later", later, p.findings(t))
	for name, f := range before {
		if after[name] == nil {
			t.Errorf("%s of %s is gone", f.GetTitle(), f.GetAssetValue())
		}
	}
	for _, r := range lab.Reports(network) {
		p.Import(t, r)
	}
	compareReported(t, "the first ones again", later, p.findings(t))
	listed, err := os.ReadFile("../lab/testdata/checks.txt")
	if err != nil {
		t.Fatal(err)
	}
	if d := Difference(p.shipped(t, ""), strings.Fields(string(listed))); d != "" {
		t.Errorf("lab/testdata/checks.txt is not the catalogue (- not in the file, + not in the catalogue):\n%s", d)
	}
	for _, check := range []string{"critical", "high", "medium", "low", "severe", "vulnerability"} {
		if !slices.ContainsFunc(first, func(f lab.Finding) bool { return f.Check == "reported-"+check }) {
			t.Errorf("reported-%s is in no truth", check)
		}
	}
}

// compareReported compares open findings with a truth, titles too, and returns all findings by name.
func compareReported(t *testing.T, when string, truth lab.Truth, findings []*correlatorv1.Finding) map[string]*correlatorv1.Finding {
	t.Helper()
	byName := map[string]*correlatorv1.Finding{}
	var got, want []string
	for _, f := range findings {
		byName[f.GetName()] = f
		if f.GetState() == correlatorv1.Finding_STATE_OPEN {
			got = append(got, line(f.GetCheck(), f.GetAssetValue(), f.GetLocation())+"  "+f.GetTitle())
		}
	}
	for _, f := range truth {
		want = append(want, line(f.Check, f.Asset, f.Location)+"  "+f.Note)
	}
	slices.Sort(got)
	slices.Sort(want)
	if d := Difference(want, got); d != "" {
		t.Errorf("%s: the findings differ from the truth (- missing, + not in the truth):\n%s", when, d)
	}
	return byName
}

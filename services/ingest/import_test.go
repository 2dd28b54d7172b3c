package ingest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/assetid"
	"github.com/riskprofiler/riskprofiler/platform/blob"
	"github.com/riskprofiler/riskprofiler/platform/blob/fileblob"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/queue"
	"github.com/riskprofiler/riskprofiler/platform/queue/sqlitequeue"
	"github.com/riskprofiler/riskprofiler/platform/table"
	"github.com/riskprofiler/riskprofiler/platform/table/sqlitetable"
)

// importer is a service that imports, whose slices the test hands over itself: twice, late, or with a crash before.
type importer struct {
	*Service

	t       *testing.T
	ctx     context.Context
	changes *queue.Queue
	bucket  blob.Bucket
}

func newImporter(t *testing.T) *importer { return newImporterIn(t, t.TempDir()) }

func newImporterIn(t *testing.T, dir string) *importer {
	ctx := as(t.Context(), "acme")
	tables, err := sqlitetable.Open(ctx, sqlitetable.Options{Path: filepath.Join(dir, "tables.db")})
	if err != nil {
		t.Fatal(err)
	}
	queues, err := sqlitequeue.Open(ctx, sqlitequeue.Options{Path: filepath.Join(dir, "queues.db")})
	if err != nil {
		t.Fatal(err)
	}
	bucket, err := fileblob.Open(ctx, fileblob.Options{Dir: filepath.Join(dir, "blobs")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(tables.Close(), queues.Close(), bucket.Close()); err != nil {
			t.Error(err)
		}
	})
	changes := queue.New(queues.Queue("changes"), queue.Options{Name: "changes"})
	s, err := New(Deps{
		Table: table.New(tables.Table("ingest"), table.Options{Name: "ingest"}), Changes: changes, Logger: slog.New(slog.DiscardHandler),
		Imports: queue.New(queues.Queue("imports"), queue.Options{Name: "imports"}), Reports: bucket, Self: as,
	})
	if err != nil {
		t.Fatal(err)
	}
	return &importer{s, t, ctx, changes, bucket}
}

func (w *importer) seed(values ...string) {
	for _, v := range values {
		if _, err := w.CreateAsset(w.ctx, &ingestv1.CreateAssetRequest{Asset: &modelv1.Asset{Value: v}}); err != nil {
			w.t.Fatal(err)
		}
	}
}

// begin uploads a report in parts of some bytes, out of order, and starts it.
func (w *importer) begin(i *ingestv1.Import, report []byte, size int) *ingestv1.Import {
	w.t.Helper()
	created, err := w.CreateImport(w.ctx, &ingestv1.CreateImportRequest{Import: i})
	if err != nil {
		w.t.Fatal(err)
	}
	parts := 0
	for at := 0; at < len(report); at += size {
		parts++
	}
	for n := parts - 1; n >= 0; n-- {
		content := report[n*size : min((n+1)*size, len(report))]
		for range 2 { // an upload that is repeated changes nothing
			if _, err := w.UploadImportPart(w.ctx, &ingestv1.UploadImportPartRequest{Name: created.GetName(), Part: uint32(n), Content: content}); err != nil {
				w.t.Fatal(err)
			}
		}
	}
	started, err := w.StartImport(w.ctx, &ingestv1.StartImportRequest{Name: created.GetName(), Parts: uint32(parts)})
	if err != nil {
		w.t.Fatal(err)
	}
	return started
}

// finish hands slices over, each twice, until the import has ended.
func (w *importer) finish(i *ingestv1.Import) *ingestv1.Import {
	w.t.Helper()
	for range 1000 {
		body, err := proto.Marshal(&ingestv1.ImportSlice{Tenant: "acme", Import: i.GetName(), From: i.GetHandled()})
		if err != nil {
			w.t.Fatal(err)
		}
		for range 2 {
			if err := w.handleImport(w.t.Context(), queue.Message{Body: body}); err != nil {
				w.t.Fatal(err)
			}
		}
		if i, err = w.GetImport(w.ctx, &ingestv1.GetImportRequest{Name: i.GetName()}); err != nil {
			w.t.Fatal(err)
		}
		if i.GetState() != ingestv1.Import_STATE_RUNNING {
			return i
		}
	}
	w.t.Fatal("the import does not end")
	return nil
}

func (w *importer) facts(value string) map[string]*modelv1.Observation {
	w.t.Helper()
	kind := modelv1.AssetKind_ASSET_KIND_HOST
	if strings.Count(value, ".") == 3 {
		kind = modelv1.AssetKind_ASSET_KIND_IP
	}
	res, err := w.GetAssetState(w.ctx, &ingestv1.GetAssetStateRequest{Name: assetid.Name(int32(kind), value)})
	if err != nil {
		w.t.Fatal(err)
	}
	out := map[string]*modelv1.Observation{}
	for _, set := range res.GetSets() {
		if set.GetScanType() != modelv1.ScanType_SCAN_TYPE_IMPORT {
			w.t.Errorf("facts of a report are stored as %s", set.GetScanType())
		}
		for _, o := range set.GetObservations() {
			out[o.GetLocation()+" "+o.GetKey()] = o
		}
	}
	return out
}

func (w *importer) problems(name string) []string {
	w.t.Helper()
	var out []string
	for token := ""; ; {
		res, err := w.ListImportProblems(w.ctx, &ingestv1.ListImportProblemsRequest{Import: name, PageSize: 3, PageToken: token})
		if err != nil {
			w.t.Fatal(err)
		}
		for _, p := range res.GetProblems() {
			out = append(out, fmt.Sprintf("%d: %s", p.GetLine(), p.GetProblem()))
		}
		if token = res.GetNextPageToken(); token == "" {
			return out
		}
	}
}

func fixture(t *testing.T, name string) []byte {
	raw, err := os.ReadFile(filepath.Join("imports", "testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestImportNmap(t *testing.T) {
	w := newImporter(t)
	w.seed("example.com", "192.0.2.0/28")
	i := w.finish(w.begin(&ingestv1.Import{File: "scan.xml"}, fixture(t, "nmap.xml"), 100))
	if i.GetState() != ingestv1.Import_STATE_DONE || i.GetFormat() != "nmap" || i.GetProblems() != 0 || i.GetFacts() != 6 {
		t.Errorf("import %v: %v", i, w.problems(i.GetName()))
	}
	facts := w.facts("192.0.2.10")
	ssh := facts["192.0.2.10:22/tcp service"]
	if ssh.GetService().GetProduct() != "OpenSSH" || ssh.GetLastSeen().AsTime().Format("2006-01-02T15:04:05") != "2026-01-01T00:01:00" {
		t.Errorf("ssh is %v among %v", ssh, facts)
	}
	if facts["192.0.2.10:161/udp service"] == nil || len(facts[" ports/tcp"].GetPorts().GetOpen()) != 3 {
		t.Errorf("facts %v", facts)
	}
	a, err := w.GetAsset(w.ctx, &ingestv1.GetAssetRequest{Name: assetid.Name(int32(modelv1.AssetKind_ASSET_KIND_IP), "192.0.2.10")})
	if err != nil || len(a.GetPath()) != 1 || a.GetPath()[0].GetFrom() != "192.0.2.0/28" {
		t.Errorf("asset %v, %v", a, err)
	}
	if objects, _, err := w.bucket.List(t.Context(), "", "", 0); err != nil || len(objects) != 0 {
		t.Errorf("%d parts are left, %v", len(objects), err)
	}
	if d, err := w.changes.Depth(t.Context()); err != nil || d.Visible == 0 {
		t.Errorf("nobody is told: %+v, %v", d, err)
	}
}

// What is not the tenant's is not taken, unless it is to be added; each refusal is told by line.
func TestImportOwners(t *testing.T) {
	w := newImporter(t)
	i := w.finish(w.begin(&ingestv1.Import{}, fixture(t, "nuclei.jsonl"), 1<<20))
	if i.GetFacts() != 0 || i.GetProblems() != 5 || i.GetAssetsAdded() != 0 {
		t.Errorf("import %v", i)
	}
	problems := w.problems(i.GetName())
	if len(problems) != 5 || !strings.HasPrefix(problems[0], "1: www.example.com is none of your assets") {
		t.Errorf("problems %q", problems)
	}
	i = w.finish(w.begin(&ingestv1.Import{AddAssets: true}, fixture(t, "nuclei.jsonl"), 1<<20))
	if i.GetFacts() != 3 || i.GetProblems() != 2 || i.GetAssetsAdded() == 0 {
		t.Errorf("import %v: %q", i, w.problems(i.GetName()))
	}
	decision, err := w.CheckScope(w.ctx, &ingestv1.CheckScopeRequest{Targets: []*modelv1.Target{{Kind: modelv1.AssetKind_ASSET_KIND_HOST, Value: "www.example.com", Host: "www.example.com"}}})
	if err != nil || decision.GetDecisions()[0].GetAllowed() {
		t.Errorf("an imported name may be scanned: %v, %v", decision, err)
	}
}

// Findings in an image belong to the asset that was named for the import, and to none otherwise.
func TestImportForAsset(t *testing.T) {
	w := newImporter(t)
	w.seed("www.example.com")
	i := w.finish(w.begin(&ingestv1.Import{}, fixture(t, "trivy.json"), 1<<20))
	if i.GetFacts() != 0 || i.GetProblems() != 4 {
		t.Errorf("import %v: %q", i, w.problems(i.GetName()))
	}
	asset := assetid.Name(int32(modelv1.AssetKind_ASSET_KIND_HOST), "www.example.com")
	i = w.finish(w.begin(&ingestv1.Import{Asset: asset}, fixture(t, "trivy.json"), 1<<20))
	if i.GetFacts() != 3 || i.GetProblems() != 1 {
		t.Errorf("import %v: %q", i, w.problems(i.GetName()))
	}
	if facts := w.facts("www.example.com"); len(facts) != 3 {
		t.Errorf("facts %v", facts)
	}
	if _, err := w.CreateImport(w.ctx, &ingestv1.CreateImportRequest{Import: &ingestv1.Import{Asset: "assets/h-nobody"}}); !errors.Is(err, fault.NotFound) {
		t.Errorf("an asset of nobody is taken: %v", err)
	}
}

// A test that found nothing closes what the tool had reported, and is no fact by itself.
func TestImportCloses(t *testing.T) {
	w := newImporter(t)
	w.seed("www.example.com")
	report := func(severity string) []byte {
		return []byte(`[{"id":"SSLv3","ip":"www.example.com/192.0.2.10","port":"443","severity":"` + severity + `","finding":"x"}]`)
	}
	if i := w.finish(w.begin(&ingestv1.Import{}, report("OK"), 1<<20)); i.GetFacts() != 0 || len(w.facts("www.example.com")) != 0 {
		t.Errorf("import %v", i)
	}
	for _, step := range []struct {
		severity string
		closed   bool
	}{{"HIGH", false}, {"OK", true}, {"HIGH", false}} {
		if i := w.finish(w.begin(&ingestv1.Import{}, report(step.severity), 1<<20)); i.GetFacts() != 1 {
			t.Errorf("import %v", i)
		}
		facts := w.facts("www.example.com")
		for _, o := range facts {
			if o.GetReported().GetClosed() != step.closed {
				t.Errorf("after %s: %v", step.severity, o)
			}
		}
		if len(facts) != 1 {
			t.Errorf("%d facts", len(facts))
		}
	}
}

func TestImportAssets(t *testing.T) {
	w := newImporter(t)
	w.seed("api.example.com")
	i := w.finish(w.begin(&ingestv1.Import{}, fixture(t, "assets.csv"), 1<<20))
	if i.GetState() != ingestv1.Import_STATE_DONE || i.GetAssetsAdded() != 2 || i.GetProblems() != 3 {
		t.Errorf("import %v: %q", i, w.problems(i.GetName()))
	}
	a, err := w.GetAsset(w.ctx, &ingestv1.GetAssetRequest{Name: assetid.Name(int32(modelv1.AssetKind_ASSET_KIND_HOST), "www.example.com")})
	if err != nil || !a.GetSeed() || a.GetCriticality() != 5 || a.GetLabels()["owner"] != "Ann" {
		t.Errorf("asset %v, %v", a, err)
	}
	i = w.finish(w.begin(&ingestv1.Import{}, []byte("asset,criticality\napi.example.com,4\nwww.example.com,1\n"), 1<<20))
	if i.GetAssetsAdded() != 0 || i.GetProblems() != 0 {
		t.Errorf("import %v: %q", i, w.problems(i.GetName()))
	}
	a, err = w.GetAsset(w.ctx, &ingestv1.GetAssetRequest{Name: a.GetName()})
	if err != nil || a.GetCriticality() != 1 || a.GetLabels()["owner"] != "Ann" {
		t.Errorf("asset %v, %v", a, err)
	}
}

// A report of many slices ends in what one of a single slice ends in, though each slice comes twice; one that breaks in the middle
// keeps what came before, and says so.
func TestImportSlices(t *testing.T) {
	w := newImporter(t)
	w.seed("example.com")
	const hosts = 2*sliceEvents + 17
	var report bytes.Buffer
	for n := range hosts {
		fmt.Fprintf(&report, `{"template-id":"t%d","info":{"name":"n","severity":"low"},"matched-at":"https://h%d.example.com/","timestamp":"2026-01-02T03:04:05Z"}`+"\n", n%3, n%40)
		if n%1000 == 999 {
			report.WriteString("nonsense\n")
		}
	}
	i := w.finish(w.begin(&ingestv1.Import{File: "many.jsonl"}, report.Bytes(), 1<<20))
	if i.GetState() != ingestv1.Import_STATE_DONE || i.GetFacts() != hosts || i.GetProblems() != hosts/1000 || i.GetHandled() != hosts+hosts/1000 {
		t.Errorf("import %v", i)
	}
	if problems := w.problems(i.GetName()); len(problems) != hosts/1000 || !strings.HasPrefix(problems[1], "2002: ") {
		t.Errorf("problems %q", problems)
	}
	if facts := w.facts("h1.example.com"); len(facts) != 3 {
		t.Errorf("%d facts: %v", len(facts), facts)
	}
	broken := append([]byte("["), bytes.ReplaceAll(report.Bytes()[:900], []byte("}\n"), []byte("},\n"))...)
	i = w.finish(w.begin(&ingestv1.Import{}, broken, 1<<20))
	if i.GetState() != ingestv1.Import_STATE_FAILED || i.GetFacts() == 0 || !strings.Contains(i.GetError(), "near line") {
		t.Errorf("import %v", i)
	}
}

func TestImportBadInput(t *testing.T) {
	w := newImporter(t)
	if _, err := w.CreateImport(w.ctx, &ingestv1.CreateImportRequest{Import: &ingestv1.Import{Format: "nessus"}}); !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "nmap") {
		t.Errorf("format: %v", err)
	}
	i := w.finish(w.begin(&ingestv1.Import{}, []byte("{}"), 1<<20))
	if i.GetState() != ingestv1.Import_STATE_FAILED || !strings.Contains(i.GetError(), "--format") {
		t.Errorf("unknown: %v", i)
	}
	if _, err := w.UploadImportPart(w.ctx, &ingestv1.UploadImportPartRequest{Name: i.GetName(), Content: []byte("x")}); !errors.Is(err, fault.FailedPrecondition) {
		t.Errorf("part after the start: %v", err)
	}
	created, err := w.CreateImport(w.ctx, &ingestv1.CreateImportRequest{Import: &ingestv1.Import{}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.StartImport(w.ctx, &ingestv1.StartImportRequest{Name: created.GetName(), Parts: 2}); !errors.Is(err, fault.FailedPrecondition) || !strings.Contains(err.Error(), "part 0 of 2 is missing") {
		t.Errorf("start without parts: %v", err)
	}
	for _, content := range []string{"a", "b"} {
		_, err = w.UploadImportPart(w.ctx, &ingestv1.UploadImportPartRequest{Name: created.GetName(), Part: 0, Content: []byte(content)})
	}
	if !errors.Is(err, fault.AlreadyExists) {
		t.Errorf("another part in the place of one: %v", err)
	}
}

// A fact has the time at which the tool saw it, not that of the import; a time in the future is that of the import. So an older report
// that is imported later changes nothing that a newer one said.
func TestImportTimes(t *testing.T) {
	w := newImporter(t)
	w.seed("www.example.com")
	report := func(severity, when string) []byte {
		return []byte(`{"template-id":"x","info":{"name":"` + severity + `","severity":"` + severity + `"},"type":"http","matched-at":"https://www.example.com/","timestamp":"` + when + `"}`)
	}
	only := func() *modelv1.Observation {
		t.Helper()
		for _, o := range w.facts("www.example.com") {
			return o
		}
		t.Fatal("no fact")
		return nil
	}
	w.finish(w.begin(&ingestv1.Import{}, report("high", "2026-01-05T00:00:00Z"), 1<<20))
	w.finish(w.begin(&ingestv1.Import{}, report("low", "2026-01-02T00:00:00Z"), 1<<20))
	o := only()
	if o.GetReported().GetTitle() != "high" || o.GetFirstSeen().AsTime().Format(time.DateOnly) != "2026-01-02" || o.GetLastSeen().AsTime().Format(time.DateOnly) != "2026-01-05" {
		t.Errorf("after an older report: %v", o)
	}
	a, err := w.GetAsset(w.ctx, &ingestv1.GetAssetRequest{Name: assetid.Name(int32(modelv1.AssetKind_ASSET_KIND_HOST), "www.example.com")})
	if err != nil || a.GetFirstSeen().AsTime().Format(time.DateOnly) != "2026-01-02" {
		t.Errorf("asset %v, %v", a, err)
	}
	i := w.finish(w.begin(&ingestv1.Import{}, report("medium", "2099-01-01T00:00:00Z"), 1<<20))
	if o := only(); o.GetReported().GetTitle() != "medium" || !o.GetLastSeen().AsTime().Equal(i.GetCreateTime().AsTime()) {
		t.Errorf("after one of the future: %v", o)
	}
}

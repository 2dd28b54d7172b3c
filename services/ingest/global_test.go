package ingest

import (
	"testing"
	"testing/synctest"
	"time"

	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

// A scope that is a few seconds old permits and never refuses; what this process changes counts at once, what another changes after
// scopeAge.
func TestScopeIsRecent(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		one := newImporterIn(t, dir)
		other := &importer{Service: &Service{table: one.table, log: one.log, doNotScan: one.doNotScan}, t: t, ctx: one.ctx}
		allowed := func(w *importer) bool {
			res, err := w.CheckScope(w.ctx, &ingestv1.CheckScopeRequest{Targets: []*modelv1.Target{{Kind: modelv1.AssetKind_ASSET_KIND_HOST, Value: "www.example.com", Host: "www.example.com"}}})
			if err != nil {
				t.Fatal(err)
			}
			return res.GetDecisions()[0].GetAllowed()
		}
		if allowed(one) || allowed(other) {
			t.Fatal("allowed from the beginning")
		}
		a, err := one.CreateAsset(one.ctx, &ingestv1.CreateAssetRequest{Asset: &modelv1.Asset{Value: "example.com"}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := one.AttestAsset(one.ctx, &ingestv1.AttestAssetRequest{Name: a.GetName(), Reason: "ours"}); err != nil {
			t.Fatal(err)
		}
		if !allowed(one) || !allowed(other) {
			t.Error("a refusal is by what is old")
		}
		if _, err := one.CreateExclusion(one.ctx, &ingestv1.CreateExclusionRequest{Exclusion: &ingestv1.Exclusion{Value: "www.example.com"}}); err != nil {
			t.Fatal(err)
		}
		if allowed(one) {
			t.Error("excluded, and allowed where it was excluded")
		}
		time.Sleep(scopeAge)
		if allowed(other) {
			t.Error("excluded, and allowed elsewhere")
		}
	})
}

// What this process forbids counts at once, what another process forbade after globalAge at the latest.
func TestGlobalIsFresh(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		one := newImporterIn(t, dir)
		other := &importer{Service: &Service{table: one.table, log: one.log, doNotScan: one.doNotScan}, t: t, ctx: one.ctx}
		one.seed("example.com")
		target := &modelv1.Target{Kind: modelv1.AssetKind_ASSET_KIND_HOST, Value: "www.example.com", Host: "www.example.com"}
		forbidden := func(w *importer) bool {
			sc, err := w.loadScope(w.ctx, "acme")
			if err != nil {
				t.Fatal(err)
			}
			return len(sc.banned.over(target.GetValue())) > 0
		}
		if forbidden(one) || forbidden(other) {
			t.Fatal("forbidden from the beginning")
		}
		if _, err := one.CreateDoNotScanEntry(one.ctx, &ingestv1.CreateDoNotScanEntryRequest{Entry: &ingestv1.DoNotScanEntry{Value: "example.com", Reason: "r"}}); err != nil {
			t.Fatal(err)
		}
		if !forbidden(one) {
			t.Error("not forbidden where it was forbidden")
		}
		time.Sleep(globalAge)
		if !forbidden(other) {
			t.Error("not forbidden elsewhere")
		}
	})
}

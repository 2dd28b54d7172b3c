package intel

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/snapshot"
	"github.com/riskprofiler/riskprofiler/services/ingest/feeds"
)

// manyIDs are n CVE ids spread over the years as the real ones are: more in each year than in the one before.
func manyIDs(n int) []string {
	var ids []string
	for year := 1999; year <= 2026; year++ {
		share := n * (year - 1998) * 2 / (28 * 29)
		for i := range share {
			ids = append(ids, fmt.Sprintf("CVE-%d-%04d", year, 1000+i))
		}
	}
	return ids
}

// realistic makes the record of a feed with the sizes that real ones have.
func realistic(random *rand.Rand, feed, id string) *ingestv1.IntelRecord {
	words := strings.Fields("improper handling of length in the parser allows remote attackers to execute arbitrary code via crafted request server before cross site scripting overflow")
	text := func(n int) string {
		out := make([]string, n)
		for i := range out {
			out[i] = words[random.IntN(len(words))]
		}
		return strings.Join(out, " ")
	}
	day := timestamppb.New(time.Date(2020, 1, 1, 0, 0, random.IntN(1e8), 0, time.UTC))
	r := &ingestv1.IntelRecord{
		Id: id, Feed: feed, Advisory: id, Modified: day, Published: day, Parser: 1, Title: text(14), Cwe: []string{fmt.Sprint("CWE-", random.IntN(900))},
		Cvss: []*modelv1.Cvss{{Version: "3.1", Score: 7.5, Vector: "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N", Source: map[string]string{"cve": "cna", "nvd": "nvd", "osv": "osv"}[feed]}},
		Ssvc: &modelv1.Ssvc{Exploitation: "none", Automatable: "no", TechnicalImpact: "partial", Date: day},
	}
	for range 3 {
		r.References = append(r.References, &ingestv1.IntelReference{Url: fmt.Sprintf("https://example.com/%s/%x", words[random.IntN(len(words))], random.Uint64()), Rank: 2})
	}
	vendor := random.IntN(8000)
	for i := range 1 + random.IntN(4) {
		product := fmt.Sprintf("vendor_%d:product_%d", vendor, random.IntN(5))
		if feed == "osv" {
			product = fmt.Sprintf("Debian:%d/package-%d", 11+i, vendor)
		}
		r.Affected = append(r.Affected, &ingestv1.IntelAffected{Product: product, Range: &modelv1.Affected{
			Scheme: "generic", Introduced: fmt.Sprintf("%d.0", random.IntN(9)), Fixed: fmt.Sprintf("%d.%d.%d", random.IntN(9), random.IntN(30), random.IntN(30)), Part: "a",
			Sources: []string{r.GetCvss()[0].GetSource()},
		}})
	}
	return r
}

// peak samples memory until it is stopped.
func peak() (stop func() (heap uint64)) {
	var most atomic.Uint64
	done := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			if in := m.Sys - m.HeapReleased; in > most.Load() {
				most.Store(in)
			}
			select {
			case <-done:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	return func() uint64 {
		close(done)
		<-ended
		return most.Load()
	}
}

// fill imports n CVE records, NVD's for two thirds, Debian's for a quarter, and scores for all.
func fill(t testing.TB, p *platform, n int) {
	ctx := context.Background()
	random := rand.New(rand.NewPCG(1, 1))
	ids := manyIDs(n)
	rows := map[string][]byte{}
	for _, feed := range []string{"cve", "nvd", "osv"} {
		b := &Batch{}
		for i, id := range ids {
			if feed == "nvd" && i%3 == 0 || feed == "osv" && i%4 != 0 {
				continue
			}
			if err := b.take(realistic(random, feed, id)); err != nil {
				t.Fatal(err)
			}
			if feed == "cve" {
				rows[id] = epssRow(&modelv1.Epss{Probability: random.Float64(), Percentile: random.Float64()})
			}
			if b.Full() {
				store(ctx, t, p, feed, b)
				b = &Batch{}
			}
		}
		store(ctx, t, p, feed, b)
	}
	c, err := NewEPSS(&feeds.EPSS{Model: "v5", Date: timestamppb.New(p.clock.now())}, rows)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Store.Import(ctx, &ingestv1.ImportIntelRequest{Feed: "epss", Catalogue: c.File}); err != nil {
		t.Fatal(err)
	}
}

func store(ctx context.Context, t testing.TB, p *platform, feed string, b *Batch) {
	state, err := p.Store.feed(ctx, feed)
	if err == nil {
		err = p.Store.Take(ctx, state, b, Progress{Cursor: "x"})
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (p *platform) compileAll(t testing.TB) *modelv1.IntelManifest {
	for {
		res, err := p.Step(context.Background(), &ingestv1.SyncIntelRequest{CompileOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		if res.GetDone() {
			return res.GetPublished()
		}
	}
}

// TestMemory: compiling does not hold more than one partition's files and one advisory's records. What it takes does not grow with
// the number of partitions.
func TestMemory(t *testing.T) {
	cves := 12_000
	if testing.Short() {
		cves = 2_000 // the race detector, which asks for the short run, has memory of its own; the other run measures
	}
	p := open(t, setup{dir: t.TempDir()})
	fill(t, p, cves)
	runtime.GC()
	stop := peak()
	p.compileAll(t)
	if got := stop(); got > 200<<20 {
		t.Errorf("compiling %d CVEs took %d MiB", cves, got>>20)
	}
}

// BenchmarkCompile compiles 300,000 CVEs with the records of three feeds, opens the snapshot and reads from it.
func BenchmarkCompile(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		p := open(b, setup{dir: b.TempDir()})
		fill(b, p, 300_000)
		runtime.GC()
		stop := peak()
		b.StartTimer()
		m := p.compileAll(b)
		b.StopTimer()
		b.ReportMetric(float64(stop()>>20), "MiB-peak")
		b.ReportMetric(float64(m.GetBytes()>>20), "MiB-snapshot")
		b.ReportMetric(float64(m.GetAdvisories()), "advisories")
		measureOpen(b, p, m)
		b.StartTimer()
	}
}

// measureOpen opens a snapshot whose parts are on disk, and beside it the floor: mapping the same files and touching one page.
func measureOpen(b *testing.B, p *platform, m *modelv1.IntelManifest) {
	dir := filepath.Join(b.TempDir(), "cache")
	r, err := snapshot.Load(context.Background(), p.bucket, m.GetBlob(), dir)
	if err != nil {
		b.Fatal(err)
	}
	_ = r.Close()
	begin := time.Now()
	r, err = snapshot.Load(context.Background(), p.bucket, m.GetBlob(), dir)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := r.Get(sectionAdvisory, "CVE-2026-1000"); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(time.Since(begin).Microseconds())/1000, "ms-open+get")
	_ = r.Close()
	begin = time.Now()
	files, err := filepath.Glob(filepath.Join(dir, "*.part"))
	if err != nil {
		b.Fatal(err)
	}
	for _, f := range files {
		h, err := os.Open(f)
		if err != nil {
			b.Fatal(err)
		}
		var page [4096]byte
		_, _ = h.ReadAt(page[:], 0) // a short file is read too
		_ = h.Close()               // it was only read
	}
	b.ReportMetric(float64(time.Since(begin).Microseconds())/1000, "ms-floor")
	b.ReportMetric(float64(len(files)), "files")
}

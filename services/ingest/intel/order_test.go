package intel

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/services/ingest/feeds"
)

// someIDs lie in several partitions.
var someIDs = []string{"CVE-2011-3192", "CVE-2026-1000", "CVE-2026-1001", "CVE-2026-20001", "CVE-1999-0001"}

// publication is one thing that a feed says: records, or a catalogue.
type publication struct {
	records   []*ingestv1.IntelRecord
	catalogue *Catalogue
}

// drawPublication makes one of any feed; n makes the dates of catalogues different.
// A version of an OSV record, told by its id and its date, says the same each time: versions remembers it.
func drawPublication(t *rapid.T, n int, versions map[string]publication) publication {
	when := timestamppb.New(time.Date(2026, 1, 1+rapid.IntRange(0, 3).Draw(t, "day"), 0, 0, 0, 0, time.UTC))
	id := rapid.SampledFrom(someIDs).Draw(t, "id")
	affected := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) *ingestv1.IntelAffected {
		return &ingestv1.IntelAffected{
			Product: rapid.SampledFrom([]string{"a:b", "a:c", "Debian:12/x"}).Draw(t, "product"),
			Range: &modelv1.Affected{
				Scheme: "generic", Fixed: rapid.SampledFrom([]string{"1", "2"}).Draw(t, "fixed"), Sources: []string{rapid.SampledFrom([]string{"cna", "adp", "nvd"}).Draw(t, "source")},
			},
		}
	}), 0, 3).Draw(t, "affected")
	title := rapid.SampledFrom([]string{"", "one", "two"}).Draw(t, "title")
	switch kind := rapid.SampledFrom([]string{"cve", "nvd", "osv", "kev", "epss"}).Draw(t, "feed"); kind {
	case "cve", "nvd":
		return publication{records: []*ingestv1.IntelRecord{{
			Id: id, Feed: kind, Advisory: id, Modified: when, Parser: 1, Title: title, Affected: affected, Withdrawn: rapid.Bool().Draw(t, "withdrawn"),
		}}}
	case "osv":
		own := rapid.SampledFrom([]string{"OSV-2026-1", "GHSA-2345-6789-cfgh"}).Draw(t, "own id")
		links := rapid.SliceOfNDistinct(rapid.SampledFrom(append(someIDs, own)), 1, 3, rapid.ID[string]).Draw(t, "links")
		out := publication{records: []*ingestv1.IntelRecord{{Id: own, Feed: feeds.FeedLinks, Advisory: own, Modified: when, Parser: 1, Links: links}}}
		for _, link := range links {
			out.records = append(out.records, &ingestv1.IntelRecord{
				Id: own, Feed: "osv", Advisory: link, Modified: when, Parser: 1, Title: title, Affected: affected, Aliases: []string{own},
			})
		}
		version := own + when.String()
		if _, ok := versions[version]; !ok {
			versions[version] = out
		}
		return versions[version]
	case "kev":
		k := &feeds.KEV{Version: fmt.Sprint(n), Released: timestamppb.New(time.Date(2026, 2, 1, 0, n, 0, 0, time.UTC)), Entries: map[string]*modelv1.Kev{id: {DateAdded: when, Name: title}}}
		c, err := NewKEV(k)
		if err != nil {
			t.Fatal(err)
		}
		return publication{catalogue: c}
	}
	head := &feeds.EPSS{Model: fmt.Sprint("v", n), Date: timestamppb.New(time.Date(2026, 2, 1, 0, n, 0, 0, time.UTC))}
	c, err := NewEPSS(head, map[string][]byte{id: epssRow(&modelv1.Epss{Probability: rapid.Float64Range(0, 1).Draw(t, "p"), Percentile: 0.5})})
	if err != nil {
		t.Fatal(err)
	}
	return publication{catalogue: c}
}

// take hands a publication in as ImportIntel does. An older catalogue than the one that is there is left out.
func (p *platform) take(t *rapid.T, pub publication) {
	req := &ingestv1.ImportIntelRequest{Feed: "osv/x", Records: pub.records, Last: true}
	if pub.catalogue != nil {
		req = &ingestv1.ImportIntelRequest{Feed: pub.catalogue.Feed, Catalogue: pub.catalogue.File, Last: true}
	}
	if err := p.Store.Import(t.Context(), req); err != nil && (pub.catalogue == nil || fault.CodeOf(err) != fault.Invalid) {
		t.Fatal(err)
	}
}

// TestOrderDoesNotMatter: whatever the order of feeds, however often they are read, in one piece or in many with snapshots between,
// and however many say it at once: the last snapshot is the same.
func TestOrderDoesNotMatter(t *testing.T) {
	if flag.Lookup("rapid.checks").Value.String() == "100" {
		// Each run is some twenty writes to disk.
		if err := flag.Set("rapid.checks", "25"); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = flag.Set("rapid.checks", "100") }() // as it was
	}
	dir, n := t.TempDir(), 0
	rapid.Check(t, func(rt *rapid.T) {
		var all []publication
		versions := map[string]publication{}
		for i := range rapid.IntRange(1, 8).Draw(rt, "publications") {
			all = append(all, drawPublication(rt, i, versions))
		}
		n++
		whole := open(t, setup{dir: mkdir(t, dir, fmt.Sprint(n, "a"))})
		for _, pub := range all {
			whole.take(rt, pub)
		}
		whole.compiled(rt)
		pieces := open(t, setup{dir: mkdir(t, dir, fmt.Sprint(n, "b"))})
		for _, i := range rapid.Permutation(indexes(len(all))).Draw(rt, "order") {
			for range rapid.IntRange(1, 2).Draw(rt, "times") {
				pieces.take(rt, all[i])
			}
			if rapid.Bool().Draw(rt, "compile") {
				pieces.compiled(rt)
			}
		}
		pieces.compiled(rt)
		if got, want := pieces.dump(t), whole.dump(t); got != want {
			rt.Fatalf("in pieces:\n%s\nin order:\n%s", got, want)
		}
	})
}

func indexes(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

func mkdir(t *testing.T, parts ...string) string {
	path := filepath.Join(parts...)
	if err := os.MkdirAll(path, 0o750); err != nil {
		t.Fatal(err)
	}
	return path
}

func (p *platform) compiled(t *rapid.T) {
	for {
		res, err := p.Step(t.Context(), &ingestv1.SyncIntelRequest{CompileOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		if res.GetDone() {
			return
		}
	}
}

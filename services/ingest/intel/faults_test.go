package intel

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	"github.com/riskprofiler/riskprofiler/platform/blob"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/snapshot"
	"github.com/riskprofiler/riskprofiler/platform/table"
)

// errKilled is what a store answers once the process is 'dead'.
var errKilled = errors.New("killed")

// mortal counts writes to the stores and dies at one of them: before it, or after it with the answer lost.
type mortal struct {
	writes, at int64
	after      bool
	dead       atomic.Bool
}

// strike tells whether the write happens, and whether its answer arrives.
func (m *mortal) strike() (happens, answers bool) {
	if m.dead.Load() {
		return false, false
	}
	if atomic.AddInt64(&m.writes, 1) != m.at {
		return true, true
	}
	m.dead.Store(true)
	return m.after, false
}

type mortalBucket struct {
	blob.Bucket

	m *mortal
}

func (b mortalBucket) Put(ctx context.Context, key string, data []byte) error {
	happens, answers := b.m.strike()
	if happens {
		if err := b.Bucket.Put(ctx, key, data); err != nil {
			return err
		}
	}
	if !answers {
		return errKilled
	}
	return nil
}

func (b mortalBucket) Get(ctx context.Context, key string) ([]byte, error) {
	if b.m.dead.Load() {
		return nil, errKilled
	}
	return b.Bucket.Get(ctx, key)
}

type mortalTable struct {
	table.Driver

	m *mortal
}

func (d mortalTable) Write(ctx context.Context, writes []table.Write) error {
	happens, answers := d.m.strike()
	if happens {
		if err := d.Driver.Write(ctx, writes); err != nil {
			return err
		}
	}
	if !answers {
		return errKilled
	}
	return nil
}

// TestKilledAtEveryWrite: the process dies at each write to the stores, before or after it. The next process ends with the same
// snapshot as one that never died, every version was announced, and all blobs that rows name are there and whole.
func TestKilledAtEveryWrite(t *testing.T) {
	pub := newPublisher(t)
	publishAll(t, pub)
	names := []string{"kev", "epss", "cve", "osv"} // NVD's 25 yearly files are as many steps like the others
	reference := open(t, setup{dir: t.TempDir(), publisher: pub, feeds: names})
	reference.must(t)
	want := reference.dump(t)
	deaths := 0
	for at := int64(1); ; at++ {
		m := &mortal{at: at, after: at%2 == 0}
		dir := t.TempDir()
		first := open(t, setup{dir: dir, publisher: pub, feeds: names, bucket: func(b blob.Bucket) blob.Bucket { return mortalBucket{b, m} },
			table: func(d table.Driver) table.Driver { return mortalTable{d, m} }})
		_, _, err := first.sync(t.Context())
		if !m.dead.Load() {
			if err != nil {
				t.Fatal(err)
			}
			break
		}
		deaths++
		_ = first.Store.Close()
		second := open(t, setup{dir: dir, publisher: pub, feeds: names})
		second.must(t)
		if got := second.dump(t); got != want {
			t.Fatalf("killed at write %d: the snapshot is\n%s\nwant\n%s", at, got, want)
		}
		whole(t, second)
	}
	if deaths < 25 {
		t.Errorf("the process died only at %d writes", deaths)
	}
	t.Logf("killed at %d writes", deaths)
}

// whole checks that all that rows name is there, that every release is announced, and that the snapshot can be read to its end.
func whole(t *testing.T, p *platform) {
	t.Helper()
	w, err := p.Store.world(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for key := range w.named() {
		if key == "" {
			continue
		}
		if _, err := p.bucket.Get(t.Context(), key); err != nil {
			t.Fatalf("a row names what is not there: %v", err)
		}
	}
	for _, r := range w.releases {
		if !r.value.GetAnnounced() {
			t.Fatalf("snapshot %s was not announced", r.value.GetManifest().GetVersion())
		}
		s, err := snapshot.Load(t.Context(), p.bucket, r.value.GetManifest().GetBlob(), "")
		if err != nil {
			t.Fatal(err)
		}
		for _, section := range s.Sections() {
			for _, err := range s.Keys(section.Name, "") {
				if err != nil {
					t.Fatal(err)
				}
			}
		}
		_ = s.Close()
	}
	if len(w.inbox) > 0 || len(w.dirty()) > 0 {
		t.Fatalf("%d batches and %d partitions are left", len(w.inbox), len(w.dirty()))
	}
}

// TestTwoSyncsAtOnce: several processes over the same stores do no harm.
func TestTwoSyncsAtOnce(t *testing.T) {
	pub := newPublisher(t)
	publishAll(t, pub)
	reference := open(t, setup{dir: t.TempDir(), publisher: pub})
	reference.must(t)
	want := reference.dump(t)
	for round := range 5 {
		dir := t.TempDir()
		var group sync.WaitGroup
		var all []*platform
		for i := range 3 {
			all = append(all, open(t, setup{dir: dir, work: filepath.Join(dir, fmt.Sprint("work", i)), publisher: pub}))
		}
		for _, p := range all {
			group.Go(func() {
				if _, problems, err := p.sync(context.Background()); err != nil || len(problems) > 0 {
					t.Errorf("round %d: %v, %q", round, err, problems)
				}
			})
		}
		group.Wait()
		all[0].must(t)
		if got := all[0].dump(t); got != want {
			t.Fatalf("round %d: the snapshot is\n%s\nwant\n%s", round, got, want)
		}
		whole(t, all[0])
	}
}

// TestBadNetwork: sources that refuse, are over their limits, cut bodies off, reset connections and damage what they send. What
// they spoil is said and tried again; when they are well again the snapshot is the same as if they always had been.
func TestBadNetwork(t *testing.T) {
	pub := newPublisher(t)
	publishAll(t, pub)
	reference := open(t, setup{dir: t.TempDir(), publisher: pub})
	reference.must(t)
	want := reference.dump(t)
	random := rand.New(rand.NewPCG(7, 7))
	var mu sync.Mutex
	counts := map[string]int{}
	faults := []func(w http.ResponseWriter, body []byte){
		func(w http.ResponseWriter, _ []byte) {
			w.Header().Set("Retry-After", "0")
			http.Error(w, "slow down", http.StatusTooManyRequests)
		},
		func(w http.ResponseWriter, _ []byte) { http.Error(w, "no", http.StatusInternalServerError) },
		func(w http.ResponseWriter, body []byte) { // cut off: fewer bytes than were said
			w.Header().Set("Content-Length", fmt.Sprint(len(body)))
			_, _ = w.Write(body[:len(body)/2])
			panic(http.ErrAbortHandler)
		},
		func(_ http.ResponseWriter, _ []byte) { panic(http.ErrAbortHandler) }, // reset
		func(w http.ResponseWriter, body []byte) { // shorter, and nothing says so
			_, _ = w.Write(body[:len(body)*2/3])
		},
		func(w http.ResponseWriter, body []byte) { // another byte, and a checksum that tells
			w.Header().Set("X-Goog-Hash", "crc32c=AAAAAA==")
			spoiled := slices.Clone(body)
			if len(spoiled) > 0 {
				spoiled[len(spoiled)/2] ^= 0x20
			}
			_, _ = w.Write(spoiled)
		},
		func(w http.ResponseWriter, _ []byte) { // a captive portal
			_, _ = w.Write([]byte("<html><body>Please log in</body></html>"))
		},
	}
	for round := range 3 {
		dir := t.TempDir()
		p := open(t, setup{dir: dir, publisher: pub})
		pub.mu.Lock()
		pub.fail = func(w http.ResponseWriter, r *http.Request) bool {
			mu.Lock()
			n := random.IntN(100)
			which := random.IntN(len(faults))
			body := pub.files[r.URL.Path]
			_, known := pub.files[r.URL.Path]
			bad := known && n < 40
			if bad {
				counts[fmt.Sprint(which)]++
			}
			mu.Unlock()
			if bad {
				faults[which](w, body)
			}
			return bad
		}
		pub.mu.Unlock()
		for range 20 {
			_, problems, err := p.sync(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, problem := range problems {
				if strings.Contains(problem, "\n") || strings.Contains(problem, "<html>") {
					t.Errorf("problem %q", problem)
				}
			}
			whole(t, p)
		}
		pub.mu.Lock()
		pub.fail = nil
		pub.mu.Unlock()
		p.must(t)
		if got := p.dump(t); got != want {
			t.Fatalf("round %d: the snapshot is\n%s\nwant\n%s", round, got, want)
		}
	}
	if len(counts) != len(faults) {
		t.Errorf("faults that happened: %v", counts)
	}
}

// TestSlowSource: what a source asks for is passed on.
func TestSlowSource(t *testing.T) {
	pub := newPublisher(t)
	publishAll(t, pub)
	pub.fail = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/kev.json" {
			return false
		}
		w.Header().Set("Retry-After", "120")
		http.Error(w, "slow down", http.StatusTooManyRequests)
		return true
	}
	p := open(t, setup{dir: t.TempDir(), publisher: pub})
	res, err := p.Step(t.Context(), &ingestv1.SyncIntelRequest{Feeds: []string{"kev"}})
	if err != nil || !strings.Contains(res.GetProblem(), "429") {
		t.Fatalf("%v, %v", res, err)
	}
	f, err := p.Store.feed(t.Context(), "kev")
	if err != nil || f.value.GetFeed().GetProblem() == "" || f.value.GetFeed().GetTried() == nil {
		t.Errorf("feed %v, %v", f.value, err)
	}
}

// TestSweep: three snapshots are kept; what no row names goes after two days and not before.
func TestSweep(t *testing.T) {
	pub := newPublisher(t)
	publishAll(t, pub)
	p := open(t, setup{dir: t.TempDir(), publisher: pub})
	p.clock.at = time.Now().UTC() // the age of a blob is by the clock of the store
	at := p.clock.now()
	pub.files = map[string][]byte{}
	for i := range 6 {
		day := at.AddDate(0, 0, i).Format(time.DateOnly)
		pub.put("/epss.csv.gz", gz(epssCSV("v5", day, "CVE-2026-20001,0.9,0.9")))
		pub.put("/kev.json", []byte(kevJSON(day, day+"T00:00:00Z", "CVE-2026-20001", fmt.Sprintf("CVE-2026-3000%d", i))))
		p.must(t, "kev", "epss")
		if i == 4 {
			p.clock.advance(72 * time.Hour)
		}
	}
	status, err := p.Store.Status(t.Context())
	if err != nil || len(status.GetManifests()) != 3 || status.GetManifests()[0].GetVersion() != "6" || status.GetManifests()[2].GetVersion() != "4" {
		t.Fatalf("status %v, %v", status.GetManifests(), err)
	}
	whole(t, p)
	w, err := p.Store.world(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	objects, _, err := p.bucket.List(t.Context(), "intel/", "", 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range objects {
		if !w.named()[o.Key] {
			t.Errorf("%s is named by nobody and still there", o.Key)
		}
	}
	if !errors.Is(missing(p), fault.NotFound) {
		t.Error("what is not there was found")
	}
}

func missing(p *platform) error {
	_, err := p.bucket.Get(context.Background(), "intel/part-20200101/"+strings.Repeat("0", 64))
	return err
}

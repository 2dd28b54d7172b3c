package snapshot

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// build makes a file of sections, each a map.
func build(t interface{ Fatal(args ...any) }, sections map[string]map[string]string) []byte {
	var out bytes.Buffer
	w := NewWriter(&out)
	for _, name := range slices.Sorted(maps.Keys(sections)) {
		for _, key := range slices.Sorted(maps.Keys(sections[name])) {
			if err := w.Add(name, key, []byte(sections[name][key])); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestModel compares readers of one file and of several with the maps that they were made from.
func TestModel(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.StringMatching(`[a-c]{1,4}(:[a-z]{0,20})?`)
		value := rapid.OneOf(rapid.StringN(0, 40, -1), rapid.Custom(func(t *rapid.T) string {
			return strings.Repeat(rapid.StringN(1, 8, -1).Draw(t, "piece"), rapid.IntRange(1, 4000).Draw(t, "times"))
		}))
		model := rapid.MapOfN(rapid.SampledFrom([]string{"advisory", "product", "x"}), rapid.MapOfN(key, value, 0, 40), 1, 3).Draw(t, "model")
		data := build(t, model)
		path := filepath.Join(dir, "file")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		fromDisk, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = fromDisk.Close() }()
		inMemory, err := OpenBytes(data)
		if err != nil {
			t.Fatal(err)
		}
		several, err := newReader("several", memory(build(t, half(model, 0))), memory(build(t, half(model, 1))))
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range []*Reader{fromDisk, inMemory, several} {
			compare(t, r, model, key.Draw(t, "absent or not"))
		}
	})
}

// half is the lower or the upper part of each section.
func half(model map[string]map[string]string, which int) map[string]map[string]string {
	out := map[string]map[string]string{}
	for name, entries := range model {
		out[name] = map[string]string{}
		keys := slices.Sorted(maps.Keys(entries))
		for i, key := range keys {
			if (i >= len(keys)/2) == (which == 1) {
				out[name][key] = entries[key]
			}
		}
	}
	return out
}

func compare(t *rapid.T, r *Reader, model map[string]map[string]string, other string) {
	for name, entries := range model {
		for key, want := range entries {
			if got, err := r.Get(name, key); err != nil || string(got) != want {
				t.Fatalf("Get(%s, %q) = %d bytes, %v; want %d bytes", name, key, len(got), err, len(want))
			}
		}
		if _, err := r.Get(name, other); (err == nil) != hasKey(entries, other) || err != nil && !errors.Is(err, fault.NotFound) {
			t.Fatalf("Get(%s, %q) = %v", name, other, err)
		}
		for _, prefix := range []string{"", "a", "b:", other} {
			var want, got []string
			for _, key := range slices.Sorted(maps.Keys(entries)) {
				if strings.HasPrefix(key, prefix) {
					want = append(want, key)
				}
			}
			for key, err := range r.Keys(name, prefix) {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, key)
			}
			if !slices.Equal(got, want) {
				t.Fatalf("Keys(%s, %q) = %q, want %q", name, prefix, got, want)
			}
		}
	}
	for _, s := range r.Sections() {
		if s.Keys != uint64(len(model[s.Name])) {
			t.Fatalf("section %s has %d keys, want %d", s.Name, s.Keys, len(model[s.Name]))
		}
	}
}

func hasKey(m map[string]string, key string) bool { _, ok := m[key]; return ok }

func TestWriterRefuses(t *testing.T) {
	type entry struct{ section, key string }
	for name, entries := range map[string][]entry{
		"the same key":          {{"s", "a"}, {"s", "a"}},
		"a key before":          {{"s", "b"}, {"s", "a"}},
		"a section again":       {{"s", "a"}, {"t", "a"}, {"s", "b"}},
		"no key":                {{"s", ""}},
		"no section":            {{"", "a"}},
		"a long key":            {{"s", strings.Repeat("a", MaxKeyBytes+1)}},
		"a long name":           {{strings.Repeat("s", MaxSectionBytes+1), "a"}},
		"after what it refused": {{"s", "b"}, {"s", "a"}, {"s", "c"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := NewWriter(&bytes.Buffer{})
			var err error
			for _, e := range entries {
				err = w.Add(e.section, e.key, nil)
			}
			if !errors.Is(err, fault.Invalid) {
				t.Fatalf("Add = %v, want invalid", err)
			}
			if err := w.Close(); err == nil {
				t.Fatal("what is incomplete was closed")
			}
		})
	}
	w := NewWriter(&bytes.Buffer{})
	if err := w.Add("s", "a", make([]byte, MaxValueBytes+1)); !errors.Is(err, fault.Invalid) {
		t.Fatalf("Add of a value beyond the limit = %v", err)
	}
}

// sample is a file with many blocks, raw and packed, and one large value.
func sample(t testing.TB) ([]byte, map[string]map[string]string) {
	random := rand.New(rand.NewPCG(1, 2))
	model := map[string]map[string]string{"advisory": {}, "product": {}}
	for i := range 3000 {
		model["advisory"][fmt.Sprintf("CVE-2026-%d", 1000+i)] = strings.Repeat("text ", 5+i%7) + fmt.Sprint(i)
	}
	for i := range 200 {
		noise := make([]byte, 300)
		for j := range noise {
			noise[j] = byte(random.Uint32())
		}
		model["product"][fmt.Sprintf("vendor:%d", i)] = string(noise)
	}
	model["product"]["large"] = strings.Repeat("x", 300_000)
	return build(t, model), model
}

// TestEveryDamageIsSeen changes each byte of a file in turn: whatever is then read is right, or an error.
func TestEveryDamageIsSeen(t *testing.T) {
	good, model := sample(t)
	seen, stride := 0, 1
	if testing.Short() {
		stride = 16 // one goroutine reads: the race detector, which asks for the short run, learns nothing from every byte
	}
	for at := 0; at < len(good); at += stride * (1 + at%61) {
		bad := bytes.Clone(good)
		bad[at] ^= 1 << (at % 8)
		if damage(t, bad, model) {
			seen++
			continue
		}
		t.Fatalf("byte %d was changed and nobody saw it", at)
	}
	for cut := 0; cut < len(good); cut += stride * (1 + cut%401) {
		if !damage(t, good[:cut], model) {
			t.Fatalf("the file was cut at %d and nobody saw it", cut)
		}
	}
	t.Logf("%d changed bytes seen", seen)
}

// damage reads all, and tells whether an error was seen. A wrong answer without error ends the test.
func damage(t *testing.T, data []byte, model map[string]map[string]string) bool {
	r, err := OpenBytes(data)
	if err != nil {
		oneLine(t, err)
		return true
	}
	seen := false
	for name, entries := range model {
		n := 0
		for e, err := range r.Entries(name, "") {
			if err != nil {
				oneLine(t, err)
				seen = true
				break
			}
			if entries[e.Key] != string(e.Value) {
				t.Fatalf("section %s, key %q: a wrong value", name, e.Key)
			}
			n++
		}
		if !seen && n != len(entries) {
			t.Fatalf("section %s: %d entries of %d and no error", name, n, len(entries))
		}
	}
	return seen
}

func oneLine(t *testing.T, err error) {
	if fault.CodeOf(err) != fault.DataLoss || strings.Contains(err.Error(), "\n") {
		t.Fatalf("error %v (%s), want one line of data loss", err, fault.CodeOf(err))
	}
}

// TestFileCutWhileOpen: another process cuts the file short under a reader. That is an error and not the end of the process.
func TestFileCutWhileOpen(t *testing.T) {
	data, _ := sample(t)
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Get("advisory", "CVE-2026-1000"); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 100); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Get("product", "vendor:1"); !errors.Is(err, fault.DataLoss) {
		t.Fatalf("Get = %v, want data loss", err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestCloseWhileReading(t *testing.T) {
	data, model := sample(t)
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		r, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		var group sync.WaitGroup
		started := make(chan struct{}, 4)
		for range 4 {
			group.Go(func() {
				started <- struct{}{}
				for e, err := range r.Entries("advisory", "") {
					if err != nil {
						if !errors.Is(err, fault.FailedPrecondition) {
							t.Errorf("read while closing = %v", err)
						}
						return
					}
					if model["advisory"][e.Key] != string(e.Value) {
						t.Errorf("wrong value of %s", e.Key)
					}
				}
			})
		}
		<-started
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		group.Wait()
		if err := r.Close(); err != nil {
			t.Fatalf("second Close = %v", err)
		}
		if _, err := r.Get("advisory", "CVE-2026-1000"); !errors.Is(err, fault.FailedPrecondition) {
			t.Fatalf("Get after Close = %v", err)
		}
	}
}

func TestOpenWhatIsNoSnapshot(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]fault.Code{filepath.Join(dir, "absent"): fault.NotFound, dir: fault.Invalid, empty: fault.DataLoss} {
		if _, err := Open(path); fault.CodeOf(err) != want {
			t.Errorf("Open(%s) = %v, want %s", path, err, want)
		}
	}
}

// TestEmptySnapshot: nothing in it is still a snapshot.
func TestEmptySnapshot(t *testing.T) {
	r, err := OpenBytes(build(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Get("advisory", "x"); !errors.Is(err, fault.NotFound) {
		t.Fatalf("Get = %v", err)
	}
	for range r.Keys("advisory", "") {
		t.Fatal("there is a key")
	}
}

// FuzzReader opens whatever it is given and reads all of it: no panic, no more memory than the limits, one line of error.
func FuzzReader(f *testing.F) {
	good, _ := sample(f)
	f.Add(good)
	f.Add(build(f, map[string]map[string]string{"s": {"a": "b"}}))
	f.Add(build(f, nil))
	f.Add(good[:len(good)/2])
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := OpenBytes(data)
		if err != nil {
			return
		}
		for _, s := range r.Sections() {
			for e, err := range r.Entries(s.Name, "") {
				if err != nil {
					break
				}
				if len(e.Key) > MaxKeyBytes || len(e.Value) > MaxValueBytes+blockBytes {
					t.Fatal("an entry is beyond the limits")
				}
				_, _ = r.Get(s.Name, e.Key)
			}
		}
	})
}

// FuzzHostileIndex gives the checksums that a hostile writer would: what they protect is read as it is.
func FuzzHostileIndex(f *testing.F) {
	f.Add([]byte("\x01a\x04\x04\x00\x00\x00\x00\x00"), []byte("\x01a\x01b"), uint64(1))
	f.Fuzz(func(_ *testing.T, index, blocks []byte, count uint64) {
		file := append(header(), blocks...)
		s := section{
			name: "s", blocks: int64(headerBytes), index: int64(len(file)), indexBytes: int64(len(index)),
			indexSum: checksum(index), blockCount: count, keyCount: count,
		}
		file = append(file, index...)
		table := encodeTable([]section{s})
		file = append(file, table...)
		file = append(file, encodeFooter(int64(len(file)-len(table)), table)...)
		r, err := OpenBytes(file)
		if err != nil {
			return
		}
		for range r.Entries("s", "") {
		}
		_, _ = r.Get("s", "a")
	})
}

package snapshot

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/blob"
	"github.com/riskprofiler/riskprofiler/platform/blob/fileblob"
	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// counting counts what is fetched.
type counting struct {
	blob.Bucket

	mu   sync.Mutex
	gets map[string]int
}

func (c *counting) Get(ctx context.Context, key string) ([]byte, error) {
	c.mu.Lock()
	c.gets[key]++
	c.mu.Unlock()
	return c.Bucket.Get(ctx, key)
}

func newBucket(t *testing.T) *counting {
	b, err := fileblob.Open(t.Context(), fileblob.Options{Dir: filepath.Join(t.TempDir(), "blobs")})
	if err != nil {
		t.Fatal(err)
	}
	return &counting{Bucket: b, gets: map[string]int{}}
}

// published stores a snapshot of several files.
func published(t *testing.T, b blob.Bucket, files ...map[string]map[string]string) (string, []Part) {
	var parts []Part
	for _, f := range files {
		p, err := StoreFile(t.Context(), b, "intel", "part", build(t, f))
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, p)
	}
	key, err := Store(t.Context(), b, "intel", "snapshot", parts)
	if err != nil {
		t.Fatal(err)
	}
	return key, parts
}

func TestLoadFetchesOnlyWhatChanged(t *testing.T) {
	b, dir := newBucket(t), filepath.Join(t.TempDir(), "cache")
	one, two := map[string]map[string]string{"s": {"a": "1"}}, map[string]map[string]string{"s": {"b": "2"}}
	three := map[string]map[string]string{"s": {"b": "3"}}
	first, parts := published(t, b, one, two)
	second, changed := published(t, b, one, three)
	read := func(key, dir, want string) {
		t.Helper()
		r, err := Load(t.Context(), b, key, dir)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = r.Close() }()
		got, err := r.Get("s", "b")
		if err != nil || string(got) != want {
			t.Errorf("Get = %q, %v; want %q", got, err, want)
		}
	}
	read(first, dir, "2")
	read(first, dir, "2")
	read(second, dir, "3")
	read(second, "", "3")
	for key, want := range map[string]int{parts[0].Key: 2, parts[1].Key: 1, changed[1].Key: 2} { // one more each for the one in memory
		if got := b.gets[key]; got != want {
			t.Errorf("%s was fetched %d times, want %d", key, got, want)
		}
	}
	// A single file is a snapshot too.
	p, err := StoreFile(t.Context(), b, "intel", "part", build(t, two))
	if err != nil {
		t.Fatal(err)
	}
	read(p.Key, dir, "2")
	read(p.Key, "", "2")
}

// TestLoadMendsItsDirectory: what is cut short or spoiled there is fetched again; what nobody uses goes after an hour.
func TestLoadMendsItsDirectory(t *testing.T) {
	b, dir := newBucket(t), t.TempDir()
	key, parts := published(t, b, map[string]map[string]string{"s": {"a": strings.Repeat("x", 1000)}})
	path := filepath.Join(dir, hashOf(parts[0].Key)+partSuffix)
	other := filepath.Join(dir, strings.Repeat("0", 64)+partSuffix)
	mine := filepath.Join(dir, "readme")
	for name, spoil := range map[string]func(raw []byte) []byte{
		"cut":     func(raw []byte) []byte { return raw[:len(raw)/2] },
		"spoiled": func(raw []byte) []byte { raw[len(raw)-3] ^= 1; return raw },
		"empty":   func([]byte) []byte { return nil },
	} {
		load := func() error {
			r, err := Load(t.Context(), b, key, dir)
			if err == nil {
				_, err = r.Get("s", "a")
				err = errors.Join(err, r.Close())
			}
			return err
		}
		if err := load(); err != nil {
			t.Fatal(err)
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(os.WriteFile(path, spoil(raw), 0o600), os.WriteFile(other, nil, 0o600), os.WriteFile(mine, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
		old := time.Now().Add(-2 * time.Hour)
		if err := errors.Join(os.Chtimes(other, old, old), os.Chtimes(mine, old, old)); err != nil {
			t.Fatal(err)
		}
		if err := load(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Stat(other); !os.IsNotExist(err) {
			t.Error("what nobody used is still there")
		}
		if _, err := os.Stat(mine); err != nil {
			t.Error("what is no part was removed")
		}
	}
}

func TestLoadRefuses(t *testing.T) {
	b := newBucket(t)
	put := func(data string) string {
		key := blob.ContentKey("intel", "snapshot", []byte(data))
		if err := b.Put(t.Context(), key, []byte(data)); err != nil {
			t.Fatal(err)
		}
		return key
	}
	good := strings.Repeat("0", 64)
	for name, c := range map[string]struct {
		key  string
		want fault.Code
	}{
		"nothing there":        {"intel/snapshot/" + good, fault.NotFound},
		"no list":              {put("hello"), fault.DataLoss},
		"a line that is wrong": {put(listMagic + "x y\n"), fault.DataLoss},
		"a key that climbs":    {put(listMagic + "1 ../../" + good + "\n"), fault.DataLoss},
		"no hash":              {put(listMagic + "1 a/b/c\n"), fault.DataLoss},
		"a negative size":      {put(listMagic + "-1 a/b/" + good + "\n"), fault.DataLoss},
		"too many":             {put(listMagic + strings.Repeat("1 a/b/"+good+"\n", MaxParts+1)), fault.DataLoss},
		"a part is missing":    {put(listMagic + "1 a/b/" + good + "\n"), fault.NotFound},
	} {
		for _, dir := range []string{"", t.TempDir()} {
			if _, err := Load(t.Context(), b, c.key, dir); fault.CodeOf(err) != c.want || strings.Contains(fmt.Sprint(err), "\n") {
				t.Errorf("%s: %v (%s), want %s", name, err, fault.CodeOf(err), c.want)
			}
		}
	}
	// Two files with the same first key cannot be told apart.
	same, _ := published(t, b, map[string]map[string]string{"s": {"a": "1"}}, map[string]map[string]string{"s": {"a": "2"}})
	if _, err := Load(t.Context(), b, same, ""); !errors.Is(err, fault.DataLoss) {
		t.Errorf("two files with one key: %v", err)
	}
}

func FuzzList(f *testing.F) {
	f.Add([]byte(listMagic + "1 a/b/" + strings.Repeat("0", 64) + "\n"))
	f.Add([]byte(listMagic))
	f.Fuzz(func(t *testing.T, raw []byte) {
		parts, err := parseList(raw)
		if err != nil {
			return
		}
		for _, p := range parts {
			if blob.CheckKey(p.Key) != nil || p.Bytes < 0 || p.Bytes > blob.MaxObjectBytes {
				t.Fatalf("part %+v", p)
			}
		}
	})
}

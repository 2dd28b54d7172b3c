package blob_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/blob"
	"github.com/riskprofiler/riskprofiler/platform/fault"
)

func TestContentKey(t *testing.T) {
	// SHA-256 of "abc": FIPS 180-4, example 1.
	const want = "acme/evidence/ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
	key := blob.ContentKey("acme", "evidence", []byte("abc"))
	if key != want {
		t.Errorf("ContentKey is %s, want %s", key, want)
	}
	if err := blob.CheckKey(key); err != nil {
		t.Error(err)
	}
	for _, tenant := range []string{"", "..", "a b", "A"} {
		if err := blob.CheckKey(blob.ContentKey(tenant, "evidence", nil)); !errors.Is(err, fault.Invalid) {
			t.Errorf("the content key of tenant %q: %v, want invalid", tenant, err)
		}
	}
}

func TestVerify(t *testing.T) {
	key := blob.ContentKey("acme", "evidence", []byte("abc"))
	for _, test := range []struct {
		key, data string
		want      fault.Code
	}{
		{key, "abc", fault.OK},
		{key, "abd", fault.DataLoss},
		{key, "", fault.DataLoss},
		{"acme/reports/1", "anything", fault.OK},
		{strings.TrimSuffix(key, "d"), "other", fault.OK},
		{"deeper/" + key, "other", fault.OK},
		{strings.Replace(key, "ba78", "BA78", 1), "other", fault.OK},
	} {
		if err := blob.Verify(test.key, []byte(test.data)); fault.CodeOf(err) != test.want {
			t.Errorf("Verify(%s, %q): %v, want %v", test.key, test.data, err, test.want)
		}
	}
}

func TestLimits(t *testing.T) {
	for limit, want := range map[int]int{0: blob.MaxPageObjects, 1: 1, blob.MaxPageObjects: blob.MaxPageObjects, -1: 0, blob.MaxPageObjects + 1: 0} {
		got, err := blob.PageLimit(limit)
		if got != want || (err == nil) != (want != 0) {
			t.Errorf("PageLimit(%d) = %d, %v", limit, got, err)
		}
	}
	for ttl, valid := range map[time.Duration]bool{0: false, 1: true, blob.MaxSignedTTL: true, blob.MaxSignedTTL + 1: false} {
		if err := blob.CheckSignedTTL(ttl); (err == nil) != valid {
			t.Errorf("CheckSignedTTL(%s): %v", ttl, err)
		}
	}
	for size, valid := range map[int]bool{0: true, blob.MaxObjectBytes: true, blob.MaxObjectBytes + 1: false} {
		if err := blob.CheckPut("a", size); (err == nil) != valid {
			t.Errorf("CheckPut of %d bytes: %v", size, err)
		}
	}
}

// A key that is allowed stays inside a folder, on every file system, and each of its prefixes is
// one that can be listed.
func FuzzCheckKey(f *testing.F) {
	for _, seed := range []string{"a/b", "", "../a", "a/../b", "/a", "a//b", "a\\..\\b", ".a", "C:/a", "a/./b", "ä", "a\x00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, key string) {
		err := blob.CheckKey(key)
		if err != nil {
			if !errors.Is(err, fault.Invalid) {
				t.Errorf("CheckKey(%q): %v", key, err)
			}
			return
		}
		if !filepath.IsLocal(key) || filepath.ToSlash(filepath.Clean(key)) != key || strings.ContainsAny(key, "\\:\x00 ") {
			t.Errorf("CheckKey allows %q", key)
		}
		for i := range len(key) + 1 {
			if err := blob.CheckPrefix(key[:i]); err != nil {
				t.Errorf("the prefix %q of an allowed key: %v", key[:i], err)
			}
		}
	})
}

package blobtest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/riskprofiler/riskprofiler/platform/blob"
	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// listAll reads all pages and fails if one is too long, or empty with a token.
func listAll(t testing.TB, b blob.Bucket, prefix string, limit int) []blob.Object {
	var all []blob.Object
	token := ""
	for {
		page, next, err := b.List(t.Context(), prefix, token, limit)
		if err != nil {
			t.Fatalf("List(%q, limit %d): %v", prefix, limit, err)
		}
		if limit > 0 && len(page) > limit {
			t.Fatalf("List(%q): %d objects in a page of %d", prefix, len(page), limit)
		}
		all = append(all, page...)
		if next == "" {
			return all
		}
		if next == token {
			t.Fatalf("List(%q): the token does not move on", prefix)
		}
		token = next
	}
}

func keysOf(objects []blob.Object) []string {
	keys := []string{}
	for _, o := range objects {
		keys = append(keys, o.Key)
	}
	return keys
}

func listInOrder(t *testing.T, h Harness) {
	if got := listAll(t, h.Bucket, "", 0); len(got) != 0 {
		t.Fatalf("a fresh bucket lists %v", got)
	}
	// In byte order '-' and '.' come before '/', and '/' before digits and letters.
	keys := []string{"a", "a-b", "a-b/c", "a.b", "a.b/c", "a/b", "a/b-c", "a/b/c", "a/c", "a0", "aa", "b/a/a", "b/a/b"}
	for i, key := range slices.Backward(keys) {
		mustPut(t, h.Bucket, key, make([]byte, i))
	}
	tests := []struct {
		prefix string
		want   []string
	}{
		{"", keys},
		{"a", keys[:11]},
		{"a/", []string{"a/b", "a/b-c", "a/b/c", "a/c"}},
		{"a/b", []string{"a/b", "a/b-c", "a/b/c"}},
		{"a/b/", []string{"a/b/c"}},
		{"a-", []string{"a-b", "a-b/c"}},
		{"a/b/c/d", []string{}},
		{"b", []string{"b/a/a", "b/a/b"}},
		{"c", []string{}},
	}
	for _, test := range tests {
		for _, limit := range []int{0, 1, 2, 3, len(keys), blob.MaxPageObjects} {
			if diff := cmp.Diff(test.want, keysOf(listAll(t, h.Bucket, test.prefix, limit))); diff != "" {
				t.Errorf("List(%q) in pages of %d (-want +got):\n%s", test.prefix, limit, diff)
			}
		}
	}
	for i, o := range listAll(t, h.Bucket, "", 0) {
		if o.Size != int64(i) {
			t.Errorf("List says that %s has %d bytes, want %d", o.Key, o.Size, i)
		}
		if age := time.Since(o.ModTime); age < -time.Hour || age > time.Hour {
			t.Errorf("List says that %s is of %s", o.Key, o.ModTime)
		}
	}
}

func listArguments(t *testing.T, h Harness) {
	for _, key := range []string{"a/1", "a/2", "b/1", "b/2"} {
		mustPut(t, h.Bucket, key, nil)
	}
	for _, limit := range []int{-1, blob.MaxPageObjects + 1} {
		_, _, err := h.Bucket.List(t.Context(), "", "", limit)
		wantCode(t, fmt.Sprintf("List with limit %d", limit), err, fault.Invalid)
	}
	for _, prefix := range []string{"/", "..", "A", "a//", ".", "a/.", "ä", strings.Repeat("a", blob.MaxKeyBytes+1)} {
		_, _, err := h.Bucket.List(t.Context(), prefix, "", 0)
		wantCode(t, fmt.Sprintf("List with prefix %q", prefix), err, fault.Invalid)
	}
	_, token, err := h.Bucket.List(t.Context(), "a/", "", 1)
	if err != nil || token == "" {
		t.Fatalf("List of one of two: token %q, error %v", token, err)
	}
	_, _, err = h.Bucket.List(t.Context(), "b/", token, 1)
	wantCode(t, "List with the token of another prefix", err, fault.Invalid)
	for _, bad := range []string{"x", "!", token + "x!", strings.Repeat("A", 5000)} {
		_, _, err = h.Bucket.List(t.Context(), "a/", bad, 1)
		wantCode(t, fmt.Sprintf("List with token %q", bad), err, fault.Invalid)
	}
}

// listModel compares random puts, deletes and listings with a map.
func listModel(t *testing.T, h Harness) {
	rapid.Check(t, func(r *rapid.T) {
		m := &model{bucket: h.Bucket, t: both{t, r}, sizes: map[string]int{}}
		for _, o := range listAll(m.t, h.Bucket, "", 0) {
			m.drop(o.Key) // what the run before left
		}
		r.Repeat(map[string]func(*rapid.T){
			"put":    func(r *rapid.T) { m.put(keys.Draw(r, "key"), rapid.IntRange(0, 3).Draw(r, "size")) },
			"delete": func(r *rapid.T) { m.drop(keys.Draw(r, "key")) },
			"list": func(r *rapid.T) {
				m.list(rapid.SampledFrom([]string{"", "a", "a/", "b-", "ab/b", "0/a/"}).Draw(r, "prefix"),
					rapid.IntRange(0, 5).Draw(r, "limit"))
			},
		})
	})
}

// keys are few and close to each other, so that they collide and begin one another.
var keys = rapid.Custom(func(r *rapid.T) string {
	segment := rapid.StringMatching(`[ab0_-][ab.-]{0,2}`)
	return strings.Join(rapid.SliceOfN(segment, 1, 3).Draw(r, "segments"), "/")
})

// model is what the bucket should hold.
type model struct {
	bucket blob.Bucket
	t      testing.TB
	sizes  map[string]int
}

func (m *model) put(key string, size int) {
	err := m.bucket.Put(m.t.Context(), key, make([]byte, size))
	stored, taken := m.sizes[key]
	switch {
	case taken && stored != size:
		if fault.CodeOf(err) != fault.AlreadyExists {
			m.t.Fatalf("Put(%s) of other bytes: %v", key, err)
		}
	case err != nil:
		m.t.Fatalf("Put(%s): %v", key, err)
	default:
		m.sizes[key] = size
	}
}

func (m *model) drop(key string) {
	if err := m.bucket.Delete(m.t.Context(), key); err != nil {
		m.t.Fatalf("Delete(%s): %v", key, err)
	}
	delete(m.sizes, key)
}

func (m *model) list(prefix string, limit int) {
	want := []string{}
	for key := range m.sizes {
		if strings.HasPrefix(key, prefix) {
			want = append(want, key)
		}
	}
	slices.Sort(want)
	got := listAll(m.t, m.bucket, prefix, limit)
	if diff := cmp.Diff(want, keysOf(got)); diff != "" {
		m.t.Fatalf("List(%q) (-want +got):\n%s", prefix, diff)
	}
	for _, o := range got {
		if o.Size != int64(m.sizes[o.Key]) {
			m.t.Fatalf("List says that %s has %d bytes, want %d", o.Key, o.Size, m.sizes[o.Key])
		}
	}
}

// both fails the property, so that rapid shrinks it, with the context of the test.
type both struct {
	*testing.T
	property *rapid.T
}

// Fatalf fails the property.
func (b both) Fatalf(format string, args ...any) { b.property.Fatalf(format, args...) }

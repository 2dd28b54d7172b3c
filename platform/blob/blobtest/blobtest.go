// Package blobtest is the conformance suite of blob drivers. A driver's test is:
//
//	func TestConformance(t *testing.T) { blobtest.Run(t, newHarness) }
package blobtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/blob"
	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// Harness is one fresh, empty bucket.
type Harness struct {
	Bucket blob.Bucket
	// Damage replaces the stored bytes of key behind the bucket's back.
	Damage func(key string, data []byte)
	// SignsURLs says that the driver makes links. If not, SignedURL must say so with
	// fault.FailedPrecondition.
	SignsURLs bool
}

// Run holds a driver to the contract of [blob.Bucket]. newHarness is called once per case and
// cleans up with t.Cleanup.
func Run(t *testing.T, newHarness func(t *testing.T) Harness) {
	cases := []struct {
		name string
		run  func(t *testing.T, h Harness)
	}{
		{"PutThenGet", putThenGet},
		{"PutIsOnce", putIsOnce},
		{"SizeLimit", sizeLimit},
		{"KeysAreChecked", keysAreChecked},
		{"KeyMayBeginAnother", keyMayBeginAnother},
		{"AbsentObject", absentObject},
		{"DeleteThenPut", deleteThenPut},
		{"CallerKeepsItsBytes", callerKeepsItsBytes},
		{"ConcurrentPuts", concurrentPuts},
		{"PutWhileDeleted", putWhileDeleted},
		{"DamageIsNoticed", damageIsNoticed},
		{"ListInOrder", listInOrder},
		{"ListArguments", listArguments},
		{"ListModel", listModel},
		{"EndedContext", endedContext},
		{"SignedURL", signedURL},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { c.run(t, newHarness(t)) })
	}
}

func mustPut(t testing.TB, b blob.Bucket, key string, data []byte) {
	t.Helper()
	if err := b.Put(t.Context(), key, data); err != nil {
		t.Fatalf("Put(%s): %v", key, err)
	}
}

func wantBytes(t testing.TB, b blob.Bucket, key string, want []byte) {
	t.Helper()
	got, err := b.Get(t.Context(), key)
	if err != nil {
		t.Fatalf("Get(%s): %v", key, err)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("Get(%s) returned %d bytes that differ from the %d that were put", key, len(got), len(want))
	}
}

func wantCode(t testing.TB, what string, err error, code fault.Code) {
	t.Helper()
	if !errors.Is(err, code) {
		t.Errorf("%s: got error %v, want %v", what, err, code)
	}
}

func putThenGet(t *testing.T, h Harness) {
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	for name, data := range map[string][]byte{
		"nil":      nil,
		"one":      {0},
		"every":    every,
		"newlines": []byte("a\r\nb\n"),
		"large":    bytes.Repeat(every, 4096),
	} {
		mustPut(t, h.Bucket, "acme/raw/"+name, data)
		wantBytes(t, h.Bucket, "acme/raw/"+name, data)
		key := blob.ContentKey("acme", "evidence", data)
		mustPut(t, h.Bucket, key, data)
		wantBytes(t, h.Bucket, key, data)
	}
}

func putIsOnce(t *testing.T, h Harness) {
	const key = "acme/reports/1"
	mustPut(t, h.Bucket, key, []byte("first"))
	mustPut(t, h.Bucket, key, []byte("first"))
	wantCode(t, "Put of other bytes", h.Bucket.Put(t.Context(), key, []byte("other")), fault.AlreadyExists)
	wantCode(t, "Put of fewer bytes", h.Bucket.Put(t.Context(), key, []byte("firs")), fault.AlreadyExists)
	wantCode(t, "Put of no bytes", h.Bucket.Put(t.Context(), key, nil), fault.AlreadyExists)
	wantBytes(t, h.Bucket, key, []byte("first"))
}

func sizeLimit(t *testing.T, h Harness) {
	data := make([]byte, blob.MaxObjectBytes+1)
	data[blob.MaxObjectBytes-1] = 1
	mustPut(t, h.Bucket, "acme/raw/limit", data[:blob.MaxObjectBytes])
	wantBytes(t, h.Bucket, "acme/raw/limit", data[:blob.MaxObjectBytes])
	wantCode(t, "Put above the limit", h.Bucket.Put(t.Context(), "acme/raw/above", data), fault.Invalid)
	_, err := h.Bucket.Get(t.Context(), "acme/raw/above")
	wantCode(t, "Get of what was refused", err, fault.NotFound)
}

func keysAreChecked(t *testing.T, h Harness) {
	segment := strings.Repeat("s", blob.MaxSegmentBytes)
	full := segment + "/" + segment + "/" + segment + "/" + segment + "/"
	full += strings.Repeat("k", blob.MaxKeyBytes-len(full))
	for _, key := range []string{"a", "a.b", "a-b_c.9", "a/b/c/d/e", "-", "_", segment, full, "a/b@"[:3]} {
		mustPut(t, h.Bucket, key, []byte(key))
		wantBytes(t, h.Bucket, key, []byte(key))
	}
	for _, key := range []string{
		"", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/..", "a/../b", "a/./b", ".tmp/a", "a/.hidden",
		"A", "a b", "a\\b", "a\x00b", "a\nb", "ä", "a@", "a:b", "a%2e", "a*", "\xff",
		segment + "s", full + "k",
	} {
		_, getErr := h.Bucket.Get(t.Context(), key)
		_, urlErr := h.Bucket.SignedURL(t.Context(), key, time.Minute)
		for method, err := range map[string]error{
			"Put":       h.Bucket.Put(t.Context(), key, []byte("x")),
			"Get":       getErr,
			"Delete":    h.Bucket.Delete(t.Context(), key),
			"SignedURL": urlErr,
		} {
			wantCode(t, fmt.Sprintf("%s(%q)", method, key), err, fault.Invalid)
		}
	}
}

func keyMayBeginAnother(t *testing.T, h Harness) {
	keys := []string{"a/b/c", "a", "a/b", "a/b/c/d", "a.b", "ab"}
	for _, key := range keys {
		mustPut(t, h.Bucket, key, []byte(key))
	}
	for _, key := range keys {
		wantBytes(t, h.Bucket, key, []byte(key))
	}
	if err := h.Bucket.Delete(t.Context(), "a/b"); err != nil {
		t.Fatal(err)
	}
	wantBytes(t, h.Bucket, "a/b/c", []byte("a/b/c"))
	wantBytes(t, h.Bucket, "a", []byte("a"))
}

func absentObject(t *testing.T, h Harness) {
	mustPut(t, h.Bucket, "acme/raw/a", []byte("a"))
	for _, key := range []string{"acme/raw/b", "acme/raw", "acme", "acme/raw/a/b", "other/raw/a"} {
		_, err := h.Bucket.Get(t.Context(), key)
		wantCode(t, "Get("+key+")", err, fault.NotFound)
		if err := h.Bucket.Delete(t.Context(), key); err != nil {
			t.Errorf("Delete(%s) of an absent object: %v", key, err)
		}
	}
	wantBytes(t, h.Bucket, "acme/raw/a", []byte("a"))
}

func deleteThenPut(t *testing.T, h Harness) {
	const key = "acme/raw/a"
	mustPut(t, h.Bucket, key, []byte("first"))
	for range 2 {
		if err := h.Bucket.Delete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	_, err := h.Bucket.Get(t.Context(), key)
	wantCode(t, "Get of a deleted object", err, fault.NotFound)
	mustPut(t, h.Bucket, key, []byte("second"))
	wantBytes(t, h.Bucket, key, []byte("second"))
}

func callerKeepsItsBytes(t *testing.T, h Harness) {
	data := []byte("mine")
	mustPut(t, h.Bucket, "acme/raw/a", data)
	copy(data, "oops")
	got, err := h.Bucket.Get(t.Context(), "acme/raw/a")
	if err != nil {
		t.Fatal(err)
	}
	copy(got, "oops")
	wantBytes(t, h.Bucket, "acme/raw/a", []byte("mine"))
}

func concurrentPuts(t *testing.T, h Harness) {
	const writers = 8
	var group sync.WaitGroup
	var same, different [writers]error
	for i := range writers {
		group.Go(func() {
			same[i] = h.Bucket.Put(t.Context(), "acme/new/same", bytes.Repeat([]byte("s"), 10_000))
			different[i] = h.Bucket.Put(t.Context(), "acme/new/different", bytes.Repeat([]byte{byte(i)}, 10_000))
		})
	}
	group.Wait()
	winner := -1
	for i := range writers {
		if same[i] != nil {
			t.Errorf("Put of the same bytes: %v", same[i])
		}
		switch {
		case different[i] != nil:
			wantCode(t, "Put of different bytes", different[i], fault.AlreadyExists)
		case winner >= 0:
			t.Errorf("writers %d and %d both stored different bytes", winner, i)
		default:
			winner = i
		}
	}
	wantBytes(t, h.Bucket, "acme/new/different", bytes.Repeat([]byte{byte(winner)}, 10_000))
}

func putWhileDeleted(t *testing.T, h Harness) {
	const key = "acme/raw/a"
	var deleting sync.WaitGroup
	stop := make(chan struct{})
	deleting.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if err := h.Bucket.Delete(t.Context(), key); err != nil {
				t.Errorf("Delete beside Put: %v", err)
			}
		}
	})
	var putting sync.WaitGroup
	for range 3 {
		putting.Go(func() {
			for range 200 {
				if err := h.Bucket.Put(t.Context(), key, []byte("again")); err != nil {
					t.Errorf("Put beside Delete: %v", err)
				}
			}
		})
	}
	putting.Wait()
	close(stop)
	deleting.Wait()
}

func damageIsNoticed(t *testing.T, h Harness) {
	data := bytes.Repeat([]byte("evidence "), 100)
	key := blob.ContentKey("acme", "evidence", data)
	mustPut(t, h.Bucket, key, data)
	damaged := bytes.Clone(data)
	for _, bit := range []int{0, 1, 7, 4000, 8*len(data) - 1} {
		damaged[bit/8] ^= 1 << (bit % 8)
		h.Damage(key, damaged)
		_, err := h.Bucket.Get(t.Context(), key)
		wantCode(t, fmt.Sprintf("Get with bit %d flipped", bit), err, fault.DataLoss)
		damaged[bit/8] ^= 1 << (bit % 8)
	}
	h.Damage(key, data[:len(data)-1])
	_, err := h.Bucket.Get(t.Context(), key)
	wantCode(t, "Get of a cut object", err, fault.DataLoss)
	h.Damage(key, data)
	wantBytes(t, h.Bucket, key, data)
}

func endedContext(t *testing.T, h Harness) {
	mustPut(t, h.Bucket, "a", nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, getErr := h.Bucket.Get(ctx, "a")
	_, _, listErr := h.Bucket.List(ctx, "", "", 0)
	for method, err := range map[string]error{
		"Put": h.Bucket.Put(ctx, "b", nil), "Get": getErr, "List": listErr, "Delete": h.Bucket.Delete(ctx, "a"),
	} {
		wantCode(t, method+" with an ended context", err, fault.Cancelled)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v does not match context.Canceled", method, err)
		}
	}
	wantBytes(t, h.Bucket, "a", nil)
}

func signedURL(t *testing.T, h Harness) {
	data := []byte("report")
	mustPut(t, h.Bucket, "acme/reports/1", data)
	for _, ttl := range []time.Duration{0, -time.Second, blob.MaxSignedTTL + time.Second} {
		_, err := h.Bucket.SignedURL(t.Context(), "acme/reports/1", ttl)
		wantCode(t, fmt.Sprintf("SignedURL for %s", ttl), err, fault.Invalid)
	}
	link, err := h.Bucket.SignedURL(t.Context(), "acme/reports/1", time.Minute)
	if !h.SignsURLs {
		wantCode(t, "SignedURL of a driver without links", err, fault.FailedPrecondition)
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, link, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	got, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil || response.StatusCode != http.StatusOK || !bytes.Equal(got, data) {
		t.Errorf("GET of the link: status %d, %d bytes, error %v", response.StatusCode, len(got), err)
	}
}

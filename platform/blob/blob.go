// Package blob stores objects that are written once and never changed: raw evidence, reports,
// feeds and message bodies that are too large for a queue.
//
// It promises what Amazon S3 promises (strong read-after-write, listing in byte order of the
// keys) and enforces limits that hold for every driver. It refuses to overwrite, to append, to
// rename and to stream: an object is at most [MaxObjectBytes] and travels whole.
//
// Write the object before the record that names it, so that no record ever points at nothing.
package blob

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

const (
	// MaxObjectBytes is the largest object. S3 takes 5 GB in one PUT; ours is smaller because an
	// object is held in memory whole.
	MaxObjectBytes = 64 << 20
	// MaxKeyBytes is the longest key: S3's limit.
	// https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html
	MaxKeyBytes = 1024
	// MaxSegmentBytes is the longest part of a key between two slashes. S3 has no such limit,
	// file systems allow 255 bytes for a name (NAME_MAX), of which a driver may need a few.
	MaxSegmentBytes = 240
	// MaxPageObjects is the most objects that one List returns: S3's ListObjectsV2.
	// https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html
	MaxPageObjects = 1000
	// MaxSignedTTL is the longest life of a signed link: Signature Version 4's seven days.
	// https://docs.aws.amazon.com/AmazonS3/latest/userguide/ShareObjectPreSignedURL.html
	MaxSignedTTL = 7 * 24 * time.Hour
)

// Object is what a listing says about one stored object.
type Object struct {
	Key string
	// Size is in bytes.
	Size int64
	// ModTime is when the object was stored.
	ModTime time.Time
}

// Bucket is one set of objects. Methods may be called by many goroutines and, over the same
// storage, by many processes. All errors are faults; a key that [CheckKey] refuses is
// [fault.Invalid] everywhere.
type Bucket interface {
	// Put stores data under key and returns when it is durable. It happens whole or not at all.
	// If the key exists already with the same bytes, that is success; with other bytes it is
	// [fault.AlreadyExists] and the stored object stays as it was. More than MaxObjectBytes is
	// [fault.Invalid]. A full disk or quota is [fault.ResourceExhausted]. data is not kept.
	Put(ctx context.Context, key string, data []byte) error

	// Get returns the whole object, [fault.NotFound] if there is none. The bytes under a content
	// key (see [ContentKey]) are compared with the hash in it: [fault.DataLoss] if they differ.
	Get(ctx context.Context, key string) ([]byte, error)

	// List returns objects whose key starts with prefix (any string, not only whole segments;
	// empty: all), in byte order of the keys, at most limit (0: MaxPageObjects; more is
	// fault.Invalid). A non-empty token says that there may be more: pass it back with the same
	// prefix. Objects put or deleted between two pages may or may not be seen.
	List(ctx context.Context, prefix, pageToken string, limit int) ([]Object, string, error)

	// Delete removes the object. Deleting what is not there is success, as in S3.
	Delete(ctx context.Context, key string) error

	// SignedURL returns a link by which anybody can read the object for ttl (at most
	// MaxSignedTTL). A driver that cannot make links returns [fault.FailedPrecondition]; serve
	// the bytes from Get then.
	SignedURL(ctx context.Context, key string, ttl time.Duration) (string, error)
}

// ContentKey is the key of data by its content: "<tenant>/<kind>/<SHA-256 in lower-case hex>".
// The same bytes of one tenant and kind have one key, so storing them twice is one object, and
// [Bucket.Get] can tell whether they are still the same bytes. tenant and kind must be one key
// segment each; if they are not, Put refuses the key.
func ContentKey(tenant, kind string, data []byte) string {
	sum := sha256.Sum256(data)
	return tenant + "/" + kind + "/" + hex.EncodeToString(sum[:])
}

// Verify compares data with the hash in key, if key has the form that [ContentKey] makes. For
// other keys it returns nil. Drivers call it in Get.
func Verify(key string, data []byte) error {
	want, ok := contentHash(key)
	if !ok {
		return nil
	}
	sum := sha256.Sum256(data)
	if got := hex.EncodeToString(sum[:]); got != want {
		return fault.New(fault.DataLoss, "get blob %s: the %d stored bytes have SHA-256 %s: the object was damaged", key, len(data), got)
	}
	return nil
}

// contentHash is the last segment of a key of three segments, if it is a hash.
func contentHash(key string) (string, bool) {
	parts := strings.Split(key, "/")
	if len(parts) != 3 || len(parts[2]) != 2*sha256.Size {
		return "", false
	}
	for _, c := range []byte(parts[2]) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return "", false
		}
	}
	return parts[2], true
}

// CheckKey returns [fault.Invalid] unless key is 1 to MaxKeyBytes bytes of [a-z0-9._/-] in
// segments of 1 to MaxSegmentBytes bytes that do not start with a dot. That is narrower than S3:
// such keys mean the same in a URL, on every file system and in a log line, and cannot climb out
// of a folder.
func CheckKey(key string) error {
	switch {
	case key == "":
		return fault.New(fault.Invalid, "check blob key: it is empty")
	case len(key) > MaxKeyBytes:
		return fault.New(fault.Invalid, "check blob key: it has %d bytes, the most is %d", len(key), MaxKeyBytes)
	}
	if err := checkAlphabet(key); err != nil {
		return err
	}
	for segment := range strings.SplitSeq(key, "/") {
		switch {
		case segment == "":
			return fault.New(fault.Invalid, "check blob key %q: a segment is empty", key)
		case segment[0] == '.':
			return fault.New(fault.Invalid, "check blob key %q: segment %q starts with a dot", key, segment)
		case len(segment) > MaxSegmentBytes:
			return fault.New(fault.Invalid, "check blob key: a segment has %d bytes, the most is %d", len(segment), MaxSegmentBytes)
		}
	}
	return nil
}

// CheckPrefix returns [fault.Invalid] unless prefix can be the beginning of a key, or is empty.
func CheckPrefix(prefix string) error {
	if len(prefix) > MaxKeyBytes {
		return fault.New(fault.Invalid, "check blob prefix: it has %d bytes, the most is %d", len(prefix), MaxKeyBytes)
	}
	if err := checkAlphabet(prefix); err != nil {
		return err
	}
	if prefix == "" {
		return nil
	}
	// A prefix that ends in a slash is a key once something follows it.
	if strings.HasSuffix(prefix, "/") && len(prefix) < MaxKeyBytes {
		return CheckKey(prefix + "a")
	}
	return CheckKey(prefix)
}

// CheckPut is what every driver asks before it stores: the key and the size.
func CheckPut(key string, size int) error {
	if err := CheckKey(key); err != nil {
		return err
	}
	if size > MaxObjectBytes {
		return fault.New(fault.Invalid, "put blob %s: it has %d bytes, the most is %d", key, size, MaxObjectBytes)
	}
	return nil
}

// PageLimit is the page size for a List that asked for limit: 0 means MaxPageObjects.
func PageLimit(limit int) (int, error) {
	switch {
	case limit < 0 || limit > MaxPageObjects:
		return 0, fault.New(fault.Invalid, "list blobs: limit %d is not in 0 to %d", limit, MaxPageObjects)
	case limit == 0:
		return MaxPageObjects, nil
	}
	return limit, nil
}

// CheckSignedTTL returns [fault.Invalid] unless ttl is above 0 and at most MaxSignedTTL.
func CheckSignedTTL(ttl time.Duration) error {
	if ttl <= 0 || ttl > MaxSignedTTL {
		return fault.New(fault.Invalid, "sign blob link: a life of %s is not above 0 and at most %s", ttl, MaxSignedTTL)
	}
	return nil
}

func checkAlphabet(s string) error {
	for i, c := range s {
		if c == utf8.RuneError || !keyRune(c) {
			return fault.New(fault.Invalid, "check blob key %q: byte %d is not one of a-z 0-9 . _ / -", s, i)
		}
	}
	return nil
}

func keyRune(c rune) bool {
	return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '/' || c == '-'
}

package fileblob_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/riskprofiler/riskprofiler/platform/blob"
)

const benchBytes = 4 << 10

func payload(n int) []byte {
	return binary.BigEndian.AppendUint64(bytes.Repeat([]byte("x"), benchBytes-8), uint64(n))
}

// BenchmarkPut stores 4 KiB objects durably. Compare with BenchmarkPutFloor.
func BenchmarkPut(b *testing.B) {
	bucket := open(b, b.TempDir())
	n := 0
	for b.Loop() {
		n++
		data := payload(n)
		if err := bucket.Put(b.Context(), blob.ContentKey("acme", "raw", data), data); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPutFloor is the least that makes a file durable under a name: write, sync, rename, sync
// the folder.
func BenchmarkPutFloor(b *testing.B) {
	dir := b.TempDir()
	folder, err := os.Open(dir)
	if err != nil {
		b.Fatal(err)
	}
	defer folder.Close()
	n := 0
	for b.Loop() {
		n++
		name := filepath.Join(dir, strconv.Itoa(n))
		file, err := os.Create(name + ".tmp")
		if err != nil {
			b.Fatal(err)
		}
		if _, err := file.Write(payload(n)); err != nil {
			b.Fatal(err)
		}
		if err := file.Sync(); err != nil {
			b.Fatal(err)
		}
		if err := file.Close(); err != nil {
			b.Fatal(err)
		}
		if err := os.Rename(name+".tmp", name); err != nil {
			b.Fatal(err)
		}
		if err := folder.Sync(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkGet reads 4 KiB objects and checks their hash.
func BenchmarkGet(b *testing.B) {
	bucket := open(b, b.TempDir())
	data := payload(0)
	key := blob.ContentKey("acme", "raw", data)
	if err := bucket.Put(b.Context(), key, data); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := bucket.Get(b.Context(), key); err != nil {
			b.Fatal(err)
		}
	}
}

package snapshot

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

const benchKeys = 300_000

// large is a file of 300,000 entries of 500 bytes, made once.
var large = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "snapshot-bench-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "file")
	f, err := os.Create(path)
	if err != nil {
		return "", err
	}
	out := bufio.NewWriterSize(f, 1<<20)
	w := NewWriter(out)
	random := rand.New(rand.NewPCG(1, 1))
	last := ""
	for i := range benchKeys {
		value := fmt.Appendf(nil, "title of %d CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N https://example.com/advisories/%x https://example.com/commit/%x", i, random.Uint64(), random.Uint64())
		for len(value) < 500 {
			value = append(value, " word"...)
		}
		key := fmt.Sprintf("CVE-%04d-%06d", 1999+i*28/benchKeys, i)
		if key <= last {
			return "", fmt.Errorf("key %s", key)
		}
		if err := w.Add("advisory", key, value); err != nil {
			return "", err
		}
		last = key
	}
	if err := w.Close(); err != nil {
		return "", err
	}
	if err := out.Flush(); err != nil {
		return "", err
	}
	return path, f.Close()
})

func largeKey(i int) string { return fmt.Sprintf("CVE-%04d-%06d", 1999+i*28/benchKeys, i) }

// BenchmarkOpen is what a cold start pays: opening the file, reading its index, and one entry.
func BenchmarkOpen(b *testing.B) {
	path, err := large()
	if err != nil {
		b.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(info.Size()>>20), "MiB")
	for b.Loop() {
		r, err := Open(path)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := r.Get("advisory", largeKey(benchKeys/2)); err != nil {
			b.Fatal(err)
		}
		_ = r.Close()
	}
}

// BenchmarkOpenFloor maps the same bytes and touches one page.
func BenchmarkOpenFloor(b *testing.B) {
	path, err := large()
	if err != nil {
		b.Fatal(err)
	}
	touched := byte(0)
	for b.Loop() {
		f, err := os.Open(path)
		if err != nil {
			b.Fatal(err)
		}
		info, err := f.Stat()
		if err != nil {
			b.Fatal(err)
		}
		data, err := unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_SHARED)
		if err != nil {
			b.Fatal(err)
		}
		touched += data[len(data)/2]
		_ = unix.Munmap(data)
		_ = f.Close() // it was only read
	}
	_ = touched
}

// BenchmarkGet reads entries at random: mapped, and with pread as on other systems.
func BenchmarkGet(b *testing.B) {
	path, err := large()
	if err != nil {
		b.Fatal(err)
	}
	for name, open := range map[string]func(string) (source, error){"mapped": openSource, "pread": openOnDisk} {
		b.Run(name, func(b *testing.B) {
			src, err := open(path)
			if err != nil {
				b.Fatal(err)
			}
			r, err := newReader(path, src)
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = r.Close() }()
			random := rand.New(rand.NewPCG(1, 1))
			for b.Loop() {
				if _, err := r.Get("advisory", largeKey(random.IntN(benchKeys))); err != nil {
					b.Fatal(err)
				}
			}
			var m runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&m)
			b.ReportMetric(float64(m.HeapAlloc>>20), "MiB-heap")
		})
	}
}

package imports

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"testing"
	"time"
)

// BenchmarkBombs tells how long the slowest hostile report takes to be refused, and what the heaviest holds. The aim is less than a
// second and 64 MiB for each; the memory is a test (TestBombs), the time is told here and judged by nobody. The floor is the slowest of
// reading the same bytes, up to the size of a report, and doing nothing with them.
func BenchmarkBombs(b *testing.B) {
	for b.Loop() {
		var slowest, idle time.Duration
		var heaviest uint64
		name := ""
		for _, bomb := range bombs() {
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			w := &watcher{before: before.HeapAlloc}
			begun := time.Now()
			_ = Parse(context.Background(), bomb.format, bomb.open, refuses{}) // that it is refused is TestBombs
			if took := time.Since(begun); took > slowest {
				slowest, name = took, bomb.name
			}
			runtime.ReadMemStats(&after)
			w.see(after.HeapAlloc)
			heaviest = max(heaviest, w.most)
			idle = max(idle, readOnly(b, bomb.open))
		}
		b.ReportMetric(slowest.Seconds(), "slowest-s")
		b.ReportMetric(idle.Seconds(), "floor-s")
		b.ReportMetric(float64(heaviest)/(1<<20), "heaviest-MiB")
		b.Logf("the slowest is %q", name)
	}
}

// refuses takes everything and keeps nothing.
type refuses struct{}

func (refuses) Record(Record) error       { return nil }
func (refuses) Problem(int, string) error { return nil }

// readOnly is how long reading takes by itself.
func readOnly(b *testing.B, open Open) time.Duration {
	b.Helper()
	in, err := open()
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = in.Close() }()
	begun := time.Now()
	if _, err := io.Copy(io.Discard, io.LimitReader(in, MaxBytes)); err != nil {
		b.Fatal(err)
	}
	return time.Since(begun)
}

// BenchmarkReport reads a report of nuclei with 20,000 results; the floor decodes the same lines into the same struct.
func BenchmarkReport(b *testing.B) {
	var report bytes.Buffer
	for n := range 20_000 {
		fmt.Fprintf(&report, `{"template-id":"CVE-2021-%d","info":{"name":"Path Traversal","severity":"high","tags":["cve","lfi"],"reference":["https://example.com/advisory"],"classification":{"cve-id":["cve-2021-%d"],"cwe-id":["cwe-22"],"cvss-score":7.5}},"type":"http","host":"https://h%d.example.com","matched-at":"https://h%d.example.com/x","timestamp":"2026-01-02T03:04:05Z","matcher-status":true}`+"\n",
			10000+n, 10000+n, n%100, n%100)
	}
	b.Run("ours", func(b *testing.B) {
		b.SetBytes(int64(report.Len()))
		for b.Loop() {
			if err := Parse(context.Background(), Nuclei, of(report.Bytes()), refuses{}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("floor", func(b *testing.B) {
		b.SetBytes(int64(report.Len()))
		for b.Loop() {
			in := json.NewDecoder(bytes.NewReader(report.Bytes()))
			for {
				var e nucleiEvent
				if err := in.Decode(&e); errors.Is(err, io.EOF) {
					break
				} else if err != nil {
					b.Fatal(err)
				}
			}
		}
	})
}

package ratelimit

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/table"
)

// The floor is what a call cannot do without: one bare conditional write of the same items.
func BenchmarkTake(b *testing.B) {
	for _, n := range []int{1, 3} {
		name := map[int]string{1: "one", 3: "three"}[n]
		b.Run(name+"/floor", func(b *testing.B) { benchFloor(b, n) })
		b.Run(name+"/take", func(b *testing.B) { benchTake(b, n, 1) })
		b.Run(name+"/take32", func(b *testing.B) { benchTake(b, n, 32) })
	}
	b.Run("refused", func(b *testing.B) {
		l := storeIn(b, b.TempDir()).limiter()
		bucket := Bucket{Key: "a", Rate: 1e-6, Burst: 1}
		take(b, l, bucket)
		b.ReportAllocs()
		for b.Loop() {
			if take(b, l, bucket).OK {
				b.Fatal("taken")
			}
		}
	})
}

func benchFloor(b *testing.B, n int) {
	s := storeIn(b, b.TempDir())
	revision := table.Absent
	now := time.Now().UnixNano()
	b.ReportAllocs()
	for b.Loop() {
		writes := make([]table.Write, n)
		for i := range writes {
			writes[i] = table.Write{If: revision, Item: table.Item{
				Key:     table.Key{Partition: fmt.Sprint("bucket", i), Sort: sortKey},
				Value:   cell{tat: now, at: now}.encode(),
				Expires: time.Now().Add(Retention),
			}}
		}
		if err := s.Write(context.Background(), writes...); err != nil {
			b.Fatal(err)
		}
		revision++
	}
}

// benchTake measures takes by so many callers at once; ns/op is per take.
func benchTake(b *testing.B, n, callers int) {
	l := storeIn(b, b.TempDir()).limiter()
	buckets := make([]Bucket, n)
	for i := range buckets {
		// Fast enough never to refuse: the burst lasts for longer than a benchmark runs.
		buckets[i] = Bucket{Key: fmt.Sprint("bucket", i), Rate: MaxRate, Burst: 1e9}
	}
	b.ReportAllocs()
	if callers == 1 {
		for b.Loop() {
			if !take(b, l, buckets...).OK {
				b.Fatal("refused")
			}
		}
		return
	}
	b.SetParallelism(callers)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if d, err := l.Take(context.Background(), buckets); err != nil || !d.OK {
				b.Errorf("%+v %v", d, err)
			}
		}
	})
}

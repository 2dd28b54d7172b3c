package ratelimit

import (
	"bytes"
	"math"
	"testing"

	"github.com/riskprofiler/riskprofiler/platform/table"
)

// What is decoded is what was encoded, and no stored bytes make a bucket give more than its burst.
func FuzzDecode(f *testing.F) {
	const now = 1_800_000_000_000_000_000 // 2027
	f.Add(cell{tat: now, at: now}.encode())
	f.Add(cell{tat: now + int64(MaxRefill), at: now}.encode())
	f.Add(cell{tat: math.MaxInt64, at: math.MaxInt64}.encode())
	f.Add(cell{tat: math.MinInt64, at: math.MinInt64}.encode())
	f.Fuzz(func(t *testing.T, value []byte) {
		c, err := decode(table.Item{Value: value, Revision: 1})
		if err != nil {
			return
		}
		if !bytes.Equal(c.encode(), value) {
			t.Fatalf("%x decodes to %+v", value, c)
		}
		if c.behind(now) > MaxSkew {
			return // refused before anything is taken
		}
		d, err := Bucket{Key: "a", Rate: 1e-3, Burst: 10}.demand()
		if err != nil {
			t.Fatal(err)
		}
		given := 0
		for wait := int64(0); wait == 0 && given <= 10; {
			if c, wait = c.take(d, now); wait == 0 {
				given++
			}
		}
		if given > 10 {
			t.Fatalf("%x: %d given of 10", value, given)
		}
	})
}

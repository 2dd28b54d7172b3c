package ratelimit

import (
	"encoding/binary"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/table"
)

// Bucket is one limit and what a caller wants of it.
type Bucket struct {
	// Key names the bucket in the table, at most [table.MaxPartitionKeyBytes] of UTF-8 without
	// U+0000. It begins with the tenant where the limit is a tenant's.
	Key string
	// Rate is the lasting rate in permits per second, above 0 and at most [MaxRate].
	Rate float64
	// Burst is how many permits an idle bucket holds, at least 1; a full bucket takes Burst/Rate to
	// refill, at most [MaxRefill].
	Burst int
	// Cost is how many permits are taken, at most Burst. 0 means 1.
	Cost int
}

// Limits of a [Bucket].
const (
	// MaxRate keeps the interval between two permits, a whole number of nanoseconds that is rounded
	// up, within 0.1 % of the exact one.
	MaxRate = 1e6
	// MaxRefill keeps the arithmetic far from overflow: a leap year. The slowest limits we know are
	// monthly credits.
	MaxRefill = 366 * 24 * time.Hour
)

// demand is a checked bucket in nanoseconds: permits are interval apart, cost is what they take of
// the time line, and span is how far the time line may run ahead of the clock.
type demand struct {
	key        string
	cost, span int64
}

func (b Bucket) demand() (demand, error) {
	cost := max(b.Cost, 1)
	switch {
	case b.Key == "" || len(b.Key) > table.MaxPartitionKeyBytes || !utf8.ValidString(b.Key) || strings.IndexByte(b.Key, 0) >= 0:
		return demand{}, fault.New(fault.Invalid, "bucket key is empty, too long or no text")
	case !(b.Rate > 0 && b.Rate <= MaxRate): // so written, NaN is caught
		return demand{}, fault.New(fault.Invalid, "bucket rate %v is not above 0 and at most %v per second", b.Rate, float64(MaxRate))
	case b.Cost < 0 || b.Burst < 1 || cost > b.Burst:
		return demand{}, fault.New(fault.Invalid, "bucket burst %d can never give %d permits", b.Burst, b.Cost)
	}
	interval := math.Ceil(float64(time.Second) / b.Rate)
	if interval*float64(b.Burst) > float64(MaxRefill) {
		return demand{}, fault.New(fault.Invalid, "bucket needs longer than %v to refill", MaxRefill)
	}
	return demand{key: b.Key, cost: int64(interval) * int64(cost), span: int64(interval) * int64(b.Burst)}, nil
}

// cell is the state of a bucket. tat is GCRA's theoretical arrival time (ITU-T I.371 annex A: the
// time at which the bucket is full again), at the clock of whoever wrote it last, both in Unix
// nanoseconds. revision is the table's, 0 for a bucket that does not exist and is full.
type cell struct {
	revision int64
	tat, at  int64
}

// take is GCRA: the bucket after the demand, or how long to wait until it can be met. The new
// arrival time is max(tat, now) + cost, and it may be at most span ahead of now.
func (c cell) take(d demand, now int64) (after cell, wait int64) {
	after = cell{revision: c.revision, tat: max(c.tat, now) + d.cost, at: max(c.at, now)}
	if wait = after.tat - now - d.span; wait > 0 {
		return c, wait
	}
	return after, 0
}

// full is when the bucket is full again, by any clock that wrote to it.
func (c cell) full() int64 { return max(c.tat, c.at) }

// current says that the store cannot have dropped the item as expired since c was seen: revisions
// start again at 1 then, and an old one would pass for a new one. Half of the retention is left for
// clocks that are apart.
func (c cell) current(now int64) bool { return now < c.full()+int64(Retention/2) }

// behind is how far the clock now is behind the one that wrote last, or 0.
func (c cell) behind(now int64) time.Duration {
	return time.Duration(max(c.at-now, 0))
}

// valueBytes is the size of an encoded cell: a format byte and two big-endian numbers.
const (
	valueFormat = 1
	valueBytes  = 1 + 8 + 8
)

func (c cell) encode() []byte {
	out := make([]byte, 0, valueBytes)
	out = append(out, valueFormat)
	out = binary.BigEndian.AppendUint64(out, uint64(c.tat))
	return binary.BigEndian.AppendUint64(out, uint64(c.at))
}

// decode refuses what encode cannot have made: a number out of range would overflow in take, and
// an overflow would open the bucket.
func decode(item table.Item) (cell, error) {
	v := item.Value
	if len(v) != valueBytes || v[0] != valueFormat {
		return cell{}, fault.New(fault.DataLoss, "rate limit item is damaged")
	}
	c := cell{
		revision: item.Revision,
		tat:      int64(binary.BigEndian.Uint64(v[1:])),
		at:       int64(binary.BigEndian.Uint64(v[9:])),
	}
	ahead := c.tat - c.at
	if c.at < 0 || c.tat < 0 || ahead > int64(MaxRefill) || ahead < -int64(MaxSkew) {
		return cell{}, fault.New(fault.DataLoss, "rate limit item is damaged")
	}
	return c, nil
}

package tabletest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/table"
)

var expiryCases = []testCase{
	{"an expired item is never returned", testExpiredUnseen},
	{"an item stops to exist by itself", testExpires},
	{"milliseconds are kept", testExpiryPrecision},
	{"an expired item can be put again", testExpiredAgain},
}

func expiring(k table.Key, at time.Time) table.Write {
	w := putIn(k, "i", k)
	w.Item.Expires = at
	return w
}

func testExpiredUnseen(t *testing.T, h Harness) {
	tab := open(t, h)
	past, future := time.Now().Add(-time.Second), time.Now().Add(time.Hour)
	var keys []table.Key
	for i := range 20 {
		k := key("p", fmt.Sprintf("%02d", i))
		keys = append(keys, k)
		at := past
		if i%5 == 3 {
			at = future
		}
		write(t, tab, expiring(k, at))
	}
	wantAbsent(t, tab, keys[0])
	items, err := tab.GetAll(context.Background(), keys)
	if err != nil || fmt.Sprint(sorts(items)) != "[03 08 13 18]" {
		t.Errorf("GetAll: %q, %v", sorts(items), err)
	}
	for _, limit := range []int{0, 1, 2} {
		wantSorts(t, tab, table.Query{Partition: "p", Limit: limit}, "03", "08", "13", "18")
		wantSorts(t, tab, table.Query{Partition: "p", Limit: limit, Descending: true}, "18", "13", "08", "03")
		wantSorts(t, tab, table.Query{Partition: "p", Limit: limit, Index: "i"}, "03", "08", "13", "18")
		wantSorts(t, tab, table.Query{Partition: "p", Limit: limit, Index: "i", KeysOnly: true, Descending: true},
			"18", "13", "08", "03")
	}
}

func testExpires(t *testing.T, h Harness) {
	tab := open(t, h)
	k := key("p", "s")
	at := time.Now().Add(300 * time.Millisecond)
	write(t, tab, expiring(k, at))
	for {
		_, err := tab.Get(context.Background(), k)
		seen := time.Now()
		switch {
		case err == nil && seen.After(at.Add(30*time.Second)):
			t.Fatal("item is still there 30 s after its expiry")
		case err == nil:
			continue
		case !errors.Is(err, fault.NotFound):
			t.Fatal(err)
		case seen.Before(at.Truncate(time.Millisecond)):
			t.Fatalf("item was gone %v before its expiry", at.Sub(seen))
		}
		break
	}
	wantSorts(t, tab, table.Query{Partition: "p"})
	wantSorts(t, tab, table.Query{Partition: "p", Index: "i"})
}

func testExpiryPrecision(t *testing.T, h Harness) {
	tab := open(t, h)
	at := time.Now().Add(time.Hour).Truncate(time.Millisecond).Add(999 * time.Microsecond)
	write(t, tab, expiring(key("p", "s"), at))
	if got := get(t, tab, key("p", "s")).Expires; !got.Equal(at.Truncate(time.Millisecond)) {
		t.Errorf("expires at %v, want %v", got, at.Truncate(time.Millisecond))
	}
}

func testExpiredAgain(t *testing.T, h Harness) {
	tab := open(t, h)
	k := key("p", "s")
	for range 3 {
		write(t, tab, expiring(k, time.Now().Add(-time.Minute)))
		wantAbsent(t, tab, k)
		w := putIn(k, "i", key("P", "new"))
		w.If = table.Absent
		write(t, tab, w)
		if got := get(t, tab, k).Revision; got != 1 {
			t.Errorf("revision is %d, want 1", got)
		}
		wantSorts(t, tab, table.Query{Index: "i", Partition: "p"})
		wantSorts(t, tab, table.Query{Index: "i", Partition: "P"}, "s")
	}
}

package tabletest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/table"
)

var concurrencyCases = []testCase{
	{"one counter by revision", testCounter},
	{"one winner per condition", testOneWinner},
	{"sums are kept by all-or-nothing writes", testTransfers},
	{"a write is seen once it is acknowledged", testReadYourWrites},
}

var durabilityCases = []testCase{
	{"what was acknowledged is there after a restart", testReopen},
}

const workers = 8

func number(i table.Item) uint64 { return binary.BigEndian.Uint64(i.Value) }

func numbered(k table.Key, n uint64, condition table.Condition) table.Write {
	return table.Write{Item: table.Item{Key: k, Value: binary.BigEndian.AppendUint64(nil, n)}, If: condition}
}

// testCounter lets workers count one item up, each by reading it and putting it if unchanged.
func testCounter(t *testing.T, h Harness) {
	tab := open(t, h)
	ctx := context.Background()
	k := key("p", "counter")
	write(t, tab, numbered(k, 0, table.Absent))
	const each = 40
	var g errgroup.Group
	for range workers {
		g.Go(func() error {
			for done := 0; done < each; {
				item, err := tab.Get(ctx, k)
				if err != nil {
					return err
				}
				err = tab.Write(ctx, numbered(k, number(item)+1, table.Condition(item.Revision)))
				switch {
				case err == nil:
					done++
				case !errors.Is(err, fault.Conflict):
					return err
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	item := get(t, tab, k)
	if number(item) != workers*each || item.Revision != workers*each+1 {
		t.Errorf("counter is %d at revision %d, want %d", number(item), item.Revision, workers*each)
	}
}

func testOneWinner(t *testing.T, h Harness) {
	tab := open(t, h)
	for round := range 30 {
		k := key("p", fmt.Sprint(round))
		var won atomic.Int64
		var g errgroup.Group
		start := make(chan struct{})
		for w := range workers {
			g.Go(func() error {
				<-start
				err := tab.Write(context.Background(), numbered(k, uint64(w), table.Absent))
				if err == nil {
					won.Add(1)
				} else if !errors.Is(err, fault.Conflict) {
					return err
				}
				return nil
			})
		}
		close(start)
		if err := g.Wait(); err != nil {
			t.Fatal(err)
		}
		if won.Load() != 1 {
			t.Fatalf("%d writers created the same item", won.Load())
		}
	}
}

// testTransfers moves amounts between accounts, two conditional puts at a time. Whatever is lost or
// doubled shows in the sum.
func testTransfers(t *testing.T, h Harness) {
	tab := open(t, h)
	ctx := context.Background()
	const accounts, start = 6, 1000
	for a := range accounts {
		write(t, tab, numbered(key("p", fmt.Sprint(a)), start, table.Absent))
	}
	var g errgroup.Group
	for w := range workers {
		g.Go(func() error {
			random := rand.New(rand.NewPCG(1, uint64(w)))
			for done := 0; done < 30; {
				ab := random.Perm(accounts)[:2]
				items, err := tab.GetAll(ctx, []table.Key{key("p", fmt.Sprint(ab[0])), key("p", fmt.Sprint(ab[1]))})
				if err != nil {
					return err
				}
				amount := random.Uint64N(number(items[0]) + 1)
				err = tab.Write(ctx,
					numbered(items[0].Key, number(items[0])-amount, table.Condition(items[0].Revision)),
					numbered(items[1].Key, number(items[1])+amount, table.Condition(items[1].Revision)))
				switch {
				case err == nil:
					done++
				case !errors.Is(err, fault.Conflict):
					return err
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	var sum uint64
	for _, item := range all(t, tab, table.Query{Partition: "p"}) {
		sum += number(item)
	}
	if sum != accounts*start {
		t.Errorf("sum is %d, want %d", sum, accounts*start)
	}
}

// testReadYourWrites has one writer and readers that must never see less than what was
// acknowledged before they asked.
func testReadYourWrites(t *testing.T, h Harness) {
	tab := open(t, h)
	k := key("p", "s")
	write(t, tab, put(k, ""))
	var acknowledged atomic.Int64
	acknowledged.Store(1)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				least := acknowledged.Load()
				item, err := tab.Get(context.Background(), k)
				if err != nil || item.Revision < least {
					t.Errorf("got revision %d, %v after %d was acknowledged", item.Revision, err, least)
					return
				}
			}
		})
	}
	for range 100 {
		if err := tab.Write(context.Background(), put(k, "")); err != nil {
			t.Error(err)
			break
		}
		acknowledged.Add(1)
	}
	close(stop)
	wg.Wait()
}

func testReopen(t *testing.T, h Harness) {
	tab := open(t, h)
	write(t, tab, put(key("p", "gone"), "v"))
	for i := range 20 {
		w := putIn(key("p", fmt.Sprintf("%02d", i)), "i", key("P", fmt.Sprintf("%02d", 20-i)))
		w.Item.Value = []byte(fmt.Sprint("value ", i))
		write(t, tab, w)
		write(t, tab, w)
	}
	write(t, tab, table.Write{Delete: true, If: 1, Item: table.Item{Key: key("p", "gone")}})
	want := all(t, tab, table.Query{Partition: "p"})
	first, err := tab.Query(context.Background(), table.Query{Partition: "p", Limit: 7})
	if err != nil {
		t.Fatal(err)
	}

	h.Reopen(t)
	tab = open(t, h)
	if d := diff(want, all(t, tab, table.Query{Partition: "p"})); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	wantSorts(t, tab, table.Query{Index: "i", Partition: "P", Before: "03"}, "19", "18")
	rest := all(t, tab, table.Query{Partition: "p", PageToken: first.NextPageToken})
	if d := diff(want[7:], rest); d != "" {
		t.Errorf("old page token (-want +got):\n%s", d)
	}
	wantConflict(t, tab.Write(context.Background(), table.Write{Item: table.Item{Key: want[0].Key}, If: 1}), 0)
	write(t, tab, table.Write{Item: table.Item{Key: want[0].Key}, If: 2})
}

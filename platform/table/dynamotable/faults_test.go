//go:build awstest

package dynamotable_test

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/riskprofiler/riskprofiler/platform/awsclient/awstest"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/table"
	"github.com/riskprofiler/riskprofiler/platform/table/dynamotable"
)

// lossy throttles some requests before they reach the server and loses some answers behind it.
type lossy struct {
	next             http.RoundTripper
	throttle, lose   float64
	requests, losses atomic.Int64
}

func (l *lossy) RoundTrip(r *http.Request) (*http.Response, error) {
	l.requests.Add(1)
	if rand.Float64() < l.throttle {
		return throttled()
	}
	response, err := l.next.RoundTrip(r)
	if err == nil && rand.Float64() < l.lose {
		l.losses.Add(1)
		_ = response.Body.Close()
		return nil, errLost
	}
	return response, err
}

// TestCountsThroughFaults: writers count one item up by its revision while requests are throttled and answers get lost. What was
// said to have happened did, what was said to be a conflict did not, and only for fault.Unavailable it may be either.
func TestCountsThroughFaults(t *testing.T) {
	l := awstest.Location(t)
	cfg := awstest.Config(t, l)
	if err := dynamotable.Create(t.Context(), dynamotable.Open(cfg, l).Client(), l.Name("things"), nil); err != nil {
		t.Fatal(err)
	}
	faulty := &lossy{next: cfg.HTTPClient.(*http.Client).Transport, throttle: 0.2, lose: 0.2}
	cfg.HTTPClient = &http.Client{Transport: faulty}
	tab := table.New(dynamotable.Open(cfg, l).Table("things"), table.Options{Name: "things"})

	var done, unknown, conflicts atomic.Int64
	var g errgroup.Group
	for range 4 {
		g.Go(func() error {
			for range 40 {
				if err := countUp(t.Context(), tab); err == nil {
					done.Add(1)
				} else if errors.Is(err, fault.Conflict) {
					conflicts.Add(1)
				} else if errors.Is(err, fault.Unavailable) {
					unknown.Add(1)
				} else {
					return err
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	faulty.lose, faulty.throttle = 0, 0
	item, err := tab.Get(t.Context(), things)
	if err != nil {
		t.Fatal(err)
	}
	n := int64(binary.BigEndian.Uint64(item.Value))
	t.Logf("%d of %d answers lost; counted %d, %d conflicts, %d unknown; the item says %d", faulty.losses.Load(), faulty.requests.Load(),
		done.Load(), conflicts.Load(), unknown.Load(), n)
	if n < done.Load() || n > done.Load()+unknown.Load() || item.Revision != n {
		t.Errorf("item says %d at revision %d, counted %d and perhaps %d", n, item.Revision, done.Load(), unknown.Load())
	}
	if done.Load() == 0 || faulty.losses.Load() == 0 {
		t.Error("nothing was tried")
	}
}

// TestTransfersThroughFaults: a transaction whose answer was lost is sent again and happens once, so that every outcome is certain.
func TestTransfersThroughFaults(t *testing.T) {
	l := awstest.Location(t)
	cfg := awstest.Config(t, l)
	if err := dynamotable.Create(t.Context(), dynamotable.Open(cfg, l).Client(), l.Name("things"), nil); err != nil {
		t.Fatal(err)
	}
	faulty := &lossy{next: cfg.HTTPClient.(*http.Client).Transport, throttle: 0.1, lose: 0.3}
	cfg.HTTPClient = &http.Client{Transport: faulty}
	tab := table.New(dynamotable.Open(cfg, l).Table("things"), table.Options{Name: "things"})
	const moves = 60
	var from, to int64
	for n := range int64(moves) {
		// From one that counts down by its revision to one that is put without a condition.
		err := tab.Write(t.Context(),
			table.Write{If: table.Condition(n), Item: table.Item{Key: table.Key{Partition: "from"}}},
			table.Write{If: table.Any, Item: table.Item{Key: table.Key{Partition: "to"}}})
		if err != nil {
			t.Fatalf("move %d: %v", n, err)
		}
	}
	faulty.lose, faulty.throttle = 0, 0
	items, err := tab.GetAll(t.Context(), []table.Key{{Partition: "from"}, {Partition: "to"}})
	if err != nil || len(items) != 2 {
		t.Fatal(items, err)
	}
	if from, to = items[0].Revision, items[1].Revision; from != moves || to != moves || faulty.losses.Load() == 0 {
		t.Errorf("%d answers lost: written %d and %d times, want %d", faulty.losses.Load(), from, to, moves)
	}
}

func countUp(ctx context.Context, tab *table.Table) error {
	item, err := tab.Get(ctx, things)
	if err != nil && !errors.Is(err, fault.NotFound) {
		return err
	}
	var n uint64
	if err == nil {
		n = binary.BigEndian.Uint64(item.Value)
	}
	return tab.Write(ctx, table.Write{If: table.Condition(item.Revision),
		Item: table.Item{Key: things, Value: binary.BigEndian.AppendUint64(nil, n+1)}})
}

// TestMissingTable: what a stand-in says is what the words are for.
func TestMissingTable(t *testing.T) {
	l := awstest.Location(t)
	tab := table.New(dynamotable.Open(awstest.Config(t, l), l).Table("things"), table.Options{Name: "things"})
	_, get := tab.Get(t.Context(), things)
	_, query := tab.Query(t.Context(), table.Query{Partition: "p"})
	put := table.Write{Item: table.Item{Key: things}}
	for _, err := range []error{get, query, tab.Write(t.Context(), put)} {
		if !errors.Is(err, fault.Internal) || !strings.Contains(err.Error(), "table "+l.Name("things")+" in eu-west-1: it does not exist there; deploy it") {
			t.Error(err)
		}
	}
}

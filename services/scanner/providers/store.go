package providers

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	scannerv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/scanner/v1"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/table"
	"github.com/riskprofiler/riskprofiler/platform/table/protoitem"
)

const (
	// maxTries bounds the writes of one change of a ledger when other workers keep coming first.
	maxTries = 25
	// firstRest and lastRest bound the random pause after such a lost race.
	firstRest, lastRest = time.Millisecond, 100 * time.Millisecond
	// keepLedger is how long a ledger outlives its last request: longer than its longest period.
	keepLedger = 45 * 24 * time.Hour
	// keepUse is how long the count of an assessment is kept: longer than any runs.
	keepUse = 14 * 24 * time.Hour
	// ledgerSort and useSort are the sort keys of the two kinds of items.
	ledgerSort, useSort = "ledger", "use"
)

// ledgers changes ledgers in the table. Workers of one process take turns for each ledger; those of others are noticed by the
// revision.
type ledgers struct {
	table *table.Table

	mu    sync.Mutex
	turns map[string]chan struct{}
}

func (s *ledgers) turn(name string) chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.turns == nil || len(s.turns) > maxKeys {
		s.turns = map[string]chan struct{}{}
	}
	if s.turns[name] == nil {
		s.turns[name] = make(chan struct{}, 1)
	}
	return s.turns[name]
}

// change applies decide to the stored ledger, and again if another worker came first. decide returns nil to leave things as they
// are, else what is to be written beside the ledger.
func (s *ledgers) change(ctx context.Context, p *Provider, name string, decide func(*scannerv1.QuotaLedger) ([]table.Write, bool, error)) error {
	turn := s.turn(name)
	select {
	case turn <- struct{}{}:
		defer func() { <-turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	rest := firstRest
	for range maxTries {
		l, revision, err := s.load(ctx, name)
		if err != nil {
			return err
		}
		l.Provider = p.Name
		beside, write, err := decide(l)
		if err != nil || !write {
			return err
		}
		item, err := protoitem.New(table.Key{Partition: name, Sort: ledgerSort}, l)
		if err != nil {
			return err
		}
		item.Expires = time.Now().Add(keepLedger)
		err = s.table.Write(ctx, append([]table.Write{{Item: item, If: table.Condition(revision)}}, beside...)...)
		if !errors.Is(err, fault.Conflict) {
			return err
		}
		if err := sleep(ctx, time.Duration(rand.Int64N(int64(rest)+1))); err != nil { //nolint:gosec // spreads load, hides nothing
			return err
		}
		rest = min(2*rest, lastRest)
	}
	return fault.New(fault.Unavailable, "keep account of requests to %s: other workers kept coming first", p.Name)
}

func (s *ledgers) load(ctx context.Context, name string) (*scannerv1.QuotaLedger, int64, error) {
	item, err := s.table.Get(ctx, table.Key{Partition: name, Sort: ledgerSort})
	if errors.Is(err, fault.NotFound) {
		return &scannerv1.QuotaLedger{}, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	l, err := protoitem.Decode(item, &scannerv1.QuotaLedger{})
	return l, item.Revision, err
}

// useKey is where the requests of one assessment are counted.
func useKey(tenant, assessment string, p *Provider) table.Key {
	return table.Key{Partition: "T#" + tenant + "#U#" + assessment + "#" + p.Name, Sort: useSort}
}

// countUse is the write that counts one request of an assessment, or the problem that its budget is used up.
func (s *ledgers) countUse(ctx context.Context, key table.Key, limit int) (table.Write, error) {
	use, revision := &scannerv1.QuotaUse{}, int64(0)
	item, err := s.table.Get(ctx, key)
	switch {
	case errors.Is(err, fault.NotFound):
	case err != nil:
		return table.Write{}, err
	default:
		if use, err = protoitem.Decode(item, use); err != nil {
			return table.Write{}, err
		}
		revision = item.Revision
	}
	if int(use.GetRequests()) >= limit {
		return table.Write{}, &Problem{State: limited, Text: "this assessment has used up the requests that it may make to it"}
	}
	use.Requests++
	next, err := protoitem.New(key, use)
	if err != nil {
		return table.Write{}, err
	}
	next.Expires = time.Now().Add(keepUse)
	return table.Write{Item: next, If: table.Condition(revision)}, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

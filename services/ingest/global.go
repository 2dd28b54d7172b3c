package ingest

import (
	"context"
	"sync"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/table"
)

// globalAge is how long a process decides by what it last read of the stops and entries that concern all tenants. Every decision of
// every tenant needs them: read each time they would be one hot partition, and a sixth of all reads. What this process changes itself
// counts at once; what another changed, after this long, which is little beside the 60 s in which a stop has to take effect.
const globalAge = 5 * time.Second

// global is what was last read of the global partition.
type global struct {
	mu      sync.Mutex
	items   []table.Item
	readAt  time.Time
	changes int // counts what this process changed, so that a read that began before is not kept
}

// globalItems are the items of the global partition, at most globalAge old. The caller does not change them.
func (s *Service) globalItems(ctx context.Context) ([]table.Item, error) {
	s.global.mu.Lock()
	items, fresh, changes := s.global.items, time.Since(s.global.readAt) < globalAge, s.global.changes
	s.global.mu.Unlock()
	if fresh {
		return items, nil
	}
	now := time.Now()
	items, err := s.queryAll(ctx, table.Query{Partition: globalPartition}, maxGlobal)
	if err != nil {
		return nil, err
	}
	s.global.mu.Lock()
	defer s.global.mu.Unlock()
	if s.global.changes == changes {
		s.global.items, s.global.readAt = items, now
	}
	return items, nil
}

// changed makes the next decision read again. It is called when a write has ended, however it ended.
func (g *global) changed() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.readAt = time.Time{}
	g.changes++
}

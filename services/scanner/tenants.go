package scanner

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"sync"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/table"
)

// Fairness between tenants: each has an equal part of the global rate, so that nobody waits for whoever has more jobs. How many
// there are is known by one item of the table, in which every worker notes now and then for whom it works.
const (
	// tenantsKey is the item's partition and sort key. No bucket has that name: theirs have a '#', or are "global".
	tenantsKey = "tenants"
	// tenantsEvery is how often a worker reads and writes the item, tenantsLife how long a note counts.
	tenantsEvery, tenantsLife = 5 * time.Second, 20 * time.Second
	// maxTenants bounds the item to 64 KiB. With more tenants than that at a time their parts are a little too large, and the
	// global rate still holds.
	maxTenants = 4000
	// noteBytes are 8 bytes of a tenant's hash and 8 of Unix seconds.
	noteBytes = 16
)

// tenantCount knows which tenants have jobs running: here, and by the table elsewhere.
type tenantCount struct {
	table *table.Table

	mu        sync.Mutex
	jobs      map[uint64]int
	elsewhere map[uint64]int64 // Unix seconds of the last note
	next      time.Time
}

// enter notes a job of tenant until the function that it returns is called.
func (c *tenantCount) enter(tenant string) (leave func()) {
	sum := sha256.Sum256([]byte(tenant))
	id := binary.BigEndian.Uint64(sum[:])
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.jobs == nil {
		c.jobs = map[uint64]int{}
	}
	if c.jobs[id]++; c.jobs[id] == 1 {
		c.next = time.Time{} // others should know soon
	}
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.jobs[id]--; c.jobs[id] == 0 {
			delete(c.jobs, id)
		}
	}
}

// count is the number of tenants that have jobs running anywhere, at least 1.
func (c *tenantCount) count() int {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	n := len(c.jobs)
	for id, at := range c.elsewhere {
		if c.jobs[id] == 0 && fresh(at, now) {
			n++
		}
	}
	return max(n, 1)
}

func fresh(at int64, now time.Time) bool { return now.Unix()-at < int64(tenantsLife/time.Second) }

// refresh reads what others noted and notes what runs here, where that is due. What fails is tried again when it is due next:
// the limits themselves do not depend on it.
func (c *tenantCount) refresh(ctx context.Context) {
	now := time.Now()
	c.mu.Lock()
	if c.table == nil || now.Before(c.next) {
		c.mu.Unlock()
		return
	}
	c.next = now.Add(tenantsEvery)
	here := make([]uint64, 0, len(c.jobs))
	for id := range c.jobs {
		here = append(here, id)
	}
	c.mu.Unlock()

	key := table.Key{Partition: tenantsKey, Sort: tenantsKey}
	items, err := c.table.GetAll(ctx, []table.Key{key})
	if err != nil {
		return
	}
	notes, revision := map[uint64]int64{}, int64(0)
	for _, item := range items {
		notes, revision = readNotes(item.Value, now), item.Revision
	}
	c.mu.Lock()
	c.elsewhere = notes
	c.mu.Unlock()
	item := table.Item{Key: key, Value: writeNotes(notes, here, now), Expires: now.Add(time.Hour)}
	_ = c.table.Write(ctx, table.Write{Item: item, If: table.Condition(revision)})
}

// readNotes gives the notes that still count. Bytes that make no sense are no notes.
func readNotes(value []byte, now time.Time) map[uint64]int64 {
	notes := map[uint64]int64{}
	for note := range slices.Chunk(value, noteBytes) {
		if len(note) < noteBytes || len(notes) >= maxTenants {
			break
		}
		if at := int64(binary.BigEndian.Uint64(note[8:])); at > 0 && fresh(at, now) && at <= now.Add(tenantsLife).Unix() {
			notes[binary.BigEndian.Uint64(note)] = at
		}
	}
	return notes
}

// writeNotes is notes with those that run here now.
func writeNotes(notes map[uint64]int64, here []uint64, now time.Time) []byte {
	value := make([]byte, 0, (len(notes)+len(here))*noteBytes)
	for _, id := range here[:min(len(here), maxTenants)] {
		value = binary.BigEndian.AppendUint64(value, id)
		value = binary.BigEndian.AppendUint64(value, uint64(now.Unix()))
	}
	for id, at := range notes {
		if len(value) < maxTenants*noteBytes && !slices.Contains(here, id) {
			value = binary.BigEndian.AppendUint64(value, id)
			value = binary.BigEndian.AppendUint64(value, uint64(at))
		}
	}
	return value
}

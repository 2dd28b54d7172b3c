package correlator

import (
	"context"
	"encoding/json"
	"errors"
	"hash/fnv"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/table"
)

// The index from what an evaluation depends on to the assets, so that a change of it finds whom it concerns:
//
//	V#<key>#<shard>   <tenant>#<asset id>    who runs a product, or has a kind of fact; the shard follows from the tenant
//	V                 <key>                  every key that was ever used: a superset, never deleted from
//
// An entry is written in the same all-or-nothing write as the findings that follow from the same facts, so it is never behind them.
const (
	keysPartition = "V"
	// shards spread a key that everybody has over partitions of the store: 4 x 1,000 writes a second in DynamoDB.
	shards = 4
	// maxKeys bounds the keys of one asset: its products under all their names, what other tools reported, and the kinds of facts.
	maxKeys = 4*maxProducts + maxReportedKeys
	// factKey begins the keys of kinds of facts.
	factKey = "fact:"
)

func shardOf(tenant string) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(tenant)) // never fails
	return int(h.Sum32() % shards)
}

func usersPartition(key string, shard int) string {
	return "V#" + key + "#" + strconv.Itoa(shard)
}

func userKey(key, tenant, assetID string) table.Key {
	return table.Key{Partition: usersPartition(key, shardOf(tenant)), Sort: tenant + "#" + assetID}
}

// indexWrites turn the entries of an asset from those of the keys before into those of the keys now.
func indexWrites(tenant, assetID string, before, now []string) []table.Write {
	var out []table.Write
	for _, key := range now {
		if _, known := slices.BinarySearch(before, key); !known {
			out = append(out, table.Write{Item: table.Item{Key: userKey(key, tenant, assetID)}, If: table.Any})
		}
	}
	for _, key := range before {
		if _, kept := slices.BinarySearch(now, key); !kept {
			out = append(out, table.Write{Delete: true, If: table.Any, Item: table.Item{Key: userKey(key, tenant, assetID)}})
		}
	}
	return out
}

// added are the keys of now that are not in before; both are sorted.
func added(before, now []string) []string {
	var out []string
	for _, key := range now {
		if _, known := slices.BinarySearch(before, key); !known {
			out = append(out, key)
		}
	}
	return out
}

// union of two sorted lists, sorted.
func union(a, b []string) []string {
	out := slices.Concat(a, b)
	slices.Sort(out)
	return slices.Compact(out)
}

// registry are the keys that this process saw registered; they are never taken back, so remembering is safe.
type registry struct {
	mu    sync.Mutex
	known map[string]bool
}

// maxRegistered bounds what is remembered; beyond it the memory starts anew.
const maxRegistered = 100_000

// register writes down that keys are used by somebody. It happens before the entries of the index, in a write of its own: everybody's
// evaluations would else meet on one item.
func (s *Service) register(ctx context.Context, keys []string) error {
	s.registry.mu.Lock()
	var fresh []string
	for _, key := range keys {
		if !s.registry.known[key] && !strings.HasPrefix(key, factKey) {
			fresh = append(fresh, key)
		}
	}
	s.registry.mu.Unlock()
	for chunk := range slices.Chunk(fresh, writeChunk) {
		writes := make([]table.Write, 0, len(chunk))
		for _, key := range chunk {
			writes = append(writes, table.Write{Item: table.Item{Key: table.Key{Partition: keysPartition, Sort: key}}, If: table.Any})
		}
		if err := s.table.Write(ctx, writes...); err != nil {
			return err
		}
	}
	s.registry.mu.Lock()
	defer s.registry.mu.Unlock()
	if s.registry.known == nil || len(s.registry.known) > maxRegistered {
		s.registry.known = map[string]bool{}
	}
	for _, key := range fresh {
		s.registry.known[key] = true
	}
	return nil
}

// tenantsOf are the tenants that use a key. Each costs one read of one entry, however many assets it has.
func (s *Service) tenantsOf(ctx context.Context, key string, found func(tenant string)) error {
	for shard := range shards {
		q := table.Query{Partition: usersPartition(key, shard), Limit: 1, KeysOnly: true}
		for {
			page, err := s.table.Query(ctx, q)
			if err != nil {
				return err
			}
			if len(page.Items) > 0 {
				tenant, _, _ := strings.Cut(page.Items[0].Key.Sort, "#")
				found(tenant)
				q.After, q.PageToken = tenant+"$", "" // right behind "#", which ends a tenant's id
			} else if q.PageToken = page.NextPageToken; q.PageToken == "" {
				break
			}
		}
	}
	return nil
}

// marks of the whole platform, which lie beside the registry under names that are no keys.
const (
	stateIntel     = "INTEL"
	stateCatalogue = "CATALOGUE"
	statePartition = "V#STATE"
)

// intelState is the newest snapshot that was announced. It is written before the index is read, and looked at after an entry was
// written: whoever wrote an entry that the reading missed sees it and evaluates again.
type intelState struct {
	Version string `json:"version"`
}

func stateKey(name string) table.Key { return table.Key{Partition: statePartition, Sort: name} }

// loadState reads a mark as JSON; it is left as it is if there is none.
func (s *Service) loadState(ctx context.Context, key table.Key, into any) (int64, error) {
	item, err := s.table.Get(ctx, key)
	if errors.Is(err, fault.NotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return item.Revision, decodeMark(item, into)
}

// saveState writes a mark as JSON, if it has the revision.
func (s *Service) saveState(ctx context.Context, key table.Key, from any, revision int64) error {
	value, err := json.Marshal(from)
	if err != nil {
		return fault.Wrap(fault.Internal, err, "encode mark")
	}
	return s.table.Write(ctx, table.Write{Item: table.Item{Key: key, Value: value}, If: table.Condition(revision)})
}

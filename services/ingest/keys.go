package ingest

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"hash/fnv"
	"strconv"
	"strings"
	"time"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/resource"
	"github.com/riskprofiler/riskprofiler/platform/table"
	"github.com/riskprofiler/riskprofiler/platform/table/protoitem"
)

// The table's partitions. Every key begins with the tenant; ARCHITECTURE.md lists the access patterns.
//
//	T#<tenant>#A#<asset id>        ASSET, SET#<scan type>#<location>, PROOF#<id>,   all about one asset
//	                               HELD#<asset id>#<hash of location>              what its inventory told of other assets
//	T#<tenant>#R#<assessment id>   JOB#<job>, ASSET#<asset id>                      what one assessment reached
//	T#<tenant>#X                   <exclusion id>
//	T#<tenant>#M                   <import id>
//	T#<tenant>#M#<import id>       <number of the problem>
//	T#<tenant>#K                   <stop id>                                        what the tenant's own people stopped
//	T#<tenant>#Z                   <authorization id>                               who authorised what, in order of time
//	T#<tenant>#Z#<asset id>        <authorization id>                               the same of one asset
//	GLOBAL                         NO#<entry id>, STOP#<stop id>                    what operators forbade, for all tenants
//
// Indexes: "assets" (T#<tenant>, asset id), "seeds" (T#<tenant>, value), "coverage" (T#<tenant>#R#<assessment id>, time#job),
// "recheck" (RECHECK#<shard>, time#tenant#asset id) of seeds whose proof is looked at again by itself.
const (
	indexAssets   = "assets"
	indexSeeds    = "seeds"
	indexCoverage = "coverage"
	indexRecheck  = "recheck"

	sortAsset   = "ASSET"
	prefixSet   = "SET#"
	prefixProof = "PROOF#"
	prefixHeld  = "HELD#"
	prefixJob   = "JOB#"
	prefixReach = "ASSET#"
	prefixEntry = "NO#"
	prefixStop  = "STOP#"

	globalPartition = "GLOBAL"
	// recheckShards of the index that all tenants write to: as many as the scheduler has.
	recheckShards = 16
)

func tenantKey(tenant string) string { return "T#" + tenant }

func assetPartition(tenant, asset string) string { return "T#" + tenant + "#A#" + resource.ID(asset) }

func assetKey(tenant, asset string) table.Key {
	return table.Key{Partition: assetPartition(tenant, asset), Sort: sortAsset}
}

func setKey(tenant string, s *modelv1.ObservationSet) table.Key {
	return table.Key{Partition: assetPartition(tenant, s.GetAsset()), Sort: prefixSet + s.GetScanType().String() + "#" + s.GetLocation()}
}

func reachPartition(tenant, assessment string) string {
	return "T#" + tenant + "#R#" + resource.ID(assessment)
}

func jobKey(tenant, assessment, job string) table.Key {
	return table.Key{Partition: reachPartition(tenant, assessment), Sort: prefixJob + job}
}

func exclusionPartition(tenant string) string { return "T#" + tenant + "#X" }

func stopPartition(tenant string) string { return "T#" + tenant + "#K" }

func authorizationPartition(tenant, asset string) string {
	if asset == "" {
		return "T#" + tenant + "#Z"
	}
	return "T#" + tenant + "#Z#" + resource.ID(asset)
}

// isEntry tells an entry of the do-not-scan list from a stop.
func isEntry(k table.Key) bool { return strings.HasPrefix(k.Sort, prefixEntry) }

// sortableID makes an id that sorts by time: 48 bits of milliseconds and 80 random bits, as a ULID has them.
func sortableID(now time.Time) string {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], uint64(now.UnixMilli())<<16)
	_, _ = rand.Read(b[6:]) // never fails: crypto/rand.Read ends the program instead (Go 1.24)
	return strings.ToLower(base32.HexEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:]))
}

func recheckPartition(tenant string) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(tenant))
	return "RECHECK#" + strconv.Itoa(int(h.Sum32()%recheckShards))
}

// assetItem is an asset as it is stored: whole, beside its places in the indexes.
func assetItem(tenant string, a *modelv1.Asset) (table.Item, error) {
	item, err := protoitem.New(assetKey(tenant, a.GetName()), a)
	if err != nil {
		return table.Item{}, err
	}
	item.Indexes = map[string]table.Key{indexAssets: {Partition: tenantKey(tenant), Sort: resource.ID(a.GetName())}}
	if a.GetSeed() {
		item.Indexes[indexSeeds] = table.Key{Partition: tenantKey(tenant), Sort: clip(a.GetValue(), 512) + "#" + resource.ID(a.GetName())}
	}
	if o := a.GetOwnership(); a.GetSeed() && o.GetState() == modelv1.Ownership_STATE_VERIFIED && o.GetNextCheck() != nil {
		item.Indexes[indexRecheck] = table.Key{
			Partition: recheckPartition(tenant), Sort: resource.SortableTime(o.GetNextCheck().AsTime()) + "#" + tenant + "#" + resource.ID(a.GetName()),
		}
	}
	return item, nil
}

func clip(s string, n int) string {
	if len(s) > n {
		return s[:n]
	}
	return s
}

func isConflict(err error) bool { return errors.Is(err, fault.Conflict) }

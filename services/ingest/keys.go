package ingest

import (
	"errors"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/table"
)

// The table's partitions. Every key begins with the tenant; ARCHITECTURE.md lists the access patterns.
//
//	T#<tenant>#A#<asset id>        ASSET, SET#<scan type>#<location>, PROOF#<id>    all about one asset
//	T#<tenant>#R#<assessment id>   JOB#<job>, ASSET#<asset id>                      what one assessment reached
//	T#<tenant>#X                   <exclusion id>
//
// Indexes: "assets" (T#<tenant>, asset id), "seeds" (T#<tenant>, value), "coverage" (T#<tenant>#R#<assessment id>, time#job).
const (
	indexAssets   = "assets"
	indexSeeds    = "seeds"
	indexCoverage = "coverage"

	sortAsset   = "ASSET"
	prefixSet   = "SET#"
	prefixProof = "PROOF#"
	prefixJob   = "JOB#"
	prefixReach = "ASSET#"
)

func id(name string) string { return name[strings.LastIndexByte(name, '/')+1:] }

func tenantKey(tenant string) string { return "T#" + tenant }

func assetPartition(tenant, asset string) string { return "T#" + tenant + "#A#" + id(asset) }

func assetKey(tenant, asset string) table.Key {
	return table.Key{Partition: assetPartition(tenant, asset), Sort: sortAsset}
}

func setKey(tenant string, s *modelv1.ObservationSet) table.Key {
	return table.Key{Partition: assetPartition(tenant, s.GetAsset()), Sort: prefixSet + s.GetScanType().String() + "#" + s.GetLocation()}
}

func reachPartition(tenant, assessment string) string { return "T#" + tenant + "#R#" + id(assessment) }

func jobKey(tenant, assessment, job string) table.Key {
	return table.Key{Partition: reachPartition(tenant, assessment), Sort: prefixJob + job}
}

func exclusionPartition(tenant string) string { return "T#" + tenant + "#X" }

// assetItem is an asset as it is stored: whole, beside its places in the indexes.
func assetItem(tenant string, a *modelv1.Asset) (table.Item, error) {
	item, err := protoItem(assetKey(tenant, a.GetName()), a)
	if err != nil {
		return table.Item{}, err
	}
	item.Indexes = map[string]table.Key{indexAssets: {Partition: tenantKey(tenant), Sort: id(a.GetName())}}
	if a.GetSeed() {
		item.Indexes[indexSeeds] = table.Key{Partition: tenantKey(tenant), Sort: clip(a.GetValue(), 512) + "#" + id(a.GetName())}
	}
	return item, nil
}

func protoItem(key table.Key, m proto.Message) (table.Item, error) {
	value, err := proto.Marshal(m)
	if err != nil {
		return table.Item{}, fault.Wrap(fault.Internal, err, "encode %s", m.ProtoReflect().Descriptor().Name())
	}
	return table.Item{Key: key, Value: value}, nil
}

func decode[M proto.Message](item table.Item, into M) (M, error) {
	if err := proto.Unmarshal(item.Value, into); err != nil {
		return into, fault.Wrap(fault.DataLoss, err, "decode stored %s", into.ProtoReflect().Descriptor().Name())
	}
	return into, nil
}

// sortableTime is a time as text that sorts by time, in UTC with nanoseconds.
func sortableTime(t time.Time) string { return t.UTC().Format("20060102T150405.000000000") }

func clip(s string, n int) string {
	if len(s) > n {
		return s[:n]
	}
	return s
}

func isConflict(err error) bool { return errors.Is(err, fault.Conflict) }

// pageSize is the page size a request means by n.
func pageSize(n int32) int {
	if n == 0 {
		return 50
	}
	return int(n)
}

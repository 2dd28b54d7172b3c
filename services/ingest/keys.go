package ingest

import (
	"errors"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/resource"
	"github.com/riskprofiler/riskprofiler/platform/table"
	"github.com/riskprofiler/riskprofiler/platform/table/protoitem"
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
	return item, nil
}

func clip(s string, n int) string {
	if len(s) > n {
		return s[:n]
	}
	return s
}

func isConflict(err error) bool { return errors.Is(err, fault.Conflict) }

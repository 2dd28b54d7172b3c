package scheduler

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"hash/fnv"
	"strconv"
	"strings"
	"time"

	schedulerv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/scheduler/v1"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/resource"
	"github.com/riskprofiler/riskprofiler/platform/table"
	"github.com/riskprofiler/riskprofiler/platform/table/protoitem"
)

// The table's partitions. ARCHITECTURE.md lists the access patterns.
//
//	T#<tenant>#A                <assessment id>     assessments; ids sort by time
//	T#<tenant>#I                <request id>        idempotency, for 24 hours
//	T#<tenant>#J#<assessment>   <job id>            which seed's lane does a job
//	T#<tenant>#P                <plan id>           plans
//
// Indexes: "open" (OPEN#<shard>, time#tenant#id) of assessments that have not ended, "due" (DUE#<shard>, time#tenant#id) of
// plans that run. Both are sharded, because every tenant's due items come together in them.
const (
	indexOpen = "open"
	indexDue  = "due"
	// shards of an index that all tenants write to: 16 x 1,000 writes a second on DynamoDB.
	shards = 16
	// idempotencyLife is how long a request id is remembered.
	idempotencyLife = 24 * time.Hour
)

func assessmentKey(tenant, name string) table.Key {
	return table.Key{Partition: "T#" + tenant + "#A", Sort: resource.ID(name)}
}

func requestKey(tenant, request string) table.Key {
	return table.Key{Partition: "T#" + tenant + "#I", Sort: request}
}

func claimPartition(tenant, assessment string) string {
	return "T#" + tenant + "#J#" + resource.ID(assessment)
}

func planKey(tenant, name string) table.Key {
	return table.Key{Partition: "T#" + tenant + "#P", Sort: resource.ID(name)}
}

func shard(prefix, tenant string) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(tenant))
	return prefix + strconv.Itoa(int(h.Sum32()%shards))
}

// newID makes an id that sorts by time: 48 bits of milliseconds and 80 random bits, as a ULID has them.
func newID(now time.Time) string {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], uint64(now.UnixMilli())<<16)
	_, _ = rand.Read(b[6:]) // never fails: crypto/rand.Read ends the program instead (Go 1.24)
	return strings.ToLower(base32.HexEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:]))
}

func ended(s schedulerv1.Assessment_State) bool {
	switch s {
	case schedulerv1.Assessment_STATE_SUCCEEDED, schedulerv1.Assessment_STATE_INCOMPLETE, schedulerv1.Assessment_STATE_FAILED,
		schedulerv1.Assessment_STATE_CANCELLED:
		return true
	}
	return false
}

// assessmentItem is an assessment as it is stored: in the open index until it is closed.
func assessmentItem(tenant string, a *schedulerv1.Assessment) (table.Item, error) {
	item, err := protoitem.New(assessmentKey(tenant, a.GetName()), a)
	if err != nil {
		return table.Item{}, err
	}
	if !a.GetClosed() {
		item.Indexes = map[string]table.Key{indexOpen: {
			Partition: shard("OPEN#", tenant), Sort: resource.SortableTime(a.GetCreateTime().AsTime()) + "#" + tenant + "#" + resource.ID(a.GetName()),
		}}
	}
	return item, nil
}

// planItem is a plan as it is stored: in the due index while it runs.
func planItem(tenant string, p *schedulerv1.Plan) (table.Item, error) {
	item, err := protoitem.New(planKey(tenant, p.GetName()), p)
	if err != nil {
		return table.Item{}, err
	}
	if !p.GetPaused() {
		item.Indexes = map[string]table.Key{indexDue: {
			Partition: shard("DUE#", tenant), Sort: resource.SortableTime(p.GetNextRunTime().AsTime()) + "#" + tenant + "#" + resource.ID(p.GetName()),
		}}
	}
	return item, nil
}

// tenantInIndex is the tenant in the sort key of an index that all tenants write to.
func tenantInIndex(sort string) string {
	if parts := strings.Split(sort, "#"); len(parts) == 3 {
		return parts[1]
	}
	return ""
}

func isConflict(err error) bool { return errors.Is(err, fault.Conflict) }

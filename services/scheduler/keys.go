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

	"google.golang.org/protobuf/proto"

	schedulerv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/scheduler/v1"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/table"
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

func id(name string) string { return name[strings.LastIndexByte(name, '/')+1:] }

func assessmentKey(tenant, name string) table.Key {
	return table.Key{Partition: "T#" + tenant + "#A", Sort: id(name)}
}

func requestKey(tenant, request string) table.Key {
	return table.Key{Partition: "T#" + tenant + "#I", Sort: request}
}

func claimPartition(tenant, assessment string) string { return "T#" + tenant + "#J#" + id(assessment) }

func planKey(tenant, name string) table.Key {
	return table.Key{Partition: "T#" + tenant + "#P", Sort: id(name)}
}

func shard(prefix, tenant string) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(tenant))
	return prefix + strconv.Itoa(int(h.Sum32()%shards))
}

// sortableTime is a time as text that sorts by time.
func sortableTime(t time.Time) string { return t.UTC().Format("20060102T150405.000000000") }

// newID makes an id that sorts by time: 48 bits of milliseconds and 80 random bits, as a ULID has them.
func newID(now time.Time) string {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], uint64(now.UnixMilli())<<16)
	_, _ = rand.Read(b[6:]) // never fails: crypto/rand.Read ends the program instead (Go 1.24)
	return strings.ToLower(base32.HexEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:]))
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
	item, err := protoItem(assessmentKey(tenant, a.GetName()), a)
	if err != nil {
		return table.Item{}, err
	}
	if !a.GetClosed() {
		item.Indexes = map[string]table.Key{indexOpen: {
			Partition: shard("OPEN#", tenant), Sort: sortableTime(a.GetCreateTime().AsTime()) + "#" + tenant + "#" + id(a.GetName()),
		}}
	}
	return item, nil
}

// planItem is a plan as it is stored: in the due index while it runs.
func planItem(tenant string, p *schedulerv1.Plan) (table.Item, error) {
	item, err := protoItem(planKey(tenant, p.GetName()), p)
	if err != nil {
		return table.Item{}, err
	}
	if !p.GetPaused() {
		item.Indexes = map[string]table.Key{indexDue: {
			Partition: shard("DUE#", tenant), Sort: sortableTime(p.GetNextRunTime().AsTime()) + "#" + tenant + "#" + id(p.GetName()),
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

func pageSize(n int32) int {
	if n == 0 {
		return 50
	}
	return int(n)
}

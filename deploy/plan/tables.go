package plan

import (
	"slices"

	"github.com/riskprofiler/riskprofiler/platform/app"
)

// Table is one DynamoDB table with its sparse secondary indexes.
type Table struct {
	Name    string
	Indexes []string
}

// The attributes of every table, as platform/table/dynamotable uses them.
const (
	PartitionKey = "pk"
	SortKey      = "sk"
	TTLAttribute = "ttl"
)

// Tables are the tables that a Spec owns, with their indexes.
func Tables(s app.Spec) []Table {
	out := make([]Table, 0, len(s.Tables))
	for _, name := range s.Tables {
		out = append(out, Table{Name: name, Indexes: slices.Sorted(slices.Values(s.Indexes[name]))})
	}
	return out
}

// QueueRows are the partitions of the table of queues that belong to one queue, as patterns of IAM: the list of what is parked, and
// one for each message. See platform/queue/sqsqueue/state.go.
func QueueRows(queue string) []string { return []string{queue, queue + "/*"} }

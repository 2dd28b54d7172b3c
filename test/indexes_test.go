package test

import (
	"regexp"
	"slices"
	"testing"

	"github.com/riskprofiler/riskprofiler/platform/table"
)

// indexName is one that is legal in DynamoDB as it is, and whose attributes fit beside a full item: see platform/table/dynamotable.
var indexName = regexp.MustCompile(`^[a-z0-9-]{3,57}$`)

// TestIndexesAreDeployable: what the Specs declare can be made of tables in DynamoDB. That nothing else is used is refused at run time
// by table.Table, in all scenarios here.
func TestIndexesAreDeployable(t *testing.T) {
	for _, s := range Specs() {
		for name, indexes := range s.Indexes {
			if !slices.Contains(s.Tables, name) {
				t.Errorf("%s declares indexes of table %s, which is not its own", s.Name, name)
			}
			if n := len(slices.Compact(slices.Sorted(slices.Values(indexes)))); n != len(indexes) || n > table.MaxIndexes {
				t.Errorf("table %s has %d indexes, %d different ones, at most %d are allowed", name, len(indexes), n, table.MaxIndexes)
			}
			for _, index := range indexes {
				if !indexName.MatchString(index) {
					t.Errorf("table %s has an index %q", name, index)
				}
			}
		}
	}
}

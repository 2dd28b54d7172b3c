package sqlitetable_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/riskprofiler/riskprofiler/platform/table/sqlitetable"
)

// TestReadsSearch wants every read to go by a key and never to sort: a page costs what it holds,
// however many items there are.
func TestReadsSearch(t *testing.T) {
	db := openDB(t, sqlitetable.Options{Path: filepath.Join(t.TempDir(), "tables.db")})
	for statement, plan := range sqlitetable.QueryPlans(t, db) {
		if !strings.Contains(plan, "SEARCH") || strings.Contains(plan, "SCAN") || strings.Contains(plan, "TEMP B-TREE") {
			t.Errorf("%s\n%s", statement, plan)
		}
	}
}

package sqlitetable_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/riskprofiler/riskprofiler/platform/table"
	"github.com/riskprofiler/riskprofiler/platform/table/sqlitetable"
	"github.com/riskprofiler/riskprofiler/platform/table/tabletest"
)

func TestConformance(t *testing.T) {
	tabletest.Run(t, func(t *testing.T) tabletest.Harness {
		h := &harness{path: filepath.Join(t.TempDir(), "tables.db")}
		h.db = openDB(t, sqlitetable.Options{Path: h.path})
		return h
	})
}

type harness struct {
	path string
	db   *sqlitetable.DB
}

func (h *harness) Driver(_ *testing.T, name string) table.Driver { return h.db.Table(name) }

func (h *harness) Reopen(t *testing.T) {
	if err := h.db.Close(); err != nil {
		t.Fatal(err)
	}
	h.db = openDB(t, sqlitetable.Options{Path: h.path})
}

// openDB opens a file and closes it at the end of the test.
func openDB(t testing.TB, o sqlitetable.Options) *sqlitetable.DB {
	t.Helper()
	db, err := sqlitetable.Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return db
}

//go:build awstest

package dynamotable_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/riskprofiler/riskprofiler/platform/awsclient"
	"github.com/riskprofiler/riskprofiler/platform/awsclient/awstest"
	"github.com/riskprofiler/riskprofiler/platform/table"
	"github.com/riskprofiler/riskprofiler/platform/table/dynamotable"
	"github.com/riskprofiler/riskprofiler/platform/table/tabletest"
)

func TestConformance(t *testing.T) {
	tabletest.Run(t, func(t *testing.T) tabletest.Harness {
		h := &harness{location: awstest.Location(t)}
		h.Reopen(t)
		return h
	})
}

// suiteIndexes are those that the case uses: each makes every put slower on the stand-in, and AWS allows 20 a table.
func suiteIndexes(t *testing.T) []string {
	names := []string{"i", "j"}
	form := ""
	switch _, name, _ := strings.Cut(t.Name(), "/"); name {
	case "Get/item_comes_back_whole":
		return append(names, "due", "By-Name.v_1")
	case "Index/sparse":
		return append(names, "never-used")
	case "Index/many_indexes_of_one_item":
		form = "index%d"
	case "Limits/items":
		form = "index-%d"
		names = append(names, strings.Repeat("n", table.MaxIndexNameBytes))
	default:
		return names
	}
	for i := range table.MaxIndexes {
		names = append(names, fmt.Sprintf(form, i))
	}
	return names
}

type harness struct {
	location awsclient.Location
	db       *dynamotable.DB

	mu   sync.Mutex
	made map[string]bool
}

// Driver makes the table when it is first asked for. DynamoDB allows no spaces in its name.
func (h *harness) Driver(t *testing.T, name string) table.Driver {
	t.Helper()
	name = strings.ReplaceAll(name, " ", "-")
	indexes := suiteIndexes(t)
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.made[name] {
		if err := dynamotable.Create(t.Context(), h.db.Client(), h.location.Name(name), indexes); err != nil {
			t.Fatal(err)
		}
		h.made[name] = true
	}
	return h.db.Table(name, indexes...)
}

// Reopen makes new clients.
func (h *harness) Reopen(t *testing.T) {
	h.db = dynamotable.Open(awstest.Config(t, h.location), h.location)
	if h.made == nil {
		h.made = map[string]bool{}
	}
}

package dynamotable_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/table"
)

// TestUnprocessedKeys: what a batch left out is asked for again, and not for ever.
func TestUnprocessedKeys(t *testing.T) {
	keys := []table.Key{{Partition: "p", Sort: "a"}, {Partition: "p", Sort: "b"}}
	item := func(sort string) string {
		return `{"pk":{"S":"p"},"sk":{"S":"` + sort + `"},"value":{"B":""},"rev":{"N":"1"}}`
	}
	left := func(sorts ...string) string {
		var keys []string
		for _, s := range sorts {
			keys = append(keys, `{"pk":{"S":"p"},"sk":{"S":"`+s+`"}}`)
		}
		return `"UnprocessedKeys":{"rp-test-things":{"Keys":[` + strings.Join(keys, ",") + `]}}`
	}
	synctest.Test(t, func(t *testing.T) {
		n := 0
		tab := openWith(func(*http.Request) (*http.Response, error) {
			n++
			return answer(http.StatusOK, []string{
				`{` + left("a", "b") + `}`,
				`{"Responses":{"rp-test-things":[` + item("b") + `]},` + left("a") + `}`,
				`{"Responses":{"rp-test-things":[` + item("a") + `]}}`,
			}[n-1])
		})
		got, err := tab.GetAll(t.Context(), keys)
		if err != nil || len(got) != 2 || got[0].Key != keys[0] || got[1].Key != keys[1] || n != 3 {
			t.Errorf("%d requests: %v, %v", n, got, err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		n := 0
		tab := openWith(func(*http.Request) (*http.Response, error) {
			n++
			return answer(http.StatusOK, `{`+left("a", "b")+`}`)
		})
		if _, err := tab.GetAll(t.Context(), keys); !errors.Is(err, fault.Unavailable) || n > 20 {
			t.Errorf("%d requests: %v", n, err)
		}
	})
}

// TestExpiredPages: a page that finds only expired items ends short and says where to go on.
func TestExpiredPages(t *testing.T) {
	n := 0
	tab := openWith(func(*http.Request) (*http.Response, error) {
		n++
		return answer(http.StatusOK, fmt.Sprintf(`{"Items":[],"LastEvaluatedKey":{"pk":{"S":"p"},"sk":{"S":"%04d"}}}`, n))
	})
	page, err := tab.Query(t.Context(), table.Query{Partition: "p"})
	if err != nil || len(page.Items) != 0 || page.NextPageToken == "" || n > 10 {
		t.Errorf("%d requests: %+v, %v", n, page, err)
	}
}

// TestUndeclaredIndex: the driver refuses what it would lose.
func TestUndeclaredIndex(t *testing.T) {
	tab := openWith(func(r *http.Request) (*http.Response, error) {
		t.Errorf("%s was sent", action(r))
		return refuse("Unexpected", "")
	}, "due")
	_, query := tab.Query(t.Context(), table.Query{Index: "open", Partition: "p"})
	write := tab.Write(t.Context(), table.Write{Item: table.Item{Key: things, Indexes: map[string]table.Key{"open": things}}})
	for _, err := range []error{query, write} {
		if !errors.Is(err, fault.Internal) || !strings.Contains(err.Error(), "index open") {
			t.Error(err)
		}
	}
}

package gateway

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestCollections: every path of every contract reaches handlers of its contract.
func TestCollections(t *testing.T) {
	api, err := newCollections(func(contracts []string) (http.Handler, error) {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(strings.Join(contracts, " "))) }), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range routes {
		paths, err := pathsOf(r.contract)
		if err != nil || len(paths) == 0 {
			t.Fatalf("%s has %d paths, %v", r.contract, len(paths), err)
		}
		for _, path := range paths {
			path = strings.NewReplacer("{name=", "", "*", "x", "}", "").Replace(path)
			if i := strings.Index(path, "{"); i >= 0 { // {asset=assets/x
				path = path[:i] + path[strings.Index(path, "=")+1:]
			}
			w := httptest.NewRecorder()
			api.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
			if !strings.Contains(w.Body.String(), r.contract) {
				t.Errorf("%s reaches %q, want %s", path, w.Body, r.contract)
			}
		}
	}
	w := httptest.NewRecorder()
	api.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/v1/unknown", nil))
	if w.Code != http.StatusNotFound {
		t.Errorf("an unknown collection is %d", w.Code)
	}
}

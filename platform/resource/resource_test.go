package resource_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/riskprofiler/riskprofiler/platform/resource"
)

func TestID(t *testing.T) {
	for name, want := range map[string]string{"plans/01h2": "01h2", "tenants/a/keys/b": "b", "x": "x", "": "", "plans/": ""} {
		if got := resource.ID(name); got != want {
			t.Errorf("ID(%q) = %q, want %q", name, got, want)
		}
	}
}

func TestPageSize(t *testing.T) {
	for n, want := range map[int32]int{0: resource.DefaultPageSize, 1: 1, 500: 500} {
		if got := resource.PageSize(n); got != want {
			t.Errorf("PageSize(%d) = %d, want %d", n, got, want)
		}
	}
}

// TestSortableTimeSorts: the order of the texts is the order of the times, whatever their zones.
func TestSortableTimeSorts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func(name string) time.Time {
			zone := time.FixedZone("z", rapid.IntRange(-12, 14).Draw(t, name+" zone")*3600)
			return time.Unix(rapid.Int64Range(0, 1<<33).Draw(t, name), rapid.Int64Range(0, 999999999).Draw(t, name+" ns")).In(zone)
		}
		a, b := draw("a"), draw("b")
		if got := resource.SortableTime(a) < resource.SortableTime(b); got != a.Before(b) {
			t.Fatalf("%v before %v is %v by text", a, b, got)
		}
	})
}

package scheduler

import (
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	schedulerv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/scheduler/v1"
)

// TestPlansOfOneMinuteAreSpread: a thousand plans that all say three o'clock come evenly over ten minutes, each at its own time.
func TestPlansOfOneMinuteAreSpread(t *testing.T) {
	midnight := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	minutes := map[int]int{}
	for n := range 1000 {
		p := &schedulerv1.Plan{Name: "plans/" + strconv.Itoa(n), Cron: "0 3 * * *"}
		at, err := nextRun(p, midnight)
		if err != nil {
			t.Fatal(err)
		}
		late := at.Sub(midnight) - 3*time.Hour
		if late < 0 || late >= maxSpread {
			t.Fatalf("plan %d starts %s late", n, late)
		}
		minutes[int(late/time.Minute)]++
		if tomorrow, _ := nextRun(p, at); tomorrow.Sub(at) != 24*time.Hour {
			t.Fatalf("plan %d runs again after %s", n, tomorrow.Sub(at))
		}
	}
	for m := range 10 {
		if minutes[m] < 60 || minutes[m] > 140 {
			t.Errorf("minute %d has %d of 1000 plans", m, minutes[m])
		}
	}
}

// TestNoRunIsSkipped: wherever a moment lies, the next run is that of the earliest time whose spread has not passed.
func TestNoRunIsSkipped(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := &schedulerv1.Plan{
			Name: "plans/" + rapid.StringMatching(`[a-z0-9]{1,8}`).Draw(t, "name"),
			Cron: rapid.SampledFrom([]string{"* * * * *", "*/7 * * * *", "0 3 * * *", "30 2 * * 1", "0 0 1 * *"}).Draw(t, "cron"),
		}
		from := time.Date(2026, 3, 1, 0, 0, rapid.IntRange(0, 40*86400).Draw(t, "second"), 0, time.UTC)
		first, err := nextRun(p, from)
		if err != nil {
			t.Fatal(err)
		}
		second, err := nextRun(p, first)
		if err != nil {
			t.Fatal(err)
		}
		if !first.After(from) || !second.After(first) {
			t.Fatalf("after %s comes %s, then %s", from, first, second)
		}
		between := first.Add(time.Duration(rapid.Int64Range(0, int64(second.Sub(first))-1).Draw(t, "between")))
		if again, _ := nextRun(p, between); !again.Equal(second) {
			t.Fatalf("after %s comes %s, after %s comes %s", first, second, between, again)
		}
	})
}

package scheduler

import (
	"hash/fnv"
	"time"
)

const (
	// maxSpread is how late a plan starts at most. Most plans of most tenants say the same few times, such as midnight; over ten
	// minutes a thousand of them do not wait for each other.
	maxSpread = 10 * time.Minute
	// spreadShare is the part of its rhythm that a plan may be late: one that runs every five minutes starts within half a minute.
	spreadShare = 10
)

// spread is how long after the time that its cron expression says a plan starts: the same for one plan every time, and evenly
// spread over all plans. rhythm is the time to the run after that.
func spread(plan string, rhythm time.Duration) time.Duration {
	window := min(maxSpread, rhythm/spreadShare).Truncate(time.Second)
	if plan == "" || window <= 0 {
		return 0
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(plan))
	// The high bits of FNV differ too little between names that end alike.
	sum := h.Sum64()
	sum ^= sum >> 33
	sum *= 0xff51afd7ed558ccd // the finalizer of MurmurHash3
	sum ^= sum >> 33
	return time.Duration(sum % uint64(window))
}

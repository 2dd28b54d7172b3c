package plan

import (
	"fmt"
	"math"
	"time"
)

// Rate is a schedule's period as EventBridge Scheduler writes it, in whole minutes and at least one:
// https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html
func Rate(every time.Duration) string {
	minutes := max(1, int(math.Ceil(every.Minutes())))
	if minutes == 1 {
		return "rate(1 minute)"
	}
	return fmt.Sprintf("rate(%d minutes)", minutes)
}

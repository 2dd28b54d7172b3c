//go:build race

package ratelimit

import "time"

// longRun is short here: the race detector makes the embedded store ten times slower.
const longRun = 2 * time.Minute

//go:build !race

package ratelimit

import "time"

// longRun is how long the fifty workers work, in fake time.
const longRun = 10 * time.Minute

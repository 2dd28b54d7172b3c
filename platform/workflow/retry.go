package workflow

import (
	"crypto/sha256"
	"encoding/binary"
	"math"
	"slices"
	"strconv"
	"time"
)

// Defaults and limits of a retrier. The defaults are the States Language's, the limits are from
// https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html
const (
	defaultInterval    = 1
	defaultMaxAttempts = 3
	defaultBackoffRate = 2.0
	maxRetrySeconds    = 99999999
	maxDelaySeconds    = 31622400
)

// errorMatch is the value of ErrorEquals.
type errorMatch []string

func (m errorMatch) matches(f *failure) bool {
	if f.name == ErrorRuntime {
		return false
	}
	return slices.ContainsFunc(m, func(name string) bool {
		switch name {
		case f.name:
			return true
		case ErrorAll:
			return f.name != ErrorDataLimit
		case ErrorTaskFailed:
			return f.name != ErrorDataLimit && f.name != ErrorTimeout
		case ErrorHeartbeatTimeout:
			return f.heartbeat
		}
		return false
	})
}

type retrier struct {
	match       errorMatch
	interval    time.Duration
	maxDelay    time.Duration // 0: none
	maxAttempts int
	backoffRate float64
	fullJitter  bool
}

type catcher struct {
	match  errorMatch
	result *path // nil: the error output is thrown away
	next   string
}

// delay is the pause before retry n (from 0) of this retrier. random is from 0 up to 1.
func (r retrier) delay(n int, random float64) time.Duration {
	d := float64(r.interval) * math.Pow(r.backoffRate, float64(n))
	// Beyond the longest delay, and where the power overflowed, the limit counts.
	limit := float64(maxRetrySeconds * time.Second)
	if r.maxDelay > 0 {
		limit = float64(r.maxDelay)
	}
	d = min(d, limit)
	if r.fullJitter {
		d *= random
	}
	return time.Duration(d)
}

// attempts counts, for one visit to a state, how often each of its retriers was used.
type attempts struct {
	retriers []retrier
	used     []int
	total    int
}

func newAttempts(retriers []retrier) *attempts {
	return &attempts{retriers: retriers, used: make([]int, len(retriers))}
}

// next says whether and after which pause the state is tried again. The seed makes the jitter
// another one for every attempt, and the same again when the attempt is replayed.
func (a *attempts) next(f *failure, seed string) (time.Duration, bool) {
	for i, r := range a.retriers {
		if !r.match.matches(f) {
			continue
		}
		if a.used[i] >= r.maxAttempts {
			return 0, false
		}
		d := r.delay(a.used[i], fraction(seed+"#"+strconv.Itoa(a.total)))
		a.used[i]++
		a.total++
		return d, true
	}
	return 0, false
}

// fraction spreads seeds evenly over [0, 1).
func fraction(seed string) float64 {
	sum := sha256.Sum256([]byte(seed))
	return float64(binary.BigEndian.Uint64(sum[:8])>>11) / (1 << 53)
}

// catch finds the catcher of a failure and the input of its Next state.
func catch(catchers []catcher, f *failure, raw any) (next string, input any, found bool, err error) {
	for _, c := range catchers {
		if !c.match.matches(f) {
			continue
		}
		input = raw
		if c.result != nil {
			input, err = c.result.put(raw, map[string]any{"Error": f.name, "Cause": f.cause})
		}
		return c.next, input, true, err
	}
	return "", nil, false, nil
}

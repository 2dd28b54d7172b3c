package awsclient

import (
	"math/rand/v2"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
)

// The policy for requests that failed in a way that passes. The SDK's standard mode, not the adaptive one: adaptive slows down all
// requests of a client when some are throttled, so one tenant's hot partition would delay all others.
//
// With a share p of requests throttled at random, a call takes 1/(1-p) requests: 1.43 at 30 %, and 1 in 170,000 calls fails after
// MaxAttempts. Beyond about 40 % the budget runs dry and calls fail at once instead of making it worse.
const (
	// MaxAttempts bounds the requests of one call.
	MaxAttempts = 10
	// baseDelay and maxDelay bound the wait after attempt n: random up to baseDelay*2^n, the "full jitter" of
	// https://aws.amazon.com/builders-library/timeouts-retries-and-backoff-with-jitter/. DynamoDB's own base is 50 ms:
	// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html. All waits together are at most 13 s.
	baseDelay = 50 * time.Millisecond
	maxDelay  = 2 * time.Second
	// retryCost is taken from a budget of 500 (the SDK's) by each retry and given back where it succeeds; a request that succeeds
	// gives 1.
	retryCost = 2
)

// NewRetryer is the policy with a budget of its own. What the judges find retryable is so besides what the SDK does.
func NewRetryer(judges ...retry.IsErrorRetryable) *retry.Standard {
	return retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts = MaxAttempts
		o.RetryCost, o.RetryTimeoutCost, o.ThrottlingRetryCost = retryCost, retryCost, retryCost
		o.Backoff = retry.BackoffDelayerFunc(func(attempt int, _ error) (time.Duration, error) { return Delay(attempt), nil })
		o.Retryables = append(o.Retryables, judges...)
	})
}

// Delay is the wait after the attempt of that number, from 1 on.
func Delay(attempt int) time.Duration {
	ceiling := min(maxDelay, baseDelay<<min(attempt, 10))
	return time.Duration(rand.Int64N(int64(ceiling))) //nolint:gosec // jitter is no secret
}

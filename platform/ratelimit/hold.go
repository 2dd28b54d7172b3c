package ratelimit

import (
	"context"
	"errors"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/table"
)

// MaxHold bounds how long a bucket can be kept shut: who asks to be left alone for longer is asked again after an hour.
const MaxHold = time.Hour

// Hold shuts a bucket for all workers until a time, as a target asks with HTTP 429 and Retry-After. After it the bucket gives
// one permit and goes on at its rate, without a burst. A bucket that is shut for longer already stays so; a time that has
// passed changes nothing. Cost does not matter.
//
// Errors: [fault.Invalid] for a bucket that makes no sense or a hold longer than [MaxHold]; [fault.Unavailable] as for
// [Limiter.Take]; the context's. With an error nothing is certain.
func (l *Limiter) Hold(ctx context.Context, b Bucket, until time.Time) error {
	b.Cost = 1
	d, err := b.demand()
	if err != nil {
		return fault.Wrap(fault.Invalid, err, "hold bucket")
	}
	if until.After(time.Now().Add(MaxHold)) {
		return fault.New(fault.Invalid, "hold bucket: until %s is longer than %v", until.UTC().Format(time.RFC3339), MaxHold)
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	for attempt := range maxAttempts {
		if attempt > 0 {
			if err := pause(ctx, jitter(min(firstPause<<attempt, lastPause))); err != nil {
				return ended(err)
			}
		}
		err := l.holdOnce(ctx, d, until)
		if err == nil || !errors.Is(err, fault.Conflict) {
			return err
		}
	}
	return fault.New(fault.Unavailable, "hold bucket: other processes kept coming first")
}

// holdOnce moves the bucket's time on from where the table has it now.
func (l *Limiter) holdOnce(ctx context.Context, d demand, until time.Time) error {
	items, err := l.table.GetAll(ctx, []table.Key{{Partition: d.key, Sort: sortKey}})
	if err != nil {
		return err
	}
	c := cell{}
	for _, item := range items {
		if c, err = decode(item); err != nil {
			return err
		}
	}
	now := time.Now().UnixNano()
	// A take passes where its own time, a permit's worth after this one, is no more than the span ahead of the clock.
	shut := until.UnixNano() + d.span - d.cost
	if until.UnixNano() <= now || shut <= c.tat {
		return nil
	}
	held := map[string]cell{d.key: {revision: c.revision, tat: shut, at: max(c.at, now)}}
	if err := l.table.Write(ctx, writesOf(held)...); err != nil {
		l.forget(held)
		return err
	}
	l.remember(held)
	return nil
}

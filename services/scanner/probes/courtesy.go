package probes

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// DefaultContact is the page that says who scans and how to be left alone, where the operator names none of their own
// (setting RISKPROFILER_CONTACT).
const DefaultContact = "https://github.com/riskprofiler/riskprofiler/blob/main/docs/politeness.md"

// How long a host is left alone that asks for it without saying how long, and at most.
const (
	// FirstBackoff is the first pause; each further one is twice as long.
	FirstBackoff = 2 * time.Second
	// MaxBackoff bounds what a host may ask for: an hour of "Retry-After: 99999999" helps nobody.
	MaxBackoff = 15 * time.Minute
	// breaksBeforeBackoff connections in a row that break off mean that the host wants less; one alone happens.
	breaksBeforeBackoff = 3
)

// UserAgent names the scanner and the page to turn to, for every request that has room for it: "RiskProfiler/1 (+URL)".
func UserAgent(e Env) string {
	contact := e.Contact
	if contact == "" {
		contact = DefaultContact
	}
	return "RiskProfiler/1 (+" + contact + ")"
}

// Backoff keeps every worker from sending to host until then, at most MaxBackoff from now. host is what TakePermits is asked
// with. While it lasts TakePermits waits, and gives an error at once where it would wait for longer than the context lasts.
// A failure to note it is not the probe's business: its own next permit comes through the same table.
func (e Env) Backoff(ctx context.Context, host string, until time.Time) {
	if e.Pause == nil {
		return
	}
	if latest := time.Now().Add(MaxBackoff); until.After(latest) {
		until = latest
	}
	_ = e.Pause(ctx, host, until)
}

// Courtesy listens to how one host takes what is sent and asks for a back-off where it says that it is too much: HTTP 429 and
// 503 (RFC 6585 section 4, RFC 9110 section 15.6.4), and connections that break off one after the other. It is safe for many
// goroutines. One is made for each host of a scan, with Env.Courtesy.
type Courtesy struct {
	env  Env
	host string

	mu     sync.Mutex
	breaks int           // in a row
	pause  time.Duration // of the last back-off without a date, 0: none yet
}

// Courtesy returns a listener for host, the host that TakePermits is asked with.
func (e Env) Courtesy(host string) *Courtesy { return &Courtesy{env: e, host: host} }

// Answered notes an HTTP answer with its Retry-After header, empty where there is none. It says whether the host asked for
// less, so that the answer tells nothing about what was asked for.
func (c *Courtesy) Answered(ctx context.Context, status int, retryAfter string) bool {
	c.mu.Lock()
	c.breaks = 0
	busy := status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable
	if status == http.StatusServiceUnavailable && retryAfter == "" {
		// A page that is always unavailable is no request for less; that is for 429, or 503 with a date.
		busy = false
	}
	if !busy {
		if status < http.StatusInternalServerError {
			c.pause = 0
		}
		c.mu.Unlock()
		return false
	}
	wait, said := RetryAfter(retryAfter, time.Now())
	if !said {
		wait = c.longer()
	}
	c.mu.Unlock()
	c.env.Backoff(ctx, c.host, time.Now().Add(wait))
	return true
}

// Failed notes a connection or a request that failed. Resets and answers that break off count, three in a row are a request
// for less; a refused connection is an answer, and a timeout says nothing.
func (c *Courtesy) Failed(ctx context.Context, err error) {
	if !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return
	}
	c.mu.Lock()
	if c.breaks++; c.breaks < breaksBeforeBackoff {
		c.mu.Unlock()
		return
	}
	c.breaks = 0
	wait := c.longer()
	c.mu.Unlock()
	c.env.Backoff(ctx, c.host, time.Now().Add(wait))
}

// longer is the next pause: twice the last one. The caller holds the lock.
func (c *Courtesy) longer() time.Duration {
	c.pause = min(max(2*c.pause, FirstBackoff), MaxBackoff)
	return c.pause
}

// RetryAfter reads the header of that name (RFC 9110 section 10.2.3): seconds, or a date. It says whether there was one that
// can be read, and gives at least 0 and at most MaxBackoff.
func RetryAfter(value string, now time.Time) (time.Duration, bool) {
	value = strings.TrimSpace(value)
	if value == "" || len(value) > 64 {
		return 0, false
	}
	if strings.Trim(value, "0123456789") == "" {
		seconds, err := strconv.ParseUint(value, 10, 31)
		if err != nil {
			return MaxBackoff, true // more digits than any wait has
		}
		return min(time.Duration(seconds)*time.Second, MaxBackoff), true
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0, false
	}
	return min(max(at.Sub(now), 0), MaxBackoff), true
}

package gateway

import (
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/riskprofiler/riskprofiler/platform/authn"
)

// maxLimited bounds the limiters that are kept; when it is reached they start anew.
const maxLimited = 10000

// limits are request rates by key and by tenant, in this process: they guard the process against floods. What costs
// something outside (packets, providers) is limited across all processes by the service that does it.
type limits struct {
	key, tenant rate.Limit

	mu   sync.Mutex
	byID map[string]*rate.Limiter
}

func newLimits(key, tenant float64) *limits {
	return &limits{key: rate.Limit(key), tenant: rate.Limit(tenant), byID: map[string]*rate.Limiter{}}
}

// take takes one request of a principal, or says how long to wait.
func (l *limits) take(p authn.Principal, now time.Time) (time.Duration, bool) {
	byKey, byTenant := l.limiter("k#"+p.Subject, l.key), l.limiter("t#"+p.Tenant, l.tenant)
	if !byKey.AllowN(now, 1) {
		return wait(byKey, now), false
	}
	if !byTenant.AllowN(now, 1) {
		return wait(byTenant, now), false
	}
	return 0, true
}

func wait(l *rate.Limiter, now time.Time) time.Duration {
	missing := 1 - l.TokensAt(now)
	return max(time.Millisecond, time.Duration(missing/float64(l.Limit())*float64(time.Second)))
}

func (l *limits) limiter(id string, r rate.Limit) *rate.Limiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	if found := l.byID[id]; found != nil {
		return found
	}
	if len(l.byID) >= maxLimited {
		clear(l.byID)
	}
	made := rate.NewLimiter(r, max(1, int(r)*2))
	l.byID[id] = made
	return made
}

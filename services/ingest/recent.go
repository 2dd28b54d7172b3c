package ingest

import (
	"context"
	"sync"
	"time"
)

const (
	// scopeAge is how long a tenant's scope permits after it was read. It saves most reads of a wave, which asks for each job. A
	// refusal is never by what is old: it is decided again by what is read then. A stop has 60 s to take effect.
	scopeAge = 5 * time.Second
	// maxScopes bounds the tenants whose scope is kept.
	maxScopes = 256
)

// scopes are what was last read of tenants' scopes. What this process changes counts at once.
type scopes struct {
	mu       sync.Mutex
	byTenant map[string]*scope
	changes  int
}

// recentScope is the scope of a tenant, at most scopeAge old. recent says that it was not read just now.
func (s *Service) recentScope(ctx context.Context, tenant string) (sc *scope, recent bool, err error) {
	now := time.Now()
	s.scopes.mu.Lock()
	kept := s.scopes.byTenant[tenant]
	s.scopes.mu.Unlock()
	if kept != nil && now.Sub(kept.now) < scopeAge {
		// Everything in it is read only; only the moment of the decision is its own.
		again := *kept
		again.now = now
		return &again, true, nil
	}
	sc, err = s.freshScope(ctx, tenant)
	return sc, false, err
}

// freshScope reads a scope and keeps it, unless something changed meanwhile.
func (s *Service) freshScope(ctx context.Context, tenant string) (*scope, error) {
	s.scopes.mu.Lock()
	changes := s.scopes.changes
	s.scopes.mu.Unlock()
	sc, err := s.loadScope(ctx, tenant)
	if err != nil {
		return nil, err
	}
	s.scopes.mu.Lock()
	defer s.scopes.mu.Unlock()
	if s.scopes.changes != changes {
		return sc, nil
	}
	if s.scopes.byTenant == nil || len(s.scopes.byTenant) >= maxScopes {
		s.scopes.byTenant = map[string]*scope{}
	}
	s.scopes.byTenant[tenant] = sc
	return sc, nil
}

// scopeChanged makes the next decision about a tenant read again. It is called when a write has ended, however it ended.
func (s *Service) scopeChanged(tenant string) {
	s.scopes.mu.Lock()
	defer s.scopes.mu.Unlock()
	delete(s.scopes.byTenant, tenant)
	s.scopes.changes++
}

// globalChanged is scopeChanged for all tenants.
func (s *Service) globalChanged() {
	s.global.changed()
	s.scopes.mu.Lock()
	defer s.scopes.mu.Unlock()
	s.scopes.byTenant = nil
	s.scopes.changes++
}

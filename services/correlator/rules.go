package correlator

import (
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"

	"google.golang.org/protobuf/proto"

	correlatorv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/correlator/v1"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/table"
	"github.com/riskprofiler/riskprofiler/platform/table/protoitem"
)

// rules are what one evaluation judges by.
type rules struct {
	catalogue *Catalogue
	// intel is nil if there is none.
	intel   Intel
	release func()
	// announced is the newest intel that was announced, and revision that of the tenant's checks, when the evaluation began.
	announced string
	revision  int64
}

func (r *rules) version() string {
	if r.intel == nil {
		return ""
	}
	return r.intel.Version()
}

// tenantState says what a tenant did with the catalogue. Its revision grows with every change of the tenant's checks.
type tenantState struct {
	// Disabled are ids of checks, shipped ones and the tenant's own.
	Disabled []string `json:"disabled,omitempty"`
}

const (
	prefixCheck   = "C#"
	prefixProblem = "P#"
	sortState     = "STATE"
)

func checksPartition(tenant string) string { return "T#" + tenant + "#K" }

func tenantStateKey(tenant string) table.Key {
	return table.Key{Partition: checksPartition(tenant), Sort: sortState}
}

func checkKey(tenant, id string) table.Key {
	return table.Key{Partition: checksPartition(tenant), Sort: prefixCheck + id}
}

// rules are the tenant's checks and the newest intel now; atLeast is a version that an earlier evaluation saw.
func (s *Service) rules(ctx context.Context, tenant, atLeast string) (*rules, error) {
	r := &rules{}
	var state tenantState
	var err error
	if r.announced, r.revision, err = s.signs(ctx, tenant, &state); err != nil {
		return nil, err
	}
	if r.catalogue, err = s.catalogueOf(ctx, tenant, r.revision, state); err != nil {
		return nil, err
	}
	if s.library == nil {
		r.release = func() {}
		return r, nil
	}
	if compareIntel(r.announced, atLeast) > 0 {
		atLeast = r.announced
	}
	r.intel, r.release, err = s.library.use(ctx, tenant, atLeast)
	return r, err
}

// signs are what tells that the rules changed, in one read.
func (s *Service) signs(ctx context.Context, tenant string, state *tenantState) (announced string, revision int64, err error) {
	items, err := s.table.GetAll(ctx, []table.Key{tenantStateKey(tenant), stateKey(stateIntel)})
	if err != nil {
		return "", 0, err
	}
	for _, item := range items {
		var intel intelState
		if item.Key == stateKey(stateIntel) {
			err = decodeMark(item, &intel)
			announced = intel.Version
		} else {
			err = decodeMark(item, state)
			revision = item.Revision
		}
		if err != nil {
			return "", 0, err
		}
	}
	return announced, revision, nil
}

// outdated says whether the rules changed since an evaluation began.
func (s *Service) outdated(ctx context.Context, tenant string, r *rules) (bool, error) {
	announced, revision, err := s.signs(ctx, tenant, &tenantState{})
	return announced != r.announced || revision != r.revision, err
}

// catalogues remembers the joined catalogues of tenants that have something of their own.
type catalogues struct {
	mu      sync.Mutex
	tenants map[string]tenantCatalogue
}

type tenantCatalogue struct {
	revision  int64
	catalogue *Catalogue
}

// maxCatalogues bounds the tenants whose catalogue is remembered; one has about 20 KB.
const maxCatalogues = 256

// catalogueOf is the shipped catalogue with what the tenant added and switched off.
func (s *Service) catalogueOf(ctx context.Context, tenant string, revision int64, state tenantState) (*Catalogue, error) {
	shipped, err := s.catalogue()
	if err != nil || revision == 0 {
		return shipped, err
	}
	s.catalogues.mu.Lock()
	known := s.catalogues.tenants[tenant]
	s.catalogues.mu.Unlock()
	if known.revision == revision {
		return known.catalogue, nil
	}
	own, err := s.loadChecks(ctx, tenant)
	if err != nil {
		return nil, err
	}
	joined := s.join(ctx, shipped, own, state.Disabled)
	s.catalogues.mu.Lock()
	defer s.catalogues.mu.Unlock()
	if s.catalogues.tenants == nil || len(s.catalogues.tenants) >= maxCatalogues {
		s.catalogues.tenants = map[string]tenantCatalogue{}
	}
	s.catalogues.tenants[tenant] = tenantCatalogue{revision, joined}
	return joined, nil
}

// join makes one catalogue. A stored check that is not understood any more stays out and is told to the log; it stops no other.
func (s *Service) join(ctx context.Context, shipped *Catalogue, own []*correlatorv1.Check, disabled []string) *Catalogue {
	c := newCatalogue()
	maps.Copy(c.groups, shipped.groups)
	for _, id := range disabled {
		c.off[id] = true
	}
	take := func(k *check) {
		c.byID[k.ID] = k
		c.checks = append(c.checks, k)
		c.byFact[k.Fact] = append(c.byFact[k.Fact], k)
	}
	for _, k := range shipped.checks {
		if !c.off[k.ID] {
			take(k)
		}
	}
	for _, p := range own {
		if c.off[p.GetId()] {
			continue
		}
		k, err := customCheck(p, shipped)
		if err != nil {
			s.log.ErrorContext(ctx, "a stored check is not understood", slog.String("check", p.GetId()), slog.Any("error", err))
			c.unread[p.GetId()] = true
			continue
		}
		if shipped.groups[k.Group] == nil {
			c.groups[k.Group] = &group{ID: k.Group, Title: k.Title, Action: k.Remediation}
		}
		take(k)
	}
	c.Version = hash(versionOf(c.checks) + "off:" + strings.Join(slices.Sorted(maps.Keys(c.off)), ","))
	return c
}

// loadChecks reads the tenant's own checks, by id.
func (s *Service) loadChecks(ctx context.Context, tenant string) ([]*correlatorv1.Check, error) {
	return loadAll(ctx, s.table, checksPartition(tenant), prefixCheck, func() *correlatorv1.Check { return &correlatorv1.Check{} })
}

// loadAll reads all items of a partition whose sort keys begin with prefix. It is for parts that are bounded when they are written.
func loadAll[M proto.Message](ctx context.Context, t *table.Table, partition, prefix string, fresh func() M) ([]M, error) {
	var out []M
	q := table.Query{Partition: partition, Prefix: prefix}
	for {
		page, err := t.Query(ctx, q)
		if err != nil {
			return nil, err
		}
		for _, item := range page.Items {
			m, err := protoitem.Decode(item, fresh())
			if err != nil {
				return nil, err
			}
			out = append(out, m)
		}
		if q.PageToken = page.NextPageToken; q.PageToken == "" {
			return out, nil
		}
	}
}

func decodeMark(item table.Item, into any) error {
	if err := json.Unmarshal(item.Value, into); err != nil {
		return fault.Wrap(fault.DataLoss, err, "decode mark")
	}
	return nil
}

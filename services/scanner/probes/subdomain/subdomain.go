// Package subdomain is the scan type subdomain: the names below one domain.
//
// It asks the logs of Certificate Transparency and, with the tenant's keys, other third parties; it tries a list of common names,
// variations of what was found, and the list again below names that have names below them. Every candidate is resolved through the
// operator's resolver and compared with what random names of the same level resolve to, so that a wildcard adds nothing. Each
// source reports how far it got: a source that failed is named and never an empty answer.
//
// It refuses to guess names in the passive profile, to keep names that do not resolve, and to ask third parties about domains
// that nobody can own.
package subdomain

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/together"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/dnswild"
	"github.com/riskprofiler/riskprofiler/services/scanner/providers"
)

// Bounds of one scan.
const (
	// maxCandidates bounds the names that are asked for, from wherever they come.
	maxCandidates = 20_000
	// maxNames bounds the names that are found; a record with so many leads is below 400 KiB, the size of an item.
	maxNames = 2_000
	// maxDepth is how many labels below the domain are guessed at. Sources may know deeper ones.
	maxDepth = 4
	// usualWords is how much of the list the standard profile tries: what is further down is rare.
	usualWords = 400
	// sourcesPart is how much of the time third parties may take; the rest is for resolving what they said.
	sourcesPart = 0.6
)

// Probe is the scan type subdomain. It is safe for concurrent use.
type Probe struct {
	// try bounds one question; tests make it shorter.
	try time.Duration
	// pace is that of all scans of the process.
	pace *pace
}

// New makes the probe. It opens and reads nothing.
func New() *Probe { return &Probe{try: 2 * time.Second, pace: newPace(inFlight)} }

// ScanType is subdomain.
func (*Probe) ScanType() modelv1.ScanType { return modelv1.ScanType_SCAN_TYPE_SUBDOMAIN }

// Version names this revision of the facts.
func (*Probe) Version() string { return "subdomain/1" }

// Scan searches names below the job's domain.
func (p *Probe) Scan(ctx context.Context, env probes.Env, job *modelv1.ScanJob) (*probes.Result, error) {
	domain := strings.ToLower(strings.TrimSuffix(job.GetTarget().GetValue(), "."))
	if _, err := netip.ParseAddr(domain); err == nil || !plausible(domain) {
		return nil, errors.New("scan subdomain: the target is no name")
	}
	r, err := newResolver(env, p.try, p.pace)
	if err != nil {
		return nil, err
	}
	defer r.close()
	ctx, cancel := context.WithTimeout(ctx, probes.Budget(job, probes.DefaultBudget))
	defer cancel()
	s := &scan{
		env: env, job: job, domain: domain, profile: effortOf(job.GetOptions().GetProfile()), resolver: r,
		wild: dnswild.New(r.lookup, dnswild.Options{}), seen: map[string]bool{domain: true}, found: map[string]string{},
		empty: map[string]bool{},
	}
	s.run(ctx)
	return s.result(), nil
}

// effort is how far a profile goes.
type effort struct {
	// words of the list at the top, and below names that have names below them.
	words, deeper int
	// parents is how many such names are looked below.
	parents int
	// variations bounds the permutations.
	variations int
	// pages of a source that gives its names in pages, each a request of the quota.
	pages int
}

func effortOf(p modelv1.Profile) effort {
	switch p {
	case modelv1.Profile_PROFILE_PASSIVE:
		return effort{pages: 1}
	case modelv1.Profile_PROFILE_QUICK:
		return effort{words: 100, pages: 1}
	case modelv1.Profile_PROFILE_DEEP:
		return effort{words: len(words()), deeper: len(words()), parents: 50, variations: 5_000, pages: 5}
	default:
		return effort{words: usualWords, deeper: 100, parents: 10, variations: 1_000, pages: 2}
	}
}

// scan is one run.
type scan struct {
	env      probes.Env
	job      *modelv1.ScanJob
	domain   string
	profile  effort
	resolver *resolver
	wild     *dnswild.Profiler

	mu sync.Mutex
	// seen are all candidates, found those that exist, with the source that named them first.
	seen  map[string]bool
	found map[string]string
	// empty are names that exist and have no address: something is below them.
	empty map[string]bool
	// tried, unanswered: questions about candidates, and how many of them got no answer.
	tried, unanswered int
	truncated         bool
	reports           []*modelv1.SourceReport
	third             thirds
}

// thirds are the reports of third parties by what they mean for the outcome.
type thirds struct{ answered, troubled, unasked []*modelv1.SourceReport }

// run asks third parties and tries the list of words at the same time; what is derived from names comes after.
func (s *scan) run(ctx context.Context) {
	var all together.Group
	all.Go(func() { s.askThirdParties(ctx) })
	if s.profile.words > 0 {
		all.Go(func() { s.guess(ctx, "word list", join(words()[:s.profile.words], s.domain)) })
	}
	all.Wait()
	if s.profile.parents > 0 {
		s.recurse(ctx)
	}
	if s.profile.variations > 0 {
		s.guess(ctx, "permutations", s.variations())
	}
}

// guess resolves names that nobody said exist.
func (s *scan) guess(ctx context.Context, source string, names []string) {
	started := time.Now()
	fresh := s.candidates(names)
	done, found := s.resolve(ctx, source, fresh)
	report := &modelv1.SourceReport{Source: source, State: modelv1.SourceReport_STATE_OK, Results: uint32(found), AskedAt: stamp(started)}
	if done < len(fresh) {
		report.State = modelv1.SourceReport_STATE_LIMITED
		report.Problem = cut(done, len(fresh))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if last := len(s.reports) - 1; last >= 0 && s.reports[last].GetSource() == source { // another level of the same
		merge(s.reports[last], report)
		return
	}
	s.reports = append(s.reports, report)
}

// merge adds a report about more of the same.
func merge(into, more *modelv1.SourceReport) {
	into.Results += more.GetResults()
	if more.GetState() != modelv1.SourceReport_STATE_OK {
		into.State, into.Problem = more.GetState(), more.GetProblem()
	}
}

// recurse tries the list below names that have names below them, level by level. A name server that says of every name that it
// exists says nothing.
func (s *scan) recurse(ctx context.Context) {
	below := map[string]bool{}
	if _, there, err := s.resolver.find(ctx, dnswild.RandomLabel()+"."+s.domain); err != nil || there {
		s.empty = map[string]bool{}
	}
	for range maxDepth - 1 {
		parents := s.parents(below)
		if len(parents) == 0 {
			return
		}
		for _, parent := range parents {
			below[parent] = true
			s.guess(ctx, "recursion", join(words()[:s.profile.deeper], parent))
		}
	}
}

// parents are names with a name below them, known or implied, that were not looked below yet, the shortest first.
func (s *scan) parents(done map[string]bool) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for name := range s.empty {
		if !done[name] && s.depth(name) < maxDepth {
			out = append(out, name)
		}
	}
	for name := range s.found {
		for {
			_, parent, ok := strings.Cut(name, ".")
			if !ok || parent == s.domain || !strings.HasSuffix(parent, "."+s.domain) {
				break
			}
			if !done[parent] && s.depth(parent) < maxDepth && !slices.Contains(out, parent) {
				out = append(out, parent)
			}
			name = parent
		}
	}
	slices.SortFunc(out, byLength)
	return out[:max(min(len(out), s.profile.parents-len(done)), 0)]
}

// depth is how many labels a name has below the domain.
func (s *scan) depth(name string) int {
	return strings.Count(strings.TrimSuffix(name, s.domain), ".")
}

// candidates are the names that were not candidates before and can be asked for, within the bound.
func (s *scan) candidates(names []string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, name := range names {
		if s.seen[name] || !strings.HasSuffix(name, "."+s.domain) || !plausible(name) {
			continue
		}
		if len(s.seen) >= maxCandidates {
			s.truncated = true
			break
		}
		s.seen[name] = true
		out = append(out, name)
	}
	return out
}

// resolve asks for names and keeps those that exist by themselves. It says how many it got to, and how many exist.
func (s *scan) resolve(ctx context.Context, source string, names []string) (done, found int) {
	var mu sync.Mutex
	var all together.Group
	slots := make(chan struct{}, inFlight)
	for _, name := range names {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
		all.Go(func() {
			defer func() { <-slots }()
			exists, err := s.exists(ctx, name)
			if err == nil && exists {
				exists = s.keep(name, source)
			}
			mu.Lock()
			defer mu.Unlock()
			if err == nil || ctx.Err() == nil { // an answer, or an own try that got none
				done++
			}
			if err == nil && exists {
				found++
			}
		})
	}
	all.Wait()
	return done, found
}

// exists says whether a name resolves, and not only by a wildcard.
func (s *scan) exists(ctx context.Context, name string) (bool, error) {
	answer, there, err := s.resolver.find(ctx, name)
	covered := false
	if err == nil && answer.Resolves() {
		covered, err = s.wild.Covers(ctx, name, answer)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tried++
	if there && !answer.Resolves() {
		s.empty[name] = true
	}
	if err != nil && ctx.Err() == nil {
		s.unanswered++
	}
	return answer.Resolves() && !covered, err
}

// keep notes a name that exists; false where there are too many.
func (s *scan) keep(name, source string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.found) >= maxNames {
		s.truncated = true
		return false
	}
	s.found[name] = source
	return true
}

// askThirdParties asks all sources at once, and resolves what each says as it comes.
func (s *scan) askThirdParties(ctx context.Context) {
	asking, cancel := providers.Share(ctx, sourcesPart)
	defer cancel()
	var all together.Group
	for _, source := range sources {
		all.Go(func() {
			names, report, err := source(asking, s)
			if err == nil {
				fresh := s.candidates(clean(names, s.domain))
				done, found := s.resolve(ctx, report.GetSource(), fresh)
				report.Results = uint32(found)
				if done < len(fresh) && report.GetState() == modelv1.SourceReport_STATE_OK {
					report.State, report.Problem = modelv1.SourceReport_STATE_LIMITED, cut(done, len(fresh))
				}
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			switch {
			case providers.Unasked(err):
				s.third.unasked = append(s.third.unasked, report)
			case err != nil:
				s.third.troubled = append(s.third.troubled, report)
			default:
				s.third.answered = append(s.third.answered, report)
			}
		})
	}
	all.Wait()
}

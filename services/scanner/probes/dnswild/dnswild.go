// Package dnswild tells names that somebody made from names that only a wildcard record answers, level by level.
//
// A wildcard (RFC 4592) belongs to one level of a zone: "*.example.com" says nothing about names below a "dev.example.com" that
// exists, and "*.dev.example.com" nothing about its siblings. So each level gets a profile of its own, from random names that
// nobody chose, and a name is judged by the profile of the level right above it.
//
// It asks through the caller's lookup, remembers each level for the life of a Profiler, and decides nothing from fewer answers
// than half of its questions: an unanswered question is not an answer.
package dnswild

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/riskprofiler/riskprofiler/platform/together"
)

// DefaultProbes is how many random names are asked for at one level: the number that BBOT, which met most of these cases first,
// settled on; single answers are often a resolver's lie, or one of several addresses in turn.
const DefaultProbes = 10

// Bounds of one Profiler.
const (
	defaultLevels   = 500
	defaultParallel = 4
	// maxSeen bounds the addresses and aliases that are remembered of one level.
	maxSeen = 64
)

// ErrTooManyLevels says that a profiler looked at as many levels as it may; whoever leads it to more wants to keep it busy.
var ErrTooManyLevels = errors.New("more levels than one search may look at")

// ErrUnanswered says that too few of the random names were answered to say anything.
var ErrUnanswered = errors.New("too few random names were answered")

// Answer is what the DNS says about the addresses of one name.
type Answer struct {
	// Aliases are the targets of the CNAME chain in order, lower case, without a final dot.
	Aliases []string
	// Addresses at its end.
	Addresses []netip.Addr
}

// Resolves says that there is an alias or an address.
func (a Answer) Resolves() bool { return len(a.Aliases) > 0 || len(a.Addresses) > 0 }

// Lookup asks for the addresses of a name. An error means that there was no answer; a name that does not exist is an empty
// answer.
type Lookup func(ctx context.Context, name string) (Answer, error)

// Options tune a Profiler. The zero value is right for most.
type Options struct {
	// Probes is how many random names are asked for at each level; 0: DefaultProbes.
	Probes int
	// Parallel is how many questions are under way at once for one level; 0: 4.
	Parallel int
	// MaxLevels bounds the levels of one Profiler; 0: 500.
	MaxLevels int
}

// Profile is what random names of one level resolve to.
type Profile struct {
	// Level is the name below which was asked: "dev.example.com" for "*.dev.example.com".
	Level string
	// Asked is how many random names were answered at all, Resolved how many of them resolve.
	Asked, Resolved int
	// Addresses and Aliases are all that came back, sorted, bounded. In an alias, the random label is written as "*".
	Addresses []netip.Addr
	Aliases   []string
	// Varying says that not every random name got the same addresses: the list is then a sample.
	Varying bool
}

// Wildcard says that random names of the level resolve, most of them at least.
func (p Profile) Wildcard() bool { return p.Resolved > 0 && p.Resolved > p.Asked/2 }

// Explains says whether the level's wildcard is enough to explain the answer for name: the same alias, or no address that the
// wildcard does not have. Where the addresses vary, one from a network of the sample (/24, /48) is enough.
func (p Profile) Explains(name string, a Answer) bool {
	if !p.Wildcard() || !a.Resolves() {
		return false
	}
	if len(a.Aliases) > 0 {
		// As it is, too: a name may be called like a part of the wildcard's target.
		return slices.Contains(p.Aliases, template(name, a.Aliases[0])) || slices.Contains(p.Aliases, strings.ToLower(a.Aliases[0]))
	}
	if len(p.Aliases) > 0 && len(p.Addresses) == 0 {
		return false
	}
	known := func(addr netip.Addr) bool {
		return slices.Contains(p.Addresses, addr) ||
			p.Varying && slices.ContainsFunc(p.Addresses, func(other netip.Addr) bool { return network(other) == network(addr) })
	}
	return !slices.ContainsFunc(a.Addresses, func(addr netip.Addr) bool { return !known(addr) })
}

// network is the smallest one that is commonly routed by itself.
func network(addr netip.Addr) netip.Prefix {
	bits := 24
	if addr.Is6() {
		bits = 48
	}
	prefix, _ := addr.Prefix(bits)
	return prefix
}

// template writes the first label of name in an alias as "*": some wildcards lead "x.example.com" to "x.cdn.example".
func template(name, alias string) string {
	label, _, _ := strings.Cut(strings.ToLower(name), ".")
	alias = strings.ToLower(strings.TrimSuffix(alias, "."))
	parts := strings.Split(alias, ".")
	for i, part := range parts {
		if part == label {
			parts[i] = "*"
		}
	}
	return strings.Join(parts, ".")
}

// Profiler remembers the profiles of levels. It is safe for concurrent use.
type Profiler struct {
	lookup  Lookup
	options Options

	mu     sync.Mutex
	levels map[string]*level
}

type level struct {
	done    chan struct{}
	profile Profile
	err     error
}

// New makes a profiler that knows nothing yet.
func New(lookup Lookup, o Options) *Profiler {
	if o.Probes <= 0 {
		o.Probes = DefaultProbes
	}
	if o.Parallel <= 0 {
		o.Parallel = defaultParallel
	}
	if o.MaxLevels <= 0 {
		o.MaxLevels = defaultLevels
	}
	return &Profiler{lookup: lookup, options: o, levels: make(map[string]*level)}
}

// Level returns the profile of the names right below name. Whoever asks first asks the DNS; others wait. A failure is not
// remembered.
func (p *Profiler) Level(ctx context.Context, name string) (Profile, error) {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	for {
		p.mu.Lock()
		l := p.levels[name]
		if l == nil {
			if len(p.levels) >= p.options.MaxLevels {
				p.mu.Unlock()
				return Profile{Level: name}, ErrTooManyLevels
			}
			l = &level{done: make(chan struct{}), err: ErrUnanswered}
			p.levels[name] = l
			p.mu.Unlock()
			p.measure(ctx, name, l)
			return l.profile, l.err
		}
		p.mu.Unlock()
		select {
		case <-l.done:
		case <-ctx.Done():
			return Profile{Level: name}, ctx.Err()
		}
		// Whoever measured may have run out of time, which says nothing about our own.
		if l.err == nil || ctx.Err() != nil {
			return l.profile, l.err
		}
		if !errors.Is(l.err, context.Canceled) && !errors.Is(l.err, context.DeadlineExceeded) {
			return l.profile, l.err
		}
	}
}

// measure fills in l and forgets it again if it failed.
func (p *Profiler) measure(ctx context.Context, name string, l *level) {
	defer close(l.done)
	defer func() {
		if l.err != nil {
			p.mu.Lock()
			delete(p.levels, name)
			p.mu.Unlock()
		}
	}()
	l.profile, l.err = p.ask(ctx, name)
}

// ask asks for the random names.
func (p *Profiler) ask(ctx context.Context, name string) (Profile, error) {
	out := Profile{Level: name}
	var mu sync.Mutex
	var failure error
	var first []netip.Addr
	all := together.Limit(p.options.Parallel)
	for range p.options.Probes {
		all.Go(func() {
			probe := RandomLabel() + "." + name
			answer, err := p.lookup(ctx, probe)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failure = err
				return
			}
			out.Asked++
			if !answer.Resolves() {
				return
			}
			out.Resolved++
			got := sorted(answer.Addresses)
			if first == nil {
				first = got
			}
			out.Varying = out.Varying || !slices.Equal(first, got)
			out.add(probe, answer)
		})
	}
	all.Wait()
	if out.Asked <= p.options.Probes/2 {
		return out, errors.Join(ErrUnanswered, failure)
	}
	slices.SortFunc(out.Addresses, netip.Addr.Compare)
	slices.Sort(out.Aliases)
	return out, nil
}

func (p *Profile) add(name string, a Answer) {
	for _, addr := range a.Addresses {
		if len(p.Addresses) < maxSeen && !slices.Contains(p.Addresses, addr) {
			p.Addresses = append(p.Addresses, addr)
		}
	}
	if len(a.Aliases) > 0 {
		if alias := template(name, a.Aliases[0]); len(p.Aliases) < maxSeen && !slices.Contains(p.Aliases, alias) {
			p.Aliases = append(p.Aliases, alias)
		}
	}
}

func sorted(addrs []netip.Addr) []netip.Addr {
	out := slices.Clone(addrs)
	slices.SortFunc(out, netip.Addr.Compare)
	if out == nil {
		out = []netip.Addr{}
	}
	return out
}

// Covers says whether name resolves only because a wildcard of the level above it answers. It asks for the level's profile if
// that is not known yet; a name of one label has no level.
func (p *Profiler) Covers(ctx context.Context, name string, a Answer) (bool, error) {
	_, parent, ok := strings.Cut(strings.TrimSuffix(name, "."), ".")
	if !ok || !a.Resolves() {
		return false, nil
	}
	profile, err := p.Level(ctx, parent)
	if err != nil {
		return false, err
	}
	return profile.Explains(name, a), nil
}

// Wildcards are the levels found so far where random names resolve, as "*.dev.example.com", sorted.
func (p *Profiler) Wildcards() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []string
	for name, l := range p.levels {
		select {
		case <-l.done:
			if l.profile.Wildcard() {
				out = append(out, "*."+name)
			}
		default:
		}
	}
	slices.Sort(out)
	return out
}

// RandomLabel is a label that nobody chose: 96 bits.
func RandomLabel() string {
	var raw [12]byte
	_, _ = rand.Read(raw[:]) // never fails: crypto/rand ends the process instead
	return "rp-" + hex.EncodeToString(raw[:])
}

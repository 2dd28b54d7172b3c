package dns

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	mdns "github.com/miekg/dns"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
)

// maxSPFLookups is where counting stops: far past the 10 that receivers allow (RFC 7208 section 4.6.4).
const maxSPFLookups = 40

// maxRecord bounds a record's text in a fact.
const maxRecord = 1024

// maxSPFDomains bounds the domains that a fact lists.
const maxSPFDomains = 50

// maxExchangersOfMX is how many exchangers a mx term may have (RFC 7208 section 4.6.4).
const maxExchangersOfMX = 10

// spfWalk counts what a receiver would have to look up for one domain, and finds who may send.
type spfWalk struct {
	resolver *resolver
	lookups  uint32
	voids    uint32
	// problem is what makes receivers give up, in the record itself or in one it includes.
	problem string
	// missed is a question that was not answered.
	missed error
	path   []string // domains being walked, to see circles
	// includes are the domains of include and redirect, absent those of all terms that do not exist.
	includes, absent []string
	usesPtr          bool
	// widest is the widest network that may send, and where it stands.
	widest     int
	widestTerm string
}

// fact reads the SPF policy of a domain from its TXT records.
func (w *spfWalk) fact(ctx context.Context, domain string, texts []string) *modelv1.SpfFact {
	records := spfRecords(texts)
	out := &modelv1.SpfFact{Records: uint32(len(records))}
	if len(records) == 0 {
		return out
	}
	slices.Sort(records)
	out.Record = probes.SafeString(records[0], maxRecord)
	w.widest = 32
	got := w.record(ctx, domain, records[0], true)
	if got.all != 0 {
		out.All = string(got.all)
	}
	out.Lookups, out.VoidLookups, out.Error = w.lookups, w.voids, probes.SafeString(w.problem, 256)
	out.PassesAll, out.UsesPtr, out.Includes = got.passesAll, w.usesPtr, safeNames(w.includes)
	out.WidestIp4, out.WidestTerm = uint32(w.widest), probes.SafeString(w.widestTerm, 256)
	return out
}

func spfRecords(texts []string) []string {
	var records []string
	for _, text := range texts {
		if isSPF(text) {
			records = append(records, text)
		}
	}
	return records
}

// outcome is what one record says to a stranger.
type outcome struct {
	// all is the qualifier of its "all", or of the record it redirects to; 0 where there is none.
	all byte
	// passesAll says that every sender passes, by its own "all" or by one that it includes.
	passesAll bool
}

// record walks one record. passing says that who passes it passes the whole policy.
func (w *spfWalk) record(ctx context.Context, domain, text string, passing bool) outcome {
	w.path = append(w.path, plain(domain))
	defer func() { w.path = w.path[:len(w.path)-1] }()
	record, err := parseSPF(text)
	if err != nil {
		w.fail(domain, err.Error())
	}
	var out outcome
	for _, term := range record.terms {
		if term.name == "all" && !term.modifier {
			out.all = term.qualifier
			out.passesAll = out.passesAll || term.qualifier == '+'
			return out // what follows counts for nobody (RFC 7208 section 5.1)
		}
		out.passesAll = w.term(ctx, domain, term, passing) || out.passesAll
	}
	for _, term := range record.terms {
		if term.modifier && term.name == "redirect" {
			next := w.other(ctx, domain, term, passing)
			return outcome{all: next.all, passesAll: out.passesAll || next.passesAll}
		}
	}
	return out
}

func (w *spfWalk) fail(domain, problem string) {
	if w.problem == "" {
		w.problem = problem
		if len(w.path) > 1 {
			w.problem = domain + ": " + problem
		}
	}
}

// term counts one term; those that need the sender's address or name are counted and not asked. It says whether the term lets
// every sender pass.
func (w *spfWalk) term(ctx context.Context, domain string, term spfTerm, passing bool) bool {
	if term.modifier {
		return false // redirect is counted when it is followed, exp only when mail fails
	}
	passing = passing && term.qualifier == '+'
	if passing && term.bits < w.widest {
		w.widest, w.widestTerm = term.bits, term.name+"/"+strconv.Itoa(term.bits)
		if len(w.path) > 1 {
			w.widestTerm = domain + ": " + w.widestTerm
		}
	}
	switch term.name {
	case "include":
		return w.other(ctx, domain, term, passing).passesAll && term.qualifier == '+'
	case "ptr":
		w.lookups++
		w.usesPtr = true
	case "a", "mx", "exists":
		if w.lookups++; w.lookups > maxSPFLookups || strings.Contains(term.domain, "%") {
			return false
		}
		target := term.domain
		if target == "" {
			target = domain
		}
		w.hosts(ctx, target, term.name)
	}
	return false
}

// hosts asks for the addresses or mail exchangers of a name and counts an empty answer.
func (w *spfWalk) hosts(ctx context.Context, target, mechanism string) {
	kinds := []uint16{mdns.TypeA, mdns.TypeAAAA}
	switch mechanism {
	case "mx":
		kinds = []uint16{mdns.TypeMX}
	case "exists":
		kinds = []uint16{mdns.TypeA} // RFC 7208 section 5.7: A, also for senders with IPv6
	}
	for _, kind := range kinds {
		got, err := w.resolver.find(ctx, target, kind)
		if err != nil {
			w.miss(err)
			return
		}
		if kind == mdns.TypeMX && len(got.records) > maxExchangersOfMX {
			w.fail(target, fmt.Sprintf("mx:%s has %d exchangers, the limit is %d", clip(plain(target)), len(got.records), maxExchangersOfMX))
		}
		if !got.void() {
			return
		}
		if got.rcode == mdns.RcodeNameError {
			w.gone(target)
		}
	}
	w.voids++
}

// gone notes a domain that does not exist.
func (w *spfWalk) gone(domain string) {
	if name := plain(domain); !slices.Contains(w.absent, name) && len(w.absent) < maxSPFDomains {
		w.absent = append(w.absent, name)
	}
}

// other follows include or redirect.
func (w *spfWalk) other(ctx context.Context, domain string, term spfTerm, passing bool) outcome {
	if w.lookups++; w.lookups > maxSPFLookups || strings.Contains(term.domain, "%") {
		return outcome{}
	}
	target := plain(term.domain)
	if slices.Contains(w.path, target) {
		w.fail(domain, fmt.Sprintf("%s:%s leads in a circle", term.name, clip(target)))
		return outcome{}
	}
	if !slices.Contains(w.includes, target) && len(w.includes) < maxSPFDomains {
		w.includes = append(w.includes, target)
	}
	got, err := w.resolver.find(ctx, target, mdns.TypeTXT)
	if err != nil {
		w.miss(err)
		return outcome{}
	}
	if got.void() {
		w.voids++
		if got.rcode == mdns.RcodeNameError {
			w.gone(target)
		}
	}
	records := spfRecords(textsOf(got.records))
	if len(records) != 1 {
		// RFC 7208 sections 5.2 and 6.1: both are a permanent error.
		w.fail(domain, fmt.Sprintf("%s:%s has %d SPF records", term.name, clip(target), len(records)))
		return outcome{}
	}
	return w.record(ctx, target, records[0], passing)
}

func (w *spfWalk) miss(err error) {
	if w.missed == nil {
		w.missed = err
	}
}

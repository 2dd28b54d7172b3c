package dns

import (
	"context"
	"fmt"
	"slices"
	"strings"

	mdns "github.com/miekg/dns"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
)

// maxSPFLookups is where counting stops: far past the 10 that receivers allow (RFC 7208 section 4.6.4).
const maxSPFLookups = 40

// maxRecord bounds a record's text in a fact.
const maxRecord = 1024

// spfWalk counts what a receiver would have to look up for one domain.
type spfWalk struct {
	resolver *resolver
	lookups  uint32
	voids    uint32
	// problem is what makes receivers give up, in the record itself or in one it includes.
	problem string
	// missed is a question that was not answered.
	missed error
	path   []string // domains being walked, to see circles
}

// spfFact reads the SPF policy of a domain from its TXT records.
func spfFact(ctx context.Context, r *resolver, domain string, texts []string) (*modelv1.SpfFact, error) {
	var records []string
	for _, text := range texts {
		if isSPF(text) {
			records = append(records, text)
		}
	}
	out := &modelv1.SpfFact{Records: uint32(len(records))}
	if len(records) == 0 {
		return out, nil
	}
	slices.Sort(records)
	out.Record = probes.SafeString(records[0], maxRecord)
	w := &spfWalk{resolver: r}
	if all := w.record(ctx, domain, records[0]); all != 0 {
		out.All = string(all)
	}
	out.Lookups, out.VoidLookups, out.Error = w.lookups, w.voids, probes.SafeString(w.problem, 256)
	return out, w.missed
}

// record walks one record and returns the qualifier of its "all", or of the record it redirects to.
func (w *spfWalk) record(ctx context.Context, domain, text string) byte {
	w.path = append(w.path, plain(domain))
	defer func() { w.path = w.path[:len(w.path)-1] }()
	record, err := parseSPF(text)
	if err != nil {
		w.fail(domain, err.Error())
	}
	for _, term := range record.terms {
		w.term(ctx, domain, term)
	}
	if all := record.all(); all != 0 {
		return all
	}
	for _, term := range record.terms {
		if term.modifier && term.name == "redirect" {
			return w.other(ctx, domain, term)
		}
	}
	return 0
}

func (w *spfWalk) fail(domain, problem string) {
	if w.problem == "" {
		w.problem = problem
		if len(w.path) > 1 {
			w.problem = domain + ": " + problem
		}
	}
}

// term counts one term; those that need the sender's address or name are counted and not asked.
func (w *spfWalk) term(ctx context.Context, domain string, term spfTerm) {
	if term.modifier {
		return // redirect is counted when it is followed, exp only when mail fails
	}
	switch term.name {
	case "include":
		w.other(ctx, domain, term)
	case "ptr":
		w.lookups++
	case "a", "mx", "exists":
		if w.lookups++; w.lookups > maxSPFLookups || strings.Contains(term.domain, "%") {
			return
		}
		target := term.domain
		if target == "" {
			target = domain
		}
		w.hosts(ctx, target, term.name)
	}
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
		if !got.void() {
			return
		}
	}
	w.voids++
}

// other follows include or redirect.
func (w *spfWalk) other(ctx context.Context, domain string, term spfTerm) byte {
	if w.lookups++; w.lookups > maxSPFLookups || strings.Contains(term.domain, "%") {
		return 0
	}
	target := plain(term.domain)
	if slices.Contains(w.path, target) {
		w.fail(domain, fmt.Sprintf("%s:%s leads in a circle", term.name, clip(target)))
		return 0
	}
	texts, err := w.resolver.texts(ctx, target)
	if err != nil {
		w.miss(err)
		return 0
	}
	var records []string
	for _, text := range texts {
		if isSPF(text) {
			records = append(records, text)
		}
	}
	if len(texts) == 0 {
		w.voids++
	}
	if len(records) != 1 {
		// RFC 7208 sections 5.2 and 6.1: both are a permanent error.
		w.fail(domain, fmt.Sprintf("%s:%s has %d SPF records", term.name, clip(target), len(records)))
		return 0
	}
	return w.record(ctx, target, records[0])
}

func (w *spfWalk) miss(err error) {
	if w.missed == nil {
		w.missed = err
	}
}

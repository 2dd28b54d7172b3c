// Package observatory grades one web application by the method of Mozilla's HTTP Observatory: twelve tests over what it answered,
// each with a modifier, summed to a score and a grade (https://developer.mozilla.org/observatory/docs/tests_and_scoring; the names of
// tests and results are the Observatory's).
//
// It is a pure function of one answer. It refuses to ask for anything: what was not seen is 'not tested' and costs nothing.
package observatory

import (
	nethttp "net/http"
	"net/url"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

// Algorithm is the version of the method, as the Observatory counts them.
const Algorithm = "5"

const (
	// baseline is the score before the tests.
	baseline = 100
	// extraCredit is the score without bonuses from which bonuses count.
	extraCredit = 90
)

// grades by the lowest score, best first.
var grades = []struct {
	score int32
	grade string
}{
	{100, "A+"}, {90, "A"}, {85, "A-"}, {80, "B+"}, {70, "B"}, {65, "B-"}, {60, "C+"}, {50, "C"}, {45, "C-"}, {40, "D+"}, {30, "D"}, {25, "D-"}, {0, "F"},
}

// Script is one script element with an address.
type Script struct {
	// Source as it is written.
	Source string
	// Integrity is set if it has a hash that browsers check.
	Integrity bool
}

// Answer is what is graded.
type Answer struct {
	// URL is the address that answered.
	URL    *url.URL
	Header nethttp.Header
	// HTML: the body is markup.
	HTML bool
	// Equivalents are values of meta elements with http-equiv, by lower-case name.
	Equivalents map[string][]string
	// Referrer is the content of the meta element "referrer", which counts as the header does.
	Referrer string
	Scripts  []Script
	// ScriptElements is the number of script elements, those without an address too.
	ScriptElements int
	// CORS is the answer to a request from a foreign origin; nil: nobody asked.
	CORS *modelv1.CorsFact
	// Untrusted: the certificate is not one that browsers accept, so HSTS does not count.
	Untrusted bool
	// Route are the addresses from the first request on plain http on; empty: plain http was not asked.
	Route []*url.URL
	// NoHTTP: nothing answers on plain http.
	NoHTTP bool
}

// outcome is the result of one test.
type outcome struct {
	result   string
	modifier int32
	passed   bool
}

// Grade runs the twelve tests.
func Grade(a Answer) *modelv1.ObservatoryFact {
	hsts := transportSecurity(a)
	policy := parsePolicy(a)
	out := &modelv1.ObservatoryFact{Algorithm: Algorithm}
	for _, t := range []struct {
		name    string
		outcome outcome
	}{
		{"content-security-policy", policy.grade(a)},
		{"cookies", cookies(a, hsts.passed)},
		{"cross-origin-resource-sharing", sharing(a)},
		{"cross-origin-embedder-policy", embedder(a)},
		{"cross-origin-opener-policy", opener(a)},
		{"cross-origin-resource-policy", resource(a)},
		{"redirection", redirection(a)},
		{"referrer-policy", referrer(a)},
		{"strict-transport-security", hsts},
		{"subresource-integrity", integrity(a)},
		{"x-content-type-options", sniffing(a)},
		{"x-frame-options", framing(a, policy)},
	} {
		out.Tests = append(out.Tests, &modelv1.ObservatoryTest{Name: t.name, Result: t.outcome.result, Modifier: t.outcome.modifier, Passed: t.outcome.passed})
	}
	out.Score, out.Grade = score(out.GetTests())
	return out
}

// score takes the penalties first; bonuses count only for who is good without them.
func score(tests []*modelv1.ObservatoryTest) (uint32, string) {
	total, bonus := int32(baseline), int32(0)
	for _, t := range tests {
		if t.GetModifier() < 0 {
			total += t.GetModifier()
		} else {
			bonus += t.GetModifier()
		}
	}
	if total >= extraCredit {
		total += bonus
	}
	total = max(total, 0)
	for _, g := range grades {
		if total >= g.score {
			return uint32(total), g.grade
		}
	}
	return uint32(total), "F"
}

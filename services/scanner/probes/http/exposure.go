package http

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	nethttp "net/http"
	"net/url"
	pathname "path"
	"slices"
	"strings"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
)

// maxExposed is how much of an exposed file is read: enough to prove it, without taking it.
const maxExposed = 32 << 10

// shown is what an answer shows.
type shown struct{ kind, product, proof string }

// expose asks for one place and confirms what it finds. Two things must hold: the content is what the path's name says, and the
// application does not say the same to a path of the same kind that cannot exist.
func (s *site) expose(ctx context.Context, v *visit, one place, found *findings) {
	answer, route := s.look(ctx, s.at(v, one.path), one.follow, found)
	if answer == nil {
		return
	}
	seen := one.shows(answer)
	if len(seen) == 0 {
		return
	}
	absent := s.at(v, controlOf(one.path))
	control, away := s.look(ctx, absent, one.follow, found)
	if control == nil {
		return // not confirmed
	}
	everywhere := one.shows(control)
	if control.status == answer.status && bytes.Contains(control.body, []byte(absent.Path)) {
		// The application repeats what it is asked for, so a path in its answer says nothing.
		bare := *answer
		bare.parsed, bare.body = nil, bytes.ReplaceAll(answer.body, []byte(answer.url.Path), nil)
		seen = one.shows(&bare)
	}
	for _, what := range seen {
		same := slices.ContainsFunc(everywhere, func(other shown) bool { return other.kind == what.kind && other.product == what.product })
		if same || route != "" && route == away {
			continue // a catch-all answer
		}
		found.expose(answer, one.path, what)
	}
}

// look asks for a place, and for where it redirects to inside of its origin if follow says so: once. route is the path of that.
func (s *site) look(ctx context.Context, at *url.URL, follow bool, found *findings) (answer *reply, route string) {
	answer = s.get(ctx, found, ask{url: at, limit: maxExposed})
	if answer == nil || !follow {
		return answer, ""
	}
	next, _ := target(answer)
	if next == nil || !sameOrigin(next, at) || next.String() == at.String() {
		return answer, ""
	}
	return s.get(ctx, found, ask{url: next, limit: maxExposed}), next.Path
}

// shows lists what the answer of the place shows, each class of a product once.
func (p place) shows(answer *reply) []shown {
	var out []shown
	for _, e := range p.traits {
		what := e.shows(answer)
		if what.proof != "" && !slices.ContainsFunc(out, func(o shown) bool { return o.kind == what.kind && o.product == what.product }) {
			out = append(out, what)
		}
	}
	return out
}

// shows is what the trait sees in the answer; without a proof it sees nothing.
func (e trait) shows(answer *reply) shown {
	if e.Kind == "page" {
		return panelOf(answer, answer.page().title)
	}
	if len(e.Status) == 0 && answer.status != nethttp.StatusOK || len(e.Status) > 0 && !slices.Contains(e.Status, answer.status) {
		return shown{}
	}
	out := shown{kind: e.Kind, product: e.Product}
	switch {
	case e.Proof != "":
		if prove := proofs[e.Proof]; prove != nil {
			out.proof = prove(string(answer.body))
		}
	case e.fits(answer):
		if out.proof = e.Says; out.proof == "" {
			out.proof = "an answer of " + e.Product
		}
	}
	return out
}

// panelOf is the product's page that an answer is.
func panelOf(answer *reply, title string) shown {
	if answer.status != nethttp.StatusOK && answer.status != nethttp.StatusUnauthorized && answer.status != nethttp.StatusForbidden {
		return shown{}
	}
	if s := recogniseIn(pagesOf().Panels, answer, title); s.Name != "" {
		return shown{kind: s.class(), product: s.Name, proof: "a page of " + s.Name}
	}
	return shown{}
}

// fits compares the texts of an trait.
func (e trait) fits(answer *reply) bool {
	body := string(answer.body)
	if e.Prefix != "" && !strings.HasPrefix(body, latin1(e.Prefix)) {
		return false
	}
	body = strings.ToLower(body)
	switch e.Form {
	case "json":
		if answer.isHTML() || !strings.HasPrefix(strings.TrimSpace(body), "{") && !strings.HasPrefix(strings.TrimSpace(body), "[") ||
			!answer.truncated && !json.Valid(answer.body) {
			return false
		}
		body = strings.Join(strings.Fields(body), "")
	case "html":
		if !answer.isHTML() {
			return false
		}
	}
	if e.Title != "" && !strings.HasPrefix(strings.ToLower(answer.page().title), e.Title) {
		return false
	}
	for _, text := range e.All {
		if !strings.Contains(body, text) {
			return false
		}
	}
	return !slices.ContainsFunc(e.None, func(text string) bool { return strings.Contains(body, text) })
}

// latin1 makes one byte of each character.
func latin1(text string) string {
	var out []byte
	for _, r := range text {
		out = append(out, byte(r))
	}
	return string(out)
}

// controlOf is a path like the given one, in the same directory and with the same ending and query, that cannot exist.
func controlOf(exposed string) string {
	exposed, query, asked := strings.Cut(exposed, "?")
	directory, file := pathname.Split(strings.TrimSuffix(exposed, "/"))
	name := token()
	if strings.HasPrefix(file, ".") {
		name = "." + name
	}
	if end := pathname.Ext(strings.TrimPrefix(file, ".")); end != "" {
		name += end
	} else if strings.HasSuffix(exposed, "/") {
		name += "/"
	}
	if asked {
		name += "?" + query
	}
	return directory + name
}

// front notes what the page itself is: a listing of a folder, the page of a product. It needs no control: the page was asked for
// because it is there.
func (f *findings) front(own *reply) {
	path := probes.SafeString(own.url.Path, maxURLText)
	if own.status == nethttp.StatusOK {
		if proof := directoryListing(string(own.body[:min(len(own.body), maxExposed)])); proof != "" {
			f.expose(own, path, shown{kind: "directory-listing", proof: proof})
		}
	}
	if page := panelOf(own, own.page().title); page.proof != "" {
		f.expose(own, path, page)
	}
}

// maxExposures bounds the exposures of one application; a path or two of each class are enough for whoever mends it.
const maxExposures = 100

// expose notes an exposure.
func (f *findings) expose(answer *reply, path string, what shown) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.exposures) >= maxExposures {
		return
	}
	f.exposures = append(f.exposures, exposed{
		fact: &modelv1.ExposureFact{
			Url: probes.SafeString(answer.url.String(), maxURLText), Path: path, Kind: what.kind, Status: uint32(answer.status), Proof: what.proof, Product: what.product,
		},
		answer: answer,
	})
}

// sorted are the exposures by path, the page of one product only where it comes first: the login is often at several.
func (f *findings) sorted() []exposed {
	slices.SortStableFunc(f.exposures, func(a, b exposed) int {
		return cmp.Or(strings.Compare(a.fact.GetPath(), b.fact.GetPath()), strings.Compare(a.fact.GetKind(), b.fact.GetKind()))
	})
	var out []exposed
	for _, e := range f.exposures {
		if e.fact.GetProduct() == "" || !slices.ContainsFunc(out, func(o exposed) bool {
			return o.fact.GetProduct() == e.fact.GetProduct() && o.fact.GetKind() == e.fact.GetKind()
		}) {
			out = append(out, e)
		}
	}
	return out
}

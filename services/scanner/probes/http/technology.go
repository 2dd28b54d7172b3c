package http

import (
	"encoding/json"
	nethttp "net/http"
	"regexp"
	"slices"
	"strings"
	"sync"

	wappalyzer "github.com/projectdiscovery/wappalyzergo"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
)

// The fingerprints are wappalyzergo's data (MIT); the matching is our own. Measured on 7,549 products: the library's matcher
// compiles every pattern first (434 ms, 103 MB of heap kept) and tries each of them (53 ms for a page of 10 KB, 10 s for one
// of 2 MB). This one looks for the literal text that a pattern cannot match without, and compiles and tries a pattern only
// where that text occurs.

// Bounds of the matching of one answer.
const (
	// maxMarkup is how much of a body is matched: products name themselves in the head of a page.
	maxMarkup = 256 << 10
	// maxValue is how much of a header, cookie, script address or meta content is matched.
	maxValue = 512
	// maxWork bounds the bytes that all patterns of one answer are tried on. At about 50 ns a byte it is half a second, which
	// only a page made for it needs.
	maxWork = 8 << 20
	// maxTechnologies bounds the products of one fact.
	maxTechnologies = 64
	// minConfidence in percent: hints of less are not named.
	minConfidence = 50
)

// part says where a pattern is looked for.
type part string

// Headers, cookies and metas are looked up by name: their part is the kind and the name.
const (
	inMarkup  part = "markup"
	inScripts part = "scripts"
	inHeader  part = "header:"
	inCookie  part = "cookie:"
	inMeta    part = "meta:"
)

// product is one entry of the fingerprints.
type product struct {
	Headers   map[string]string   `json:"headers"`
	Cookies   map[string]string   `json:"cookies"`
	HTML      []string            `json:"html"`
	ScriptSrc []string            `json:"scriptSrc"`
	Meta      map[string][]string `json:"meta"`
	Implies   []string            `json:"implies"`
	CPE       string              `json:"cpe"`
}

// known is what is said of a product that was found. The patterns are kept once, in the indexes.
type known struct {
	implies []string
	cpe     string
}

// catalogue is the fingerprints, indexed for matching.
type catalogue struct {
	products map[string]known
	indexes  map[part]*index
}

// loadCatalogue reads the fingerprints, once, when the first answer asks for them.
var loadCatalogue = sync.OnceValue(readCatalogue)

func readCatalogue() *catalogue {
	var file struct {
		Apps map[string]product `json:"apps"`
	}
	c := &catalogue{indexes: make(map[part]*index)}
	if err := json.Unmarshal([]byte(wappalyzer.GetRawFingerprints()), &file); err != nil {
		return c // compiled in, and tested
	}
	c.products = make(map[string]known, len(file.Apps))
	for name, p := range file.Apps {
		c.products[name] = known{implies: p.Implies, cpe: p.CPE}
		c.addAll(inMarkup, name, p.HTML)
		c.addAll(inScripts, name, p.ScriptSrc)
		for header, text := range p.Headers {
			c.addAll(inHeader+part(strings.ToLower(header)), name, []string{text})
		}
		for cookie, text := range p.Cookies {
			c.addAll(inCookie+part(strings.ToLower(cookie)), name, []string{text})
		}
		for meta, texts := range p.Meta {
			c.addAll(inMeta+part(strings.ToLower(meta)), name, texts)
		}
	}
	return c
}

func (c *catalogue) addAll(where part, name string, texts []string) {
	for _, text := range texts {
		if c.indexes[where] == nil {
			c.indexes[where] = newIndex(where == inMarkup || where == inScripts)
		}
		c.indexes[where].add(readPattern(name, text))
	}
}

// technologies names the products an answer shows, and those that they cannot be without.
func technologies(answer *reply, p *page) []*modelv1.Technology {
	c := loadCatalogue()
	m := &matcher{catalogue: c, left: maxWork, found: make(map[string]*sighting)}
	for name, values := range answer.header {
		m.look(inHeader+part(strings.ToLower(name)), strings.Join(values, ", "), maxValue)
	}
	for _, cookie := range (&nethttp.Response{Header: answer.header}).Cookies() {
		m.look(inCookie+part(strings.ToLower(cookie.Name)), cookie.Value, maxValue)
	}
	for _, meta := range p.metas {
		m.look(inMeta+part(meta[0]), meta[1], maxValue)
	}
	for _, script := range p.scripts {
		m.look(inScripts, script, maxValue)
	}
	if answer.isHTML() {
		m.look(inMarkup, string(answer.body[:min(len(answer.body), maxMarkup)]), maxMarkup)
	}
	m.imply()
	return m.facts()
}

// sighting is how sure a product is, and its version.
type sighting struct {
	confidence int
	version    string
}

// matcher matches one answer.
type matcher struct {
	catalogue *catalogue
	left      int // of maxWork
	found     map[string]*sighting
}

func (m *matcher) look(where part, text string, limit int) {
	list := m.catalogue.indexes[where]
	if list == nil {
		return
	}
	text = text[:min(len(text), limit)]
	list.candidates(text, func(one *pattern, window string) bool {
		m.left -= len(window)
		if version, ok := one.match(window); ok {
			m.see(one.product, one.confidence, version)
		}
		return m.left > 0
	})
}

func (m *matcher) see(product string, confidence int, version string) {
	s := m.found[product]
	if s == nil {
		s = &sighting{}
		m.found[product] = s
	}
	s.confidence = min(100, s.confidence+confidence)
	if len(version) > len(s.version) {
		s.version = version
	}
}

// imply adds what the products found are built on: WordPress is PHP.
func (m *matcher) imply() {
	var open []string
	for name, s := range m.found {
		if s.confidence >= minConfidence {
			open = append(open, name)
		}
	}
	for len(open) > 0 {
		name := open[0]
		open = open[1:]
		for _, text := range m.catalogue.products[name].implies {
			implied := readPattern("", text)
			if implied.confidence >= minConfidence && m.found[implied.text] == nil {
				m.see(implied.text, implied.confidence, "")
				open = append(open, implied.text)
			}
		}
	}
}

func (m *matcher) facts() []*modelv1.Technology {
	var out []*modelv1.Technology
	for name, s := range m.found {
		if s.confidence < minConfidence {
			continue
		}
		out = append(out, &modelv1.Technology{
			Name: probes.SafeString(name, 128), Version: probes.SafeString(s.version, 64), Cpe: withVersion(m.catalogue.products[name].cpe, s.version),
		})
	}
	slices.SortFunc(out, func(a, b *modelv1.Technology) int { return strings.Compare(a.GetName(), b.GetName()) })
	return out[:min(len(out), maxTechnologies)]
}

// plainVersion is a version that needs no quoting inside a CPE name (NISTIR 7695 section 6.2).
var plainVersion = regexp.MustCompile(`^[0-9A-Za-z._]{1,32}$`)

// withVersion puts version into the sixth field of a CPE 2.3 name, where the name leaves it open.
func withVersion(cpe, version string) string {
	fields := strings.Split(cpe, ":")
	if len(fields) != 13 || fields[5] != "*" || !plainVersion.MatchString(version) {
		return cpe
	}
	fields[5] = strings.ToLower(version)
	return strings.Join(fields, ":")
}

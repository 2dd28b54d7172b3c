package http

import (
	"bytes"
	"net/url"
	"strings"

	"golang.org/x/net/html"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/http/observatory"
)

// Bounds of what is taken out of one page.
const (
	maxTokens  = 200_000
	maxScripts = 100
	maxMetas   = 100
	maxMixed   = 20
	maxForeign = 50
	maxPaths   = 200
	maxTitle   = 256
	// maxAttribute is the longest attribute value looked at.
	maxAttribute = 2048
)

// page is what the markup of one answer says. It is read by a tokenizer, not as a tree: what a browser would repair is not
// repaired, and no nesting is deep.
type page struct {
	title   string
	scripts []string
	metas   [][2]string // name and content
	// equivalents are values of meta elements that stand for a header, by lower-case name.
	equivalents map[string][]string
	// sources are the scripts with what browsers check of them; elements counts those without an address too.
	sources      []observatory.Script
	elements     int
	icon         string
	password     bool
	insecureForm bool
	// passwordInURL: a form with a password field is sent as part of the address; getForm: the open form is such a one.
	passwordInURL, getForm bool
	// mixed are active resources in the clear, passive those that are only shown.
	mixed, passive []string
	// foreign are the hosts of other sites that scripts and styles come from.
	foreign map[string]*modelv1.ForeignResource
	// paths are places of the page's own origin that it takes things from.
	paths []string
}

// loads are the attributes that make a browser run or show something from another place: active mixed content (W3C Mixed
// Content, "blockable").
var loads = map[string]string{"script": "src", "iframe": "src", "frame": "src", "embed": "src", "object": "data"}

// shows are the elements that show something from another place: passive mixed content ("optionally blockable").
var shows = map[string]bool{"img": true, "audio": true, "video": true, "source": true}

// telltale are the elements whose attributes are read.
var telltale = map[string]bool{
	"script": true, "iframe": true, "frame": true, "embed": true, "object": true, "meta": true, "link": true, "form": true, "input": true, "base": true,
	"img": true, "audio": true, "video": true, "source": true,
}

// readPage reads markup that came from at. Relative addresses are resolved against it, or against the page's base.
func readPage(body []byte, at *url.URL) *page {
	p := &page{}
	base := at
	tokens := html.NewTokenizer(bytes.NewReader(body))
	for range maxTokens {
		kind := tokens.Next()
		if kind == html.ErrorToken {
			return p
		}
		if kind != html.StartTagToken && kind != html.SelfClosingTagToken && kind != html.EndTagToken {
			continue
		}
		raw, more := tokens.TagName()
		name := string(raw)
		if kind == html.EndTagToken {
			p.getForm = p.getForm && name != "form"
			continue
		}
		if name == "title" && p.title == "" && kind == html.StartTagToken {
			if tokens.Next() == html.TextToken {
				p.title = probes.SafeText([]byte(html.UnescapeString(string(tokens.Raw()))), maxTitle)
			}
			continue
		}
		if !telltale[name] {
			continue
		}
		attributes := readAttributes(tokens, more)
		if name == "base" && base == at && attributes["href"] != "" {
			if moved, err := at.Parse(attributes["href"]); err == nil {
				base = moved
			}
			continue
		}
		p.element(name, attributes, base, at)
	}
	return p
}

// readAttributes reads the attributes of the tag, the first of each name, which is the one that counts in HTML.
func readAttributes(tokens *html.Tokenizer, more bool) map[string]string {
	var out map[string]string
	for range 64 {
		if !more {
			break
		}
		var key, value []byte
		key, value, more = tokens.TagAttr()
		if out == nil {
			out = make(map[string]string)
		}
		if _, known := out[string(key)]; !known {
			out[string(key)] = string(value[:min(len(value), maxAttribute)])
		}
	}
	return out
}

func (p *page) element(name string, attributes map[string]string, base, at *url.URL) {
	switch name {
	case "script":
		p.elements++
		if source := strings.TrimSpace(attributes["src"]); source != "" && len(p.scripts) < maxScripts {
			p.scripts = append(p.scripts, source)
			p.sources = append(p.sources, observatory.Script{Source: source, Integrity: strings.HasPrefix(attributes["integrity"], "sha")})
		}
		p.takes(attributes["src"], attributes["integrity"], base, at, true)
	case "meta":
		p.equivalent(attributes)
		if attributes["name"] != "" && len(p.metas) < maxMetas {
			p.metas = append(p.metas, [2]string{strings.ToLower(attributes["name"]), attributes["content"]})
		}
	case "link":
		p.link(attributes, base, at)
	case "form":
		p.getForm = strings.EqualFold(strings.TrimSpace(attributes["method"]), "get")
		if action, err := base.Parse(attributes["action"]); err == nil && at.Scheme == "https" && action.Scheme == "http" {
			p.insecureForm = true
		}
	case "input":
		if strings.EqualFold(attributes["type"], "password") {
			p.password, p.passwordInURL = true, p.passwordInURL || p.getForm
		}
	}
	if shows[name] {
		mix(&p.passive, attributes["src"], base, at)
		p.own(attributes["src"], base, at)
	}
	if source := attributes[loads[name]]; loads[name] != "" && source != "" {
		mix(&p.mixed, source, base, at)
	}
}

func (p *page) equivalent(attributes map[string]string) {
	name := strings.ToLower(strings.TrimSpace(attributes["http-equiv"]))
	if name == "" || len(p.equivalents) >= maxMetas || len(p.equivalents[name]) >= maxMetas {
		return
	}
	if p.equivalents == nil {
		p.equivalents = map[string][]string{}
	}
	p.equivalents[name] = append(p.equivalents[name], attributes["content"])
}

func (p *page) link(attributes map[string]string, base, at *url.URL) {
	for _, rel := range strings.Fields(strings.ToLower(attributes["rel"])) {
		switch rel {
		case "icon":
			if p.icon == "" {
				p.icon = attributes["href"]
			}
		case "stylesheet":
			mix(&p.mixed, attributes["href"], base, at)
			p.takes(attributes["href"], attributes["integrity"], base, at, false)
		}
	}
}

// mix notes a resource that a page served over TLS takes in the clear.
func mix(list *[]string, source string, base, at *url.URL) {
	if source = strings.TrimSpace(source); source == "" || at.Scheme != "https" || len(*list) >= maxMixed {
		return
	}
	if from, err := base.Parse(source); err == nil && from.Scheme == "http" {
		*list = append(*list, probes.SafeString(from.String(), maxURLText))
	}
}

// takes notes a script or style by whose it is: the page's own, or that of a host of another site.
func (p *page) takes(source, integrity string, base, at *url.URL, script bool) {
	from, err := base.Parse(strings.TrimSpace(source))
	if err != nil || source == "" || from.Scheme != "http" && from.Scheme != "https" {
		return
	}
	host := strings.ToLower(from.Hostname())
	if observatory.SameSite(host, at.Hostname()) {
		p.own(source, base, at)
		return
	}
	f := p.foreign[host]
	if f == nil {
		if len(p.foreign) >= maxForeign {
			return
		}
		if p.foreign == nil {
			p.foreign = map[string]*modelv1.ForeignResource{}
		}
		f = &modelv1.ForeignResource{Host: probes.SafeString(host, 253)}
		p.foreign[host] = f
	}
	if !script {
		f.Styles++
		return
	}
	if f.Scripts++; !strings.HasPrefix(strings.TrimSpace(integrity), "sha") {
		f.WithoutIntegrity++
	}
}

// own notes a path of the page's own origin.
func (p *page) own(source string, base, at *url.URL) {
	if from, err := base.Parse(strings.TrimSpace(source)); err == nil && source != "" && len(p.paths) < maxPaths && sameOrigin(from, at) {
		p.paths = append(p.paths, from.Path)
	}
}

// page is what the answer says as markup, read once; empty for an answer that is none. It is for one goroutine at a time.
func (r *reply) page() *page {
	if r.parsed == nil {
		r.parsed = &page{}
		if r.isHTML() {
			r.parsed = readPage(r.body, r.url)
		}
	}
	return r.parsed
}

// isHTML says whether an answer is markup, by its type, or by its beginning where it names none.
func (r *reply) isHTML() bool {
	if r.opaque {
		return false
	}
	kind := strings.ToLower(r.header.Get("Content-Type"))
	if kind != "" {
		return strings.HasPrefix(kind, "text/html") || strings.HasPrefix(kind, "application/xhtml")
	}
	head := bytes.ToLower(bytes.TrimSpace(r.body[:min(len(r.body), 512)]))
	return bytes.HasPrefix(head, []byte("<!doctype html")) || bytes.HasPrefix(head, []byte("<html"))
}

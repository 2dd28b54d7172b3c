package http

import (
	"bytes"
	"net/url"
	"strings"

	"golang.org/x/net/html"

	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/http/observatory"
)

// Bounds of what is taken out of one page.
const (
	maxTokens  = 200_000
	maxScripts = 100
	maxMetas   = 100
	maxMixed   = 20
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
	mixed        []string
}

// loads are the attributes that make a browser run or show something from another place: active mixed content (W3C Mixed
// Content, "blockable").
var loads = map[string]string{"script": "src", "iframe": "src", "frame": "src", "embed": "src", "object": "data"}

// telltale are the elements whose attributes are read.
var telltale = map[string]bool{
	"script": true, "iframe": true, "frame": true, "embed": true, "object": true, "meta": true, "link": true, "form": true, "input": true, "base": true,
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
		if kind != html.StartTagToken && kind != html.SelfClosingTagToken {
			continue
		}
		raw, more := tokens.TagName()
		name := string(raw)
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
	case "meta":
		p.equivalent(attributes)
		if attributes["name"] != "" && len(p.metas) < maxMetas {
			p.metas = append(p.metas, [2]string{strings.ToLower(attributes["name"]), attributes["content"]})
		}
	case "link":
		p.link(attributes, base, at)
	case "form":
		if action, err := base.Parse(attributes["action"]); err == nil && at.Scheme == "https" && action.Scheme == "http" {
			p.insecureForm = true
		}
	case "input":
		p.password = p.password || strings.EqualFold(attributes["type"], "password")
	}
	if source := attributes[loads[name]]; loads[name] != "" && source != "" {
		p.mix(source, base, at)
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
			p.mix(attributes["href"], base, at)
		}
	}
}

// mix notes a resource that a page served over TLS takes in the clear.
func (p *page) mix(source string, base, at *url.URL) {
	if at.Scheme != "https" || len(p.mixed) >= maxMixed {
		return
	}
	if from, err := base.Parse(strings.TrimSpace(source)); err == nil && from.Scheme == "http" {
		p.mixed = append(p.mixed, probes.SafeString(from.String(), maxURLText))
	}
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

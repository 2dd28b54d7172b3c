package http

import (
	"regexp"
	"regexp/syntax"
	"strconv"
	"strings"
	"sync"
)

// pattern is one fingerprint: a regular expression with what it says of the product. It is compiled when it is first tried.
type pattern struct {
	product    string
	text       string
	confidence int
	version    string // template: \1 stands for the first group, \1?a:b for a if there is one and b if not

	once     sync.Once
	compiled *regexp.Regexp

	read sync.Once
	// required are literals, in lower case, of which every match has each.
	required []string
}

// possible says whether a text, in lower case, has all that a match has to have: a search for texts costs a hundredth of trying the
// expression.
func (p *pattern) possible(lower string) bool {
	p.read.Do(func() {
		if tree, err := syntax.Parse(p.text, syntax.Perl|syntax.FoldCase); err == nil {
			p.required = required(tree)
		}
	})
	for _, part := range p.required {
		if !strings.Contains(lower, part) {
			return false
		}
	}
	return true
}

// required are the literals of three ASCII bytes and more that every match of an expression contains.
func required(tree *syntax.Regexp) []string {
	switch tree.Op {
	case syntax.OpLiteral:
		if part := longest(tree.Rune); len(part) >= gram-1 {
			return []string{part}
		}
	case syntax.OpCapture, syntax.OpPlus:
		return required(tree.Sub[0])
	case syntax.OpRepeat:
		if tree.Min > 0 {
			return required(tree.Sub[0])
		}
	case syntax.OpConcat:
		var all []string
		for _, sub := range tree.Sub {
			all = append(all, required(sub)...)
		}
		return all
	}
	return nil
}

// readPattern takes a fingerprint apart: the expression, then tags such as version and confidence behind "\;".
func readPattern(product, text string) *pattern {
	parts := strings.Split(text, `\;`)
	p := &pattern{product: product, text: parts[0], confidence: 100}
	for _, tag := range parts[1:] {
		name, value, _ := strings.Cut(tag, ":")
		switch name {
		case "version":
			p.version = value
		case "confidence":
			if n, err := strconv.Atoi(value); err == nil {
				p.confidence = n
			}
		}
	}
	return p
}

// match tries the pattern. An empty one holds for every text: the header or cookie is there.
func (p *pattern) match(text string) (version string, ok bool) {
	if p.text == "" {
		return "", true
	}
	p.once.Do(func() { p.compiled, _ = regexp.Compile("(?i)" + p.text) })
	if p.compiled == nil {
		return "", false
	}
	groups := p.compiled.FindStringSubmatch(text)
	if groups == nil {
		return "", false
	}
	return fillIn(p.version, groups), true
}

// fillIn fills the groups of a match into a version template.
func fillIn(template string, groups []string) string {
	group := func(n byte) string {
		if i := int(n - '0'); i > 0 && i < len(groups) {
			return groups[i]
		}
		return ""
	}
	if test, choice, ok := strings.Cut(template, "?"); ok && len(test) == 2 && test[0] == '\\' {
		yes, no, _ := strings.Cut(choice, ":")
		template = no
		if group(test[1]) != "" {
			template = yes
		}
	}
	var out strings.Builder
	for i := 0; i < len(template); i++ {
		if template[i] == '\\' && i+1 < len(template) && template[i+1] >= '0' && template[i+1] <= '9' {
			out.WriteString(group(template[i+1]))
			i++
			continue
		}
		out.WriteByte(template[i])
	}
	return strings.TrimSpace(out.String())
}

// gram is the length of the pieces of text that patterns are found by.
const gram = 4

// index finds the patterns that could match a text.
type index struct {
	// byGram lists patterns by four bytes of a literal that must occur; seen has one bit for the hash of each.
	byGram map[uint32][]entry
	seen   []uint64
	// always lists patterns without such a literal, and all patterns of an index that is looked up by name and so is short.
	always []*pattern
}

type entry struct {
	literal string
	at      int // where in literal the four bytes begin
	pattern *pattern
}

// newIndex makes an index; by literals if it is for long texts and many patterns.
func newIndex(byLiterals bool) *index {
	if !byLiterals {
		return &index{}
	}
	return &index{byGram: make(map[uint32][]entry), seen: make([]uint64, 1<<10)}
}

// add files the pattern under one of the literals of which a match contains at least one.
func (x *index) add(p *pattern) {
	var literals []string
	if x.byGram == nil {
		x.always = append(x.always, p)
		return
	}
	if tree, err := syntax.Parse(p.text, syntax.Perl|syntax.FoldCase); err == nil {
		literals = needed(tree)
	}
	if len(literals) == 0 {
		x.always = append(x.always, p)
		return
	}
	for _, literal := range literals {
		best := 0
		for at := range len(literal) - gram + 1 {
			if len(x.byGram[key(literal[at:])]) < len(x.byGram[key(literal[best:])]) {
				best = at
			}
		}
		k := key(literal[best:])
		x.byGram[k] = append(x.byGram[k], entry{literal, best, p})
		h := hash(k)
		x.seen[h>>6] |= 1 << (h & 63)
	}
}

func key(text string) uint32 {
	return uint32(text[0]) | uint32(text[1])<<8 | uint32(text[2])<<16 | uint32(text[3])<<24
}

func hash(k uint32) uint32 { return k * 0x9e3779b1 >> 16 }

// around is how much of a long text a pattern gets to see on both sides of its literal: tags are shorter.
const around = 1024

// candidates calls yield with each pattern that could match text, and the part of text to try it on, until yield says stop. A
// pattern whose literal occurs often is tried at its first occurrences.
func (x *index) candidates(text string, yield func(p *pattern, window string) bool) {
	for _, p := range x.always {
		if !yield(p, text[:min(len(text), 2*around)]) {
			return
		}
	}
	if x.byGram == nil {
		return
	}
	lower := lowerASCII(text)
	tried := make(map[*pattern]int)
	for at := 0; at+gram <= len(lower); at++ {
		k := key(lower[at:])
		if h := hash(k); x.seen[h>>6]&(1<<(h&63)) == 0 {
			continue
		}
		for _, e := range x.byGram[k] {
			from := at - e.at
			if from < 0 || !strings.HasPrefix(lower[from:], e.literal) || tried[e.pattern] >= 3 {
				continue
			}
			tried[e.pattern]++
			start := max(0, from-around)
			if strings.HasPrefix(e.pattern.text, "^") && start > 0 {
				continue // the window's beginning is not the text's
			}
			end := min(len(text), from+len(e.literal)+around)
			if e.pattern.possible(lower[start:end]) && !yield(e.pattern, text[start:end]) {
				return
			}
		}
	}
}

// lowerASCII lowers A to Z and keeps every byte where it is.
func lowerASCII(text string) string {
	out := []byte(text)
	for i, c := range out {
		if 'A' <= c && c <= 'Z' {
			out[i] = c + 'a' - 'A'
		}
	}
	return string(out)
}

// needed returns literals, in lower case and of at least four ASCII bytes, of which every match of the expression contains one;
// none if there are no such.
func needed(tree *syntax.Regexp) []string {
	switch tree.Op {
	case syntax.OpLiteral:
		return literal(tree.Rune)
	case syntax.OpCapture, syntax.OpPlus:
		return needed(tree.Sub[0])
	case syntax.OpRepeat:
		if tree.Min > 0 {
			return needed(tree.Sub[0])
		}
		return nil
	case syntax.OpConcat:
		var best []string
		for _, sub := range tree.Sub {
			if found := needed(sub); better(found, best) {
				best = found
			}
		}
		return best
	case syntax.OpAlternate:
		var all []string
		for _, sub := range tree.Sub {
			found := needed(sub)
			if len(found) == 0 {
				return nil
			}
			all = append(all, found...)
		}
		return all
	default:
		return nil
	}
}

// better prefers few literals, then long ones.
func better(found, than []string) bool {
	if len(found) == 0 || len(than) == 0 {
		return len(found) > 0
	}
	if len(found) != len(than) {
		return len(found) < len(than)
	}
	return len(found[0]) > len(than[0])
}

// literal is the longest run of ASCII in a literal, where it is long enough for the index.
func literal(runes []rune) []string {
	if best := longest(runes); len(best) >= gram {
		return []string{best}
	}
	return nil
}

// longest is the longest run of ASCII in a literal, in lower case. Two letters outside ASCII fold with k and s (the Kelvin sign, the
// long s); a page that spells a product with them is not worth a slower search.
func longest(runes []rune) string {
	best, run := "", []byte(nil)
	for _, r := range runes {
		if r >= 0x80 {
			run = nil
			continue
		}
		run = append(run, lowerASCII(string(r))...)
		if len(run) > len(best) {
			best = string(run)
		}
	}
	return best
}

package dns

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"sync"
)

// spfTerm is one directive or modifier of an SPF record (RFC 7208 section 4.6.1).
type spfTerm struct {
	// name in lower case: all, include, a, mx, ptr, ip4, ip6, exists, redirect, exp, or the name of an unknown modifier.
	name string
	// qualifier of a directive: + - ~ ?
	qualifier byte
	modifier  bool
	// domain is the domain-spec, empty for the domain itself.
	domain string
	// bits is the length of the IPv4 network of ip4, a and mx, 32 if none is said.
	bits int
}

// spfRecord is a parsed SPF record.
type spfRecord struct {
	terms []spfTerm
}

// isSPF says whether a TXT record is an SPF record: the version, then a space or the end (RFC 7208 section 4.5).
func isSPF(text string) bool {
	const version = "v=spf1"
	return len(text) >= len(version) && strings.EqualFold(text[:len(version)], version) && (len(text) == len(version) || text[len(version)] == ' ')
}

// parseSPF reads an SPF record. The error is the first thing that makes receivers give up on it (permerror, RFC 7208 section
// 2.6.7); the terms that could be read come along.
func parseSPF(text string) (spfRecord, error) {
	var out spfRecord
	var problem error
	fail := func(err error) {
		if problem == nil {
			problem = err
		}
	}
	seen := make(map[string]bool)
	for i := range len(text) {
		if text[i] < 0x20 || text[i] > 0x7e {
			fail(errors.New("a character that is not ASCII"))
			break
		}
	}
	for i, word := range strings.Split(text, " ") {
		if i == 0 || word == "" {
			continue
		}
		term, err := parseTerm(word)
		if err != nil {
			fail(fmt.Errorf("%s: %w", clip(word), err))
			continue
		}
		if term.modifier && (term.name == "redirect" || term.name == "exp") {
			if seen[term.name] {
				fail(fmt.Errorf("%s occurs twice", term.name))
				continue
			}
			seen[term.name] = true
		}
		out.terms = append(out.terms, term)
	}
	return out, problem
}

// clip bounds a word of a record in an error.
func clip(word string) string { return word[:min(len(word), 64)] }

// patterns of the record's grammar. They are compiled when the first record is read, and not at every cold start.
type patterns struct {
	modifierName *regexp.Regexp
	// dualCIDR is the ending of a and mx (RFC 7208 section 5.6). It fits every text.
	dualCIDR *regexp.Regexp
	// macro is one macro-expand (RFC 7208 section 7.1).
	macro *regexp.Regexp
	// topLabel ends a domain-spec that does not end in a macro.
	topLabel *regexp.Regexp
}

var syntax = sync.OnceValue(func() patterns {
	return patterns{
		modifierName: regexp.MustCompile(`^[A-Za-z][A-Za-z0-9._-]*$`),
		dualCIDR:     regexp.MustCompile(`(?s)^(.*?)(?:/(\d{1,3}))?(?://(\d{1,3}))?$`),
		macro:        regexp.MustCompile(`^%(?:\{[slodiphcrtvSLODIPHCRTV]\d*[rR]?[.\-+,/_=]*\}|[%_-])`),
		topLabel:     regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?$`),
	}
})

func parseTerm(word string) (spfTerm, error) {
	// A modifier has "=" before any ":" or "/".
	if at := strings.IndexAny(word, "=:/"); at >= 0 && word[at] == '=' {
		return parseModifier(word[:at], word[at+1:])
	}
	t := spfTerm{qualifier: '+', bits: 32}
	if strings.IndexByte("+-~?", word[0]) >= 0 {
		t.qualifier, word = word[0], word[1:]
	}
	name, rest := word, ""
	if at := strings.IndexAny(word, ":/"); at >= 0 {
		name, rest = word[:at], word[at:]
	}
	t.name = strings.ToLower(name)
	return t, t.parseArgument(rest)
}

func parseModifier(name, value string) (spfTerm, error) {
	t := spfTerm{name: strings.ToLower(name), modifier: true}
	if !syntax().modifierName.MatchString(name) {
		return t, errors.New("no name of a modifier")
	}
	if t.name == "redirect" || t.name == "exp" {
		t.domain = value
		return t, checkDomain(value)
	}
	_, err := checkMacros(value)
	return t, err // unknown ones are ignored (RFC 7208 section 6)
}

// parseArgument reads what follows the name of a mechanism, with its ":" or "/".
func (t *spfTerm) parseArgument(rest string) error {
	switch t.name {
	case "all":
		if rest != "" {
			return errors.New("takes no argument")
		}
		return nil
	case "include", "exists":
		domain, ok := strings.CutPrefix(rest, ":")
		if !ok {
			return errors.New("names no domain")
		}
		t.domain = domain
		return checkDomain(domain)
	case "ptr":
		if rest == "" {
			return nil
		}
		t.domain = strings.TrimPrefix(rest, ":")
		return checkDomain(t.domain)
	case "a", "mx":
		return t.parseHosts(rest)
	case "ip4", "ip6":
		network, ok := strings.CutPrefix(rest, ":")
		if !ok {
			return errors.New("names no network")
		}
		if _, bits, ok := strings.Cut(network, "/"); ok && t.name == "ip4" {
			t.bits, _ = strconv.Atoi(bits) // checked below
		}
		return checkNetwork(t.name, network)
	default:
		return errors.New("no such mechanism")
	}
}

// parseHosts reads [":" domain-spec] ["/" bits] ["//" bits].
func (t *spfTerm) parseHosts(rest string) error {
	parts := syntax().dualCIDR.FindStringSubmatch(rest)
	if bits, err := strconv.Atoi("0" + parts[2]); err != nil || bits > 32 {
		return errors.New("more than 32 bits")
	}
	if bits, err := strconv.Atoi("0" + parts[3]); err != nil || bits > 128 {
		return errors.New("more than 128 bits")
	}
	if parts[2] != "" {
		t.bits, _ = strconv.Atoi(parts[2])
	}
	if parts[1] == "" {
		return nil
	}
	domain, ok := strings.CutPrefix(parts[1], ":")
	if !ok {
		return errors.New("no domain and no network length")
	}
	t.domain = domain
	return checkDomain(domain)
}

// checkNetwork reads the network of ip4 or ip6 (RFC 7208 section 5.6).
func checkNetwork(kind, text string) error {
	address, bits, hasBits := strings.Cut(text, "/")
	addr, err := netip.ParseAddr(address)
	if err != nil || addr.Zone() != "" || addr.Is4() != (kind == "ip4") {
		return fmt.Errorf("no address of %s", kind)
	}
	if !hasBits {
		return nil
	}
	if n, err := strconv.Atoi(bits); err != nil || n < 0 || n > addr.BitLen() || !digits(bits) {
		return errors.New("no network length")
	}
	return nil
}

// checkDomain checks a domain-spec (RFC 7208 section 7.1): macros, and a top label at the end unless a macro stands there.
func checkDomain(text string) error {
	endsInMacro, err := checkMacros(text)
	if err != nil || endsInMacro {
		return err
	}
	trimmed := strings.TrimSuffix(text, ".")
	at := strings.LastIndexByte(trimmed, '.')
	if at <= 0 {
		return errors.New("no domain name")
	}
	if top := trimmed[at+1:]; !syntax().topLabel.MatchString(top) || digits(top) {
		return errors.New("no top-level domain at the end")
	}
	return nil
}

// checkMacros checks a macro-string and says whether it ends in a macro.
func checkMacros(text string) (endsInMacro bool, err error) {
	for text != "" {
		if text[0] != '%' {
			if text[0] < 0x21 || text[0] > 0x7e {
				return false, errors.New("a character that is not allowed")
			}
			text, endsInMacro = text[1:], false
			continue
		}
		found := syntax().macro.FindString(text)
		if found == "" {
			return false, errors.New("a broken macro")
		}
		text, endsInMacro = text[len(found):], strings.HasPrefix(found, "%{")
	}
	return endsInMacro, nil
}

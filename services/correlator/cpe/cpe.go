// Package cpe reads, writes and compares names of the Common Platform Enumeration 2.3: the formatted string (cpe:2.3:a:...) and the URI
// (cpe:/a:...) of NIST IR 7695, and the name matching of NIST IR 7696. It refuses what is no well-formed name instead of guessing.
package cpe

import (
	"strings"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// MaxBytes bounds a name; the longest in NVD's dictionary has about 200.
const MaxBytes = 1024

// Any and NA are the two logical values of an attribute: everything, and nothing of the kind.
const (
	Any = "*"
	NA  = "-"
)

// The attributes in the order of the formatted string.
const (
	Part = iota
	Vendor
	Product
	Version
	Update
	Edition
	Language
	SoftwareEdition
	TargetSoftware
	TargetHardware
	Other
	attributes
)

// Name is a well-formed name: the attributes in the formatted string's escaped form, in lower case. The zero value is no name.
type Name [attributes]string

// Parse reads a name in either form.
func Parse(text string) (Name, error) {
	switch {
	case len(text) > MaxBytes:
		return Name{}, fault.New(fault.Invalid, "read CPE name: it has %d bytes, the most is %d", len(text), MaxBytes)
	case strings.HasPrefix(text, "cpe:2.3:"):
		return parseFormatted(text[len("cpe:2.3:"):])
	case strings.HasPrefix(text, "cpe:/"):
		return parseURI(text[len("cpe:/"):])
	}
	return Name{}, fault.New(fault.Invalid, "read CPE name %q: it begins neither with cpe:2.3: nor with cpe:/", text)
}

func parseFormatted(text string) (Name, error) {
	fields := splitUnescaped(text)
	if len(fields) != attributes {
		return Name{}, fault.New(fault.Invalid, "read CPE name %q: it has %d attributes, a formatted string has %d", text, len(fields), attributes)
	}
	var n Name
	for i, f := range fields {
		if !wellFormed(f) {
			return Name{}, fault.New(fault.Invalid, "read CPE name %q: attribute %q is not well formed", text, f)
		}
		n[i] = strings.ToLower(f)
	}
	return n, n.check()
}

// check refuses a part that is none (NISTIR 7695 section 5.3.3.2), and a name that nobody could read again: as a formatted string it
// is longer than the URI it was read from.
func (n Name) check() error {
	if long := len(n.String()); long > MaxBytes {
		return fault.New(fault.Invalid, "read CPE name: it has %d bytes as a formatted string, the most is %d", long, MaxBytes)
	}
	switch n[Part] {
	case "a", "o", "h", Any, NA:
		return nil
	}
	return fault.New(fault.Invalid, "read CPE name: part %q is none of a, o, h", n[Part])
}

func splitUnescaped(text string) []string {
	var out []string
	from := 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case ':':
			out, from = append(out, text[from:i]), i+1
		}
	}
	return append(out, text[from:])
}

// wellFormed: letters, digits, _ - . stand for themselves, everything else is escaped; * stands alone or at an end, ? at the ends.
func wellFormed(f string) bool {
	if f == "" {
		return false
	}
	core := strings.TrimLeft(f, "?")
	core = strings.TrimPrefix(core, "*")
	for i := 0; i < len(core); i++ {
		c := core[i]
		switch {
		case plain(c):
		case c == '\\':
			if i++; i == len(core) || core[i] <= ' ' || core[i] >= 0x7f {
				return false
			}
		case c == '*' && i == len(core)-1:
		case c == '?' && strings.Trim(core[i:], "?") == "":
		default:
			return false
		}
	}
	return true
}

func plain(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-' || c == '.'
}

// parseURI reads the URI binding: at most seven attributes, percent-encoded; the sixth may pack five more after tildes
// (NISTIR 7695 section 6.1).
func parseURI(text string) (Name, error) {
	n := Name{Any, Any, Any, Any, Any, Any, Any, Any, Any, Any, Any}
	fields := strings.Split(text, ":")
	if len(fields) > Language+1 {
		return Name{}, fault.New(fault.Invalid, "read CPE name %q: it has %d attributes, a URI has at most %d", text, len(fields), Language+1)
	}
	for i, f := range fields {
		if i == Edition && strings.HasPrefix(f, "~") {
			if err := n.unpack(f); err != nil {
				return Name{}, err
			}
			continue
		}
		v, err := decode(f)
		if err != nil {
			return Name{}, err
		}
		n[i] = v
	}
	return n, n.check()
}

func (n *Name) unpack(f string) error {
	packed := strings.Split(f, "~")
	if len(packed) != 6 {
		return fault.New(fault.Invalid, "read CPE name: %q packs %d attributes and not 5", f, len(packed)-1)
	}
	for i, at := range []int{Edition, SoftwareEdition, TargetSoftware, TargetHardware, Other} {
		v, err := decode(packed[i+1])
		if err != nil {
			return err
		}
		n[at] = v
	}
	return nil
}

// decode turns a URI's attribute into the formatted string's: %01 and %02 are ? and *, other encoded characters are escaped.
func decode(f string) (string, error) {
	switch f {
	case "":
		return Any, nil
	case NA:
		return NA, nil
	}
	var b strings.Builder
	for i := 0; i < len(f); i++ {
		c := f[i]
		if c == '%' {
			if i+2 >= len(f) || hexDigit(f[i+1]) < 0 || hexDigit(f[i+2]) < 0 {
				return "", fault.New(fault.Invalid, "read CPE name: %q ends within an encoded character", f)
			}
			c = byte(hexDigit(f[i+1])<<4 | hexDigit(f[i+2]))
			i += 2
			if c == 1 || c == 2 {
				b.WriteByte(map[byte]byte{1: '?', 2: '*'}[c])
				continue
			}
		}
		if c <= ' ' || c >= 0x7f {
			return "", fault.New(fault.Invalid, "read CPE name: %q has a character that no attribute has", f)
		}
		if !plain(c) {
			b.WriteByte('\\')
		}
		b.WriteByte(c)
	}
	if !wellFormed(b.String()) {
		return "", fault.New(fault.Invalid, "read CPE name: attribute %q is not well formed", f)
	}
	return strings.ToLower(b.String()), nil
}

func hexDigit(c byte) int { return strings.IndexByte("0123456789abcdef", c|0x20) }

// String is the formatted string.
func (n Name) String() string { return "cpe:2.3:" + strings.Join(n[:], ":") }

// Plain is an attribute without escapes; "" for Any and NA.
func (n Name) Plain(attribute int) string {
	v := n[attribute]
	if v == Any || v == NA {
		return ""
	}
	if !strings.Contains(v, `\`) {
		return v
	}
	var b strings.Builder
	for i := 0; i < len(v); i++ {
		if v[i] == '\\' && i+1 < len(v) {
			i++
		}
		b.WriteByte(v[i])
	}
	return b.String()
}

// Covers says whether every product that target means is one that n means: the superset relation of NIST IR 7696 section 6.
// Wildcards in target do not count as such, as the standard leaves them undefined there.
func (n Name) Covers(target Name) bool {
	for i := range n {
		if !coversAttribute(n[i], target[i]) {
			return false
		}
	}
	return true
}

func coversAttribute(pattern, value string) bool {
	switch {
	case pattern == Any || pattern == value:
		return true
	case value == Any || value == NA || pattern == NA:
		return false
	}
	return wild(pattern, value)
}

// wild matches a pattern whose * and ? stand at its ends only.
func wild(pattern, value string) bool {
	head := strings.TrimLeft(pattern, "*?")
	before := pattern[:len(pattern)-len(head)]
	core := head
	for core != "" && (core[len(core)-1] == '*' || core[len(core)-1] == '?') && !escapedAt(core, len(core)-1) {
		core = core[:len(core)-1]
	}
	after := head[len(core):]
	if before == "" && after == "" {
		return pattern == value
	}
	for at := 0; at <= len(value)-len(core); at++ {
		if value[at:at+len(core)] == core && fits(before, letters(value[:at])) && fits(after, letters(value[at+len(core):])) {
			return true
		}
	}
	return false
}

// fits says whether n characters can stand where the wildcards are: any number for *, at most one for each ?.
func fits(wildcards string, n int) bool {
	return strings.Contains(wildcards, "*") || n <= len(wildcards)
}

// letters counts characters; an escaped one is one.
func letters(v string) int { return len(v) - strings.Count(v, `\`) }

func escapedAt(v string, i int) bool {
	n := 0
	for i--; i >= 0 && v[i] == '\\'; i-- {
		n++
	}
	return n%2 == 1
}

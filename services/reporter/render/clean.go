package render

import (
	"bytes"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// maxMarks is how many combining marks in a row are kept: more than any language stacks, too few to cover the next line.
const maxMarks = 4

// singleLine removes what breaks a line or steers what shows it: control, format, bidirectional and invisible characters,
// and towers of combining marks. What is no UTF-8 becomes U+FFFD.
func singleLine(text string) string {
	var b strings.Builder
	b.Grow(len(text))
	marks := 0
	for _, r := range text {
		if unicode.In(r, unicode.Mn, unicode.Me) {
			marks++
		} else {
			marks = 0
		}
		switch {
		case breaksLine(r):
			b.WriteByte(' ')
		case steers(r), marks > maxMarks:
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// breaksLine are the characters that some program takes for the end of a line (Unicode UAX #14: BK, CR, LF, NL) or a column.
func breaksLine(r rune) bool {
	switch r {
	case '\n', '\r', '\t', '\v', '\f', '\u0085', '\u2028', '\u2029':
		return true
	}
	return false
}

// steers are the characters that are not seen but change what is: controls (also C1, which terminals obey), format characters
// (bidirectional overrides, zero-width, tags), private use, and what Unicode says to ignore or what looks like nothing.
func steers(r rune) bool {
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co, unicode.Cs, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point) ||
		r == '\u2800' || unicode.Is(unicode.Noncharacter_Code_Point, r)
}

// clean is a text on one line without anything that steers, whole.
func clean(text string) string { return strings.TrimSpace(singleLine(text)) }

// clip cleans a text and cuts it to a number of characters.
func clip(text string, limit int) string {
	if len(text) > limit*utf8.UTFMax*4 {
		text = text[:limit*utf8.UTFMax*4] // bounds the work; a rune cut in two becomes U+FFFD behind the cut below
	}
	text = strings.TrimSpace(singleLine(text))
	if utf8.RuneCountInString(text) <= limit {
		return text
	}
	return string([]rune(text)[:limit-1]) + "…"
}

func short(text string) string { return clip(text, viewShortText) }

func long(text string) string { return clip(text, viewText) }

// inert writes as \u escapes what JSON permits inside strings but a terminal would obey, an editor would hide or a page would
// run: control, format and bidirectional characters, and the three characters of HTML. It changes the form and not the value.
func inert(raw []byte) []byte {
	var out bytes.Buffer
	out.Grow(len(raw))
	for _, r := range string(raw) {
		switch {
		case r == '\n': // only between values: inside a string JSON has it escaped already
			out.WriteByte('\n')
		case r == '<' || r == '>' || r == '&' || breaksLine(r) || steers(r):
			for _, unit := range utf16.Encode([]rune{r}) {
				fmt.Fprintf(&out, `\u%04x`, unit)
			}
		default:
			out.WriteRune(r)
		}
	}
	return out.Bytes()
}

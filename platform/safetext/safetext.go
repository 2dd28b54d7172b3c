// Package safetext makes harmless text of what somebody else wrote: a target, a tenant, another tool. It escapes nothing: each sink
// does that for itself.
package safetext

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Of makes text of what somebody else wrote that is harmless in one line of a terminal, a log or a page: valid UTF-8, at
// most maxRunes runes, without control, format (which includes all bidirectional marks), private-use and unassigned
// characters. Runs of white space and of removed characters become one space. It escapes nothing: each sink does that for
// itself. An invalid byte becomes one space too, so a binary banner stays readable where it holds text.
func Of(raw []byte, maxRunes int) string {
	var text strings.Builder
	runes, gap := 0, false
	for len(raw) > 0 && runes < maxRunes {
		r, size := utf8.DecodeRune(raw)
		raw = raw[size:]
		if (r == utf8.RuneError && size == 1) || !visible(r) {
			gap = runes > 0
			continue
		}
		if gap {
			if runes+2 > maxRunes {
				break
			}
			text.WriteByte(' ')
			runes, gap = runes+1, false
		}
		text.WriteRune(r)
		runes++
	}
	return text.String()
}

// visible says whether r may stand in text of ours as it is. White space is not: it is collapsed. unicode.IsGraphic leaves
// out the categories Cc, Cf, Cs, Co, Cn and the line and paragraph separators.
func visible(r rune) bool {
	if r == utf8.RuneError || unicode.IsSpace(r) {
		return false
	}
	return unicode.IsGraphic(r) && !unicode.Is(unicode.Variation_Selector, r) && !unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r)
}

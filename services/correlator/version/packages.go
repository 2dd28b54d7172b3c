package version

import (
	"cmp"
	"slices"
	"strings"
)

// compareDeb compares epoch, upstream version and revision as dpkg does (lib/dpkg/version.c, deb-version(7)).
func compareDeb(a, b string) int {
	epochA, upA, revA := splitDeb(a)
	epochB, upB, revB := splitDeb(b)
	return cmp.Or(compareNumbers(epochA, epochB), compareDebPart(upA, upB), compareDebPart(revA, revB))
}

func splitDeb(v string) (epoch, upstream, revision string) {
	epoch, rest := splitEpoch(v)
	if i := strings.LastIndexByte(rest, '-'); i >= 0 {
		return epoch, rest[:i], rest[i+1:]
	}
	return epoch, rest, ""
}

// splitEpoch cuts the digits before a colon off.
func splitEpoch(v string) (epoch, rest string) {
	if n := run(v, digit); n > 0 && n < len(v) && v[n] == ':' {
		return v[:n], v[n+1:]
	}
	return "0", v
}

// debOrder is the weight of a character outside of numbers: ~ before the end (and before digits, which end a text), then letters,
// then everything else.
func debOrder(c byte) int {
	switch {
	case digit(c):
		return 0
	case letter(c):
		return int(c)
	case c == '~':
		return -1
	}
	return int(c) + 256
}

// compareDebPart compares texts and numbers in turn.
func compareDebPart(a, b string) int {
	for a != "" || b != "" {
		for a != "" && !digit(a[0]) || b != "" && !digit(b[0]) {
			x, y := 0, 0
			if a != "" {
				x = debOrder(a[0])
			}
			if b != "" {
				y = debOrder(b[0])
			}
			if x != y {
				return cmp.Compare(x, y)
			}
			a, b = a[min(1, len(a)):], b[min(1, len(b)):]
		}
		n, m := run(a, digit), run(b, digit)
		if c := compareNumbers(a[:n], b[:m]); c != 0 {
			return c
		}
		a, b = a[n:], b[m:]
	}
	return 0
}

// compareRPM compares epoch, version and release by rpmvercmp. A release that one of the two does not tell is older than any.
func compareRPM(a, b string) int {
	epochA, restA := splitEpoch(a)
	epochB, restB := splitEpoch(b)
	verA, relA := splitRelease(restA)
	verB, relB := splitRelease(restB)
	return cmp.Or(compareNumbers(epochA, epochB), compareTokens(rpmTokens(verA), rpmTokens(verB)), compareTokens(rpmTokens(relA), rpmTokens(relB)))
}

func splitRelease(v string) (version, release string) {
	if i := strings.LastIndexByte(v, '-'); i >= 0 {
		return v[:i], v[i+1:]
	}
	return v, ""
}

// rpmTokens are the parts that rpmvercmp compares: a tilde before the end, a caret right after it, then words, then numbers.
func rpmTokens(v string) []token {
	var out []token
	for v != "" {
		n := 1
		switch {
		case v[0] == '~':
			out = append(out, token{kind: before})
		case v[0] == '^':
			out = append(out, token{kind: caret})
		case digit(v[0]):
			n = run(v, digit)
			out = append(out, token{kind: number, text: v[:n]})
		case letter(v[0]):
			n = run(v, letter)
			out = append(out, token{kind: word, text: v[:n]})
		}
		v = v[n:]
	}
	return out
}

// apkSuffixes are Alpine's suffixes in their order; those below "" come before the release.
var apkSuffixes = []string{"alpha", "beta", "pre", "rc", "", "cvs", "svn", "git", "hg", "p"}

// apkRelease is the place of the release itself among the suffixes.
const apkRelease = 4

// compareAPK compares number{.number}{letter}{_suffix{number}}{-r#}. A version of another form is older than all of that form.
func compareAPK(a, b string) int {
	x, okX := apkTokens(a)
	y, okY := apkTokens(b)
	if okX != okY {
		if okX {
			return 1
		}
		return -1
	}
	if !okX {
		return compareTokens(genericTokens(a), genericTokens(b))
	}
	return compareTokens(x, y)
}

// apkTokens are the parts of a version in an order in which their kinds compare rightly: a further number is newer than a letter,
// that than the suffixes of what comes after a release, and those than the end. The revision counts last.
func apkTokens(v string) ([]token, bool) {
	rest, revision := v, ""
	if i := strings.LastIndex(v, "-r"); i >= 0 {
		rest, revision = v[:i], v[i+2:]
		if revision == "" || run(revision, digit) != len(revision) {
			return nil, false
		}
	}
	out, rest, ok := apkNumbers(rest)
	if !ok {
		return nil, false
	}
	if rest != "" && letter(rest[0]) {
		out = append(out, token{kind: word, rank: 1, text: rest[:1]})
		rest = rest[1:]
	}
	for rest != "" {
		var t token
		if t, rest, ok = apkSuffix(rest); !ok {
			return nil, false
		}
		out = append(out, t)
	}
	// The end, so that the revision is compared only between versions that are the same up to here.
	return append(out, token{kind: end}, token{kind: number, text: revision}), true
}

func apkNumbers(v string) (out []token, rest string, ok bool) {
	for first := true; ; first = false {
		n := run(v, digit)
		if n == 0 {
			return nil, v, false
		}
		t := token{kind: number, rank: 1, text: v[:n]}
		if !first && v[0] == '0' && n > 1 {
			// With a leading zero it is compared as text, as behind a decimal point, and is smaller than any without one.
			t = token{kind: number, rank: 0, text: "." + v[:n]}
		}
		out = append(out, t)
		if v = v[n:]; !strings.HasPrefix(v, ".") {
			return out, v, true
		}
		v = v[1:]
	}
}

// apkSuffix reads _name and its number. Below the release it is an early one, above it a late one.
func apkSuffix(v string) (t token, rest string, ok bool) {
	if v[0] != '_' {
		return token{}, v, false
	}
	n := run(v[1:], letter) + 1
	place := slices.Index(apkSuffixes, v[1:n])
	if place < 0 || place == apkRelease {
		return token{}, v, false
	}
	m := run(v[n:], digit)
	// The number is part of the token: "rank" orders the suffix and its number together, because text is compared as text.
	t = token{kind: word, rank: -len(apkSuffixes) + place, text: numberText(v[n : n+m])}
	if place < apkRelease {
		t.kind = before
	}
	return t, v[n+m:], true
}

// numberText is a number as a text that sorts as the number does.
func numberText(digits string) string {
	digits = strings.TrimLeft(digits, "0")
	return string(rune(1+len(digits))) + digits
}

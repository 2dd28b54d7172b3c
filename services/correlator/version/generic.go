package version

import "strings"

// early are the words that mark what comes before a release, in the order in which they are released.
var early = map[string]int{
	"dev": 1, "snapshot": 1, "nightly": 1, "alpha": 2, "beta": 3, "milestone": 4, "pre": 5, "preview": 5, "prerelease": 5, "rc": 6, "cr": 6,
}

// plain are words that say nothing: the release itself.
var plain = map[string]bool{"final": true, "ga": true, "release": true, "version": true}

// alike are words with another spelling: portable and patch levels of OpenSSH, PHP and others.
var alike = map[string]string{"patch": "p", "pl": "p", "patchlevel": "p"}

// genericTokens are the numbers and words of a version; everything else separates. A zero that nothing but words or the end follow
// is left out, so that 8 is 8.0 and 8rc1 is 8.0rc1.
func genericTokens(v string) []token {
	v = strings.ToLower(v)
	if len(v) > 1 && v[0] == 'v' && digit(v[1]) {
		v = v[1:]
	}
	var out []token
	for v != "" {
		switch n := run(v, digit); {
		case n > 0:
			out = append(out, token{kind: number, text: v[:n]})
			v = v[n:]
		case letter(v[0]):
			n = run(v, letter)
			if t, ok := wordToken(v[:n], v[n:]); ok {
				out = append(dropZeros(out), t)
			}
			v = v[n:]
		default:
			v = v[1:]
		}
	}
	return dropZeros(out)
}

// wordToken is the token of a word, by what follows it: m1 is a milestone (Tomcat), m at the end a letter (OpenSSL 0.9.8m).
func wordToken(text, next string) (token, bool) {
	if text == "m" && run(next, digit) > 0 {
		text = "milestone"
	}
	if rank := early[text]; rank > 0 {
		return token{kind: before, rank: rank}, true
	}
	if plain[text] {
		return token{}, false
	}
	if other := alike[text]; other != "" {
		text = other
	}
	return token{kind: word, text: text}, true
}

func dropZeros(t []token) []token {
	for len(t) > 0 && t[len(t)-1].kind == number && strings.Trim(t[len(t)-1].text, "0") == "" {
		t = t[:len(t)-1]
	}
	return t
}

// compareSemver compares the numbers before the first hyphen as generic tokens, because real ones hold letters too (9.2p1), then what
// follows it as the pre-release of the specification. Build metadata does not count.
func compareSemver(a, b string) int {
	coreA, preA := splitSemver(a)
	coreB, preB := splitSemver(b)
	if c := compareTokens(genericTokens(coreA), genericTokens(coreB)); c != 0 {
		return c
	}
	switch {
	case preA == preB:
		return 0
	case preA == "":
		return 1
	case preB == "":
		return -1
	}
	return compareTokens(preTokens(preA), preTokens(preB))
}

func splitSemver(v string) (core, pre string) {
	v, _, _ = strings.Cut(v, "+")
	core, pre, _ = strings.Cut(v, "-")
	return core, pre
}

// preTokens are the identifiers of a pre-release: numbers before words.
func preTokens(pre string) []token {
	parts := strings.Split(pre, ".")
	out := make([]token, 0, len(parts))
	for _, p := range parts {
		if p != "" && run(p, digit) == len(p) {
			out = append(out, token{kind: number, text: p})
		} else {
			out = append(out, token{kind: identifier, text: p})
		}
	}
	return out
}

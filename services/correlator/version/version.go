// Package version compares versions of software by the rules of those who number them: semantic versions, packages of Debian, of RPM
// and of Alpine, and everything else by its numbers and letters. Every comparison is a total preorder over all strings, hostile ones
// included: it turns a version into a sequence of tokens and compares those one by one.
//
// It refuses to guess which scheme a version follows: the advisory says it.
package version

import (
	"cmp"
	"strings"
)

// MaxBytes is how much of a version is read; what is longer is cut. Real versions have fewer than 60 bytes.
const MaxBytes = 256

// Scheme is a way to compare.
type Scheme string

// The schemes, as advisories name them.
const (
	// Semver is https://semver.org/spec/v2.0.0.html#spec-item-11, with fewer or more than three numbers and a leading v allowed.
	Semver Scheme = "semver"
	// Deb is the order of deb-version(7): https://manpages.debian.org/deb-version.
	Deb Scheme = "deb"
	// RPM is rpm's order of epoch, version and release: https://rpm-software-management.github.io/rpm/man/rpm-version.7.
	RPM Scheme = "rpm"
	// APK is the order of Alpine's packages: https://wiki.alpinelinux.org/wiki/APKBUILD_Reference#pkgver.
	APK Scheme = "apk"
	// Generic compares numbers as numbers and letters as letters; words such as rc and beta come before the release.
	Generic Scheme = "generic"
)

// SchemeOf is the scheme that a name in an advisory means; ok is false for versions that have no order, such as commits. A name that is
// not known is Generic.
func SchemeOf(name string) (s Scheme, ok bool) {
	switch n := strings.ToLower(name); n {
	case "git", "sha", "commit":
		return "", false
	case "semver", "npm", "go", "cargo", "hex", "pub", "swifturl", "nuget":
		return Semver, true
	case "deb", "dpkg", "debian", "ubuntu":
		return Deb, true
	case "rpm", "redhat", "suse":
		return RPM, true
	case "apk", "alpine":
		return APK, true
	}
	return Generic, true
}

// Compare is negative, zero or positive as a is older than, the same as or newer than b. A scheme that is not known compares as Generic.
func Compare(s Scheme, a, b string) int {
	a, b = cut(a), cut(b)
	if a == b {
		return 0
	}
	switch s {
	case Deb:
		return compareDeb(a, b)
	case RPM:
		return compareRPM(a, b)
	case APK:
		return compareAPK(a, b)
	case Semver:
		return compareSemver(a, b)
	}
	return compareTokens(genericTokens(a), genericTokens(b))
}

// Known says whether anything can be concluded from a version: it has a digit.
func Known(v string) bool { return strings.ContainsAny(cut(v), "0123456789") }

func cut(v string) string {
	v = strings.TrimSpace(v)
	return v[:min(len(v), MaxBytes)]
}

func digit(c byte) bool  { return c >= '0' && c <= '9' }
func letter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }

// compareNumbers compares two sequences of digits of any length as numbers.
func compareNumbers(a, b string) int {
	a, b = strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0")
	return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b))
}

// run is the length of the part of s from its begin that consists of what is asked for.
func run(s string, is func(byte) bool) int {
	n := 0
	for n < len(s) && is(s[n]) {
		n++
	}
	return n
}

// token is one part of a version. Kinds are ordered; the end of a version has kind end.
type token struct {
	kind int
	// rank orders pre-release words.
	rank int
	text string
}

// The kinds of tokens, in their order: a pre-release comes before the end of the version, which comes before more of it.
const (
	before = iota - 1
	end
	caret
	word
	number
	// identifier is a word of semver's pre-releases, which is newer than any number there.
	identifier
)

func compareTokens(a, b []token) int {
	for i := range max(len(a), len(b)) {
		var x, y token
		if i < len(a) {
			x = a[i]
		}
		if i < len(b) {
			y = b[i]
		}
		if c := cmp.Or(cmp.Compare(x.kind, y.kind), cmp.Compare(x.rank, y.rank)); c != 0 {
			return c
		}
		compare := strings.Compare
		if x.kind == number {
			compare = compareNumbers
		}
		if c := compare(x.text, y.text); c != 0 {
			return c
		}
	}
	return 0
}

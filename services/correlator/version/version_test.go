package version

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// ascending lists versions of each scheme, oldest first; those in one string joined by a space are equal.
var ascending = map[Scheme][]string{
	Generic: {
		"", "0.9.8zh", "1.0.0-beta1", "1.0.0 1 v1.0 1.0.0-final 1.0-RELEASE", "1.0.1", "1.0.1a", "1.0.2-beta1", "1.0.2-beta3", "1.0.2", "1.0.2a",
		"1.0.2k", "1.0.2zh", "1.1.0-pre1", "1.1.0-rc1 1.1rc1", "1.1.0", "1.1.0l", "3.0.0-alpha1", "3.0.0-alpha12", "3.0.0", "6.6p1", "7.2p2", "8.0 8.0.0", "8.0p1 8.0-p1",
		"9.2", "9.2p1 9.2patch1 9.2pl1", "9.2p2", "9.2.1", "9.10", "10.0.0-dev", "10.0.0-M1", "10.0.0-M2", "10.0.0", "2024.10.1", "99999999999999999999", "99999999999999999999.1",
	},
	Semver: {
		"0.0.1", "1.0.0-0", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-rc.1",
		"1.0.0 v1.0.0 1 1.0 1.0.0+build.7", "1.0.1", "1.2.10", "1.10.2", "9.2", "9.2p1", "9.3", "10",
	},
	Deb: {
		"0", "1.0~~", "1.0~~a", "1.0~", "1.0~rc1-1", "1.0 1.0-0 0:1.0", "1.0-1", "1.0-1+deb12u1", "1.0a", "1.0+dfsg", "1.0.1", "1.9p1-1", "1.18.0-6.1+deb11u3", "1.22.1-9", "1.22.1-9+deb12u1",
		"2.4.57-2", "2.4.59-1~deb12u1", "2.4.59-1", "8.2.7-1~deb12u1", "1:0.1", "1:8.9p1-3ubuntu0.10", "1:9.2p1-2", "1:9.2p1-2+deb12u3", "1:9.2p1-2+deb12u7", "1:10.0p1-7",
	},
	RPM: {
		"1.0~rc1", "1.0~rc2", "1.0 1_0 0:1.0", "1.0-1", "1.0-1.el8", "1.0-2.el8", "1.0^git1", "1.0a", "1.0.1", "1.10", "2.4.37-65.module+el8.10.0", "8.0p1-19.el8_8",
		"8.0p1-19.el8_9.2", "1:0.1", "2:1.0",
	},
	APK: {
		"x", "1.0_alpha", "1.0_alpha2", "1.0_beta1", "1.0_pre1", "1.0_rc9", "1.0_rc10", "1.0", "1.0-r1", "1.0-r10", "1.0_git20200101", "1.0_p1-r3", "1.0a", "1.0b",
		"1.0.01", "1.0.09", "1.0.1", "1.0.9", "1.0.10", "1.1", "1.24.0-r16", "9.6_p1-r0", "9.6_p1-r1", "10",
	},
}

func TestOrder(t *testing.T) {
	for scheme, groups := range ascending {
		for i, a := range groups {
			for j, b := range groups {
				for _, x := range alternatives(a) {
					for _, y := range alternatives(b) {
						if got := sign(Compare(scheme, x, y)); got != sign(i-j) {
							t.Errorf("%s: %q against %q is %d, want %d", scheme, x, y, got, sign(i-j))
						}
					}
				}
			}
		}
	}
}

// alternatives are the spellings of one version. "" is one version, too.
func alternatives(s string) []string {
	out := []string{}
	for len(s) > 0 {
		i := slices.Index([]byte(s), ' ')
		if i < 0 {
			i = len(s)
		}
		out, s = append(out, s[:i]), s[min(i+1, len(s)):]
	}
	if len(out) == 0 {
		return []string{""}
	}
	return out
}

func sign(n int) int {
	switch {
	case n < 0:
		return -1
	case n > 0:
		return 1
	}
	return 0
}

func draw(t *rapid.T, label string) string {
	pieces := rapid.SliceOfN(rapid.SampledFrom([]string{
		"0", "1", "01", "9", "10", "00", ".", "-", "~", "^", "+", ":", "_", "p", "rc", "beta", "a", "b", "_p", "_rc", "-r", "el8", "v", "é", " ", "final",
	}), 0, 8).Draw(t, label)
	out := ""
	for _, p := range pieces {
		out += p
	}
	return out
}

// TestTotalOrder: for all strings the comparison is reflexive, antisymmetric and transitive, so "in the range" means one thing.
func TestTotalOrder(t *testing.T) {
	for scheme := range ascending {
		t.Run(string(scheme), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				a, b, c := draw(t, "a"), draw(t, "b"), draw(t, "c")
				ab, bc, ac := sign(Compare(scheme, a, b)), sign(Compare(scheme, b, c)), sign(Compare(scheme, a, c))
				if Compare(scheme, a, a) != 0 || sign(Compare(scheme, b, a)) != -ab {
					t.Fatalf("%q, %q: not antisymmetric", a, b)
				}
				if ab <= 0 && bc <= 0 && (ac > 0 || (ab < 0 || bc < 0) && ac == 0) {
					t.Fatalf("%q <= %q <= %q, but the first against the last is %d", a, b, c, ac)
				}
			})
		})
	}
}

func TestSchemeOf(t *testing.T) {
	for name, want := range map[string]string{
		"semver": "semver", "deb": "deb", "rpm": "rpm", "apk": "apk", "custom": "generic", "": "generic", "maven": "generic", "git": "", "Debian": "deb",
	} {
		if got, ok := SchemeOf(name); string(got) != want || ok != (want != "") {
			t.Errorf("scheme %q is %q, %v", name, got, ok)
		}
	}
	if Known("") || Known("unknown") || !Known("9.2p1") {
		t.Error("a version is known by its digits")
	}
}

func FuzzCompare(f *testing.F) {
	for scheme, groups := range ascending {
		for i := range groups {
			f.Add(string(scheme), groups[i], groups[(i+1)%len(groups)])
		}
	}
	f.Fuzz(func(t *testing.T, scheme, a, b string) {
		if x, y := sign(Compare(Scheme(scheme), a, b)), sign(Compare(Scheme(scheme), b, a)); x != -y {
			t.Fatalf("%s: %q, %q: %d and %d", scheme, a, b, x, y)
		}
	})
}

func BenchmarkCompare(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		Compare(Deb, "1:9.2p1-2+deb12u3", "1:9.2p1-2+deb12u7")
		Compare(Generic, "2.4.57", "2.4.58")
	}
}

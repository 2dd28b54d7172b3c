//go:build dpkg

package version

import (
	"errors"
	"os/exec"
	"testing"

	"pgregory.net/rapid"
)

// TestAgainstDpkg: the order of Debian versions is that of dpkg itself. Run where dpkg is: go test -tags dpkg ./version.
func TestAgainstDpkg(t *testing.T) {
	if _, err := exec.LookPath("dpkg"); err != nil {
		t.Fatal("this test needs dpkg: ", err)
	}
	older := func(t *rapid.T, a, b string) bool {
		err := exec.CommandContext(t.Context(), "dpkg", "--compare-versions", a, "lt", b).Run()
		var exit *exec.ExitError
		if errors.As(err, &exit) && exit.ExitCode() == 1 {
			return false
		}
		if err != nil {
			t.Skip("dpkg refuses it") // not a version
		}
		return true
	}
	part := rapid.SliceOfN(rapid.SampledFrom([]string{"0", "1", "01", "9", "10", ".", "~", "+", "a", "rc", "deb12u", "dfsg", "p"}), 0, 6)
	generator := rapid.Custom(func(t *rapid.T) string {
		join := func(parts []string) (out string) {
			for _, p := range parts {
				out += p
			}
			return out
		}
		v := rapid.SampledFrom([]string{"", "0:", "1:", "12:"}).Draw(t, "epoch") + rapid.SampledFrom([]string{"0", "1", "9"}).Draw(t, "first") + join(part.Draw(t, "upstream"))
		if revision := join(part.Draw(t, "revision")); revision != "" {
			v += "-" + revision
		}
		return v
	})
	rapid.Check(t, func(t *rapid.T) {
		a, b := generator.Draw(t, "a"), generator.Draw(t, "b")
		if got, want := Compare(Deb, a, b) < 0, older(t, a, b); got != want {
			t.Fatalf("%q older than %q: %v, dpkg says %v", a, b, got, want)
		}
	})
	for _, a := range ascending[Deb] {
		for _, b := range ascending[Deb] {
			for _, x := range alternatives(a) {
				for _, y := range alternatives(b) {
					err := exec.CommandContext(t.Context(), "dpkg", "--compare-versions", x, "lt", y).Run()
					if got, want := Compare(Deb, x, y) < 0, err == nil; got != want {
						t.Errorf("%q older than %q: %v, dpkg says %v", x, y, got, want)
					}
				}
			}
		}
	}
}

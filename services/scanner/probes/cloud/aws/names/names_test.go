package names

import (
	"strings"
	"testing"
)

func TestDomain(t *testing.T) {
	for text, want := range map[string]string{
		"WWW.Example.com.": "www.example.com", `\052.example.com.`: "*.example.com", `a\057b.example.com`: "a/b.example.com", `x\9`: `x\9`, `x\999y`: `x\999y`, "": "", ".": "",
	} {
		if got := Domain(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func FuzzDomain(f *testing.F) {
	f.Add(`\052.example.com.`)
	f.Fuzz(func(t *testing.T, text string) {
		if got := Domain(text); len(got) > 4*len(text) || strings.HasSuffix(got, ".") && !strings.HasSuffix(text, "..") && !strings.Contains(text, `\056`) {
			t.Errorf("%q: %q", text, got)
		}
	})
}

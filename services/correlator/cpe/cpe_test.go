package cpe

import (
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"cpe:2.3:a:openbsd:openssh:9.2:p1:*:*:*:*:*:*", "cpe:2.3:a:openbsd:openssh:9.2:p1:*:*:*:*:*:*"},
		{`cpe:2.3:a:NotePad\+\+:notepad\+\+:7.8:*:*:*:*:*:*:*`, `cpe:2.3:a:notepad\+\+:notepad\+\+:7.8:*:*:*:*:*:*:*`},
		{"cpe:/a:f5:nginx:1.22.1", "cpe:2.3:a:f5:nginx:1.22.1:*:*:*:*:*:*:*"},
		{"cpe:/a:openbsd:openssh:9.2p1", "cpe:2.3:a:openbsd:openssh:9.2p1:*:*:*:*:*:*:*"},
		{"cpe:/o:linux:linux_kernel", "cpe:2.3:o:linux:linux_kernel:*:*:*:*:*:*:*:*"},
		{"cpe:/a:hp:insight_diagnostics:7.4.0.1570::~~online~win2003~x64~", "cpe:2.3:a:hp:insight_diagnostics:7.4.0.1570:*:*:*:online:win2003:x64:*"},
		{"cpe:/a:foo%5cbar:big%24money:2010%07:%02", ""}, // a control character
		{"cpe:/a:foo%5cbar:big%24money:2010:sp%02", `cpe:2.3:a:foo\\bar:big\$money:2010:sp*:*:*:*:*:*:*`},
		{"cpe:/a:a:b:-", "cpe:2.3:a:a:b:-:*:*:*:*:*:*:*"},
		{"cpe:2.3:a:x:y:1:*:*:*:*:*:*", ""}, {"cpe:2.3:z:x:y:1:*:*:*:*:*:*:*", ""}, {"cpe:2.3:a:x y:y:1:*:*:*:*:*:*:*", ""},
		{"cpe:2.3:a:x*y:y:1:*:*:*:*:*:*:*", ""}, {"cpe:/a:x:y%4", ""}, {"cpe:/a:1:2:3:4:5:6:7", ""}, {"openssh", ""}, {"", ""},
		{`cpe:2.3:a:x\:y:1:*:*:*:*:*:*:*`, ""}, {"cpe:2.3:a:" + strings.Repeat("x", MaxBytes) + ":y:1:*:*:*:*:*:*:*", ""},
	} {
		n, err := Parse(c.text)
		if (err == nil) != (c.want != "") || err == nil && n.String() != c.want {
			t.Errorf("%s is read as %s, %v; want %s", c.text, n, err, c.want)
		}
	}
}

func TestPlain(t *testing.T) {
	n, err := Parse(`cpe:2.3:a:x:notepad\+\+:7\\8:-:*:*:*:wordpress:*:*`)
	if err != nil || n.Plain(Product) != "notepad++" || n.Plain(Version) != `7\8` || n.Plain(Update) != "" || n.Plain(Edition) != "" || n.Plain(TargetSoftware) != "wordpress" {
		t.Errorf("%v, %v", n, err)
	}
}

func TestCovers(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"a:f5:nginx:*:*:*:*:*:*:*:*", "a:f5:nginx:1.22.1:*:*:*:*:*:*:*", true},
		{"a:f5:nginx:1.22.1:*:*:*:*:*:*:*", "a:f5:nginx:*:*:*:*:*:*:*:*", false},
		{"a:f5:nginx:1.2?.1:*:*:*:*:*:*:*", "a:f5:nginx:1.22.1:*:*:*:*:*:*:*", false}, // not well formed: ? only at the ends
		{"a:f5:nginx:1.22.?:*:*:*:*:*:*:*", "a:f5:nginx:1.22.1:*:*:*:*:*:*:*", true},
		{"a:f5:nginx:1.22.?:*:*:*:*:*:*:*", "a:f5:nginx:1.22.12:*:*:*:*:*:*:*", false},
		{"a:f5:nginx:1.*:*:*:*:*:*:*:*", "a:f5:nginx:1.22.12:*:*:*:*:*:*:*", true},
		{"a:f5:nginx:*22*:*:*:*:*:*:*:*", "a:f5:nginx:1.22.12:*:*:*:*:*:*:*", true},
		{"a:f5:nginx:-:*:*:*:*:*:*:*", "a:f5:nginx:1:*:*:*:*:*:*:*", false},
		{"a:f5:nginx:*:*:*:*:*:*:*:*", "a:f5:nginx:-:*:*:*:*:*:*:*", true},
		{"a:x:form:*:*:*:*:*:wordpress:*:*", "a:x:form:1:*:*:*:*:wordpress:*:*", true},
		{"a:x:form:*:*:*:*:*:wordpress:*:*", "a:x:form:1:*:*:*:*:joomla:*:*", false},
		{"o:x:form:*:*:*:*:*:*:*:*", "a:x:form:1:*:*:*:*:*:*:*", false},
		{`a:x:y:1\*:*:*:*:*:*:*:*`, `a:x:y:1\*:*:*:*:*:*:*:*`, true},
		{`a:x:y:1\*:*:*:*:*:*:*:*`, "a:x:y:12:*:*:*:*:*:*:*", false},
	} {
		p, err := Parse("cpe:2.3:" + c.pattern)
		n, err2 := Parse("cpe:2.3:" + c.name)
		if got := err == nil && err2 == nil && p.Covers(n); got != c.want {
			t.Errorf("%s covers %s: %v (%v, %v)", c.pattern, c.name, got, err, err2)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"cpe:2.3:a:openbsd:openssh:9.2:p1:*:*:*:*:*:*", "cpe:/a:hp:i:7::~~online~w~x64~", `cpe:2.3:a:\*:?x*:1?:*:*:*:*:*:*:*`, "cpe:/a:x%01:%02"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n, err := Parse(text)
		if err != nil {
			return
		}
		again, err := Parse(n.String())
		if err != nil || again != n || !n.Covers(n) {
			t.Fatalf("%q is %s, read again %s, %v", text, n, again, err)
		}
		for i := range n {
			_ = n.Plain(i)
		}
	})
}

package render_test

import (
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// seeds of hostile payloads by what they attack; each is joined with every wrapper.
var seeds = []string{
	// markup
	`<script>alert(1)</script>`, `<img src=x onerror=alert(1)>`, `<svg onload=alert(1)>`, `<svg/onload=alert(1)//`, `<iframe src="https://evil.example">`,
	`<math><mtext></form><form><mglyph><style></math><img src onerror=alert(1)>`, `</title><script>x</script>`, `</style><script>x</script>`, `</textarea><script>`,
	`<!--<script>-->`, `--><script>x</script>`, `]]><script>x</script>`, `<base href=//evil.example>`, `<meta http-equiv=refresh content=0;url=//evil.example>`,
	`<link rel=stylesheet href=//evil.example>`, `<details open ontoggle=alert(1)>`, `<a href="javascript:alert(1)">x</a>`, `<form action=//evil.example><input>`, `<plaintext>`, `<template><script>`,
	// attributes
	`" onmouseover="alert(1)`, `' onfocus='alert(1)' autofocus='`, "` onmouseover=alert(1) `", `"><script>x</script>`, `x" style="background:url(//evil.example)`, `/onclick=alert(1)//`,
	// addresses
	`javascript:alert(1)`, `JaVaScRiPt:alert(1)`, "java\tscript:alert(1)", `data:text/html,<script>x</script>`, `vbscript:msgbox(1)`, `//evil.example/x`, `https://user:pass@evil.example/"onclick=`, `https://evil.example/<script>`, `https://éxample.com/`, `file:///etc/passwd`,
	// formulas
	`=1+1`, `=cmd|' /C calc'!A0`, `+1`, `-1+cmd`, `@SUM(A1)`, "\t=1", "\r=1", "\n=1", `＝1+1`, `＋1`, `－1`, `＠SUM(A1)`, `|calc`, `%0A=1`, `a;=1`, `a; @SUM(A1)`, `"=1`, `'=1`, `=HYPERLINK("https://evil.example","x")`, `=IMPORTXML("https://evil.example","//a")`,
	// lines and terminals
	"a\r\nb", "a\nb", "a\rb", "a\u2028b", "a\u2029b", "a\u0085b", "a\vb\fc", "\x1b[2J\x1b[H", "\x1b]0;title\a", "\x1b]8;;https://evil.example\x1b\\x", "\u009b31m", "\u009d0;x\u009c", "\x07\x08\x7f", "\x00a", "a\x1b", "\x1b[?1049h", "\x1bc", "\x1bP1$r\x1b\\",
	// direction and invisibility
	"\u202etxt.exe", "\u2066a\u2069", "\u200fa", "\u061ca", "a\u200bb", "\ufeffa", "\u2060a", "\u00ada", "\U000e0041\U000e007f", "\ufff9a\ufffb", "\u180ea", "\u3164a", "\u115fa", "\u2800a", "\ufe0fa", "\U000e0100a", "\ue000a", "\ufffea", "a\u0300\u0301\u0302\u0303\u0304\u0305\u0306\u0307\u0308",
	// templates, encodings, structure
	`{{.}}`, `{{template "finding"}}`, `{{define "x"}}`, `${7*7}`, `<%= 7*7 %>`, `#{7*7}`, `@STYLE@`, `@STYLE-HASH@`, `%3Cscript%3E`, `&lt;script&gt;`, `&#60;script&#62;`, `\u003cscript\u003e`, `\"},{"x":"`, `","injected":"`, `\`, `'`, `"`, `+ADw-script+AD4-`, "\ufe64script\ufe65", `＜script＞`, `../../etc/passwd`, `%s%n%x`, `$(id)`, "`id`",
}

// wrappers put a seed in places where a guard may not look for it.
var wrappers = []string{"%s", " %s", "\u200b%s", "\ufeff\u202e%s", "\x00%s", "safe %s safe"}

// payloads are all seeds in all wrappers.
func payloads() []string {
	var out []string
	for _, s := range seeds {
		for _, w := range wrappers {
			out = append(out, fmt.Sprintf(w, s))
		}
	}
	return out
}

// poison puts the next payload in every string field of a message, those in lists and maps included, and says how many that
// were. Fields by which parts of a document refer to each other keep their values where keep says so, so that the parts are
// still shown together.
func poison(m protoreflect.Message, next func() string, keep func(protoreflect.FieldDescriptor) bool) int {
	n := 0
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case fd.IsMap():
			n += poisonMap(m, fd, v.Map(), next)
		case fd.IsList():
			for i := range v.List().Len() {
				if fd.Kind() == protoreflect.StringKind && !keep(fd) {
					v.List().Set(i, protoreflect.ValueOfString(next()))
					n++
				} else if fd.Kind() == protoreflect.MessageKind {
					n += poison(v.List().Get(i).Message(), next, keep)
				}
			}
		case fd.Kind() == protoreflect.MessageKind:
			n += poison(v.Message(), next, keep)
		}
		return true
	})
	if m.Descriptor().ParentFile().Package() == "google.protobuf" {
		return n
	}
	for i := range m.Descriptor().Fields().Len() { // also those that are empty
		fd := m.Descriptor().Fields().Get(i)
		if fd.Kind() == protoreflect.StringKind && !fd.IsList() && !fd.IsMap() && !keep(fd) {
			m.Set(fd, protoreflect.ValueOfString(next()))
			n++
		}
	}
	return n
}

func poisonMap(m protoreflect.Message, fd protoreflect.FieldDescriptor, old protoreflect.Map, next func() string) int {
	if fd.MapKey().Kind() != protoreflect.StringKind {
		return 0
	}
	n := 0
	fresh := m.NewField(fd).Map()
	old.Range(func(_ protoreflect.MapKey, v protoreflect.Value) bool {
		if fd.MapValue().Kind() == protoreflect.StringKind {
			v = protoreflect.ValueOfString(next())
			n++
		}
		fresh.Set(protoreflect.ValueOfString(next()).MapKey(), v)
		n++
		return true
	})
	m.Set(fd, protoreflect.ValueOfMap(fresh))
	return n
}

// links are the fields by which the parts of a document name each other.
func links(fd protoreflect.FieldDescriptor) bool {
	switch fd.FullName() {
	case "riskprofiler.correlator.v1.Risk.name", "riskprofiler.correlator.v1.Risk.asset", "riskprofiler.correlator.v1.Risk.findings", "riskprofiler.correlator.v1.Finding.name",
		"riskprofiler.correlator.v1.Finding.risk", "riskprofiler.model.v1.Asset.name", "riskprofiler.model.v1.Observation.asset",
		"riskprofiler.reporter.v1.Changes.opened", "riskprofiler.reporter.v1.Changes.reopened", "riskprofiler.reporter.v1.Changes.resolved":
		return true
	}
	return false
}

func clone[M proto.Message](m M) M { return proto.Clone(m).(M) }

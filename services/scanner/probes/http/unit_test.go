package http

import (
	"encoding/base64"
	nethttp "net/http"
	"net/url"
	"regexp/syntax"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	wappalyzer "github.com/projectdiscovery/wappalyzergo"
	"google.golang.org/protobuf/testing/protocmp"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/http/observatory"
)

// The vectors are the published ones of MurmurHash3_x86_32 with seed 0.
func TestMurmur3(t *testing.T) {
	for text, want := range map[string]uint32{
		"": 0, "a": 0x3c2569b2, "abcdefgh1": 0x80b2ccc4, "test": 0xba6bd213, "hello": 0x248bfa47, "Hello, world!": 0xc0363e43,
		"The quick brown fox jumps over the lazy dog": 0x2e4ff723,
	} {
		if got := murmur3([]byte(text)); got != want {
			t.Errorf("murmur3(%q) = %#08x, want %#08x", text, got, want)
		}
	}
}

// The hash is taken over base64 in lines of 76 characters, each with a line feed, the last one too.
func TestIconHash(t *testing.T) {
	icon := []byte(strings.Repeat("\x00\x00\x01\x00icon", 20))
	text := base64.StdEncoding.EncodeToString(icon)
	want := int32(murmur3([]byte(text[:76] + "\n" + text[76:152] + "\n" + text[152:] + "\n")))
	if want != 572496003 { // as mmh3.hash(base64.encodebytes(icon)) of Python has it, which is how Shodan documents it
		t.Errorf("the lines hash to %d", want)
	}
	if got := iconHash(&reply{status: 200, body: icon}); got != want {
		t.Errorf("got %d, want %d", got, want)
	}
	for name, answer := range map[string]*reply{
		"missing": {status: 404, body: icon}, "empty": {status: 200}, "cut": {status: 200, body: icon, truncated: true}, "a page": {status: 200, body: []byte("<!DOCTYPE html><html>")},
	} {
		if got := iconHash(answer); got != 0 {
			t.Errorf("%s: %d, want 0", name, got)
		}
	}
}

func TestPages(t *testing.T) {
	tests := []struct {
		name, at, body string
		want           page
	}{
		{"empty", "https://a.test/", "", page{}},
		{"title with markup in it", "https://a.test/", "<title>a<b>c</title><title>second</title>", page{title: "a<b>c"}},
		{"no form", "https://a.test/", "<input type=password>", page{password: true}},
		{"other inputs", "https://a.test/", "<form><input type=text name=password></form>", page{}},
		{"inside a comment", "https://a.test/", "<!-- <input type=password><script src=http://b.test/x.js></script> -->", page{}},
		{"inside a script", "https://a.test/", "<script>'<input type=password>'</script>", page{elements: 1}},
		{"plain form over plain http", "http://a.test/", "<form action=http://a.test/x>", page{}},
		{"form to itself", "https://a.test/", "<form action=/x>", page{}},
		{"form to plain http by the base", "https://a.test/", "<base href=http://b.test/><form action=/x>", page{insecureForm: true}},
		{"second base", "https://a.test/", "<base href=https://a.test/><base href=http://b.test/><form action=/x>", page{}},
		{
			"mixed content", "https://a.test/",
			"<iframe src=http://b.test/1></iframe><object data=http://b.test/2></object><embed src=http://b.test/3><img src=http://b.test/4><a href=http://b.test/5><script src=//b.test/6></script>",
			page{mixed: []string{"http://b.test/1", "http://b.test/2", "http://b.test/3"}, passive: []string{"http://b.test/4"},
				foreign: map[string]*modelv1.ForeignResource{"b.test": {Host: "b.test", Scripts: 1, WithoutIntegrity: 1}}, scripts: []string{"//b.test/6"}, elements: 1, sources: []observatory.Script{{Source: "//b.test/6"}}},
		},
		{
			"whose things", "https://www.a.co.uk/", "<script src=https://cdn.a.co.uk/x.js></script><script src=/own/x.js></script><link rel=stylesheet href=//b.co.uk/x integrity=sha256-x><img src=i/1.png>",
			page{
				foreign: map[string]*modelv1.ForeignResource{"b.co.uk": {Host: "b.co.uk", Styles: 1}}, paths: []string{"/own/x.js", "/i/1.png"},
				scripts: []string{"https://cdn.a.co.uk/x.js", "/own/x.js"}, elements: 2, sources: []observatory.Script{{Source: "https://cdn.a.co.uk/x.js"}, {Source: "/own/x.js"}},
			},
		},
		{"password in the address", "https://a.test/", "<form method=GET><input type=password></form>", page{password: true, passwordInURL: true, getForm: false}},
		{"password by post", "https://a.test/", "<form method=get></form><form method=post><input type=password></form>", page{password: true}},
		{"password behind a form", "https://a.test/", "<form method=get><input></form><input type=password>", page{password: true}},
		{"form without a method", "https://a.test/", "<form><input type=password></form>", page{password: true}},
		{"nothing mixed over plain http", "http://a.test/", "<iframe src=http://b.test/1></iframe>", page{}},
		{"icon", "https://a.test/", "<link rel='Shortcut ICON' href=/i.png><link rel=icon href=/second.png>", page{icon: "/i.png"}},
		{"meta", "https://a.test/", "<meta NAME=Generator content='x 1'>", page{metas: [][2]string{{"generator", "x 1"}}}},
		{"first attribute counts", "https://a.test/", "<input type=text type=password>", page{}},
		{"no end", "https://a.test/", "<title>half", page{title: "half"}},
	}
	for _, test := range tests {
		at, _ := url.Parse(test.at)
		got := readPage([]byte(test.body), at)
		if diff := cmp.Diff(test.want, *got, cmp.AllowUnexported(page{}), protocmp.Transform()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
}

func TestRecognise(t *testing.T) {
	tests := []struct {
		list []signature
		page string
		want string
	}{
		{pagesOf().Default, "<title>Welcome to nginx!</title>", "nginx"},
		{pagesOf().Default, "<html><body><h1>It works!</h1></body></html>", "apache"},
		{pagesOf().Default, "<title>IIS Windows Server</title>", "iis"},
		{pagesOf().Default, "<title>About nginx: welcome</title>", ""},
		{pagesOf().Panels, "<title>phpMyAdmin</title>", "phpMyAdmin"},
		{pagesOf().Panels, "<title>Grafana</title>", "Grafana"},
		{pagesOf().Panels, "<title>Sign in · GitLab</title><body>GitLab<input name='user[login]'>", "GitLab"},
		{pagesOf().Panels, "<title>Sign in</title>", ""},
		{pagesOf().Debug, "<title>Action Controller: Exception caught</title>", "rails"},
		{pagesOf().Debug, "<b>Fatal error</b>:  Uncaught x in <b>/var/www/i.php</b> on line <b>3</b>", "php"},
		{pagesOf().Debug, "<h1>Server Error in '/' Application.</h1><b>Stack Trace:</b> <b>Version Information:</b>", "asp.net"},
		{pagesOf().Debug, "<p>We write about fatal errors and stack traces</p>", ""},
	}
	at, _ := url.Parse("https://a.test/")
	for _, test := range tests {
		answer := &reply{status: 200, body: []byte(test.page)}
		if got := recognise(test.list, answer, readPage(answer.body, at).title); got != test.want {
			t.Errorf("%s: %q, want %q", test.page, got, test.want)
		}
	}
	for _, list := range [][]signature{pagesOf().Default, pagesOf().Panels, pagesOf().Debug} {
		for _, s := range list {
			if s.Name == "" || (s.Title == "" && s.Realm == "" && len(s.Body) == 0) || strings.ToLower(s.Title+s.Realm+strings.Join(s.Body, "")) != s.Title+s.Realm+strings.Join(s.Body, "") {
				t.Errorf("signature %+v can never fit, or always does", s)
			}
		}
	}
}

func TestSessionNames(t *testing.T) {
	for name, want := range map[string]bool{
		"PHPSESSID": true, "JSESSIONID": true, "ASP.NET_SessionId": true, "connect.sid": true, "laravel_session": true, "sessionid": true, "sid": true,
		"auth_token": true, ".AspNetCore.Identity.Application": true, "remember_me": true, "__Host-session": true,
		"csrftoken": false, "XSRF-TOKEN": false, "_ga_session": false, "lang": false, "theme": false, "side": false, "_hjSessionUser_1": false,
	} {
		if got := sessionName(name); got != want {
			t.Errorf("%s: %t, want %t", name, got, want)
		}
	}
}

func TestVersionTemplates(t *testing.T) {
	for _, test := range []struct {
		template string
		groups   []string
		want     string
	}{
		{`\1`, []string{"x/1.2", "1.2"}, "1.2"},
		{`\1.\2`, []string{"", "1", "2"}, "1.2"},
		{`\1?a:b`, []string{"", "x"}, "a"},
		{`\1?a:b`, []string{"", ""}, "b"},
		{`\1?\1:`, []string{"", "3"}, "3"},
		{`\1?next:`, []string{"", ""}, ""},
		{`\9`, []string{"", "1"}, ""},
		{"", []string{"x"}, ""},
		{"fixed", []string{"x"}, "fixed"},
	} {
		if got := fillIn(test.template, test.groups); got != test.want {
			t.Errorf("%s of %q: %q, want %q", test.template, test.groups, got, test.want)
		}
	}
	for _, test := range [][3]string{
		{"cpe:2.3:a:f5:nginx:*:*:*:*:*:*:*:*", "1.18.0", "cpe:2.3:a:f5:nginx:1.18.0:*:*:*:*:*:*:*"},
		{"cpe:2.3:a:f5:nginx:*:*:*:*:*:*:*:*", "", "cpe:2.3:a:f5:nginx:*:*:*:*:*:*:*:*"},
		{"cpe:2.3:a:f5:nginx:*:*:*:*:*:*:*:*", "1:*", "cpe:2.3:a:f5:nginx:*:*:*:*:*:*:*:*"},
		{"", "1", ""},
	} {
		if got := withVersion(test[0], test[1]); got != test[2] {
			t.Errorf("%s with %s: %s, want %s", test[0], test[1], got, test[2])
		}
	}
}

// Our matcher finds what the library's finds, for a page that uses markup, scripts, metas, headers and cookies.
func TestSameTechnologiesAsTheLibrary(t *testing.T) {
	library, err := wappalyzer.New()
	if err != nil {
		t.Fatal(err)
	}
	at, _ := url.Parse("https://a.test/")
	pages := []struct {
		header nethttp.Header
		body   string
	}{
		{nethttp.Header{"Server": {"Apache/2.4.57 (Debian) PHP/8.1.2"}, "X-Powered-By": {"PHP/8.1.2"}}, "<html><body>hi</body></html>"},
		{nethttp.Header{"Set-Cookie": {"JSESSIONID=abc; Path=/"}, "Server": {"Jetty(9.4.z-snapshot)"}}, ""},
		{nethttp.Header{"X-Drupal-Cache": {"HIT"}}, `<meta name="generator" content="drupal 10 (https://www.drupal.org)"><script src="/core/misc/drupal.js"></script>`},
		{nil, `<html><head><link rel="stylesheet" href="/wp-content/themes/x/style.css"><script src="https://cdnjs.cloudflare.com/ajax/libs/react/17.0.2/umd/react.production.min.js"></script></head><body class="home"><div id="__next"></div></body></html>`},
		{nethttp.Header{"Server": {"cloudflare"}, "Cf-Ray": {"x"}}, `<script src="https://www.googletagmanager.com/gtm.js?id=x"></script><script src="/jquery-3.6.0.min.js"></script><script src="bootstrap.min.js"></script>`},
		{nethttp.Header{"Server": {"Microsoft-IIS/10.0"}, "X-Aspnet-Version": {"4.0.30319"}, "X-Powered-By": {"ASP.NET"}}, `<input type="hidden" name="__viewstate" id="__viewstate" value="x" />`},
		{nil, `<a href="x">adminer</a> <span class="version">4.8.1</span>`},
	}
	for i, one := range pages {
		if one.header == nil {
			one.header = nethttp.Header{}
		}
		one.header.Set("Content-Type", "text/html")
		answer := &reply{url: at, status: 200, header: one.header, body: []byte(one.body)}
		got := make(map[string]bool)
		for _, found := range technologies(answer, readPage(answer.body, at)) {
			got[found.GetName()] = true
		}
		if len(got) == 0 {
			t.Errorf("page %d: nothing found", i)
		}
		for name := range library.Fingerprint(one.header, answer.body) {
			if name, _, _ = strings.Cut(name, ":"); !got[name] {
				t.Errorf("page %d: the library finds %s, we find %v", i, name, got)
			}
		}
	}
}

// Every expression of the catalogue compiles in Go as it stands, but for the few that use what RE2 has not.
func TestCatalogueCompiles(t *testing.T) {
	catalogue := loadCatalogue()
	if len(catalogue.products) < 7000 {
		t.Fatalf("%d products", len(catalogue.products))
	}
	all, bad, always := 0, 0, 0
	for where, list := range catalogue.indexes {
		seen := make(map[*pattern]bool)
		for _, p := range list.always {
			seen[p] = true
			if where == inMarkup || where == inScripts {
				always++
			}
		}
		for _, entries := range list.byGram {
			for _, e := range entries {
				seen[e.pattern] = true
			}
		}
		for p := range seen {
			all++
			p.match("x")
			if p.text != "" && p.compiled == nil {
				bad++
			}
		}
	}
	if all < 6000 || bad > all/100 || always > 100 {
		t.Errorf("%d patterns, %d do not compile, %d are always tried; want 6,000 or more, 1 %%, 100", all, bad, always)
	}
}

// No text that an expression matches lacks what it is said to require: seen on texts made to match each expression of the catalogue.
func TestRequired(t *testing.T) {
	matched, narrowed := 0, 0
	for _, where := range []part{inMarkup, inScripts} {
		for _, entries := range loadCatalogue().indexes[where].byGram {
			for _, e := range entries {
				tree, err := syntax.Parse(e.pattern.text, syntax.Perl|syntax.FoldCase)
				if err != nil {
					continue
				}
				text := "\n" + matching(tree) + "\n"
				if _, ok := e.pattern.match(text); !ok {
					continue // an anchor, or a boundary that this text does not have
				}
				matched++
				if !e.pattern.possible(lowerASCII(text)) {
					t.Errorf("%q matches %q, which lacks one of %q", e.pattern.text, text, e.pattern.required)
				}
				if len(e.pattern.required) > 1 {
					narrowed++
				}
			}
		}
	}
	if matched < 2000 || narrowed < 300 {
		t.Errorf("%d expressions matched, %d require more than one literal", matched, narrowed)
	}
}

// matching is a short text that an expression matches, if nothing but its characters decides.
func matching(tree *syntax.Regexp) string {
	switch tree.Op {
	case syntax.OpLiteral:
		return strings.ToUpper(string(tree.Rune))
	case syntax.OpCharClass:
		return string(tree.Rune[0])
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return "~"
	case syntax.OpCapture, syntax.OpPlus:
		return matching(tree.Sub[0])
	case syntax.OpRepeat:
		return strings.Repeat(matching(tree.Sub[0]), tree.Min)
	case syntax.OpAlternate:
		return matching(tree.Sub[len(tree.Sub)-1])
	case syntax.OpConcat:
		var out strings.Builder
		for _, sub := range tree.Sub {
			out.WriteString(matching(sub))
		}
		return out.String()
	}
	return "" // what may be left out, is
}

func TestBasicChallenges(t *testing.T) {
	for value, want := range map[string]bool{
		`Basic realm="x"`: true, `basic`: true, `Bearer realm="x", Basic realm="y"`: true, `Digest realm="Basic"`: false, `Bearer`: false, "": false,
	} {
		if got := asksBasic(&reply{status: 401, header: nethttp.Header{"Www-Authenticate": {value}}}); got != want {
			t.Errorf("%q: %t, want %t", value, got, want)
		}
	}
}

func FuzzPage(f *testing.F) {
	f.Add([]byte(front), "https://a.test/")
	f.Add([]byte("<base href=http://[::1><form action='//'><script src='\x00'>"), "http://a.test/x?y#z")
	f.Add([]byte("<title>&#0;&#x110000;</title"), "https://a.test/")
	f.Fuzz(func(t *testing.T, body []byte, text string) {
		at, err := url.Parse(text)
		if err != nil {
			return
		}
		p := readPage(body, at)
		if len([]rune(p.title)) > maxTitle || len(p.scripts) > maxScripts || len(p.mixed) > maxMixed || len(p.metas) > maxMetas ||
			len(p.passive) > maxMixed || len(p.foreign) > maxForeign || len(p.paths) > maxPaths {
			t.Errorf("unbounded page: %+v", p)
		}
		if strings.ContainsAny(p.title, "\x00\x1b\n\r\u202e") {
			t.Errorf("title %q", p.title)
		}
	})
}

func FuzzProofs(f *testing.F) {
	for _, body := range proofSamples {
		f.Add(body)
	}
	at, _ := url.Parse("https://a.test/")
	f.Fuzz(func(t *testing.T, body string) {
		for _, kind := range []string{"text/html", "application/json", ""} {
			answer := &reply{url: at, status: 200, header: nethttp.Header{"Content-Type": {kind}}, body: []byte(body)}
			for _, one := range placesOf() {
				for _, what := range one.shows(answer) {
					if what.kind == "" || len(what.proof) > 512 || strings.ContainsAny(what.proof, "\x00\x1b\n\r\u202e") {
						t.Errorf("%s: proof %q", one.path, what.proof)
					}
				}
			}
		}
	})
}

func FuzzTechnologies(f *testing.F) {
	f.Add("nginx/1.18.0", "PHPSESSID=a; path=/", []byte(front))
	f.Fuzz(func(t *testing.T, server, cookie string, body []byte) {
		at, _ := url.Parse("https://a.test/")
		answer := &reply{url: at, status: 200, header: nethttp.Header{"Server": {server}, "Set-Cookie": {cookie}, "Content-Type": {"text/html"}}, body: body}
		found := technologies(answer, readPage(body, at))
		if len(found) > maxTechnologies || !slices.IsSortedFunc(found, func(a, b *modelv1.Technology) int { return strings.Compare(a.GetName(), b.GetName()) }) {
			t.Errorf("technologies %v", found)
		}
	})
}

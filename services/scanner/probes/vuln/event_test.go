package vuln

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

var testPlace = place{host: "app.example.test", port: 8443, addr: netip.MustParseAddr("192.0.2.1")}

const goodLine = `{"template-id":"a-b","type":"http","matched-at":"https://app.example.test:8443/x","info":{"name":"N","severity":"high"}}`

func TestParseEvent(t *testing.T) {
	with := func(old, now string) string { return strings.Replace(goodLine, old, now, 1) }
	tests := []struct {
		name, line, err string
	}{
		{"good", goodLine, ""},
		{"at the address", with("app.example.test", "192.0.2.1"), ""},
		{"without scheme", with("https://", ""), ""},
		{"other case", with("app.example.test", "APP.Example.Test."), ""},
		{"lists as text", with(`"severity"`, `"tags":"a, b","reference":null,"classification":{"cve-id":"CVE-2026-1","cwe-id":null},"severity"`), ""},
		{"elsewhere", with("app.example.test", "evil.test"), "another host"},
		{"user information", with("app.example.test", "app.example.test@evil.test"), "another host"},
		{"no place", with("https://app.example.test:8443/x", ""), "no place"},
		{"no severity", with(`"high"`, `"bad"`), "no severity"},
		{"bad id", with("a-b", "a b"), "no template id"},
		{"long id", with("a-b", strings.Repeat("a", 200)), "no template id"},
		{"network", with(`"type":"http"`, `"type":"tcp"`), "another protocol"},
		{"two values", goodLine + goodLine, "more than one value"},
		{"array", "[" + goodLine + "]", "no JSON object"},
		{"text", "[INF] hello", "no JSON object"},
		{"wrong kind", with(`"a-b"`, "7"), "no JSON object"},
		{"not UTF-8", with("N", "\xff"), "not UTF-8"},
		{"not matched", with(`"type"`, `"matcher-status":false,"type"`), "no result"},
		{"an error", with(`"type"`, `"error":"timeout","type"`), "no result"},
		{"deep", with(`"N"`, strings.Repeat("[", 100000)), "no JSON object"},
	}
	for _, tt := range tests {
		_, err := parseEvent([]byte(tt.line), testPlace)
		if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.err)
		}
	}
}

// However the bytes are cut into writes, the same lines are read, within the same bounds.
func TestOutputDoesNotDependOnTheWrites(t *testing.T) {
	l := defaultLimits
	l.lineBytes, l.lines, l.events = 300, 30, 5
	rapid.Check(t, func(t *rapid.T) {
		line := rapid.SampledFrom([]string{goodLine, strings.Replace(goodLine, "a-b", "c-d", 1), "", "x", strings.Repeat("y", 301), `{"a":1}`})
		text := strings.Join(rapid.SliceOfN(line, 0, 40).Draw(t, "lines"), "\n")
		whole := &output{limits: l, place: testPlace}
		_, _ = whole.Write([]byte(text))
		whole.end()
		parts := &output{limits: l, place: testPlace}
		for rest := []byte(text); len(rest) > 0; {
			n := rapid.IntRange(1, min(len(rest), 400)).Draw(t, "part")
			if _, err := parts.Write(rest[:n]); err != nil {
				break
			}
			rest = rest[n:]
		}
		parts.end()
		if whole.bad != parts.bad || whole.full != parts.full || len(whole.events) != len(parts.events) || whole.lines != parts.lines {
			t.Fatalf("%d %q %d %d and in parts %d %q %d %d", whole.bad, whole.full, len(whole.events), whole.lines, parts.bad, parts.full, len(parts.events), parts.lines)
		}
		if len(parts.part) > l.lineBytes {
			t.Fatalf("%d bytes kept of a line", len(parts.part))
		}
	})
}

func FuzzEvents(f *testing.F) {
	f.Add([]byte(goodLine + "\n"))
	f.Add([]byte(strings.Replace(goodLine, `"severity"`, `"tags":["tech"],"reference":"https://x, y","classification":{"cve-id":["CVE-2026-1234"]},"severity"`, 1)))
	f.Add([]byte("{\"template-id\":\"a\"\n\n\x00"))
	l := defaultLimits
	l.lineBytes, l.outputBytes, l.lines, l.events = 4<<10, 64<<10, 100, 20
	f.Fuzz(func(t *testing.T, text []byte) {
		out := &output{limits: l, place: testPlace}
		_, _ = out.Write(text)
		out.end()
		if len(out.events) > l.events {
			t.Fatalf("%d events", len(out.events))
		}
		for _, e := range out.events {
			fact := e.fact()
			if fact.GetSeverity() == 0 || fact.GetRule() == "" || !utf8.ValidString(fact.String()) || len(fact.GetReferences()) > maxValues || len(fact.GetExtracted()) > maxValues {
				t.Fatalf("%v", fact)
			}
			if !strings.EqualFold(strings.TrimSuffix(e.at.Hostname(), "."), testPlace.host) && !strings.Contains(e.at.Hostname(), "192.0.2.1") && !strings.Contains(e.at.Hostname(), ":") {
				t.Fatalf("a fact about %q", e.at.Host)
			}
		}
	})
}

func TestTags(t *testing.T) {
	job := func(p modelv1.Profile, c modelv1.Clearance, seen ...string) *modelv1.ScanJob {
		return &modelv1.ScanJob{Target: &modelv1.Target{Technologies: seen, Service: "http"}, Options: &modelv1.ScanOptions{Profile: p, Clearance: c}}
	}
	standard, intrusiveClearance := modelv1.Clearance_CLEARANCE_STANDARD, modelv1.Clearance_CLEARANCE_INTRUSIVE
	got := tags(job(modelv1.Profile_PROFILE_STANDARD, standard, "WordPress", "Apache Tomcat", "nginx:1.18.0", "wordpress", "a,b", "--update", "dos", "intrusive", "jQuery", strings.Repeat("x", 40), "Wörd"))
	if want := []string{"kev", "exposure", "misconfig", "wordpress", "tomcat", "nginx"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if got := tags(job(modelv1.Profile_PROFILE_QUICK, standard)); !slices.Equal(got, []string{"kev"}) {
		t.Errorf("quick: %q", got)
	}
	var many []string
	for i := range 500 {
		many = append(many, "tech"+strings.Repeat("i", i%20)+string(rune('a'+i%26)))
	}
	if got := tags(job(modelv1.Profile_PROFILE_DEEP, standard, many...)); len(got) > maxTags || !slices.Contains(got, "cve") {
		t.Errorf("deep: %d tags", len(got))
	}
	for _, tag := range []string{"dos", "default-login", "fuzz", "intrusive"} {
		if !slices.Contains(excluded(job(0, standard)), tag) || slices.Contains(excluded(job(0, intrusiveClearance)), tag) != (tag == "dos") {
			t.Errorf("%s: excluded %q, where intrusive %q", tag, excluded(job(0, standard)), excluded(job(0, intrusiveClearance)))
		}
	}
}

// A tag is never anything else than one word, whatever a target calls itself.
func FuzzTechnologyTag(f *testing.F) {
	f.Add("Apache HTTP Server")
	f.Add("-x,y\n")
	f.Fuzz(func(t *testing.T, name string) {
		if tag := technologyTag(name); len(tag) > 32 || strings.ContainsAny(tag, ", \n\t-") && strings.HasPrefix(tag, "-") || strings.Contains(tag, ",") {
			t.Fatalf("%q from %q", tag, name)
		}
	})
}

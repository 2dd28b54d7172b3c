package imports

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// bomb is a report that wants to hurt, made while it is read.
type bomb struct {
	name   string
	format Format
	open   Open
	// want is a part of the line that refuses it; empty: it is taken, because it is harmless.
	want string
}

// endless repeats a text after a beginning, up to a size far over every bound.
func endless(begin, again string) Open {
	return func() (io.ReadCloser, error) {
		return io.NopCloser(io.MultiReader(strings.NewReader(begin), io.LimitReader(repeat(again), 4*MaxBytes))), nil
	}
}

// repeat makes the piece that is copied long, so that what is measured is the reading and not the making.
func repeat(text string) io.Reader { return &repeated{text: strings.Repeat(text, 4096/len(text)+1)} }

type repeated struct {
	text string
	at   int
}

func (r *repeated) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		c := copy(p[n:], r.text[r.at:])
		n, r.at = n+c, (r.at+c)%len(r.text)
	}
	return n, nil
}

// times repeats a text n times between a beginning and an end.
func times(begin, again string, n int, end string) Open {
	return func() (io.ReadCloser, error) {
		middle := io.LimitReader(repeat(again), int64(n*len(again)))
		return io.NopCloser(io.MultiReader(strings.NewReader(begin), middle, strings.NewReader(end))), nil
	}
}

func bombs() []bomb {
	var out []bomb
	list := func(f Format, prefix string) {
		add := func(name string, open Open, want string) {
			out = append(out, bomb{fmt.Sprintf("%s %s", f, name), f, open, want})
		}
		add("one text without end", endless(prefix+`"`, "a"), "larger than")
		add("nested arrays", endless(prefix, "["), "nested deeper")
		add("nested objects", endless(prefix, `{"a":`), "nested deeper")
		add("numbers without end", endless(prefix+"[", "1,"), "elements")
	}
	list(SARIF, `{"runs":[{"tool":{"driver":{"name":`)
	list(SARIF, `{"runs":[{"results":[{"message":`)
	list(Trivy, `{"Results":[{"Vulnerabilities":[`)
	list(SSLyze, `{"server_scan_results":[{"scan_result":`)
	list(TestSSL, `[{"finding":`)
	list(ZAP, `{"site":[{"alerts":[{"instances":`)
	list(OCSF, `[{"resources":`)
	list(ASFF, `{"Findings":[{"Resources":`)
	list(Nuclei, `[{"template-id":"a","info":`)
	list(Prowler, `[{"CheckID":`)
	for _, c := range []struct {
		format             Format
		begin, record, end string
	}{
		{SARIF, `{"runs":[`, `{"results":[{"locations":[`, `{}]}]}]}`},
		{SSLyze, `{"server_scan_results":[`, `{"scan_result":{"x":{"result":{"a":[`, `0]}}}}]}`},
		{TestSSL, `{"scanResult":[`, `{"a":[`, `0]}]}`},
		{Trivy, `{"ArtifactName":"a","Results":[{"Vulnerabilities":[`, `{"References":[`, `""]}]}]}`},
		{ZAP, `{"site":[{"alerts":[`, `{"instances":[`, `{}]}]}]}`},
		{OCSF, `[`, `{"resources":[`, `{}]}]`},
		{ASFF, `{"Findings":[`, `{"Resources":[`, `{}]}]}`},
		{Nuclei, `[`, `{"template-id":"a","info":{"tags":[`, `""]}}]`},
		{Prowler, `[`, `{"CheckID":"a","Remediation":{"a":[`, `""]}}]`},
	} {
		for name, element := range map[string]string{"objects": `{},`, "texts": `"",`} {
			open := times(c.begin+c.record, element, 400_000, c.end)
			out = append(out, bomb{fmt.Sprintf("%s one record of %s", c.format, name), c.format, open, "elements"})
		}
		const most = MaxRecordElements - 20
		text := `"` + strings.Repeat("a", MaxRecordBytes/most-4) + `",`
		open := times(c.begin+c.record, text, most, c.end)
		out = append(out, bomb{fmt.Sprintf("%s the largest record", c.format), c.format, open, ""})
	}
	entities := `<?xml version="1.0"?><!DOCTYPE nmaprun [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]><nmaprun>&b;</nmaprun>`
	return append(out,
		bomb{"nmap entities", Nmap, of([]byte(entities)), "document type"},
		bomb{"nmap external entity", Nmap, of([]byte(`<!DOCTYPE nmaprun SYSTEM "file:///etc/passwd" [ <!ENTITY x SYSTEM "file:///etc/passwd"> ]><nmaprun>&x;</nmaprun>`)), "document type"},
		bomb{"nmap undefined entity", Nmap, of([]byte(`<nmaprun><host><status state="&x;"/></host></nmaprun>`)), "entity"},
		bomb{"nmap nested", Nmap, endless("<nmaprun>", "<host>"), "nested deeper"},
		bomb{"nmap attributes without end", Nmap, endless("<nmaprun><host ", `a="a" `), "larger than"},
		bomb{"nmap one text without end", Nmap, endless("<nmaprun><host>", "a"), "larger than"},
		bomb{"nmap ports without end", Nmap, endless("<nmaprun><host><address addr='192.0.2.1'/><ports>", `<port protocol="tcp" portid="1"><state state="open"/></port>`), "more ports than there are"},
		bomb{"nmap hosts without end", Nmap, endless("<nmaprun>", `<host><address addr="192.0.2.1"/></host>`), "elements"},
		bomb{"nmap hosts of many attributes", Nmap, endless("<nmaprun>", `<host`+strings.Repeat(` a=""`, 1000)+`/>`), "elements"},
		bomb{"nmap elements crossed", Nmap, of([]byte("<nmaprun><host><ports></host></ports></nmaprun>")), "host ends that did not begin there"},
		bomb{"nmap closed once more", Nmap, of([]byte("<nmaprun></nmaprun></nmaprun>")), "nmaprun ends that did not begin there"},
		bomb{"sarif runs without end", SARIF, endless(`{"runs":[`, `{},`), "runs"},
		bomb{"sarif rules without end", SARIF, endless(`{"runs":[{"tool":{"driver":{"rules":[`, `{},`), "rules"},
		bomb{"sarif rules of long texts", SARIF, endless(`{"runs":[{"tool":{"driver":{"rules":[`, `{"id":"a","name":"`+strings.Repeat("a", 10_000)+`"},`), "rules are larger"},
		bomb{"zap xml nested", ZAP, endless("<OWASPZAPReport><site>", "<alerts>"), "nested deeper"},
		bomb{"nuclei lines without end", Nuclei, endless("", "{}\n"), "not understood"},
		bomb{"nuclei results without end", Nuclei, endless("", `{"template-id":"x","host":"a"}`+"\n"), "results"},
		bomb{"nuclei line without end", Nuclei, endless(`{"template-id":"x"}`+"\n"+`{`, " "), "larger than"},
		bomb{"csv field without end", CSV, endless(`"`, "a"), "larger than"},
		bomb{"csv fields without end", CSV, endless("", "a,"), "larger than"},
		bomb{"csv rows without end", CSV, endless("", "a.example\n"), "results"},
		bomb{"csv rows of many fields", CSV, endless("", "a.example,,,\n"), "elements"},
		bomb{"zeros", CSV, endless("", "\x00"), "larger than"},
	)
}

// TestBombs: each ends by a bound, in one line, with little memory, whatever its size.
func TestBombs(t *testing.T) {
	all := bombs()
	if len(all) < 50 {
		t.Fatalf("%d bombs", len(all))
	}
	const mostMemory = 64 << 20
	for i, b := range all {
		if testing.Short() && i%9 != 0 {
			continue // one goroutine reads: the race detector, which asks for the short run, learns nothing from all of them
		}
		t.Run(b.name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			peak := &watcher{before: before.HeapAlloc}
			err := Parse(context.Background(), b.format, b.open, peak)
			runtime.ReadMemStats(&after)
			peak.see(after.HeapAlloc)
			if peak.most > mostMemory {
				t.Errorf("held %d bytes", peak.most)
			}
			if err == nil && b.want != "" {
				t.Fatal("taken")
			}
			if err != nil && (!errors.Is(err, fault.Invalid) || strings.ContainsAny(err.Error(), "\n\r\x00") || len(err.Error()) > 600) {
				t.Errorf("refused with %q", err)
			}
			if err != nil && b.want != "" && !strings.Contains(err.Error(), b.want) {
				t.Errorf("refused with %q, want %q in it", err, b.want)
			}
		})
	}
}

// watcher counts, and looks at the memory now and then.
type watcher struct {
	before, most uint64
	n            int
}

func (w *watcher) see(heap uint64) {
	if heap > w.before {
		w.most = max(w.most, heap-w.before)
	}
}

func (w *watcher) look() error {
	if w.n++; w.n%50_000 == 0 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		w.see(m.HeapAlloc)
	}
	return nil
}

func (w *watcher) Record(Record) error       { return w.look() }
func (w *watcher) Problem(int, string) error { return w.look() }

// TestHostileText: what a report says is text for people: no control characters, bounded, and only web addresses are links.
func TestHostileText(t *testing.T) {
	evil := `\u001b[31m\u202e<script>\r\n=cmd|' /C calc'!A0` + strings.Repeat("A", 10_000)
	raw := `{"template-id":"` + evil + `","info":{"name":"` + evil + `","severity":"high","description":"` + evil + `","reference":["javascript:alert(1)","https://ok.example/"]},"matched-at":"https://www.example.com/"}`
	var got []Record
	if err := Parse(context.Background(), Nuclei, of([]byte(raw)), collector{&got}); err != nil || len(got) != 1 {
		t.Fatal(err, got)
	}
	f := got[0].Reported
	for name, text := range map[string]string{"rule": f.GetRule(), "title": f.GetTitle(), "description": f.GetDescription()} {
		if strings.ContainsAny(text, "\x1b\r\n\u202e") || len([]rune(text)) > maxLongText {
			t.Errorf("%s is %.80q, %d long", name, text, len(text))
		}
	}
	if refs := f.GetReferences(); len(refs) != 1 || refs[0] != "https://ok.example/" {
		t.Errorf("references %v", refs)
	}
}

type collector struct{ records *[]Record }

func (c collector) Record(r Record) error {
	*c.records = append(*c.records, r)
	return nil
}
func (c collector) Problem(int, string) error { return nil }

func fuzz(f *testing.F, format Format) {
	for _, file := range files {
		if file.format == format {
			raw, err := os.ReadFile(filepath.Join("testdata", file.name))
			if err != nil {
				f.Fatal(err)
			}
			f.Add(raw)
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		err := Parse(context.Background(), format, of(raw), checked{t})
		if err != nil && (!errors.Is(err, fault.Invalid) || bytes.ContainsAny([]byte(err.Error()), "\n\r")) {
			t.Fatalf("refused with %q", err)
		}
	})
}

// checked holds records to what the service relies on.
type checked struct{ t *testing.T }

func (c checked) Record(r Record) error {
	if r.Line < 1 || r.Port > 65535 || r.Service.GetPort() > 65535 || r.Reported != nil && (r.Reported.GetRule() == "" || r.Reported.GetTool() == "") {
		c.t.Fatalf("record %+v", r)
	}
	return nil
}

func (c checked) Problem(line int, text string) error {
	if line < 1 || text == "" || strings.ContainsAny(text, "\n\r\x1b") {
		c.t.Fatalf("problem %d %q", line, text)
	}
	return nil
}

func FuzzNmap(f *testing.F)    { fuzz(f, Nmap) }
func FuzzNuclei(f *testing.F)  { fuzz(f, Nuclei) }
func FuzzSARIF(f *testing.F)   { fuzz(f, SARIF) }
func FuzzOCSF(f *testing.F)    { fuzz(f, OCSF) }
func FuzzASFF(f *testing.F)    { fuzz(f, ASFF) }
func FuzzTestSSL(f *testing.F) { fuzz(f, TestSSL) }
func FuzzSSLyze(f *testing.F)  { fuzz(f, SSLyze) }
func FuzzTrivy(f *testing.F)   { fuzz(f, Trivy) }
func FuzzProwler(f *testing.F) { fuzz(f, Prowler) }
func FuzzZAP(f *testing.F)     { fuzz(f, ZAP) }
func FuzzCSV(f *testing.F)     { fuzz(f, CSV) }

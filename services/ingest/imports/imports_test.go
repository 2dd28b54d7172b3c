package imports

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

var update = flag.Bool("update", false, "write what the parsers say now into testdata")

// files are reports in the documented form of each tool, with things in them that cannot be understood.
var files = []struct {
	name   string
	format Format
}{
	{"nmap.xml", Nmap},
	{"nmap-cut.xml", Nmap},
	{"nuclei.jsonl", Nuclei},
	{"sarif.json", SARIF},
	{"ocsf.json", OCSF},
	{"asff.json", ASFF},
	{"testssl.json", TestSSL},
	{"testssl-pretty.json", TestSSL},
	{"sslyze.json", SSLyze},
	{"trivy.json", Trivy},
	{"prowler.csv", Prowler},
	{"prowler.json", Prowler},
	{"zap.json", ZAP},
	{"zap.xml", ZAP},
	{"assets.csv", CSV},
	{"list.csv", CSV},
}

// notes writes down what is handed over.
type notes struct {
	bytes.Buffer
	records, problems int
	fail              error
}

func (n *notes) Record(r Record) error {
	n.records++
	fmt.Fprintf(n, "line %d", r.Line)
	if r.Asset != "" {
		fmt.Fprintf(n, " asset %s", r.Asset)
	}
	if r.Port != 0 {
		fmt.Fprintf(n, " port %d %v", r.Port, r.Transport)
	}
	if r.Place != "" {
		fmt.Fprintf(n, " place %q", r.Place)
	}
	if !r.Seen.IsZero() {
		fmt.Fprintf(n, " seen %s", r.Seen.Format("2006-01-02T15:04:05Z07:00"))
	}
	if r.Criticality != 0 || r.Labels != nil {
		fmt.Fprintf(n, " criticality %d labels %v", r.Criticality, r.Labels)
	}
	n.WriteByte('\n')
	for _, m := range []proto.Message{r.Service, r.Ports, r.Reported} {
		if m.ProtoReflect().IsValid() {
			text := prototext.MarshalOptions{Multiline: true, Indent: "    "}.Format(m)
			// prototext varies its white space on purpose.
			for l := range strings.Lines(strings.ReplaceAll(text, ":  ", ": ")) {
				n.WriteString("    " + l)
			}
		}
	}
	return n.fail
}

func (n *notes) Problem(line int, text string) error {
	n.problems++
	fmt.Fprintf(n, "line %d PROBLEM %s\n", line, text)
	return nil
}

func of(raw []byte) Open {
	return func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(raw)), nil }
}

func TestGolden(t *testing.T) {
	for _, f := range files {
		t.Run(f.name, func(t *testing.T) {
			raw, err := os.ReadFile(filepath.Join("testdata", f.name))
			if err != nil {
				t.Fatal(err)
			}
			if got, err := Detect(bytes.NewReader(raw)); got != f.format {
				t.Errorf("taken for %q (%v), it is %s", got, err, f.format)
			}
			var n notes
			if err := Parse(context.Background(), f.format, of(raw), &n); err != nil {
				fmt.Fprintf(&n, "ERROR %v\n", err)
			}
			golden := filepath.Join("testdata", f.name+".golden")
			if *update {
				if err := os.WriteFile(golden, n.Bytes(), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(n.Bytes(), want) {
				t.Errorf("got\n%s\nwant\n%s", n.Bytes(), want)
			}
		})
	}
}

// Each format refuses the others' reports with one line, and hands nothing over that it made up.
func TestWrongFormat(t *testing.T) {
	for _, f := range files {
		raw, err := os.ReadFile(filepath.Join("testdata", f.name))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range Formats() {
			if Format(name) == f.format || Format(name) == CSV || Format(name) == OCSF && f.format == Prowler || Format(name) == Prowler && f.format == OCSF {
				continue // CSV takes any text: each line is judged when its asset is
			}
			var n notes
			err := Parse(context.Background(), Format(name), of(raw), &n)
			if n.records > 0 {
				t.Errorf("%s read as %s gives %d records:\n%s", f.name, name, n.records, n.String())
			}
			if err == nil && n.problems == 0 {
				t.Errorf("%s read as %s is taken in silence", f.name, name)
			}
			if err != nil && (!errors.Is(err, fault.Invalid) || strings.Contains(err.Error(), "\n")) {
				t.Errorf("%s read as %s: %v", f.name, name, err)
			}
		}
	}
}

func TestUnknownFormat(t *testing.T) {
	if err := Parse(context.Background(), "nessus", of(nil), &notes{}); !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "nmap") {
		t.Errorf("%v", err)
	}
	for _, text := range []string{"", "{}", "[1]", "<html>", "\x00\x01"} {
		if f, err := Detect(strings.NewReader(text)); !errors.Is(err, fault.Invalid) {
			t.Errorf("%q is taken for %q", text, f)
		}
	}
}

// What a handler or the source says passes unchanged, so that a store that is down is no fault of the report.
func TestErrorsOfOthersPass(t *testing.T) {
	down := errors.New("down")
	for _, f := range files {
		raw, err := os.ReadFile(filepath.Join("testdata", f.name))
		if err != nil {
			t.Fatal(err)
		}
		if err := Parse(context.Background(), f.format, of(raw), &notes{fail: down}); !errors.Is(err, down) || errors.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", f.name, err)
		}
		broken := func() (io.ReadCloser, error) {
			return io.NopCloser(io.MultiReader(bytes.NewReader(raw[:20]), failing{down})), nil
		}
		if err := Parse(context.Background(), f.format, broken, &notes{}); !errors.Is(err, down) {
			t.Errorf("%s from a broken source: %v", f.name, err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if err := Parse(ctx, f.format, of(raw), &notes{}); !errors.Is(err, context.Canceled) {
			t.Errorf("%s after the end: %v", f.name, err)
		}
	}
}

type failing struct{ error }

func (f failing) Read([]byte) (int, error) { return 0, f.error }

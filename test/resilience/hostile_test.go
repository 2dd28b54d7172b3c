package resilience

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode"

	"golang.org/x/net/html"
	"google.golang.org/protobuf/encoding/protojson"

	reporterv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/reporter/v1"
	"github.com/riskprofiler/riskprofiler/lab"
)

const (
	farmSize = 50
	// maxSlowdown is how much longer hostile targets may make an assessment than an honest service that says nothing.
	maxSlowdown = 1.5
	// maxMemory in bytes is what a process may have held at its worst.
	maxMemory = 512 << 20
	// attempts: the machine may be busy during one measurement; the best of each kind is compared.
	attempts = 3
	// Addresses of the lab, by their last byte: the service that says nothing, and the hostile ones.
	silentHost, firstHostile, lastHostile = 67, 100, 107
	hostilePorts                          = "2222,2323,2525,8080-8083,8443,9999"
)

// run is one assessment in a process of its own.
type run struct {
	report *reporterv1.ReportDocument
	raw    []byte
	took   time.Duration
	memory int64
}

// assessOnce assesses targets in a child process. An assessment of hostile targets may well be incomplete.
func assessOnce(t *testing.T, data, output string, targets []string) run {
	t.Helper()
	var stdout, stderr bytes.Buffer
	args := append([]string{"assess", "--allow-private", "--ports", hostilePorts, "--data", data, "--output", output}, targets...)
	c := exec.CommandContext(t.Context(), command(t), args...)
	c.Stdout, c.Stderr = &stdout, &stderr
	began := time.Now()
	err := c.Run()
	took := time.Since(began)
	if code := c.ProcessState.ExitCode(); code != 0 && code != 3 {
		t.Fatalf("assess: %v\n%s", err, &stderr)
	}
	usage, ok := c.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		t.Fatal("no resource usage")
	}
	r := run{raw: stdout.Bytes(), took: took, memory: usage.Maxrss << 10, report: &reporterv1.ReportDocument{}}
	if output == "json" {
		if err := protojson.Unmarshal(r.raw, r.report); err != nil {
			t.Fatalf("read report: %v\n%s", err, &stderr)
		}
	}
	if where := control(stderr.String()); where != "" {
		t.Errorf("the progress has control characters: %s", where)
	}
	return r
}

func address(network string, number int) string {
	return strings.TrimSuffix(network, "0/24") + fmt.Sprint(number)
}

// Hostile servers among the targets neither hold an assessment, nor fill its memory, nor lead it out of scope, nor speak
// through its reports.
func TestHostileTargets(t *testing.T) {
	const farmNetwork, labNetwork = "127.62.0.0/24", "127.63.0.0/24"
	farm, err := lab.StartFarm(t.Context(), farmSize, lab.Options{Network: netip.MustParsePrefix(farmNetwork)})
	if err != nil {
		t.Fatal(err)
	}
	defer farm.Close()
	l, err := lab.Start(t.Context(), lab.Options{Network: netip.MustParsePrefix(labNetwork), Hostile: true})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	clean := append(farm.Targets(), address(labNetwork, silentHost))
	hostile := clean
	for n := firstHostile; n <= lastHostile; n++ {
		hostile = append(hostile[:len(hostile):len(hostile)], address(labNetwork, n))
	}
	command(t) // building it is not measured

	t.Run("time and memory", func(t *testing.T) { compare(t, clean, hostile) })
	t.Run("reports", func(t *testing.T) { reports(t, hostile[len(clean):]) })
	if who := l.Trespasses(); len(who) > 0 {
		t.Errorf("connections to an address out of scope: %v", who)
	}
}

func compare(t *testing.T, clean, hostile []string) {
	best := func(old, now time.Duration) time.Duration {
		if old == 0 {
			return now
		}
		return min(old, now)
	}
	var without, with time.Duration
	for range attempts {
		a, b := assessOnce(t, t.TempDir(), "json", clean), assessOnce(t, t.TempDir(), "json", hostile)
		without, with = best(without, a.took), best(with, b.took)
		t.Logf("clean %v and %d MiB, hostile %v and %d MiB", a.took, a.memory>>20, b.took, b.memory>>20)
		if b.memory > maxMemory {
			t.Errorf("the process held %d MiB, want at most %d", b.memory>>20, maxMemory>>20)
		}
		if lost := uncovered(a, b); len(lost) > 0 {
			t.Errorf("beside hostile targets these were not covered as they are without them:\n%s", strings.Join(lost, "\n"))
		}
		if with.Seconds() <= maxSlowdown*without.Seconds() {
			return
		}
	}
	t.Errorf("hostile targets make the assessment take %v instead of %v, %.2f times as long, want at most %.1f", with, without,
		with.Seconds()/without.Seconds(), maxSlowdown)
}

// uncovered are the jobs of a that b did not do with the same outcome.
func uncovered(a, b run) []string {
	done := map[string]bool{}
	line := func(r run, i int) string {
		c := r.report.GetCoverage()[i]
		return fmt.Sprintf("%s %s:%d %s", c.GetScanType(), c.GetTarget().GetValue(), c.GetTarget().GetPort(), c.GetOutcome())
	}
	for i := range b.report.GetCoverage() {
		done[line(b, i)] = true
	}
	var out []string
	for i := range a.report.GetCoverage() {
		if !done[line(a, i)] {
			out = append(out, line(a, i))
		}
	}
	return out
}

// reports looks at every output of an assessment of the hostile targets.
func reports(t *testing.T, targets []string) {
	data := t.TempDir()
	page := filepath.Join(t.TempDir(), "report.html")
	table := assessOnce(t, data, "table", append([]string{"--report-file", page}, targets...))
	if where := control(string(table.raw)); where != "" {
		t.Errorf("the table has control characters: %s", where)
	}
	document, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if found := active(t, document); len(found) > 0 {
		t.Errorf("the HTML report has active content: %v", found)
	}
	if where := control(string(document)); where != "" {
		t.Errorf("the HTML report has control characters: %s", where)
	}
	rows := assessOnce(t, data, "csv", targets)
	if bad := formulas(t, rows.raw); len(bad) > 0 {
		t.Errorf("cells of the CSV are formulas: %q", bad)
	}
	doc := assessOnce(t, data, "json", targets)
	if where := control(string(doc.raw)); where != "" {
		t.Errorf("the JSON has raw control characters: %s", where)
	}
	for _, o := range doc.report.GetObservations() {
		if where := control(o.String()); where != "" {
			t.Errorf("an observation has control characters: %s", where)
		}
	}
	if !bytes.Contains(doc.raw, []byte("calc")) {
		t.Error("no hostile text reached the report: nothing was tested")
	}
}

// control is the place of the first character that could steer a terminal or turn the direction of text.
func control(text string) string {
	for i, r := range text {
		if r != '\n' && r != '\r' && (unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)) {
			return fmt.Sprintf("%U in %q", r, text[max(0, i-40):min(len(text), i+40)])
		}
	}
	return ""
}

// formulas are the cells that a spreadsheet would compute.
func formulas(t *testing.T, raw []byte) []string {
	t.Helper()
	rows, err := csv.NewReader(bytes.NewReader(raw)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) < 2 {
		t.Error("the CSV has no rows: nothing was tested")
	}
	var out []string
	for _, row := range rows {
		for _, cell := range row {
			if strings.IndexAny(strings.TrimLeft(cell, " \"\ufeff"), "=+-@\t\r|%") == 0 {
				out = append(out, cell)
			}
		}
	}
	return out
}

// active are elements and attributes of a page that do something by themselves.
func active(t *testing.T, page []byte) []string {
	t.Helper()
	root, err := html.Parse(bytes.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for n := range root.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		switch n.Data {
		case "script", "iframe", "object", "embed", "base", "img", "form":
			out = append(out, n.Data)
		}
		for _, a := range n.Attr {
			value := strings.ToLower(strings.TrimSpace(a.Val))
			if strings.HasPrefix(a.Key, "on") || strings.HasPrefix(value, "javascript:") || strings.HasPrefix(value, "data:") {
				out = append(out, n.Data+" "+a.Key+"="+a.Val)
			}
		}
	}
	return out
}

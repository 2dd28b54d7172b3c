package cloud

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/app"
	"github.com/riskprofiler/riskprofiler/test/aws/lambdalocal"
)

// coldStarts is how many starts of a binary are measured. The median is told.
const coldStarts = 20

// coldMemoryMiB is the memory that floors and functions are started with.
const coldMemoryMiB = 512

// floors are what nothing can be faster than.
var floors = []Function{{Name: "floor: bare handler", Package: "./test/aws/floor/bare"}, {Name: "floor: same SDKs", Package: "./test/aws/floor/sdks"}}

// BenchmarkColdStart measures for every function's binary the time from the start of its process to its first poll, beside the
// floors, and the processor time of a process that starts and ends, which a busy machine changes less, and prints the sizes of their zips. The functions take turns, so that what else the machine does falls on all.
func BenchmarkColdStart(b *testing.B) {
	dir, err := Binaries(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	if err := build(b.Context(), dir, floors[0].Package, floors[1].Package); err != nil {
		b.Fatal(err)
	}
	all := append(slices.Clone(floors), Functions()...)
	took, used := make([][]time.Duration, len(all)), make([][]time.Duration, len(all))
	for range b.N {
		clear(took)
		clear(used)
		for range coldStarts {
			for i, f := range all {
				cold, processor := coldStart(b, f.binary(dir))
				took[i], used[i] = append(took[i], cold), append(used[i], processor)
			}
		}
	}
	var table strings.Builder
	fmt.Fprintf(&table, "\n%-20s %10s %10s %10s %10s %10s %8s %9s\n", "function", "median", "p90", "x floor 2", "processor", "x floor 2", "binary", "zip")
	floor, floorUsed := median(took[1]), median(used[1])
	for i, f := range all {
		info, err := os.Stat(f.binary(dir))
		if err != nil {
			b.Fatal(err)
		}
		zipped, err := zipSize(f.binary(dir))
		if err != nil {
			b.Fatal(err)
		}
		m := median(took[i])
		fmt.Fprintf(&table, "%-20s %8.1fms %8.1fms %10.2f %8.1fms %10.2f %6.1fMB %7.1fMB\n", f.Name, ms(m), ms(took[i][len(took[i])*9/10]),
			float64(m)/float64(floor), ms(median(used[i])), float64(median(used[i]))/float64(floorUsed), float64(info.Size())/1e6, float64(zipped)/1e6)
		b.ReportMetric(ms(m), metric(f.Name))
	}
	b.ReportMetric(0, "ns/op")
	fmt.Print(table.String()) // b.Log cuts it off
}

func metric(name string) string {
	return strings.NewReplacer(":", "", " ", "-").Replace(name) + "-ms"
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// median sorts.
func median(d []time.Duration) time.Duration {
	slices.SortFunc(d, cmp.Compare[time.Duration])
	return (d[(len(d)-1)/2] + d[len(d)/2]) / 2
}

// coldStart starts a binary once, with the settings that it needs to start and endpoints where nothing answers: nothing may be
// called before the first poll.
func coldStart(tb testing.TB, binary string) (cold, processor time.Duration) {
	tb.Helper()
	log := &tail{}
	l := lambdalocal.New(lambdalocal.Options{Region: "eu-west-1"})
	f := lambdalocal.Function{Name: filepath.Base(binary), Binary: binary, Timeout: 10 * time.Second, Log: log, Env: Environment(Place{
		Backend: "aws://eu-west-1/rp-cold?endpoint=http://127.0.0.1:1&account=123456789012", Prefix: "rp-cold",
		Settings: app.CollectorSettings(coldMemoryMiB),
	})}
	if err := l.Add(f); err != nil {
		tb.Fatal(err)
	}
	cold, err := l.Start(f.Name)
	if err != nil {
		tb.Fatalf("%s does not start: %v\n%s", f.Name, err, log)
	}
	if err := l.Close(); err != nil {
		tb.Error(err)
	}
	return cold, l.ProcessorTime(f.Name)
}

package resilience

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/riskprofiler/riskprofiler/lab"
)

const (
	// maxIdle in KiB is what a platform that waits may hold of the machine's memory: everything that is mapped, the binary's pages too.
	maxIdle = 60 << 10
	// maxAfterWork in KiB is the same after an assessment: checks and fingerprints are compiled now, and stay.
	maxAfterWork = 84 << 10
	// looksAtIdle and pauseAtIdle: it must stay so over this many ticks of the platform.
	looksAtIdle, pauseAtIdle = 10, time.Second
)

// TestIdleIsSmall: a platform that waits gives back what its start needed, and what an assessment needed.
func TestIdleIsSmall(t *testing.T) {
	l, err := lab.Start(t.Context(), lab.Options{Network: netip.MustParsePrefix("127.79.0.0/24")})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p := newPlatform(t, l.Resolver())
	p.start()
	p.idle("after the start", maxIdle)
	p.authorise(crashTargets)
	p.assess("one")
	p.idle("after an assessment", maxAfterWork)
}

// idle fails unless the process holds at most limit KiB before the test's patience ends, and goes on so.
func (p *platform) idle(when string, limit int) {
	p.t.Helper()
	var held memory
	for deadline := time.Now().Add(patience); ; time.Sleep(pauseAtIdle) {
		if held = p.memory(); held.resident <= limit {
			break
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("%s the platform holds %v, want %d MiB", when, held, limit>>10)
		}
	}
	most := held
	for range looksAtIdle {
		time.Sleep(pauseAtIdle) // the time that is looked at, not a wait for something
		if held = p.memory(); held.resident > most.resident {
			most = held
		}
	}
	if most.resident > limit {
		p.t.Errorf("%s the platform does not stay small: %v, want %d MiB", when, most, limit>>10)
	}
	p.t.Logf("%s: %v", when, most)
}

// memory is what a process holds, in KiB: what the system cannot take from it, and pages of files that it can.
type memory struct{ resident, anonymous, files int }

func (m memory) String() string {
	return fmt.Sprintf("%.1f MiB (%.1f of its own, %.1f of files)", float64(m.resident)/1024, float64(m.anonymous)/1024, float64(m.files)/1024)
}

// memory reads /proc/PID/status, proc_pid_status(5).
func (p *platform) memory() memory {
	p.t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.process.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	var m memory
	for line := range strings.Lines(string(raw)) {
		for field, value := range map[string]*int{"VmRSS:": &m.resident, "RssAnon:": &m.anonymous, "RssFile:": &m.files} {
			if rest, ok := strings.CutPrefix(line, field); ok {
				if _, err := fmt.Sscanf(rest, "%d kB", value); err != nil {
					p.t.Fatalf("%s: %v", line, err)
				}
			}
		}
	}
	if m.resident == 0 {
		p.t.Fatalf("the system does not say what process %d holds", p.process.Process.Pid)
	}
	return m
}

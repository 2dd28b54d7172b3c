package ingest

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	"github.com/riskprofiler/riskprofiler/platform/fault"
)

func TestReadDoNotScan(t *testing.T) {
	got, err := readDoNotScan(strings.NewReader("# hospitals\nHospital.Example.COM.\n\n 198.51.100.9/24 # asked on 2026-01-02\n2001:db8::/32\r\n0.0.0.0/0\n192.0.2.1\naws:123456789012\n"))
	if want := []string{"hospital.example.com", "198.51.100.0/24", "2001:db8::/32", "0.0.0.0/0", "192.0.2.1", "aws:123456789012"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%q %v", got, err)
	}
	for text, says := range map[string]string{
		"ok.example\nnot ok\n": "line 2", "host.example:443": "line 1", "https://a.example/": "line 1", "192.0.2.0/33": "line 1", "::ffff:192.0.2.0/120": "line 1",
		strings.Repeat("a.example\n", maxDoNotScanLines+1): "more than", strings.Repeat("#", maxDoNotScanBytes+1): "longer than", strings.Repeat("x", 70000): "too long",
	} {
		if _, err := readDoNotScan(strings.NewReader(text)); !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), says) {
			t.Errorf("%.40q: %v", text, err)
		}
	}
}

func FuzzReadDoNotScan(f *testing.F) {
	f.Add("a.example\n192.0.2.0/24 # x\n")
	f.Add("\xff\n#\n::/0")
	f.Fuzz(func(t *testing.T, text string) {
		list, err := readDoNotScan(strings.NewReader(text))
		if err != nil {
			if !errors.Is(err, fault.Invalid) {
				t.Fatal(err)
			}
			return
		}
		if len(list) > maxDoNotScanLines {
			t.Fatal("too many")
		}
		for _, v := range list { // an entry covers itself
			if len(newMatcher(list).over(v)) == 0 {
				t.Fatalf("%q is not covered by itself", v)
			}
		}
	})
}

// The file is read again when it changes; one that cannot be read stops the start, and later changes nothing.
func TestDoNotScanFileIsFollowed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "list")
	if _, err := New(Deps{DoNotScan: path, Logger: slog.New(slog.DiscardHandler)}); !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "RISKPROFILER_DO_NOT_SCAN") {
		t.Errorf("a file that is not there: %v", err)
	}
	write := func(text string, at time.Time) {
		t.Helper()
		if err := errors.Join(os.WriteFile(path, []byte(text), 0o600), os.Chtimes(path, at, at)); err != nil {
			t.Fatal(err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		write("a.example", time.Now())
		s := newService(t, func(d *Deps) { d.DoNotScan = path })
		check := func(name string, want ...string) {
			t.Helper()
			if got, err := s.doNotScan.values(); err != nil || !slices.Equal(got, want) {
				t.Errorf("%s: %q %v", name, got, err)
			}
		}
		check("first", "a.example")
		write("b.example", time.Now().Add(time.Minute))
		check("too soon", "a.example")
		time.Sleep(doNotScanEvery)
		check("changed", "b.example")
		write("not a name", time.Now().Add(2*time.Minute))
		time.Sleep(doNotScanEvery)
		check("broken", "b.example")
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		time.Sleep(doNotScanEvery)
		check("gone", "b.example")
	})
}

func TestDoNotScanEntries(t *testing.T) {
	s := newService(t, func(d *Deps) { d.CloudRole = (&cloud{}).prove })
	proveAccount(t, s, "acme", account)
	operator := as(t.Context(), "operators")
	create := func(value string) (*ingestv1.DoNotScanEntry, error) {
		return s.CreateDoNotScanEntry(operator, &ingestv1.CreateDoNotScanEntryRequest{Entry: &ingestv1.DoNotScanEntry{Value: value, Reason: "asked by phone"}})
	}
	entry, err := create("AWS:123456789012")
	if err != nil {
		t.Fatal(err)
	}
	if again, err := create(account); err != nil || again.GetName() != entry.GetName() {
		t.Errorf("again: %v %v", again, err)
	}
	if ok, why := permitted(t, s, "acme", true); ok || !strings.Contains(why, "do-not-scan") || strings.Contains(why, "phone") {
		t.Errorf("%v %q", ok, why)
	}
	if _, err := create("10.0.0.0/8"); err != nil {
		t.Errorf("a range of any size: %v", err)
	}
	if _, err := create("a b"); !errors.Is(err, fault.Invalid) {
		t.Errorf("nonsense: %v", err)
	}
	list, err := s.ListDoNotScanEntries(operator, &ingestv1.ListDoNotScanEntriesRequest{})
	if err != nil || len(list.GetEntries()) != 2 {
		t.Errorf("%v %v", list, err)
	}
	for _, want := range []error{nil, fault.NotFound} {
		if _, err := s.DeleteDoNotScanEntry(operator, &ingestv1.DeleteDoNotScanEntryRequest{Name: entry.GetName()}); !errors.Is(err, want) {
			t.Errorf("delete: %v, want %v", err, want)
		}
	}
	if ok, why := permitted(t, s, "acme", true); !ok {
		t.Error(why)
	}
}

package footprint

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"unsafe"
)

const smapsOfTest = `00400000-02180000 r-xp 00000000 fe:00 1234                           /opt/risk profiler/bin
Size:              30208 kB
Rss:               25856 kB
Anonymous:             0 kB
VmFlags: rd ex mr mw me
02180000-04348000 r--p 01d80000 fe:00 1234                           /opt/risk profiler/bin
Anonymous:             4 kB
04348000-044c0000 rw-p 03f48000 fe:00 1234                           /opt/risk profiler/bin
Anonymous:             0 kB
05000000-05001000 r--s 00000000 fe:00 1234                           /opt/risk profiler/bin
Anonymous:             0 kB
06000000-06001000 r--p 00000000 fe:00 99                             /usr/lib/other
Anonymous:             0 kB
07000000-07001000 r--p 00000000 fe:00 1234                           /opt/risk profiler/bin
Anonymous:             0 kB
a49a7400000-a49a9800000 rw-p 00000000 00:00 0 
Anonymous:         29448 kB
7ffc0000-7ffd0000 r-xp 00000000 00:00 0                              [vdso]
Anonymous:             0 kB
`

func TestUnchanged(t *testing.T) {
	want := []mapping{{0x400000, 0x2180000}, {0x7000000, 0x7001000}}
	if got := unchanged(strings.NewReader(smapsOfTest), "/opt/risk profiler/bin"); !slices.Equal(got, want) {
		t.Errorf("got %x, want %x", got, want)
	}
	for _, bad := range []string{"", "\n\n", "zz-1 r-xp 0 0 0 /x\nAnonymous: 0 kB\n", "2-1 r-xp 0 0 0 /x\nAnonymous: 0 kB\n", "Anonymous: 0 kB\n"} {
		if got := unchanged(strings.NewReader(bad), "/x"); len(got) != 0 {
			t.Errorf("%q: got %x, want nothing", bad, got)
		}
	}
}

// TestUnchangedOfARealFile: of a file that is mapped three times, the mapping that was written to and the one that may be written
// to are left alone.
func TestUnchangedOfARealFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mapped")
	size := os.Getpagesize()
	if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	place := func(protection int) []byte {
		m, err := syscall.Mmap(int(f.Fd()), 0, size, protection, syscall.MAP_PRIVATE)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = syscall.Munmap(m) })
		return m
	}
	clean, relocated := place(syscall.PROT_READ), place(syscall.PROT_READ|syscall.PROT_WRITE)
	place(syscall.PROT_READ | syscall.PROT_WRITE)
	relocated[0] = 1 // as the loader does, before it makes them read-only
	if err := syscall.Mprotect(relocated, syscall.PROT_READ); err != nil {
		t.Fatal(err)
	}
	smaps, err := os.Open("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = smaps.Close() }()
	start := uintptr(unsafe.Pointer(&clean[0]))
	if got, want := unchanged(smaps, path), []mapping{{start, start + uintptr(size)}}; !slices.Equal(got, want) {
		t.Errorf("got %x, want %x", got, want)
	}
	runtime.KeepAlive(relocated)
}

// TestGiveBack: the pages of this test's own binary are let go of, and everything goes on.
func TestGiveBack(t *testing.T) {
	before := resident(t)
	giveBack()
	after := resident(t)
	if after >= before {
		t.Errorf("%d KiB of the binary are mapped after memory was given back, %d before", after, before)
	}
}

// resident is how many KiB of the binary's read-only pages are mapped, as /proc/self/smaps says.
func resident(t *testing.T) int {
	t.Helper()
	executable, err := os.Readlink("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	return residentOf(string(raw), executable)
}

func residentOf(smaps, file string) int {
	total, ours := 0, false
	for line := range strings.Lines(smaps) {
		line = strings.TrimSpace(line)
		if m, path, ok := header(line); ok {
			ours = m != nil && path == file
		}
		if size, ok := strings.CutPrefix(line, "Rss:"); ok && ours {
			n := 0
			for _, r := range strings.Fields(size)[0] {
				n = n*10 + int(r-'0')
			}
			total += n
		}
	}
	return total
}

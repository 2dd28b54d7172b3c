package feeds

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// pack makes a zip file of entries; mode is that of all.
func pack(t testing.TB, method uint16, mode os.FileMode, entries ...[2]string) []byte {
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	packed := map[string][]byte{} // equal contents are packed once: some of them are large
	for _, e := range entries {
		h := &zip.FileHeader{Name: e[0], Method: method, CRC32: crc32.ChecksumIEEE([]byte(e[1])), UncompressedSize64: uint64(len(e[1]))}
		if mode != 0 {
			h.SetMode(mode)
		}
		body, known := packed[e[1]]
		if !known {
			body = compress(t, method, e[1])
			packed[e[1]] = body
		}
		h.CompressedSize64 = uint64(len(body))
		f, err := w.CreateRaw(h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write(body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// compress is a content as an entry of a zip file has it.
func compress(t testing.TB, method uint16, content string) []byte {
	if method == zip.Store {
		return []byte(content)
	}
	var out bytes.Buffer
	w, err := flate.NewWriter(&out, flate.DefaultCompression)
	if err == nil {
		_, err = io.WriteString(w, content)
	}
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// readZip reads an archive whole.
func readZip(raw []byte, dir string) (names []string, skipped []string, err error) {
	a, err := OpenArchive(bytes.NewReader(raw), int64(len(raw)), dir)
	if err != nil {
		return nil, nil, err
	}
	_, err = a.Each(0, func(name string, _ []byte) error {
		names = append(names, name)
		return nil
	}, func(record, why string) { skipped = append(skipped, record+": "+why) })
	return names, skipped, errors.Join(err, a.Close())
}

func TestArchive(t *testing.T) {
	entries := [][2]string{{"cves/2026/1xxx/CVE-2026-1000.json", "{}"}, {"cves/2026/1xxx/CVE-2026-1001.json", "{}"}, {"README.md", "x"}}
	inner := pack(t, zip.Deflate, 0, entries...)
	for name, raw := range map[string][]byte{
		"plain": inner, "within another, stored": pack(t, zip.Store, 0, [2]string{"cves.zip", string(inner)}),
		"within another, packed": pack(t, zip.Deflate, 0, [2]string{"cves.zip", string(inner)}),
	} {
		names, _, err := readZip(raw, t.TempDir())
		if err != nil || len(names) != 2 {
			t.Errorf("%s: %q, %v", name, names, err)
		}
	}
}

// TestArchiveGoesOn: a reading that stops goes on at the entry at which it stopped.
func TestArchiveGoesOn(t *testing.T) {
	var entries [][2]string
	for i := range 10 {
		entries = append(entries, [2]string{fmt.Sprintf("%d.json", i), "{}"})
	}
	raw := pack(t, zip.Deflate, 0, entries...)
	stop := errors.New("stop")
	var seen []string
	for at := 0; at < 10; {
		a, err := OpenArchive(bytes.NewReader(raw), int64(len(raw)), t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		at, err = a.Each(at, func(name string, _ []byte) error {
			if n++; n > 3 {
				return stop
			}
			seen = append(seen, name)
			return nil
		}, nil)
		if err != nil && !errors.Is(err, stop) {
			t.Fatal(err)
		}
	}
	if strings.Join(seen, " ") != "0.json 1.json 2.json 3.json 4.json 5.json 6.json 7.json 8.json 9.json" {
		t.Errorf("seen %q", seen)
	}
}

// overlapping makes all entries of the central directory point to the same data, as https://www.bamsoftware.com/hacks/zipbomb/ does.
func overlapping(t *testing.T) []byte {
	body := strings.Repeat("0", 1<<20)
	raw := pack(t, zip.Deflate, 0, [2]string{"a.json", body}, [2]string{"b.json", body}, [2]string{"c.json", body})
	signature := []byte("PK\x01\x02")
	for at := 0; ; {
		i := bytes.Index(raw[at:], signature)
		if i < 0 {
			return raw
		}
		at += i
		binary.LittleEndian.PutUint32(raw[at+42:], 0) // offset of the local header
		at += 4
	}
}

// TestBombs: each is refused in less than a second and 64 MiB, with one line that says why.
func TestBombs(t *testing.T) {
	endless := 64 << 20
	if testing.Short() {
		endless = 16 << 20 // twice the largest entry that is taken: the race detector packs slowly
	}
	zeros := strings.Repeat("\x00", endless)
	spaces := strings.Repeat(" ", 7<<20)
	var many [][2]string
	for i := range 30 {
		many = append(many, [2]string{fmt.Sprintf("%d.json", i), spaces})
	}
	deep := strings.Repeat(`{"vulnerabilities":[`, 1) + strings.Repeat("[", 1_000_000)
	gz := func(s string) []byte {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		_, _ = io.WriteString(w, s) // a Buffer takes everything
		_ = w.Close()               // a Buffer takes everything
		return b.Bytes()
	}
	expanding := gz("#model_version:v1,score_date:2026-11-22T00:00:00+0000\ncve,epss,percentile\n" + zeros)
	readEPSS := func(raw []byte) error {
		_, err := ReadEPSS(bytes.NewReader(raw), func(string, *modelv1.Epss) error { return nil }, func(string, string) {})
		return err
	}
	dir := t.TempDir()
	asZip := func(raw []byte) func() error {
		return func() error {
			_, skipped, err := readZip(raw, dir)
			if err == nil && len(skipped) > 0 {
				err = refuse("%s", skipped[0])
			}
			return err
		}
	}
	quiet := Out{Skip: func(string, string) {}}
	row := "#model_version:v1,score_date:2026-11-22T00:00:00+0000\ncve,epss,percentile\n"
	for _, c := range []struct {
		name, want string
		run        func() error
	}{
		{"zip that expands 1:1000", "8 MiB", asZip(pack(t, zip.Deflate, 0, [2]string{"a.json", zeros}))},
		{"zip of many that expand", "hostile", asZip(pack(t, zip.Deflate, 0, many...))},
		{"zip with overlapping entries", "overlap", asZip(overlapping(t))},
		{"zip that climbs out", "climbs out", asZip(pack(t, zip.Deflate, 0, [2]string{"../../etc/passwd.json", "{}"}))},
		{"zip with an absolute name", "climbs out", asZip(pack(t, zip.Deflate, 0, [2]string{"/etc/passwd.json", "{}"}))},
		{"zip with backslashes", "climbs out", asZip(pack(t, zip.Deflate, 0, [2]string{`..\x.json`, "{}"}))},
		{"zip with a link", "link", asZip(pack(t, zip.Deflate, os.ModeSymlink|0o777, [2]string{"a.json", "/etc/passwd"}))},
		{"no zip", "no zip archive", asZip([]byte("hello"))},
		{"cut zip", "no zip archive", asZip(pack(t, zip.Deflate, 0, many[:3]...)[:5000])},
		{"deep list", "deeper than 64", func() error { _, err := ReadNVD(strings.NewReader(deep), quiet); return err }},
		{"endless value", "more than 8388608 bytes", func() error {
			_, err := ReadNVD(io.MultiReader(strings.NewReader(`{"vulnerabilities":["`), strings.NewReader(zeros)), quiet)
			return err
		}},
		{"endless field", "more than 65536 bytes", func() error {
			_, err := ReadNVD(io.MultiReader(strings.NewReader(`{"a":"`), strings.NewReader(zeros)), quiet)
			return err
		}},
		{"endless number", "no JSON", func() error {
			_, err := ReadNVD(strings.NewReader(`{"a":`+strings.Repeat("1", 1<<20)), quiet)
			return err
		}},
		{"KEV with a wrong count", "incomplete", func() error {
			_, err := ReadKEV(strings.NewReader(`{"catalogVersion":"1","dateReleased":"2026-11-20","count":2,"vulnerabilities":[]}`), quiet.Skip)
			return err
		}},
		{"KEV cut", "ends too early", func() error { _, err := ReadKEV(bytes.NewReader(read(t, "kev.json")[:700]), quiet.Skip); return err }},
		{"KEV that is HTML", "no JSON", func() error { _, err := ReadKEV(strings.NewReader("<html>"), quiet.Skip); return err }},
		{"EPSS that expands", "a line has more", func() error { return readEPSS(expanding) }},
		{"EPSS cut", "cannot be read", func() error {
			raw := gz(row + strings.Repeat("CVE-2026-1000,0.1,0.2\n", 99))
			return readEPSS(raw[:len(raw)-9])
		}},
		{"EPSS without head", "does not name", func() error { return readEPSS([]byte("cve,epss,percentile\nCVE-2026-1000,0.1,0.2\n")) }},
		{"EPSS with other columns", "columns", func() error { return readEPSS([]byte(strings.Replace(row, "epss,", "", 1))) }},
		{"EPSS without rows", "no rows", func() error { return readEPSS([]byte(row)) }},
		{"EPSS empty", "empty", func() error { return readEPSS(nil) }},
		{"OSV list that is none", "no list of times", func() error {
			return ReadModified(strings.NewReader("<html>\n"), func(string, time.Time) error { return nil })
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			err := c.run()
			runtime.ReadMemStats(&after)
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") || fault.CodeOf(err) != fault.Invalid {
				t.Errorf("%v (%s), want one line with %q", err, fault.CodeOf(err), c.want)
			}
			if grown := after.TotalAlloc - before.TotalAlloc; grown > 64<<20 {
				t.Errorf("it took %d MiB", grown>>20)
			}
		})
	}
}

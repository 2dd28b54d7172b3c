package feeds

import (
	"archive/zip"
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// seeds adds the files of testdata that begin with a prefix, and beginnings of them.
func seeds(f *testing.F, prefix string) {
	files, err := filepath.Glob("testdata/" + prefix + "*")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range files {
		raw, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		if !strings.HasSuffix(path, ".golden") {
			f.Add(raw)
			f.Add(raw[:len(raw)/2])
		}
	}
}

// checked is an Out that holds every record to the limits.
func checked(t *testing.T) Out {
	return Out{Skip: func(record, why string) {
		if strings.ContainsAny(record+why, "\n\x00") || !utf8.ValidString(record+why) || len(why) > 1000 {
			t.Fatalf("skip %q: %q", record, why)
		}
	}, Record: func(r *ingestv1.IntelRecord) error {
		if _, err := proto.Marshal(r); err != nil {
			t.Fatalf("a record that cannot be stored: %v", err)
		}
		if !ValidID(r.GetId()) || !ValidID(r.GetAdvisory()) || r.GetModified() == nil {
			t.Fatalf("record %q about %q of %v", r.GetId(), r.GetAdvisory(), r.GetModified())
		}
		if len([]rune(r.GetTitle())) > maxTitle || len(r.GetReferences()) > maxRefs || len(r.GetAffected()) > maxAffected {
			t.Fatal("a record is beyond the limits")
		}
		for _, a := range r.GetAffected() {
			if a.GetProduct() == "" || strings.ContainsAny(a.GetProduct(), "\x00\n") {
				t.Fatalf("product %q", a.GetProduct())
			}
			for _, v := range append([]string{a.GetRange().GetIntroduced(), a.GetRange().GetFixed(), a.GetRange().GetLastAffected()}, a.GetRange().GetVersions()...) {
				if len(v) > maxVersion+8 || strings.ContainsAny(v, " \n\x00<>") {
					t.Fatalf("version %q", v)
				}
			}
		}
		return nil
	}}
}

// refused: an error about foreign bytes says that they are wrong, in one line.
func refused(t *testing.T, err error) {
	if err != nil && (fault.CodeOf(err) != fault.Invalid || strings.Contains(err.Error(), "\n")) {
		t.Fatalf("error %v (%s)", err, fault.CodeOf(err))
	}
}

func FuzzCVE(f *testing.F) {
	seeds(f, "cve")
	f.Fuzz(func(t *testing.T, raw []byte) { refused(t, ReadCVE(raw, "x.json", checked(t))) })
}

func FuzzOSV(f *testing.F) {
	seeds(f, "osv")
	f.Fuzz(func(t *testing.T, raw []byte) { refused(t, ReadOSV(raw, "x.json", checked(t))) })
}

func FuzzNVD(f *testing.F) {
	seeds(f, "nvd")
	f.Fuzz(func(t *testing.T, raw []byte) {
		_, err := ReadNVD(bytes.NewReader(raw), checked(t))
		refused(t, err)
	})
}

func FuzzKEV(f *testing.F) {
	seeds(f, "kev")
	f.Fuzz(func(t *testing.T, raw []byte) {
		k, err := ReadKEV(bytes.NewReader(raw), checked(t).Skip)
		refused(t, err)
		if err == nil && (k.Version == "" || k.Released == nil || len(k.Entries) > maxKEV) {
			t.Fatalf("catalogue %+v", k)
		}
	})
}

func FuzzEPSS(f *testing.F) {
	seeds(f, "epss")
	f.Fuzz(func(t *testing.T, raw []byte) {
		_, err := ReadEPSS(bytes.NewReader(raw), func(id string, e *modelv1.Epss) error {
			if !ValidCVE(id) || !(e.GetProbability() >= 0 && e.GetProbability() <= 1) || !(e.GetPercentile() >= 0 && e.GetPercentile() <= 1) {
				t.Fatalf("row %q %v", id, e)
			}
			return nil
		}, checked(t).Skip)
		refused(t, err)
	})
}

func FuzzModified(f *testing.F) {
	seeds(f, "modified")
	f.Fuzz(func(t *testing.T, raw []byte) {
		refused(t, ReadModified(bytes.NewReader(raw), func(id string, _ time.Time) error {
			if !ValidID(id) {
				t.Fatalf("id %q", id)
			}
			return nil
		}))
	})
}

func FuzzArchive(f *testing.F) {
	inner := pack(f, zip.Deflate, 0, [2]string{"a.json", "{}"}, [2]string{"b/c.json", "{}"})
	f.Add(inner)
	f.Add(pack(f, zip.Store, 0, [2]string{"cves.zip", string(inner)}))
	f.Add(pack(f, zip.Deflate, 0, [2]string{"cves.zip", string(inner)}))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, raw []byte) {
		a, err := OpenArchive(bytes.NewReader(raw), int64(len(raw)), dir)
		if err != nil {
			refused(t, err)
			return
		}
		end, err := a.Each(0, func(_ string, body []byte) error {
			if len(body) > MaxRecordBytes {
				t.Fatal("an entry is beyond the limit")
			}
			return nil
		}, checked(t).Skip)
		refused(t, errors.Join(err, a.Close()))
		if end > a.Len() {
			t.Fatalf("entry %d of %d", end, a.Len())
		}
	})
}

func FuzzVersionText(f *testing.F) {
	for _, s := range []string{">= 1.0, < 2", "1.0 to 2.0", "5.x", "before 3", "all"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		spans, _ := freeText(s, "generic")
		for _, one := range spans {
			for _, v := range append([]string{one.introduced, one.fixed, one.last}, one.versions...) {
				if strings.ContainsAny(v, " <>\n") {
					t.Fatalf("%q is read as %+v", s, one)
				}
			}
		}
	})
}

package feeds

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

var update = flag.Bool("update", false, "write the golden files anew")

// log gathers what a reader gives, as text.
type log struct {
	bytes.Buffer

	records []*ingestv1.IntelRecord
	skipped []string
}

func (l *log) out() Out {
	return Out{Record: func(r *ingestv1.IntelRecord) error {
		l.records = append(l.records, r)
		raw, err := protojson.Marshal(r)
		if err != nil {
			return err
		}
		var tidy bytes.Buffer // protojson varies its spaces on purpose
		if err := json.Indent(&tidy, raw, "", "  "); err != nil {
			return err
		}
		l.Write(tidy.Bytes())
		l.WriteByte('\n')
		return nil
	}, Skip: func(record, why string) {
		l.skipped = append(l.skipped, record+": "+why)
		fmt.Fprintf(l, "skipped %s: %s\n", record, why)
	}}
}

func read(t testing.TB, name string) []byte {
	raw, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// TestGolden reads small files in the documented formats and compares all that is understood of them, and all that is not.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		name := filepath.Base(path)
		if strings.HasSuffix(name, ".golden") || name == "fuzz" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			l := &log{}
			if err := readAny(name, read(t, name), l); err != nil {
				fmt.Fprintf(l, "error: %v\n", err)
			}
			golden := path + ".golden"
			if *update {
				if err := os.WriteFile(golden, l.Bytes(), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(l.Bytes(), want) {
				t.Errorf("%s is read as\n%s\nwant\n%s", name, l.Bytes(), want)
			}
		})
	}
}

// readAny reads a file by its name.
func readAny(name string, raw []byte, l *log) error {
	out := l.out()
	switch family, _, _ := strings.Cut(strings.TrimSuffix(strings.TrimSuffix(name, ".json"), ".csv"), "-"); family {
	case "cve":
		return ReadCVE(raw, name, out)
	case "osv":
		return ReadOSV(raw, name, out)
	case "nvd":
		page, err := ReadNVD(bytes.NewReader(raw), out)
		fmt.Fprintf(l, "%+v\n", page)
		return err
	case "kev":
		k, err := ReadKEV(bytes.NewReader(raw), out.Skip)
		if err == nil {
			fmt.Fprintf(l, "version %s of %s\n", k.Version, k.Released.AsTime())
			for _, id := range []string{"CVE-2021-20009", "CVE-2026-20001"} {
				fmt.Fprintf(l, "%s %s due %s ransomware %t: %s\n", id, k.Entries[id].GetName(), k.Entries[id].GetDueDate().AsTime().Format("2006-01-02"),
					k.Entries[id].GetRansomware(), k.Entries[id].GetRequiredAction())
			}
		}
		return err
	case "epss":
		head, err := ReadEPSS(bytes.NewReader(raw), func(id string, e *modelv1.Epss) error {
			fmt.Fprintf(l, "%s %v %v\n", id, e.GetProbability(), e.GetPercentile())
			return nil
		}, out.Skip)
		fmt.Fprintf(l, "%s %s %d\n", head.Model, head.Date.AsTime(), head.Rows)
		return err
	}
	return ReadModified(bytes.NewReader(raw), func(id string, modified time.Time) error {
		fmt.Fprintf(l, "%s %s\n", id, modified)
		return nil
	})
}

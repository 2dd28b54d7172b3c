package archive

import (
	"archive/zip"
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/riskprofiler/riskprofiler/deploy/plan"
)

// Equal contents are equal archives, and the one file in them can be executed.
func TestZip(t *testing.T) {
	first, err := Zip(Bootstrap, []byte("program"))
	if err != nil {
		t.Fatal(err)
	}
	second, err := Zip(Bootstrap, []byte("program"))
	if err != nil || !bytes.Equal(first, second) {
		t.Errorf("two archives of one content differ (%v)", err)
	}
	r, err := zip.NewReader(bytes.NewReader(first), int64(len(first)))
	if err != nil || len(r.File) != 1 || r.File[0].Name != Bootstrap || r.File[0].Mode().Perm() != 0o755 {
		t.Fatalf("the archive is wrong: %v %v", r.File, err)
	}
	f, err := r.File[0].Open()
	if err != nil {
		t.Fatal(err)
	}
	if content, err := io.ReadAll(f); err != nil || string(content) != "program" {
		t.Errorf("content is %q, %v", content, err)
	}
}

// The list of authorities can be read by the library that scanners read it with, and has no doubles.
func TestRoots(t *testing.T) {
	rest, seen := RootsPEM(), map[string]bool{}
	if !x509.NewCertPool().AppendCertsFromPEM(rest) {
		t.Error("no authority can be read")
	}
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if seen[string(block.Bytes)] {
			t.Error("an authority is there twice")
		}
		seen[string(block.Bytes)] = true
	}
	if len(seen) < 80 || len(bytes.TrimSpace(rest)) > 0 {
		t.Errorf("%d authorities, and %d bytes that are none", len(seen), len(rest))
	}
}

// A missing archive is named with what to do.
func TestComplete(t *testing.T) {
	services, err := plan.Services()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := Placeholders(services)
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := Complete(dir, "arm64", services); err != nil {
		t.Error(err)
	}
	if err := os.Remove(filepath.Join(dir, "arm64", "ingest.zip")); err != nil {
		t.Fatal(err)
	}
	if err := Complete(dir, "arm64", services); err == nil || !strings.Contains(err.Error(), "ingest.zip") || !strings.Contains(err.Error(), "make lambda") {
		t.Errorf("the error is %v", err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "amd64", "reporter")); err != nil {
		t.Fatal(err)
	}
	if _, err := Pack(dir, services); err == nil || !strings.Contains(err.Error(), "reporter for amd64") {
		t.Errorf("the error is %v", err)
	}
}

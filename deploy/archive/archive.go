// Package archive makes the zip files that functions and layers are deployed from. Equal contents give equal bytes, so that an
// unchanged function is not deployed again.
//
// It refuses to go on without a file: a function that was forgotten is found before anything is deployed.
package archive

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/crypto/x509roots/fallback/bundle"

	"github.com/riskprofiler/riskprofiler/deploy/plan"
)

// Bootstrap is what Lambda starts in an archive of the runtime provided.al2023:
// https://docs.aws.amazon.com/lambda/latest/dg/golang-package.html
const Bootstrap = "bootstrap"

// Roots is the file of certificate authorities in their layer, which Lambda unpacks into /opt.
const Roots = "roots.pem"

// Architectures that functions are built for.
var Architectures = []string{"arm64", "amd64"}

// Zip is an archive of one file that may be executed. Time and owner are fixed.
func Zip(name string, content []byte) ([]byte, error) {
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	w.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) { return flate.NewWriter(w, flate.BestCompression) })
	h := &zip.FileHeader{Name: name, Method: zip.Deflate, Modified: time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)}
	h.SetMode(0o755)
	f, err := w.CreateHeader(h)
	if err == nil {
		_, err = f.Write(content)
	}
	if err == nil {
		err = w.Close()
	}
	return out.Bytes(), err
}

// Pack writes dir/<arch>/<binary>.zip from dir/<arch>/<binary>/bootstrap for every function of services, and dir/roots.zip. It
// returns the sizes of the archives by name.
func Pack(dir string, services []plan.Service) (map[string]int, error) {
	sizes := map[string]int{}
	write := func(path, name string, content []byte) error {
		data, err := Zip(name, content)
		if err != nil {
			return err
		}
		sizes[path] = len(data)
		return os.WriteFile(filepath.Join(dir, path), data, 0o600) //nolint:gosec // G703: the directory is the caller's
	}
	for _, arch := range Architectures {
		for _, binary := range Binaries(services) {
			content, err := os.ReadFile(filepath.Join(dir, arch, binary, Bootstrap))
			if err != nil {
				return nil, fmt.Errorf("pack %s for %s: %w", binary, arch, err)
			}
			if err := write(filepath.Join(arch, binary+".zip"), Bootstrap, content); err != nil {
				return nil, err
			}
		}
	}
	return sizes, write("roots.zip", Roots, RootsPEM())
}

// Binaries are the commands of all functions, each once, sorted.
func Binaries(services []plan.Service) []string {
	var out []string
	for _, s := range services {
		for _, f := range s.Functions {
			out = append(out, f.Binary)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// RootsPEM are the certificate authorities of Mozilla's list, as the Go project publishes it. Those that count for some
// certificates only are left out: a file in PEM cannot say which.
func RootsPEM() []byte {
	var out bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint != nil {
			continue
		}
		if _, err := x509.ParseCertificate(root.Certificate); err != nil {
			continue
		}
		_ = pem.Encode(&out, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}) // a buffer takes everything
	}
	return out.Bytes()
}

// Complete says which archive is missing in dir, and how to make it.
func Complete(dir, arch string, services []plan.Service) error {
	files := []string{"roots.zip"}
	for _, binary := range Binaries(services) {
		files = append(files, filepath.Join(arch, binary+".zip"))
	}
	for _, file := range files {
		if _, err := os.Stat(filepath.Join(dir, file)); err != nil {
			return fmt.Errorf("find %s in %s: it is not there; run `make lambda` first, or name the directory with -c assets=", file, dir)
		}
	}
	return nil
}

// Placeholders makes a directory of archives that hold nothing to run, for checks of the templates.
func Placeholders(services []plan.Service) (string, error) {
	dir, err := os.MkdirTemp("", "riskprofiler-placeholders-")
	if err != nil {
		return "", err
	}
	for _, arch := range Architectures {
		for _, binary := range Binaries(services) {
			folder := filepath.Join(dir, arch, binary)
			if err := os.MkdirAll(folder, 0o700); err != nil {
				return "", err
			}
			if err := os.WriteFile(filepath.Join(folder, Bootstrap), []byte("#!/bin/false "+binary+"\n"), 0o600); err != nil {
				return "", err
			}
		}
	}
	_, err = Pack(dir, services)
	return dir, err
}

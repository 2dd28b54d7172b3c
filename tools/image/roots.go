package main

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"

	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// minRoots is below the number of authorities that Mozilla trusts (about 120 in 2026), by far: fewer mean that the bundle
// is broken.
const minRoots = 50

// publicRoots are the public authorities in PEM, as they stand in Mozilla's list, by the Go project's module
// golang.org/x/crypto/x509roots/fallback. The module's version pins them with its checksum in go.sum, so the same source
// makes the same image on every machine; the system's own file would differ between machines and could hold an authority
// that a company or a user added. An update is a new version of the module.
//
// Authorities that are trusted under conditions only are left out: a file of certificates cannot carry conditions.
func publicRoots() ([]byte, error) {
	var all [][]byte
	for root := range bundle.Roots() {
		if root.Constraint == nil {
			all = append(all, root.Certificate)
		}
	}
	if len(all) < minRoots {
		return nil, fmt.Errorf("only %d public authorities, at least %d are expected", len(all), minRoots)
	}
	slices.SortFunc(all, func(a, b []byte) int {
		x, y := sha256.Sum256(a), sha256.Sum256(b)
		return bytes.Compare(x[:], y[:])
	})
	var out bytes.Buffer
	for _, der := range all {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, err
		}
		if !cert.IsCA {
			return nil, fmt.Errorf("%s is no authority", cert.Subject)
		}
		if err := pem.Encode(&out, &pem.Block{Type: "CERTIFICATE", Bytes: der}); err != nil {
			return nil, err
		}
	}
	return out.Bytes(), nil
}

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

const goodCheck = `
id: telnet-anywhere
title: Telnet is not ours
severity: high
fact: service
condition: "service.name == 'telnet'"
summary: "'Telnet at ' + observation.location"
description: House rule 7.
remediation: Turn it off.
cwe: [CWE-319]
examples:
  holds:
    - fact: {name: telnet, port: 23}
      now: 2026-11-01T00:00:00Z
  not:
    - fact: {name: ssh}
`

func TestReadCheck(t *testing.T) {
	for _, text := range []string{goodCheck, "- " + strings.ReplaceAll(strings.TrimSpace(goodCheck), "\n", "\n  ")} {
		c, err := readCheck("-", strings.NewReader(text))
		if err != nil || c.GetSeverity() != modelv1.Severity_SEVERITY_HIGH || len(c.GetHolds()) != 1 || len(c.GetNotHolds()) != 1 ||
			c.GetHolds()[0].GetFact().AsMap()["port"] != 23.0 || c.GetHolds()[0].GetNow().AsTime().Year() != 2026 {
			t.Errorf("%v, %v", c, err)
		}
	}
	path := filepath.Join(t.TempDir(), "check.yaml")
	if err := os.WriteFile(path, []byte(goodCheck), 0o600); err != nil {
		t.Fatal(err)
	}
	if c, err := readCheck(path, nil); err != nil || c.GetId() != "telnet-anywhere" {
		t.Errorf("%v, %v", c, err)
	}
	for _, text := range []string{"", "x", "[]", "[{id: a}, {id: b}]", "nothing: 1", "severity: worst", "examples: {holds: [{fact: {1: 2}, now: x}]}", strings.Repeat("x", maxCheckFile+1)} {
		if c, err := readCheck("-", strings.NewReader(text)); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%.40q is read as %v: %v", text, c, err)
		}
	}
	if _, err := readCheck("/nonexistent", nil); err == nil {
		t.Error("a file that does not exist is read")
	}
}

// FuzzParseCheck: a file is a check or an error in one line.
func FuzzParseCheck(f *testing.F) {
	f.Add([]byte(goodCheck))
	f.Add([]byte("a: &a [*a]"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if _, err := parseCheck(raw); err != nil && strings.Contains(err.Error(), "\n") {
			t.Fatal(err)
		}
	})
}

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The file of a credential becomes one line; what is no JSON object is refused without showing it.
func TestReadCredential(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key.json")
	for text, want := range map[string]string{
		"{\n  \"type\": \"service_account\",\n  \"private_key\": \"-----BEGIN PRIVATE KEY-----\\nAB\\n\"\n}\n": `{"type":"service_account","private_key":"-----BEGIN PRIVATE KEY-----\nAB\n"}`,
		"canary":     "",
		`["canary"]`: "",
		"":           "",
		`{"a":"` + strings.Repeat("canary", 1000) + `"}`: "",
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := readKey(file, "google")
		if got != want || (err == nil) != (want != "") || err != nil && strings.Contains(err.Error(), "canary") {
			t.Errorf("%.40q: %q %v", text, got, err)
		}
	}
}

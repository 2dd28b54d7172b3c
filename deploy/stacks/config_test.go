package stacks

import (
	"strings"
	"testing"
)

func TestRead(t *testing.T) {
	for _, c := range []struct {
		name  string
		given map[string]string
		wrong string // what the error says; empty: none
	}{
		{"nothing", nil, ""},
		{"all", map[string]string{"prefix": "rp-2", "arch": "amd64", "issuer": "https://i.example", "audience": "a", "provisioned": "2", "rate": "1", "burst": "10000", "logDays": "365", "evidenceDays": "1", "logLevel": "debug"}, ""},
		{"prefix with capitals", map[string]string{"prefix": "RP"}, "option prefix"},
		{"prefix of 24", map[string]string{"prefix": strings.Repeat("a", 24)}, ""},
		{"prefix of 25", map[string]string{"prefix": strings.Repeat("a", 25)}, "option prefix"},
		{"prefix that ends with a dash", map[string]string{"prefix": "rp-"}, "option prefix"},
		{"another architecture", map[string]string{"arch": "x86_64"}, "arm64 or amd64"},
		{"issuer over http", map[string]string{"issuer": "http://i.example", "audience": "a"}, "option issuer"},
		{"issuer without audience", map[string]string{"issuer": "https://i.example"}, "belong together"},
		{"audience without issuer", map[string]string{"audience": "a"}, "belong together"},
		{"two audiences", map[string]string{"issuer": "https://i.example", "audience": "a,b"}, "option audience"},
		{"no number", map[string]string{"rate": "many"}, "a number from 1"},
		{"no requests", map[string]string{"rate": "0"}, "a number from 1"},
		{"days that CloudWatch does not know", map[string]string{"logDays": "31"}, "one of"},
		{"more warm than reserved", map[string]string{"provisioned": "5", "edgeConcurrency": "4"}, "cannot be above"},
		{"level", map[string]string{"logLevel": "loud"}, "debug, info"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Read(func(name string) string { return c.given[name] })
			switch {
			case c.wrong == "" && err != nil:
				t.Error(err)
			case c.wrong != "" && (err == nil || !strings.Contains(err.Error(), c.wrong)):
				t.Errorf("the error is %v, want one that says %q", err, c.wrong)
			}
		})
	}
}

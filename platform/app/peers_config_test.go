package app

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoregistry"
)

// TestServiceConfig: only methods that may be done twice are tried again.
func TestServiceConfig(t *testing.T) {
	Contracts()
	var got []string
	for _, m := range idempotentMethods(protoregistry.GlobalFiles) {
		got = append(got, "/"+m.Service+"/"+m.Method)
	}
	want := []string{MethodOf("ingest", MethodGet), MethodOf("scanner", MethodGet), MethodOf("scheduler", MethodGet)}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	text, err := serviceConfig()
	if err != nil || !json.Valid([]byte(text)) {
		t.Errorf("%s: %v", text, err)
	}
}

func TestStandard(t *testing.T) {
	for name, want := range map[string]bool{"GetPlan": true, "Getaway": false, "Get": false, "ForGetPlan": false, "": false} {
		if standard(name, "Get") != want {
			t.Errorf("%q", name)
		}
	}
}

func TestLocal(t *testing.T) {
	for address, want := range map[string]bool{
		"127.0.0.1:9000": true, "127.9.9.9:9000": true, "[::1]:9000": true, "localhost:9000": true,
		":9000": false, "0.0.0.0:9000": false, "[::]:9000": false, "10.0.0.1:9000": false, "localhost.example.com:9000": false, "dns://127.0.0.1:53/x:1": false, "": false,
	} {
		if local(address) != want {
			t.Errorf("%q", address)
		}
	}
}

func TestHere(t *testing.T) {
	for address, want := range map[string]string{
		":9000": "127.0.0.1:9000", "0.0.0.0:9000": "127.0.0.1:9000", "[::]:9000": "[::1]:9000", "10.0.0.1:9000": "10.0.0.1:9000", "9000": "",
	} {
		if got, err := here(address); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", address, got, err)
		}
	}
}

func TestCommand(t *testing.T) {
	spec := []Spec{{Name: "ingest", Trust: Core}}
	for _, c := range []struct {
		args        string
		code        int
		asked       bool
		out, errOut string
	}{
		{"", 0, false, "", ""},
		{"version", 0, true, "ingest " + Version + " (go", ""},
		{"health", 1, true, "", "ingest: nothing listens that could be asked"},
		{"serve", 1, true, "", `"serve" is no command`},
		{"health now", 1, true, "", `"health now" is no command`},
	} {
		var out, errOut bytes.Buffer
		code, asked := command(strings.Fields(c.args), &out, &errOut, map[string]string{}, spec)
		if code != c.code || asked != c.asked || !strings.HasPrefix(out.String(), c.out) || !strings.Contains(errOut.String(), c.errOut) {
			t.Errorf("%q: %d, %v, %q, %q", c.args, code, asked, out.String(), errOut.String())
		}
		if strings.Count(errOut.String(), "\n") > 1 {
			t.Errorf("%q: more than one line: %q", c.args, errOut.String())
		}
	}
}

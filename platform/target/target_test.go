package target

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

func TestParse(t *testing.T) {
	cases := map[string]Target{
		"example.com":                {Kind: Domain, Value: "example.com"},
		" Example.COM. ":             {Kind: Domain, Value: "example.com"},
		"acme.test":                  {Kind: Domain, Value: "acme.test"},
		"example.co.uk":              {Kind: Domain, Value: "example.co.uk"},
		"www.example.co.uk":          {Kind: Host, Value: "www.example.co.uk"},
		"_dmarc.example.com":         {Kind: Host, Value: "_dmarc.example.com"},
		"bücher.example":             {Kind: Domain, Value: "xn--bcher-kva.example"},
		"www.example.com:8443":       {Kind: Host, Value: "www.example.com", Port: 8443},
		"192.0.2.7":                  {Kind: IP, Value: "192.0.2.7"},
		"192.0.2.7:22":               {Kind: IP, Value: "192.0.2.7", Port: 22},
		"::ffff:192.0.2.7":           {Kind: IP, Value: "192.0.2.7"},
		"2001:DB8::0:1":              {Kind: IP, Value: "2001:db8::1"},
		"[2001:db8::1]:443":          {Kind: IP, Value: "2001:db8::1", Port: 443},
		"192.0.2.9/24":               {Kind: CIDR, Value: "192.0.2.0/24"},
		"192.0.2.9/32":               {Kind: IP, Value: "192.0.2.9"},
		"2001:db8::/120":             {Kind: CIDR, Value: "2001:db8::/120"},
		"https://www.example.com":    {Kind: Host, Value: "www.example.com", Port: 443, URL: "https://www.example.com:443/"},
		"HTTP://example.com:8080/a?": {Kind: Domain, Value: "example.com", Port: 8080, URL: "http://example.com:8080/a"},
		"https://[2001:db8::1]/x":    {Kind: IP, Value: "2001:db8::1", Port: 443, URL: "https://[2001:db8::1]:443/x"},
		"localhost":                  {Kind: Host, Value: "localhost"},
		"aws:123456789012":           {Kind: CloudAccount, Value: "aws:123456789012"},
		" AWS:123456789012":          {Kind: CloudAccount, Value: "aws:123456789012"},
		"aws:443":                    {Kind: Host, Value: "aws", Port: 443},
		"google:my-project-1":        {Kind: CloudAccount, Value: "google:my-project-1"},
		"azure:0B1F6471-1BF0-4DDA-AEC3-CB9272F09590": {Kind: CloudAccount, Value: "azure:0b1f6471-1bf0-4dda-aec3-cb9272f09590"},
	}
	for text, want := range cases {
		got, err := Parse(text)
		if err != nil {
			t.Errorf("Parse(%q): %v", text, err)
			continue
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("Parse(%q): %s", text, diff)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, text := range []string{
		"", " ", "exa mple.com", "-a.example", "a-.example", "a..example", "2130706433", "0x7f000001", "127.1", "0177.0.0.1",
		"256.1.1.1", "192.0.2.0/8", "2001:db8::/64", "::ffff:192.0.2.0/120", "host:0", "host:70000", "host:08", "host:http",
		"2001:db8::1:443:x", "[2001:db8::1", "fe80::1%eth0", "ftp://example.com", "https://user:secret@example.com", "https://",
		"http://exa mple/", "a/b", strings.Repeat("a", 64) + ".example", strings.Repeat("a.", 130) + "example", strings.Repeat("x", 3000),
		"aws:12345678901", "aws:1234567890123", "aws:12345678901x", "azure:0b1f6471", "azure:0b1f6471-1bf0-4dda-aec3-cb9272f0959g",
		"google:short", "google:1project", "google:project-", "google:" + strings.Repeat("a", 31), "oracle:123456789012",
		"$(id).example", "a;b.example", "a\x00b.example", "\x1b[31m.example",
	} {
		got, err := Parse(text)
		if err == nil {
			t.Errorf("Parse(%q) = %+v, want an error", text, got)
			continue
		}
		if !errors.Is(err, fault.Invalid) || strings.ContainsAny(err.Error(), "\n\x1b\x00") {
			t.Errorf("Parse(%q): error is not one clean line of kind invalid: %q", text, err)
		}
		if strings.Contains(err.Error(), "user:secret") {
			t.Errorf("Parse(%q): secret in error", text)
		}
	}
}

// A canonical value is a fixed point: read again it gives itself.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"example.com", "192.0.2.1:80", "[::1]:5", "https://a.example/x", "192.0.2.0/24", "bücher.example"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		first, err := Parse(text)
		if err != nil {
			return
		}
		again, err := Parse(first.Value)
		if err != nil {
			t.Fatalf("Parse(%q) = %q, which is refused: %v", text, first.Value, err)
		}
		if again.Value != first.Value || again.Kind != first.Kind {
			t.Fatalf("Parse(%q) = %+v, again %+v", text, first, again)
		}
	})
}

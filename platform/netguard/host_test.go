package netguard

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

func TestSplitAddress(t *testing.T) {
	long := strings.Repeat("a", maxLabel)
	for address, want := range map[string]string{
		"example.com:80":       "example.com",
		"EXAMPLE.com.:80":      "example.com",
		"xn--bcher-kva.ch:443": "xn--bcher-kva.ch",
		"_dmarc.a-.-b.c1:1":    "_dmarc.a-.-b.c1",
		"localhost:65535":      "localhost",
		"1.2.3.4:80":           "1.2.3.4",
		"[2001:DB8::1]:80":     "2001:db8::1",
		"[::1]:80":             "::1",
		"0x7f.com:80":          "0x7f.com",
		"127.0.0.1.nip.io:80":  "127.0.0.1.nip.io",
		"0xfg:80":              "0xfg",
		long + ".com:80":       long + ".com",
		strings.Repeat("abcdefg.", 31) + "abcde:80": strings.Repeat("abcdefg.", 31) + "abcde", // 253
	} {
		h, port, err := splitAddress(address)
		got := h.name
		if h.addr.IsValid() {
			got = h.addr.String()
		}
		if err != nil || got != want || strconv.Itoa(int(port)) != address[strings.LastIndex(address, ":")+1:] {
			t.Errorf("%s: %q %d %v, want %q", address, got, port, err, want)
		}
	}
	for _, address := range []string{
		// Numbers that inet_aton or a browser reads as an address.
		"2130706433:80", "0x7f000001:80", "0X7F000001:80", "017700000001:80", "0177.0.0.1:80", "0x7f.0.0.1:80",
		"127.1:80", "127.0.1:80", "127.0.0.01:80", "127.000.000.001:80", "0:80", "0x0:80", "0x:80", "00:80",
		"6425673729:80", "127.0.0.256:80", "127.0.0.1.:80", "1.2.3.4.5:80", "example.1:80", "example.0x1f:80",
		"127.0.0.0x1:80", "999999999999999999999:80", "4294967295:80",
		// Addresses with two readings or an interface.
		"[::ffff:127.0.0.1]:80", "[::ffff:7f00:1]:80", "[::FFFF:8.8.8.8]:80", "[fe80::1%eth0]:80", "[::1%25lo]:80",
		"[::1%lo]:80", "fe80::1%1:80", "[127.0.0.1]:80", "[example.com]:80", "::1:80", "[[::1]]:80",
		// No host name.
		":80", "..:80", ".:80", ".example.com:80", "example..com:80", "example.com..:80", "ex ample.com:80",
		"user@example.com:80", "example.com/path:80", "example.com\\:80", "exa%6dple.com:80", "example.com\x00:80",
		"example.com\n:80", "bücher.ch:80", "127。0。0。1:80", "１２７.0.0.1:80", "ⓛocalhost:80", "localhost\u200b:80",
		"xn--localhost-:80", "a.XN--example-.com:80", "*.example.com:80",
		long + "a.com:80", strings.Repeat("abcdefg.", 31) + "abcdef:80",
		// Ports.
		"example.com", "example.com:", "example.com:0", "example.com:080", "example.com:+80", "example.com:-1",
		"example.com:65536", "example.com:http", "example.com: 80", "example.com:80 ", "example.com:8 0",
		"example.com:0x50", "example.com:٨٠", "example.com:80:80", "",
	} {
		h, port, err := splitAddress(address)
		var refusal *RefusedError
		if !errors.As(err, &refusal) || refusal.Rule != RuleSpelling || !errors.Is(err, fault.Invalid) {
			t.Errorf("%q: host %v port %d error %v, want a refusal of the spelling", address, h, port, err)
		}
		if err != nil && strings.ContainsAny(err.Error(), "\n\x00\u200b") {
			t.Errorf("%q: error %q is not safe in a log line", address, err)
		}
	}
}

// What is accepted has one reading: an address that prints as itself, or a name that no reader of
// numbers takes for an address.
func FuzzSplitAddress(f *testing.F) {
	for _, seed := range []string{
		"example.com:80", "127.0.0.1:80", "[::1]:80", "0x7f.1:80", "127.1:1", "[fe80::1%lo]:80", "a.0x1:1", "xn--a-:1",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, address string) {
		h, port, err := splitAddress(address)
		if err != nil {
			return
		}
		if port == 0 || h.addr.IsValid() == (h.name != "") {
			t.Fatalf("%q: port %d, host %v", address, port, h)
		}
		if h.addr.IsValid() {
			if h.addr.Zone() != "" || h.addr.Is4In6() {
				t.Fatalf("%q: address %s has two readings", address, h.addr)
			}
			return
		}
		if _, err := netip.ParseAddr(h.name); err == nil || readsAsNumber(h.name) {
			t.Fatalf("%q: the name %q reads as an address", address, h.name)
		}
		again, _, err := splitAddress(h.name + ":80")
		if err != nil || again.name != h.name {
			t.Fatalf("%q: %q reads as %q, %v the second time", address, h.name, again.name, err)
		}
	})
}

// readsAsNumber reads like inet_aton: one to four parts, each decimal, octal or hexadecimal.
func readsAsNumber(name string) bool {
	parts := strings.Split(name, ".")
	for _, part := range parts {
		digits, base := part, 10
		if strings.HasPrefix(part, "0") {
			digits, base = part[1:], 8
		}
		if strings.HasPrefix(strings.ToLower(part), "0x") {
			digits, base = part[2:], 16
		}
		if _, err := strconv.ParseUint("0"+digits, base, 64); err != nil {
			return false
		}
	}
	return len(parts) <= 4
}

package ranges

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestOf(t *testing.T) {
	tests := []struct {
		addr string
		want Owner
	}{
		{"104.16.1.1", Owner{WAF: "cloudflare"}},
		{"::ffff:104.16.1.1", Owner{WAF: "cloudflare"}},
		{"2606:4700::1", Owner{WAF: "cloudflare"}},
		{"151.101.1.1", Owner{CDN: "fastly"}},
		{"18.64.0.0", Owner{CDN: "cloudfront", Cloud: "aws"}},
		{"45.60.0.1", Owner{WAF: "incapsula"}},
		{"35.190.0.1", Owner{Cloud: "google"}}, // rented machines are no CDN
		{"192.0.2.1", Owner{}},
		{"127.0.0.1", Owner{}},
		{"::1", Owner{}},
		{"255.255.255.255", Owner{}},
		{"0.0.0.0", Owner{}},
		{"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Owner{}},
	}
	for _, tt := range tests {
		if got := Of(netip.MustParseAddr(tt.addr)); got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.addr, got, tt.want)
		}
	}
	if Of(netip.Addr{}) != (Owner{}) {
		t.Error("no address has an owner")
	}
	if date, err := time.Parse(time.DateOnly, Date()); err != nil || date.Year() < 2026 {
		t.Errorf("date %q", Date())
	}
}

// However a table is made, an address has the provider of the one range that holds it, at both ends and right beside them.
func TestLookupsEqualASearchOfAll(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var text strings.Builder
		text.WriteString("date 2026-01-01\ncdn one\n")
		var all []span
		at := rapid.IntRange(0, 1000).Draw(t, "start")
		for range rapid.IntRange(0, 20).Draw(t, "ranges") {
			first := at + rapid.IntRange(1, 50).Draw(t, "gap") - 1
			last := first + rapid.IntRange(0, 50).Draw(t, "length")
			at = last + 1
			s := span{address(first), address(last), "one"}
			all = append(all, s)
			text.WriteString(s.first.String() + " " + s.last.String() + "\n")
		}
		table, err := parse(strings.NewReader(text.String()))
		if err != nil {
			t.Fatal(err)
		}
		for i := range at + 3 {
			want := ""
			for _, s := range all {
				if s.first.Compare(address(i)) <= 0 && address(i).Compare(s.last) <= 0 {
					want = s.provider
				}
			}
			if got := table.classes["cdn"].find(address(i)); got != want {
				t.Fatalf("%s: %q, want %q", address(i), got, want)
			}
		}
	})
}

func address(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}) }

func FuzzTable(f *testing.F) {
	f.Add("date 2026-01-01\ncdn x\n10.0.0.0 10.0.0.9\n", []byte{10, 0, 0, 3})
	f.Add("cdn x\n10.0.0.0 10.0.0.9\n10.0.0.9 10.0.0.10\n", []byte{10, 0, 0, 9})
	f.Add("waf y\n2001:db8:: 2001:db8::1\n::1 10.0.0.1", []byte{1})
	f.Fuzz(func(t *testing.T, text string, raw []byte) {
		s, err := parse(strings.NewReader(text))
		addr, ok := netip.AddrFromSlice(raw)
		if err != nil || !ok {
			return
		}
		found := s.classes["cdn"].find(addr)
		for _, x := range s.classes["cdn"] {
			if inside := x.first.BitLen() == addr.BitLen() && x.first.Compare(addr) <= 0 && addr.Compare(x.last) <= 0; inside && found != x.provider {
				t.Fatalf("%s in %v: %q", addr, x, found)
			}
		}
	})
}

func FuzzOf(f *testing.F) {
	f.Add([]byte{104, 16, 1, 1})
	f.Fuzz(func(_ *testing.T, raw []byte) {
		addr, _ := netip.AddrFromSlice(raw)
		Of(addr)
	})
}

func BenchmarkLoad(b *testing.B) {
	for b.Loop() {
		if _, err := unpack(table); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOf(b *testing.B) {
	addr := netip.MustParseAddr("104.16.1.1")
	for b.Loop() {
		Of(addr)
	}
}
